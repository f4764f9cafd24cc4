//! SyncGroup and Heartbeat: a generation gets its assignment, and its members say that they live.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::member::Waiting;
use super::{ClassicGroup, Phase};
use crate::coordinator::group::command::{Answer, Heartbeat, Name, SyncAnswer, SyncGroup};
use crate::coordinator::group::timers::TimerKey;
use crate::coordinator::group::turn::{Context, Ticket};
use crate::protocol::error::ErrorCode;

impl ClassicGroup {
    /// SyncGroup. Answered at once with an error or in a stable group, else when the leader's comes. The leader's makes the group stable
    /// and is written: who is not in its list has an empty assignment, who is not in the group is passed over.
    pub fn sync(&mut self, context: &mut Context<'_>, request: SyncGroup, ticket: Ticket) {
        let error = self.check_sync(&request);
        if error != ErrorCode::None {
            context.answer(ticket, Answer::Sync(SyncAnswer { error, ..SyncAnswer::default() }));
            return;
        }
        let member = &request.member;
        if self.is_leader(member) && !self.has_bytes_for_all(&request.assignments, context.settings) {
            // As Kafka answers when a group's record is too large for its log. The members wait for a leader that does better.
            let error = ErrorCode::UnknownServerError;
            context.answer(ticket, Answer::Sync(SyncAnswer { error, ..SyncAnswer::default() }));
            return;
        }
        self.synced(context, member);
        if matches!(self.phase, Phase::Completing { .. }) {
            // Its client gave an earlier one up, or sends both at once.
            self.release(context, member, ErrorCode::RebalanceInProgress);
            if let Some(member) = self.members.get_mut(member) {
                member.waiting = Waiting::Sync(ticket);
            }
            if self.is_leader(member) {
                self.assign(context, request.assignments);
            }
        } else {
            let answer = self.assignment_of(member);
            context.answer(ticket, Answer::Sync(answer));
        }
    }

    fn check_sync(&self, request: &SyncGroup) -> ErrorCode {
        let differs =
            |theirs: &Option<Name>, ours: &Option<Name>| theirs.is_some() && ours.is_some() && theirs != ours;
        match self.check_member(&request.member, request.instance.as_deref()) {
            ErrorCode::None => {}
            error => return error,
        }
        if request.generation != self.generation {
            ErrorCode::IllegalGeneration
        } else if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol, &self.protocol)
        {
            ErrorCode::InconsistentGroupProtocol
        } else if matches!(self.phase, Phase::Preparing { .. }) {
            ErrorCode::RebalanceInProgress
        } else {
            ErrorCode::None
        }
    }

    /// One less to wait for.
    fn synced(&mut self, context: &mut Context<'_>, member: &Name) {
        if let Phase::Completing { unsynced } | Phase::Stable { unsynced } = &mut self.phase {
            unsynced.remove(member);
            if unsynced.is_empty() {
                context.timers.cancel(&TimerKey::Sync(self.group.clone()));
            }
        }
    }

    /// The leader has assigned.
    fn assign(&mut self, context: &mut Context<'_>, assignments: Vec<(Name, Bytes)>) {
        let Phase::Completing { unsynced } = &mut self.phase else { return };
        let unsynced = std::mem::take(unsynced);
        let mut assignments: BTreeMap<Name, Bytes> = assignments.into_iter().collect();
        for (id, member) in &mut self.members {
            member.assignment = assignments.remove(id).unwrap_or_default();
        }
        self.enter(Phase::Stable { unsynced }, context.now);
        tracing::info!(
            group = %self.group,
            generation = self.generation,
            members = self.members.len(),
            statics = self.static_members.len(),
            "generation is stable"
        );
        self.write(context);
        let ids: Vec<Name> = self.members.keys().cloned().collect();
        for id in &ids {
            let Some(member) = self.members.get_mut(id) else { continue };
            if let Waiting::Sync(ticket) = member.waiting {
                member.waiting = Waiting::No;
                let answer = self.assignment_of(id);
                context.answer(ticket, Answer::Sync(answer));
                // The session may have ended while it waited for the leader.
                self.arm_session(context, id);
            }
        }
    }

    fn assignment_of(&self, member: &Name) -> SyncAnswer {
        SyncAnswer {
            error: ErrorCode::None,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment: self.members.get(member).map(|member| member.assignment.clone()).unwrap_or_default(),
        }
    }

    /// Heartbeat.
    pub fn heartbeat(&mut self, context: &mut Context<'_>, request: &Heartbeat, ticket: Ticket) {
        let mut error = self.check_member(&request.member, request.instance.as_deref());
        if error == ErrorCode::None && request.generation != self.generation {
            error = ErrorCode::IllegalGeneration;
        }
        if error == ErrorCode::None {
            self.arm_session(context, &request.member);
            if matches!(self.phase, Phase::Preparing { .. }) {
                error = ErrorCode::RebalanceInProgress;
            }
        }
        context.answer(ticket, Answer::Heartbeat(error));
    }
}
