//! Committed offsets of the groups of a shard.

use super::command::{FetchedOffset, Name, OffsetCommit, OffsetDelete, OffsetFetch};
use super::records::OffsetCommitValue;
use super::turn::Context;
use crate::protocol::error::ErrorCode;
use crate::types::{Millis, TopicId};

/// From when the offsets of a group age, those of topics that nobody reads (KIP-211; Kafka's `OffsetExpirationCondition`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aging {
    /// They do not: the group is in use, or what its members read is not known.
    InUse,
    /// Each since its own commit.
    SinceCommit,
    /// All since then (wall clock): the group is empty.
    Since(Millis),
}

/// Committed offsets: group -> topic -> partition.
#[derive(Debug, Default)]
pub struct Offsets {}

impl Offsets {
    /// Takes over a record of the log.
    pub fn replay(&mut self, group: &Name, topic: &Name, partition: i32, value: Option<OffsetCommitValue>) {}

    /// The groups that have offsets.
    #[must_use]
    pub fn groups(&self) -> Vec<Name> {
        unreachable!("written next")
    }

    /// Writes what may be written. `check` says whether one partition of a topic may.
    pub fn commit(
        &mut self,
        context: &mut Context<'_>,
        request: &OffsetCommit,
        check: impl Fn(TopicId, i32) -> ErrorCode,
    ) -> Vec<(Name, Vec<(i32, ErrorCode)>)> {
        unreachable!("written next")
    }

    /// What is committed.
    #[must_use]
    pub fn fetch(&self, request: &OffsetFetch) -> Vec<(Name, Vec<FetchedOffset>)> {
        unreachable!("written next")
    }

    /// Forgets offsets of topics that nobody `reads`; else GROUP_SUBSCRIBED_TO_TOPIC.
    pub fn delete(
        &mut self,
        context: &mut Context<'_>,
        request: &OffsetDelete,
        reads: impl Fn(&str) -> bool,
    ) -> Vec<(Name, Vec<(i32, ErrorCode)>)> {
        unreachable!("written next")
    }

    /// Forgets all offsets of a group.
    pub fn delete_group(&mut self, context: &mut Context<'_>, group: &Name) {}

    /// Forgets offsets of `group` that are old enough by `aging`, of topics that nobody `reads`. An offset that brought its own time to
    /// go (retention of OffsetCommit v2-4) goes then. Returns whether none are left.
    pub fn expire(
        &mut self,
        context: &mut Context<'_>,
        group: &Name,
        aging: Aging,
        reads: impl Fn(&str) -> bool,
    ) -> bool {
        unreachable!("written next")
    }

    /// Forgets offsets of topics that the image does not have any more.
    pub fn forget_deleted_topics(&mut self, context: &mut Context<'_>) {}

    /// Every committed offset: group, topic, partition, offset.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &Name, i32, i64)> {
        std::iter::empty()
    }
}
