//! Cutting the end of a log off: a follower that diverged from its leader (rules F2 to F4).

use std::sync::Arc;

use crate::types::{LeaderEpoch, Offset};

use super::epochs::Epochs;
use super::error::Unusable;
use super::handle::Log;
use super::names::SegmentFile;
use super::offsets::Kind;
use super::open::{
    Listing, create_segment, first_offset, forget_epochs, load_producers, remove_segment, remove_snapshots,
    writer_after,
};
use super::producers::Producers;
use super::scan::{ScanOptions, scan};
use super::segment::{Need, Segment};
use super::slot::State;
use super::step::Step;
use super::storage::lock;
use super::writer::{Writer, offset};

impl Log {
    /// Cuts the log so that it ends at `end`, also where compaction left no record there, or at the beginning of the batch that has
    /// it. An `end` at or after the log's end only forgets the epochs without a record there (`UnifiedLog.truncateTo`); one before its start leaves it empty, beginning at `end`.
    ///
    /// Bytes that readers hold become zeros, never unreadable (rule S3). A crash at any point leaves the old log, the new one, or
    /// something between that recovery brings to a batch boundary (rule F4).
    pub fn truncate_to(self: &Arc<Self>, end: Offset) -> Step<Result<(), Unusable>> {
        self.submit(move |log, state| log.truncate(state, end), Err)
    }

    fn truncate(self: &Arc<Self>, state: &mut State, end: Offset) -> Result<(), Unusable> {
        let writer = self.writer(state)?;
        if end.get() >= writer.end_offset {
            // An epoch that was begun there and got no record is not in the leader's log either.
            let log_end = writer.end_offset;
            self.change_epochs(|epochs| epochs.truncate_from_end(log_end));
            return Ok(());
        }
        let failed = |error| self.home.write_error("truncation", error);
        let _no_sync = lock(&self.syncing);
        let start = self.log_start_offset();
        let cut = if end < start { None } else { self.find_cut(end.get()).map_err(failed)? };
        // What is left of a batch that DeleteRecords went through is nothing.
        let Some(cut) = cut.filter(|cut| cut.end_offset >= start.get()) else {
            return self.restart(writer, end.min(start));
        };
        let new_end = cut.end_offset;
        // ORDER: first nothing above the cut counts as synced, on the disk too; then the cut; then the epochs (rule F4). Where the
        // last batch before the cut ends, only the cut will tell.
        let recovery_point = self.recovery_point().get().min(new_end);
        let certain = recovery_point.min(cut.target.base_offset());
        self.home.store_recovery_point(self.partition(), offset(certain))?;
        // What comes after the cut was never cleaned, nor committed: a crash must not take it for the records that were.
        self.limit_checkpoints(new_end)?;
        let last = self.cut(writer, &cut).map_err(failed)?;
        let sync = |writer: &Writer| writer.file.sync().map_err(|error| self.home.fail("truncation", &error));
        sync(writer)?;
        if last < new_end {
            // Compaction left nothing just before the cut: a segment that begins there remembers it.
            self.seal_gap(writer, new_end)?;
            sync(writer)?;
        }
        self.change_epochs(|epochs| epochs.truncate_from_end(new_end));
        self.set_offsets(start.get(), new_end, recovery_point);
        self.recount();
        self.write_epochs()?;
        tracing::info!(partition = %self.partition(), end = new_end, "log truncated");
        Ok(())
    }

    /// Drops everything and begins anew, empty, at `at` (rule F8).
    ///
    /// A crash at any point leaves the old log, a part of it, or the new one.
    pub fn restart_at(self: &Arc<Self>, at: Offset) -> Step<Result<(), Unusable>> {
        self.submit(
            move |log, state| {
                let writer = log.writer(state)?;
                let _no_sync = lock(&log.syncing);
                log.restart(writer, at)
            },
            Err,
        )
    }

    fn restart(self: &Arc<Self>, writer: &mut Writer, at: Offset) -> Result<(), Unusable> {
        // ORDER: first nothing counts as synced, so that what a crash leaves of the segments is no damage, and their epochs come back
        // from them alone. Then where the log begins: recovery begins anew there if nothing that is left reaches it.
        let first = self.segments().map_or(Offset::ZERO, |all| first_offset(&all));
        let recovery_point = self.recovery_point().min(first).min(at);
        self.home.store_recovery_point(self.partition(), recovery_point)?;
        self.limit_checkpoints(at.get())?;
        forget_epochs(self).map_err(|error| self.home.write_error("truncation", error))?;
        self.home.store_log_start(self.partition(), at)?;
        self.replace_segments(writer, at.get())?;
        self.change_epochs(Epochs::clear);
        self.set_offsets(at.get(), at.get(), at.get());
        self.recount();
        tracing::info!(partition = %self.partition(), start = %at, "log dropped and begun anew");
        Ok(())
    }

    /// Has it on the disk that nothing from `end` on is clean or below the high watermark.
    pub(super) fn limit_checkpoints(&self, end: i64) -> Result<(), Unusable> {
        for kind in [Kind::Cleaner, Kind::HighWatermark] {
            self.home.store(kind, |offsets| {
                if let Some(known) = offsets.get_mut(self.partition()) {
                    *known = end.min(*known);
                }
            })?;
        }
        Ok(())
    }

