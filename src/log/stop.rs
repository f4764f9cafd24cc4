//! Stopping in order (rule B1), and putting on record what did not go in order (rule B2).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::types::BrokerEpoch;

use super::directories::{LogDirs, Shared, Told};
use super::ends::{LogEnd, LogEnds};
use super::error::Unusable;
use super::handle::Log;
use super::identity;
use super::step::BoxFuture;
use super::storage::lock;

impl LogDirs {
    /// Lets everything go as a killed process does: no file is written any more, the locks are free.
    #[cfg(test)]
    pub(super) fn crash(&self) {
        if let Some(housekeeper) = lock(&self.shared.housekeeper).take() {
            housekeeper.stop();
        }
        self.shared.cleaner.stop();
        for home in &self.shared.homes {
            home.stopped.store(true, Ordering::Release);
            // Jobs that were under way end before the next run begins, as they would with the process.
            home.storage.settle();
            home.unlock();
        }
    }

    /// Closes all logs in order, and leaves the exact ends and, last, the clean shutdown marker (rule B1). Appends after it are refused.
    /// The directories are unlocked. A directory with a failure gets no marker.
    pub fn close(&self, broker_epoch: Option<BrokerEpoch>) -> BoxFuture<()> {
        let housekeeper = lock(&self.shared.housekeeper).take();
        if let Some(housekeeper) = &housekeeper {
            housekeeper.tell_to_stop();
        }
        // It gives up within milliseconds, and never holds what closing needs.
        self.shared.cleaner.tell_to_stop();
        for home in &self.shared.homes {
            home.stopped.store(true, Ordering::Release);
        }
        let logs: Vec<Arc<Log>> = lock(&self.shared.logs).drain().map(|(_, log)| log).collect();
        let closing: Vec<_> = logs.iter().map(|log| log.close_files()).collect();
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            let mut ends = Vec::with_capacity(closing.len());
            for (log, step) in logs.iter().zip(closing) {
                let end = step.wait().await;
                if let Err(error) = &end {
                    tracing::error!(partition = %log.partition(), %error, "log not closed in order");
                }
                ends.push(end);
            }
            let storage = shared.homes.first().map(|home| home.storage.clone());
            let finish = move || {
                if let Some(housekeeper) = housekeeper {
                    housekeeper.stop();
                }
                shared.cleaner.stop();
                shared.finish(&logs, &ends, broker_epoch.map_or(-1, BrokerEpoch::get));
            };
            match storage {
                Some(storage) => drop(storage.call(finish).wait().await),
                None => finish(),
            }
        })
    }
}

impl Shared {
    /// Has I/O errors on record in every directory that still takes writes (rule B2).
    pub fn record_failures(self: &Arc<Self>) {
        for home in &self.homes {
            let (shared, storage) = (Arc::downgrade(self), home.storage.clone());
            home.when_failed(move |reason| {
                let (shared, reason) = (shared.clone(), reason.to_owned());
                // Whoever meets the error may be a thread that must not wait.
                storage.run(move || {
                    if let Some(shared) = shared.upgrade() {
                        shared.record_failure(&reason);
                    }
                });
            });
        }
    }

    fn record_failure(&self, reason: &str) {
        let vouched = lock(&self.vouched);
        for home in &self.homes {
            let written = identity::proof_of_this_run(&home.volume, self.node_id, reason, &vouched)
                .and_then(|proof| identity::write_proof(&home.volume, &proof));
            if let Err(error) = written {
                tracing::error!(directory = %home.path().display(), %error, "an I/O error cannot be recorded");
            }
        }
        drop(vouched);
        if let Some(Told(tell)) = self.told.get() {
            tell();
        }
    }

    /// The end of a clean stop: checkpoints, ends, marker, lock.
    fn finish(&self, logs: &[Arc<Log>], ends: &[Result<Option<LogEnd>, Unusable>], broker_epoch: i64) {
        let found = std::mem::take(&mut *lock(&self.found));
        if let Some(reason) = self.homes.iter().find_map(|home| home.failure()) {
            self.record_failure(&reason);
        }
        for (number, home) in self.homes.iter().enumerate() {
            home.empty_graves(i64::MAX);
            let mine = || logs.iter().zip(ends).filter(|(log, _)| Arc::ptr_eq(&log.home, home));
            let untouched = found.values().filter(|f| f.home == number).filter_map(|f| f.end.clone());
            let ends = LogEnds {
                directory_id: crate::types::ids::encode_uuid(home.directory_id),
                broker_epoch,
                logs: mine()
                    .filter_map(|(_, end)| end.as_ref().ok().cloned().flatten())
                    .chain(untouched)
                    .collect(),
            };
            let in_order = mine().all(|(_, end)| end.is_ok()) && home.check().is_ok();
            super::housekeeping::checkpoint(home, mine().map(|(log, _)| log), true);
            if in_order {
                if let Err(error) = identity::leave_clean_ends(&home.volume, &ends) {
                    tracing::error!(directory = %home.path().display(), %error, "no clean shutdown marker");
                }
            } else {
                tracing::error!(directory = %home.path().display(), "not closed in order: no clean shutdown marker");
            }
            home.unlock();
        }
    }
}
