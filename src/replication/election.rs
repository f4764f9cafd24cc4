//! Who leads a partition next: ballots, hand-overs and reassignments as changes of its record (rules E1, E10, U1 to U5). Pure.
//!
//! A ballot is decided from one image and compares everything it rests on: the winner is the first valid one that etcd takes.

use crate::metadata::image::{ClusterImage, PartitionImage, ReplicaEntry, Standing};
use crate::metadata::txn::partitions::{PartitionChange, Reliance};
use crate::types::seeded::{Bug, seeded};
use crate::types::{BrokerId, LeaderEpoch, TopicId};

use super::members;

/// On what grounds a candidate may lead (rule U1), best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grounds {
    /// It is in sync.
    InSync,
    /// It is eligible (KIP-966).
    Eligible,
    /// It was the last to lead, and everybody else has lost something.
    LastKnownLeader,
    /// Nobody better is there, and the topic allows it: records may be lost.
    Unclean,
}

/// What the topic's configuration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ElectionRules {
    /// `min.insync.replicas` as configured.
    pub min_insync_replicas: usize,
    /// `unclean.leader.election.enable`, or an operator's ElectLeaders of type UNCLEAN.
    pub unclean: bool,
}

/// A candidacy for one partition.
#[derive(Debug, Clone, PartialEq)]
pub struct Ballot {
    /// The change to send.
    pub change: PartitionChange,
    /// On what grounds.
    pub grounds: Grounds,
    /// How many better placed candidates there are: they try first.
    pub rank: usize,
}

/// The leader of `state` is gone, by `image`: there is none, or its lifetime is over. With a single replica every lifetime of its
/// broker leads.
#[must_use]
pub fn is_vacant(image: &ClusterImage, state: &PartitionImage) -> bool {
    match state.leader {
        None => true,
        Some(leader) if state.replicas.as_slice() == [leader.id] => false,
        Some(leader) if seeded(Bug::E3LeadsOn) => !image.brokers.contains_key(&leader.id),
        Some(leader) => !image.lives(leader),
    }
}

/// Who leads `state` now, as everybody else should see it: a leader that is there, in a lifetime that leads.
#[must_use]
pub fn leader_now(image: &ClusterImage, state: &PartitionImage) -> Option<BrokerId> {
    let leader = state.leader.filter(|_| !is_vacant(image, state))?;
    image.brokers.contains_key(&leader.id).then_some(leader.id)
}

/// My ballot for a partition, if its leader is gone and I may campaign (rules E10, B3). The caller has recovered its log.
///
/// `None` also for a record that cannot be read: nobody leads by guesswork.
#[must_use]
pub fn ballot(
    image: &ClusterImage,
    topic: TopicId,
    partition: i32,
    me: ReplicaEntry,
    rules: ElectionRules,
) -> Option<Ballot> {
    let entry = image.topics.get(&topic).filter(|topic| !topic.deleting)?;
    let state = entry.partition(partition)?;
    if !is_vacant(image, state) || !is_known(state) || !can_lead(image, me, state) {
        return None;
    }
    let min_isr = members::effective_min_isr(rules.min_insync_replicas, state.replicas.len());
    let (grounds, rank) = grounds(image, state, me, rules.unclean)?;
    // Who is away leaves at once, as Kafka's controller takes a fenced broker out: it is eligible if the ISR is too small without it.
    let counting = |entry: &&ReplicaEntry| {
        state.replicas.contains(&entry.id) && image.standing(**entry) == Standing::Counting
    };
    let isr: Vec<ReplicaEntry> = match grounds {
        Grounds::InSync => state.isr.iter().filter(counting).copied().collect(),
        Grounds::Eligible => {
            let mine = state.elr.iter().filter(|entry| entry.id == me.id);
            state.isr.iter().filter(counting).chain(mine).copied().collect()
        }
        Grounds::LastKnownLeader | Grounds::Unclean => vec![me],
    };
    let unclean = grounds >= Grounds::LastKnownLeader;
    let elr = if unclean { Vec::new() } else { members::next_elr(image, state, &isr, min_isr) };
    let mut relies_on = vec![Reliance::Lives(me)];
    relies_on.extend(state.leader.map(Reliance::Over));
    if grounds == Grounds::LastKnownLeader {
        // All of them are (rule U1), unless a guard is left out.
        let refuted = state.isr.iter().chain(&state.elr).filter(|e| image.standing(**e) == Standing::Refuted);
        relies_on.extend(refuted.map(|entry| Reliance::Refuted(*entry)));
    } else if !unclean {
        relies_on.extend(members::intact(isr.iter().chain(&elr)));
    }
    let why = format!("broker {} elected: {}", me.id, reason(grounds));
    let change = members::change(image, topic, partition, relies_on, |value| {
        value.leader = Some(me);
        value.leader_epoch = next(state.leader_epoch);
        value.isr = isr;
        value.elr = elr;
        value.last_known_leader = None;
        // A clean election does not end the recovery after an unclean one (rule L13).
        value.recovering |= unclean;
        value.why = why;
    })?;
    Some(Ballot { change, grounds, rank })
}

