//! The open end of a log: the active segment, its file, the producers. Owned by whoever holds the log's slot.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::config::TopicConfig;
use crate::protocol::batch::BatchHeader;
use crate::sys::DataFile;
use crate::types::{LeaderEpoch, Millis, Offset, random};

use super::append::AppendOptions;
use super::error::{AppendError, Unusable};
use super::handle::Log;
use super::index::{self, OffsetEntry, TimeEntry};
use super::names::SegmentFile;
use super::producers::{Batch, Producers};
use super::segment::{Segment, step};
use super::snapshot;
use super::validate::{Checked, Origin};

/// Batches up to this size are copied next to their patched header and written in one piece: cheaper than a vectored write.
const COPY_BYTES_MAX: usize = 2048;

/// The state behind appends. At most one thread has it.
#[derive(Debug)]
pub(super) struct Writer {
    pub segment: Arc<Segment>,
    pub file: Arc<DataFile>,
    pub position: u32,
    pub end_offset: i64,
    pub producers: Producers,
    /// Bytes since the last index entry.
    pub bytes_since_entry: u32,
    /// Largest timestamp of the active segment and the last offset of the batch that has it; -1 if none.
    pub largest: (Millis, i64),
    /// Timestamp of the last time index entry.
    pub last_time_entry: Millis,
    /// Entries of the two indexes of the active segment.
    pub index_entries: u32,
    pub time_entries: u32,
    /// Timestamp of the active segment's first batch.
    pub first_timestamp: Option<Millis>,
    /// When the active segment was created or opened.
    pub created_ms: Millis,
    /// Taken off `segment.ms`, so that many partitions do not roll at once.
    pub jitter_ms: Millis,
    /// Records since the last sync that `flush.messages` asked for.
    pub unflushed_records: u64,
}

/// What an append gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendInfo {
    /// Offset of the batch's first record; with `duplicate`, where it was stored the first time.
    pub first_offset: Offset,
    /// Offset of its last record.
    pub last_offset: Offset,
    /// The timestamp that the broker gave, with `message.timestamp.type=LogAppendTime`.
    pub log_append_time_ms: Option<Millis>,
    /// The log's start offset at that time.
    pub log_start_offset: Offset,
    /// Bytes that were written; 0 for a duplicate.
    pub size_bytes: usize,
    /// Whether the batch was in the log already and nothing was written.
    pub duplicate: bool,
}

/// How far an append came without waiting for a disk.
pub(super) enum Outcome {
    Done(Result<AppendInfo, AppendError>),
    /// The segment must be extended or rolled first: [`Writer::make_room`].
    NoRoom,
}

impl Writer {
    /// Appends a checked batch if there is room. Does not wait for a disk.
    pub fn append(
        &mut self,
        log: &Log,
        batch: &mut Checked,
        epoch: LeaderEpoch,
        options: AppendOptions,
        now: Millis,
        config: &TopicConfig,
    ) -> Outcome {
        if let Some(latest) = log.latest_epoch().filter(|latest| epoch < *latest) {
            return Outcome::Done(Err(AppendError::StaleLeaderEpoch { latest, got: epoch }));
        }
        if batch.header.has_producer_id() && options.origin == Origin::Client {
            match self.producers.check(&batch.header, options.begins_at) {
                Ok(None) => {}
                Ok(Some(stored)) => return Outcome::Done(Ok(duplicate(log, stored, config))),
                Err(error) => return Outcome::Done(Err(error)),
            }
        }
        let size = batch.batch.len();
        batch.header.base_offset = self.end_offset;
        if !self.has_room(&batch.header, size, now, config) {
            return Outcome::NoRoom;
        }
        batch.header.partition_leader_epoch = epoch.get();
        let [o0, o1, o2, o3, o4, o5, o6, o7] = self.end_offset.to_be_bytes();
        let [e0, e1, e2, e3] = epoch.get().to_be_bytes();
        let [b0, b1, b2, b3] = batch.header.batch_length.to_be_bytes();
        batch.head[..16].copy_from_slice(&[o0, o1, o2, o3, o4, o5, o6, o7, b0, b1, b2, b3, e0, e1, e2, e3]);
        Outcome::Done(self.write(log, &batch.header, &batch.head, batch.body(), config).map(|()| {
            AppendInfo {
                first_offset: offset(batch.header.base_offset),
                last_offset: offset(batch.header.last_offset()),
                log_append_time_ms: batch.log_append_time,
                log_start_offset: log.log_start_offset(),
                size_bytes: size,
                duplicate: false,
            }
        }))
    }

    /// Whether the batch, with its final base offset, fits the active segment and its preallocated file.
    pub fn has_room(&self, header: &BatchHeader, size: usize, now: Millis, config: &TopicConfig) -> bool {
        let needed = self.position as usize + size;
        needed <= self.segment.allocated() as usize && !self.should_roll(header, size, now, config)
    }

