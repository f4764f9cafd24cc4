//! Producer snapshots: Kafka's file `<offset>.snapshot` (`ProducerStateManager`, schema `ProducerSnapshot` version 1).
//!
//! Big-endian: version i16 = 1, CRC-32C u32 of all that follows, count i32, and per producer: id i64, epoch i16, last sequence i32,
//! last offset i64, offset delta i32, timestamp i64, coordinator epoch i32, first offset of the open transaction i64. Kafka keeps
//! only the last batch of each producer there; the other four come back from the log if it is replayed.

use super::be;
use super::producers::{Batch, ProducerState, Producers};

const VERSION: i16 = 1;
/// Where the part begins that the CRC covers.
const CRC_FROM: usize = 6;
const HEADER_BYTES: usize = 10;
const ENTRY_BYTES: usize = 46;

/// The bytes of a snapshot. Producers are sorted, so that equal states give equal files.
#[must_use]
pub fn encode(producers: &Producers) -> Vec<u8> {
    let mut entries: Vec<_> = producers.iter().collect();
    entries.sort_unstable_by_key(|(id, _)| *id);
    let mut bytes = Vec::with_capacity(HEADER_BYTES + entries.len() * ENTRY_BYTES);
    bytes.extend(VERSION.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(i32::try_from(entries.len()).unwrap_or(i32::MAX).to_be_bytes());
    for (id, state) in entries {
        let last = state.batches().last();
        bytes.extend(id.to_be_bytes());
        bytes.extend(state.epoch.to_be_bytes());
        bytes.extend(last.map_or(-1, |batch| batch.last_sequence).to_be_bytes());
        bytes.extend(last.map_or(-1, |batch| batch.last_offset).to_be_bytes());
        bytes.extend(last.map_or(0, |batch| batch.offset_delta).to_be_bytes());
        // Kafka expires producers by this time: the later one of the two keeps it from doing so too early, as it keeps us.
        bytes.extend(state.last_timestamp.max(state.seen_ms).to_be_bytes());
        bytes.extend(state.coordinator_epoch.to_be_bytes());
        bytes.extend(state.transaction_start.unwrap_or(-1).to_be_bytes());
    }
    let crc = crc32c::crc32c(bytes.get(CRC_FROM..).unwrap_or_default());
    if let Some(place) = bytes.get_mut(2..CRC_FROM) {
        place.copy_from_slice(&crc.to_be_bytes());
    }
    bytes
}

/// Reads a snapshot; `None` if it is damaged or of another version: then it counts as absent (rule T10).
#[must_use]
pub fn decode(bytes: &[u8]) -> Option<Producers> {
    if be::i16(bytes, 0)? != VERSION || be::u32(bytes, 2)? != crc32c::crc32c(bytes.get(CRC_FROM..)?) {
        return None;
    }
    let count = usize::try_from(be::i32(bytes, CRC_FROM)?).ok()?;
    let entries = bytes.get(HEADER_BYTES..)?;
    if entries.len() < count.checked_mul(ENTRY_BYTES)? {
        return None;
    }
    let mut producers = Producers::default();
    for entry in entries.chunks_exact(ENTRY_BYTES).take(count) {
        let last_offset = be::i64(entry, 14)?;
        let last = (last_offset >= 0).then_some(Batch {
            last_sequence: be::i32(entry, 10)?,
            last_offset,
            offset_delta: be::i32(entry, 22)?,
            timestamp: be::i64(entry, 26)?,
        });
        let mut state =
            ProducerState::new(be::i16(entry, 8)?, be::i32(entry, 34)?, be::i64(entry, 26)?, last);
        let transaction_start = be::i64(entry, 38)?;
        state.transaction_start = (transaction_start >= 0).then_some(transaction_start);
        producers.insert(be::i64(entry, 0)?, state);
    }
    Some(producers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn producers() -> Producers {
        let mut producers = Producers::default();
        let batch = Batch { last_sequence: 11, last_offset: 99, offset_delta: 2, timestamp: 1234 };
        producers.insert(5, ProducerState::new(2, -1, 1234, Some(batch)));
        producers.insert(4, ProducerState::new(0, 3, 77, None));
        producers
    }

    #[test]
    fn a_snapshot_has_kafkas_layout() {
        let bytes = encode(&producers());
        assert_eq!(bytes.len(), HEADER_BYTES + 2 * ENTRY_BYTES);
        assert_eq!(bytes[..2], [0, 1]);
        assert_eq!(bytes[6..10], [0, 0, 0, 2]);
        assert_eq!(bytes[10..18], [0, 0, 0, 0, 0, 0, 0, 4]);
        let back = decode(&bytes).unwrap();
        assert_eq!(back.describe(), producers().describe());
        assert_eq!(encode(&back), bytes);
    }

    #[test]
    fn a_damaged_snapshot_counts_as_absent() {
        let bytes = encode(&producers());
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(decode(&damaged).is_none(), "byte {at}");
            assert!(decode(&bytes[..at]).is_none(), "cut at {at}");
        }
    }
}
