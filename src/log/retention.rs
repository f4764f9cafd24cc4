//! Deleting from the front: by age, by size, by DeleteRecords. Never above the high watermark, never under a reader (rule S3).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::config::TopicConfig;
use crate::types::{Millis, Offset};

use super::error::{ReadError, Unusable};
use super::handle::Log;
use super::index;
use super::names::SegmentFile;
use super::open::{first_offset, remove_segment};
use super::segment::Segment;
use super::slot::State;
use super::step::Step;
use super::storage::read_lock;
use super::writer::offset;

impl Log {
    /// Deletes whole segments that the topic's retention no longer keeps, as of `now` on the wall clock. Returns how many.
    pub fn apply_retention(self: &Arc<Self>, now: Millis) -> Step<Result<usize, Unusable>> {
        self.submit(move |log, state| log.retain(state, now), Err)
    }

    /// Deletes the records before `before`: the log start offset moves there at once, whole segments go soon after.
    /// Answers the new log start offset once it is on the disk.
    ///
    /// # Errors
    /// [`ReadError::OffsetOutOfRange`] if `before` is above the high watermark.
    pub fn delete_records_before(self: &Arc<Self>, before: Offset) -> Step<Result<Offset, ReadError>> {
        self.submit(
            move |log, state| {
                log.writer(state)?;
                if before > log.high_watermark() {
                    let (start, end) = (log.log_start_offset(), log.high_watermark());
                    return Err(ReadError::OffsetOutOfRange { offset: before.get(), start, end });
                }
                if before > log.log_start_offset() {
                    log.set_log_start(before.get());
                    log.change_epochs(|epochs| epochs.truncate_from_start(before.get()));
                    log.home.store_log_start(log.partition(), before)?;
                    let now = log.home.clock.now_ms();
                    log.retain(state, now)?;
                }
                Ok(log.log_start_offset())
            },
            |error| Err(error.into()),
        )
    }

    /// Whether [`Log::apply_retention`] could find something to delete at `now`. Touches no file, also if the log is closed.
    pub(super) fn may_be_retained(&self, now: Millis) -> bool {
        let config = self.config_ref();
        let first = self.first_largest_timestamp.load(Ordering::Relaxed);
        let is_too_large = config.retention_bytes.is_some_and(|most| self.size_bytes() > most);
        let is_too_old = config.retention_ms.is_some_and(|most| now.saturating_sub(first) > most);
        config.cleanup_delete
            && self.is_recovered()
            && self.log_end_offset() > self.log_start_offset()
            && (is_too_large || is_too_old)
    }

    /// Remembers how young the first segment is.
    pub(super) fn note_first_timestamp(&self) {
        let first = self.segments().and_then(|all| all.first().map(|first| self.largest_timestamp_of(first)));
        // Records without timestamps have no age.
        let first = first.map_or(Millis::MIN, |first| if first < 0 { Millis::MAX } else { first });
        self.first_largest_timestamp.store(first, Ordering::Relaxed);
    }

    fn retain(self: &Arc<Self>, state: &mut State, now: Millis) -> Result<usize, Unusable> {
        let deleted = self.delete_segments(state, now);
        self.note_first_timestamp();
        deleted
    }

    fn delete_segments(self: &Arc<Self>, state: &mut State, now: Millis) -> Result<usize, Unusable> {
        let config = self.config();
        let writer = self.writer(state)?;
        let Some(segments) = self.segments() else { return Ok(0) };
        let count = self.deletable(&segments, &config, now);
        if count == 0 {
            return Ok(0);
        }
        if count == segments.len() {
            // Also the active segment: the log needs another one first (`UnifiedLog.deleteSegments`).
            writer.roll(self, &config)?;
        }
        let Some(segments) = self.segments() else { return Ok(0) };
        let (deleted, kept) = segments.split_at(count.min(segments.len().saturating_sub(1)));
        // ORDER: readers stop finding the segments before their files go.
        let start = first_offset(kept).get();
        self.set_log_start(start);
        self.set_segments(Some(kept.to_vec()));
        self.change_epochs(|epochs| epochs.truncate_from_start(self.log_start_offset().get()));
        for segment in deleted {
            self.size_bytes.fetch_sub(u64::from(segment.size_bytes()), Ordering::Relaxed);
            remove_segment(self, segment.base_offset())
                .map_err(|error| self.home.write_error("deletion of a segment", error))?;
        }
        tracing::info!(partition = %self.partition(), segments = deleted.len(), start, "segments deleted");
        Ok(deleted.len())
    }

