//! Making a log durable: one sync for everybody who waits (group commit), the recovery point, and what a failed sync means.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::oneshot;

use crate::types::Offset;

use super::error::Unusable;
use super::handle::Log;
use super::step::{Step, promise};
use super::storage::lock;

/// Who waits for the next sync. Bound: appends in flight for this partition.
#[derive(Debug, Default)]
pub(super) struct SyncQueue {
    running: bool,
    /// [`crate::types::Clock::elapsed`] in milliseconds when the housekeeping first saw bytes that are not synced.
    unsynced_since_ms: Option<u64>,
    waiters: Vec<oneshot::Sender<Result<(), Unusable>>>,
}

impl Log {
    /// Waits until all that was appended before the call is on the disk. Many callers share one sync.
    pub fn flush(self: &Arc<Self>) -> Step<Result<(), Unusable>> {
        let (sender, step) = promise(|| Err(Unusable::Closed));
        self.queue_sync(Some(sender));
        step
    }

    /// As [`Log::flush`], without anybody who waits.
    pub(super) fn sync_soon(self: &Arc<Self>) {
        self.queue_sync(None);
    }

    /// Whether bytes have waited for their sync for `flush_ms` or longer (`flush.ms`). Counts from the first call that saw them.
    pub(super) fn unsynced_for(&self, flush_ms: crate::types::Millis) -> bool {
        let now = u64::try_from(self.home.clock.elapsed().as_millis()).unwrap_or(u64::MAX);
        let mut queue = lock(&self.sync);
        let since = *queue.unsynced_since_ms.get_or_insert(now);
        let is_due = now.saturating_sub(since) >= u64::try_from(flush_ms).unwrap_or_default();
        if is_due {
            queue.unsynced_since_ms = None;
        }
        is_due
    }

    fn queue_sync(self: &Arc<Self>, waiter: Option<oneshot::Sender<Result<(), Unusable>>>) {
        let mut queue = lock(&self.sync);
        queue.waiters.extend(waiter);
        if queue.running {
            // The round that runs may have begun before the caller's bytes: it looks for waiters again when it ends.
            return;
        }
        queue.running = true;
        drop(queue);
        let log = Arc::clone(self);
        self.home.storage.run_sync(move || log.serve_syncs());
    }

    fn serve_syncs(self: Arc<Self>) {
        loop {
            let waiters = std::mem::take(&mut lock(&self.sync).waiters);
            let result = self.sync_now();
            for waiter in waiters {
                // The caller may have gone.
                let _ = waiter.send(result.clone().map(drop));
            }
            let mut queue = lock(&self.sync);
            if queue.waiters.is_empty() {
                queue.running = false;
                return;
            }
        }
    }

    /// Syncs all that is not synced yet and moves the recovery point (rule S7). Waits for the disk.
    ///
    /// # Errors
    /// [`Unusable::Offline`]: the first failed sync ends the directory's life (rule S4).
    pub(super) fn sync_now(&self) -> Result<Offset, Unusable> {
        let _one_at_a_time = lock(&self.syncing);
        self.home.check()?;
        // ORDER: the end first; whatever was written before it is in the files that are synced after.
        let untold_bytes = self.take_untold();
        let end = self.log_end_offset();
        self.sync_files().map_err(|error| self.home.fail("sync", &error))?;
        // ORDER: recovery looks for epochs only in batches above the recovery point.
        self.write_epochs()?;
        if self.is_recovered() {
            self.recovery_point.fetch_max(end.get(), Ordering::AcqRel);
            self.publish_synced(end, untold_bytes);
        }
        Ok(end)
    }

    fn sync_files(&self) -> std::io::Result<()> {
        let segments = self.segments_ref();
        let segments = segments.as_ref().map(|all| all.as_slice()).unwrap_or_default();
        // Segments that are not synced are the last ones: those that still have a file.
        let mut unsynced: Vec<_> =
            segments.iter().rev().map_while(|segment| Some((segment, segment.file()?))).collect();
        unsynced.reverse();
        let last = unsynced.len().saturating_sub(1);
        for (number, (segment, file)) in unsynced.iter().enumerate() {
            file.sync()?;
            if number < last {
                segment.close_file();
                self.home.opened_sealed(segment);
            }
        }
        // ORDER: names after the bytes they lead to (rule S10).
        if self.directory_dirty.swap(false, Ordering::AcqRel) {
            self.home.volume.sync_directory(&self.directory())?;
        }
        if self.home.root_dirty.swap(false, Ordering::AcqRel) {
            self.home.volume.sync_directory("")?;
        }
        Ok(())
    }
}
