//! The classic group protocol: members join a generation, their leader assigns, everybody syncs (Kafka's `ClassicGroup` and the classic
//! half of its `GroupMetadataManager`).
//!
//! ```text
//!   Empty --join--> PreparingRebalance --all joined, or timeout--> CompletingRebalance --leader's sync--> Stable
//!     ^                  |      ^                                        |                                 |
//!     +---nobody left----+      +--------- a member joins, changes, leaves, dies, does not sync -----------+
//! ```
//!
//! Protocol types, metadata and assignments are opaque here, but for the topic names at the beginning of the metadata of type
//! `consumer` ([`subscription`]): offsets of topics that a group reads are not forgotten. Whether clients rebalance eagerly or
//! cooperatively is theirs alone. A record is written when a generation has its assignment, when a static member is replaced under a
//! stable generation, when a group comes to be and when it has become empty; all else is soft and lost with the coordinator, as Kafka has
//! it: members find out by UNKNOWN_MEMBER_ID or ILLEGAL_GENERATION and join again.
//!
//! One thing is ours: the first rebalance of an empty group waits adaptively ([`rebalance`]).
//!
//! Read first: [`join`], then [`rebalance`], [`sync`].

mod checks;
mod join;
mod leave;
pub(in crate::coordinator::group) mod member;
mod rebalance;
mod size;
mod subscription;
mod sync;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};

pub(in crate::coordinator::group) use self::join::refused_outright;
pub(in crate::coordinator::group) use self::member::{Member, Waiting};
pub(in crate::coordinator::group) use self::size::protocols_bytes;
use super::command::{GroupState, JoinAnswer, Name, SyncAnswer};
use super::records::{GroupValue, Record};
use super::timers::TimerKey;
use super::turn::{Context, Now};
use crate::coordinator::group::command::Answer;
use crate::protocol::error::ErrorCode;
use crate::types::Millis;

/// A new member whose join is parked is given up after this time, so that clients which come again and again over new connections do not
/// leave their shadows (Kafka's `group.new.member.join.timeout`, a constant there too).
pub(in crate::coordinator::group) const NEW_MEMBER_JOIN_TIMEOUT_MS: Millis = 5 * 60 * 1000;

/// The protocol type of consumers, whose metadata has topics.
pub(in crate::coordinator::group) const CONSUMER: &str = "consumer";

/// A classic group; also what holds a group of nothing but offsets (no protocol type, no members).
#[derive(Debug)]
pub struct ClassicGroup {
    /// Its name.
    pub(in crate::coordinator::group) group: Name,
    /// Where it stands.
    pub(in crate::coordinator::group) phase: Phase,
    /// When (wall clock) it came there; `None` if its record does not say.
    pub(in crate::coordinator::group) since: Option<Millis>,
    /// Its generation: 0 before the first.
    pub(in crate::coordinator::group) generation: i32,
    /// Kind of the group; `None` if it never had members.
    pub(in crate::coordinator::group) protocol_type: Option<Name>,
    /// The protocol chosen.
    pub(in crate::coordinator::group) protocol: Option<Name>,
    /// The member that assigns; one of the members.
    pub(in crate::coordinator::group) leader: Option<Name>,
    /// The members by id.
    pub(in crate::coordinator::group) members: BTreeMap<Name, Member>,
    /// Ids that were given out and not used yet (KIP-394).
    pub(in crate::coordinator::group) pending: BTreeSet<Name>,
    /// Static members: instance id to member id.
    static_members: BTreeMap<Name, Name>,
    /// By protocol name, how many members have it.
    supported: BTreeMap<Name, usize>,
    /// What the members take: bounded by `group_bytes_max`.
    members_bytes: usize,
    /// How many members have a parked join.
    awaiting_join: usize,
    /// What the members of the generation read; `None` if that is not known.
    pub(in crate::coordinator::group) topics: Option<BTreeSet<Name>>,
    /// Nothing of it is written, and nothing has to be: only refused joins came.
    unwritten: bool,
}

/// Where a classic group stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::coordinator::group) enum Phase {
    /// It has no members.
    Empty,
    /// Members are joining.
    Preparing {
        /// The group was empty before: when (elapsed time) the wait for newcomers ends at the latest.
        initial_until_ms: Option<Millis>,
    },
    /// The leader is assigning.
    Completing {
        /// Who has not synced.
        unsynced: BTreeSet<Name>,
    },
    /// The generation has its assignment.
    Stable {
        /// Who has not come for it.
        unsynced: BTreeSet<Name>,
    },
}

