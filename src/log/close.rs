//! Letting a log's files go, in order: after it the log is as good as new and holds no file and no map.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::checkpoint;
use super::ends::LogEnd;
use super::error::Unusable;
use super::handle::{Closed, Log, State};
use super::names::LEADER_EPOCH_CHECKPOINT;
use super::step::Step;

impl Log {
    /// Syncs and closes the files of an open log: indexes, producer snapshot and epochs are written, the recovery point is the end.
    /// Runs behind all that was asked for before. The next use opens the log again.
    pub(super) fn close_files(self: &Arc<Self>) -> Step<Result<(), Unusable>> {
        self.submit(
            |log, state| {
                let State::Open(writer) = state else { return Ok(()) };
                log.home.check()?;
                let failed = |error| log.home.write_error("close", error);
                writer.finish_segment(log).map_err(failed)?;
                writer.write_snapshot(log).map_err(failed)?;
                log.write_epochs()?;
                log.directory_dirty.store(true, Ordering::Release);
                log.sync_now()?;
                let closed = Closed::Clean {
                    active_base: writer.segment.base_offset(),
                    active_position: writer.position,
                };
                log.set_segments(None);
                *state = State::Closed(closed);
                log.home.open_logs.fetch_sub(1, Ordering::Relaxed);
                Ok(())
            },
            Err,
        )
    }

    /// Writes `leader-epoch-checkpoint` if it is behind and the log has a directory.
    pub(super) fn write_epochs(&self) -> Result<(), Unusable> {
        if !self.epochs_dirty.swap(false, Ordering::AcqRel) {
            return Ok(());
        }
        let text = checkpoint::encode_epochs(&self.epoch_entries());
        let path = format!("{}/{LEADER_EPOCH_CHECKPOINT}", self.directory());
        match self.home.volume.write_atomically(&path, text.as_bytes()) {
            // Nothing was ever written to this log.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                self.epochs_dirty.store(true, Ordering::Release);
                Ok(())
            }
            Err(error) => {
                self.epochs_dirty.store(true, Ordering::Release);
                Err(self.home.write_error("leader epoch checkpoint", error))
            }
            Ok(()) => Ok(()),
        }
    }

    /// What a clean stop remembers of a closed log; `None` if there is nothing on the disk or it was never recovered.
    pub(super) fn clean_end(&self) -> Option<LogEnd> {
        let Some(Closed::Clean { active_base, active_position }) = self.closed() else { return None };
        Some(LogEnd {
            partition: self.directory(),
            topic_id: self.topic_id(),
            log_start: self.log_start_offset().get(),
            log_end: self.log_end_offset().get(),
            high_watermark: self.high_watermark().get(),
            active_base,
            active_position,
            size_bytes: self.size_bytes(),
            epochs: self.epoch_entries(),
        })
    }
}