const fn reason(grounds: Grounds) -> &'static str {
    match grounds {
        Grounds::InSync => "in sync, the leader is gone",
        Grounds::Eligible => "eligible, the leader is gone",
        Grounds::LastKnownLeader => "the last known leader, all others lost data",
        Grounds::Unclean => "UNCLEAN, records may be lost",
    }
}

const fn next(epoch: LeaderEpoch) -> LeaderEpoch {
    LeaderEpoch(epoch.get().saturating_add(1))
}

/// Every state that was ever written names somebody; one that cannot be read does not.
const fn is_known(state: &PartitionImage) -> bool {
    state.leader.is_some()
        || state.last_known_leader.is_some()
        || !state.isr.is_empty()
        || !state.elr.is_empty()
}

/// This very lifetime is registered, does not stop, and is a replica (rule B3).
fn can_lead(image: &ClusterImage, me: ReplicaEntry, state: &PartitionImage) -> bool {
    let live = image.brokers.get(&me.id);
    let live = live.filter(|live| live.epoch == me.epoch || seeded(Bug::B3TooEarly));
    live.is_some_and(|live| !live.stopping) && state.replicas.contains(&me.id)
}

/// That broker is there and takes leaderships.
fn takes_leaderships(image: &ClusterImage, id: BrokerId) -> bool {
    image.brokers.get(&id).is_some_and(|live| !live.draining && !live.stopping)
}

/// On what grounds I may campaign, and how many others are ahead of me (rule U1).
///
/// A broker that drains campaigns only where nobody else can: its partitions would be offline until the operator is done.
fn grounds(
    image: &ClusterImage,
    state: &PartitionImage,
    me: ReplicaEntry,
    unclean: bool,
) -> Option<(Grounds, usize)> {
    let counts = |entry: &ReplicaEntry| image.standing(*entry) == Standing::Counting;
    let ready = |entry: &ReplicaEntry| counts(entry) && takes_leaderships(image, entry.id);
    let is_mine = |entry: &ReplicaEntry| entry.id == me.id && counts(entry);
    let members = || state.isr.iter().chain(&state.elr);
    if !takes_leaderships(image, me.id) && members().any(|entry| entry.id != me.id && ready(entry)) {
        return None;
    }
    let more_preferred = || state.replicas.iter().copied().take_while(|id| *id != me.id);
    let rank_in = |entries: &[ReplicaEntry]| {
        more_preferred().filter(|id| entries.iter().any(|entry| entry.id == *id && ready(entry))).count()
    };
    if state.isr.iter().any(is_mine) {
        return Some((Grounds::InSync, rank_in(&state.isr)));
    }
    if state.elr.iter().any(is_mine) {
        let in_sync = state.isr.iter().filter(|entry| ready(entry)).count();
        return Some((Grounds::Eligible, in_sync + rank_in(&state.elr)));
    }
    let all_refuted = members().all(|entry| match image.standing(*entry) {
        Standing::Refuted => true,
        Standing::Unknown => seeded(Bug::U1UnknownIgnored),
        Standing::Counting => seeded(Bug::U1LastKnownFirst),
    });
    let last_known = state.last_known_leader.or(state.leader.map(|leader| leader.id));
    if all_refuted && last_known == Some(me.id) {
        return Some((Grounds::LastKnownLeader, 0));
    }
    // Also one that drains or stops has everything: it is waited for.
    ((unclean || seeded(Bug::U1Unclean)) && !members().any(counts))
        .then(|| (Grounds::Unclean, more_preferred().filter(|id| takes_leaderships(image, *id)).count()))
}

