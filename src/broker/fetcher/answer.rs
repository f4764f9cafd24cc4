//! What a follower does with the leader's answer for one partition: append, cut, begin anew, or wait (rules F1 to F8).

use std::sync::Arc;

use crate::log::Step;
use crate::protocol::error::ErrorCode;
use crate::protocol::fetch_body::{EpochEndOffset, FetchedPartition};
use crate::replication::follower::{self, OutOfRange};
use crate::replication::{Partition, PartitionError};
use crate::telemetry::replication as metrics;
use crate::types::{LeaderEpoch, Offset};

/// Why a partition does not go on at once.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// The leader refused. Mostly it, or this broker, does not know the newest leader yet.
    #[error("the leader answered {0}")]
    Refused(ErrorCode),
    /// This broker refused, or its log did.
    #[error(transparent)]
    Here(#[from] PartitionError),
    /// The leader says something that cannot be followed.
    #[error("the leader's answer makes no sense: {0}")]
    Senseless(&'static str),
    /// The leader lacks records that were committed (rule F3).
    #[error(
        "the leader of epoch {epoch} has the log end at {to}, below the high watermark {high_watermark} known here, \
         though this replica is in sync and no unclean election is recorded: the replica is stopped"
    )]
    Breach {
        /// The leader's epoch.
        epoch: LeaderEpoch,
        /// Where this log would be cut.
        to: Offset,
        /// What was committed, as this replica knows.
        high_watermark: Offset,
    },
}

impl Trouble {
    /// It comes with every change of leaders, and goes by itself.
    #[must_use]
    pub const fn is_expected(&self) -> bool {
        matches!(
            self,
            Self::Refused(
                ErrorCode::FencedLeaderEpoch
                    | ErrorCode::UnknownLeaderEpoch
                    | ErrorCode::NotLeaderOrFollower
                    | ErrorCode::UnknownTopicId
                    | ErrorCode::UnknownTopicOrPartition
                    | ErrorCode::StaleBrokerEpoch
            ) | Self::Here(PartitionError::NotFollowing { .. })
        )
    }
}

/// A follower's turn: done at once, or waiting for the disk.
pub type Done = Step<Result<(), Trouble>>;

/// What this replica is to the leader that it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Follows {
    /// The epoch in which the leader was asked.
    pub epoch: LeaderEpoch,
    /// The record has this replica in sync, and its leader has all that was committed.
    pub in_sync: bool,
}

/// Takes the leader's answer for one partition. The partition refuses what is not of its present epoch (rules F1, F7).
pub fn take(partition: &Arc<Partition>, follows: Follows, answer: FetchedPartition) -> Done {
    match answer.error {
        ErrorCode::None => {}
        ErrorCode::OffsetOutOfRange => return out_of_range(partition, follows, &answer),
        error => return failed(Trouble::Refused(error)),
    }
    if let Some(diverging) = answer.diverging_epoch {
        return diverged(partition, follows, diverging);
    }
    let (Some(high_watermark), Some(log_start)) =
        (Offset::new(answer.high_watermark), Offset::new(answer.log_start_offset))
    else {
        return failed(Trouble::Senseless("a negative offset"));
    };
    let this = Arc::clone(partition);
    let said = move || this.leader_said(follows.epoch, high_watermark, log_start);
    let Some(records) = answer.records.into_iter().next() else {
        said();
        return Step::Ready(Ok(()));
    };
    partition.append_as_follower(follows.epoch, records).map(move |appended| {
        if appended.is_ok() {
            said();
        }
        appended.map_err(Trouble::from)
    })
}

const fn failed(trouble: Trouble) -> Done {
    Step::Ready(Err(trouble))
}

/// Rule F2: cut by epoch, then ask again.
fn diverged(partition: &Arc<Partition>, follows: Follows, diverging: EpochEndOffset) -> Done {
    let Some(leader_end) = Offset::new(diverging.end_offset) else {
        return failed(Trouble::Senseless("a negative end of an epoch"));
    };
    let log = partition.log();
    let says = (LeaderEpoch(diverging.epoch), leader_end);
    let cut = follower::truncation(log.as_ref(), log.high_watermark(), says);
    let begun_in_vain = || {
        log.epoch_of(cut.to)
            != cut.to.get().checked_sub(1).and_then(Offset::new).and_then(|last| log.epoch_of(last))
    };
    if cut.to >= log.log_end_offset() && !begun_in_vain() {
        return failed(Trouble::Senseless("the logs are said to part after the end of this one"));
    }
    truncate(partition, follows, cut.to)
}

/// Cuts, but not what was committed (rule F3): an in-sync replica has no record below its high watermark that the leader lacks. One
/// that is not in sync may have been passed over by an unclean election, or by a leader that lost its data: that is on record where
/// it was decided, and counted here.
fn truncate(partition: &Arc<Partition>, follows: Follows, to: Offset) -> Done {
    let high_watermark = partition.log().high_watermark();
    let epoch = follows.epoch;
    if to < high_watermark {
        metrics::cut_below_high_watermark();
        if follows.in_sync {
            return failed(Trouble::Breach { epoch, to, high_watermark });
        }
        tracing::warn!(
            partition = %partition.name(), %epoch, %to, %high_watermark,
            "records are cut that this replica knew as committed: the leader was elected without them"
        );
    }
    let log = Arc::clone(partition.log());
    let before = (log.log_end_offset(), log.latest_epoch());
    partition.truncate_as_follower(epoch, to).map(move |cut| {
        cut.map_err(Trouble::from)?;
        // Asked again at once, it would be told the same at once.
        let is_same = before == (log.log_end_offset(), log.latest_epoch());
        if is_same {
            Err(Trouble::Senseless("there is nothing to cut where the logs are said to part"))
        } else {
            Ok(())
        }
    })
}

/// Rule F8. Our leaders say where their log begins and ends: there stand the log start and, as high watermark, the log end.
fn out_of_range(partition: &Arc<Partition>, follows: Follows, answer: &FetchedPartition) -> Done {
    let bounds = (Offset::new(answer.log_start_offset), Offset::new(answer.high_watermark));
    let (Some(leader_start), Some(leader_end)) = bounds else {
        return failed(Trouble::Refused(ErrorCode::OffsetOutOfRange));
    };
    match follower::out_of_range(partition.log().log_end_offset(), leader_start, leader_end) {
        OutOfRange::StartAt(start) => partition
            .restart_as_follower(follows.epoch, start)
            .map(|restarted| restarted.map_err(Trouble::from)),
        OutOfRange::TruncateTo(end) => truncate(partition, follows, end),
        OutOfRange::Retry => failed(Trouble::Refused(ErrorCode::OffsetOutOfRange)),
    }
}
