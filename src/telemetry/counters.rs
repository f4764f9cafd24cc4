//! Counters that threads do not fight over: plain atomics in as many copies as there are busy threads, added up when read.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use super::apis::API_KEY_END;

/// How many copies of the hot counters exist. Threads take turns; with one data runtime per core, up to 16 cores share nothing.
const SHARDS: usize = 16;

/// Upper bounds of the duration buckets in nanoseconds: 50 us to 10 s. Longer durations fall in one more bucket without a bound.
pub(super) const BUCKET_BOUNDS_NS: [u64; 17] = [
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// How often a thing happened, by how long it took.
#[derive(Debug)]
pub(super) struct Durations {
    buckets: [AtomicU64; BUCKET_BOUNDS_NS.len() + 1],
    sum_ns: AtomicU64,
}

impl Durations {
    pub(super) const fn new() -> Self {
        Self { buckets: [const { AtomicU64::new(0) }; BUCKET_BOUNDS_NS.len() + 1], sum_ns: AtomicU64::new(0) }
    }

    pub(super) fn observe(&self, elapsed: Duration) {
        let elapsed_ns = u64::try_from(elapsed.as_nanos()).unwrap_or(u64::MAX);
        let bucket =
            BUCKET_BOUNDS_NS.iter().position(|bound| elapsed_ns <= *bound).unwrap_or(BUCKET_BOUNDS_NS.len());
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum_ns.fetch_add(elapsed_ns, Ordering::Relaxed);
    }
}

/// A sum over [`Durations`].
#[derive(Debug, Default, Clone)]
pub(super) struct DurationTotals {
    pub(super) buckets: [u64; BUCKET_BOUNDS_NS.len() + 1],
    pub(super) sum_ns: u64,
}

impl DurationTotals {
    pub(super) fn add(&mut self, durations: &Durations) {
        for (total, bucket) in self.buckets.iter_mut().zip(&durations.buckets) {
            *total = total.wrapping_add(bucket.load(Ordering::Relaxed));
        }
        self.sum_ns = self.sum_ns.wrapping_add(durations.sum_ns.load(Ordering::Relaxed));
    }

    pub(super) fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }
}

/// The counters of the request path, one copy.
#[derive(Debug)]
#[repr(align(128))] // two cache lines: neighbours are fetched in pairs
pub(super) struct Hot {
    /// Requests by API key; the last entry takes the keys that Kafka does not know.
    pub(super) requests: [Durations; API_KEY_END + 1],
    pub(super) received_bytes: AtomicU64,
    pub(super) sent_bytes: AtomicU64,
    pub(super) produced_records: AtomicU64,
    pub(super) produced_bytes: AtomicU64,
    pub(super) fetched_records_bytes: AtomicU64,
}

impl Hot {
    const fn new() -> Self {
        Self {
            requests: [const { Durations::new() }; API_KEY_END + 1],
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
            produced_records: AtomicU64::new(0),
            produced_bytes: AtomicU64::new(0),
            fetched_records_bytes: AtomicU64::new(0),
        }
    }
}

static HOT: [Hot; SHARDS] = [const { Hot::new() }; SHARDS];
static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SHARD: Cell<usize> = Cell::new(THREADS.fetch_add(1, Ordering::Relaxed));
}

/// The copy that the calling thread counts in.
pub(super) fn hot() -> &'static Hot {
    let [first, ..] = &HOT;
    HOT.get(SHARD.get() % SHARDS).unwrap_or(first)
}

/// Every copy.
pub(super) fn all_hot() -> &'static [Hot] {
    &HOT
}

/// The sum of one counter over every copy.
pub(super) fn total(counter: impl Fn(&Hot) -> &AtomicU64) -> u64 {
    HOT.iter().map(|hot| counter(hot).load(Ordering::Relaxed)).fold(0, u64::wrapping_add)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_falls_in_the_first_bucket_that_holds_it() {
        let durations = Durations::new();
        durations.observe(Duration::from_micros(50));
        durations.observe(Duration::from_micros(51));
        durations.observe(Duration::from_secs(11));
        let mut totals = DurationTotals::default();
        totals.add(&durations);
        assert_eq!(totals.buckets[0], 1);
        assert_eq!(totals.buckets[1], 1);
        assert_eq!(totals.buckets[BUCKET_BOUNDS_NS.len()], 1);
        assert_eq!(totals.count(), 3);
        assert_eq!(totals.sum_ns, 11_000_101_000);
    }
}
