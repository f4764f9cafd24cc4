//! Appends that come before the role has begun. They wait, and keep their order: a client has several requests under way.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use super::Partition;

/// Who waits.
#[derive(Debug, Default)]
pub(super) struct Early {
    /// Resolves when the one that came last has had its turn.
    last: Mutex<Option<oneshot::Receiver<()>>>,
    count: AtomicUsize,
}

impl Early {
    /// Whoever comes now must come after them.
    pub fn is_waiting(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }
}

/// A place in the order, until it is dropped.
pub(super) struct Turn {
    partition: Arc<Partition>,
    before: Option<oneshot::Receiver<()>>,
    /// Dropping it tells the next one.
    _done: oneshot::Sender<()>,
}

impl Turn {
    /// The last place.
    pub fn take(partition: &Arc<Partition>) -> Self {
        let (done, next) = oneshot::channel();
        let mut last = partition.early.last.lock().unwrap_or_else(PoisonError::into_inner);
        partition.early.count.fetch_add(1, Ordering::AcqRel);
        let before = last.replace(next);
        drop(last);
        Self { partition: Arc::clone(partition), before, _done: done }
    }

    /// Waits until all before are through.
    pub async fn come(&mut self) {
        if let Some(before) = self.before.take() {
            // An error is the way it is told: its sender is gone.
            let _ = before.await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.partition.early.count.fetch_sub(1, Ordering::AcqRel);
    }
}
