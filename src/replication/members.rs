//! Who is in sync and who may lead: the ISR and ELR of a partition's next record (rules U2, L3). Pure.

use std::collections::BTreeSet;

use crate::metadata::image::{ClusterImage, PartitionImage, ReplicaEntry, Standing};
use crate::metadata::keys::PartitionValue;
use crate::metadata::txn::partitions::{PartitionChange, Reliance};
use crate::types::seeded::{Bug, seeded};
use crate::types::{BrokerId, TopicId};

/// `min.insync.replicas` as a partition of so many replicas can meet it (`Partition.effectiveMinIsr`).
#[must_use]
pub fn effective_min_isr(asked: usize, replicas: usize) -> usize {
    asked.min(replicas).max(1)
}

/// Entries of the ISR that count or are unknown, but are not refuted: the size that rules L3, L7 and U2 speak of.
#[must_use]
pub fn isr_size(image: &ClusterImage, isr: &[ReplicaEntry]) -> usize {
    if seeded(Bug::U2RefutedCounts) {
        return isr.len();
    }
    isr.iter().filter(|entry| image.standing(**entry) != Standing::Refuted).count()
}

/// The ELR beside a new ISR (rule U2): who left it while it is smaller than `min_isr`, and who was there before. Nobody that is
/// refuted, nobody that is in the ISR, nobody that is no replica. `isr` holds no refuted entry but its leader's own.
#[must_use]
pub fn next_elr(
    image: &ClusterImage,
    before: &PartitionImage,
    isr: &[ReplicaEntry],
    min_isr: usize,
) -> Vec<ReplicaEntry> {
    if isr.len() >= min_isr && !seeded(Bug::U2NoClear) {
        return Vec::new();
    }
    let in_isr: BTreeSet<BrokerId> = isr.iter().map(|entry| entry.id).collect();
    let left = before.isr.iter().filter(|_| !seeded(Bug::U2NoElr));
    let mut elr: Vec<ReplicaEntry> = Vec::new();
    for entry in left.chain(&before.elr) {
        let known = elr.iter().any(|other| other.id == entry.id);
        let replica = before.replicas.contains(&entry.id);
        if replica && !known && !in_isr.contains(&entry.id) && image.standing(*entry) != Standing::Refuted {
            elr.push(*entry);
        }
    }
    elr
}

/// What a record relies on for the entries that it keeps: none of them is refuted meanwhile (N44).
pub fn intact<'e>(entries: impl IntoIterator<Item = &'e ReplicaEntry>) -> impl Iterator<Item = Reliance> {
    let compared = entries.into_iter().filter(|_| !seeded(Bug::E10NoIntact));
    compared.map(|entry| Reliance::Intact(*entry))
}

/// What proves the sender's right to a change; a controller proves that it still is one (rule E2).
#[must_use]
pub fn sender(sender: Reliance) -> Option<Reliance> {
    let unfenced = matches!(sender, Reliance::Controls { .. }) && seeded(Bug::E2NoFence);
    (!unfenced).then_some(sender)
}

/// A change of a partition's record that begins from what `image` shows; fields that only later versions know are kept.
/// `None` if the partition is not there.
#[must_use]
pub fn change(
    image: &ClusterImage,
    topic: TopicId,
    partition: i32,
    relies_on: Vec<Reliance>,
    edit: impl FnOnce(&mut PartitionValue),
) -> Option<PartitionChange> {
    let state = image.topics.get(&topic)?;
    let read = state.partition(partition)?.partition_epoch;
    let mut value = image.partition_record(topic, partition)?;
    edit(&mut value.value);
    Some(PartitionChange { topic, partition, read, topic_revision: state.mod_revision, value, relies_on })
}

#[cfg(test)]
#[path = "tests/members.rs"]
mod tests;
