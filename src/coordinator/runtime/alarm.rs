//! When the next deadline of any shard is due.

use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::Notify;

use crate::types::Millis;

/// No deadline.
pub(super) const NEVER: Millis = Millis::MAX;

/// Wakes the one task that looks at deadlines when an earlier one than it knows of was set.
#[derive(Debug)]
pub(super) struct Alarm {
    /// What the task sleeps until. [`NEVER`] while it looks, so that whatever is set meanwhile wakes it.
    wakes_at: AtomicI64,
    earlier: Notify,
}

impl Alarm {
    pub fn new() -> Self {
        Self { wakes_at: AtomicI64::new(NEVER), earlier: Notify::new() }
    }

    /// A shard has stored that `deadline` is its next one.
    pub fn set(&self, deadline: Millis) {
        if deadline < self.wakes_at.load(Ordering::SeqCst) {
            self.earlier.notify_one();
        }
    }

    /// Finds the next deadline by `look`, to sleep until then.
    pub fn next(&self, look: impl FnOnce() -> Millis) -> Millis {
        self.wakes_at.store(NEVER, Ordering::SeqCst);
        let next = look();
        self.wakes_at.store(next, Ordering::SeqCst);
        next
    }

    /// Waits until an earlier deadline was set.
    pub async fn earlier(&self) {
        self.earlier.notified().await;
    }
}
