//! Record batches (magic 2): the header of 61 bytes, its checks, and the fields that a broker rewrites in place.
//!
//! Layout, big-endian, from `org.apache.kafka.common.record.DefaultRecordBatch`:
//!
//! | at | bytes | field | | at | bytes | field |
//! |---|---|---|---|---|---|---|
//! | 0 | 8 | baseOffset | | 27 | 8 | baseTimestamp |
//! | 8 | 4 | batchLength (bytes after this field) | | 35 | 8 | maxTimestamp |
//! | 12 | 4 | partitionLeaderEpoch | | 43 | 8 | producerId |
//! | 16 | 1 | magic | | 51 | 2 | producerEpoch |
//! | 17 | 4 | crc: CRC-32C of everything from byte 21 | | 53 | 4 | baseSequence |
//! | 21 | 2 | attributes | | 57 | 4 | record count |
//! | 23 | 4 | lastOffsetDelta | | 61 | | records, compressed as one block |
//!
//! Nothing here panics on any bytes, allocates, or reads records.

use bytes::Bytes;

use super::compression::Codec;
use super::crc_shift;

/// Size of a batch's header.
pub const BATCH_HEADER_BYTES: usize = 61;
/// Bytes of a batch that its `batchLength` does not count: baseOffset and batchLength themselves.
pub const LOG_OVERHEAD_BYTES: usize = 12;
/// The only record format that Kafka 4 keeps.
pub const MAGIC: i8 = 2;
/// Where the part begins that the CRC covers.
const CRC_FROM: usize = 21;
/// A `batchLength` counts at least the rest of the header.
const BATCH_LENGTH_MIN: i32 = 49;

const ATTRIBUTE_CODEC: i16 = 0x07;
const ATTRIBUTE_LOG_APPEND_TIME: i16 = 0x08;
const ATTRIBUTE_TRANSACTIONAL: i16 = 0x10;
const ATTRIBUTE_CONTROL: i16 = 0x20;
const ATTRIBUTE_DELETE_HORIZON: i16 = 0x40;

/// Why bytes are not a record batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The bytes end before the batch does.
    #[error("batch is truncated: {have} of {need} bytes")]
    Truncated {
        /// Bytes that are there.
        have: usize,
        /// Bytes that the batch (or its header) has.
        need: usize,
    },
    /// A record format other than 2.
    #[error("record format (magic) {magic} is not 2")]
    BadMagic {
        /// The magic byte.
        magic: i8,
    },
    /// A `batchLength` smaller than the header.
    #[error("batch length {batch_length} is smaller than a header")]
    BadLength {
        /// The field as it stands.
        batch_length: i32,
    },
    /// The CRC does not fit the bytes.
    #[error("batch crc is {computed:#010x}, its header says {stored:#010x}")]
    BadCrc {
        /// The field as it stands.
        stored: u32,
        /// CRC-32C of the bytes from 21 on.
        computed: u32,
    },
    /// A count or a delta that is negative, or more records than offsets.
    #[error("record count {record_count} does not fit last offset delta {last_offset_delta}")]
    BadCount {
        /// The field as it stands.
        record_count: i32,
        /// The field as it stands.
        last_offset_delta: i32,
    },
    /// A negative base offset, or one whose last offset overflows.
    #[error("base offset {base_offset} with last offset delta {last_offset_delta} is no range of offsets")]
    BadOffset {
        /// The field as it stands.
        base_offset: i64,
        /// The field as it stands.
        last_offset_delta: i32,
    },
}