    /// Makes an empty log begin with a batch that begins before it: the leader deleted records up to the middle of a batch. The log
    /// start offset stays.
    pub(super) fn begin_within(self: &Arc<Self>, writer: &mut Writer, base: i64) -> Result<(), Unusable> {
        let _no_sync = lock(&self.syncing);
        // ORDER: the new segment ends before what counted as synced.
        self.home.store_recovery_point(self.partition(), offset(base))?;
        self.recovery_point.fetch_min(base, std::sync::atomic::Ordering::AcqRel);
        self.replace_segments(writer, base)
    }

    /// Removes all segments and begins an empty one at `at`.
    fn replace_segments(self: &Arc<Self>, writer: &mut Writer, at: i64) -> Result<(), Unusable> {
        let failed = |error| self.home.write_error("truncation", error);
        for segment in self.segments().iter().flat_map(|all| all.iter()) {
            remove_segment(self, segment.base_offset()).map_err(failed)?;
        }
        remove_snapshots(self).map_err(failed)?;
        *writer = create_segment(self, at)?;
        self.set_segments(Some(vec![Arc::clone(&writer.segment)]));
        Ok(())
    }

    /// Begins an empty segment at `end`, the log's end, which is after the last batch.
    fn seal_gap(self: &Arc<Self>, writer: &mut Writer, end: i64) -> Result<(), Unusable> {
        let base = writer.segment.base_offset();
        if writer.position > 0 {
            return writer.roll(self, &self.config());
        }
        if base == end {
            return Ok(());
        }
        // The log keeps its first segment, empty: it begins there.
        writer.finish_segment(self).map_err(|error| self.home.write_error("truncation", error))?;
        let producers = std::mem::take(&mut writer.producers);
        *writer = create_segment(self, end)?;
        writer.producers = producers;
        self.push_segment(Arc::clone(&writer.segment));
        Ok(())
    }

    /// Cuts, and answers where the last batch that is left ends.
    fn cut(self: &Arc<Self>, writer: &mut Writer, cut: &Cut) -> std::io::Result<i64> {
        let Some(segments) = self.segments() else { return Ok(cut.end_offset) };
        let Cut { at, ref target, position, .. } = *cut;
        for later in segments.iter().skip(at + 1).rev() {
            remove_segment(self, later.base_offset())?;
        }
        let path = SegmentFile::Log.path(&self.directory(), target.base_offset());
        let file = match target.file() {
            Some(file) => file,
            None => Arc::new(self.home.volume.open_file(&path)?),
        };
        file.write_zeros(u64::from(position), u64::from(target.size_bytes() - position))?;
        let map = file.map(position as usize)?;
        let options = ScanOptions {
            base_offset: target.base_offset(),
            verify_from: i64::MAX,
            epoch: LeaderEpoch(-1),
            gaps: true,
            interval_bytes: self.config_ref().index_interval_bytes,
        };
        let mut found = scan(&map, options, |_| {})?;
        let last = std::mem::replace(&mut found.end_offset, cut.end_offset);
        let allocated = u32::try_from(file.size()?).unwrap_or(u32::MAX);
        *writer = writer_after(self, file, target.base_offset(), found, allocated, Producers::default());
        let sealed: Vec<_> = segments.iter().take(at).cloned().collect();
        let listing = Listing::read(self)?.unwrap_or_default();
        writer.producers = load_producers(self, &listing, &sealed, writer)?;
        let mut all = sealed;
        all.push(Arc::clone(&writer.segment));
        self.set_segments(Some(all));
        Ok(last)
    }

    /// Where the batch with offset `end` begins; `None` if the log has no segments.
    fn find_cut(&self, end: i64) -> std::io::Result<Option<Cut>> {
        let Some(segments) = self.segments() else { return Ok(None) };
        // The segment that will be active: the last one that begins before the cut, or the first.
        let at = segments.partition_point(|segment| segment.base_offset() < end).saturating_sub(1);
        let Some(target) = segments.get(at).cloned() else { return Ok(None) };
        let invalid = |error: String| std::io::Error::new(std::io::ErrorKind::InvalidData, error);
        let (end_offset, end_position) = target.tail();
        for _ in 0..64 {
            let attempt = target.map(end_position, self.config_ref().segment_bytes).and_then(|map| {
                let position = target.position_of(&map, end)?;
                if position == end_position {
                    return Ok((position, end_offset.min(end)));
                }
                Ok((position, target.header_at(&map, position, end_position)?.base_offset.min(end)))
            });
            match attempt {
                Ok((position, end_offset)) => return Ok(Some(Cut { at, target, position, end_offset })),
                Err(Need::Failed(error)) => return Err(invalid(error.to_string())),
                Err(need) => self.satisfy(need).map_err(|error| invalid(error.to_string()))?,
            }
        }
        Err(invalid("the segment cannot be read".to_owned()))
    }

    fn recount(&self) {
        let size = self.segments().iter().flat_map(|all| all.iter()).map(|s| u64::from(s.size_bytes())).sum();
        self.size_bytes.store(size, std::sync::atomic::Ordering::Relaxed);
    }
}

/// Where a log is cut.
struct Cut {
    /// Index of the segment that will be the last.
    at: usize,
    target: Arc<Segment>,
    /// Where it will end.
    position: u32,
    /// The log's new end.
    end_offset: i64,
}
