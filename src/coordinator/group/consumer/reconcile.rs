//! The step of one member towards its target (Kafka's `CurrentAssignmentBuilder`).
//!
//! ```text
//!                     nothing to give up, all free
//!            +-------------------------------------------+
//!            |                                           v
//!   any --target changed--> Unrevoked --gave it up--> Stable (at the target's epoch)
//!            |                                           ^
//!            +-------> Unreleased --others gave it up----+   (at the target's epoch, with what is free so far)
//! ```
//!
//! A partition goes to its new owner only when nobody owns it: neither assigned nor pending revocation (rule G3). So a member first gives
//! up what the target takes from it, at its old epoch, and comes to the target's epoch when it has said that it did.

use std::collections::{BTreeMap, BTreeSet};

use super::member::{Current, MemberState, Owned};
use crate::coordinator::group::assignor::Partitions;
use crate::coordinator::group::command::PartitionsById;
use crate::types::TopicId;

/// What the step depends on.
pub(super) struct Reconciliation<'a, F> {
    /// The epoch of the target.
    pub(super) target_epoch: i32,
    /// The member's part of it.
    pub(super) target: &'a Partitions,
    /// The topics that the member subscribes and that exist.
    pub(super) subscribed: &'a BTreeSet<TopicId>,
    /// The member has just changed what it subscribes.
    pub(super) subscription_changed: bool,
    /// What the member says that it owns; `None` if it said nothing.
    pub(super) owned: Option<&'a PartitionsById>,
    /// Whether another member owns a partition.
    pub(super) taken: F,
}

impl<F: Fn(TopicId, i32) -> bool> Reconciliation<'_, F> {
    /// Where the member is after this heartbeat. Equal to `current` if nothing changes.
    ///
    /// # Cost
    /// O(partitions of the member and of its target).
    pub(super) fn step(&self, current: &Current) -> Current {
        match current.state {
            MemberState::Stable if current.epoch == self.target_epoch => self.follow_subscription(current),
            MemberState::Unrevoked if self.still_owns(&current.pending) => self.follow_subscription(current),
            MemberState::Stable | MemberState::Unrevoked | MemberState::Unreleased => {
                self.next(current, current.epoch)
            }
            // The caller has made sure that such a member owns nothing any more.
            MemberState::Unknown => self.next(current, self.target_epoch),
        }
    }

    /// Whether the member may still own some of `revoked`. Who says nothing may own all of it.
    fn still_owns(&self, revoked: &Owned) -> bool {
        let Some(owned) = self.owned else { return true };
        owned.iter().any(|(topic, partitions)| {
            revoked
                .get(topic)
                .is_some_and(|revoked| partitions.iter().any(|partition| revoked.contains_key(partition)))
        })
    }

    /// Topics that are not subscribed any more are given up at once, before there is a new target.
    fn follow_subscription(&self, current: &Current) -> Current {
        if !self.subscription_changed || current.assigned.keys().all(|topic| self.subscribed.contains(topic))
        {
            return current.clone();
        }
        let (assigned, dropped): (Owned, Owned) =
            current.assigned.clone().into_iter().partition(|(topic, _)| self.subscribed.contains(topic));
        let mut pending = current.pending.clone();
        for (topic, partitions) in dropped {
            pending.entry(topic).or_default().extend(partitions);
        }
        if self.still_owns(&pending) {
            current.next(current.epoch, MemberState::Unrevoked, assigned, pending)
        } else {
            current.next(current.epoch, current.state, assigned, current.pending.clone())
        }
    }

    /// Towards the target from what is assigned; `epoch` is the member's while it must give something up.
    fn next(&self, current: &Current, epoch: i32) -> Current {
        let nothing = (BTreeSet::new(), BTreeMap::new());
        let mut kept = Owned::new();
        let mut revoked = Owned::new();
        let mut gained = Owned::new();
        let mut waits = false;
        let topics: BTreeSet<TopicId> = self.target.keys().chain(current.assigned.keys()).copied().collect();
        for topic in topics {
            let target = self.target.get(&topic).filter(|_| self.subscribed.contains(&topic));
            let target = target.unwrap_or(&nothing.0);
            let assigned = current.assigned.get(&topic).unwrap_or(&nothing.1);
            for (partition, epoch) in assigned {
                let to = if target.contains(partition) { &mut kept } else { &mut revoked };
                to.entry(topic).or_default().insert(*partition, *epoch);
            }
            for partition in target.iter().filter(|partition| !assigned.contains_key(partition)) {
                if (self.taken)(topic, *partition) {
                    waits = true;
                } else {
                    gained.entry(topic).or_default().insert(*partition, self.target_epoch);
                }
            }
        }
        if !revoked.is_empty() && self.still_owns(&revoked) {
            return current.next(epoch, MemberState::Unrevoked, kept, revoked);
        }
        for (topic, partitions) in gained {
            kept.entry(topic).or_default().extend(partitions);
        }
        let state = if waits { MemberState::Unreleased } else { MemberState::Stable };
        current.next(self.target_epoch, state, kept, Owned::new())
    }
}