/// The header of a record batch. A value of this type from [`BatchHeader::parse`] fits itself: magic 2, a length of at least the
/// header, `0 <= record_count <= last_offset_delta + 1` (compaction removes records but keeps offsets), offsets that do not overflow.
/// Sentinels stay as on the wire: -1 is "no producer", "no timestamp", "no epoch".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record, >= 0.
    pub base_offset: i64,
    /// Bytes of the batch after this field, >= 49.
    pub batch_length: i32,
    /// Epoch of the leader that appended the batch.
    pub partition_leader_epoch: i32,
    /// Always 2.
    pub magic: i8,
    /// CRC-32C of the bytes from 21 on.
    pub crc: u32,
    /// Codec (bits 0-2), timestamp type, transactional, control, delete horizon (bits 3-6).
    pub attributes: i16,
    /// Offset of the last record less `base_offset`.
    pub last_offset_delta: i32,
    /// Timestamp of the first record in milliseconds, or the delete horizon.
    pub base_timestamp: i64,
    /// Largest timestamp of the records, or the time of the append.
    pub max_timestamp: i64,
    /// -1 if the producer is not idempotent.
    pub producer_id: i64,
    /// -1 if the producer is not idempotent.
    pub producer_epoch: i16,
    /// Sequence of the first record, -1 if the producer is not idempotent.
    pub base_sequence: i32,
    /// Records in the batch; 0 in a batch that compaction emptied.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the beginning of `bytes`; what follows it is not looked at and need not be there.
    ///
    /// # Errors
    /// [`BatchError`] if there are less than 61 bytes or the fields contradict each other. The CRC is not checked.
    pub fn parse(bytes: &[u8]) -> Result<Self, BatchError> {
        // The magic stands at the same place in all formats, and an old message may be shorter than our header.
        if let Some(&magic) = bytes.get(16)
            && magic != MAGIC.cast_unsigned()
        {
            return Err(BatchError::BadMagic { magic: magic.cast_signed() });
        }
        let truncated = BatchError::Truncated { have: bytes.len(), need: BATCH_HEADER_BYTES };
        let raw: &[u8; BATCH_HEADER_BYTES] = bytes.first_chunk().ok_or(truncated)?;
        let header = Self::from_raw(raw);
        header.check()?;
        Ok(header)
    }

    fn from_raw(raw: &[u8; BATCH_HEADER_BYTES]) -> Self {
        Self {
            base_offset: i64::from_be_bytes(field(raw, 0)),
            batch_length: i32::from_be_bytes(field(raw, 8)),
            partition_leader_epoch: i32::from_be_bytes(field(raw, 12)),
            magic: i8::from_be_bytes(field(raw, 16)),
            crc: u32::from_be_bytes(field(raw, 17)),
            attributes: i16::from_be_bytes(field(raw, 21)),
            last_offset_delta: i32::from_be_bytes(field(raw, 23)),
            base_timestamp: i64::from_be_bytes(field(raw, 27)),
            max_timestamp: i64::from_be_bytes(field(raw, 35)),
            producer_id: i64::from_be_bytes(field(raw, 43)),
            producer_epoch: i16::from_be_bytes(field(raw, 51)),
            base_sequence: i32::from_be_bytes(field(raw, 53)),
            record_count: i32::from_be_bytes(field(raw, 57)),
        }
    }

    fn check(&self) -> Result<(), BatchError> {
        let Self { base_offset, batch_length, last_offset_delta, record_count, .. } = *self;
        if batch_length < BATCH_LENGTH_MIN {
            return Err(BatchError::BadLength { batch_length });
        }
        if last_offset_delta < 0 || record_count < 0 || record_count - 1 > last_offset_delta {
            return Err(BatchError::BadCount { record_count, last_offset_delta });
        }
        // The next offset must be a number too.
        if base_offset < 0 || base_offset > i64::MAX - i64::from(last_offset_delta) - 1 {
            return Err(BatchError::BadOffset { base_offset, last_offset_delta });
        }
        Ok(())
    }

    /// The header's 61 bytes.
    #[must_use]
    pub fn to_bytes(&self) -> [u8; BATCH_HEADER_BYTES] {
        let mut raw = [0; BATCH_HEADER_BYTES];
        set(&mut raw, 0, self.base_offset.to_be_bytes());
        set(&mut raw, 8, self.batch_length.to_be_bytes());
        set(&mut raw, 12, self.partition_leader_epoch.to_be_bytes());
        set(&mut raw, 16, self.magic.to_be_bytes());
        set(&mut raw, 17, self.crc.to_be_bytes());
        set(&mut raw, 21, self.attributes.to_be_bytes());
        set(&mut raw, 23, self.last_offset_delta.to_be_bytes());
        set(&mut raw, 27, self.base_timestamp.to_be_bytes());
        set(&mut raw, 35, self.max_timestamp.to_be_bytes());
        set(&mut raw, 43, self.producer_id.to_be_bytes());
        set(&mut raw, 51, self.producer_epoch.to_be_bytes());
        set(&mut raw, 53, self.base_sequence.to_be_bytes());
        set(&mut raw, 57, self.record_count.to_be_bytes());
        raw
    }

    /// Size of the whole batch, header included.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        usize::try_from(self.batch_length).unwrap_or_default() + LOG_OVERHEAD_BYTES
    }

    /// Offset of the last record (or of the last one that was there before compaction).
    #[must_use]
    pub const fn last_offset(&self) -> i64 {
        self.base_offset.saturating_add(self.last_offset_delta as i64)
    }

    /// Where the next batch begins.
    #[must_use]
    pub const fn next_offset(&self) -> i64 {
        self.last_offset().saturating_add(1)
    }

    /// Sequence of the last record; wraps to 0 after the largest. -1 if the producer is not idempotent.
    #[must_use]
    pub const fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        self.base_sequence.wrapping_add(self.last_offset_delta) & i32::MAX
    }

    /// How the records are compressed; `None` for the codec numbers 5 to 7, which do not exist.
    #[must_use]
    pub const fn codec(&self) -> Option<Codec> {
        Codec::from_id((self.attributes & ATTRIBUTE_CODEC) as u8)
    }

    /// Whether the timestamps are the broker's: every record then has `max_timestamp`.
    #[must_use]
    pub const fn has_log_append_time(&self) -> bool {
        self.attributes & ATTRIBUTE_LOG_APPEND_TIME != 0
    }

    /// Whether the batch belongs to a transaction.
    #[must_use]
    pub const fn is_transactional(&self) -> bool {
        self.attributes & ATTRIBUTE_TRANSACTIONAL != 0
    }

    /// Whether the batch is a marker written by a broker; clients must not send one.
    #[must_use]
    pub const fn is_control(&self) -> bool {
        self.attributes & ATTRIBUTE_CONTROL != 0
    }

    /// Whether an idempotent producer wrote the batch.
    #[must_use]
    pub const fn has_producer_id(&self) -> bool {
        self.producer_id >= 0
    }

    /// When compaction may remove the batch's tombstones, in milliseconds (KIP-534).
    #[must_use]
    pub const fn delete_horizon_ms(&self) -> Option<i64> {
        if self.attributes & ATTRIBUTE_DELETE_HORIZON != 0 { Some(self.base_timestamp) } else { None }
    }
}

