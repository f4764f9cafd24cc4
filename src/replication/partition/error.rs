//! Why a partition refuses what it is asked for.

use std::time::Duration;

use crate::log::{AppendError, ReadError};
use crate::replication::leader::FetchRefusal;
use crate::types::{BrokerId, LeaderEpoch, TopicPartition};

/// Why a partition refuses an append or a read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PartitionError {
    /// This broker does not lead the partition.
    #[error("this broker does not lead {partition}; the leader is {leader:?} in epoch {epoch}")]
    NotLeader {
        /// The partition.
        partition: TopicPartition,
        /// Its leader, if known.
        leader: Option<BrokerId>,
        /// The epoch known here.
        epoch: LeaderEpoch,
    },
    /// The client knows an older leader epoch (rule L8).
    #[error("leader epoch {got} is older than the current {current}")]
    FencedLeaderEpoch {
        /// As the request says.
        got: LeaderEpoch,
        /// As this broker knows.
        current: LeaderEpoch,
    },
    /// The client knows a newer leader epoch (rule L8).
    #[error("leader epoch {got} is newer than the {current} known here")]
    UnknownLeaderEpoch {
        /// As the request says.
        got: LeaderEpoch,
        /// As this broker knows.
        current: LeaderEpoch,
    },
    /// acks=all with fewer in-sync replicas than `min.insync.replicas` (rule L7).
    #[error("{partition} has {isr_size} in-sync replicas, fewer than min.insync.replicas = {required}")]
    NotEnoughReplicas {
        /// The partition.
        partition: TopicPartition,
        /// Size of its ISR.
        isr_size: usize,
        /// `min.insync.replicas`.
        required: usize,
    },
    /// The records were appended, but the ISR is too small by now; they may be committed later (rule L7).
    #[error("{partition}: the records are appended, but too few replicas are in sync to acknowledge them")]
    NotEnoughReplicasAfterAppend {
        /// The partition.
        partition: TopicPartition,
    },
    /// The replicas did not have the records in time; they may be committed later.
    #[error("{partition}: the replicas did not take the records within {waited:?}")]
    TimedOut {
        /// The partition.
        partition: TopicPartition,
        /// How long it was waited.
        waited: Duration,
    },
    /// This broker does not follow a leader in that epoch (any more): what came from it is dropped (rules F1, F7).
    #[error("this broker does not follow {partition} in epoch {epoch}")]
    NotFollowing {
        /// The partition.
        partition: TopicPartition,
        /// The epoch of what came.
        epoch: LeaderEpoch,
    },
    /// A follower's fetch was refused (rule L9).
    #[error(transparent)]
    Follower(#[from] FetchRefusal),
    /// The log refused the append.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log refused the read.
    #[error(transparent)]
    Read(#[from] ReadError),
}
