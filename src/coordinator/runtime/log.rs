//! What the coordinator needs of a log. `broker/` implements it over a led partition; tests keep one in memory.

use std::sync::Arc;

use bytes::Bytes;

use crate::log::Step;
use crate::protocol::error::ErrorCode;
use crate::types::{LeaderEpoch, Offset};

/// The log of one partition of `__consumer_offsets` that this broker leads.
pub trait CoordinatorLog: Send + Sync + 'static {
    /// Waits until the offsets of the log are known.
    fn ready(&self) -> Step<Result<(), LogRefused>>;

    /// Offset of the first record that is kept.
    fn start_offset(&self) -> Offset;

    /// Offset that the next record gets.
    fn end_offset(&self) -> Offset;

    /// The largest batch that the log takes.
    fn batch_bytes_max(&self) -> usize;

    /// Appends one batch as leader of `epoch` and gives the offset after it. Appends take effect in the order of the calls.
    fn append(&self, batch: Bytes, epoch: LeaderEpoch) -> Step<Result<Offset, LogRefused>>;

    /// Whole batches from `from` to `end`: about `max_bytes` of them, one at least, none if there are none.
    fn read(&self, from: Offset, end: Offset, max_bytes: usize) -> Step<Result<Vec<Bytes>, LogRefused>>;

    /// Waits until everything below `end` is below the high watermark. Ready at once if it is. Fails as soon as this broker does not
    /// lead in `epoch` any more, also if the high watermark is far enough (rule G1: checked at append and at completion).
    fn committed(&self, end: Offset, epoch: LeaderEpoch) -> Step<Result<(), LogRefused>>;
}

/// Why a log did not do what the coordinator asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LogRefused {
    /// This broker does not lead the partition in that epoch.
    #[error("this broker does not lead the partition in epoch {0}")]
    NotLeader(LeaderEpoch),
    /// Fewer in-sync replicas than `min.insync.replicas` (rule L7).
    #[error("too few in-sync replicas")]
    NotEnoughReplicas,
    /// One record takes more than a segment.
    #[error("a record of {size_bytes} bytes is larger than the {max_bytes} that the log takes")]
    TooLarge {
        /// Size of the record.
        size_bytes: usize,
        /// The log's limit.
        max_bytes: usize,
    },
    /// The log cannot be written or read now.
    #[error("{0}")]
    Unusable(Arc<str>),
    /// The core panicked: its state is not to be trusted.
    #[error("the coordinator's core panicked")]
    Panicked,
}

impl LogRefused {
    /// What everybody is told who waits for the log (`CoordinatorOperationExceptionHelper`): all of these make clients look for the
    /// coordinator anew and ask again.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::NotEnoughReplicas => ErrorCode::CoordinatorNotAvailable,
            Self::NotLeader(_) | Self::TooLarge { .. } | Self::Unusable(_) | Self::Panicked => {
                ErrorCode::NotCoordinator
            }
        }
    }
}
