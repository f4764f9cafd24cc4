//! The group coordinator's place in this broker: its log over our partitions, which of them it leads, and the topic itself.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};
use tracing::{error, info};

use super::Broker;
use super::topics::{TopicError, TopicSpec};
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
/// With fewer brokers than the topic is to have replicas, it is made once for so long none came or went: a cluster that starts has its
/// brokers together by then, and a broker that is alone keeps its first group waiting no longer.
const BROKERS_SETTLE: Duration = Duration::from_secs(3);

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
pub(super) struct Creating {
    topic: Mutex<Option<Creation>>,
    /// How many brokers there are, and since when.
    brokers: Mutex<(usize, Duration)>,
}

pub(super) fn coordinator(
    config: &GroupConfig,
    image: Arc<ClusterImage>,
    clock: Clock,
) -> Arc<GroupCoordinator> {
    let options = RuntimeOptions {
        partitions: config.offsets_topic_num_partitions,
        codec: Codec::from_id(config.offsets_topic_compression_codec).unwrap_or(Codec::None),
        load_bytes: config.offsets_load_buffer_size,
        commit_timeout: config.offsets_commit_timeout,
    };
    GroupCoordinator::new(options, config.into(), image, clock)
}

/// Tells the coordinator what this broker leads under `image`, after the partitions took their roles.
pub(super) fn carry_out(broker: &Broker, image: &Arc<ClusterImage>) {
    broker.creating.count_brokers(image, broker.clock().elapsed());
    let (groups, partitions) = (broker.groups(), broker.partitions());
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

impl Creating {
    fn count_brokers(&self, image: &ClusterImage, now: Duration) {
        let mut brokers = self.brokers.lock().unwrap_or_else(PoisonError::into_inner);
        if brokers.0 != image.brokers.len() {
            *brokers = (image.brokers.len(), now);
        }
    }

    /// For how long the number of brokers has been what it is.
    fn settled_for(&self, now: Duration) -> Duration {
        now.saturating_sub(self.brokers.lock().unwrap_or_else(PoisonError::into_inner).1)
    }
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
    /// For how long no broker has come or gone.
    pub(super) fn brokers_settled_for(&self) -> Duration {
        self.creating.settled_for(self.clock().elapsed())
    }

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
        topic
            .partition(index)
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
            let mut creating = self.creating.topic.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// Waits until there are brokers enough for the topic, or until no more are to be expected.
    async fn wait_for_replicas(&self) -> Arc<ClusterImage> {
        let config = &self.broker_config().groups;
        let mut images = self.metadata().images();
        loop {
            let image = Arc::clone(&images.borrow_and_update());
            let wanted = usize::try_from(config.offsets_topic_replication_factor).unwrap_or(1);
            let settled = self.creating.settled_for(self.clock().elapsed());
            let left = BROKERS_SETTLE.saturating_sub(settled);
            let known = image.topic(OFFSETS_TOPIC).is_some();
            if known || replicas_possible(&image, config) >= wanted || left.is_zero() {
                return image;
            }
            // The next image, or the end of the wait.
            let _ = tokio::time::timeout(left, images.changed()).await;
        }
    }

    async fn create_offsets_topic(&self) -> Result<(), Arc<str>> {
        let image = self.wait_for_replicas().await;
        if image.topic(OFFSETS_TOPIC).is_some() {
            return Ok(());
        }
        let config = &self.broker_config().groups;
        let replicas = i32::try_from(replicas_possible(&image, config)).unwrap_or(i32::MAX);
        let spec = TopicSpec {
            name: OFFSETS_TOPIC.to_owned(),
            partitions: Some(config.offsets_topic_num_partitions),
            replication_factor: Some(replicas),
            configs: offsets_topic_configs(config, replicas),
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

/// As many replicas as are configured, or as there are brokers to hold them.
pub(super) fn replicas_possible(image: &ClusterImage, config: &GroupConfig) -> usize {
    let live = image.brokers.values().filter(|broker| !broker.draining && !broker.stopping).count();
    live.clamp(1, usize::try_from(config.offsets_topic_replication_factor).unwrap_or(1).max(1))
}

/// `min.insync.replicas` of an internal topic of so many replicas: where one of three may be lost, two must have a record. `None`: as the
/// brokers are configured.
pub(super) const fn internal_min_isr(replicas: usize) -> Option<usize> {
    if replicas >= 3 { Some(2) } else { None }
}

/// As `GroupCoordinatorService.groupMetadataTopicConfigs`.
fn offsets_topic_configs(config: &GroupConfig, replicas: i32) -> BTreeMap<String, String> {
    let min_isr = usize::try_from(replicas).ok().and_then(internal_min_isr);
    [
        Some(("cleanup.policy", "compact".to_owned())),
        Some(("compression.type", "producer".to_owned())),
        Some(("segment.bytes", config.offsets_topic_segment_bytes.to_string())),
        min_isr.map(|min_isr| ("min.insync.replicas", min_isr.to_string())),
    ]
    .into_iter()
    .flatten()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::image::BrokerImage;
    use crate::types::{BrokerEpoch, BrokerId};

    fn image(brokers: i32, draining: i32) -> ClusterImage {
        let mut image = ClusterImage::default();
        for id in 0..brokers {
            let broker =
                BrokerImage { draining: id < draining, ..BrokerImage::of(BrokerId(id), BrokerEpoch(1)) };
            image.brokers.insert(BrokerId(id), Arc::new(broker));
        }
        image
    }

    fn config(factor: i16) -> GroupConfig {
        let mut options =
            crate::config::LoadOptions::from_process(crate::config::Mode::Dev, Arc::new(|_| Ok("h".into())));
        options.env.clear();
        options.set = vec![format!("offsets.topic.replication.factor={factor}")];
        crate::config::load(&options).unwrap().broker().groups.clone()
    }

    #[test]
    fn the_topic_of_groups_has_as_many_replicas_as_wanted_and_possible() {
        for (brokers, draining, factor, expected) in
            [(3, 0, 3, 3), (5, 0, 3, 3), (2, 0, 3, 2), (3, 1, 3, 2), (1, 0, 3, 1), (3, 0, 1, 1), (0, 0, 3, 1)]
        {
            let possible = replicas_possible(&image(brokers, draining), &config(factor));
            assert_eq!(possible, expected, "{brokers} brokers, {draining} draining, factor {factor}");
        }
    }

    #[test]
    fn where_there_are_three_replicas_two_must_have_a_record() {
        let of = |replicas| offsets_topic_configs(&config(3), replicas).get("min.insync.replicas").cloned();
        assert_eq!((of(1), of(2), of(3)), (None, None, Some("2".to_owned())));
    }

    #[test]
    fn the_number_of_brokers_settles_when_nobody_comes_or_goes() {
        let creating = Creating::default();
        let at = Duration::from_secs;
        creating.count_brokers(&image(1, 0), at(10));
        creating.count_brokers(&image(1, 1), at(12));
        assert_eq!(creating.settled_for(at(13)), at(3));
        creating.count_brokers(&image(2, 0), at(13));
        assert_eq!(creating.settled_for(at(14)), at(1));
    }
}
