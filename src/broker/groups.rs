//! The group coordinator's place in this broker: its log over our partitions, which of them it leads, and the topic itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tracing::{error, info};

use super::topics::{TopicError, TopicSpec};
use super::{Broker, Partitions};
use crate::config::GroupConfig;
use crate::coordinator::runtime::{
    CoordinatorLog, GroupCoordinator, Led, LogRefused, OFFSETS_TOPIC, RuntimeOptions,
};
use crate::log::{AppendError, ReadOptions, Step};
use crate::metadata::image::{BrokerImage, ClusterImage};
use crate::protocol::compression::Codec;
use crate::replication::{Partition, PartitionError, Role};
use crate::types::{Clock, LeaderEpoch, Offset};

/// How long a client's question may wait for the topic to be made.
const CREATE_TIMEOUT: Duration = Duration::from_secs(5);

/// Why nobody can be named as coordinator now. All of these pass: clients ask again.
#[derive(Debug, Clone, thiserror::Error)]
pub enum NoCoordinator {
    /// The topic is not there and could not be made.
    #[error("{OFFSETS_TOPIC} cannot be made: {0}")]
    NoTopic(Arc<str>),
    /// The partition has no live leader.
    #[error("{OFFSETS_TOPIC}-{0} has no leader now")]
    NoLeader(i32),
}

type Creation = Shared<BoxFuture<'static, Result<(), Arc<str>>>>;

/// What the broker keeps beside the coordinator itself.
#[derive(Default)]
pub(super) struct Creating(Mutex<Option<Creation>>);

pub(super) fn coordinator(
    config: &GroupConfig,
    image: Arc<ClusterImage>,
    clock: Clock,
) -> Arc<GroupCoordinator> {
    let options = RuntimeOptions {
        partitions: config.offsets_topic_num_partitions,
        codec: Codec::from_id(config.offsets_topic_compression_codec).unwrap_or(Codec::None),
        load_bytes: config.offsets_load_buffer_size,
    };
    GroupCoordinator::new(options, config.into(), image, clock)
}

/// Tells the coordinator what this broker leads under `image`, after the partitions took their roles.
pub(super) fn carry_out(groups: &GroupCoordinator, partitions: &Partitions, image: &Arc<ClusterImage>) {
    let topic = image.topic(OFFSETS_TOPIC);
    let count = topic.map_or(0, |topic| topic.partitions.len());
    let held = partitions.topic(OFFSETS_TOPIC);
    let led = held.iter().flat_map(|topic| topic.partitions()).filter_map(|partition| {
        let Role::Leader { epoch } = partition.role() else { return None };
        Some(Led {
            index: partition.name().partition,
            topic: partition.topic_id(),
            epoch,
            log: Arc::new(LedLog(Arc::clone(partition))),
        })
    });
    groups.lead(i32::try_from(count).unwrap_or(i32::MAX), led.collect());
    groups.image_changed(image);
}

/// A partition as the coordinator's log.
struct LedLog(Arc<Partition>);

impl CoordinatorLog for LedLog {
    fn ready(&self) -> Step<Result<(), LogRefused>> {
        self.0
            .ready()
            .map(|ready| ready.map_err(|unusable| LogRefused::Unusable(unusable.to_string().into())))
    }

    fn start_offset(&self) -> Offset {
        self.0.log().log_start_offset()
    }

    fn end_offset(&self) -> Offset {
        self.0.log().log_end_offset()
    }

    fn batch_bytes_max(&self) -> usize {
        usize::try_from(self.0.log().config().segment_bytes).unwrap_or(usize::MAX)
    }

    fn append(&self, batch: Bytes, epoch: LeaderEpoch) -> Step<Result<Offset, LogRefused>> {
        self.0.append_as_coordinator(batch, epoch).map(move |appended| match appended {
            Ok(info) => Ok(info.last_offset.advance(1)),
            Err(error) => Err(refused(&error, epoch)),
        })
    }

    fn read(&self, from: Offset, end: Offset, max_bytes: usize) -> Step<Result<Vec<Bytes>, LogRefused>> {
        let options = ReadOptions { max_bytes, min_one_batch: true, end, cursor: None };
        self.0.read(from, options).map(|read| match read {
            Ok(read) => Ok(read.chunks.into_vec()),
            Err(error) => Err(LogRefused::Unusable(error.to_string().into())),
        })
    }

    fn committed(&self, end: Offset, epoch: LeaderEpoch) -> Step<Result<(), LogRefused>> {
        self.0.committed(end, epoch).map(move |committed| committed.map_err(|error| refused(&error, epoch)))
    }
}

