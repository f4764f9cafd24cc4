//! Which partitions want a change of their ISR looked at.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::Notify;

use super::Partition;

/// Partitions that called, each once, until somebody looks.
#[derive(Default)]
pub struct Attention {
    calling: Mutex<HashMap<usize, Weak<Partition>>>,
    called: Notify,
}

impl Attention {
    /// `partition` wants to be looked at.
    pub fn call(&self, partition: &Weak<Partition>) {
        let mut calling = self.calling.lock().unwrap_or_else(PoisonError::into_inner);
        calling.insert(partition.as_ptr().addr(), Weak::clone(partition));
        drop(calling);
        self.called.notify_one();
    }

    /// Waits until somebody calls.
    pub async fn called(&self) {
        self.called.notified().await;
    }

    /// Everybody that called since the last time.
    #[must_use]
    pub fn take(&self) -> Vec<Arc<Partition>> {
        let calling = std::mem::take(&mut *self.calling.lock().unwrap_or_else(PoisonError::into_inner));
        calling.into_values().filter_map(|partition| partition.upgrade()).collect()
    }
}
