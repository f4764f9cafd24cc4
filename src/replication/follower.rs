//! A follower's side of replication: from where to fetch, how far to cut, which high watermark to believe (rules F1 to F8). Pure.

use crate::types::seeded::{Bug, seeded};
use crate::types::{LeaderEpoch, Offset};

/// What a log says of its epochs.
pub trait EpochLog {
    /// The log end offset.
    fn log_end(&self) -> Offset;
    /// The epoch of the last record, or the newest one that was begun; `None` in a log that never had any.
    fn latest_epoch(&self) -> Option<LeaderEpoch>;
    /// The largest epoch not above `epoch`, and where it ends (`LeaderEpochFileCache.endOffsetFor`); `None` if `epoch` is above all.
    /// An epoch below all answers itself with the start of the first one.
    fn end_offset_for(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)>;
}

/// Where a fetch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchFrom {
    /// The log end.
    pub offset: Offset,
    /// The epoch of what is before it; `None` for an empty log.
    pub last_fetched_epoch: Option<LeaderEpoch>,
}

/// The position of the next fetch. The leader answers it with records only if both logs agree up to there (rule F1).
#[must_use]
pub fn position(log: &impl EpochLog) -> FetchFrom {
    FetchFrom { offset: log.log_end(), last_fetched_epoch: log.latest_epoch() }
}

/// Where the log of whoever fetches from `from` parts from the leader's (rule L10): the epoch and where it ends here. `None` if it
/// does not, or does not say. It gets no records then, and its position does not count (rule L3).
///
/// An epoch above all that are known here has diverged at this log's end. Kafka answers OFFSET_OUT_OF_RANGE there, which cannot
/// happen among brokers either: the leader has begun its epoch, and nobody fetches in it with records of a later one (rule F7).
#[must_use]
pub fn divergence(leader: &impl EpochLog, from: FetchFrom) -> Option<(LeaderEpoch, Offset)> {
    let last = from.last_fetched_epoch.filter(|_| !seeded(Bug::L10NoDivergence))?;
    let (epoch, end) = leader
        .end_offset_for(last)
        .unwrap_or_else(|| (leader.latest_epoch().unwrap_or(LeaderEpoch(-1)), leader.log_end()));
    (epoch < last || (end < from.offset && !seeded(Bug::F2OneRound))).then_some((epoch, end))
}

/// How far a follower is to be cut. To its very end too: an epoch that was begun there without a record is forgotten, else the next
/// fetch would diverge again. Below its log start the log begins anew at [`Truncation::to`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Truncation {
    /// The new log end.
    pub to: Offset,
    /// It is below the high watermark known here: without an unclean election a breach of the invariants (rule F3).
    pub below_high_watermark: bool,
}

/// Cuts by epoch, never by high watermark (rule F2). `leader_says`: the diverging epoch and where it ends at the leader. The next
/// fetch asks again: several rounds may be needed (KIP-279).
#[must_use]
pub fn truncation(
    log: &impl EpochLog,
    high_watermark: Offset,
    leader_says: (LeaderEpoch, Offset),
) -> Truncation {
    let (epoch, leader_end) = leader_says;
    let to = match log.end_offset_for(epoch) {
        _ if seeded(Bug::F2ToHighWatermark) => high_watermark,
        // All that is here is of earlier epochs, or nothing is known of epochs at all.
        None => leader_end,
        Some((known, end)) if known == epoch => end.min(leader_end),
        // The leader's epoch is not known here: what came of it is not either. Cut to the end of the one before, and ask again.
        Some((_, end)) => end,
    };
    let to = to.min(log.log_end());
    Truncation { to, below_high_watermark: to < high_watermark }
}

/// The high watermark that a follower believes (rule F6).
#[must_use]
pub fn high_watermark(leaders: Offset, log_end: Offset) -> Offset {
    leaders.min(log_end)
}

/// What to do when the leader says that the position is outside of its log (rule F8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutOfRange {
    /// The leader's log begins after our end: begin anew there.
    StartAt(Offset),
    /// The leader's log ends before ours: cut to its end, then ask again. Below the own high watermark it is a breach (rule F3).
    TruncateTo(Offset),
    /// Neither: the next fetch will tell.
    Retry,
}

/// Decides rule F8 from the leader's log start and end.
#[must_use]
pub fn out_of_range(log_end: Offset, leader_start: Offset, leader_end: Offset) -> OutOfRange {
    if leader_start > log_end {
        OutOfRange::StartAt(leader_start)
    } else if leader_end < log_end {
        OutOfRange::TruncateTo(leader_end)
    } else {
        OutOfRange::Retry
    }
}

#[cfg(test)]
#[path = "tests/follower.rs"]
mod tests;
