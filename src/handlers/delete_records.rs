//! DeleteRecords (key 21), v0-2. Moves the log start offset; -1 means up to the high watermark (KIP-107).

use std::ops::RangeInclusive;

use futures_util::future::join_all;
use kafka_protocol::messages::delete_records_request::DeleteRecordsPartition;
use kafka_protocol::messages::delete_records_response::{
    DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
};
use kafka_protocol::messages::{DeleteRecordsRequest, DeleteRecordsResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::errors;
use super::wire::{Failure, is_internal};
use crate::broker::Broker;
use crate::log::ReadError;
use crate::protocol::error::ErrorCode;
use crate::types::Offset;

const TO_HIGH_WATERMARK: i64 = -1;

pub struct DeleteRecords;

impl Api for DeleteRecords {
    type Request = DeleteRecordsRequest;
    const NAME: &'static str = "DeleteRecords";
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(context: &RequestContext, request: DeleteRecordsRequest) -> Handled<DeleteRecordsResponse> {
        let context = context.clone();
        Handled::Later(Box::pin(async move {
            let mut topics = Vec::with_capacity(request.topics.len());
            for topic in request.topics {
                let deleted =
                    topic.partitions.iter().map(|partition| answer(&context.broker, &topic.name, partition));
                let partitions = join_all(deleted).await;
                topics.push(
                    DeleteRecordsTopicResult::default()
                        .with_partitions(partitions)
                        .with_name(topic.name.clone()),
                );
            }
            DeleteRecordsResponse::default().with_topics(topics)
        }))
    }
}

async fn answer(
    broker: &Broker,
    topic: &str,
    asked: &DeleteRecordsPartition,
) -> DeleteRecordsPartitionResult {
    let result = DeleteRecordsPartitionResult::default().with_partition_index(asked.partition_index);
    match delete(broker, topic, asked).await {
        Ok(low_watermark) => result.with_low_watermark(low_watermark.get()),
        Err(failure) => result.with_low_watermark(-1).with_error_code(failure.code.code()),
    }
}

async fn delete(broker: &Broker, topic: &str, asked: &DeleteRecordsPartition) -> Result<Offset, Failure> {
    let topic = broker
        .partitions()
        .topic(topic)
        .ok_or_else(|| Failure::new(ErrorCode::UnknownTopicOrPartition, "no such topic"))?;
    let partition = topic
        .partition(asked.partition_index)
        .ok_or_else(|| Failure::new(ErrorCode::UnknownTopicOrPartition, "no such partition"))?;
    if is_internal(topic.name.as_str()) {
        let message = "records of an internal topic cannot be deleted";
        return Err(Failure::new(ErrorCode::InvalidTopicException, message));
    }
    partition.check_leader(None).map_err(|error| Failure::new(errors::of_partition(&error), error))?;
    if !topic.config().cleanup_delete {
        return Err(Failure::new(
            ErrorCode::PolicyViolation,
            "records of a topic can be deleted only if its cleanup.policy has \"delete\"",
        ));
    }
    let recovered = partition.ready().wait().await.map_err(ReadError::from);
    recovered.map_err(|error| Failure::new(errors::of_read(&error), error))?;
    let log = partition.log();
    let high_watermark = log.high_watermark();
    let before =
        if asked.offset == TO_HIGH_WATERMARK { Some(high_watermark) } else { Offset::new(asked.offset) };
    let before = before.filter(|offset| *offset <= high_watermark).ok_or_else(|| {
        Failure::new(ErrorCode::OffsetOutOfRange, format!("offset {} is outside of the log", asked.offset))
    })?;
    log.delete_records_before(before)
        .wait()
        .await
        .map_err(|error| Failure::new(errors::of_read(&error), error))
}
