//! The server-side assignors of KIP-848: who of a group gets which partition.
//!
//! Pure functions of a [`GroupSpec`]: no clock, no randomness, ordered maps only, so that the same group always gets the same
//! assignment. This room knows no group state and no epochs; how members get from what they have to what they should have is
//! `consumer`'s.
//!
//! [`uniform`] balances the number of partitions per member and moves as few as it can; [`range`] gives each member the same range of
//! every topic, so that topics that belong together stay together, and is not sticky (nor is Kafka 4's).
//!
//! Kafka 4 took rack awareness out of its server-side assignors. Here [`uniform`] keeps as much of it as is free: a partition
//! that changes hands anyway goes to a member in the rack of one of its replicas, where that costs no balance. [`range`] does not:
//! ranges leave no choice.
//!
//! Read first: [`assign`].

mod audience;
mod layout;
mod racks;
pub mod range;
#[cfg(test)]
mod tests;
pub mod uniform;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::command::Name;
use crate::types::TopicId;

/// Partitions by topic. Topics without partitions do not appear.
pub type Partitions = BTreeMap<TopicId, BTreeSet<i32>>;

/// What each member should own. Every member appears, also one with nothing.
pub type Assignment = BTreeMap<Name, Partitions>;

/// No partitions: the `current` of a new member.
pub static NOTHING: Partitions = Partitions::new();

/// A group to be assigned. Borrows from the group's state and from the image.
#[derive(Debug, Clone, Default)]
pub struct GroupSpec<'a> {
    /// The members by id.
    pub members: BTreeMap<Name, MemberSpec<'a>>,
    /// Every topic that any member subscribes and that exists.
    pub topics: BTreeMap<TopicId, TopicSpec<'a>>,
}

/// A member of it.
#[derive(Debug, Clone)]
pub struct MemberSpec<'a> {
    /// Its instance id: static members keep their place in the order of a range by it.
    pub instance: Option<&'a str>,
    /// Its rack.
    pub rack: Option<&'a str>,
    /// The topics it subscribes; ids that are not in [`GroupSpec::topics`] are ignored. Members of equal subscriptions should share one
    /// set: that makes them cheap to compare.
    pub subscribed: Arc<BTreeSet<TopicId>>,
    /// Its target so far; [`NOTHING`] for a new member.
    pub current: &'a Partitions,
}

/// A topic of it.
#[derive(Debug, Clone, Default)]
pub struct TopicSpec<'a> {
    /// How many partitions it has.
    pub partitions: i32,
    /// Racks of the replicas by partition; empty if they are not known, or if no member has a rack.
    pub racks: Vec<Vec<&'a str>>,
}

/// Why nothing was assigned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AssignError {
    /// There is no assignor of that name here.
    #[error("no assignor is named {name:?}")]
    Unknown {
        /// As asked.
        name: String,
    },
}

/// Assigns every partition of every subscribed topic to exactly one of its subscribers, with the assignor `name`.
///
/// # Errors
/// [`AssignError::Unknown`] for a name other than `uniform` and `range`.
///
/// # Cost
/// About O((partitions + members + subscriptions) log members), no clone of what it borrows.
pub fn assign(name: &str, spec: &GroupSpec<'_>) -> Result<Assignment, AssignError> {
    match name {
        uniform::NAME => Ok(uniform::assign(spec)),
        range::NAME => Ok(range::assign(spec)),
        _ => Err(AssignError::Unknown { name: name.to_owned() }),
    }
}