    /// Writes a batch whose header has its final offsets, and publishes it.
    pub fn write(
        &mut self,
        log: &Log,
        header: &BatchHeader,
        head: &[u8],
        body: &[u8],
        config: &TopicConfig,
    ) -> Result<(), AppendError> {
        let position = u64::from(self.position);
        let size = head.len() + body.len();
        let mut whole = [0u8; COPY_BYTES_MAX];
        let written = match joined(&mut whole, head, body) {
            Some(whole) => self.file.write_at(whole, position),
            None => self.file.write_both_at(head, body, position),
        };
        written.map_err(|error| log.home.write_error("append", error))?;
        self.record(log, header, size, config);
        Ok(())
    }

    /// Takes a batch that stands in the file at the writer's position into all of the log's state.
    fn record(&mut self, log: &Log, header: &BatchHeader, size: usize, config: &TopicConfig) {
        let start = self.position;
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        let last_offset = header.last_offset();
        let epoch = LeaderEpoch(header.partition_leader_epoch);
        if log.latest_epoch().is_none_or(|latest| epoch > latest) {
            log.assign_epoch(epoch, header.base_offset);
        }
        if header.has_producer_id() {
            self.producers.record(header, log.home.clock.now_ms());
        }
        if self.first_timestamp.is_none() {
            self.first_timestamp = Some(header.max_timestamp);
        }
        if header.max_timestamp > self.largest.0 {
            self.largest = (header.max_timestamp, last_offset);
            self.segment.set_largest_timestamp(header.max_timestamp);
        }
        if self.bytes_since_entry > config.index_interval_bytes {
            let time = self.next_time_entry();
            let entry =
                OffsetEntry { relative_offset: relative(last_offset, &self.segment), position: start };
            self.segment.add_index_entries(entry, time);
            self.index_entries += 1;
            self.bytes_since_entry = 0;
        }
        self.bytes_since_entry = self.bytes_since_entry.saturating_add(size);
        self.unflushed_records += u64::from(header.last_offset_delta.unsigned_abs()) + 1;
        self.position = start.saturating_add(size);
        self.end_offset = header.next_offset();
        log.size_bytes.fetch_add(u64::from(size), Ordering::Relaxed);
        self.segment.publish(self.end_offset, self.position);
        log.publish_end(self.end_offset, size as usize, config);
    }

    /// The time index entry that is due, if the largest timestamp grew since the last.
    fn next_time_entry(&mut self) -> Option<TimeEntry> {
        let (timestamp, offset) = self.largest;
        if timestamp <= self.last_time_entry {
            return None;
        }
        self.last_time_entry = timestamp;
        self.time_entries += 1;
        Some(TimeEntry { timestamp, relative_offset: relative(offset, &self.segment) })
    }

    /// `LogSegment.shouldRoll`.
    fn should_roll(&self, header: &BatchHeader, size: usize, now: Millis, config: &TopicConfig) -> bool {
        if self.position == 0 {
            return false;
        }
        let full = self.position as usize + size > config.segment_bytes as usize;
        let waited = match self.first_timestamp {
            Some(first) if first >= 0 => header.max_timestamp.saturating_sub(first),
            _ => now.saturating_sub(self.created_ms),
        };
        let entries_max = config.segment_index_bytes / 12;
        let last = header.last_offset();
        full || waited > config.roll_ms().saturating_sub(self.jitter_ms)
            || self.index_entries >= config.segment_index_bytes / 8
            || self.time_entries >= entries_max
            || last - self.segment.base_offset() > i64::from(i32::MAX)
    }

    /// Rolls or extends the active segment so that the batch fits. Waits for the disk.
    ///
    /// # Errors
    /// [`Unusable::DiskFull`] if the disk has no room; the log goes on as it is.
    pub fn make_room(
        &mut self,
        log: &Arc<Log>,
        header: &BatchHeader,
        size: usize,
        now: Millis,
        config: &TopicConfig,
    ) -> Result<(), Unusable> {
        if self.should_roll(header, size, now, config) {
            log.home.check_space(0)?;
            self.roll(log, config)?;
        }
        let need = u32::try_from(size).unwrap_or(u32::MAX);
        if self.position.saturating_add(need) > self.segment.allocated() {
            log.home.check_space(u64::from(need))?;
            // Ahead of need only while the reserve stays whole.
            let ahead = if config.preallocate { config.segment_bytes } else { step(self.position) };
            let least = self.position.saturating_add(need);
            let spacious = log.home.check_space(u64::from(need) + u64::from(ahead)).is_ok();
            let capacity = if spacious { config.segment_bytes.max(least) } else { least };
            let need = if config.preallocate && spacious { capacity - self.position } else { need };
            self.segment
                .extend(self.position, need, capacity)
                .map_err(|error| log.home.write_error("preallocation", error))?;
        }
        Ok(())
    }

