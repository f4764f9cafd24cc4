//! A classic group: members join a generation, their leader assigns, everybody syncs (Kafka's `ClassicGroup`).

use super::command::{
    DescribedGroup, GroupState, Heartbeat, JoinGroup, LeaveGroup, Name, OffsetCommit, OffsetFetch, SyncGroup,
};
use super::records::GroupValue;
use super::timers::TimerKey;
use super::turn::{Context, Now, Ticket};
use crate::protocol::error::ErrorCode;
use crate::types::Millis;

/// A classic group.
#[derive(Debug)]
pub struct ClassicGroup {}

impl ClassicGroup {
    /// A group without members.
    #[must_use]
    pub fn new(group: Name, now: Now) -> Self {
        unreachable!("written next")
    }

    /// As the log says.
    #[must_use]
    pub fn replayed(group: Name, value: GroupValue) -> Self {
        unreachable!("written next")
    }

    /// Its shard is loaded: the sessions of its members begin anew.
    pub fn loaded(&mut self, context: &mut Context<'_>) {}

    /// JoinGroup.
    pub fn join(&mut self, context: &mut Context<'_>, request: JoinGroup, ticket: Ticket) {}

    /// SyncGroup.
    pub fn sync(&mut self, context: &mut Context<'_>, request: SyncGroup, ticket: Ticket) {}

    /// Heartbeat.
    pub fn heartbeat(&mut self, context: &mut Context<'_>, request: &Heartbeat, ticket: Ticket) {}

    /// LeaveGroup.
    pub fn leave(&mut self, context: &mut Context<'_>, request: LeaveGroup, ticket: Ticket) {}

    /// A deadline of this group is due.
    pub fn on_timer(&mut self, context: &mut Context<'_>, key: &TimerKey) {}

    /// Whether the commit may be written; a member's commit also shows that it lives (rule G1).
    ///
    /// # Errors
    /// Kafka's code for every partition of the commit.
    pub fn check_commit(
        &mut self,
        context: &mut Context<'_>,
        request: &OffsetCommit,
    ) -> Result<(), ErrorCode> {
        unreachable!("written next")
    }

    /// Whether the offsets may be told to who asks.
    #[must_use]
    pub fn check_fetch(&self, request: &OffsetFetch) -> ErrorCode {
        unreachable!("written next")
    }

    /// Whether offsets of the group may be deleted at all.
    #[must_use]
    pub fn check_offset_delete(&self) -> ErrorCode {
        unreachable!("written next")
    }

    /// Whether a member reads `topic`; true for any topic if the members' metadata cannot be read.
    #[must_use]
    pub fn reads(&self, topic: &str) -> bool {
        unreachable!("written next")
    }

    /// Since when (wall clock) its offsets may be forgotten: its last change if it is empty; `None` if it is in use.
    #[must_use]
    pub fn unused_since(&self) -> Option<Millis> {
        unreachable!("written next")
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> GroupState {
        unreachable!("written next")
    }

    /// Its protocol type, empty if it has none.
    #[must_use]
    pub fn protocol_type(&self) -> Name {
        unreachable!("written next")
    }

    /// For DescribeGroups.
    #[must_use]
    pub fn described(&self) -> DescribedGroup {
        unreachable!("written next")
    }

    /// A group that a refused join brought into being: nothing of it is worth keeping.
    #[must_use]
    pub fn never_was(&self) -> bool {
        unreachable!("written next")
    }

    /// Writes that it is gone.
    pub fn write_tombstones(&mut self, context: &mut Context<'_>) {}
}
