//! Moving the replicas of a partition: begun, completed, cancelled (rule U4); and what the controller tidies up. Pure.
//!
//! As Kafka's `PartitionReassignmentReplicas` and `PartitionReassignmentRevert`: a partition first grows to the target and what it
//! had, the new replicas catch up and are taken in by the leader, then what is not in the target goes, all of it in one change. No
//! step adds to the ISR. Where Kafka would let in-sync replicas go although fewer than `min.insync.replicas` stay, the change is
//! refused here: an acknowledged record could be left with fewer copies than were promised (rules U2, U4).

use std::collections::BTreeSet;

use crate::metadata::image::{ClusterImage, PartitionImage, ReplicaEntry, Standing};
use crate::metadata::keys::PartitionValue;
use crate::metadata::txn::partitions::{PartitionChange, Reliance};
use crate::types::{BrokerId, LeaderEpoch, TopicId};

use super::{election, members};

/// Why replicas cannot be moved as asked, or not yet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The partition is not there, or its topic is being deleted.
    #[error("the partition does not exist")]
    NoPartition,
    /// There is nothing to cancel.
    #[error("no reassignment is in progress")]
    NotInProgress,
    /// Replicas that are being added are not in the ISR yet.
    #[error("replicas {missing:?} are not in sync yet")]
    CatchingUp {
        /// Those replicas.
        missing: Vec<i32>,
    },
    /// Too few in-sync replicas would stay (rule U4).
    #[error(
        "{stay} in-sync replicas would stay, min.insync.replicas is {required}: wait until more are in sync"
    )]
    TooFewInSync {
        /// How many would stay.
        stay: usize,
        /// How many must.
        required: usize,
    },
    /// The leader would go, and no replica that stays can take over now.
    #[error("no replica that stays is in sync and alive, so that it could lead")]
    NoLeader,
}

/// Whether replicas of the partition are on the move.
#[must_use]
pub fn in_progress(state: &PartitionImage) -> bool {
    !state.adding.is_empty() || !state.removing.is_empty()
}

/// What a partition is to become, step by step, and what that relies on.
struct Draft<'i> {
    image: &'i ClusterImage,
    state: PartitionImage,
    before: LeaderEpoch,
    min_insync_replicas: usize,
    relies_on: Vec<Reliance>,
}

impl<'i> Draft<'i> {
    fn new(
        image: &'i ClusterImage,
        topic: TopicId,
        partition: i32,
        min_insync_replicas: usize,
    ) -> Result<Self, Refusal> {
        let state = state_of(image, topic, partition).ok_or(Refusal::NoPartition)?.clone();
        let before = state.leader_epoch;
        Ok(Self { image, state, before, min_insync_replicas, relies_on: Vec::new() })
    }

    /// Takes `leaving` out of replicas, ISR and ELR. The leader epoch grows (rule E1); a leader that leaves is replaced.
    fn remove(&mut self, leaving: &BTreeSet<BrokerId>) -> Result<(), Refusal> {
        let stays = |id: &BrokerId| !leaving.contains(id);
        if self.state.replicas.iter().all(stays) {
            return Ok(());
        }
        let image = self.image;
        let replicas: Vec<BrokerId> = self.state.replicas.iter().copied().filter(stays).collect();
        let required = members::effective_min_isr(self.min_insync_replicas, replicas.len());
        let kept = |entry: &&ReplicaEntry| stays(&entry.id) && image.standing(**entry) != Standing::Refuted;
        let isr: Vec<ReplicaEntry> = self.state.isr.iter().filter(kept).copied().collect();
        let takes_a_copy = self.state.isr.iter().chain(&self.state.elr).any(|entry| !stays(&entry.id));
        if replicas.is_empty() || (takes_a_copy && isr.len() < required) {
            return Err(Refusal::TooFewInSync { stay: isr.len(), required });
        }
        let mut elr = members::next_elr(image, &self.state, &isr, required);
        elr.retain(|entry| stays(&entry.id));
        if self.state.leader.is_some_and(|leader| !stays(&leader.id)) {
            let to = replicas.iter().find(|id| election::may_take_over(image, &self.state, **id));
            let live = to.and_then(|id| image.brokers.get(id)).ok_or(Refusal::NoLeader)?;
            self.relies_on.push(Reliance::Unchanged { broker: live.id, mod_revision: live.mod_revision });
            self.state.leader = Some(ReplicaEntry { id: live.id, epoch: live.epoch });
        }
        self.relies_on.extend(members::intact(isr.iter().chain(&elr)));
        // By one, however many steps make the change.
        self.state.leader_epoch = LeaderEpoch(self.before.get().saturating_add(1));
        self.state.last_known_leader = self.state.last_known_leader.filter(stays);
        self.state.replicas = replicas;
        self.state.isr = isr;
        self.state.elr = elr;
        Ok(())
    }

