//! `topics/name/<topic>` and `topics/id/<uuid>`: a topic is created by one Txn of these two puts.
//!
//! A partition without a record of its own ([`super::partitions`]) is as assigned here: its leader is the first replica, its leader
//! epoch 0, its ISR all replicas, each in the broker epoch recorded here.

use serde::{Deserialize, Serialize};

use super::{Key, decode_name, encode_name};
use crate::metadata::image::ReplicaEntry;
use crate::types::{BrokerEpoch, BrokerId, TopicId, TopicName};

/// Value of `topics/name/<topic>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicNameValue {
    /// The topic's id.
    pub id: TopicId,
}

/// Value of `topics/id/<uuid>`. Every change of the topic compares its `mod_revision`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicValue {
    /// Its name.
    pub name: TopicName,
    /// When it was created, milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// Replicas of each partition, in preference order.
    pub assignment: Vec<Vec<BrokerId>>,
    /// Lifetimes of the assigned brokers: one entry per creation and per addition of partitions, by ascending `from`.
    pub epochs: Vec<EpochsFrom>,
    /// Its deletion has begun.
    #[serde(default)]
    pub deleting: bool,
    /// Brokers that may still have logs of it, once its deletion has begun: each takes itself out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remaining: Vec<BrokerId>,
}

/// Lifetimes of the brokers that partitions `from..` (up to the next entry's) were assigned to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EpochsFrom {
    /// The first partition.
    pub from: i32,
    /// The lifetimes.
    pub brokers: Vec<ReplicaEntry>,
}

impl TopicValue {
    /// The lifetime of `broker` that `partition` was assigned to. 0 if none is recorded, which counts as refuted.
    #[must_use]
    pub fn epoch_of(&self, broker: BrokerId, partition: i32) -> BrokerEpoch {
        let recorded = self.epochs.iter().rev().find(|epochs| epochs.from <= partition);
        recorded
            .and_then(|epochs| epochs.brokers.iter().find(|entry| entry.id == broker))
            .map_or(BrokerEpoch(0), |entry| entry.epoch)
    }
}

pub(super) fn by_name(name: &TopicName) -> String {
    format!("topics/name/{}", encode_name(name.as_str()))
}

pub(super) fn by_id(id: TopicId) -> String {
    format!("topics/id/{id}")
}

/// Reads what follows `topics/`; `None` for a family that is not known.
pub(super) fn parse(tail: &str) -> Option<Result<Key, &'static str>> {
    let (family, rest) = tail.split_once('/')?;
    match family {
        "name" => Some(
            decode_name(rest)
                .and_then(|name| TopicName::new(&name).ok())
                .map(Key::TopicByName)
                .ok_or("a topic name"),
        ),
        "id" => Some(parse_id(rest).map(Key::TopicById).ok_or("a topic id")),
        _ => None,
    }
}

/// Reads a topic id in the one form that is written.
pub(super) fn parse_id(text: &str) -> Option<TopicId> {
    let id: TopicId = text.parse().ok()?;
    (id != TopicId::ZERO && id.to_string() == text).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::keys::Record;

    fn value() -> TopicValue {
        let entry = |id, epoch| ReplicaEntry { id: BrokerId(id), epoch: BrokerEpoch(epoch) };
        TopicValue {
            name: TopicName::new("t").unwrap(),
            created_ms: 5,
            assignment: vec![vec![BrokerId(1), BrokerId(2)], vec![BrokerId(2)], vec![BrokerId(1)]],
            epochs: vec![
                EpochsFrom { from: 0, brokers: vec![entry(1, 10), entry(2, 11)] },
                EpochsFrom { from: 2, brokers: vec![entry(1, 20)] },
            ],
            deleting: false,
            remaining: vec![BrokerId(2)],
        }
    }

    #[test]
    fn a_topic_reads_what_it_writes() {
        let record = Record::new(value());
        assert_eq!(Record::decode(&record.encode()), Ok(record));
        let id = "ASNFZ4mrze_-3LqYdlQyEA".parse().unwrap();
        let name = Record::new(TopicNameValue { id });
        assert_eq!(Record::decode(&name.encode()), Ok(name));
    }

    #[test]
    fn a_partition_has_the_lifetimes_of_when_it_was_added() {
        let epoch = |broker, partition| value().epoch_of(BrokerId(broker), partition).get();
        assert_eq!((epoch(1, 0), epoch(2, 1)), (10, 11));
        assert_eq!((epoch(1, 2), epoch(1, 9)), (20, 20));
        assert_eq!((epoch(2, 2), epoch(3, 0)), (0, 0));
    }
}
