//! A member of a consumer group: what it subscribes, and where it is on its way to the target (Kafka's `ConsumerGroupMember`).

use std::collections::BTreeMap;

use crate::coordinator::group::assignor::Partitions;
use crate::coordinator::group::command::{Name, PartitionsById};
use crate::coordinator::group::records::{ConsumerMemberValue, CurrentAssignmentValue, OwnedPartitions};
use crate::types::TopicId;

/// Epoch with which a member leaves.
pub(super) const LEAVE: i32 = -1;
/// Epoch with which a static member leaves for a while, and its epoch while it is away.
pub(super) const LEAVE_FOR_A_WHILE: i32 = -2;

/// Partitions that a member owns, each with the member epoch at which it got it: commits of older epochs are refused.
pub(super) type Owned = BTreeMap<TopicId, BTreeMap<i32, i32>>;

/// How far a member is (`org.apache.kafka.coordinator.group.modern.MemberState`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MemberState {
    /// It has all of the target that it can have.
    Stable,
    /// It must give up partitions before it may go on.
    Unrevoked,
    /// It waits for partitions that others have not given up yet.
    Unreleased,
    /// Written by a later version: it must begin anew.
    Unknown,
}

impl MemberState {
    const fn from_code(code: i8) -> Self {
        match code {
            0 => Self::Stable,
            1 => Self::Unrevoked,
            2 => Self::Unreleased,
            _ => Self::Unknown,
        }
    }

    const fn code(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::Unrevoked => 1,
            Self::Unreleased => 2,
            Self::Unknown => 127,
        }
    }
}

/// Where a member is: the current assignment of its record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Current {
    /// Its epoch.
    pub(super) epoch: i32,
    /// Its epoch before: accepted if the answer that told the new one was lost.
    pub(super) previous_epoch: i32,
    /// How far it is.
    pub(super) state: MemberState,
    /// What it owns.
    pub(super) assigned: Owned,
    /// What it must give up, and owns until it has.
    pub(super) pending: Owned,
}

impl Default for Current {
    fn default() -> Self {
        Self {
            epoch: 0,
            previous_epoch: -1,
            state: MemberState::Stable,
            assigned: Owned::new(),
            pending: Owned::new(),
        }
    }
}

impl Current {
    /// At `epoch`, with the epoch before remembered.
    pub(super) fn next(&self, epoch: i32, state: MemberState, assigned: Owned, pending: Owned) -> Self {
        Self { epoch, previous_epoch: self.epoch, state, assigned, pending }
    }

    /// Everything that it owns: what it is assigned, and what it has not given up yet.
    pub(super) fn owned(&self) -> Owned {
        let mut owned = self.assigned.clone();
        for (topic, partitions) in &self.pending {
            owned.entry(*topic).or_default().extend(partitions);
        }
        owned
    }

    /// As its record says. Partitions without an epoch of their own (written before 4.2) got it at the member's.
    pub(super) fn from_value(value: &CurrentAssignmentValue) -> Self {
        Self {
            epoch: value.epoch,
            previous_epoch: value.previous_epoch,
            state: MemberState::from_code(value.state),
            assigned: owned_from(&value.assigned, value.epoch),
            pending: owned_from(&value.pending_revocation, value.epoch),
        }
    }

    /// As its record says it.
    pub(super) fn value(&self) -> CurrentAssignmentValue {
        CurrentAssignmentValue {
            epoch: self.epoch,
            previous_epoch: self.previous_epoch,
            state: self.state.code(),
            assigned: owned_value(&self.assigned),
            pending_revocation: owned_value(&self.pending),
        }
    }
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Member {
    /// Its id.
    pub(super) id: Name,
    /// What it told of itself. `topic_names` is sorted and has no name twice.
    pub(super) metadata: ConsumerMemberValue,
    /// Where it is.
    pub(super) current: Current,
}

impl Member {
    /// A member of which nothing is known yet.
    pub(super) fn new(id: Name) -> Self {
        let topic_regex = Some(Name::default());
        let metadata =
            ConsumerMemberValue { rebalance_timeout_ms: -1, topic_regex, ..ConsumerMemberValue::default() };
        Self { id, metadata, current: Current::default() }
    }

    /// It speaks the classic protocol.
    pub(super) const fn is_classic(&self) -> bool {
        self.metadata.classic.is_some()
    }

    /// It has what the target of `assignment_epoch` gives it.
    pub(super) fn is_reconciled_to(&self, assignment_epoch: i32) -> bool {
        self.current.state == MemberState::Stable && self.current.epoch == assignment_epoch
    }

    /// The pattern that it subscribes, if it does.
    pub(super) fn pattern(&self) -> Option<&Name> {
        self.metadata.topic_regex.as_ref().filter(|pattern| !pattern.is_empty())
    }

    /// Rebalance timeout in milliseconds, not negative.
    pub(super) fn rebalance_timeout_ms(&self) -> i64 {
        self.metadata.rebalance_timeout_ms.max(0).into()
    }
}

/// Topic names as members keep them: sorted, each once.
pub(super) fn sorted_names(mut names: Vec<Name>) -> Vec<Name> {
    names.sort_unstable();
    names.dedup();
    names
}

/// Partitions as answers and records have them.
pub(super) fn by_id(partitions: &Partitions) -> PartitionsById {
    partitions.iter().map(|(topic, partitions)| (*topic, partitions.iter().copied().collect())).collect()
}

/// Owned partitions as answers have them.
pub(super) fn owned_by_id(owned: &Owned) -> PartitionsById {
    owned.iter().map(|(topic, partitions)| (*topic, partitions.keys().copied().collect())).collect()
}

/// Partitions of a record as targets have them.
pub(super) fn partitions_of(value: &PartitionsById) -> Partitions {
    let mut partitions = Partitions::new();
    for (topic, indexes) in value {
        if !indexes.is_empty() {
            partitions.entry(*topic).or_default().extend(indexes);
        }
    }
    partitions
}

fn owned_from(value: &[OwnedPartitions], epoch: i32) -> Owned {
    let mut owned = Owned::new();
    for topic in value {
        let told = topic.assignment_epochs.len() == topic.partitions.len();
        let epochs = topic.assignment_epochs.iter().copied().filter(|_| told).chain(std::iter::repeat(epoch));
        if !topic.partitions.is_empty() {
            owned.entry(topic.topic).or_default().extend(topic.partitions.iter().copied().zip(epochs));
        }
    }
    owned
}

fn owned_value(owned: &Owned) -> Vec<OwnedPartitions> {
    let of = |(topic, partitions): (&TopicId, &BTreeMap<i32, i32>)| OwnedPartitions {
        topic: *topic,
        partitions: partitions.keys().copied().collect(),
        assignment_epochs: partitions.values().copied().collect(),
    };
    owned.iter().map(of).collect()
}
