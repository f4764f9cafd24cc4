//! Opening a log's files: creating them, trusting them after a clean stop, recovering them after any other (rules S7, S9, B3).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::sys::DataFile;
use crate::types::{LeaderEpoch, Offset};

use super::checkpoint;
use super::clean::swap;
use super::epochs::Epochs;
use super::error::Unusable;
use super::handle::Log;
use super::index::{self, OffsetIndex};
use super::names::{DELETED_SUFFIX, LEADER_EPOCH_CHECKPOINT, PARTITION_METADATA, SegmentFile};
use super::offsets::Kind;
use super::producers::Producers;
use super::scan::{Scan, ScanOptions, scan};
use super::segment::Segment;
use super::slot::Closed;
use super::snapshot;
use super::storage::lock;
use super::writer::{Writer, jitter_ms, offset};

/// Ends of names of files that an interrupted operation left behind.
const LEFT_BEHIND: [&str; 4] = [DELETED_SUFFIX, ".cleaned", ".swap", ".tmp"];

/// Opens the files of a closed log and publishes its segments. Waits for the disk.
///
/// # Errors
/// [`Unusable::Corrupt`] if synced bytes are not what they were: the files stay as they are. Else what the system says.
pub(super) fn open(log: &Arc<Log>, closed: &Closed) -> Result<Writer, Unusable> {
    if !matches!(closed, Closed::New) {
        swap::settle(log).map_err(|error| io(log, error))?;
    }
    let opened = match closed {
        Closed::New => create(log, 0),
        Closed::Clean { active_base, active_position } => {
            match open_clean(log, *active_base, *active_position) {
                Ok(Some(opened)) => Ok(opened),
                Ok(None) => {
                    tracing::warn!(partition = %log.partition(), "files are not as they were left; recovering");
                    recover(log)
                }
                Err(error) => Err(io(log, error)),
            }
        }
        Closed::Unclean => recover(log),
    }?;
    let Opened { writer, mut segments } = opened;
    segments.push(Arc::clone(&writer.segment));
    let size = segments.iter().map(|segment| u64::from(segment.size_bytes())).sum();
    log.size_bytes.store(size, Ordering::Relaxed);
    log.set_segments(Some(segments));
    Ok(writer)
}

struct Opened {
    writer: Writer,
    /// All but the active one.
    segments: Vec<Arc<Segment>>,
}

/// An empty log that begins at `base_offset`.
fn create(log: &Arc<Log>, base_offset: i64) -> Result<Opened, Unusable> {
    let directory = log.directory();
    let volume = &log.home.volume;
    volume.create_directory(&directory).map_err(|error| io(log, error))?;
    log.home.root_dirty.store(true, Ordering::Release);
    let metadata = checkpoint::encode_partition_metadata(log.topic_id());
    volume
        .write_rebuildable(&format!("{directory}/{PARTITION_METADATA}"), metadata.as_bytes())
        .map_err(|error| io(log, error))?;
    let writer = create_segment(log, base_offset)?;
    log.set_offsets(base_offset, base_offset, base_offset);
    Ok(Opened { writer, segments: Vec::new() })
}

/// The writer of a log whose active segment is new and empty.
pub(super) fn create_segment(log: &Arc<Log>, base_offset: i64) -> Result<Writer, Unusable> {
    let path = SegmentFile::Log.path(&log.directory(), base_offset);
    let file = log.home.volume.create_file(&path).map_err(|error| io(log, error))?;
    log.directory_dirty.store(true, Ordering::Release);
    Ok(writer_after(log, Arc::new(file), base_offset, empty_scan(base_offset), 0, Producers::default()))
}

/// What a scan of an empty segment finds.
pub(super) fn empty_scan(base_offset: i64) -> Scan {
    Scan {
        position: 0,
        end_offset: base_offset,
        epoch: LeaderEpoch(-1),
        largest: (-1, -1),
        first_timestamp: None,
        bytes_since_entry: 0,
        index: Vec::new(),
        times: Vec::new(),
        stopped_by: None,
    }
}

