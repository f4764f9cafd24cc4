//! The join phase: how it begins, how long it waits, how it ends; and what ends of sessions do to it.
//!
//! The first rebalance of an empty group waits, so that members that start together share the first generation. Kafka waits
//! `group.initial.rebalance.delay.ms` (3 s), and longer while members come. Here the key is the **most** that the wait takes, and the wait
//! is adaptive: it ends when no newcomer was seen for a quiet period of a twentieth of it (150 ms). A lone consumer has its
//! assignment in well under half a second, a herd is still gathered. With 0 there is no wait.

use std::collections::{BTreeMap, BTreeSet};

use super::member::Waiting;
use super::{ClassicGroup, Phase};
use crate::coordinator::group::command::{Answer, Name};
use crate::coordinator::group::timers::TimerKey;
use crate::coordinator::group::turn::Context;
use crate::protocol::error::ErrorCode;
use crate::types::Millis;

/// The initial rebalance delay is so many quiet periods long.
const QUIET_PERIODS: Millis = 20;

/// A join phase in which nobody came begins again at most so often, whatever rebalance timeout the members have (0 is allowed).
const RETRY_MS_MIN: Millis = 1000;

/// Most of a client's reason that is logged: what Kafka's own clients cut it to (KIP-800).
const REASON_LEN_MAX: usize = 255;

/// Why a rebalance begins, for the log.
pub(super) struct Reason<'a> {
    what: &'static str,
    member: &'a str,
    client: Option<&'a str>,
}

impl<'a> Reason<'a> {
    /// Nobody's doing.
    pub(super) const fn of(what: &'static str) -> Self {
        Self { what, member: "", client: None }
    }

    /// What `member` did, and why it says it did.
    pub(super) const fn by(what: &'static str, member: &'a str, client: Option<&'a str>) -> Self {
        Self { what, member, client }
    }
}

/// What a client gives as its reason, cut, or what Kafka says if it gives none.
pub(super) fn client_reason(reason: Option<&str>) -> String {
    reason.map_or_else(|| "not provided".to_owned(), |reason| reason.chars().take(REASON_LEN_MAX).collect())
}

impl ClassicGroup {
    /// Begins a rebalance if none is under way, else ends its join phase if everybody has joined.
    pub(super) fn rebalance(&mut self, context: &mut Context<'_>, reason: &Reason<'_>) {
        if matches!(self.phase, Phase::Preparing { .. }) {
            self.complete_if_all_joined(context);
        } else {
            self.prepare_rebalance(context, reason);
        }
    }

    /// Members have to join again. Those that wait for their assignment are told so.
    pub(super) fn prepare_rebalance(&mut self, context: &mut Context<'_>, reason: &Reason<'_>) {
        tracing::info!(
            group = %self.group,
            generation = self.generation,
            state = self.state().name(),
            reason = reason.what,
            member = reason.member,
            client_reason = ?client_reason(reason.client),
            "rebalance begins"
        );
        if matches!(self.phase, Phase::Completing { .. }) {
            self.reset_assignments(context);
        }
        context.timers.cancel(&TimerKey::Sync(self.group.clone()));
        let now = context.now;
        if self.phase == Phase::Empty {
            let until_ms = now.elapsed_ms + context.settings.initial_rebalance_delay_ms.max(0);
            self.enter(Phase::Preparing { initial_until_ms: Some(until_ms) }, now);
            if until_ms > now.elapsed_ms {
                self.another_newcomer(context);
            } else {
                self.complete_join(context);
            }
        } else {
            self.enter(Phase::Preparing { initial_until_ms: None }, now);
            if self.everybody_joined() {
                self.complete_join(context);
            } else {
                self.wait_for_joins(context, 0);
            }
        }
    }

    /// In the first rebalance of an empty group a newcomer begins another quiet period, until the maximum.
    pub(super) fn another_newcomer(&self, context: &mut Context<'_>) {
        if let Phase::Preparing { initial_until_ms: Some(until_ms) } = self.phase {
            let quiet_ms = (context.settings.initial_rebalance_delay_ms / QUIET_PERIODS).max(1);
            let at_ms = until_ms.min(context.now.elapsed_ms + quiet_ms);
            context.timers.set(TimerKey::Join(self.group.clone()), at_ms);
        }
    }

    /// Ends the join phase if nobody is missing; the first one of an empty group only ends by its deadline.
    pub(super) fn complete_if_all_joined(&mut self, context: &mut Context<'_>) {
        if self.phase == (Phase::Preparing { initial_until_ms: None }) && self.everybody_joined() {
            self.complete_join(context);
        }
    }

    fn everybody_joined(&self) -> bool {
        self.members.len() == self.awaiting_join && self.pending.is_empty()
    }

    /// The join phase lasts as long as the most patient member allows.
    fn wait_for_joins(&self, context: &mut Context<'_>, at_least_ms: Millis) {
        let at_ms = context.now.elapsed_ms + self.rebalance_timeout_ms().max(at_least_ms);
        context.timers.set(TimerKey::Join(self.group.clone()), at_ms);
    }

    fn rebalance_timeout_ms(&self) -> Millis {
        let longest = self.members.values().map(|member| member.rebalance_timeout_ms).max();
        longest.unwrap_or_default().max(0).into()
    }