fn refused(error: &PartitionError, epoch: LeaderEpoch) -> LogRefused {
    match error {
        PartitionError::NotLeader { .. }
        | PartitionError::NotFollowing { .. }
        | PartitionError::Follower(_)
        | PartitionError::FencedLeaderEpoch { .. }
        | PartitionError::UnknownLeaderEpoch { .. }
        | PartitionError::Append(AppendError::StaleLeaderEpoch { .. }) => LogRefused::NotLeader(epoch),
        PartitionError::NotEnoughReplicas { .. }
        | PartitionError::NotEnoughReplicasAfterAppend { .. }
        | PartitionError::TimedOut { .. } => LogRefused::NotEnoughReplicas,
        PartitionError::Append(error) => LogRefused::Unusable(error.to_string().into()),
        PartitionError::Read(error) => LogRefused::Unusable(error.to_string().into()),
    }
}

impl Broker {
    /// The broker that coordinates `group`. Makes the topic of committed offsets if nobody has, and waits for it.
    ///
    /// # Errors
    /// [`NoCoordinator`].
    pub async fn find_coordinator(self: &Arc<Self>, group: &str) -> Result<Arc<BrokerImage>, NoCoordinator> {
        if self.image().topic(OFFSETS_TOPIC).is_none() {
            self.make_offsets_topic().await.map_err(NoCoordinator::NoTopic)?;
        }
        self.coordinator_now(group)
    }

    /// As [`Broker::find_coordinator`], without making the topic.
    ///
    /// # Errors
    /// [`NoCoordinator`].
    pub fn coordinator_now(&self, group: &str) -> Result<Arc<BrokerImage>, NoCoordinator> {
        let image = self.image();
        let topic =
            image.topic(OFFSETS_TOPIC).ok_or_else(|| NoCoordinator::NoTopic("it is not there yet".into()))?;
        let index = self.groups().partition_of(group);
        let partition = usize::try_from(index).ok().and_then(|index| topic.partitions.get(index));
        partition
            .and_then(|partition| partition.leader)
            .and_then(|leader| image.brokers.get(&leader.id).cloned())
            .ok_or(NoCoordinator::NoLeader(index))
    }

    /// Makes the topic of committed offsets once, however many ask, and waits until this broker serves it.
    ///
    /// # Errors
    /// Why it could not be made, in words.
    pub async fn make_offsets_topic(self: &Arc<Self>) -> Result<(), Arc<str>> {
        let creation = {
            let mut creating = self.creating.0.lock().unwrap_or_else(PoisonError::into_inner);
            let creation =
                creating.take().filter(|creation| creation.peek().is_none()).unwrap_or_else(|| {
                    let broker = Arc::clone(self);
                    async move { broker.create_offsets_topic().await }.boxed().shared()
                });
            *creating = Some(creation.clone());
            creation
        };
        creation.await
    }

    async fn create_offsets_topic(&self) -> Result<(), Arc<str>> {
        let image = self.image();
        if image.topic(OFFSETS_TOPIC).is_some() {
            return Ok(());
        }
        let config = &self.broker_config().groups;
        let live = image.brokers.values().filter(|broker| !broker.draining).count();
        let most = i32::from(config.offsets_topic_replication_factor);
        let replicas = i32::try_from(live).unwrap_or(i32::MAX).clamp(1, most.max(1));
        let spec = TopicSpec {
            name: OFFSETS_TOPIC.to_owned(),
            partitions: Some(config.offsets_topic_num_partitions),
            replication_factor: Some(replicas),
            configs: offsets_topic_configs(config),
            who: "group coordinator".to_owned(),
            ..TopicSpec::default()
        };
        match self.create_topic(spec, false, CREATE_TIMEOUT).await {
            Ok(created) => {
                let partitions = created.assignment.len();
                info!(
                    topic = OFFSETS_TOPIC,
                    partitions, replicas, "made the topic of groups and committed offsets"
                );
                Ok(())
            }
            // Another broker was first: it is in the image soon.
            Err(TopicError::Exists(_)) => Ok(()),
            Err(cause) => {
                error!(%cause, "the topic of groups and committed offsets cannot be made");
                Err(cause.to_string().into())
            }
        }
    }
}

/// As `GroupCoordinatorService.groupMetadataTopicConfigs`.
fn offsets_topic_configs(config: &GroupConfig) -> BTreeMap<String, String> {
    [
        ("cleanup.policy", "compact".to_owned()),
        ("compression.type", "producer".to_owned()),
        ("segment.bytes", config.offsets_topic_segment_bytes.to_string()),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into()
}