/// Who may take a leadership over from `from` at once: in sync, there, taking leaderships; the most preferred one.
#[must_use]
pub fn successor(image: &ClusterImage, state: &PartitionImage, from: BrokerId) -> Option<BrokerId> {
    state.replicas.iter().copied().find(|id| *id != from && may_take_over(image, state, *id))
}

/// Rule U4: only a replica of the ISR is handed a leadership.
#[must_use]
pub fn may_take_over(image: &ClusterImage, state: &PartitionImage, id: BrokerId) -> bool {
    let mut mine = state.isr.iter().filter(|entry| entry.id == id && state.replicas.contains(&id));
    takes_leaderships(image, id)
        && (mine.any(|entry| image.standing(*entry) == Standing::Counting) || seeded(Bug::U4OutsideIsr))
}

/// A leadership to be handed over.
#[derive(Debug, Clone, Copy)]
pub struct HandOver<'a> {
    /// To whom: must be able to take it ([`may_take_over`]).
    pub to: BrokerId,
    /// What proves the sender's right: the leader's lifetime or the controller's candidacy.
    pub sender: Reliance,
    /// The old leader, if it is about to end: it leaves the ISR (rule U5).
    pub leaving: Option<BrokerId>,
    /// `min.insync.replicas` as configured.
    pub min_insync_replicas: usize,
    /// Why, for the record.
    pub why: &'a str,
}

/// The change that hands a leadership over; `None` if [`HandOver::to`] cannot take it by `image`, or has it.
#[must_use]
pub fn hand_over(
    image: &ClusterImage,
    topic: TopicId,
    partition: i32,
    hand_over: HandOver<'_>,
) -> Option<PartitionChange> {
    let HandOver { to, sender, leaving, min_insync_replicas, why } = hand_over;
    let entry = image.topics.get(&topic).filter(|topic| !topic.deleting)?;
    let state = entry.partition(partition)?;
    let has_it = state.leader.is_some_and(|leader| leader.id == to && image.lives(leader));
    if has_it || !may_take_over(image, state, to) {
        return None;
    }
    let live = image.brokers.get(&to)?;
    let min_isr = members::effective_min_isr(min_insync_replicas, state.replicas.len());
    let stays = |entry: &&ReplicaEntry| {
        Some(entry.id) != leaving
            && state.replicas.contains(&entry.id)
            && image.standing(**entry) != Standing::Refuted
    };
    let isr: Vec<ReplicaEntry> = state.isr.iter().filter(stays).copied().collect();
    let elr = members::next_elr(image, state, &isr, min_isr);
    let mut relies_on = vec![Reliance::Unchanged { broker: to, mod_revision: live.mod_revision }];
    relies_on.extend(members::sender(sender));
    relies_on.extend(members::intact(isr.iter().chain(&elr)));
    let leader = ReplicaEntry { id: to, epoch: live.epoch };
    members::change(image, topic, partition, relies_on, |value| {
        value.leader = Some(leader);
        value.leader_epoch = next(state.leader_epoch);
        value.isr = isr;
        value.elr = elr;
        value.why = why.to_owned();
    })
}

#[cfg(test)]
#[path = "tests/election.rs"]
mod tests;
