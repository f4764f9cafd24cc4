//! Waiting for a moment with a precision that tokio's timer (1 ms) does not have.

use std::io;
use std::time::Duration;

use crate::sys::timer::PreciseTimer;
use crate::types::Clock;

/// The last stretch before a moment is spun, in turns with the sockets: waking up costs about that much.
const SPIN: Duration = Duration::from_micros(60);

/// Waits for moments on the time line of [`Clock::elapsed`].
#[derive(Debug)]
pub struct Pacer {
    clock: Clock,
    timer: PreciseTimer,
}

impl Pacer {
    /// A pacer of its own for each task that waits.
    ///
    /// # Errors
    /// Those of making a timer.
    pub fn new() -> io::Result<Self> {
        Ok(Self { clock: Clock::system(), timer: PreciseTimer::new()? })
    }

    /// Returns at `moment`, or at once if it has passed.
    ///
    /// # Errors
    /// Those of the timer.
    pub async fn until(&self, moment: Duration) -> io::Result<()> {
        if moment.saturating_sub(self.clock.elapsed()) > SPIN {
            self.timer.until(moment - SPIN).await?;
        }
        while self.clock.elapsed() < moment {
            tokio::task::yield_now().await;
        }
        Ok(())
    }
}

/// The moments of an open loop: `rate` a second in all, this being one of `shares` tasks that take turns.
#[derive(Debug, Clone, Copy)]
pub struct Schedule {
    start: Duration,
    rate: f64,
    share: u32,
    shares: u32,
}

impl Schedule {
    /// The schedule of task number `share`.
    #[must_use]
    pub const fn new(start: Duration, rate: f64, share: u32, shares: u32) -> Self {
        Self { start, rate, share, shares }
    }

    /// The intended time of this task's request number `index`.
    #[must_use]
    pub fn moment(&self, index: u32) -> Duration {
        let turn = f64::from(index) * f64::from(self.shares) + f64::from(self.share);
        self.start + Duration::from_secs_f64(turn / self.rate)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tasks_take_turns_in_a_schedule() {
        let ms = Duration::from_millis;
        let second = Schedule::new(ms(100), 1000.0, 1, 4);
        assert_eq!(second.moment(0), ms(101));
        assert_eq!(second.moment(1), ms(105));
    }

    #[tokio::test]
    async fn a_moment_is_never_too_early_and_one_in_the_past_is_now() {
        let clock = Clock::system();
        let pacer = Pacer::new().unwrap();
        let moment = clock.elapsed() + Duration::from_millis(5);
        pacer.until(moment).await.unwrap();
        assert!(clock.elapsed() >= moment);
        pacer.until(Duration::ZERO).await.unwrap();
    }
}
