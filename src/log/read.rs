//! Reading: slices of the mapped segments, found by cursor or by index, never waiting for a disk on the calling thread.

use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::types::Offset;

use super::error::{ReadError, Unusable};
use super::handle::Log;
use super::index::OffsetIndex;
use super::names::SegmentFile;
use super::segment::{Need, Segment, next_position};
use super::step::Step;
use super::storage::read_lock;

/// How often a read that lacks something goes and gets it before it gives up: several segments and their pages.
const ATTEMPTS: usize = 64;

/// What to read.
#[derive(Debug, Clone, Copy)]
pub struct ReadOptions {
    /// Most bytes to give.
    pub max_bytes: usize,
    /// Give one whole batch even if it is larger than `max_bytes`.
    pub min_one_batch: bool,
    /// Only batches that end at or before this offset: high watermark, last stable offset or log end.
    pub end: Offset,
    /// Where the last read of this reader ended. Saves the look-up; one that does not fit is ignored.
    pub cursor: Option<ReadCursor>,
}

/// A place in a log, remembered from read to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadCursor {
    segment: i64,
    /// A cleaned segment has its base offset in common with those it was made of, but not their positions.
    id: u32,
    position: u32,
    offset: i64,
}

/// What was read: whole batches, in order.
#[derive(Debug, Clone, Default)]
pub struct Read {
    /// Slices of mapped segments; they keep their maps alive.
    pub chunks: SmallVec<[Bytes; 2]>,
    /// Their bytes together.
    pub size_bytes: usize,
    /// Where the next read begins. `None` if that is not known, or nothing was read without a cursor.
    pub cursor: Option<ReadCursor>,
}

impl Log {
    /// Reads batches from the one with `from` on. It may begin with records before `from`: the client skips them, as with Kafka.
    ///
    /// Empty if `from` is at `options.end`, or the first batch is larger than `max_bytes` and `min_one_batch` is not set.
    ///
    /// # Errors
    /// [`ReadError`].
    ///
    /// # Cost
    /// No copy. With a cursor, no search; without, two binary searches and a walk of about `index.interval.bytes`. Pages that are
    /// not in memory are brought in by a storage thread first.
    pub fn read(self: &Arc<Self>, from: Offset, options: ReadOptions) -> Step<Result<Read, ReadError>> {
        match self.read_now(from.get(), &options) {
            Ok(read) => Step::Ready(Ok(read)),
            Err(Need::Failed(error)) => Step::Ready(Err(error)),
            Err(_) => self.when_open(move |log| log.read_blocking(from, &options)),
        }
    }

    /// As [`Log::read`], on a thread that may wait, of a log that is open.
    pub(super) fn read_blocking(&self, from: Offset, options: &ReadOptions) -> Result<Read, ReadError> {
        for _ in 0..ATTEMPTS {
            match self.read_now(from.get(), options) {
                Ok(read) => return Ok(read),
                Err(need) => self.satisfy(need)?,
            }
        }
        // Pages go as fast as they come: memory is short. What is left is slower, not wrong.
        Err(ReadError::Unusable(Unusable::Io(Arc::new(std::io::ErrorKind::OutOfMemory.into()))))
    }

    /// Gets what a read lacks. Waits for the disk.
    pub(super) fn satisfy(&self, need: Need) -> Result<(), ReadError> {
        match need {
            Need::Failed(error) => Err(error),
            Need::Open => Err(self.why_closed().into()),
            Need::Segment(segment) => match self.open_segment(&segment) {
                Ok(()) => Ok(()),
                // Deleted meanwhile: the next attempt sees the new list.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(self.home.write_error("open of a segment", error).into()),
            },
            Need::Pages(segment, range) => {
                let map = match segment.map(range.end, range.end) {
                    Ok(map) => map,
                    Err(_) => return Ok(()),
                };
                map.populate(range.start as usize..range.end as usize)
                    .map_err(|error| self.home.fail("read", &error).into())
            }
        }
    }

    /// Maps a sealed segment and its index, which is rebuilt if it is missing or wrong. Waits for the disk.
    ///
    /// # Errors
    /// `NotFound` if the segment is not the log's any more; else what the system says.
    pub(super) fn open_segment(&self, segment: &Arc<Segment>) -> std::io::Result<()> {
        let _no_swap = read_lock(&self.swapping);
        if segment.is_replaced() {
            return Err(std::io::ErrorKind::NotFound.into());
        }
        let directory = self.directory();
        let volume = &self.home.volume;
        let (end_offset, end_position) = segment.tail();
        let base = segment.base_offset();
        let file = volume.open_file(&SegmentFile::Log.path(&directory, base))?;
        if file.size()? < u64::from(end_position) {
            return Err(std::io::Error::new(
                std::io::ErrorKind::InvalidData,
                "a segment is shorter than it was",
            ));
        }
        let map = file.map(end_position as usize)?;
        let path = SegmentFile::Index.path(&directory, base);
        let relative_end = u32::try_from(end_offset - base).unwrap_or(u32::MAX);
        let bytes = volume.read(&path)?.unwrap_or_default();
        let interval = self.config_ref().index_interval_bytes;
        let sound = OffsetIndex::decode(&bytes, end_position, relative_end)
            // Every segment of some size has entries: an empty file is one that was lost.
            .filter(|entries| !entries.is_empty() || u64::from(end_position) <= u64::from(interval) * 2);
        let index = match sound {
            Some(entries) if entries.is_empty() => OffsetIndex::Memory(entries),
            Some(_) => OffsetIndex::Mapped(
                volume.open_file(&path)?.map(bytes.len())?.slice(0..bytes.len()).unwrap_or_default(),
            ),
            None => {
                let (entries, times) = super::scan::index_of(&map, base, end_position, interval);
                let is_lost = !entries.is_empty();
                let index = OffsetIndex::Memory(entries);
                // Few large batches need no entries: then nothing was lost.
                if is_lost {
                    tracing::info!(partition = %self.partition(), segment = base, "the index of a segment is rebuilt");
                    volume.write_rebuildable(&path, &index.encode())?;
                    let times_path = SegmentFile::TimeIndex.path(&directory, base);
                    volume.write_rebuildable(&times_path, &super::index::encode_times(&times))?;
                }
                index
            }
        };
        segment.set_opened(map, index);
        self.home.opened_sealed(segment);
        Ok(())
    }

