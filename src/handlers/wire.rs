//! Small conversions between wire types and ours, shared by handlers.

use std::collections::BTreeSet;

use kafka_protocol::messages::{BrokerId as WireBrokerId, TopicName as WireTopicName};
use kafka_protocol::protocol::StrBytes;

use crate::broker::configs::broker_entity;
use crate::coordinator::runtime::OFFSETS_TOPIC;
use crate::metadata::image::{ClusterImage, ConfigEntity, Endpoint, PartitionImage, ReplicaEntry};
use crate::protocol::error::ErrorCode;
use crate::replication::election;
use crate::types::{BrokerId, LeaderEpoch, TopicName};

/// "None" of leader ids and epochs on the wire.
pub const NONE: i32 = -1;

/// A text as the codec wants it.
pub fn text(text: impl AsRef<str>) -> StrBytes {
    StrBytes::from_string(text.as_ref().to_owned())
}

/// A topic name as the codec wants it.
pub fn topic_name(name: &TopicName) -> WireTopicName {
    WireTopicName(text(name.as_str()))
}

/// Whether a topic is a coordinator's own (`Topic.isInternal`).
pub fn is_internal(name: &str) -> bool {
    name == OFFSETS_TOPIC
}

/// A broker id as the codec wants it.
pub const fn broker_id(id: BrokerId) -> WireBrokerId {
    WireBrokerId(id.get())
}

/// Broker ids as the codec wants them.
pub fn broker_ids(ids: impl IntoIterator<Item = BrokerId>) -> Vec<WireBrokerId> {
    ids.into_iter().map(broker_id).collect()
}

/// The brokers of ISR or ELR entries.
pub fn entry_ids(entries: &[ReplicaEntry]) -> Vec<WireBrokerId> {
    broker_ids(entries.iter().map(|entry| entry.id))
}

/// The leader of a partition as clients should know it. A broker that was started again leads nothing before its ballot.
pub fn leader_of(image: &ClusterImage, partition: &PartitionImage) -> Option<WireBrokerId> {
    election::leader_now(image, partition).map(broker_id)
}

/// Replicas whose brokers are not there.
pub fn offline_replicas(image: &ClusterImage, partition: &PartitionImage) -> Vec<WireBrokerId> {
    broker_ids(partition.replicas.iter().copied().filter(|id| !image.brokers.contains_key(id)))
}

/// A leader epoch of a request: `-1` says that the client knows none.
pub fn leader_epoch(raw: i32) -> Option<LeaderEpoch> {
    (raw >= 0).then_some(LeaderEpoch(raw))
}

/// The endpoint that clients of `listener` should use.
pub fn endpoint_of<'a>(endpoints: &'a [Endpoint], listener: &str) -> Option<&'a Endpoint> {
    endpoints.iter().find(|endpoint| endpoint.listener == listener)
}

/// Operations of a topic that Kafka knows, as a bit field over `AclOperation` codes. Without an authorizer all are allowed.
pub const TOPIC_OPERATIONS: i32 = bits(&[3, 4, 5, 6, 7, 8, 10, 11]);
/// Operations of the cluster that Kafka knows (`AclEntry.supportedOperations`).
pub const CLUSTER_OPERATIONS: i32 = bits(&[5, 7, 8, 9, 10, 11, 12]);
/// Operations of a group that Kafka knows.
pub const GROUP_OPERATIONS: i32 = bits(&[3, 6, 8, 10, 11]);
/// Says that the operations were not asked for.
pub const OPERATIONS_NOT_ASKED: i32 = i32::MIN;

const fn bits(codes: &[i32]) -> i32 {
    let mut field = 0;
    let mut rest = codes;
    while let [code, others @ ..] = rest {
        field |= 1 << *code;
        rest = others;
    }
    field
}

/// An error with the text that tells its cause.
#[derive(Debug, Clone)]
pub struct Failure {
    /// Kafka's code.
    pub code: ErrorCode,
    /// What, where, how to mend it.
    pub message: String,
}

impl Failure {
    /// `code` because of `message`.
    pub fn new(code: ErrorCode, message: impl ToString) -> Self {
        Self { code, message: message.to_string() }
    }

    /// The message as the codec wants it.
    pub fn text(&self) -> Option<StrBytes> {
        Some(text(&self.message))
    }
}

/// What a request names more than once. Kafka refuses each of it: one answer cannot tell of two outcomes.
pub fn repeated<T: Ord>(all: impl IntoIterator<Item = T>) -> BTreeSet<T> {
    let (mut seen, mut repeated) = (BTreeSet::new(), BTreeSet::new());
    for one in all {
        if let Some(first) = seen.replace(one) {
            repeated.insert(first);
        }
    }
    repeated
}

/// Number of resources that are topics.
pub const RESOURCE_TOPIC: i8 = 2;
/// Number of resources that are brokers.
pub const RESOURCE_BROKER: i8 = 4;
/// Number of resources that are groups (KIP-848).
pub const RESOURCE_GROUP: i8 = 32;

/// What a configuration resource of a request means.
///
/// # Errors
/// INVALID_TOPIC_EXCEPTION, INVALID_REQUEST for names that are none, and for resource types that have no configuration here.
pub fn config_entity(resource_type: i8, name: &str) -> Result<ConfigEntity, Failure> {
    match resource_type {
        RESOURCE_TOPIC => TopicName::new(name)
            .map(ConfigEntity::Topic)
            .map_err(|cause| Failure::new(ErrorCode::InvalidTopicException, cause)),
        RESOURCE_BROKER => broker_entity(name).ok_or_else(|| {
            Failure::new(ErrorCode::InvalidRequest, format!("{name:?} is not the id of a broker"))
        }),
        RESOURCE_GROUP if name.is_empty() => {
            Err(Failure::new(ErrorCode::InvalidRequest, "groups have no common configuration: name one"))
        }
        RESOURCE_GROUP => Ok(ConfigEntity::Group(name.to_owned())),
        other => Err(Failure::new(
            ErrorCode::InvalidRequest,
            format!("resource type {other} has no configuration here: topics are 2, brokers 4, groups 32"),
        )),
    }
}
