//! Keeps the cleaner below `log.cleaner.io.max.bytes.per.second`, all its threads together (Kafka's `Throttler`).

use std::time::Duration;

/// Longest time that is looked back on: a pause in the work is no credit for later.
const WINDOW: Duration = Duration::from_secs(1);

/// Counts bytes against time.
#[derive(Debug, Default)]
pub struct Throttle {
    since: Duration,
    bytes: f64,
}

impl Throttle {
    /// Says that `bytes` were moved at `now`. Returns how long to wait before the next, at `rate` bytes a second.
    #[allow(clippy::cast_precision_loss, reason = "a count of bytes within a second")]
    pub fn moved(&mut self, bytes: usize, rate: f64, now: Duration) -> Duration {
        if rate.is_nan() || rate <= 0.0 || rate > 1e18 {
            return Duration::ZERO;
        }
        let elapsed = now.saturating_sub(self.since);
        let due = Duration::try_from_secs_f64(self.bytes / rate).unwrap_or(WINDOW);
        if elapsed > WINDOW.max(due) {
            self.since = now;
            self.bytes = 0.0;
        }
        self.bytes += bytes as f64;
        let due = Duration::try_from_secs_f64(self.bytes / rate).unwrap_or(Duration::MAX);
        due.saturating_sub(now.saturating_sub(self.since))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_above_the_rate_are_waited_for() {
        let mut throttle = Throttle::default();
        let at = |ms: u64| Duration::from_millis(1_000_000 + ms);
        assert_eq!(throttle.moved(500, 1000.0, at(0)), Duration::from_millis(500));
        assert_eq!(throttle.moved(500, 1000.0, at(500)), Duration::from_millis(500));
        assert_eq!(throttle.moved(0, 1000.0, at(1000)), Duration::ZERO);
        // A long pause is no credit.
        assert_eq!(throttle.moved(1000, 1000.0, at(60_000)), Duration::from_millis(1000));
    }

    #[test]
    fn kafkas_default_rate_is_no_limit() {
        let mut throttle = Throttle::default();
        for rate in [f64::MAX, f64::INFINITY, 0.0, -1.0, f64::NAN] {
            assert_eq!(throttle.moved(1 << 30, rate, Duration::ZERO), Duration::ZERO);
        }
    }
}
