//! The entries of `.index` and `.timeindex` files (`org.apache.kafka.storage.internals.log.OffsetIndex`, `TimeIndex`).

use std::io;
use std::path::Path;

use bytes::Buf as _;

use crate::sys::read;

/// Kafka's largest index file is 10 MiB by default; what is larger than this is not read to its end.
const INDEX_BYTES_MAX: u64 = 1 << 30;
/// Relative offset and position.
const OFFSET_ENTRY_BYTES: usize = 8;
/// Timestamp and relative offset.
const TIME_ENTRY_BYTES: usize = 12;

/// An entry of an `.index`: the batch at `position` holds `offset`, or a later batch does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetEntry {
    /// An offset.
    pub offset: i64,
    /// A place in the segment file, in bytes.
    pub position: u64,
}

/// An entry of a `.timeindex`: no record up to `offset` is younger than `timestamp`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeEntry {
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// An offset.
    pub offset: i64,
}

/// Reads an `.index`. Entries of zeros after the first are preallocated space.
///
/// # Errors
/// Those of reading the file.
pub fn offsets(path: &Path, base_offset: i64) -> io::Result<Vec<OffsetEntry>> {
    let bytes = read::small(path, INDEX_BYTES_MAX)?;
    let mut entries = Vec::new();
    for mut entry in bytes.chunks_exact(OFFSET_ENTRY_BYTES) {
        if is_unused(entry) {
            break;
        }
        let relative = i64::from(entry.get_u32());
        entries.push(OffsetEntry { offset: base_offset + relative, position: u64::from(entry.get_u32()) });
    }
    Ok(entries)
}

/// Reads a `.timeindex`.
///
/// # Errors
/// Those of reading the file.
pub fn times(path: &Path, base_offset: i64) -> io::Result<Vec<TimeEntry>> {
    let bytes = read::small(path, INDEX_BYTES_MAX)?;
    let mut entries = Vec::new();
    for mut entry in bytes.chunks_exact(TIME_ENTRY_BYTES) {
        if is_unused(entry) {
            break;
        }
        let timestamp = entry.get_i64();
        entries.push(TimeEntry { timestamp, offset: base_offset + i64::from(entry.get_u32()) });
    }
    Ok(entries)
}

/// An index file is preallocated with zeros. An entry that is truly zeros (first offset, first byte) says nothing anyway.
fn is_unused(entry: &[u8]) -> bool {
    entry.iter().all(|byte| *byte == 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_up_to_the_preallocated_zeros() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("00000000000000000100.index");
        let mut bytes = [5_u32.to_be_bytes(), 4096_u32.to_be_bytes()].concat();
        bytes.extend([0; 80]);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(offsets(&path, 100).unwrap(), [OffsetEntry { offset: 105, position: 4096 }]);
        let mut bytes = [&1000_i64.to_be_bytes()[..], &7_u32.to_be_bytes()[..]].concat();
        bytes.extend([0; 24]);
        std::fs::write(&path, &bytes).unwrap();
        assert_eq!(times(&path, 100).unwrap(), [TimeEntry { timestamp: 1000, offset: 107 }]);
    }
}
