//! A model of a partition's log on a disk: records with their epochs, what of them is synced, and the real epoch cache.

use super::at;
use crate::log::epochs::Epochs;
use crate::replication::follower::EpochLog;
use crate::types::{LeaderEpoch, Offset};

/// The log. Offsets begin at 0; one value is one record.
#[derive(Debug, Clone, Default)]
pub struct Log {
    pub values: Vec<u64>,
    /// Of each value.
    pub stamps: Vec<i32>,
    pub epochs: Epochs,
    /// What survives a power failure.
    pub synced: usize,
    /// The high watermark of the last checkpoint.
    pub checkpoint: i64,
}

impl Log {
    pub fn end(&self) -> Offset {
        at(self.values.len())
    }

    pub fn append(&mut self, epoch: LeaderEpoch, value: u64) -> Offset {
        let at = self.end();
        self.epochs.assign(epoch.get(), at.get());
        self.values.push(value);
        self.stamps.push(epoch.get());
        at
    }

    /// The leader's epoch begins at the end (rule L1).
    pub fn begin_epoch(&mut self, epoch: LeaderEpoch) {
        let end = self.end();
        self.epochs.assign(epoch.get(), end.get());
    }

    /// Cuts the end off. Epochs that begin at the new end go even if no record does: a follower that began an epoch without a
    /// record would else name it for ever (`UnifiedLog.truncateTo`).
    pub fn truncate(&mut self, to: Offset) {
        let to = usize::try_from(to.get()).unwrap().min(self.values.len());
        self.values.truncate(to);
        self.stamps.truncate(to);
        self.synced = self.synced.min(to);
        // Other records may come there, and a crash before the next checkpoint.
        self.checkpoint = self.checkpoint.min(i64::try_from(to).unwrap());
        self.epochs.truncate_from_end(i64::try_from(to).unwrap());
    }

    pub fn sync(&mut self) {
        self.synced = self.values.len();
    }

    /// Records from `from` on, at most `limit`, below `to`.
    pub fn read(&self, from: Offset, to: Offset, limit: usize) -> Vec<(i32, u64)> {
        let from = usize::try_from(from.get()).unwrap();
        let to = usize::try_from(to.get()).unwrap().min(self.values.len()).min(from.saturating_add(limit));
        (from..to).map(|at| (self.stamps[at], self.values[at])).collect()
    }
}

impl EpochLog for Log {
    fn log_end(&self) -> Offset {
        self.end()
    }

    fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest().map(LeaderEpoch)
    }

    fn end_offset_for(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.epochs.end_offset_for(epoch, self.end())
    }
}