    /// Ends the move if the new replicas are in sync and enough of those that stay are.
    fn complete(&mut self) -> Result<(), Refusal> {
        let in_sync = |id: &BrokerId| {
            let mut entries = self.state.isr.iter().filter(|entry| entry.id == *id);
            entries.any(|entry| self.image.standing(*entry) == Standing::Counting)
        };
        let missing: Vec<i32> =
            self.state.adding.iter().filter(|id| !in_sync(id)).map(|id| id.get()).collect();
        if !missing.is_empty() {
            return Err(Refusal::CatchingUp { missing });
        }
        let leaving: BTreeSet<BrokerId> = self.state.removing.iter().copied().collect();
        let staying = self.state.isr.iter().filter(|entry| !leaving.contains(&entry.id));
        let stay = staying.filter(|entry| self.image.standing(**entry) != Standing::Refuted).count();
        let replicas = self.state.replicas.iter().filter(|id| !leaving.contains(id)).count();
        let required = members::effective_min_isr(self.min_insync_replicas, replicas);
        if stay < required {
            return Err(Refusal::TooFewInSync { stay, required });
        }
        self.remove(&leaving)?;
        self.state.adding.clear();
        self.state.removing.clear();
        Ok(())
    }

    /// The change, if there is one.
    fn into_change(
        self,
        topic: TopicId,
        partition: i32,
        sender: Option<Reliance>,
        why: String,
    ) -> Option<PartitionChange> {
        let before = state_of(self.image, topic, partition)?;
        if *before == self.state {
            return None;
        }
        let mut relies_on: Vec<Reliance> = sender.and_then(members::sender).into_iter().collect();
        relies_on.extend(self.relies_on);
        members::change(self.image, topic, partition, relies_on, |value| {
            *value = PartitionValue { why, ..PartitionValue::from(&self.state) };
        })
    }
}

fn state_of(image: &ClusterImage, topic: TopicId, partition: i32) -> Option<&PartitionImage> {
    let entry = image.topics.get(&topic).filter(|topic| !topic.deleting)?;
    entry.partition(partition).map(AsRef::as_ref)
}

/// Begins to move a partition to `target` (in preference order, no broker twice, not empty); at once to the end if nobody has to
/// catch up. A move that is under way is redirected: what it added and `target` does not want goes first. `Ok(None)`: it is so already.
///
/// # Errors
/// [`Refusal`].
pub fn begin(
    image: &ClusterImage,
    topic: TopicId,
    partition: i32,
    target: &[BrokerId],
    min_insync_replicas: usize,
) -> Result<Option<PartitionChange>, Refusal> {
    let mut draft = Draft::new(image, topic, partition, min_insync_replicas)?;
    let added = std::mem::take(&mut draft.state.adding);
    let origin: Vec<BrokerId> =
        draft.state.replicas.iter().copied().filter(|id| !added.contains(id)).collect();
    draft.remove(&added.into_iter().filter(|id| !target.contains(id)).collect())?;
    draft.state.adding = target.iter().copied().filter(|id| !origin.contains(id)).collect();
    draft.state.removing = origin.into_iter().filter(|id| !target.contains(id)).collect();
    draft.state.replicas = target.iter().chain(&draft.state.removing).copied().collect();
    // Not yet is no error: the controller completes it.
    draft.complete().ok();
    let target: Vec<i32> = target.iter().map(|id| id.get()).collect();
    Ok(draft.into_change(topic, partition, None, format!("reassignment to {target:?} asked for")))
}

