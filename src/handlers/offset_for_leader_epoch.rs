//! OffsetForLeaderEpoch (key 23), v2-4. Where a leader epoch ends in our log: consumers find out that theirs was cut (KIP-320).

use std::ops::RangeInclusive;

use futures_util::future::join_all;
use kafka_protocol::messages::offset_for_leader_epoch_request::OffsetForLeaderPartition;
use kafka_protocol::messages::offset_for_leader_epoch_response::{
    EpochEndOffset, OffsetForLeaderTopicResult,
};
use kafka_protocol::messages::{OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::errors;
use super::wire::{NONE, leader_epoch};
use crate::broker::Broker;
use crate::log::ReadError;
use crate::protocol::error::ErrorCode;
use crate::types::{LeaderEpoch, Offset};

pub struct OffsetForLeaderEpoch;

impl Api for OffsetForLeaderEpoch {
    type Request = OffsetForLeaderEpochRequest;
    const NAME: &'static str = "OffsetForLeaderEpoch";
    const VERSIONS: RangeInclusive<i16> = 2..=4;

    fn handle(
        context: &RequestContext,
        request: OffsetForLeaderEpochRequest,
    ) -> Handled<OffsetForLeaderEpochResponse> {
        let context = context.clone();
        Handled::Later(Box::pin(async move {
            let mut topics = Vec::with_capacity(request.topics.len());
            for topic in request.topics {
                let asked =
                    topic.partitions.iter().map(|partition| answer(&context.broker, &topic.topic, partition));
                let partitions = join_all(asked).await;
                topics.push(
                    OffsetForLeaderTopicResult::default()
                        .with_partitions(partitions)
                        .with_topic(topic.topic.clone()),
                );
            }
            OffsetForLeaderEpochResponse::default().with_topics(topics)
        }))
    }
}

async fn answer(broker: &Broker, topic: &str, asked: &OffsetForLeaderPartition) -> EpochEndOffset {
    let result =
        EpochEndOffset::default().with_partition(asked.partition).with_leader_epoch(NONE).with_end_offset(-1);
    match end_of(broker, topic, asked).await {
        Ok(None) => result,
        Ok(Some((epoch, end))) => result.with_leader_epoch(epoch.get()).with_end_offset(end.get()),
        Err(code) => result.with_error_code(code.code()),
    }
}

async fn end_of(
    broker: &Broker,
    topic: &str,
    asked: &OffsetForLeaderPartition,
) -> Result<Option<(LeaderEpoch, Offset)>, ErrorCode> {
    let partition = broker
        .partitions()
        .topic(topic)
        .and_then(|topic| topic.partition(asked.partition).cloned())
        .ok_or(ErrorCode::UnknownTopicOrPartition)?;
    partition
        .check_leader(leader_epoch(asked.current_leader_epoch))
        .map_err(|error| errors::of_partition(&error))?;
    let recovered = partition.ready().wait().await.map_err(ReadError::from);
    recovered.map_err(|error| errors::of_read(&error))?;
    Ok(leader_epoch(asked.leader_epoch).and_then(|epoch| partition.log().end_offset_for_epoch(epoch)))
}
