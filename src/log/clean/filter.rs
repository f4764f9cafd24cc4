//! What a cleaning keeps of one batch, and the bytes of what is kept (Kafka's `Cleaner`, `MemoryRecords.filterTo`).
//!
//! Pure: bytes in, bytes out. Offsets never change; a batch keeps its base and last offset, so that sequences stay what they were.

use std::collections::HashMap;

use crate::log::validate::DECOMPRESSED_BYTES_MAX;
use crate::protocol::batch::{self, BATCH_HEADER_BYTES, BatchHeader, LOG_OVERHEAD_BYTES};
use crate::protocol::compression::{self, Codec};
use crate::protocol::records::{self, RecordView};
use crate::protocol::varint;
use crate::types::Millis;

use super::offset_map::OffsetMap;
use super::transactions::{CleanedTransactions, Marker};

const ATTRIBUTE_CODEC: i16 = 0x07;
const ATTRIBUTE_DELETE_HORIZON: i16 = 0x40;

/// What is known of a producer that is still active (`LastRecord`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastOfProducer {
    /// Offset of its last record; `None` if only a marker of it is in the log.
    pub last_offset: Option<i64>,
    /// Its epoch.
    pub epoch: i16,
}

/// The rules of one cleaning.
#[derive(Debug)]
pub struct Filter<'a> {
    pub map: &'a OffsetMap,
    pub now: Millis,
    /// `delete.retention.ms`.
    pub delete_retention_ms: Millis,
    /// The batches of these producers that carry their last sequences stay, if empty.
    pub producers: &'a HashMap<i64, LastOfProducer>,
    /// The offset where the part that may be cleaned ends: its last batch stays, if empty.
    pub upper: i64,
    pub transactions: CleanedTransactions,
}

/// What is kept of a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Kept {
    /// Nothing.
    Nothing,
    /// The batch as it is.
    Whole,
    /// These bytes, and their header.
    Part(Box<BatchHeader>, Vec<u8>),
}

/// The uncompressed records of a batch.
///
/// # Errors
/// In words, if they cannot be read.
pub fn plain<'a>(header: &BatchHeader, bytes: &'a [u8]) -> Result<std::borrow::Cow<'a, [u8]>, String> {
    let codec = header.codec().ok_or("the codec is unknown")?;
    let body = bytes.get(BATCH_HEADER_BYTES..).unwrap_or_default();
    if header.record_count == 0 {
        return Ok(std::borrow::Cow::Borrowed(&[]));
    }
    compression::decompress(codec, body, DECOMPRESSED_BYTES_MAX).map_err(|error| error.to_string())
}

/// What a control batch says; `None` if its record is gone.
///
/// # Errors
/// In words, if it cannot be read.
pub fn marker(header: &BatchHeader, plain: &[u8]) -> Result<Option<Marker>, String> {
    match records::walk(plain, header.record_count).next() {
        None => Ok(None),
        Some(Ok(record)) => Ok(Some(Marker::of_key(record.key.unwrap_or_default()))),
        Some(Err(error)) => Err(error.to_string()),
    }
}

impl Filter<'_> {
    /// Decides about the next batch of the log; `bytes` is all of it and its CRC was checked.
    ///
    /// # Errors
    /// In words, if its records cannot be read.
    pub fn keep(&mut self, header: &BatchHeader, bytes: &[u8]) -> Result<Kept, String> {
        let plain = plain(header, bytes)?;
        let is_control = header.is_control();
        let discardable = if is_control {
            self.transactions.marker(header, marker(header, &plain)?)
        } else {
            self.transactions.batch(header)
        };
        // Markers go as tombstones do: some time after the last batch of their transaction went (KIP-534).
        let past_horizon = header.delete_horizon_ms().is_some_and(|horizon| horizon <= self.now);
        let discard = discardable && (!is_control || past_horizon);

        let mut kept = Vec::new();
        let mut has_tombstone = false;
        if !discard {
            for record in records::walk(&plain, header.record_count) {
                let record = record.map_err(|error| error.to_string())?;
                if is_control || self.keeps_record(header, &record) {
                    has_tombstone |= record.value.is_none();
                    kept.push(record);
                }
            }
        }
        if kept.is_empty() {
            let stays = self.is_last_of_producer(header) || header.next_offset() == self.upper;
            if !stays {
                return Ok(Kept::Nothing);
            }
            if header.record_count == 0 {
                return Ok(Kept::Whole);
            }
            return Ok(empty(header));
        }
        let starts_horizon =
            (has_tombstone || (discardable && is_control)) && header.delete_horizon_ms().is_none();
        let is_whole = kept.len() == usize::try_from(header.record_count).unwrap_or_default();
        if is_whole && !starts_horizon {
            return Ok(Kept::Whole);
        }
        let horizon = starts_horizon.then(|| self.now.saturating_add(self.delete_retention_ms));
        rebuild(header, &kept, horizon)
    }

    /// `Cleaner.shouldRetainRecord`.
    fn keeps_record(&self, header: &BatchHeader, record: &RecordView<'_>) -> bool {
        let offset = header.base_offset + i64::from(record.offset_delta);
        if offset > self.map.latest_offset() {
            return true;
        }
        // Written before the topic was compacted.
        let Some(key) = record.key else { return false };
        let is_newest = self.map.get(key).is_none_or(|newest| offset >= newest);
        let is_kept_tombstone = || header.delete_horizon_ms().is_none_or(|horizon| self.now < horizon);
        is_newest && (record.value.is_some() || is_kept_tombstone())
    }

    /// Whether the batch tells the last sequence of a producer, or the last epoch of one that has only a marker.
    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        if !header.has_producer_id() {
            return false;
        }
        self.producers.get(&header.producer_id).is_some_and(|last| match last.last_offset {
            Some(offset) => header.last_offset() == offset,
            None => header.is_control() && header.producer_epoch == last.epoch,
        })
    }
}