/// Ends a move without its target: what was added goes, what was to be removed stays.
///
/// # Errors
/// [`Refusal`]; also while too few of the old replicas are in sync (rule U4).
pub fn cancel(
    image: &ClusterImage,
    topic: TopicId,
    partition: i32,
    min_insync_replicas: usize,
) -> Result<Option<PartitionChange>, Refusal> {
    let mut draft = Draft::new(image, topic, partition, min_insync_replicas)?;
    if !in_progress(&draft.state) {
        return Err(Refusal::NotInProgress);
    }
    let added: BTreeSet<BrokerId> = std::mem::take(&mut draft.state.adding).into_iter().collect();
    draft.state.removing.clear();
    draft.remove(&added)?;
    Ok(draft.into_change(topic, partition, None, "reassignment cancelled".to_owned()))
}

/// As controller: ends a move whose new replicas have caught up.
///
/// # Errors
/// [`Refusal`]: not yet.
pub fn complete(
    image: &ClusterImage,
    topic: TopicId,
    partition: i32,
    min_insync_replicas: usize,
    sender: Reliance,
) -> Result<Option<PartitionChange>, Refusal> {
    let mut draft = Draft::new(image, topic, partition, min_insync_replicas)?;
    if !in_progress(&draft.state) {
        return Err(Refusal::NotInProgress);
    }
    draft.complete()?;
    Ok(draft.into_change(topic, partition, Some(sender), "controller: reassignment complete".to_owned()))
}

/// As controller: an ELR without those that lost something since; empty when enough are in sync, e.g. because
/// `min.insync.replicas` was lowered (rule U2). `None`: it is as it should be.
#[must_use]
pub fn tidy_elr(
    image: &ClusterImage,
    topic: TopicId,
    partition: i32,
    min_insync_replicas: usize,
    sender: Reliance,
) -> Option<PartitionChange> {
    let state = state_of(image, topic, partition)?;
    let required = members::effective_min_isr(min_insync_replicas, state.replicas.len());
    let enough = members::isr_size(image, &state.isr) >= required;
    let refuted: Vec<ReplicaEntry> =
        state.elr.iter().copied().filter(|entry| image.standing(*entry) == Standing::Refuted).collect();
    let elr: Vec<ReplicaEntry> =
        state.elr.iter().copied().filter(|entry| !enough && !refuted.contains(entry)).collect();
    if elr == state.elr {
        return None;
    }
    let mut relies_on: Vec<Reliance> = members::sender(sender).into_iter().collect();
    let why = if enough {
        relies_on.extend(members::intact(&state.isr));
        "controller: enough replicas are in sync, nobody else is eligible"
    } else {
        relies_on.extend(refuted.into_iter().map(Reliance::Refuted));
        "controller: eligible replicas whose data may have lost something are dropped"
    };
    members::change(image, topic, partition, relies_on, |value| {
        value.elr = elr;
        value.why = why.to_owned();
    })
}

/// As controller or leader: hands the leadership to the preferred replica (rule U4). `None`: it leads already, or cannot now.
#[must_use]
pub fn prefer(
    image: &ClusterImage,
    topic: TopicId,
    partition: i32,
    min_insync_replicas: usize,
    sender: Reliance,
) -> Option<PartitionChange> {
    let state = state_of(image, topic, partition)?;
    let to = *state.replicas.first()?;
    let leader = state.leader.filter(|leader| image.lives(*leader))?;
    if leader.id == to {
        return None;
    }
    let why = "the preferred replica leads";
    election::hand_over(
        image,
        topic,
        partition,
        election::HandOver { to, sender, leaving: None, min_insync_replicas, why },
    )
}

#[cfg(test)]
#[path = "reassignment_tests.rs"]
mod tests;
