//! The cluster's whole metadata as one immutable snapshot, read lock-free on the request path (decision 4).

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::keys::{BrokerMetaValue, PartitionValue, Record, TopicValue};
use crate::types::{BrokerEpoch, BrokerId, ControllerEpoch, LeaderEpoch, PartitionEpoch, TopicId, TopicName};

/// Everything this broker knows of the cluster, at one etcd revision. Cloning shares all entries.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClusterImage {
    /// The etcd revision up to which this image is complete, as far as the server said.
    pub revision: i64,
    /// The largest `mod_revision` applied, <= `revision`. Events up to it are old (rule E7).
    pub events_revision: i64,
    /// The cluster's id in Kafka's base64 form.
    pub cluster_id: Arc<str>,
    /// Brokers with a live registration.
    pub brokers: BTreeMap<BrokerId, Arc<BrokerImage>>,
    /// `mod_revision` of each `brokers/intact/<id>`: the broker epoch since which nothing was lost.
    pub intact: BTreeMap<BrokerId, BrokerEpoch>,
    /// The elected controller and its fence, if there is one.
    pub controller: Option<(BrokerId, ControllerEpoch)>,
    /// All candidates by lease; the one with the smallest epoch is the controller.
    pub candidates: BTreeMap<i64, CandidateImage>,
    /// What outlives a broker's registration.
    pub broker_meta: BTreeMap<BrokerId, Arc<BrokerMetaValue>>,
    /// Topics by name; a topic whose deletion has begun is not here.
    pub topic_names: BTreeMap<TopicName, TopicId>,
    /// Topics by id, those being deleted included.
    pub topics: BTreeMap<TopicId, Arc<TopicImage>>,
    /// What each topic's value says: the state of partitions without a record of their own follows from it.
    pub topic_values: BTreeMap<TopicId, Arc<TopicValue>>,
    /// Fields of partition records that only later versions know, to be written back; empty among brokers of one version.
    pub partition_extras: BTreeMap<(TopicId, i32), Arc<serde_json::Map<String, serde_json::Value>>>,
    /// Where the next block of producer ids begins.
    pub producer_ids_next: i64,
    /// Dynamic configuration by entity: key -> value.
    pub configs: BTreeMap<ConfigEntity, Arc<BTreeMap<String, String>>>,
}

/// A candidate for the controller's role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CandidateImage {
    /// The candidate.
    pub broker: BrokerId,
    /// Its lifetime.
    pub broker_epoch: BrokerEpoch,
    /// `create_revision` of its key.
    pub epoch: ControllerEpoch,
}

/// A live broker: the value of `brokers/live/<id>` and its epoch.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerImage {
    /// The broker.
    pub id: BrokerId,
    /// `create_revision` of the registration (rule E3).
    pub epoch: BrokerEpoch,
    /// Names one process lifetime before its epoch is known.
    pub incarnation: Uuid,
    /// `/proc/sys/kernel/random/boot_id` of its host.
    pub boot_id: String,
    /// Its advertised listeners.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Directory ids of its `log.dirs`.
    pub directories: Vec<Uuid>,
    /// Version of ketcd.
    pub version: String,
    /// It takes no new leaderships.
    pub draining: bool,
    /// It is about to end: no additions to an ISR (KIP-841).
    pub stopping: bool,
    /// `mod_revision` of the registration: it moves when one of the flags does, the epoch does not.
    pub mod_revision: i64,
}

impl BrokerImage {
    /// Where other brokers reach it: by the listener called `name` (`inter.broker.listener.name`), or by its listener PLAINTEXT, else its
    /// first. `None` if it has no such listener.
    #[must_use]
    pub fn inter_broker_endpoint(&self, name: Option<&str>) -> Option<&Endpoint> {
        let called =
            |name: &str| self.endpoints.iter().find(|endpoint| endpoint.listener.eq_ignore_ascii_case(name));
        match name {
            Some(name) => called(name),
            None => called("PLAINTEXT").or_else(|| self.endpoints.first()),
        }
    }
}

/// Where clients of one listener reach a broker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Listener name, e.g. `PLAINTEXT`.
    pub listener: String,
    /// Host name or address.
    pub host: String,
    /// TCP port.
    pub port: u16,
    /// Security protocol, e.g. `PLAINTEXT`.
    pub security_protocol: String,
}

