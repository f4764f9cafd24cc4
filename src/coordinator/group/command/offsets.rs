//! Committed offsets: to write, to read, to forget.

use super::{Name, PartitionsByName};
use crate::protocol::error::ErrorCode;
use crate::types::{Millis, TopicId};

/// Offsets to commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OffsetCommit {
    /// The group; may be empty (old standalone consumers).
    pub group: Name,
    /// Its member; empty for a standalone consumer.
    pub member: Name,
    /// Its instance id.
    pub instance: Option<Name>,
    /// Generation (classic) or member epoch (KIP-848); -1 for a standalone consumer.
    pub generation: i32,
    /// v2-4: how long to keep the offsets.
    pub retention_ms: Option<Millis>,
    /// The OffsetCommit version is 9 or higher: stale member epochs have a code of their own there.
    pub knows_stale_epoch: bool,
    /// By topic; every topic here exists.
    pub topics: Vec<CommitTopic>,
}

/// The partitions of one topic in a commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommitTopic {
    /// Its name.
    pub name: Name,
    /// Its id, the zero id if it is not known.
    pub id: TopicId,
    /// Its partitions.
    pub partitions: Vec<CommitPartition>,
}

/// One committed offset.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommitPartition {
    /// Partition.
    pub index: i32,
    /// The next offset to consume.
    pub offset: i64,
    /// Leader epoch of the last consumed record; -1 if not known (rule C5).
    pub leader_epoch: i32,
    /// What the client wants to remember, empty for nothing.
    pub metadata: Name,
}

/// Asks for committed offsets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OffsetFetch {
    /// The group.
    pub group: Name,
    /// v9+: the asking member, so that it is fenced.
    pub member: Option<Name>,
    /// v9+: its epoch; -1 for nobody.
    pub epoch: i32,
    /// Of these partitions; `None` for all that are committed.
    pub topics: Option<PartitionsByName>,
    /// Offsets that a transaction may still change are UNSTABLE_OFFSET_COMMIT.
    pub require_stable: bool,
}

/// Committed offsets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OffsetFetchAnswer {
    /// NONE, or why nothing is told.
    pub error: ErrorCode,
    /// As asked, or all.
    pub topics: Vec<(Name, Vec<FetchedOffset>)>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FetchedOffset {
    /// Partition.
    pub index: i32,
    /// The committed offset, -1 if there is none.
    pub offset: i64,
    /// As committed, -1 if not known.
    pub leader_epoch: i32,
    /// As committed.
    pub metadata: Name,
    /// NONE or UNSTABLE_OFFSET_COMMIT.
    pub error: ErrorCode,
}

/// Offsets to forget.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OffsetDelete {
    /// The group.
    pub group: Name,
    /// Which; every topic here exists.
    pub topics: PartitionsByName,
}

/// To a deletion of offsets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OffsetDeleteAnswer {
    /// NONE, or why nothing was deleted.
    pub error: ErrorCode,
    /// As asked, with GROUP_SUBSCRIBED_TO_TOPIC where a member still reads the topic.
    pub topics: Vec<(Name, Vec<(i32, ErrorCode)>)>,
}