    /// Seals the active segment and begins a new one at the log's end. Does nothing to an empty one. May use the reserve of a disk
    /// that is full: retention rolls to make room.
    ///
    /// # Errors
    /// [`Unusable`]; then the old segment stays active.
    pub fn roll(&mut self, log: &Arc<Log>, config: &TopicConfig) -> Result<(), Unusable> {
        if self.position == 0 {
            return Ok(());
        }
        let error = |error| log.home.write_error("roll", error);
        let path = SegmentFile::Log.path(&log.directory(), self.end_offset);
        let file = Arc::new(log.home.volume.create_file(&path).map_err(error)?);
        let next = Arc::new(Segment::active(
            self.end_offset,
            Arc::clone(&file),
            0,
            self.end_offset,
            0,
            Vec::new(),
            Vec::new(),
        ));
        if let Err(full) = next.extend(0, 1, config.segment_bytes) {
            // The name would be taken for a segment after a crash; an empty one does no harm.
            let _ = log.home.volume.remove_file(&path);
            return Err(error(full));
        }
        // ORDER: the new file exists before the old one gets its final size, so that an unfinished roll is an empty last segment.
        self.finish_segment(log).map_err(error)?;
        self.write_snapshot(log).map_err(error)?;
        self.segment = next;
        self.file = file;
        self.position = 0;
        self.largest = (-1, -1);
        self.last_time_entry = -1;
        self.index_entries = 0;
        self.time_entries = 0;
        self.bytes_since_entry = 0;
        self.first_timestamp = None;
        self.created_ms = log.home.clock.now_ms();
        self.jitter_ms = jitter_ms(config);
        log.push_segment(Arc::clone(&self.segment));
        log.sync_soon();
        Ok(())
    }

    /// Gives the active segment's file its final size and writes its indexes.
    ///
    /// # Errors
    /// What the system says.
    pub fn finish_segment(&mut self, log: &Log) -> std::io::Result<()> {
        if let Some(entry) = self.next_time_entry() {
            self.segment.add_time_entry(entry);
        }
        self.segment.seal(self.position)?;
        write_indexes(log, &self.segment)
    }

    /// Writes the producers as of the log's end. A crash may tear it; it has a checksum and can be rebuilt.
    ///
    /// # Errors
    /// What the system says.
    pub fn write_snapshot(&self, log: &Log) -> std::io::Result<()> {
        let path = SegmentFile::Snapshot.path(&log.directory(), self.end_offset);
        log.home.volume.write_rebuildable(&path, &snapshot::encode(&self.producers))
    }
}

/// Writes the `.index` and `.timeindex` of a segment whose indexes are in memory.
///
/// # Errors
/// What the system says.
pub(super) fn write_indexes(log: &Log, segment: &Segment) -> std::io::Result<()> {
    let directory = log.directory();
    let volume = &log.home.volume;
    if let Some(bytes) = segment.with_index(super::index::OffsetIndex::encode) {
        volume.write_rebuildable(&SegmentFile::Index.path(&directory, segment.base_offset()), &bytes)?;
    }
    let times = index::encode_times(&segment.times());
    volume.write_rebuildable(&SegmentFile::TimeIndex.path(&directory, segment.base_offset()), &times)
}

/// A random part of `segment.jitter.ms`, at most `segment.ms`.
pub(super) fn jitter_ms(config: &TopicConfig) -> Millis {
    let most = config.segment_jitter_ms.min(config.roll_ms());
    match u64::try_from(most) {
        Ok(most @ 1..) => i64::try_from(random::below(most)).unwrap_or_default(),
        _ => 0,
    }
}

/// `head` and `body` in one piece, if they fit.
fn joined<'a>(whole: &'a mut [u8], head: &[u8], body: &[u8]) -> Option<&'a [u8]> {
    let whole = whole.get_mut(..head.len() + body.len())?;
    let (first, second) = whole.split_at_mut_checked(head.len())?;
    first.copy_from_slice(head);
    second.copy_from_slice(body);
    Some(whole)
}

fn duplicate(log: &Log, stored: Batch, config: &TopicConfig) -> AppendInfo {
    AppendInfo {
        first_offset: offset(stored.first_offset()),
        last_offset: offset(stored.last_offset),
        log_append_time_ms: config.log_append_time.then_some(stored.timestamp),
        log_start_offset: log.log_start_offset(),
        size_bytes: 0,
        duplicate: true,
    }
}

fn relative(offset: i64, segment: &Segment) -> u32 {
    u32::try_from(offset - segment.base_offset()).unwrap_or_default()
}

/// An offset of the log, which is never negative.
pub(super) fn offset(raw: i64) -> Offset {
    Offset::new(raw).unwrap_or_default()
}