/// A topic: the value of `topics/id/<uuid>` and the partitions' records.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicImage {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// `mod_revision` of the topic's value, compared by every change of the topic.
    pub mod_revision: i64,
    /// Its deletion has begun.
    pub deleting: bool,
    /// Its partitions, by index. A partition without a record of its own is as assigned.
    pub partitions: Vec<Arc<PartitionImage>>,
}

impl TopicImage {
    /// A partition by its number.
    #[must_use]
    pub fn partition(&self, index: i32) -> Option<&Arc<PartitionImage>> {
        self.partitions.get(usize::try_from(index).ok()?)
    }
}

/// One process lifetime of a broker, as an ISR or ELR names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct ReplicaEntry {
    /// The broker.
    pub id: BrokerId,
    /// The lifetime that was in sync.
    pub epoch: BrokerEpoch,
}

/// State of one partition: its record in etcd, or what its topic's assignment implies.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionImage {
    /// Replicas in preference order.
    pub replicas: Vec<BrokerId>,
    /// The leader and its lifetime; `None` while there is none.
    pub leader: Option<ReplicaEntry>,
    /// Grows at each leader change.
    pub leader_epoch: LeaderEpoch,
    /// In-sync replicas.
    pub isr: Vec<ReplicaEntry>,
    /// Eligible leader replicas (KIP-966).
    pub elr: Vec<ReplicaEntry>,
    /// Last known leader, when there is neither ISR nor ELR.
    pub last_known_leader: Option<BrokerId>,
    /// Replicas being added.
    pub adding: Vec<BrokerId>,
    /// Replicas being removed.
    pub removing: Vec<BrokerId>,
    /// After an unclean election, until the leader has recovered (rule L13).
    pub recovering: bool,
    /// Why the record was last changed.
    pub why: String,
    /// `mod_revision` of the record; 0 while there is none.
    pub partition_epoch: PartitionEpoch,
}

/// What an entry of an ISR or ELR is worth now (`etcd.md`: entries name process lifetimes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing was lost since, and the broker is there.
    Counting,
    /// Nothing is known to be lost, and the broker is away: it may come back intact.
    Unknown,
    /// The broker's data may have lost something since.
    Refuted,
}

/// What a dynamic configuration belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConfigEntity {
    /// One topic, by name.
    Topic(TopicName),
    /// One broker.
    Broker(BrokerId),
    /// All brokers (Kafka's entity `""`).
    ClusterDefault,
    /// A client-metrics subscription.
    ClientMetrics(String),
    /// A group.
    Group(String),
}

impl ClusterImage {
    /// The topic of that name, unless it does not exist or is being deleted.
    #[must_use]
    pub fn topic(&self, name: &str) -> Option<&Arc<TopicImage>> {
        self.topics.get(self.topic_names.get(name)?)
    }

    /// A partition by its topic and number.
    #[must_use]
    pub fn partition(&self, topic: TopicId, index: i32) -> Option<&Arc<PartitionImage>> {
        self.topics.get(&topic)?.partition(index)
    }

    /// The record that says what the image shows of a partition, fields of later versions included: where a change of it starts.
    #[must_use]
    pub fn partition_record(&self, topic: TopicId, partition: i32) -> Option<Record<PartitionValue>> {
        let image = self.partition(topic, partition)?;
        let unknown = self.partition_extras.get(&(topic, partition));
        let unknown = unknown.map(|unknown| unknown.as_ref().clone()).unwrap_or_default();
        Some(Record::with_unknown(PartitionValue::from(image.as_ref()), unknown))
    }

    /// What `entry` is worth. An entry without a recorded lifetime (epoch 0) is refuted.
    #[must_use]
    pub fn standing(&self, entry: ReplicaEntry) -> Standing {
        if entry.epoch.get() <= 0 || self.intact.get(&entry.id).is_some_and(|since| *since > entry.epoch) {
            Standing::Refuted
        } else if self.brokers.get(&entry.id).is_some_and(|live| live.epoch >= entry.epoch) {
            Standing::Counting
        } else {
            Standing::Unknown
        }
    }

