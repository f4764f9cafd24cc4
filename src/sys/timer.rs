//! A timer with the kernel's precision (tens of microseconds) for tasks: tokio's own has one of a millisecond.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// One timer, for one task.
#[derive(Debug)]
pub struct PreciseTimer {
    timer: AsyncFd<OwnedFd>,
}

impl PreciseTimer {
    /// A timer. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// Those of `timerfd_create` and of registering it.
    pub fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        let timer = rustix::time::timerfd_create(TimerfdClockId::Boottime, flags)?;
        // SAFETY: an `OwnedFd` is open and stays the same descriptor until it is dropped, which the `AsyncFd` that owns it does after
        // it has left the reactor.
        let timer = unsafe { AsyncFd::register_with_interest(timer, Interest::READABLE) }?;
        Ok(Self { timer })
    }

    /// Waits until `moment` after boot (as `types::Clock::elapsed`).
    ///
    /// # Errors
    /// Those of the timer.
    pub async fn until(&self, moment: Duration) -> io::Result<()> {
        let value = Timespec {
            tv_sec: i64::try_from(moment.as_secs()).unwrap_or(i64::MAX),
            // A value of zero would disarm the timer.
            tv_nsec: i64::from(moment.subsec_nanos().max(1)),
        };
        let spec = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        rustix::time::timerfd_settime(self.timer.get_ref(), TimerfdTimerFlags::ABSTIME, &spec)?;
        loop {
            let mut ready = self.timer.readable().await?;
            let mut expirations = [0; 8];
            // Setting the timer clears earlier expirations, so what can be read belongs to `moment`.
            match ready.try_io(|timer| Ok(rustix::io::read(timer.get_ref(), &mut expirations)?)) {
                Ok(read) => return read.map(|_| ()),
                Err(_would_block) => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_waits_for_its_moment_and_not_for_an_earlier_one() {
        let boottime = || {
            let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
            Duration::new(now.tv_sec.try_into().unwrap(), now.tv_nsec.try_into().unwrap())
        };
        let timer = PreciseTimer::new().unwrap();
        for wait in [Duration::from_millis(3), Duration::ZERO, Duration::from_millis(5)] {
            let moment = boottime() + wait;
            timer.until(moment).await.unwrap();
            assert!(boottime() >= moment);
        }
    }
}
