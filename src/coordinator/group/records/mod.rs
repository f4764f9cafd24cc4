//! The records of `__consumer_offsets`, with the fields of Kafka's schemas (`kafka-group-coordinator`, `common/message/*.json` of 4.3.1).
//!
//! A value of `None` is a tombstone. Records of kinds that this broker does not know (share and streams groups) are kept by compaction
//! and skipped by replay. [`Record::encode`] and [`Record::decode`] are the only code that knows the bytes.
//!
//! Read first: this file; then `codec`.

mod codec;
#[cfg(test)]
mod codec_tests;
#[cfg(test)]
mod golden_tests;
mod wire;

pub use codec::{RecordError, RecordProblem};

use bytes::Bytes;

use super::command::{Name, PartitionsById, Protocol};
use crate::types::{Millis, TopicId};

/// The longest name that a record can hold: keys and classic groups are written in the old form, with lengths of 16 bits. The guard lets
/// no longer string in; ids that are put together of such strings are checked by the shard.
pub const NAME_BYTES_MAX: usize = i16::MAX as usize;

/// One record: its key and its value.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// Key type 1 (and 0, legacy): a committed offset.
    OffsetCommit {
        /// Group.
        group: Name,
        /// Topic.
        topic: Name,
        /// Partition.
        partition: i32,
        /// What was committed.
        value: Option<OffsetCommitValue>,
    },
    /// Key type 2: a classic group.
    Group {
        /// Group.
        group: Name,
        /// Its last generation.
        value: Option<GroupValue>,
    },
    /// Key type 3: a consumer group.
    ConsumerGroup {
        /// Group.
        group: Name,
        /// Its epoch.
        value: Option<ConsumerGroupValue>,
    },
    /// Key type 4: the tombstone of what releases before 4.1 wrote. Its values are skipped: nothing reads them any more (KIP-1101).
    ConsumerGroupPartitionMetadata {
        /// Group.
        group: Name,
    },
    /// Key type 5: a member of a consumer group.
    ConsumerMember {
        /// Group.
        group: Name,
        /// Member.
        member: Name,
        /// What it subscribes.
        value: Option<ConsumerMemberValue>,
    },
    /// Key type 6: the epoch of the target assignment.
    TargetAssignmentEpoch {
        /// Group.
        group: Name,
        /// The epoch.
        value: Option<TargetAssignmentEpochValue>,
    },
    /// Key type 7: the target assignment of a member.
    TargetAssignmentMember {
        /// Group.
        group: Name,
        /// Member.
        member: Name,
        /// What it should have.
        value: Option<PartitionsById>,
    },
    /// Key type 8: where a member is on its way to the target.
    CurrentAssignment {
        /// Group.
        group: Name,
        /// Member.
        member: Name,
        /// What it has.
        value: Option<CurrentAssignmentValue>,
    },
    /// Key type 16: the topics that a pattern was found to match.
    RegularExpression {
        /// Group.
        group: Name,
        /// The pattern.
        regex: Name,
        /// What it matched.
        value: Option<RegularExpressionValue>,
    },
}

/// A committed offset. Written as version 4, or as 1 if it has an expire timestamp: then leader epoch and topic id are not kept
/// (`GroupCoordinatorRecordHelpers.newOffsetCommitRecord` of 4.3.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OffsetCommitValue {
    /// The next offset to consume.
    pub offset: i64,
    /// Leader epoch of the last consumed record; -1 if not known.
    pub leader_epoch: i32,
    /// The client's.
    pub metadata: Name,
    /// When.
    pub commit_timestamp: Millis,
    /// When to forget it, if the client said so (version 1 of the value); -1 if not.
    pub expire_timestamp: Millis,
    /// Id of the topic; the zero id if not known.
    pub topic_id: TopicId,
}

/// A classic group, written when a generation is stable or the group becomes empty. Version 3.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupValue {
    /// Kind of the group.
    pub protocol_type: Name,
    /// Its generation.
    pub generation: i32,
    /// The protocol chosen.
    pub protocol: Option<Name>,
    /// The member that assigns.
    pub leader: Option<Name>,
    /// When its state last changed; -1 if not known.
    pub current_state_timestamp: Millis,
    /// Its members.
    pub members: Vec<GroupMemberValue>,
}

/// A member of a classic group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupMemberValue {
    /// Its id.
    pub member: Name,
    /// Its instance id.
    pub instance: Option<Name>,
    /// Its `client.id`.
    pub client_id: Name,
    /// Where it connects from.
    pub client_host: Name,
    /// Its rebalance timeout.
    pub rebalance_timeout_ms: i32,
    /// Its session timeout.
    pub session_timeout_ms: i32,
    /// Its metadata of the chosen protocol.
    pub subscription: Bytes,
    /// Its assignment.
    pub assignment: Bytes,
}

/// A consumer group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConsumerGroupValue {
    /// Its epoch.
    pub epoch: i32,
    /// Hash of what it knows of the topics it subscribes (KIP-1101).
    pub metadata_hash: i64,
}

/// A member of a consumer group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsumerMemberValue {
    /// Its instance id.
    pub instance: Option<Name>,
    /// Its rack.
    pub rack: Option<Name>,
    /// Its `client.id`.
    pub client_id: Name,
    /// Where it connects from.
    pub client_host: Name,
    /// Topics subscribed by name.
    pub topic_names: Vec<Name>,
    /// Topics subscribed by pattern.
    pub topic_regex: Option<Name>,
    /// Its rebalance timeout; -1 if not known.
    pub rebalance_timeout_ms: i32,
    /// The assignor that it wants.
    pub server_assignor: Option<Name>,
    /// If it speaks the classic protocol.
    pub classic: Option<ClassicMemberValue>,
}

/// What is kept of a classic member in a consumer group.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClassicMemberValue {
    /// Its session timeout.
    pub session_timeout_ms: i32,
    /// What it can do.
    pub protocols: Vec<Protocol>,
}

/// The epoch of a target assignment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TargetAssignmentEpochValue {
    /// The group epoch that it was computed for.
    pub epoch: i32,
    /// When it was computed (4.3); 0 if not known.
    pub timestamp: Millis,
}

/// Where a member of a consumer group is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CurrentAssignmentValue {
    /// Its epoch.
    pub epoch: i32,
    /// Its epoch before, which it may still use if the answer was lost.
    pub previous_epoch: i32,
    /// `org.apache.kafka.coordinator.group.modern.MemberState`: 0 stable, 1 unrevoked partitions, 2 unreleased partitions, 127 unknown.
    pub state: i8,
    /// What it owns, each partition with the epoch at which it got it.
    pub assigned: Vec<OwnedPartitions>,
    /// What it must give back first.
    pub pending_revocation: Vec<OwnedPartitions>,
}

/// Partitions of a topic that a member owns.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OwnedPartitions {
    /// The topic.
    pub topic: TopicId,
    /// Its partitions.
    pub partitions: Vec<i32>,
    /// Member epoch at which each was assigned, as long as `partitions`; empty if not known (a zombie's commit is fenced by it).
    pub assignment_epochs: Vec<i32>,
}

/// What a pattern matched.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegularExpressionValue {
    /// Topic names.
    pub topics: Vec<Name>,
    /// Revision of the image that was looked at.
    pub version: i64,
    /// When.
    pub timestamp: Millis,
}