    /// That very lifetime goes on.
    #[must_use]
    pub fn lives(&self, entry: ReplicaEntry) -> bool {
        self.brokers.get(&entry.id).is_some_and(|live| live.epoch == entry.epoch)
    }

    /// The same registrations with the same flags as in `other`.
    #[must_use]
    pub fn has_same_brokers(&self, other: &Self) -> bool {
        let same = |(a, b): (&Arc<BrokerImage>, &Arc<BrokerImage>)| {
            Arc::ptr_eq(a, b) || (a.id, a.epoch, a.mod_revision) == (b.id, b.epoch, b.mod_revision)
        };
        self.brokers.len() == other.brokers.len()
            && self.brokers.values().zip(other.brokers.values()).all(same)
    }

    /// The same dynamic configuration of `entity` as in `other`, by identity: an entry that did not change is shared.
    #[must_use]
    pub fn has_same_config(&self, other: &Self, entity: &ConfigEntity) -> bool {
        match (self.config(entity), other.config(entity)) {
            (None, None) => true,
            (Some(a), Some(b)) => Arc::ptr_eq(a, b),
            _ => false,
        }
    }

    /// The dynamic configuration of `entity`, if it has any.
    #[must_use]
    pub fn config(&self, entity: &ConfigEntity) -> Option<&Arc<BTreeMap<String, String>>> {
        self.configs.get(entity)
    }
}

/// Images by hand, for tests of what decides on them.
impl PartitionImage {
    /// A partition as its topic assigns it, without a record: the first replica leads in epoch 0, all are in sync.
    #[must_use]
    pub fn assigned(isr: Vec<ReplicaEntry>) -> Self {
        Self {
            replicas: isr.iter().map(|entry| entry.id).collect(),
            leader: isr.first().copied(),
            leader_epoch: LeaderEpoch(0),
            isr,
            elr: Vec::new(),
            last_known_leader: None,
            adding: Vec::new(),
            removing: Vec::new(),
            recovering: false,
            why: String::new(),
            partition_epoch: PartitionEpoch(0),
        }
    }
}

#[cfg(test)]
impl BrokerImage {
    /// A broker that is registered in that lifetime, and says nothing more.
    pub(crate) fn of(id: BrokerId, epoch: BrokerEpoch) -> Self {
        Self {
            id,
            epoch,
            incarnation: Uuid::nil(),
            boot_id: String::new(),
            endpoints: Vec::new(),
            rack: None,
            directories: Vec::new(),
            version: String::new(),
            draining: false,
            stopping: false,
            mod_revision: epoch.get(),
        }
    }
}

#[cfg(test)]
impl ClusterImage {
    /// Registers a broker in that lifetime, with no flags.
    pub(crate) fn put_broker(&mut self, entry: ReplicaEntry) {
        self.brokers.insert(entry.id, Arc::new(BrokerImage::of(entry.id, entry.epoch)));
    }

    /// A topic `id` with these partitions, its value written at `mod_revision`.
    pub(crate) fn put_topic(&mut self, id: TopicId, mod_revision: i64, partitions: Vec<PartitionImage>) {
        let name = TopicName::new(&format!("topic-{id}")).unwrap();
        let partitions = partitions.into_iter().map(Arc::new).collect();
        self.topic_names.insert(name.clone(), id);
        let topic = TopicImage { id, name, mod_revision, deleting: false, partitions };
        self.topics.insert(id, Arc::new(topic));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brokers_meet_at_the_named_listener_else_at_plaintext_else_at_the_first() {
        let endpoint = |name: &str, port| Endpoint {
            listener: name.into(),
            host: "h".into(),
            port,
            security_protocol: "PLAINTEXT".into(),
        };
        let mut broker = BrokerImage::of(BrokerId(1), BrokerEpoch(5));
        broker.endpoints = vec![endpoint("OUTSIDE", 1), endpoint("PLAINTEXT", 2), endpoint("INSIDE", 3)];
        let port = |broker: &BrokerImage, name| broker.inter_broker_endpoint(name).map(|found| found.port);
        assert_eq!(port(&broker, Some("inside")), Some(3));
        assert_eq!(port(&broker, Some("NOWHERE")), None, "clients' listeners are not for brokers");
        assert_eq!(port(&broker, None), Some(2));
        broker.endpoints.remove(1);
        assert_eq!(port(&broker, None), Some(1));
    }
}
