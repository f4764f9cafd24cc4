//! The sparse indexes of a segment, in Kafka's file formats (`OffsetIndex`, `TimeIndex`).
//!
//! Offset index: 8 bytes an entry, big-endian: last offset of a batch less the segment's base offset, and where that batch begins.
//! Time index: 12 bytes an entry: a timestamp, and the relative offset of the last record of the batch that raised the segment's
//! largest timestamp to it. The active segment keeps both in memory; they are written when it is rolled or closed.

use bytes::Bytes;

use super::be;

/// Bytes of an entry of the offset index.
pub const OFFSET_ENTRY_BYTES: usize = 8;
/// Bytes of an entry of the time index.
pub const TIME_ENTRY_BYTES: usize = 12;

/// One entry of the offset index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OffsetEntry {
    /// Last offset of the batch, less the segment's base offset.
    pub relative_offset: u32,
    /// Where the batch begins.
    pub position: u32,
}

/// One entry of the time index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeEntry {
    /// Largest timestamp of the segment up to here.
    pub timestamp: i64,
    /// Offset of the batch that has it, less the segment's base offset.
    pub relative_offset: u32,
}

/// Offsets to positions: in memory while the segment is written, mapped or in memory after.
#[derive(Debug)]
pub enum OffsetIndex {
    /// Of the active segment, or rebuilt.
    Memory(Vec<OffsetEntry>),
    /// Of a sealed segment: the bytes of its `.index`, checked.
    Mapped(Bytes),
}

impl Default for OffsetIndex {
    fn default() -> Self {
        Self::Memory(Vec::new())
    }
}

impl OffsetIndex {
    /// Number of entries.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Memory(entries) => entries.len(),
            Self::Mapped(bytes) => bytes.len() / OFFSET_ENTRY_BYTES,
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The entry number `at`.
    #[must_use]
    pub fn get(&self, at: usize) -> Option<OffsetEntry> {
        match self {
            Self::Memory(entries) => entries.get(at).copied(),
            Self::Mapped(bytes) => offset_entry(bytes, at),
        }
    }

    /// The last entry with an offset of at most `relative_offset`.
    #[must_use]
    pub fn floor_by_offset(&self, relative_offset: u32) -> Option<OffsetEntry> {
        self.floor(|entry| entry.relative_offset <= relative_offset)
    }

    /// The last entry with a position of at most `position`.
    #[must_use]
    pub fn floor_by_position(&self, position: u32) -> Option<OffsetEntry> {
        self.floor(|entry| entry.position <= position)
    }

    /// The last entry for which `holds`, which must hold for a beginning of the entries.
    fn floor(&self, holds: impl Fn(&OffsetEntry) -> bool) -> Option<OffsetEntry> {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.get(middle).is_some_and(|entry| holds(&entry)) {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low.checked_sub(1).and_then(|at| self.get(at))
    }

    /// The bytes of the `.index` file.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Memory(entries) => entries
                .iter()
                .flat_map(|entry| {
                    let mut bytes = [0; OFFSET_ENTRY_BYTES];
                    bytes[..4].copy_from_slice(&entry.relative_offset.to_be_bytes());
                    bytes[4..].copy_from_slice(&entry.position.to_be_bytes());
                    bytes
                })
                .collect(),
            Self::Mapped(bytes) => bytes.to_vec(),
        }
    }

    /// Entries from the bytes of an `.index`, or `None` if they cannot be those of a segment that ends at `end_position` and
    /// `end_relative_offset`: both columns grow and stay below the end.
    #[must_use]
    pub fn decode(bytes: &[u8], end_position: u32, end_relative_offset: u32) -> Option<Vec<OffsetEntry>> {
        if !bytes.len().is_multiple_of(OFFSET_ENTRY_BYTES) {
            return None;
        }
        let mut entries = Vec::with_capacity(bytes.len() / OFFSET_ENTRY_BYTES);
        for at in 0..bytes.len() / OFFSET_ENTRY_BYTES {
            let entry = offset_entry(bytes, at)?;
            let grows = entries.last().is_none_or(|last: &OffsetEntry| {
                last.relative_offset < entry.relative_offset && last.position < entry.position
            });
            if !grows || entry.position >= end_position || entry.relative_offset >= end_relative_offset {
                return None;
            }
            entries.push(entry);
        }
        Some(entries)
    }
}