/// The batch without records (`DefaultRecordBatch.writeEmptyHeader`).
fn empty(header: &BatchHeader) -> Kept {
    let header = BatchHeader {
        attributes: header.attributes & !ATTRIBUTE_CODEC & !ATTRIBUTE_DELETE_HORIZON,
        base_timestamp: -1,
        record_count: 0,
        ..*header
    };
    finished(header, &[])
}

/// The batch with `kept` records only. With `horizon` that becomes its base timestamp, and the records' deltas count from it.
fn rebuild(header: &BatchHeader, kept: &[RecordView<'_>], horizon: Option<Millis>) -> Result<Kept, String> {
    let base_timestamp = horizon.unwrap_or(header.base_timestamp);
    let shift = header.base_timestamp.wrapping_sub(base_timestamp);
    let mut plain = Vec::with_capacity(kept.iter().map(|record| record.raw.len() + 5).sum());
    let mut max_timestamp = -1;
    for record in kept {
        max_timestamp = max_timestamp.max(header.base_timestamp.wrapping_add(record.timestamp_delta));
        if shift == 0 {
            plain.extend_from_slice(record.raw);
        } else {
            put_shifted(&mut plain, record, shift).ok_or("a record cannot be read")?;
        }
    }
    let attributes = header.attributes | if horizon.is_some() { ATTRIBUTE_DELETE_HORIZON } else { 0 };
    let header = BatchHeader {
        attributes,
        base_timestamp,
        max_timestamp: if header.has_log_append_time() { header.max_timestamp } else { max_timestamp },
        record_count: i32::try_from(kept.len()).unwrap_or(i32::MAX),
        ..*header
    };
    let codec = header.codec().ok_or("the codec is unknown")?;
    Ok(match codec {
        Codec::None => finished(header, &plain),
        codec => finished(header, &compression::compress(codec, None, &plain)),
    })
}

/// Writes a record whose timestamp delta grows by `shift`; all else stays, header keys that repeat too.
fn put_shifted(output: &mut Vec<u8>, record: &RecordView<'_>, shift: i64) -> Option<()> {
    let mut rest = record.raw;
    varint::take_i32(&mut rest)?;
    let (attributes, tail) = rest.split_first()?;
    rest = tail;
    let delta = varint::take_i64(&mut rest)?.wrapping_add(shift);
    let mut head = Vec::with_capacity(11);
    head.push(*attributes);
    varint::put_i64(&mut head, delta);
    varint::put_i32(output, i32::try_from(head.len() + rest.len()).ok()?);
    output.extend_from_slice(&head);
    output.extend_from_slice(rest);
    Some(())
}

/// Header and records as one batch, length and CRC set.
fn finished(mut header: BatchHeader, body: &[u8]) -> Kept {
    let length = BATCH_HEADER_BYTES - LOG_OVERHEAD_BYTES + body.len();
    header.batch_length = i32::try_from(length).unwrap_or(i32::MAX);
    let mut bytes = Vec::with_capacity(BATCH_HEADER_BYTES + body.len());
    bytes.extend_from_slice(&header.to_bytes());
    bytes.extend_from_slice(body);
    batch::patch_crc(&mut bytes).expect("the batch begins with a header");
    Kept::Part(Box::new(header), bytes)
}
