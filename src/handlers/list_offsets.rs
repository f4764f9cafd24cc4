//! ListOffsets (key 2), v1-10. Offsets by time, and the special ones.
//!
//! - timestamp -1 latest (the high watermark, or the last stable offset for `read_committed`), -2 earliest, -3 offset of the
//!   largest timestamp (v7+, KIP-734), -4 earliest local (v8+), -5 latest tiered (v9+; nothing is tiered: -1).
//! - v4+ leader epochs are checked (rule L8).

use std::ops::RangeInclusive;

use futures_util::future::join_all;
use kafka_protocol::messages::list_offsets_request::ListOffsetsPartition;
use kafka_protocol::messages::list_offsets_response::{
    ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
};
use kafka_protocol::messages::{ListOffsetsRequest, ListOffsetsResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::errors;
use super::wire::{Failure, NONE, leader_epoch};
use crate::broker::Broker;
use crate::log::{FoundOffset, ReadError, Step};
use crate::protocol::error::ErrorCode;
use crate::replication::Partition;
use crate::types::{LeaderEpoch, Millis, Offset};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;
const READ_COMMITTED: i8 = 1;

pub struct ListOffsets;

impl Api for ListOffsets {
    type Request = ListOffsetsRequest;
    const NAME: &'static str = "ListOffsets";
    const VERSIONS: RangeInclusive<i16> = 1..=10;

    fn handle(context: &RequestContext, request: ListOffsetsRequest) -> Handled<ListOffsetsResponse> {
        let context = context.clone();
        Handled::Later(Box::pin(async move {
            let committed = request.isolation_level == READ_COMMITTED;
            let mut topics = Vec::with_capacity(request.topics.len());
            for topic in request.topics {
                let asked = topic.partitions.iter().map(|partition| {
                    answer(&context.broker, context.version, &topic.name, partition, committed)
                });
                let partitions = join_all(asked).await;
                topics.push(
                    ListOffsetsTopicResponse::default()
                        .with_name(topic.name.clone())
                        .with_partitions(partitions),
                );
            }
            ListOffsetsResponse::default().with_topics(topics)
        }))
    }
}

/// A record's place: timestamp (-1 for none), offset and the leader epoch it was written in.
type Found = Option<(Millis, Offset, Option<LeaderEpoch>)>;

async fn answer(
    broker: &Broker,
    version: i16,
    topic: &str,
    asked: &ListOffsetsPartition,
    read_committed: bool,
) -> ListOffsetsPartitionResponse {
    let response = ListOffsetsPartitionResponse::default()
        .with_partition_index(asked.partition_index)
        .with_timestamp(-1)
        .with_offset(-1)
        .with_leader_epoch(NONE);
    match look_up(broker, version, topic, asked, read_committed).await {
        Err(failure) => response.with_error_code(failure.code.code()),
        Ok(None) => response,
        Ok(Some((timestamp, offset, epoch))) => response
            .with_timestamp(timestamp)
            .with_offset(offset.get())
            .with_leader_epoch(epoch.filter(|_| version >= 4).map_or(NONE, LeaderEpoch::get)),
    }
}

async fn look_up(
    broker: &Broker,
    version: i16,
    topic: &str,
    asked: &ListOffsetsPartition,
    read_committed: bool,
) -> Result<Found, Failure> {
    let held = broker.partitions().topic(topic);
    let held = held.and_then(|topic| topic.partition(asked.partition_index).cloned());
    let partition = held.ok_or_else(|| match broker.held_elsewhere(topic, asked.partition_index) {
        Some(error) => Failure::new(errors::of_partition(&error), error),
        None => Failure::new(ErrorCode::UnknownTopicOrPartition, "no such partition is held here"),
    })?;
    let epoch = partition
        .check_leader(leader_epoch(asked.current_leader_epoch))
        .map_err(|error| Failure::new(errors::of_partition(&error), error))?;
    let recovered = partition.ready().wait().await.map_err(ReadError::from);
    recovered.map_err(|error| Failure::new(errors::of_read(&error), error))?;
    let log = partition.log();
    let end = if read_committed { log.last_stable_offset() } else { log.high_watermark() };
    if partition.latest().is_none() && !matches!(asked.timestamp, EARLIEST | EARLIEST_LOCAL) {
        // Told now, "latest" could go back (rule C2, KIP-207).
        return Err(Failure::new(
            not_available(version),
            "the high watermark is behind the leader epoch's start",
        ));
    }
    match asked.timestamp {
        LATEST => Ok(Some((-1, end, Some(epoch)))),
        EARLIEST => Ok(Some(start_of(&partition))),
        EARLIEST_LOCAL if version >= 8 => Ok(Some(start_of(&partition))),
        LATEST_TIERED if version >= 9 => Ok(None),
        MAX_TIMESTAMP if version >= 7 => by_time(log.max_timestamp_offset(end)).await,
        timestamp if timestamp >= 0 => by_time(log.offset_for_timestamp(timestamp, end)).await,
        unknown => Err(Failure::new(
            ErrorCode::UnsupportedVersion,
            format!("timestamp {unknown} has no meaning in v{version}"),
        )),
    }
}

/// Clients before v5 do not know OFFSET_NOT_AVAILABLE (`ListOffsetsHandler`).
const fn not_available(version: i16) -> ErrorCode {
    if version >= 5 { ErrorCode::OffsetNotAvailable } else { ErrorCode::LeaderNotAvailable }
}

fn start_of(partition: &Partition) -> (Millis, Offset, Option<LeaderEpoch>) {
    let start = partition.log().log_start_offset();
    (-1, start, partition.log().epoch_of(start))
}

async fn by_time(found: Step<Result<Option<FoundOffset>, ReadError>>) -> Result<Found, Failure> {
    let found = found.wait().await.map_err(|error| Failure::new(errors::of_read(&error), error))?;
    Ok(found.map(|found| (found.timestamp, found.offset, found.leader_epoch)))
}
