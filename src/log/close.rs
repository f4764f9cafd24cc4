//! Letting a log's files go, in order: after it the log is as good as new and holds no file and no map.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::checkpoint;
use super::ends::LogEnd;
use super::error::Unusable;
use super::handle::Log;
use super::names::LEADER_EPOCH_CHECKPOINT;
use super::slot::{Closed, State};
use super::step::Step;

impl Log {
    /// Syncs and closes the files of an open log: indexes, producer snapshot and epochs are written, the recovery point is the end.
    /// Runs behind all that was asked for before. The next use opens the log again.
    ///
    /// Answers what a clean stop has to remember; `None` if there is nothing on the disk or the log was never recovered.
    pub(super) fn close_files(self: &Arc<Self>) -> Step<Result<Option<LogEnd>, Unusable>> {
        self.submit(Self::close_now, Err)
    }

    fn close_now(self: &Arc<Self>, state: &mut State) -> Result<Option<LogEnd>, Unusable> {
        let writer = match state {
            State::Open(writer) => writer,
            State::Closed(closed) => return Ok(self.clean_end(closed)),
            State::Gone(error) => return Err(error.clone()),
            State::Busy => return Err(Unusable::Closed),
        };
        self.home.check()?;
        let failed = |error| self.home.write_error("close", error);
        writer.finish_segment(self).map_err(failed)?;
        writer.write_snapshot(self).map_err(failed)?;
        self.directory_dirty.store(true, Ordering::Release);
        self.sync_now()?;
        let closed =
            Closed::Clean { active_base: writer.segment.base_offset(), active_position: writer.position };
        self.note_first_timestamp();
        self.set_segments(None);
        self.home.open_logs.fetch_sub(1, Ordering::Relaxed);
        let end = self.clean_end(&closed);
        *state = State::Closed(closed);
        Ok(end)
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

    fn clean_end(&self, closed: &Closed) -> Option<LogEnd> {
        let Closed::Clean { active_base, active_position } = *closed else { return None };
        Some(LogEnd {
            partition: self.directory(),
            topic_id: self.topic_id(),
            log_start: self.log_start_offset().get(),
            log_end: self.log_end_offset().get(),
            high_watermark: self.high_watermark().get(),
            active_base,
            active_position,
            size_bytes: self.size_bytes(),
            first_largest_timestamp: self.first_largest_timestamp.load(Ordering::Relaxed),
            epochs: self.epoch_entries(),
        })
    }
}