/// A writer that goes on after what `found` says of the active segment.
pub(super) fn writer_after(
    log: &Arc<Log>,
    file: Arc<DataFile>,
    base_offset: i64,
    found: Scan,
    allocated: u32,
    producers: Producers,
) -> Writer {
    let config = log.config();
    let last_time_entry = found.times.last().map_or(-1, |entry| entry.timestamp);
    let index_entries = u32::try_from(found.index.len()).unwrap_or(u32::MAX);
    let time_entries = u32::try_from(found.times.len()).unwrap_or(u32::MAX);
    let segment = Arc::new(Segment::active(
        base_offset,
        Arc::clone(&file),
        found.position,
        found.end_offset,
        allocated.max(found.position),
        found.index,
        found.times,
    ));
    segment.set_largest_timestamp(found.largest.0);
    Writer {
        segment,
        file,
        position: found.position,
        end_offset: found.end_offset,
        producers,
        bytes_since_entry: found.bytes_since_entry,
        largest: found.largest,
        last_time_entry,
        index_entries,
        time_entries,
        first_timestamp: found.first_timestamp,
        created_ms: log.home.clock.now_ms(),
        jitter_ms: jitter_ms(&config),
        unflushed_records: 0,
    }
}

/// Opens a log that was closed in order. `None` if its files are not as they were left.
fn open_clean(log: &Arc<Log>, active_base: i64, position: u32) -> std::io::Result<Option<Opened>> {
    let directory = log.directory();
    let volume = &log.home.volume;
    let Some(listing) = Listing::read(log)? else { return Ok(None) };
    if listing.bases.last() != Some(&active_base) {
        return Ok(None);
    }
    let file = volume.open_file(&SegmentFile::Log.path(&directory, active_base))?;
    let size = file.size()?;
    let end_offset = log.log_end_offset().get();
    if size < u64::from(position) {
        return Ok(None);
    }
    let map = file.map(position as usize)?;
    let first =
        crate::protocol::batch::BatchHeader::parse(map.get(0..position.min(61) as usize).unwrap_or_default());
    if position > 0 && first.as_ref().map_or(true, |header| header.base_offset < active_base) {
        return Ok(None);
    }
    let relative_end = u32::try_from(end_offset - active_base).unwrap_or(u32::MAX);
    let read = |kind: SegmentFile| volume.read(&kind.path(&directory, active_base));
    let interval = log.config_ref().index_interval_bytes;
    let offsets = OffsetIndex::decode(&read(SegmentFile::Index)?.unwrap_or_default(), position, relative_end)
        .filter(|entries| !entries.is_empty() || u64::from(position) <= u64::from(interval) * 2);
    let times = index::decode_times(&read(SegmentFile::TimeIndex)?.unwrap_or_default(), relative_end)
        .filter(|entries| !entries.is_empty() || position == 0);
    let (offsets, times) = match (offsets, times) {
        (Some(offsets), Some(times)) => (offsets, times),
        _ => {
            let rebuilt = super::scan::index_of(&map, active_base, position, interval);
            // Few large batches need no entries: then nothing was lost.
            if !rebuilt.0.is_empty() {
                tracing::info!(partition = %log.partition(), segment = active_base, "the index of a segment is rebuilt");
            }
            rebuilt
        }
    };
    let mut found = empty_scan(active_base);
    found.position = position;
    found.end_offset = end_offset;
    found.first_timestamp = first.ok().map(|header| header.max_timestamp);
    found.bytes_since_entry = position - offsets.last().map_or(0, |entry| entry.position);
    found.largest = times
        .last()
        .map_or((-1, -1), |entry| (entry.timestamp, active_base + i64::from(entry.relative_offset)));
    found.index = offsets;
    found.times = times;
    let segments = listing.sealed_segments(log, active_base)?;
    let file = Arc::new(file);
    let allocated = u32::try_from(size).unwrap_or(u32::MAX);
    let mut writer = writer_after(log, file, active_base, found, allocated, Producers::default());
    writer.producers = load_producers(log, &listing, &segments, &writer)?;
    Ok(Some(Opened { writer, segments }))
}