impl Phase {
    fn stable() -> Self {
        Self::Stable { unsynced: BTreeSet::new() }
    }
}

impl ClassicGroup {
    /// A group without members, not written yet.
    #[must_use]
    pub fn new(group: Name, now: Now) -> Self {
        Self {
            group,
            phase: Phase::Empty,
            since: Some(now.wall_ms),
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            pending: BTreeSet::new(),
            static_members: BTreeMap::new(),
            supported: BTreeMap::new(),
            members_bytes: 0,
            awaiting_join: 0,
            topics: None,
            unwritten: true,
        }
    }

    /// As the log says.
    #[must_use]
    pub fn replayed(group: Name, value: GroupValue) -> Self {
        let protocol = value.protocol;
        let members = value.members.into_iter();
        let members =
            members.map(|member| (member.member.clone(), Member::replayed(member, protocol.as_ref())));
        let mut replayed = Self::assembled(
            group,
            value.generation,
            value.protocol_type,
            protocol.clone(),
            value.leader,
            members.collect(),
        );
        replayed.since = (value.current_state_timestamp >= 0).then_some(value.current_state_timestamp);
        replayed
    }

    /// A group made of its parts: stable, or empty if there are no members. Nothing is written and no session begins: see
    /// [`ClassicGroup::write`] and [`ClassicGroup::loaded`]. An empty protocol type is none.
    pub(in crate::coordinator::group) fn assembled(
        group: Name,
        generation: i32,
        protocol_type: Name,
        protocol: Option<Name>,
        leader: Option<Name>,
        members: BTreeMap<Name, Member>,
    ) -> Self {
        let mut assembled = Self::new(group, Now::default());
        assembled.unwritten = false;
        assembled.since = None;
        assembled.generation = generation;
        assembled.protocol_type = (!protocol_type.is_empty()).then_some(protocol_type);
        assembled.protocol = protocol;
        assembled.leader = leader;
        if !members.is_empty() {
            assembled.phase = Phase::stable();
        }
        for (id, member) in &members {
            assembled.count_protocols(member, true);
            if let Some(instance) = &member.instance {
                assembled.static_members.insert(instance.clone(), id.clone());
            }
        }
        assembled.members = members;
        assembled.topics = assembled.read_topics();
        assembled
    }

    /// Its shard is loaded: the sessions of its members begin anew.
    pub fn loaded(&mut self, context: &mut Context<'_>) {
        let sessions: Vec<Name> = self.members.keys().cloned().collect();
        for member in &sessions {
            self.arm_session(context, member);
        }
        if self.members.len() > context.settings.max_size {
            self.prepare_rebalance(
                context,
                &rebalance::Reason::of("the group is larger than group.max.size"),
            );
        } else if self.leader.is_none() && !self.members.is_empty() {
            // It was a consumer group and should have rebalanced: without that the partitions of who left then are nobody's.
            self.prepare_rebalance(
                context,
                &rebalance::Reason::of("the group was downgraded from the consumer protocol"),
            );
        }
    }

    /// Its state, as Kafka calls it.
    #[must_use]
    pub const fn state(&self) -> GroupState {
        match self.phase {
            Phase::Empty => GroupState::Empty,
            Phase::Preparing { .. } => GroupState::PreparingRebalance,
            Phase::Completing { .. } => GroupState::CompletingRebalance,
            Phase::Stable { .. } => GroupState::Stable,
        }
    }

    /// Its protocol type, empty if it has none.
    #[must_use]
    pub fn protocol_type(&self) -> Name {
        self.protocol_type.clone().unwrap_or_default()
    }

    /// A group that a refused join brought into being: nothing of it is worth keeping.
    #[must_use]
    pub fn never_was(&self) -> bool {
        self.unwritten && self.phase == Phase::Empty && self.pending.is_empty()
    }

    /// Whether `member` assigns.
    pub(in crate::coordinator::group) fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    /// The member with `instance`.
    pub(in crate::coordinator::group) fn static_member(&self, instance: &str) -> Option<&Name> {
        self.static_members.get(instance)
    }