/// Checks the CRC of one whole batch. Bytes after the batch are not looked at.
///
/// # Errors
/// [`BatchError`] if the header is not one, the batch is truncated, or the CRC does not fit.
pub fn verify_crc(batch: &[u8]) -> Result<(), BatchError> {
    let header = BatchHeader::parse(batch)?;
    let need = header.size_bytes();
    let covered = batch.get(CRC_FROM..need).ok_or(BatchError::Truncated { have: batch.len(), need })?;
    let computed = crc32c::crc32c(covered);
    if computed == header.crc { Ok(()) } else { Err(BatchError::BadCrc { stored: header.crc, computed }) }
}

/// The batches that stand one after another in `records`, each as its header and a slice of all its bytes (nothing is copied).
/// Ends after the first error. CRCs are not checked.
#[must_use]
pub fn split(records: &Bytes) -> Batches {
    Batches { rest: records.clone() }
}

/// Iterator of [`split`].
#[derive(Debug, Clone)]
pub struct Batches {
    rest: Bytes,
}

impl Iterator for Batches {
    type Item = Result<(BatchHeader, Bytes), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let have = self.rest.len();
        let batch = BatchHeader::parse(&self.rest).and_then(|header| {
            let need = header.size_bytes();
            if need > have {
                return Err(BatchError::Truncated { have, need });
            }
            Ok((header, self.rest.split_to(need)))
        });
        if batch.is_err() {
            self.rest = Bytes::new();
        }
        Some(batch)
    }
}

