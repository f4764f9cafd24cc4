//! A consumer group of KIP-848: the server assigns, members follow by heartbeats (Kafka's `ConsumerGroup` and the consumer half of its
//! `GroupMetadataManager`).
//!
//! Three epochs count up. The *group epoch* when what members subscribe, or what is known of those topics, has changed; the *assignment
//! epoch* when a target assignment for it is computed ([`target`]); the *member epoch* when a member has given up what the target takes
//! from it ([`reconcile`]). A partition is given to its new owner only when the old one has said that it gave it up, is fenced, or has
//! left (rule G3).
//!
//! Every step changes the state through the record that it writes ([`replay`]), so that the log, replayed, gives the same state.
//!
//! Members of the classic protocol may be in such a group too ([`classic_member`]); [`migrate`] turns groups of one kind into the other,
//! while their members go on.
//!
//! Ours, and not Kafka's:
//! - while a member has not reached its target it is told a shorter heartbeat interval ([`times`]), so that
//!   rebalances settle in fractions of the configured interval;
//! - a target that may not be computed yet (`group.consumer.assignment.interval.ms`) is computed when it may, not at the heartbeat after;
//! - a pattern is resolved in the heartbeat that brings it, so that the first answer already has the assignment.
//!
//! Nothing is parked here: every request is answered in its own turn.
//!
//! Read first: [`heartbeat`], [`reconcile`], [`target`].

mod admit;
mod classic_member;
mod commit;
mod describe;
mod heartbeat;
mod index;
mod leave;
mod member;
mod migrate;
mod reconcile;
mod replay;
mod subscription;
mod target;
#[cfg(test)]
mod tests;
mod times;

use std::collections::BTreeMap;

use self::index::Index;
use self::member::Member;
use self::migrate::Becoming;
use super::assignor::Partitions;
use super::command::{GroupState, Name};
use super::records::RegularExpressionValue;
use crate::types::Millis;

/// A consumer group.
#[derive(Debug)]
pub struct ConsumerGroup {
    /// Its name.
    group: Name,
    /// The group epoch: 0 before the first subscription.
    epoch: i32,
    /// Hash of what was known of the subscribed topics at that epoch (KIP-1101).
    metadata_hash: i64,
    /// The group epoch that the target was computed for; -1 before the first.
    assignment_epoch: i32,
    /// When (wall clock) that was; 0 if not known.
    assigned_at: Millis,
    /// The members by id.
    members: BTreeMap<Name, Member>,
    /// The target by member.
    targets: BTreeMap<Name, Partitions>,
    /// What each subscribed pattern matched.
    matches: BTreeMap<Name, RegularExpressionValue>,
    /// Found without looking at all members.
    index: Index,
    /// The image has changed since the subscribed topics were looked at.
    is_stale: bool,
    /// The image has changed since the patterns were matched.
    patterns_are_stale: bool,
    /// What [`super::shard`] should make of it after this step.
    becoming: Option<Becoming>,
}

impl ConsumerGroup {
    /// A group without members.
    fn new(group: Name) -> Self {
        Self {
            group,
            epoch: 0,
            metadata_hash: 0,
            assignment_epoch: -1,
            assigned_at: 0,
            members: BTreeMap::new(),
            targets: BTreeMap::new(),
            matches: BTreeMap::new(),
            index: Index::default(),
            is_stale: true,
            patterns_are_stale: true,
            becoming: None,
        }
    }

    /// Its state, as Kafka calls it. O(1).
    #[must_use]
    pub fn state(&self) -> GroupState {
        if self.members.is_empty() {
            GroupState::Empty
        } else if self.epoch > self.assignment_epoch {
            GroupState::Assigning
        } else if self.index.settled < self.members.len() {
            GroupState::Reconciling
        } else {
            GroupState::Stable
        }
    }

    /// Whether a member reads `topic`.
    #[must_use]
    pub fn reads(&self, topic: &str) -> bool {
        self.index.topics.contains_key(topic)
    }
}
