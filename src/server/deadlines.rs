//! One alarm per connection instead of one timer per request.
//!
//! A deadline that moves away costs nothing: the alarm rings at the old one, the connection sees that it is not due, and sets the
//! next. Only a deadline that comes nearer touches the timer.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// The timer counts in milliseconds of its own clock: ringing this much late means never ringing early.
const LATE: Duration = Duration::from_millis(2);

/// Longest time that is slept at once: a deadline of weeks is as good as this.
const SLEEP_MAX: Duration = Duration::from_secs(24 * 3600);

/// Wakes its task at a time of [`crate::types::Clock::elapsed`], or a little later.
#[derive(Debug, Default)]
pub(super) struct Alarm {
    timer: Option<Pin<Box<Sleep>>>,
    /// When it rings; `None`: not set, or it rang.
    at: Option<Duration>,
}

impl Alarm {
    /// Whether it rings now or rang: look at the deadlines, then [`Alarm::set`] it again.
    pub(super) fn rings(&mut self, now: Duration) -> bool {
        self.at.take_if(|at| *at <= now).is_some()
    }

    /// Makes it ring at `at` at the latest.
    pub(super) fn set(&mut self, cx: &mut Context<'_>, now: Duration, at: Duration) {
        let at = at.min(now + SLEEP_MAX);
        if self.at.is_some_and(|set| set <= at) {
            return;
        }
        self.at = Some(at);
        let pause = sleep(at.saturating_sub(now) + LATE);
        let timer = match &mut self.timer {
            Some(timer) => {
                timer.set(pause);
                timer
            }
            timer @ None => timer.insert(Box::pin(pause)),
        };
        // Once is enough: a task keeps its waker.
        if let Poll::Ready(()) = timer.as_mut().poll(cx) {
            cx.waker().wake_by_ref();
        }
    }
}
