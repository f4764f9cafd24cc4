//! Cutting the end of a log off: a follower that diverged from its leader (rules F2 to F4).

use std::sync::Arc;

use crate::types::{LeaderEpoch, Offset};

use super::error::Unusable;
use super::handle::{Log, State};
use super::names::SegmentFile;
use super::offsets::Kind;
use super::open::{Listing, create_segment, load_producers, remove_segment, remove_snapshots, writer_after};
use super::producers::Producers;
use super::scan::{ScanOptions, scan};
use super::segment::{Need, Segment};
use super::step::Step;
use super::storage::lock;
use super::writer::{Writer, offset};

impl Log {
    /// Cuts the log so that it ends at `end`, or at the beginning of the batch that has it. An `end` at or after the log's end
    /// changes nothing; one before its start leaves it empty, beginning at `end`.
    ///
    /// Bytes that readers hold become zeros, never unreadable (rule S3). A crash at any point leaves the old log, the new one, or
    /// something between that recovery brings to a batch boundary (rule F4).
    pub fn truncate_to(self: &Arc<Self>, end: Offset) -> Step<Result<(), Unusable>> {
        self.submit(move |log, state| log.truncate(state, end), Err)
    }

    fn truncate(self: &Arc<Self>, state: &mut State, end: Offset) -> Result<(), Unusable> {
        let writer = self.writer(state)?;
        if end.get() >= writer.end_offset {
            return Ok(());
        }
        let failed = |error| self.home.write_error("truncation", error);
        let _no_sync = lock(&self.syncing);
        let start = self.log_start_offset();
        let cut = if end < start { None } else { self.find_cut(end.get()).map_err(failed)? };
        // What is left of a batch that DeleteRecords went through is nothing.
        let cut = cut.filter(|cut| cut.end_offset >= start.get());
        let new_end = cut.as_ref().map_or(end.min(start).get(), |cut| cut.end_offset);
        // ORDER: first nothing above the cut counts as synced, on the disk too; then the cut.
        let recovery_point = self.recovery_point().get().min(new_end);
        self.home.store_recovery_point(self.partition(), offset(recovery_point))?;
        // What comes after the cut was never cleaned.
        self.home.store(Kind::Cleaner, |offsets| {
            if let Some(cleaned) = offsets.get_mut(self.partition()) {
                *cleaned = new_end.min(*cleaned);
            }
        })?;
        if new_end < start.get() {
            self.home.store_log_start(self.partition(), offset(new_end))?;
        }
        match cut {
            Some(cut) => {
                self.cut(writer, &cut).map_err(failed)?;
                writer.file.sync().map_err(|error| self.home.fail("truncation", &error))?;
            }
            None => self.restart(writer, new_end)?,
        }
        self.change_epochs(|epochs| epochs.truncate_from_end(new_end));
        self.set_offsets(start.get().min(new_end), new_end, recovery_point);
        self.recount();
        tracing::info!(partition = %self.partition(), end = new_end, "log truncated");
        Ok(())
    }

    /// Removes all segments and begins an empty one at `at`.
    fn restart(self: &Arc<Self>, writer: &mut Writer, at: i64) -> Result<(), Unusable> {
        let failed = |error| self.home.write_error("truncation", error);
        for segment in self.segments().iter().flat_map(|all| all.iter()) {
            remove_segment(self, segment.base_offset()).map_err(failed)?;
        }
        remove_snapshots(self).map_err(failed)?;
        *writer = create_segment(self, at)?;
        self.set_segments(Some(vec![Arc::clone(&writer.segment)]));
        Ok(())
    }

    fn cut(self: &Arc<Self>, writer: &mut Writer, cut: &Cut) -> std::io::Result<()> {
        let Some(segments) = self.segments() else { return Ok(()) };
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
        let found = scan(&map, options, |_| {})?;
        let allocated = u32::try_from(file.size()?).unwrap_or(u32::MAX);
        *writer = writer_after(self, file, target.base_offset(), found, allocated, Producers::default());
        let sealed: Vec<_> = segments.iter().take(at).cloned().collect();
        let listing = Listing::read(self)?.unwrap_or_default();
        writer.producers = load_producers(self, &listing, &sealed, writer)?;
        let mut all = sealed;
        all.push(Arc::clone(&writer.segment));
        self.set_segments(Some(all));
        Ok(())
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
                    return Ok((position, end_offset));
                }
                Ok((position, target.header_at(&map, position, end_position)?.base_offset))
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