fn offset_entry(bytes: &[u8], at: usize) -> Option<OffsetEntry> {
    let at = at * OFFSET_ENTRY_BYTES;
    Some(OffsetEntry { relative_offset: be::u32(bytes, at)?, position: be::u32(bytes, at + 4)? })
}

/// The bytes of the `.timeindex` file.
#[must_use]
pub fn encode_times(entries: &[TimeEntry]) -> Vec<u8> {
    entries
        .iter()
        .flat_map(|entry| {
            let mut bytes = [0; TIME_ENTRY_BYTES];
            bytes[..8].copy_from_slice(&entry.timestamp.to_be_bytes());
            bytes[8..].copy_from_slice(&entry.relative_offset.to_be_bytes());
            bytes
        })
        .collect()
}

/// Entries from the bytes of a `.timeindex`, or `None` if they cannot be those of a segment that ends at `end_relative_offset`.
#[must_use]
pub fn decode_times(bytes: &[u8], end_relative_offset: u32) -> Option<Vec<TimeEntry>> {
    if !bytes.len().is_multiple_of(TIME_ENTRY_BYTES) {
        return None;
    }
    let mut entries: Vec<TimeEntry> = Vec::with_capacity(bytes.len() / TIME_ENTRY_BYTES);
    for at in (0..bytes.len()).step_by(TIME_ENTRY_BYTES) {
        let entry = TimeEntry { timestamp: be::i64(bytes, at)?, relative_offset: be::u32(bytes, at + 8)? };
        let grows = entries.last().is_none_or(|last| {
            last.timestamp < entry.timestamp && last.relative_offset <= entry.relative_offset
        });
        if !grows || entry.relative_offset >= end_relative_offset {
            return None;
        }
        entries.push(entry);
    }
    Some(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries() -> Vec<OffsetEntry> {
        (1..=100).map(|i| OffsetEntry { relative_offset: i * 10, position: i * 4096 }).collect()
    }

    #[test]
    fn a_floor_is_the_last_entry_not_above() {
        let memory = OffsetIndex::Memory(entries());
        let mapped = OffsetIndex::Mapped(memory.encode().into());
        for index in [memory, mapped] {
            assert_eq!(index.floor_by_offset(9), None);
            assert_eq!(index.floor_by_offset(10).unwrap().position, 4096);
            assert_eq!(index.floor_by_offset(19).unwrap().position, 4096);
            assert_eq!(index.floor_by_offset(u32::MAX).unwrap().position, 409_600);
            assert_eq!(index.floor_by_position(4095), None);
            assert_eq!(index.floor_by_position(8192).unwrap().relative_offset, 20);
        }
    }

    #[test]
    fn an_index_that_cannot_be_its_segments_is_refused() {
        let bytes = OffsetIndex::Memory(entries()).encode();
        assert_eq!(OffsetIndex::decode(&bytes, 409_601, 1001).unwrap(), entries());
        assert_eq!(OffsetIndex::decode(&bytes, 409_600, 1001), None, "position at the end");
        assert_eq!(OffsetIndex::decode(&bytes, 409_601, 1000), None, "offset at the end");
        assert_eq!(OffsetIndex::decode(&bytes[..bytes.len() - 1], 409_601, 1001), None, "torn");
        let mut garbled = bytes;
        garbled[80] = 0x7f;
        assert_eq!(OffsetIndex::decode(&garbled, 409_601, 1001), None, "not growing");
    }

    #[test]
    fn time_entries_grow_in_time() {
        let entries =
            [TimeEntry { timestamp: 5, relative_offset: 0 }, TimeEntry { timestamp: 9, relative_offset: 3 }];
        let bytes = encode_times(&entries);
        assert_eq!(bytes.len(), 24);
        assert_eq!(decode_times(&bytes, 4).unwrap(), entries);
        assert_eq!(decode_times(&bytes, 3), None);
        assert_eq!(decode_times(&encode_times(&[entries[1], entries[0]]), 9), None);
    }
}
