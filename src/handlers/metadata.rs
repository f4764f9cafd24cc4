//! Metadata (key 3), v0-13. Brokers, topics, partitions and their leaders; the most frequent question of every client.
//!
//! - v0: no topics named means all; v1+: null means all, an empty list none. v4 `allow_auto_topic_creation`, v7 leader epochs, v8
//!   authorized operations, v10 topic ids (KIP-516), v13 top-level error (KIP-1102).
//! - A topic that does not exist is created when client and `auto.create.topics.enable` allow it: the answer waits for it.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::time::Duration;

use futures_util::future::join_all;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::{MetadataRequest, MetadataResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::errors;
use super::wire::{
    CLUSTER_OPERATIONS, NONE, OPERATIONS_NOT_ASKED, TOPIC_OPERATIONS, broker_id, broker_ids, endpoint_of,
    entry_ids, is_internal, leader_of, offline_replicas, text, topic_name,
};
use crate::broker::topics::{TopicError, TopicSpec};
use crate::coordinator::runtime::OFFSETS_TOPIC;
use crate::metadata::image::{ClusterImage, PartitionImage, TopicImage};
use crate::protocol::error::ErrorCode;
use crate::types::TopicId;

/// How long an answer waits for topics that it creates.
const AUTO_CREATE_TIMEOUT: Duration = Duration::from_secs(10);

pub struct Metadata;

impl Api for Metadata {
    type Request = MetadataRequest;
    const NAME: &'static str = "Metadata";
    const VERSIONS: RangeInclusive<i16> = 0..=13;

    fn handle(context: &RequestContext, request: MetadataRequest) -> Handled<MetadataResponse> {
        let image = context.broker.image();
        let missing = missing_topics(context, &image, &request);
        if missing.is_empty() {
            return Handled::Now(answer(context, &image, &request, &BTreeMap::new()));
        }
        let context = context.clone();
        Handled::Later(Box::pin(async move {
            let created = missing.into_iter().map(|name| async {
                let made = create(&context, &name).await;
                (name, made.err())
            });
            let failed: BTreeMap<_, _> = join_all(created)
                .await
                .into_iter()
                .filter_map(|(name, error)| error.map(|error| (name, error)))
                .collect();
            answer(&context, &context.broker.image(), &request, &failed)
        }))
    }
}

/// Makes a topic because it was asked for: an internal one as its coordinator needs it.
async fn create(context: &RequestContext, name: &str) -> Result<(), ErrorCode> {
    if name == OFFSETS_TOPIC {
        let made = context.broker.make_offsets_topic().await;
        return made.map_err(|_| ErrorCode::LeaderNotAvailable);
    }
    let spec = TopicSpec { name: name.to_owned(), who: context.who(), ..TopicSpec::default() };
    let made = context.broker.create_topic(spec, false, AUTO_CREATE_TIMEOUT).await;
    made.map(drop).map_err(|error| creation_error(&error))
}

/// What a client is told of a topic that could not be created by asking for it.
fn creation_error(error: &TopicError) -> ErrorCode {
    match error {
        // Somebody else created it meanwhile: it is there at the next look.
        TopicError::Exists(_) => ErrorCode::LeaderNotAvailable,
        error => errors::of_topic(error),
    }
}

/// The names to create, each once however often it is asked for.
fn missing_topics(
    context: &RequestContext,
    image: &ClusterImage,
    request: &MetadataRequest,
) -> BTreeSet<String> {
    let allowed = context.broker.broker_config().auto_create_topics_enable
        && (context.version < 4 || request.allow_auto_topic_creation);
    if !allowed {
        return BTreeSet::new();
    }
    let named = request.topics.iter().flatten().filter_map(|topic| topic.name.as_ref());
    named.filter(|name| image.topic(name).is_none()).map(|name| name.as_str().to_owned()).collect()
}

fn answer(
    context: &RequestContext,
    image: &ClusterImage,
    request: &MetadataRequest,
    failed: &BTreeMap<String, ErrorCode>,
) -> MetadataResponse {
    let listener = &context.connection.listener;
    let brokers = image.brokers.values().filter_map(|broker| {
        let endpoint = endpoint_of(&broker.endpoints, listener)?;
        Some(
            MetadataResponseBroker::default()
                .with_node_id(broker_id(broker.id))
                .with_host(text(&endpoint.host))
                .with_port(i32::from(endpoint.port))
                .with_rack(broker.rack.as_ref().map(text)),
        )
    });
    let all = match &request.topics {
        None => true,
        Some(topics) => topics.is_empty() && context.version == 0,
    };
    let operations =
        if request.include_topic_authorized_operations { TOPIC_OPERATIONS } else { OPERATIONS_NOT_ASKED };
    let topics = if all {
        image.topics.values().filter(|topic| !topic.deleting).map(|topic| describe(image, topic)).collect()
    } else {
        let named = request.topics.iter().flatten();
        named.map(|asked| one_topic(context, image, asked, failed)).collect::<Vec<_>>()
    };
    let topics = topics.into_iter().map(|topic| topic.with_topic_authorized_operations(operations));
    let cluster_operations =
        if request.include_cluster_authorized_operations { CLUSTER_OPERATIONS } else { OPERATIONS_NOT_ASKED };
    MetadataResponse::default()
        .with_brokers(brokers.collect())
        .with_cluster_id(Some(text(&image.cluster_id)))
        .with_controller_id(kafka_protocol::messages::BrokerId(
            image.controller.map_or(NONE, |(controller, _)| controller.get()),
        ))
        .with_topics(topics.collect())
        .with_cluster_authorized_operations(cluster_operations)
}

fn one_topic(
    context: &RequestContext,
    image: &ClusterImage,
    asked: &MetadataRequestTopic,
    failed: &BTreeMap<String, ErrorCode>,
) -> MetadataResponseTopic {
    let unknown = |code: ErrorCode| {
        let name = asked.name.clone();
        // Before v12 a name cannot be null.
        let name = if context.version < 12 { Some(name.unwrap_or_default()) } else { name };
        MetadataResponseTopic::default()
            .with_error_code(code.code())
            .with_name(name)
            .with_topic_id(asked.topic_id)
    };
    match (&asked.name, TopicId::new(asked.topic_id)) {
        // v10-11 carry ids, but Kafka refuses them.
        (_, Some(_)) if context.version < 12 => unknown(ErrorCode::InvalidRequest),
        (Some(name), None) => match image.topic(name) {
            Some(topic) => describe(image, topic),
            None => unknown(failed.get(name.as_str()).copied().unwrap_or_else(|| missing(name))),
        },
        // Whoever asks by id may leave the name empty instead of null: Java does.
        (_, Some(id)) => match image.topics.get(&id).filter(|topic| !topic.deleting) {
            Some(topic) => describe(image, topic),
            // Its name is not known, whatever the question says.
            None => unknown(ErrorCode::UnknownTopicId).with_name(None),
        },
        (None, None) => unknown(ErrorCode::InvalidRequest),
    }
}

fn missing(name: &str) -> ErrorCode {
    match crate::types::TopicName::new(name) {
        Ok(_) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    }
}

fn describe(image: &ClusterImage, topic: &TopicImage) -> MetadataResponseTopic {
    let partitions =
        (0..).zip(&topic.partitions).map(|(index, partition)| describe_partition(image, index, partition));
    MetadataResponseTopic::default()
        .with_name(Some(topic_name(&topic.name)))
        .with_topic_id(topic.id.uuid())
        .with_is_internal(is_internal(topic.name.as_str()))
        .with_partitions(partitions.collect())
}

fn describe_partition(
    image: &ClusterImage,
    index: i32,
    partition: &PartitionImage,
) -> MetadataResponsePartition {
    let leader = leader_of(image, partition);
    let code = if leader.is_some() { ErrorCode::None } else { ErrorCode::LeaderNotAvailable };
    MetadataResponsePartition::default()
        .with_error_code(code.code())
        .with_partition_index(index)
        .with_leader_id(leader.unwrap_or(kafka_protocol::messages::BrokerId(NONE)))
        .with_leader_epoch(partition.leader_epoch.get())
        .with_replica_nodes(broker_ids(partition.replicas.iter().copied()))
        .with_isr_nodes(entry_ids(&partition.isr))
        .with_offline_replicas(offline_replicas(image, partition))
}
