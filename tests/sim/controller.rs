//! What the controller does here: preferred leaders and reassignments, under its fence (rules E2, U4).

use super::process::{Context, Process, Purpose, election_of};
use super::topic_id;
use crate::metadata::image::{ReplicaEntry, Standing};
use crate::metadata::txn::partitions::{PartitionChange, Reliance};
use crate::replication::election::{self, HandOver};
use crate::replication::members;
use crate::types::{BrokerId, LeaderEpoch};

/// What an operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// The first replica is to lead.
    Preferred(i32),
    /// Exactly these replicas.
    Reassign(i32, Vec<BrokerId>),
}

/// The changes that are due, if this process believes to be the controller.
pub fn decide(
    process: &mut Process,
    me: ReplicaEntry,
    context: &mut Context<'_>,
) -> Vec<(PartitionChange, Purpose)> {
    let image = std::sync::Arc::clone(&process.image);
    let Some(held) = process.held() else { return Vec::new() };
    let lease = held.lease;
    let elected = image.candidates.get(&lease).filter(|candidate| {
        candidate.broker_epoch == me.epoch && image.controller == Some((me.id, candidate.epoch))
    });
    let Some(candidate) = elected else {
        process.wishes.clear();
        return Vec::new();
    };
    let fence = Reliance::Controls { lease, epoch: candidate.epoch };
    let mut changes = Vec::new();
    for wish in std::mem::take(&mut process.wishes) {
        let change = match wish {
            Wish::Preferred(partition) => prefer(&image, partition, fence, context),
            Wish::Reassign(partition, replicas) => begin(&image, partition, &replicas, fence),
        };
        changes.extend(change);
    }
    let Some(topic) = image.topics.get(&topic_id()) else { return changes };
    for (partition, _) in (0..).zip(&topic.partitions) {
        changes.extend(complete(&image, partition, fence, context));
    }
    changes.retain(|change| process.controls_under_way.insert(change.partition));
    changes.into_iter().map(|change| (change, Purpose::Controller)).collect()
}

fn prefer(
    image: &crate::metadata::image::ClusterImage,
    partition: i32,
    fence: Reliance,
    context: &Context<'_>,
) -> Option<PartitionChange> {
    let state = election_of(image, partition)?;
    let to = *state.replicas.first()?;
    if state.leader.is_none_or(|leader| leader.id == to) {
        return None;
    }
    let min_insync_replicas = context.topic.min_isr;
    let hand_over = HandOver { to, sender: fence, leaving: None, min_insync_replicas, why: "preferred" };
    election::hand_over(image, topic_id(), partition, hand_over)
}

/// Grows the replicas by the new ones.
fn begin(
    image: &crate::metadata::image::ClusterImage,
    partition: i32,
    target: &[BrokerId],
    fence: Reliance,
) -> Option<PartitionChange> {
    let state = election_of(image, partition)?;
    if !state.adding.is_empty() || !state.removing.is_empty() {
        return None;
    }
    let old = state.replicas.clone();
    let adding: Vec<BrokerId> = target.iter().copied().filter(|id| !old.contains(id)).collect();
    let removing: Vec<BrokerId> = old.iter().copied().filter(|id| !target.contains(id)).collect();
    let mut replicas = target.to_vec();
    replicas.extend(&removing);
    members::change(image, topic_id(), partition, vec![fence], |value| {
        value.replicas = replicas;
        value.adding = adding;
        value.removing = removing;
        value.why = "reassignment begins".to_owned();
    })
}

/// Ends a reassignment when its target is in sync: the others go, in a new leader epoch (rules E1, U4).
fn complete(
    image: &crate::metadata::image::ClusterImage,
    partition: i32,
    fence: Reliance,
    context: &Context<'_>,
) -> Option<PartitionChange> {
    let state = election_of(image, partition)?;
    if state.adding.is_empty() && state.removing.is_empty() {
        return None;
    }
    let target: Vec<BrokerId> =
        state.replicas.iter().copied().filter(|id| !state.removing.contains(id)).collect();
    let isr: Vec<ReplicaEntry> =
        state.isr.iter().copied().filter(|entry| target.contains(&entry.id)).collect();
    let counting = |entry: &&ReplicaEntry| image.standing(**entry) == Standing::Counting;
    let min_isr = members::effective_min_isr(context.topic.min_isr, target.len());
    let all_there = state.adding.iter().all(|id| isr.iter().any(|entry| entry.id == *id));
    if !all_there || isr.iter().filter(counting).count() < min_isr || isr.len() != target.len() {
        return None;
    }
    let elsewhere = state.leader.is_none_or(|leader| !target.contains(&leader.id));
    let leader = if elsewhere {
        let id = target.iter().copied().find(|id| election::may_take_over(image, state, *id))?;
        ReplicaEntry { id, epoch: image.brokers.get(&id)?.epoch }
    } else {
        state.leader?
    };
    let mut relies_on = vec![fence];
    if elsewhere {
        let mod_revision = image.brokers.get(&leader.id)?.mod_revision;
        relies_on.push(Reliance::Unchanged { broker: leader.id, mod_revision });
    }
    relies_on.extend(members::intact(&isr));
    let leader_epoch = LeaderEpoch(state.leader_epoch.get() + 1);
    members::change(image, topic_id(), partition, relies_on, |value| {
        value.leader = Some(leader);
        value.leader_epoch = leader_epoch;
        value.isr = isr;
        value.elr = Vec::new();
        value.replicas = target;
        value.adding = Vec::new();
        value.removing = Vec::new();
        value.why = "reassignment ends".to_owned();
    })
}