/// Brings a log back after a stop that was not in order: everything up to the first bad batch after the recovery point.
fn recover(log: &Arc<Log>) -> Result<Opened, Unusable> {
    let Some(mut listing) = Listing::read(log).map_err(|error| io(log, error))? else {
        return create(log, log.log_start_offset().get());
    };
    for name in &listing.left_behind {
        log.home
            .volume
            .remove_file(&format!("{}/{name}", log.directory()))
            .map_err(|error| io(log, error))?;
    }
    let start = log.log_start_offset().get();
    if listing.bases.is_empty() {
        forget_epochs(log).map_err(|error| io(log, error))?;
        log.limit_checkpoints(start)?;
        return create(log, start);
    }
    let recovered = recover_segments(log, &mut listing)?;
    let end = recovered.writer.end_offset;
    if start > end {
        // All that is left was deleted before: the log goes on, empty, where it began.
        tracing::warn!(partition = %log.partition(), start, end, "the log ends before its start offset; beginning anew there");
        for base in &listing.bases {
            remove_segment(log, *base).map_err(|error| io(log, error))?;
        }
        remove_snapshots(log).map_err(|error| io(log, error))?;
        forget_epochs(log).map_err(|error| io(log, error))?;
        log.change_epochs(Epochs::clear);
        return create(log, start);
    }
    let first_base =
        recovered.segments.first().map_or(recovered.writer.segment.base_offset(), |s| s.base_offset());
    let start = start.max(first_base);
    log.change_epochs(|epochs| {
        let cut = epochs.truncate_from_end(end);
        epochs.truncate_from_start(start) || cut
    });
    let recovery_point = log.recovery_point().get().min(end);
    if log.high_watermark().get() > end {
        // Other records may come there, and another crash: they are not committed for that.
        log.limit_checkpoints(end)?;
    }
    log.set_offsets(start, end, recovery_point);
    log.directory_dirty.store(true, Ordering::Release);
    let Opened { mut writer, segments } = recovered;
    writer.producers = load_producers(log, &listing, &segments, &writer).map_err(|error| io(log, error))?;
    tracing::debug!(partition = %log.partition(), start, end, recovery_point, "log recovered");
    Ok(Opened { writer, segments })
}

fn recover_segments(log: &Arc<Log>, listing: &mut Listing) -> Result<Opened, Unusable> {
    let directory = log.directory();
    let volume = &log.home.volume;
    let recovery_point = log.recovery_point().get();
    let config = log.config();
    let epochs = volume
        .read(&format!("{directory}/{LEADER_EPOCH_CHECKPOINT}"))
        .map_err(|error| io(log, error))?
        .and_then(|bytes| checkpoint::decode_epochs(&bytes));
    // Without the checkpoint the epochs come back from the batches, all of them.
    let first = match &epochs {
        Some(_) => listing.bases.partition_point(|base| *base < recovery_point).saturating_sub(1),
        None => 0,
    };
    let mut epochs = Epochs::new(epochs.unwrap_or_default());
    let mut segments = listing.sealed_before(log, first).map_err(|error| io(log, error))?;
    // A log that was cleaned has gaps, whatever its policy is now.
    let gaps =
        config.cleanup_compact || lock(&log.home.checkpoints).find(Kind::Cleaner, log.partition()).is_some();
    let mut epoch = LeaderEpoch(-1);
    let bases = listing.bases.clone();
    for (at, base) in bases.iter().copied().enumerate().skip(first) {
        let path = SegmentFile::Log.path(&directory, base);
        let file = volume.open_file(&path).map_err(|error| io(log, error))?;
        let size = file.size().map_err(|error| io(log, error))?;
        let length = usize::try_from(size).unwrap_or(usize::MAX).min(u32::MAX as usize);
        let map = file.map(length).map_err(|error| io(log, error))?;
        let options = ScanOptions {
            base_offset: base,
            verify_from: recovery_point,
            epoch,
            gaps,
            interval_bytes: config.index_interval_bytes,
        };
        let mut found = scan(&map, options, |header| {
            epochs.assign(header.partition_leader_epoch, header.base_offset);
        })
        .map_err(|error| io(log, error))?;
        drop(map);
        epoch = found.epoch;
        let next_base = bases.get(at + 1).copied();
        let continues = next_base.is_some_and(|next| {
            found.stopped_by.is_none() && (found.end_offset == next || (gaps && found.end_offset < next))
        });
        if !continues && found.end_offset < recovery_point {
            let reason = found.stopped_by.unwrap_or_else(|| "synced batches are missing".to_owned());
            return Err(Unusable::Corrupt {
                segment: offset(base),
                position: found.position,
                reason: reason.into(),
            });
        }
        if size != u64::from(found.position) {
            if let Some(reason) = &found.stopped_by {
                tracing::warn!(partition = %log.partition(), segment = base, position = found.position, bytes = size - u64::from(found.position), reason, "torn end of the log is cut");
            }
            file.set_size(u64::from(found.position)).map_err(|error| io(log, error))?;
        }
        if let (true, Some(next)) = (continues, next_base) {
            found.close_times(base);
            write_found_indexes(log, base, &found).map_err(|error| io(log, error))?;
            let segment = Segment::sealed(base, found.position, next);
            segment.set_largest_timestamp(found.largest.0);
            segments.push(Arc::new(segment));
            continue;
        }
        for later in bases.iter().skip(at + 1) {
            tracing::warn!(partition = %log.partition(), segment = later, "segment after the torn end is removed");
            remove_segment(log, *later).map_err(|error| io(log, error))?;
        }
        listing.bases.truncate(at + 1);
        log.change_epochs(|known| {
            *known = epochs;
            true
        });
        let allocated = found.position;
        let writer = writer_after(log, Arc::new(file), base, found, allocated, Producers::default());
        return Ok(Opened { writer, segments });
    }
    Err(Unusable::Closed)
}

