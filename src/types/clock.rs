//! Time: the one place that asks the system for it.
//!
//! Wall-clock time is for timestamps of records and for retention. Deadlines and waits use [`Clock::elapsed`], which never goes
//! back and counts suspended time too (CLOCK_BOOTTIME), so that a laptop that slept finds its lease ended.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

/// Milliseconds since the Unix epoch, as Kafka's timestamps.
pub type Millis = i64;

/// A source of time: the system's, or one that a test moves by hand. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Clock(Source);

#[derive(Debug, Clone, Default)]
enum Source {
    #[default]
    System,
    Manual(Arc<AtomicI64>),
}

impl Clock {
    /// The system's clocks.
    #[must_use]
    pub const fn system() -> Self {
        Self(Source::System)
    }

    /// A clock that stands at `now_ms` until [`Clock::advance`] moves it.
    #[must_use]
    pub fn manual(now_ms: Millis) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(now_ms))))
    }

    /// Wall-clock time. May jump, also back.
    #[must_use]
    pub fn now_ms(&self) -> Millis {
        match &self.0 {
            Source::System => {
                let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
                now.tv_sec * 1000 + now.tv_nsec / 1_000_000
            }
            Source::Manual(now) => now.load(Ordering::Relaxed),
        }
    }

    /// Time since boot, suspension included: never goes back.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        match &self.0 {
            Source::System => {
                let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
                Duration::new(
                    u64::try_from(now.tv_sec).unwrap_or_default(),
                    u32::try_from(now.tv_nsec).unwrap_or_default(),
                )
            }
            Source::Manual(now) => {
                Duration::from_millis(u64::try_from(now.load(Ordering::Relaxed)).unwrap_or_default())
            }
        }
    }

    /// Moves a manual clock forward. Does nothing to the system's.
    pub fn advance(&self, by: Duration) {
        if let Source::Manual(now) = &self.0 {
            now.fetch_add(i64::try_from(by.as_millis()).unwrap_or(i64::MAX), Ordering::Relaxed);
        }
    }
}