    /// Writes it as it stands: a generation with its assignment, or an empty group.
    pub(in crate::coordinator::group) fn write(&mut self, context: &mut Context<'_>) {
        self.unwritten = false;
        let protocol = self.protocol.as_deref();
        let members = self.members.iter().map(|(id, member)| member.value(id, protocol)).collect();
        let value = GroupValue {
            protocol_type: self.protocol_type(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            current_state_timestamp: self.since.unwrap_or(-1),
            members,
        };
        context.write(Record::Group { group: self.group.clone(), value: Some(value) });
    }

    /// Writes that it is gone.
    pub fn write_tombstones(&mut self, context: &mut Context<'_>) {
        context.write(Record::Group { group: self.group.clone(), value: None });
    }

    /// It becomes a group of the other kind: every parked request is answered with `error`, and none of its deadlines is left.
    pub(in crate::coordinator::group) fn abandon(&mut self, context: &mut Context<'_>, error: ErrorCode) {
        let members: Vec<Name> = self.members.keys().cloned().collect();
        for member in &members {
            self.release(context, member, error);
            context.timers.cancel(&TimerKey::Session(self.group.clone(), member.clone()));
        }
        for pending in &self.pending {
            context.timers.cancel(&TimerKey::PendingMember(self.group.clone(), pending.clone()));
        }
        context.timers.cancel(&TimerKey::Join(self.group.clone()));
        context.timers.cancel(&TimerKey::Sync(self.group.clone()));
    }

    /// Comes to `phase` now.
    fn enter(&mut self, phase: Phase, now: Now) {
        self.phase = phase;
        self.since = Some(now.wall_ms);
    }

    /// Begins the session of `member` anew.
    fn arm_session(&self, context: &mut Context<'_>, member: &Name) {
        if let Some(known) = self.members.get(member) {
            let timeout_ms =
                if known.is_new { NEW_MEMBER_JOIN_TIMEOUT_MS } else { known.session_timeout_ms.into() };
            let key = TimerKey::Session(self.group.clone(), member.clone());
            context.timers.set(key, context.now.elapsed_ms + timeout_ms);
        }
    }

    /// Adds a member whose join is parked.
    fn add(&mut self, id: Name, member: Member) {
        if let Some(instance) = &member.instance {
            self.static_members.insert(instance.clone(), id.clone());
        }
        self.count_protocols(&member, true);
        self.awaiting_join += usize::from(member.awaits_join());
        self.leader.get_or_insert_with(|| id.clone());
        self.pending.remove(&id);
        self.members.insert(id, member);
    }

    /// Removes a member or a pending one, with its deadline; a request that it has parked is answered with UNKNOWN_MEMBER_ID, so that a
    /// client that is still there begins again. If it was the leader, another member is.
    fn remove(&mut self, context: &mut Context<'_>, member: &Name) {
        self.release(context, member, ErrorCode::UnknownMemberId);
        context.timers.cancel(&TimerKey::Session(self.group.clone(), member.clone()));
        if let Some(removed) = self.members.remove(member) {
            self.count_protocols(&removed, false);
            if let Some(instance) = &removed.instance {
                self.static_members.remove(instance);
            }
        }
        if self.is_leader(member) {
            self.leader = self.members.keys().next().cloned();
        }
        if self.pending.remove(member) {
            context.timers.cancel(&TimerKey::PendingMember(self.group.clone(), member.clone()));
        }
        if let Phase::Completing { unsynced } | Phase::Stable { unsynced } = &mut self.phase {
            unsynced.remove(member);
        }
    }

    /// Answers the parked request of `member` with `error`, if it has one. Says whether it had one.
    fn release(&mut self, context: &mut Context<'_>, member: &Name, error: ErrorCode) -> bool {
        let Some(known) = self.members.get_mut(member) else { return false };
        match std::mem::take(&mut known.waiting) {
            Waiting::No => return false,
            Waiting::Join(ticket) => {
                self.awaiting_join -= 1;
                // Who must begin again is not told an id, as in Kafka.
                let told = if error == ErrorCode::UnknownMemberId { Name::default() } else { member.clone() };
                context.answer(ticket, Answer::Join(JoinAnswer::refused(error, told)));
            }
            Waiting::Sync(ticket) => {
                context.answer(ticket, Answer::Sync(SyncAnswer { error, ..SyncAnswer::default() }));
            }
        }
        true
    }

    /// Counts the protocols of `member` in, or out, and what it takes. A name that it says twice counts once.
    fn count_protocols(&mut self, member: &Member, added: bool) {
        let size_bytes = member.size_bytes();
        self.members_bytes = if added {
            self.members_bytes + size_bytes
        } else {
            self.members_bytes.saturating_sub(size_bytes)
        };
        let names: BTreeSet<&Name> = member.protocols.iter().map(|protocol| &protocol.name).collect();
        for name in names {
            if added {
                *self.supported.entry(name.clone()).or_default() += 1;
            } else if let Some(count) = self.supported.get_mut(name) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    self.supported.remove(name);
                }
            }
        }
    }
}
