//! From events to images: pure. The same events on the same image give the same image.
//!
//! Values that cannot be read never stop an image from being built: they become [`Fact`]s for the shell to count and to log.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::image::{BrokerImage, CandidateImage, ClusterImage, PartitionImage, ReplicaEntry, TopicImage};
use super::keys::{
    BrokerLiveValue, BrokerMetaValue, CandidateValue, ClusterValue, ConfigValue, Key, KeyError, Keys,
    PartitionValue, ProducerIdsValue, Record, TopicNameValue, TopicValue, ValueError,
};
use crate::types::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, PartitionEpoch, TopicId};

/// What happened to one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyEvent {
    /// The key.
    pub key: Vec<u8>,
    /// When.
    pub mod_revision: i64,
    /// What.
    pub change: Change,
}

/// What happened to a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It has this value.
    Put {
        /// The value.
        value: Vec<u8>,
        /// Revision of the key's creation.
        create_revision: i64,
    },
    /// It is gone.
    Delete,
}

/// Something that an operator or a test may want to know of an application.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fact {
    /// Events that this image had already seen (rule E7).
    AlreadyApplied {
        /// How many.
        events: usize,
    },
    /// A key that is none of ours.
    AlienKey(KeyError),
    /// A value that cannot be read.
    UnreadableValue {
        /// The key.
        key: Key,
        /// Its `mod_revision`.
        mod_revision: i64,
        /// What is wrong.
        error: ValueError,
    },
    /// A partition's record with an older leader epoch than the one known (rule E14); ignored.
    StalePartition {
        /// The topic.
        topic: TopicId,
        /// The partition.
        partition: i32,
    },
    /// A partition's record whose topic has no such partition; ignored.
    OrphanPartition {
        /// The topic.
        topic: TopicId,
        /// The partition.
        partition: i32,
    },
}

/// An image and what was met on the way to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Applied {
    /// The new image.
    pub image: ClusterImage,
    /// What was met.
    pub facts: Vec<Fact>,
}

/// The image of all keys as they stood at `revision`.
#[must_use]
pub fn from_snapshot(keys: &Keys, entries: &[KeyEvent], revision: i64) -> Applied {
    let mut builder = Builder::new(ClusterImage::default());
    let mut parsed = builder.parse(keys, entries, 0);
    parsed.sort_by_key(|(key, _)| rank(key));
    builder.change_all(parsed);
    builder.finish(revision, revision)
}

/// `image` after `events`, which are in revision order; events up to `image.events_revision` are ignored. `progress` is a revision
/// that the server says is complete, or 0.
///
/// # Cost
/// One copy of the maps' spines, all entries shared; then one copy of each entry that changes, however many events it has.
#[must_use]
pub fn apply(keys: &Keys, image: &ClusterImage, events: &[KeyEvent], progress: i64) -> Applied {
    let mut builder = Builder::new(image.clone());
    let mut parsed = builder.parse(keys, events, image.events_revision);
    // Within one revision a topic comes before its partitions, whatever the order of the operations.
    parsed.sort_by_key(|(key, event)| (event.mod_revision, rank(key)));
    let last = events.iter().map(|event| event.mod_revision).max().unwrap_or(0);
    builder.change_all(parsed);
    let events_revision = image.events_revision.max(last);
    builder.finish(events_revision, image.revision.max(events_revision).max(progress))
}

/// How many entries differ between two images of the same revision.
#[must_use]
pub fn differences(left: &ClusterImage, right: &ClusterImage) -> usize {
    fn maps<K: Ord, V: PartialEq>(left: &BTreeMap<K, V>, right: &BTreeMap<K, V>) -> usize {
        let changed = left.iter().filter(|(key, value)| right.get(key) != Some(value)).count();
        changed + right.keys().filter(|key| !left.contains_key(key)).count()
    }
    usize::from(left.cluster_id != right.cluster_id)
        + maps(&left.brokers, &right.brokers)
        + maps(&left.intact, &right.intact)
        + maps(&left.candidates, &right.candidates)
        + maps(&left.broker_meta, &right.broker_meta)
        + maps(&left.topic_names, &right.topic_names)
        + maps(&left.topics, &right.topics)
        + maps(&left.configs, &right.configs)
}

/// A partition whose leader epoch is older in `fresh` than in `known`: epochs only grow, so `fresh` is of an etcd that has forgotten
/// (rule E13). Its name, and both epochs.
#[must_use]
pub fn older_epoch(known: &ClusterImage, fresh: &ClusterImage) -> Option<(String, LeaderEpoch, LeaderEpoch)> {
    fresh.topics.values().find_map(|topic| {
        let before = known.topics.get(&topic.id).filter(|before| !Arc::ptr_eq(before, topic))?;
        let both = (0_i32..).zip(before.partitions.iter().zip(&topic.partitions));
        both.filter(|(_, (before, now))| now.leader_epoch < before.leader_epoch)
            .map(|(index, (before, now))| {
                (format!("{}-{index}", topic.name), before.leader_epoch, now.leader_epoch)
            })
            .next()
    })
}

