//! `partitions/<uuid>/<index>`: a partition that is no longer as its topic assigns it.
//!
//! Written by the leader (ISR), by candidates (leadership) and by the controller (the rest), always under a compare of the
//! `mod_revision` read (rule E1), which is the partition epoch.

use serde::{Deserialize, Serialize};

use super::topics::parse_id;
use super::{Key, decode_number};
use crate::metadata::image::{PartitionImage, ReplicaEntry};
use crate::types::{BrokerId, LeaderEpoch, TopicId};

/// Digits of a partition's index, so that key order is number order.
const INDEX_DIGITS: usize = 10;

/// Value of `partitions/<uuid>/<index>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionValue {
    /// The leader and its lifetime; `null` while there is none.
    pub leader: Option<ReplicaEntry>,
    /// Grows at each leader change.
    pub leader_epoch: LeaderEpoch,
    /// In-sync replicas.
    pub isr: Vec<ReplicaEntry>,
    /// Eligible leader replicas (KIP-966).
    #[serde(default)]
    pub elr: Vec<ReplicaEntry>,
    /// Last known leader, when there is neither ISR nor ELR.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_known_leader: Option<BrokerId>,
    /// Replicas in preference order.
    pub replicas: Vec<BrokerId>,
    /// Replicas being added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub adding: Vec<BrokerId>,
    /// Replicas being removed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub removing: Vec<BrokerId>,
    /// After an unclean election, until the leader has recovered (rule L13).
    #[serde(default)]
    pub recovering: bool,
    /// Why the record was last changed.
    #[serde(default)]
    pub why: String,
}

impl From<&PartitionImage> for PartitionValue {
    /// The record that says what the image shows: where a change starts from.
    fn from(image: &PartitionImage) -> Self {
        Self {
            leader: image.leader,
            leader_epoch: image.leader_epoch,
            isr: image.isr.clone(),
            elr: image.elr.clone(),
            last_known_leader: image.last_known_leader,
            replicas: image.replicas.clone(),
            adding: image.adding.clone(),
            removing: image.removing.clone(),
            recovering: image.recovering,
            why: image.why.clone(),
        }
    }
}

pub(super) fn of_topic(topic: TopicId) -> String {
    format!("partitions/{topic}/")
}

pub(super) fn partition(topic: TopicId, partition: i32) -> String {
    format!("partitions/{topic}/{partition:0>INDEX_DIGITS$}")
}

pub(super) fn parse(tail: &str) -> Result<Key, &'static str> {
    tail.split_once('/')
        .and_then(|(topic, index)| {
            Some(Key::Partition(parse_id(topic)?, decode_number(index, INDEX_DIGITS)?))
        })
        .ok_or("a topic id and a partition of 10 digits")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::keys::Record;
    use crate::types::BrokerEpoch;

    #[test]
    fn a_partition_reads_what_it_writes() {
        let entry = ReplicaEntry { id: BrokerId(1), epoch: BrokerEpoch(10) };
        let record = Record::new(PartitionValue {
            leader: Some(entry),
            leader_epoch: LeaderEpoch(4),
            isr: vec![entry],
            elr: vec![entry],
            last_known_leader: Some(BrokerId(3)),
            replicas: vec![BrokerId(1), BrokerId(2)],
            adding: vec![BrokerId(2)],
            removing: vec![BrokerId(1)],
            recovering: true,
            why: "test".into(),
        });
        assert_eq!(Record::decode(&record.encode()), Ok(record));
    }
}
