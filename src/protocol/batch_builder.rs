//! Builds record batches: for our own producers (command line, perf, markers) and for tests.

use bytes::Bytes;

use super::batch::{self, BATCH_HEADER_BYTES, BatchHeader, LOG_OVERHEAD_BYTES, MAGIC};
use super::compression::{self, Codec};
use super::varint;

/// A batch's records may take this many bytes before compression: far from what its length, an `i32`, can say after it.
const RECORDS_BYTES_MAX: usize = 1 << 30;

/// The batch has no room for one more record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a batch of {batch_bytes} bytes has no room for a record of {record_bytes} bytes")]
pub struct BatchFull {
    /// Uncompressed size of the records that are in the batch.
    pub batch_bytes: usize,
    /// Size of the record that does not fit.
    pub record_bytes: usize,
}

/// A record to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NewRecord<'a> {
    /// Milliseconds since the epoch; -1 is "none".
    pub timestamp: i64,
    /// The key, if there is one.
    pub key: Option<&'a [u8]>,
    /// The value, if there is one.
    pub value: Option<&'a [u8]>,
    /// Names and values in order; names may repeat.
    pub headers: &'a [(&'a [u8], Option<&'a [u8]>)],
}

/// Collects records and builds one batch of them.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    codec: Codec,
    level: Option<i32>,
    header: BatchHeader,
    records: Vec<u8>,
    scratch: Vec<u8>,
}

impl Default for BatchBuilder {
    fn default() -> Self {
        Self::new()
    }
}

impl BatchBuilder {
    /// An empty batch: not compressed, no producer id, offsets from 0, leader epoch -1, timestamps of the producer.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            codec: Codec::None,
            level: None,
            header: BatchHeader {
                base_offset: 0,
                batch_length: 0,
                partition_leader_epoch: -1,
                magic: MAGIC,
                crc: 0,
                attributes: 0,
                last_offset_delta: -1,
                base_timestamp: -1,
                max_timestamp: -1,
                producer_id: -1,
                producer_epoch: -1,
                base_sequence: -1,
                record_count: 0,
            },
            records: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Compresses the records by `codec` at `level` (`None`: Kafka's default).
    #[must_use]
    pub const fn codec(mut self, codec: Codec, level: Option<i32>) -> Self {
        self.codec = codec;
        self.level = level;
        self
    }

    /// Marks the batch as an idempotent producer's.
    #[must_use]
    pub const fn producer(mut self, producer_id: i64, producer_epoch: i16, base_sequence: i32) -> Self {
        self.header.producer_id = producer_id;
        self.header.producer_epoch = producer_epoch;
        self.header.base_sequence = base_sequence;
        self
    }

    /// Gives the first record this offset.
    #[must_use]
    pub const fn base_offset(mut self, base_offset: i64) -> Self {
        self.header.base_offset = base_offset;
        self
    }

    /// Writes this leader epoch.
    #[must_use]
    pub const fn leader_epoch(mut self, leader_epoch: i32) -> Self {
        self.header.partition_leader_epoch = leader_epoch;
        self
    }

    /// Sets attribute bits other than the codec's: 0x08 log append time, 0x10 transactional, 0x20 control.
    #[must_use]
    pub const fn attributes(mut self, bits: i16) -> Self {
        self.header.attributes = bits & !0x07;
        self
    }

    /// Adds a record with the next offset.
    ///
    /// # Errors
    /// [`BatchFull`] if the records would take more than 1 GiB; the batch is as it was.
    pub fn push(&mut self, record: NewRecord<'_>) -> Result<(), BatchFull> {
        let first = self.header.record_count == 0;
        let base_timestamp = if first { record.timestamp } else { self.header.base_timestamp };
        let offset_delta = self.header.record_count;

        let body = &mut self.scratch;
        body.clear();
        body.push(0);
        varint::put_i64(body, record.timestamp.wrapping_sub(base_timestamp));
        varint::put_i32(body, offset_delta);
        put_bytes(body, record.key);
        put_bytes(body, record.value);
        varint::put_i32(body, i32::try_from(record.headers.len()).unwrap_or(i32::MAX));
        for (key, value) in record.headers {
            put_bytes(body, Some(key));
            put_bytes(body, *value);
        }

        let (batch_bytes, record_bytes) = (self.records.len(), body.len());
        let full = BatchFull { batch_bytes, record_bytes };
        if batch_bytes + record_bytes + 5 > RECORDS_BYTES_MAX {
            return Err(full);
        }
        varint::put_i32(&mut self.records, i32::try_from(record_bytes).map_err(|_| full)?);
        self.records.extend_from_slice(body);
        let header = &mut self.header;
        header.base_timestamp = base_timestamp;
        header.max_timestamp =
            if first { record.timestamp } else { header.max_timestamp.max(record.timestamp) };
        header.record_count = offset_delta + 1;
        header.last_offset_delta = offset_delta;
        Ok(())
    }

    /// Records so far.
    #[must_use]
    pub const fn record_count(&self) -> i32 {
        self.header.record_count
    }

    /// Size of the batch so far, were it not compressed.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        BATCH_HEADER_BYTES + self.records.len()
    }

    /// The batch. Without any record it has none and stands at `base_offset` alone, as compaction would leave it.
    #[must_use]
    pub fn build(self) -> Bytes {
        let compressed;
        let records = match self.codec {
            Codec::None => self.records.as_slice(),
            codec => {
                compressed = compression::compress(codec, self.level, &self.records);
                compressed.as_slice()
            }
        };
        let mut header = self.header;
        header.last_offset_delta = header.last_offset_delta.max(0);
        header.attributes |= i16::from(self.codec.id());
        header.batch_length = i32::try_from(BATCH_HEADER_BYTES - LOG_OVERHEAD_BYTES + records.len())
            .expect("compression does not double 1 GiB");
        let mut bytes = Vec::with_capacity(BATCH_HEADER_BYTES + records.len());
        bytes.extend_from_slice(&header.to_bytes());
        bytes.extend_from_slice(records);
        batch::patch_crc(&mut bytes).expect("the batch begins with a header");
        Bytes::from(bytes)
    }
}

fn put_bytes(output: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => {
            varint::put_i32(output, i32::try_from(bytes.len()).unwrap_or(i32::MAX));
            output.extend_from_slice(bytes);
        }
        None => varint::put_i32(output, -1),
    }
}