/// Topics before partitions.
const fn rank(key: &Key) -> u8 {
    match key {
        Key::TopicById(_) => 0,
        Key::Partition(..) => 2,
        _ => 1,
    }
}

struct Builder {
    image: ClusterImage,
    facts: Vec<Fact>,
}

impl Builder {
    const fn new(image: ClusterImage) -> Self {
        Self { image, facts: Vec::new() }
    }

    /// Reads the keys of the events after `seen`.
    fn parse<'e>(&mut self, keys: &Keys, events: &'e [KeyEvent], seen: i64) -> Vec<(Key, &'e KeyEvent)> {
        let mut parsed = Vec::with_capacity(events.len());
        let mut old = 0;
        for event in events {
            if event.mod_revision <= seen {
                old += 1;
                continue;
            }
            match keys.parse(&event.key) {
                Ok(key) => parsed.push((key, event)),
                Err(error) => self.facts.push(Fact::AlienKey(error)),
            }
        }
        if old > 0 {
            self.facts.push(Fact::AlreadyApplied { events: old });
        }
        parsed
    }

    fn change_all(&mut self, events: Vec<(Key, &KeyEvent)>) {
        for (key, event) in events {
            let changed = match &event.change {
                Change::Put { value, create_revision } => {
                    self.put(&key, value, *create_revision, event.mod_revision)
                }
                Change::Delete => {
                    self.delete(&key);
                    Ok(())
                }
            };
            if let Err(error) = changed {
                self.facts.push(Fact::UnreadableValue { key, mod_revision: event.mod_revision, error });
            }
        }
    }

    fn finish(mut self, events_revision: i64, revision: i64) -> Applied {
        self.image.revision = revision;
        self.image.events_revision = events_revision;
        self.image.controller = self
            .image
            .candidates
            .values()
            .min_by_key(|candidate| candidate.epoch)
            .map(|candidate| (candidate.broker, candidate.epoch));
        Applied { image: self.image, facts: self.facts }
    }

    fn put(
        &mut self,
        key: &Key,
        value: &[u8],
        create_revision: i64,
        mod_revision: i64,
    ) -> Result<(), ValueError> {
        let image = &mut self.image;
        match key {
            Key::Cluster => {
                image.cluster_id = Record::<ClusterValue>::decode(value)?.value.cluster_id.into();
            }
            Key::BrokerLive(id) => {
                let live = Record::<BrokerLiveValue>::decode(value)?.value;
                let broker = BrokerImage {
                    id: *id,
                    epoch: BrokerEpoch(create_revision),
                    incarnation: live.incarnation,
                    boot_id: live.boot_id,
                    endpoints: live.endpoints,
                    rack: live.rack,
                    directories: live.directories,
                    version: live.version,
                    draining: live.draining,
                    stopping: live.stopping,
                    mod_revision,
                };
                image.brokers.insert(*id, Arc::new(broker));
            }
            Key::BrokerIntact(id) => {
                image.intact.insert(*id, BrokerEpoch(mod_revision));
            }
            Key::BrokerMeta(id) => {
                let meta = Record::<BrokerMetaValue>::decode(value)?.value;
                image.broker_meta.insert(*id, Arc::new(meta));
            }
            Key::Candidate(lease) => {
                let CandidateValue { broker, broker_epoch } = Record::decode(value)?.value;
                let epoch = ControllerEpoch(create_revision);
                image.candidates.insert(*lease, CandidateImage { broker, broker_epoch, epoch });
            }
            Key::TopicByName(name) => {
                let TopicNameValue { id } = Record::decode(value)?.value;
                image.topic_names.insert(name.clone(), id);
            }
            Key::TopicById(id) => self.put_topic(*id, Record::decode(value)?.value, mod_revision),
            Key::Partition(topic, partition) => {
                return self.put_partition(*topic, *partition, value, mod_revision);
            }
            Key::Config(entity) => {
                let config = Record::<ConfigValue>::decode(value)?.value;
                image.configs.insert(entity.clone(), Arc::new(config.entries));
            }
            Key::ProducerIds => {
                image.producer_ids_next = Record::<ProducerIdsValue>::decode(value)?.value.next
            }
            Key::BrokerLast(_) | Key::BrokerAutoId(_) | Key::Audit(_) => {}
        }
        Ok(())
    }

    fn delete(&mut self, key: &Key) {
        let image = &mut self.image;
        match key {
            Key::BrokerLive(id) => {
                image.brokers.remove(id);
            }
            Key::BrokerIntact(id) => {
                image.intact.remove(id);
            }
            Key::BrokerMeta(id) => {
                image.broker_meta.remove(id);
            }
            Key::Candidate(lease) => {
                image.candidates.remove(lease);
            }
            Key::TopicByName(name) => {
                image.topic_names.remove(name);
            }
            Key::TopicById(id) => {
                image.topics.remove(id);
                image.topic_values.remove(id);
            }
            Key::Partition(topic, partition) => self.delete_partition(*topic, *partition),
            Key::Config(entity) => {
                image.configs.remove(entity);
            }
            // The cluster's own key is never deleted by us; a wiped etcd is found by its revision (rule E13).
            Key::Cluster | Key::BrokerLast(_) | Key::BrokerAutoId(_) | Key::ProducerIds | Key::Audit(_) => {}
        }
    }

    /// Partitions with a record keep it; all others follow from the value.
    fn put_topic(&mut self, id: TopicId, value: TopicValue, mod_revision: i64) {
        let known = self.image.topics.get(&id);
        let mut partitions: Vec<Arc<PartitionImage>> = Vec::with_capacity(value.assignment.len());
        for (index, replicas) in (0..).zip(&value.assignment) {
            let recorded = known
                .and_then(|topic| topic.partitions.get(partitions.len()))
                .filter(|partition| partition.partition_epoch.get() > 0);
            let partition = recorded.cloned().unwrap_or_else(|| {
                let partition = as_assigned(&value, index, replicas);
                // Equal neighbours share one entry: most partitions of small clusters are equal.
                match partitions.last() {
                    Some(last) if **last == partition => Arc::clone(last),
                    _ => Arc::new(partition),
                }
            });
            partitions.push(partition);
        }
        let topic =
            TopicImage { id, name: value.name.clone(), mod_revision, deleting: value.deleting, partitions };
        self.image.topics.insert(id, Arc::new(topic));
        self.image.topic_values.insert(id, Arc::new(value));
    }

    fn put_partition(
        &mut self,
        topic: TopicId,
        partition: i32,
        value: &[u8],
        mod_revision: i64,
    ) -> Result<(), ValueError> {
        let index = usize::try_from(partition).unwrap_or(usize::MAX);
        let Some(topic_image) =
            self.image.topics.get_mut(&topic).filter(|topic| index < topic.partitions.len())
        else {
            self.facts.push(Fact::OrphanPartition { topic, partition });
            return Ok(());
        };
        let Some(slot) = Arc::make_mut(topic_image).partitions.get_mut(index) else { return Ok(()) };
        let partition_epoch = PartitionEpoch(mod_revision);
        if slot.partition_epoch >= partition_epoch {
            return Ok(());
        }
        match Record::<PartitionValue>::decode(value) {
            Ok(record) if record.value.leader_epoch < slot.leader_epoch => {
                self.facts.push(Fact::StalePartition { topic, partition });
                Ok(())
            }
            Ok(record) => {
                let value = record.value;
                *slot = Arc::new(PartitionImage {
                    replicas: value.replicas,
                    leader: value.leader,
                    leader_epoch: value.leader_epoch,
                    isr: value.isr,
                    elr: value.elr,
                    last_known_leader: value.last_known_leader,
                    adding: value.adding,
                    removing: value.removing,
                    recovering: value.recovering,
                    why: value.why,
                    partition_epoch,
                });
                let extras = &mut self.image.partition_extras;
                if record.unknown.is_empty() {
                    extras.remove(&(topic, partition));
                } else {
                    extras.insert((topic, partition), Arc::new(record.unknown));
                }
                Ok(())
            }
            Err(error) => {
                // Whatever the record says, it is not what we knew: nobody leads by guesswork.
                *slot = Arc::new(PartitionImage {
                    leader: None,
                    isr: Vec::new(),
                    elr: Vec::new(),
                    last_known_leader: None,
                    why: format!("unreadable record: {error}"),
                    partition_epoch,
                    ..(**slot).clone()
                });
                Err(error)
            }
        }
    }

    fn delete_partition(&mut self, topic: TopicId, partition: i32) {
        self.image.partition_extras.remove(&(topic, partition));
        let Some(value) = self.image.topic_values.get(&topic) else { return };
        let Ok(index) = usize::try_from(partition) else { return };
        let Some(replicas) = value.assignment.get(index) else { return };
        let partition = as_assigned(value, partition, replicas);
        if let Some(topic_image) = self.image.topics.get_mut(&topic)
            && let Some(slot) = Arc::make_mut(topic_image).partitions.get_mut(index)
        {
            *slot = Arc::new(partition);
        }
    }
}

/// The state of a partition without a record.
fn as_assigned(value: &TopicValue, partition: i32, replicas: &[BrokerId]) -> PartitionImage {
    let entry = |broker: &BrokerId| ReplicaEntry { id: *broker, epoch: value.epoch_of(*broker, partition) };
    PartitionImage::assigned(replicas.iter().map(entry).collect())
}

#[cfg(test)]
#[path = "apply_tests.rs"]
mod tests;
