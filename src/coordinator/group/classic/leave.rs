//! LeaveGroup: members go, or an administrator sends them.

use super::ClassicGroup;
use super::rebalance::{Reason, client_reason};
use crate::coordinator::group::command::{Answer, LeaveAnswer, LeaveGroup, Leaver};
use crate::coordinator::group::turn::{Context, Ticket};
use crate::protocol::error::ErrorCode;

impl ClassicGroup {
    /// LeaveGroup: each by itself, one rebalance for all. A static member may be named by its instance id alone.
    pub fn leave(&mut self, context: &mut Context<'_>, request: LeaveGroup, ticket: Ticket) {
        let mut members = Vec::with_capacity(request.members.len());
        for leaver in request.members {
            let error = self.leave_one(context, &leaver);
            members.push((leaver, error));
        }
        let gone = members.iter().find(|(_, error)| *error == ErrorCode::None);
        if let Some((leaver, _)) = gone {
            let reason = Reason::by("members leave", &leaver.member, leaver.reason.as_deref());
            self.after_removal(context, &reason);
        }
        let answer = LeaveAnswer { error: ErrorCode::None, members };
        context.answer(ticket, Answer::Leave(answer));
    }

    fn leave_one(&mut self, context: &mut Context<'_>, leaver: &Leaver) -> ErrorCode {
        let named = if leaver.member.is_empty() {
            leaver.instance.as_ref().and_then(|instance| self.static_member(instance)).cloned()
        } else if self.pending.contains(&leaver.member) {
            Some(leaver.member.clone())
        } else {
            match self.check_member(&leaver.member, leaver.instance.as_deref()) {
                ErrorCode::None => Some(leaver.member.clone()),
                error => return error,
            }
        };
        let Some(member) = named else { return ErrorCode::UnknownMemberId };
        tracing::info!(
            group = %self.group,
            %member,
            client_reason = ?client_reason(leaver.reason.as_deref()),
            "member leaves"
        );
        self.remove(context, &member);
        ErrorCode::None
    }
}