/// Writes the base offset of the batch at the beginning of `bytes`. The CRC does not cover it.
///
/// # Errors
/// [`BatchError::Truncated`] if there are less than 61 bytes; nothing is changed. So for all `patch_*`: they need the header only,
/// not the records.
pub fn patch_base_offset(bytes: &mut [u8], base_offset: i64) -> Result<(), BatchError> {
    set(header_mut(bytes)?, 0, base_offset.to_be_bytes());
    Ok(())
}

/// Writes the leader epoch of the batch at the beginning of `bytes`. The CRC does not cover it.
///
/// # Errors
/// As [`patch_base_offset`].
pub fn patch_leader_epoch(bytes: &mut [u8], leader_epoch: i32) -> Result<(), BatchError> {
    set(header_mut(bytes)?, 12, leader_epoch.to_be_bytes());
    Ok(())
}

/// Writes the largest timestamp, and with `log_append_time` also the attribute that makes it the timestamp of every record
/// (`message.timestamp.type=LogAppendTime`); without it the attribute is cleared. The CRC is corrected by its difference
/// (`crc_shift`): a wrong CRC stays wrong.
///
/// # Errors
/// As [`patch_base_offset`].
pub fn patch_max_timestamp(
    bytes: &mut [u8],
    max_timestamp: i64,
    log_append_time: bool,
) -> Result<(), BatchError> {
    let raw = header_mut(bytes)?;
    let header = BatchHeader::from_raw(raw);
    let rest_bytes =
        u32::try_from(header.size_bytes().saturating_sub(BATCH_HEADER_BYTES)).unwrap_or(u32::MAX);
    let attributes = if log_append_time {
        header.attributes | ATTRIBUTE_LOG_APPEND_TIME
    } else {
        header.attributes & !ATTRIBUTE_LOG_APPEND_TIME
    };
    let before = crc32c::crc32c(covered_header(raw));
    set(raw, 21, attributes.to_be_bytes());
    set(raw, 35, max_timestamp.to_be_bytes());
    let after = crc32c::crc32c(covered_header(raw));
    let crc = crc_shift::replace_beginning(header.crc, before, after, rest_bytes);
    set(raw, 17, crc.to_be_bytes());
    Ok(())
}

/// Computes and writes the CRC of the whole batch that `batch` is.
///
/// # Errors
/// As [`patch_base_offset`].
pub fn patch_crc(batch: &mut [u8]) -> Result<(), BatchError> {
    let crc = crc32c::crc32c(batch.get(CRC_FROM..).unwrap_or_default());
    set(header_mut(batch)?, 17, crc.to_be_bytes());
    Ok(())
}

fn header_mut(bytes: &mut [u8]) -> Result<&mut [u8; BATCH_HEADER_BYTES], BatchError> {
    let truncated = BatchError::Truncated { have: bytes.len(), need: BATCH_HEADER_BYTES };
    bytes.first_chunk_mut().ok_or(truncated)
}

fn covered_header(raw: &[u8; BATCH_HEADER_BYTES]) -> &[u8] {
    raw.get(CRC_FROM..).unwrap_or_default()
}

fn field<const N: usize>(raw: &[u8; BATCH_HEADER_BYTES], at: usize) -> [u8; N] {
    raw.get(at..).and_then(<[u8]>::first_chunk).copied().unwrap_or([0; N])
}

fn set<const N: usize>(raw: &mut [u8; BATCH_HEADER_BYTES], at: usize, value: [u8; N]) {
    if let Some(place) = raw.get_mut(at..).and_then(<[u8]>::first_chunk_mut) {
        *place = value;
    }
}