    /// The join phase ends: dynamic members that did not join are gone, the others are a new generation. Static members that did not
    /// join stay until their sessions end. If no member joined, it is waited once more.
    fn complete_join(&mut self, context: &mut Context<'_>) {
        context.timers.cancel(&TimerKey::Join(self.group.clone()));
        let absent = |(id, member): (&Name, &super::Member)| {
            (!member.awaits_join() && !member.is_static()).then(|| id.clone())
        };
        let absent: Vec<Name> = self.members.iter().filter_map(absent).collect();
        for member in &absent {
            self.remove(context, member);
        }
        if !absent.is_empty() {
            tracing::info!(group = %self.group, members = absent.len(), "members did not join in time: removed");
        }
        if !self.members.is_empty() && !self.elect_leader() {
            self.wait_for_joins(context, RETRY_MS_MIN);
            return;
        }
        // Kafka's int would go round, too; -1 is no generation.
        self.generation = self.generation.checked_add(1).unwrap_or(1);
        self.protocol = self.most_wanted_protocol();
        self.topics = self.read_topics();
        if self.members.is_empty() {
            self.leader = None;
            self.enter(Phase::Empty, context.now);
            tracing::info!(group = %self.group, generation = self.generation, "group is empty");
            self.write(context);
        } else {
            let unsynced = self.members.keys().cloned().collect();
            self.enter(Phase::Completing { unsynced }, context.now);
            tracing::info!(
                group = %self.group,
                generation = self.generation,
                members = self.members.len(),
                "all members have joined"
            );
            self.tell_generation(context);
            let at_ms = context.now.elapsed_ms + self.rebalance_timeout_ms();
            context.timers.set(TimerKey::Sync(self.group.clone()), at_ms);
        }
    }

    /// Answers the parked joins. All sessions begin anew, also of static members that have not joined: they have the sync timeout to come.
    fn tell_generation(&mut self, context: &mut Context<'_>) {
        let ids: Vec<Name> = self.members.keys().cloned().collect();
        for id in &ids {
            let Some(member) = self.members.get_mut(id) else { continue };
            member.is_new = false;
            if let Waiting::Join(ticket) = std::mem::take(&mut member.waiting) {
                self.awaiting_join -= 1;
                let answer = self.joined(id, self.is_leader(id));
                context.answer(ticket, Answer::Join(answer));
            }
            self.arm_session(context, id);
        }
    }

    /// A leader that did not join leaves its place to a member that did. False if no member did.
    fn elect_leader(&mut self) -> bool {
        let joined = |id: &Name| self.members.get(id).is_some_and(super::Member::awaits_join);
        if self.leader.as_ref().is_some_and(joined) {
            return true;
        }
        let next = self.members.iter().find(|(_, member)| member.awaits_join()).map(|(id, _)| id.clone());
        if next.is_some() {
            self.leader = next;
            return true;
        }
        false
    }

    /// Of the protocols that all members have, the one that most of them prefer; the first by name if two are preferred alike. `None`
    /// without members.
    pub(super) fn most_wanted_protocol(&self) -> Option<Name> {
        let everybody = self.members.len();
        let candidates: BTreeSet<&Name> =
            self.supported.iter().filter(|(_, count)| **count == everybody).map(|(name, _)| name).collect();
        let mut votes: BTreeMap<&Name, usize> = BTreeMap::new();
        for member in self.members.values() {
            if let Some(vote) = member.protocols.iter().find(|protocol| candidates.contains(&protocol.name)) {
                *votes.entry(&vote.name).or_default() += 1;
            }
        }
        let most = votes.values().copied().max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name.clone())
    }

    /// Nobody has an assignment any more; who waits for one has to join again.
    fn reset_assignments(&mut self, context: &mut Context<'_>) {
        let ids: Vec<Name> = self.members.keys().cloned().collect();
        for id in &ids {
            if let Some(member) = self.members.get_mut(id) {
                member.assignment = bytes::Bytes::new();
            }
            if self.members.get(id).is_some_and(|member| matches!(member.waiting, Waiting::Sync(_))) {
                self.release(context, id, ErrorCode::RebalanceInProgress);
                self.arm_session(context, id);
            }
        }
    }

    /// A member is gone: the others share anew.
    pub(super) fn after_removal(&mut self, context: &mut Context<'_>, reason: &Reason<'_>) {
        match self.phase {
            Phase::Stable { .. } | Phase::Completing { .. } => self.prepare_rebalance(context, reason),
            Phase::Preparing { .. } => self.complete_if_all_joined(context),
            Phase::Empty => {}
        }
    }

    /// A deadline of this group is due.
    pub fn on_timer(&mut self, context: &mut Context<'_>, key: &TimerKey) {
        match key {
            TimerKey::Join(_) if matches!(self.phase, Phase::Preparing { .. }) => self.complete_join(context),
            TimerKey::Sync(_) => self.sync_expired(context),
            TimerKey::Session(_, member) => self.session_expired(context, member),
            TimerKey::PendingMember(_, member) if self.pending.contains(member) => {
                tracing::info!(group = %self.group, %member, "member id was never used");
                self.remove(context, member);
                self.complete_if_all_joined(context);
            }
            _ => {}
        }
    }

    /// A member was silent for its session timeout. One whose request is parked is not silent: its session begins anew with the answer.
    fn session_expired(&mut self, context: &mut Context<'_>, member: &Name) {
        if self.members.get(member).is_some_and(super::Member::is_silent) {
            tracing::info!(group = %self.group, %member, "session of a member ended");
            self.remove(context, member);
            self.after_removal(context, &Reason::by("a session ended", member, None));
        }
    }

    /// Members that did not come for their assignment are gone.
    fn sync_expired(&mut self, context: &mut Context<'_>) {
        let (Phase::Completing { unsynced } | Phase::Stable { unsynced }) = &self.phase else { return };
        let absent: Vec<Name> = unsynced.iter().cloned().collect();
        for member in &absent {
            self.remove(context, member);
        }
        if !absent.is_empty() {
            tracing::info!(group = %self.group, members = absent.len(), "members did not sync in time: removed");
            self.prepare_rebalance(context, &Reason::of("members did not sync in time"));
        }
    }
}
