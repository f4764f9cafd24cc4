//! From the records of a turn to batches, and back.

use std::collections::VecDeque;

use bytes::Bytes;

use super::log::LogRefused;
use crate::coordinator::group::records::Record;
use crate::protocol::batch::{self, BatchHeader};
use crate::protocol::compression::{self, Codec};
use crate::protocol::records::{self, BatchBuilder, NewRecord};
use crate::types::Millis;

/// What a record takes beside its key and value, at most: lengths, deltas, attributes.
const RECORD_OVERHEAD_BYTES: usize = 40;
/// What a batch takes beside its records, and then some.
const BATCH_OVERHEAD_BYTES: usize = 128;
/// A batch that decompresses to more is counted as broken.
const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;

/// The batches of one turn: one, so that the turn is atomic in the log; more only where they would not fit into a segment.
///
/// # Errors
/// [`LogRefused::TooLarge`] if one record alone is larger than `max_bytes`.
pub(super) fn encode(
    records: &[Record],
    wall_ms: Millis,
    codec: Codec,
    max_bytes: usize,
) -> Result<VecDeque<Bytes>, LogRefused> {
    let mut batches = VecDeque::new();
    if records.is_empty() {
        return Ok(batches);
    }
    let mut builder = BatchBuilder::new().codec(codec, None);
    for record in records {
        let (key, value) = record.encode();
        let size = RECORD_OVERHEAD_BYTES + key.len() + value.as_ref().map_or(0, Bytes::len);
        let too_large = LogRefused::TooLarge { size_bytes: size, max_bytes };
        if size + BATCH_OVERHEAD_BYTES > max_bytes {
            return Err(too_large);
        }
        if builder.record_count() > 0 && builder.size_bytes() + size + BATCH_OVERHEAD_BYTES > max_bytes {
            let full = std::mem::replace(&mut builder, BatchBuilder::new().codec(codec, None));
            batches.push_back(full.build());
        }
        let record = NewRecord { timestamp: wall_ms, key: Some(&key), value: value.as_deref(), headers: &[] };
        builder.push(record).map_err(|_| too_large)?;
    }
    batches.push_back(builder.build());
    Ok(batches)
}

/// What a replay found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Replayed {
    /// Records that were taken over.
    pub records: u64,
    /// Records of kinds or versions that this broker does not know.
    pub unknown: u64,
    /// Records and batches that cannot be read.
    pub broken: u64,
}

/// Gives every record of `chunk`, whole batches, to `take`. Returns the offset after the last batch, `None` if there is none.
/// Batches of control records are skipped, broken ones are counted.
pub(super) fn decode(chunk: &Bytes, replayed: &mut Replayed, mut take: impl FnMut(Record)) -> Option<i64> {
    let mut next = None;
    for item in batch::split(chunk) {
        let Ok((header, bytes)) = item else {
            replayed.broken += 1;
            break;
        };
        next = Some(header.next_offset());
        if header.is_control() {
            continue;
        }
        if batch::verify_crc(&bytes).is_err() || !decode_batch(&header, &bytes, replayed, &mut take) {
            replayed.broken += 1;
        }
    }
    next
}

/// Whether the batch could be read to its end.
fn decode_batch(
    header: &BatchHeader,
    bytes: &Bytes,
    replayed: &mut Replayed,
    take: &mut impl FnMut(Record),
) -> bool {
    let body = bytes.get(batch::BATCH_HEADER_BYTES..).unwrap_or_default();
    let plain =
        header.codec().and_then(|codec| compression::decompress(codec, body, DECOMPRESSED_BYTES_MAX).ok());
    let Some(plain) = plain else { return false };
    for record in records::walk(&plain, header.record_count) {
        let Ok(record) = record else { return false };
        let Some(key) = record.key else {
            replayed.broken += 1;
            continue;
        };
        match Record::decode(key, record.value) {
            Ok(Some(record)) => {
                replayed.records += 1;
                take(record);
            }
            Ok(None) => replayed.unknown += 1,
            Err(_) => replayed.broken += 1,
        }
    }
    true
}
