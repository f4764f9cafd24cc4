//! What the log cleaner did, one function per event.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::exposition::Scrape;

static RUNS: AtomicU64 = AtomicU64::new(0);
static ABORTED: AtomicU64 = AtomicU64::new(0);
static FAILED: AtomicU64 = AtomicU64::new(0);
static READ_BYTES: AtomicU64 = AtomicU64::new(0);
static WRITTEN_BYTES: AtomicU64 = AtomicU64::new(0);
static LAST_RUN_MS: AtomicU64 = AtomicU64::new(0);
static UNCLEANABLE: AtomicU64 = AtomicU64::new(0);
/// The bits of an `f64`.
static DIRTY_RATIO_MAX: AtomicU64 = AtomicU64::new(0);

/// A log was cleaned.
pub fn cleaned(read: u64, written: u64, elapsed: Duration) {
    RUNS.fetch_add(1, Ordering::Relaxed);
    READ_BYTES.fetch_add(read, Ordering::Relaxed);
    WRITTEN_BYTES.fetch_add(written, Ordering::Relaxed);
    LAST_RUN_MS.store(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
}

/// A cleaning gave up because the log changed or the broker stops.
pub fn aborted() {
    ABORTED.fetch_add(1, Ordering::Relaxed);
}

/// A cleaning failed.
pub fn failed() {
    FAILED.fetch_add(1, Ordering::Relaxed);
}

/// All logs were looked at: the largest share of dirty bytes, and how many logs cannot be cleaned.
pub fn looked(dirty_ratio_max: f64, uncleanable: usize) {
    DIRTY_RATIO_MAX.store(dirty_ratio_max.to_bits(), Ordering::Relaxed);
    UNCLEANABLE.store(uncleanable as u64, Ordering::Relaxed);
}

#[allow(clippy::cast_precision_loss, reason = "nobody sees the last digit of 2^53 bytes")]
pub(super) fn tell(scrape: &mut Scrape<'_>) {
    let of = |number: &AtomicU64| number.load(Ordering::Relaxed) as f64;
    let jmx = "kafka.log:type=LogCleaner";
    scrape.counter("ketcd_log_cleaner_runs", "Cleanings of compacted logs that came to their end", of(&RUNS));
    scrape.counter(
        "ketcd_log_cleaner_aborted_runs",
        "Cleanings that gave up because the log changed or the broker stops",
        of(&ABORTED),
    );
    scrape.counter("ketcd_log_cleaner_failed_runs", "Cleanings that failed; the log says why", of(&FAILED));
    scrape.counter("ketcd_log_cleaner_read_bytes", "Bytes that the log cleaner read", of(&READ_BYTES));
    scrape.counter("ketcd_log_cleaner_written_bytes", "Bytes that the log cleaner wrote", of(&WRITTEN_BYTES));
    scrape.gauge(
        "ketcd_log_cleaner_last_run_seconds",
        &format!("How long the last cleaning took ({jmx},name=max-clean-time-secs)"),
        of(&LAST_RUN_MS) / 1000.0,
    );
    scrape.gauge(
        "ketcd_log_cleaner_dirty_ratio_max",
        &format!("Largest share of bytes of a compacted log that could be cleaned ({jmx}Manager,name=max-dirty-percent)"),
        f64::from_bits(DIRTY_RATIO_MAX.load(Ordering::Relaxed)),
    );
    scrape.gauge(
        "ketcd_log_cleaner_uncleanable_logs",
        &format!(
            "Logs that cannot be cleaned until a restart ({jmx}Manager,name=uncleanable-partitions-count)"
        ),
        of(&UNCLEANABLE),
    );
}
