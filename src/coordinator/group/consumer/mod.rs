//! A consumer group of KIP-848: the server assigns, members follow by heartbeats (Kafka's `ConsumerGroup`).

use std::collections::BTreeMap;

use super::classic::ClassicGroup;
use super::command::{
    ConsumerHeartbeat, DescribedConsumerGroup, GroupState, Heartbeat, JoinGroup, LeaveGroup, Name,
    OffsetCommit, OffsetFetch, SyncGroup,
};
use super::records::Record;
use super::shard::Group;
use super::timers::TimerKey;
use super::turn::{Context, Ticket};
use crate::metadata::image::ClusterImage;
use crate::protocol::error::ErrorCode;
use crate::types::TopicId;

/// A consumer group.
#[derive(Debug)]
pub struct ConsumerGroup {}

impl ConsumerGroup {
    /// Takes over a record of key types 3 to 8 and 16. A record of a group that is not known yet begins it.
    pub fn replay(groups: &mut BTreeMap<Name, Group>, record: Record) {}

    /// Its shard is loaded: sessions and rebalance deadlines begin anew.
    pub fn loaded(&mut self, context: &mut Context<'_>) {}

    /// ConsumerGroupHeartbeat. The group may not exist yet, or be a classic one that is empty or can be upgraded.
    pub fn heartbeat(
        groups: &mut BTreeMap<Name, Group>,
        context: &mut Context<'_>,
        request: ConsumerHeartbeat,
        ticket: Ticket,
    ) {
    }

    /// JoinGroup of a classic member.
    pub fn join(&mut self, context: &mut Context<'_>, request: JoinGroup, ticket: Ticket) {}

    /// SyncGroup of a classic member.
    pub fn sync(&mut self, context: &mut Context<'_>, request: SyncGroup, ticket: Ticket) {}

    /// Heartbeat of a classic member.
    pub fn heartbeat_classic(&mut self, context: &mut Context<'_>, request: &Heartbeat, ticket: Ticket) {}

    /// LeaveGroup, of classic members, or by an administrator for any.
    pub fn leave(&mut self, context: &mut Context<'_>, request: LeaveGroup, ticket: Ticket) {}

    /// A deadline of this group is due.
    pub fn on_timer(&mut self, context: &mut Context<'_>, key: &TimerKey) {}

    /// The image changed: subscribed topics may have.
    pub fn image_changed(&mut self, context: &mut Context<'_>) {}

    /// If its last members all speak the classic protocol now and the policy allows it: the classic group that it becomes, its records
    /// written.
    pub fn downgraded(&mut self, context: &mut Context<'_>) -> Option<ClassicGroup> {
        unreachable!("written next")
    }

    /// Whether the commit may be written (rule G1).
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

    /// Whether one partition of an allowed commit may be written: a member with an old epoch may commit only what it has owned since.
    #[must_use]
    pub fn check_partition(&self, request: &OffsetCommit, topic: TopicId, partition: i32) -> ErrorCode {
        unreachable!("written next")
    }

    /// Whether the offsets may be told to who asks.
    #[must_use]
    pub fn check_fetch(&self, context: &Context<'_>, request: &OffsetFetch) -> ErrorCode {
        unreachable!("written next")
    }

    /// Whether a member reads `topic`.
    #[must_use]
    pub fn reads(&self, topic: &str) -> bool {
        unreachable!("written next")
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> GroupState {
        unreachable!("written next")
    }

    /// For ConsumerGroupDescribe.
    #[must_use]
    pub fn described(&self, image: &ClusterImage) -> DescribedConsumerGroup {
        unreachable!("written next")
    }

    /// Writes that it is gone.
    pub fn write_tombstones(&mut self, context: &mut Context<'_>) {}
}
