//! What is counted of the coordinator, for metrics.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::batches::Replayed;

/// Totals since the start.
#[derive(Debug, Default)]
pub struct Numbers {
    loads: AtomicU64,
    load_ms: AtomicU64,
    load_ms_max: AtomicU64,
    records: AtomicU64,
    unknown: AtomicU64,
    broken: AtomicU64,
    dropped: AtomicU64,
}

/// [`Numbers`] as of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Totals {
    /// Shards that were loaded from a log with records.
    pub loads: u64,
    /// Milliseconds that this took.
    pub load_ms: u64,
    /// The longest of them.
    pub load_ms_max: u64,
    /// Records replayed.
    pub records: u64,
    /// Records of kinds or versions that are not known here.
    pub unknown: u64,
    /// Records and batches that cannot be read.
    pub broken: u64,
    /// Shards dropped because of an append that failed or a panic.
    pub dropped: u64,
}

impl Numbers {
    pub(super) fn loaded(&self, took: Duration, replayed: &Replayed) {
        let ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.loads.fetch_add(1, Ordering::Relaxed);
        self.load_ms.fetch_add(ms, Ordering::Relaxed);
        self.load_ms_max.fetch_max(ms, Ordering::Relaxed);
        self.records.fetch_add(replayed.records, Ordering::Relaxed);
        self.unknown.fetch_add(replayed.unknown, Ordering::Relaxed);
        self.broken.fetch_add(replayed.broken, Ordering::Relaxed);
    }

    pub(super) fn dropped(&self) {
        self.dropped.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn totals(&self) -> Totals {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            loads: of(&self.loads),
            load_ms: of(&self.load_ms),
            load_ms_max: of(&self.load_ms_max),
            records: of(&self.records),
            unknown: of(&self.unknown),
            broken: of(&self.broken),
            dropped: of(&self.dropped),
        }
    }
}
