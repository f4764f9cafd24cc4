//! What the controller is to do next: a pure function of the image.
//!
//! The plan only says where something may be due; what exactly, and whether it can be done yet, the cores of replication decide
//! from the same image. Every change that comes of it relies on the controller's own candidacy (rule E2): one that was deposed
//! cannot write, however late it wakes (N20).

use crate::metadata::image::{ClusterImage, PartitionImage, ReplicaEntry};
use crate::metadata::txn::partitions::Reliance;
use crate::types::TopicId;

/// Leaderships handed to preferred replicas by one check of the balance (`MAX_ELECTIONS_PER_IMBALANCE`).
pub const ELECTIONS_MAX: usize = 1_000;

/// What may be due at one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Errand {
    /// Its replicas are on the move: the new ones may have caught up.
    CompleteReassignment,
    /// Another than the preferred replica leads.
    PreferLeader,
    /// It has eligible leader replicas that may be so no more.
    TidyElr,
}

/// An errand and where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Task {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: i32,
    /// What.
    pub errand: Errand,
}

/// What proves that `me` is the controller, by `image`; `None` if it is not.
#[must_use]
pub fn proof(image: &ClusterImage, me: ReplicaEntry) -> Option<Reliance> {
    let (controller, epoch) = image.controller?;
    let mut candidates = image.candidates.iter();
    let (lease, _) = candidates.find(|(_, candidate)| {
        candidate.epoch == epoch && candidate.broker == me.id && candidate.broker_epoch == me.epoch
    })?;
    (controller == me.id && image.lives(me)).then_some(Reliance::Controls { lease: *lease, epoch })
}

/// What the controller is to look after by `image`, in the order of topics and partitions; the more urgent errand of a partition
/// first. `balance`: the time for a check of the leaders has come (`leader.imbalance.check.interval.seconds`).
///
/// # Cost
/// One look at every partition.
#[must_use]
pub fn plan(image: &ClusterImage, balance: bool) -> Vec<Task> {
    let mut tasks = Vec::new();
    let mut elections = 0;
    for topic in image.topics.values().filter(|topic| !topic.deleting) {
        for (partition, state) in (0..).zip(&topic.partitions) {
            let mut add = |errand| tasks.push(Task { topic: topic.id, partition, errand });
            if !state.adding.is_empty() || !state.removing.is_empty() {
                add(Errand::CompleteReassignment);
            }
            if balance && elections < ELECTIONS_MAX && is_imbalanced(image, state) {
                elections += 1;
                add(Errand::PreferLeader);
            }
            if !state.elr.is_empty() {
                add(Errand::TidyElr);
            }
        }
    }
    tasks
}

/// Another than the preferred replica leads, and that one is in the ISR, there, and takes leaderships.
fn is_imbalanced(image: &ClusterImage, state: &PartitionImage) -> bool {
    let Some(preferred) = state.replicas.first() else { return false };
    let leads = state.leader.is_some_and(|leader| leader.id == *preferred);
    let takes = image.brokers.get(preferred).is_some_and(|live| !live.draining && !live.stopping);
    !leads && takes && state.isr.iter().any(|entry| entry.id == *preferred)
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