    fn read_now(&self, from: i64, options: &ReadOptions) -> Result<Read, Need> {
        self.home.check().map_err(|error| Need::Failed(error.into()))?;
        self.touch();
        if !self.is_recovered() {
            return Err(Need::Open);
        }
        let (start, log_end) = (self.log_start_offset(), self.log_end_offset());
        if from < start.get() || from > log_end.get() {
            return Err(Need::Failed(ReadError::OffsetOutOfRange { offset: from, start, end: log_end }));
        }
        let end = options.end.get().min(log_end.get());
        if from >= end {
            return Ok(Read { cursor: options.cursor, ..Read::default() });
        }
        let segments = self.segments_ref();
        let segments = segments.as_ref().ok_or(Need::Open)?;
        let (mut at, mut position) = match options.cursor {
            Some(cursor) if cursor.offset == from => {
                let found = segments.binary_search_by_key(&cursor.segment, |segment| segment.base_offset());
                let same = found.ok().filter(|at| segments.get(*at).is_some_and(|s| s.id() == cursor.id));
                same.map_or_else(|| (segment_of(segments, from), None), |at| (at, Some(cursor.position)))
            }
            _ => (segment_of(segments, from), None),
        };
        let mut read = Read { cursor: options.cursor, ..Read::default() };
        while let Some(segment) = segments.get(at) {
            let is_last = at + 1 == segments.len();
            match self.read_segment(segment, position, from, end, options, &mut read) {
                Ok(Rest::More) if !is_last => {
                    at += 1;
                    position = Some(0);
                }
                Ok(_) => break,
                // What is there is worth more than waiting for the rest.
                Err(Need::Segment(_) | Need::Pages(..)) if read.size_bytes > 0 => break,
                Err(need) => return Err(need),
            }
        }
        Ok(read)
    }

    /// Adds what one segment has from `position` (or else the batch with `from`) on.
    fn read_segment(
        &self,
        segment: &Arc<Segment>,
        position: Option<u32>,
        from: i64,
        end: i64,
        options: &ReadOptions,
        read: &mut Read,
    ) -> Result<Rest, Need> {
        let (end_offset, end_position) = segment.tail();
        if end_position == 0 {
            return Ok(Rest::More);
        }
        let map = segment.map(end_position, self.config_ref().segment_bytes)?;
        let position = match position {
            Some(position) if position <= end_position => position,
            _ => segment.position_of(&map, from)?,
        };
        // Where the committed part ends, then where the reader's wish ends.
        let bound = if end >= end_offset { end_position } else { segment.position_of(&map, end)? };
        let left = options.max_bytes.saturating_sub(read.size_bytes);
        let limit = u32::try_from((position as usize).saturating_add(left)).unwrap_or(u32::MAX);
        let (mut cut, mut next_offset) = if bound <= limit {
            (bound.max(position), (bound == end_position).then_some(end_offset).or(Some(end)))
        } else {
            segment.boundary_before(&map, position, limit)?
        };
        if cut == position && bound > position && read.size_bytes == 0 && options.min_one_batch {
            let header = segment.header_at(&map, position, end_position)?;
            cut = next_position(position, &header);
            next_offset = Some(header.next_offset());
        }
        if cut > position {
            segment.probe(&map, position..cut)?;
            let chunk = map
                .slice(position as usize..cut as usize)
                .ok_or_else(|| Need::Segment(Arc::clone(segment)))?;
            read.size_bytes += chunk.len();
            read.chunks.push(chunk);
            read.cursor = next_offset.map(|offset| ReadCursor {
                segment: segment.base_offset(),
                id: segment.id(),
                position: cut,
                offset,
            });
        }
        let wants_more = cut == end_position && end > end_offset && read.size_bytes < options.max_bytes;
        Ok(if wants_more { Rest::More } else { Rest::Done })
    }
}

/// Whether the next segment may have something to add.
enum Rest {
    More,
    Done,
}

/// Index of the segment that has `offset`.
pub(super) fn segment_of(segments: &[Arc<Segment>], offset: i64) -> usize {
    segments.partition_point(|segment| segment.base_offset() <= offset).saturating_sub(1)
}
