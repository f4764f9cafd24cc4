//! Whether a member may commit or fetch offsets (rule G1).
//!
//! A commit may come with an epoch that is a little old: the member does not know its new one yet. It may then commit what it owned at that
//! epoch and owns still; a zombie, whose partitions others got since, may not.

use super::ConsumerGroup;
use super::member::{Member, Owned};
use crate::coordinator::group::command::{OffsetCommit, OffsetFetch};
use crate::coordinator::group::turn::Context;
use crate::protocol::error::ErrorCode;
use crate::types::TopicId;

impl ConsumerGroup {
    /// Whether the commit may be written, as far as that does not depend on the partition.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID; for an epoch that is ahead STALE_MEMBER_EPOCH, or ILLEGAL_GENERATION for a classic member; UNSUPPORTED_VERSION
    /// for a member that must know STALE_MEMBER_EPOCH but whose request does not.
    pub fn check_commit(&mut self, _: &mut Context<'_>, request: &OffsetCommit) -> Result<(), ErrorCode> {
        if self.is_admins(request) {
            return Ok(());
        }
        let member = self.members.get(&request.member).ok_or(ErrorCode::UnknownMemberId)?;
        if !member.is_classic() && !request.knows_stale_epoch {
            return Err(ErrorCode::UnsupportedVersion);
        }
        if request.generation > member.current.epoch {
            return Err(stale(member));
        }
        Ok(())
    }

    /// Whether one partition of an allowed commit may be written: a member with an old epoch may commit only what it has owned since.
    #[must_use]
    pub fn check_partition(&self, request: &OffsetCommit, topic: TopicId, partition: i32) -> ErrorCode {
        if self.is_admins(request) {
            return ErrorCode::None;
        }
        let Some(member) = self.members.get(&request.member) else { return ErrorCode::UnknownMemberId };
        let current = &member.current;
        if request.generation == current.epoch {
            return ErrorCode::None;
        }
        let epoch = |owned: &Owned| owned.get(&topic)?.get(&partition).copied();
        match epoch(&current.assigned).or_else(|| epoch(&current.pending)) {
            Some(assignment_epoch) if request.generation >= assignment_epoch => ErrorCode::None,
            _ => stale(member),
        }
    }

    /// Whether the offsets may be told to who asks.
    #[must_use]
    pub fn check_fetch(&self, _: &Context<'_>, request: &OffsetFetch) -> ErrorCode {
        if request.member.is_none() && request.epoch < 0 {
            return ErrorCode::None;
        }
        match request.member.as_ref().and_then(|member| self.members.get(member)) {
            None => ErrorCode::UnknownMemberId,
            Some(member) if member.current.epoch != request.epoch => stale(member),
            Some(_) => ErrorCode::None,
        }
    }

    /// A commit of nobody's to a group of nobody: a tool sets the offsets.
    fn is_admins(&self, request: &OffsetCommit) -> bool {
        request.generation < 0 && self.members.is_empty()
    }
}

/// The epoch does not fit, in the words of the member's protocol.
const fn stale(member: &Member) -> ErrorCode {
    if member.is_classic() { ErrorCode::IllegalGeneration } else { ErrorCode::StaleMemberEpoch }
}
