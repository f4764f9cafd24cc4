//! DescribeTopicPartitions (key 75), v0. Topics page by page, with eligible leader replicas (KIP-966).
//!
//! - No topics named means all; topics are answered in the order of their names, at most `response_partition_limit` and
//!   `max.request.partition.size.limit` partitions.
//! - The cursor names the first partition of the next page.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use kafka_protocol::messages::describe_topic_partitions_request::Cursor as AskedCursor;
use kafka_protocol::messages::describe_topic_partitions_response::{
    Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
};
use kafka_protocol::messages::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicName as WireTopicName,
};

use super::endpoint::{Api, Handled, RequestContext};
use super::wire::{
    NONE, TOPIC_OPERATIONS, broker_ids, entry_ids, is_internal, leader_of, offline_replicas, text, topic_name,
};
use crate::metadata::image::{ClusterImage, PartitionImage, TopicImage};
use crate::protocol::error::ErrorCode;
use crate::types::TopicName;

pub struct DescribeTopicPartitions;

impl Api for DescribeTopicPartitions {
    type Request = DescribeTopicPartitionsRequest;
    const NAME: &'static str = "DescribeTopicPartitions";
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(
        context: &RequestContext,
        request: DescribeTopicPartitionsRequest,
    ) -> Handled<DescribeTopicPartitionsResponse> {
        let image = context.broker.image();
        let names: BTreeSet<String> = if request.topics.is_empty() {
            image.topic_names.keys().map(ToString::to_string).collect()
        } else {
            request.topics.iter().map(|topic| topic.name.as_str().to_owned()).collect()
        };
        let most = context.broker.broker_config().max_request_partition_size_limit.max(1);
        let limit = usize::try_from(request.response_partition_limit.clamp(1, most)).unwrap_or(1);
        Handled::Now(page(&image, &names, request.cursor.as_ref(), limit))
    }
}

fn page(
    image: &ClusterImage,
    names: &BTreeSet<String>,
    cursor: Option<&AskedCursor>,
    limit: usize,
) -> DescribeTopicPartitionsResponse {
    let start = cursor.map_or("", |cursor| cursor.topic_name.as_str());
    let mut room = limit;
    let mut topics = Vec::new();
    for name in names.iter().filter(|name| name.as_str() >= start) {
        let first = cursor
            .filter(|cursor| cursor.topic_name.as_str() == name)
            .map_or(0, |cursor| cursor.partition_index);
        if room == 0 {
            return response(topics, Some((name, first)));
        }
        let Some(topic) = image.topic(name) else {
            topics.push(unknown(name));
            continue;
        };
        let first = usize::try_from(first).unwrap_or(0);
        let taken = topic.partitions.len().saturating_sub(first).min(room);
        topics.push(describe(image, topic, first, taken));
        room -= taken;
        let next = first + taken;
        if next < topic.partitions.len() {
            return response(topics, Some((name, i32::try_from(next).unwrap_or(i32::MAX))));
        }
    }
    response(topics, None)
}

fn response(
    topics: Vec<DescribeTopicPartitionsResponseTopic>,
    next: Option<(&String, i32)>,
) -> DescribeTopicPartitionsResponse {
    let cursor = next.map(|(name, index)| {
        Cursor::default().with_topic_name(WireTopicName(text(name))).with_partition_index(index)
    });
    DescribeTopicPartitionsResponse::default().with_topics(topics).with_next_cursor(cursor)
}

fn unknown(name: &str) -> DescribeTopicPartitionsResponseTopic {
    let code = match TopicName::new(name) {
        Ok(_) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    };
    DescribeTopicPartitionsResponseTopic::default()
        .with_error_code(code.code())
        .with_name(Some(WireTopicName(text(name))))
}

fn describe(
    image: &ClusterImage,
    topic: &TopicImage,
    first: usize,
    count: usize,
) -> DescribeTopicPartitionsResponseTopic {
    let partitions = (0..)
        .zip(&topic.partitions)
        .skip(first)
        .take(count)
        .map(|(index, partition)| one(image, index, partition));
    DescribeTopicPartitionsResponseTopic::default()
        .with_name(Some(topic_name(&topic.name)))
        .with_is_internal(is_internal(topic.name.as_str()))
        .with_topic_id(topic.id.uuid())
        .with_partitions(partitions.collect())
        .with_topic_authorized_operations(TOPIC_OPERATIONS)
}

fn one(
    image: &ClusterImage,
    index: i32,
    partition: &PartitionImage,
) -> DescribeTopicPartitionsResponsePartition {
    let leader = leader_of(image, partition);
    let code = if leader.is_some() { ErrorCode::None } else { ErrorCode::LeaderNotAvailable };
    DescribeTopicPartitionsResponsePartition::default()
        .with_error_code(code.code())
        .with_partition_index(index)
        .with_leader_id(leader.unwrap_or(kafka_protocol::messages::BrokerId(NONE)))
        .with_leader_epoch(partition.leader_epoch.get())
        .with_replica_nodes(broker_ids(partition.replicas.iter().copied()))
        .with_isr_nodes(entry_ids(&partition.isr))
        .with_eligible_leader_replicas(Some(entry_ids(&partition.elr)))
        .with_last_known_elr(Some(broker_ids(partition.last_known_leader)))
        .with_offline_replicas(offline_replicas(image, partition))
}