fn write_found_indexes(log: &Log, base: i64, found: &Scan) -> std::io::Result<()> {
    let directory = log.directory();
    let offsets = OffsetIndex::Memory(found.index.clone()).encode();
    log.home.volume.write_rebuildable(&SegmentFile::Index.path(&directory, base), &offsets)?;
    let times = index::encode_times(&found.times);
    log.home.volume.write_rebuildable(&SegmentFile::TimeIndex.path(&directory, base), &times)
}

/// Renames the files of a segment and has them removed later (rule S10). Those that are not there are skipped.
///
/// # Errors
/// What the system says.
pub(super) fn remove_segment(log: &Log, base: i64) -> std::io::Result<()> {
    remove_files(log, base, &SegmentFile::ALL)
}

/// As [`remove_segment`], of these kinds only.
///
/// # Errors
/// What the system says.
pub(super) fn remove_files(log: &Log, base: i64, kinds: &[SegmentFile]) -> std::io::Result<()> {
    let directory = log.directory();
    let mut files = Vec::new();
    for kind in kinds {
        let path = kind.path(&directory, base);
        let deleted = format!("{path}{DELETED_SUFFIX}");
        match log.home.volume.rename(&path, &deleted) {
            Ok(()) => files.push(deleted),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    log.directory_dirty.store(true, Ordering::Release);
    log.home.bury(files, None, log.config_ref().file_delete_delay_ms);
    Ok(())
}

/// Has it on the disk that the log knows no epochs: its segments are gone, or will tell them.
///
/// # Errors
/// What the system says.
pub(super) fn forget_epochs(log: &Log) -> std::io::Result<()> {
    let path = format!("{}/{LEADER_EPOCH_CHECKPOINT}", log.directory());
    log.epochs_dirty.store(true, Ordering::Release);
    log.home.volume.write_atomically(&path, checkpoint::encode_epochs(&[]).as_bytes())
}

/// Removes all producer snapshots: the log forgets everything and begins anew.
///
/// # Errors
/// What the system says.
pub(super) fn remove_snapshots(log: &Log) -> std::io::Result<()> {
    for at in Listing::read(log)?.unwrap_or_default().snapshots {
        log.home.volume.remove_file(&SegmentFile::Snapshot.path(&log.directory(), at))?;
    }
    Ok(())
}

/// The producers at the writer's end: the newest snapshot that is sound, and the batches after it (rule T10). Snapshots that have no
/// use any more are removed.
///
/// # Errors
/// What the system says.
pub(super) fn load_producers(
    log: &Arc<Log>,
    listing: &Listing,
    segments: &[Arc<Segment>],
    writer: &Writer,
) -> std::io::Result<Producers> {
    let directory = log.directory();
    let volume = &log.home.volume;
    let end = writer.end_offset;
    let mut loaded = None;
    for at in listing.snapshots.iter().copied().rev() {
        let path = SegmentFile::Snapshot.path(&directory, at);
        if loaded.is_none() && at <= end {
            loaded = volume.read(&path)?.and_then(|bytes| snapshot::decode(&bytes)).map(|state| (at, state));
            if loaded.is_some() {
                continue;
            }
        }
        if at > end || loaded.is_none() || listing.bases.binary_search(&at).is_err() {
            volume.remove_file(&path)?;
        }
    }
    let (from, mut producers) = loaded.unwrap_or((0, Producers::default()));
    if from >= end {
        return Ok(producers);
    }
    let now = log.home.clock.now_ms();
    for segment in segments.iter().chain([&writer.segment]).filter(|segment| segment.end_offset() > from) {
        let base = segment.base_offset();
        let file = volume.open_file(&SegmentFile::Log.path(&directory, base))?;
        let map = file.map(segment.size_bytes() as usize)?;
        let options = ScanOptions {
            base_offset: base,
            verify_from: i64::MAX,
            epoch: LeaderEpoch(-1),
            gaps: true,
            interval_bytes: u32::MAX,
        };
        scan(&map, options, |header| {
            if header.base_offset >= from {
                producers.record(header, now);
            }
        })?;
    }
    producers.expire(now.saturating_sub(log.home.options.producer_id_expiration_ms));
    Ok(producers)
}

/// The files of a partition's directory.
#[derive(Debug, Default)]
pub(super) struct Listing {
    /// Base offsets of the segments, ascending.
    pub bases: Vec<i64>,
    /// Offsets of the producer snapshots, ascending.
    pub snapshots: Vec<i64>,
    left_behind: Vec<String>,
}

impl Listing {
    /// `None` if there is no such directory.
    ///
    /// # Errors
    /// What the system says.
    pub fn read(log: &Log) -> std::io::Result<Option<Self>> {
        let Some(entries) = log.home.volume.list(&log.directory())? else { return Ok(None) };
        let mut listing = Self::default();
        for entry in entries {
            if let Some(base) = SegmentFile::Log.base_offset(&entry.name) {
                listing.bases.push(base);
            } else if let Some(at) = SegmentFile::Snapshot.base_offset(&entry.name) {
                listing.snapshots.push(at);
            } else if LEFT_BEHIND.iter().any(|suffix| entry.name.ends_with(suffix)) {
                listing.left_behind.push(entry.name);
            }
        }
        listing.bases.sort_unstable();
        listing.snapshots.sort_unstable();
        Ok(Some(listing))
    }

    /// The segments before the one at `active_base`, closed.
    fn sealed_segments(&self, log: &Log, active_base: i64) -> std::io::Result<Vec<Arc<Segment>>> {
        let count = self.bases.partition_point(|base| *base < active_base);
        self.sealed_before(log, count)
    }

    /// The first `count` segments, closed. Each ends where the next begins.
    fn sealed_before(&self, log: &Log, count: usize) -> std::io::Result<Vec<Arc<Segment>>> {
        let directory = log.directory();
        let ends = self.bases.iter().skip(1);
        let mut segments = Vec::with_capacity(count + 1);
        for (base, end) in self.bases.iter().zip(ends).take(count) {
            let size =
                log.home.volume.file_size(&SegmentFile::Log.path(&directory, *base))?.unwrap_or_default();
            let position = u32::try_from(size).unwrap_or(u32::MAX);
            segments.push(Arc::new(Segment::sealed(*base, position, *end)));
        }
        Ok(segments)
    }
}

fn io(log: &Log, error: std::io::Error) -> Unusable {
    log.home.write_error("open of a log", error)
}

/// The offset of a log's first segment.
pub(super) fn first_offset(segments: &[Arc<Segment>]) -> Offset {
    segments.first().map_or(Offset::ZERO, |segment| offset(segment.base_offset()))
}
