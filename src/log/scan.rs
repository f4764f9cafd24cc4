//! Walking through the batches of a segment file: for recovery, for rebuilding indexes and producer state. Waits for the disk.

use crate::protocol::batch::{self, BatchHeader};
use crate::sys::Map;
use crate::types::LeaderEpoch;

use super::index::{OffsetEntry, TimeEntry};
use super::segment::next_position;

/// Bytes brought into memory at a time.
const STRIDE_BYTES: usize = 4 << 20;

/// What a scan accepts.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScanOptions {
    /// Base offset of the segment, which the first batch must have unless `gaps`.
    pub base_offset: i64,
    /// Batches from this offset on are not known to be synced: their CRC is checked, and a bad one ends the log.
    pub verify_from: i64,
    /// Epoch of the batch before the segment.
    pub epoch: LeaderEpoch,
    /// Whether offsets may be missing: a compacted log.
    pub gaps: bool,
    /// `index.interval.bytes`.
    pub interval_bytes: u32,
}

/// What a scan found.
#[derive(Debug)]
pub(super) struct Scan {
    /// Where the last good batch ends.
    pub position: u32,
    /// The offset after it.
    pub end_offset: i64,
    /// Epoch of the last good batch, or the one given.
    pub epoch: LeaderEpoch,
    /// Largest timestamp, and the last offset of the batch that has it.
    pub largest: (i64, i64),
    pub first_timestamp: Option<i64>,
    pub bytes_since_entry: u32,
    pub index: Vec<OffsetEntry>,
    pub times: Vec<TimeEntry>,
    /// Why it ended before the file did; `None` at zeros or at the file's end.
    pub stopped_by: Option<String>,
}

/// Walks through the file in `map` as long as its batches are good, telling `each` of them.
///
/// # Errors
/// If the disk cannot read.
pub(super) fn scan(
    map: &Map,
    options: ScanOptions,
    mut each: impl FnMut(&BatchHeader),
) -> std::io::Result<Scan> {
    let mut found = Scan {
        position: 0,
        end_offset: options.base_offset,
        epoch: options.epoch,
        largest: (-1, -1),
        first_timestamp: None,
        bytes_since_entry: 0,
        index: Vec::new(),
        times: Vec::new(),
        stopped_by: None,
    };
    let mut present = 0;
    loop {
        let start = found.position as usize;
        let rest = map.len().saturating_sub(start);
        present = bring_in(map, present, start + rest.min(61))?;
        let head = map.get(start..start + rest.min(61)).unwrap_or_default();
        // Zeros are preallocated space: the end (rule S7).
        if head.iter().all(|byte| *byte == 0) {
            return Ok(found);
        }
        let header = match BatchHeader::parse(head) {
            Ok(header) => header,
            Err(error) => return Ok(stopped(found, error.to_string())),
        };
        let Some(whole) = start.checked_add(header.size_bytes()).filter(|end| *end <= map.len()) else {
            return Ok(stopped(found, "the batch is longer than the file".to_owned()));
        };
        if let Err(reason) = continues(&found, &header, options.gaps) {
            return Ok(stopped(found, reason));
        }
        if header.next_offset() > options.verify_from {
            present = bring_in(map, present, whole)?;
            if let Err(error) = batch::verify_crc(map.get(start..whole).unwrap_or_default()) {
                return Ok(stopped(found, error.to_string()));
            }
        }
        found.take(&header, options);
        each(&header);
    }
}

/// The indexes of a segment whose batches are known to be good up to `end_position`.
pub(super) fn index_of(
    map: &Map,
    base_offset: i64,
    end_position: u32,
    interval_bytes: u32,
) -> (Vec<OffsetEntry>, Vec<TimeEntry>) {
    let options = ScanOptions {
        base_offset,
        verify_from: i64::MAX,
        epoch: LeaderEpoch(-1),
        gaps: true,
        interval_bytes,
    };
    debug_assert!(map.len() >= end_position as usize, "the map covers the segment");
    match scan(map, options, |_| {}) {
        Ok(mut found) => {
            found.close_times(base_offset);
            (found.index, found.times)
        }
        Err(error) => {
            tracing::warn!(%error, "a segment cannot be scanned for its index");
            (Vec::new(), Vec::new())
        }
    }
}

impl Scan {
    /// Takes in the next batch, for the indexes and the end.
    pub fn take(&mut self, header: &BatchHeader, options: ScanOptions) {
        let relative = |offset: i64| u32::try_from(offset - options.base_offset).unwrap_or_default();
        if self.first_timestamp.is_none() {
            self.first_timestamp = Some(header.max_timestamp);
        }
        if header.max_timestamp > self.largest.0 {
            self.largest = (header.max_timestamp, header.last_offset());
        }
        if self.bytes_since_entry > options.interval_bytes {
            self.index.push(OffsetEntry {
                relative_offset: relative(header.last_offset()),
                position: self.position,
            });
            self.close_times(options.base_offset);
            self.bytes_since_entry = 0;
        }
        let next = next_position(self.position, header);
        self.bytes_since_entry = self.bytes_since_entry.saturating_add(next - self.position);
        self.position = next;
        self.end_offset = header.next_offset();
        self.epoch = LeaderEpoch(header.partition_leader_epoch);
    }

    /// Adds the time index entry for the largest timestamp so far.
    pub fn close_times(&mut self, base_offset: i64) {
        let (timestamp, offset) = self.largest;
        if timestamp > self.times.last().map_or(-1, |entry| entry.timestamp) {
            let relative_offset = u32::try_from(offset - base_offset).unwrap_or_default();
            self.times.push(TimeEntry { timestamp, relative_offset });
        }
    }
}

fn stopped(mut found: Scan, reason: String) -> Scan {
    found.stopped_by = Some(reason);
    found
}

/// Whether `header` may come after what was found: offsets continue, epochs do not go down (rule S8).
fn continues(found: &Scan, header: &BatchHeader, gaps: bool) -> Result<(), String> {
    let expected = found.end_offset;
    if header.base_offset < expected || (!gaps && header.base_offset != expected) {
        return Err(format!("base offset {} follows end offset {expected}", header.base_offset));
    }
    let epoch = LeaderEpoch(header.partition_leader_epoch);
    if epoch < found.epoch {
        return Err(format!("leader epoch {epoch} follows {}", found.epoch));
    }
    Ok(())
}

/// Brings the bytes up to `needed` into memory, and some more; returns up to where.
pub(super) fn bring_in(map: &Map, present: usize, needed: usize) -> std::io::Result<usize> {
    if needed <= present {
        return Ok(present);
    }
    let end = needed.saturating_add(STRIDE_BYTES).min(map.len());
    map.populate(present..end)?;
    Ok(end)
}