    /// How many of the first segments may go (`UnifiedLog.deleteOldSegments`).
    fn deletable(&self, segments: &[Arc<Segment>], config: &TopicConfig, now: Millis) -> usize {
        let start = self.log_start_offset().get();
        let high_watermark = self.high_watermark().get();
        let excess = config.retention_bytes.map_or(0, |most| self.size_bytes().saturating_sub(most));
        let mut excess = if config.cleanup_delete { excess } else { 0 };
        let mut count = 0;
        for segment in segments {
            let size = u64::from(segment.size_bytes());
            let is_active = count + 1 == segments.len();
            // A segment that cleaning emptied holds nothing that could be too young.
            let is_hollow = size == 0 && !is_active && config.cleanup_delete;
            if (size == 0 && !is_hollow) || segment.end_offset() > high_watermark {
                break;
            }
            let before_start = !is_active && segment.end_offset() <= start;
            let too_large = excess > 0 && excess >= size;
            if !before_start && !too_large && !is_hollow && !self.is_too_old(segment, config, now) {
                break;
            }
            excess = excess.saturating_sub(size);
            count += 1;
        }
        count
    }

    fn is_too_old(&self, segment: &Arc<Segment>, config: &TopicConfig, now: Millis) -> bool {
        let Some(retention_ms) = config.retention_ms.filter(|_| config.cleanup_delete) else { return false };
        let largest = self.largest_timestamp_of(segment);
        // Records without timestamps have no age.
        largest >= 0 && now.saturating_sub(largest) > retention_ms
    }

    /// The largest timestamp in a segment, from its time index if it is sealed. -1 if it has none. Waits for the disk.
    pub(super) fn largest_timestamp_of(&self, segment: &Arc<Segment>) -> Millis {
        if let Some(timestamp) = segment.largest_timestamp() {
            return timestamp;
        }
        let timestamp = self.times_of(segment).last().map_or(-1, |entry| entry.timestamp);
        segment.set_largest_timestamp(timestamp);
        timestamp
    }

    /// The time index of a segment; rebuilt if its file is missing or wrong. Waits for the disk.
    pub(super) fn times_of(&self, segment: &Arc<Segment>) -> Vec<index::TimeEntry> {
        let times = segment.times();
        if !times.is_empty() || segment.size_bytes() == 0 {
            return times;
        }
        let (base, relative_end) = (
            segment.base_offset(),
            u32::try_from(segment.end_offset() - segment.base_offset()).unwrap_or(u32::MAX),
        );
        let _no_swap = read_lock(&self.swapping);
        if segment.is_replaced() {
            return Vec::new();
        }
        let path = SegmentFile::TimeIndex.path(&self.directory(), base);
        let read = self.home.volume.read(&path).ok().flatten();
        let sound = read
            .and_then(|bytes| index::decode_times(&bytes, relative_end))
            .filter(|times| !times.is_empty());
        sound.unwrap_or_else(|| {
            let file = self.home.volume.open_file(&SegmentFile::Log.path(&self.directory(), base));
            let map = file.and_then(|file| file.map(segment.size_bytes() as usize));
            let interval = self.config_ref().index_interval_bytes;
            map.map_or_else(
                |_| Vec::new(),
                |map| super::scan::index_of(&map, base, segment.size_bytes(), interval).1,
            )
        })
    }

    /// First offset of the log's first segment: what is still on the disk. For tests and tools.
    #[must_use]
    pub fn first_segment_offset(&self) -> Option<Offset> {
        self.segments().and_then(|all| all.first().map(|segment| offset(segment.base_offset())))
    }
}
