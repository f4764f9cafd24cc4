//! DescribeProducers (key 61), v0. The producers that a partition remembers (KIP-664).

use std::ops::RangeInclusive;

use futures_util::future::join_all;
use kafka_protocol::messages::describe_producers_response::{
    PartitionResponse, ProducerState, TopicResponse,
};
use kafka_protocol::messages::{
    DescribeProducersRequest, DescribeProducersResponse, ProducerId as WireProducerId,
};

use super::endpoint::{Api, Handled, RequestContext};
use super::errors;
use super::wire::Failure;
use crate::broker::Broker;
use crate::log::{ProducerEntry, ReadError};
use crate::protocol::error::ErrorCode;
use crate::types::{LeaderEpoch, Offset};

pub struct DescribeProducers;

impl Api for DescribeProducers {
    type Request = DescribeProducersRequest;
    const NAME: &'static str = "DescribeProducers";
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(
        context: &RequestContext,
        request: DescribeProducersRequest,
    ) -> Handled<DescribeProducersResponse> {
        let context = context.clone();
        Handled::Later(Box::pin(async move {
            let mut topics = Vec::with_capacity(request.topics.len());
            for topic in request.topics {
                let asked =
                    topic.partition_indexes.iter().map(|index| answer(&context.broker, &topic.name, *index));
                let partitions = join_all(asked).await;
                topics
                    .push(TopicResponse::default().with_partitions(partitions).with_name(topic.name.clone()));
            }
            DescribeProducersResponse::default().with_topics(topics)
        }))
    }
}

async fn answer(broker: &Broker, topic: &str, index: i32) -> PartitionResponse {
    let response = PartitionResponse::default().with_partition_index(index);
    match producers(broker, topic, index).await {
        Ok(producers) => response.with_active_producers(producers),
        Err(failure) => response.with_error_code(failure.code.code()).with_error_message(failure.text()),
    }
}

async fn producers(broker: &Broker, topic: &str, index: i32) -> Result<Vec<ProducerState>, Failure> {
    let partition =
        broker.partitions().topic(topic).and_then(|topic| topic.partition(index).cloned()).ok_or_else(
            || {
                Failure::new(
                    ErrorCode::UnknownTopicOrPartition,
                    format!("no partition {topic}-{index} is held here"),
                )
            },
        )?;
    partition.check_leader(None).map_err(|error| Failure::new(errors::of_partition(&error), error))?;
    let producers = partition.log().producers().wait().await.map_err(ReadError::from);
    let producers = producers.map_err(|error| Failure::new(errors::of_read(&error), error))?;
    Ok(producers.iter().map(state).collect())
}

fn state(producer: &ProducerEntry) -> ProducerState {
    ProducerState::default()
        .with_producer_id(WireProducerId(producer.producer_id.get()))
        .with_producer_epoch(i32::from(producer.epoch.get()))
        .with_last_sequence(producer.last_sequence.unwrap_or(-1))
        .with_last_timestamp(producer.last_timestamp)
        .with_coordinator_epoch(producer.coordinator_epoch.map_or(-1, LeaderEpoch::get))
        .with_current_txn_start_offset(producer.transaction_start.map_or(-1, Offset::get))
}
