//! What a batch must be before it is appended (`LogValidator`, `UnifiedLog.analyzeAndValidateRecords`): checks, and the changes that
//! the topic's configuration asks for. Everything here happens outside the log's lock.

use bytes::{Bytes, BytesMut};

use crate::config::{CompressionType, TopicConfig};
use crate::protocol::batch::{self, BATCH_HEADER_BYTES, BatchError, BatchHeader};
use crate::protocol::compression::{self, Codec};
use crate::protocol::records::{self, Summary};
use crate::types::Millis;

use super::error::AppendError;

/// Bits of a batch's attributes that name its codec.
const ATTRIBUTE_CODEC: i16 = 0x07;
/// A batch that decompresses to more is refused where the broker must look inside: so much memory one storage thread may take (rule X4).
pub(super) const DECOMPRESSED_BYTES_MAX: usize = 256 << 20;
/// The wire's "no timestamp": not checked against bounds.
const NO_TIMESTAMP: Millis = -1;

/// Who appends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Origin {
    /// A client's produce: sequences are checked, control batches refused.
    #[default]
    Client,
    /// This broker's own coordinator: trusted with control batches and sequences.
    Coordinator,
}

/// A batch that may be appended. Offsets and leader epoch are still to be written into `head`.
#[derive(Debug, Clone)]
pub(super) struct Checked {
    /// The header as it will be stored, but for base offset and leader epoch.
    pub header: BatchHeader,
    /// The header's bytes.
    pub head: [u8; BATCH_HEADER_BYTES],
    /// The whole batch; its first 61 bytes are replaced by `head`.
    pub batch: Bytes,
    /// The time that became the records' timestamp, with `message.timestamp.type=LogAppendTime`.
    pub log_append_time: Option<Millis>,
}

impl Checked {
    /// The bytes after the header.
    pub fn body(&self) -> &[u8] {
        self.batch.get(BATCH_HEADER_BYTES..).unwrap_or_default()
    }
}

/// Reads the header of the one batch that `records` must be.
///
/// # Errors
/// [`AppendError::Corrupt`], [`AppendError::UnsupportedMagic`], or [`AppendError::InvalidRecord`] if it is not exactly one batch.
pub(super) fn read_header(records: &[u8]) -> Result<BatchHeader, AppendError> {
    if records.is_empty() {
        return Err(invalid("a produce request must have exactly one batch per partition"));
    }
    let header = BatchHeader::parse(records).map_err(|error| match error {
        BatchError::BadMagic { magic } => AppendError::UnsupportedMagic { magic },
        BatchError::BadCount { .. } => invalid("record count and last offset delta disagree"),
        error => AppendError::Corrupt(error),
    })?;
    let (have, need) = (records.len(), header.size_bytes());
    match have.cmp(&need) {
        std::cmp::Ordering::Less => Err(AppendError::Corrupt(BatchError::Truncated { have, need })),
        std::cmp::Ordering::Greater => {
            Err(invalid("a produce request must have exactly one batch per partition"))
        }
        std::cmp::Ordering::Equal => Ok(header),
    }
}

/// Whether checking the batch means decompressing or compressing: work for a storage thread.
pub(super) fn is_heavy(header: &BatchHeader, config: &TopicConfig) -> bool {
    let Some(codec) = header.codec() else { return false };
    let looks_inside = config.cleanup_compact
        || (!config.log_append_time && config.message_timestamp_before_max_ms != Millis::MAX);
    target_codec(codec, config) != codec || (codec != Codec::None && looks_inside)
}

/// Checks a batch whose header is `header`, and changes what the configuration says: timestamps, codec.
///
/// Of compressed records only the header is looked at, unless [`is_heavy`].
///
/// # Errors
/// Any [`AppendError`] that is about the batch itself.
///
/// # Cost
/// One pass for the CRC, and for uncompressed records one more over their lengths.
pub(super) fn check(
    records: Bytes,
    header: BatchHeader,
    config: &TopicConfig,
    origin: Origin,
    now: Millis,
) -> Result<Checked, AppendError> {
    check_size(header.size_bytes(), config, origin)?;
    batch::verify_crc(&records).map_err(AppendError::Corrupt)?;
    check_fields(&header, origin)?;
    let codec = header.codec().ok_or_else(|| bad_compression("the codec is unknown"))?;
    let body = records.get(BATCH_HEADER_BYTES..).unwrap_or_default();
    let mut checked =
        Checked { header, head: header.to_bytes(), batch: records.clone(), log_append_time: None };
    let mut max_timestamp = header.max_timestamp;
    if codec == Codec::None || is_heavy(&header, config) {
        let plain = compression::decompress(codec, body, DECOMPRESSED_BYTES_MAX).map_err(bad_compression)?;
        let summary = records::validate(&header, &plain).map_err(|_| invalid("records are malformed"))?;
        check_records(&header, &plain, summary, config, now)?;
        max_timestamp = summary.max_timestamp;
        let target = target_codec(codec, config);
        if target != codec {
            checked = recompress(&header, &plain, target, config);
            check_size(checked.header.size_bytes(), config, origin)?;
        }
    } else if !config.log_append_time {
        // Opaque: the header's word for the first and the largest timestamp.
        for timestamp in [header.base_timestamp, header.max_timestamp] {
            check_timestamp(timestamp, 0, config, now)?;
        }
    }
    stamp(&mut checked, max_timestamp, config, now)?;
    Ok(checked)
}

/// `max.message.bytes` is for clients: a coordinator's turn must not be torn, so only the segment bounds it.
fn check_size(size_bytes: usize, config: &TopicConfig, origin: Origin) -> Result<(), AppendError> {
    let over = |max_bytes: u32| u32::try_from(size_bytes).map_or(true, |size| size > max_bytes);
    if origin == Origin::Client && over(config.max_message_bytes) {
        return Err(AppendError::TooLarge { size_bytes, max_bytes: config.max_message_bytes });
    }
    if over(config.segment_bytes) {
        return Err(AppendError::LargerThanSegment { size_bytes, max_bytes: config.segment_bytes });
    }
    Ok(())
}

fn check_fields(header: &BatchHeader, origin: Origin) -> Result<(), AppendError> {
    if header.record_count <= 0 {
        return Err(invalid("a batch must have records"));
    }
    // 0 <= count - 1 <= last offset delta is the parser's promise.
    if header.record_count - 1 != header.last_offset_delta {
        return Err(invalid("record count and last offset delta disagree"));
    }
    if header.has_producer_id() && (header.base_sequence < 0 || header.producer_epoch < 0) {
        return Err(invalid("an idempotent batch has no sequence or no producer epoch"));
    }
    if origin == Origin::Client {
        if header.base_offset != 0 {
            return Err(invalid("the base offset of a produced batch must be 0"));
        }
        if header.is_control() {
            return Err(invalid("clients must not write control records"));
        }
    }
    Ok(())
}

fn check_records(
    header: &BatchHeader,
    plain: &[u8],
    summary: Summary,
    config: &TopicConfig,
    now: Millis,
) -> Result<(), AppendError> {
    if config.cleanup_compact && summary.has_null_key && !header.is_control() {
        let index = records::walk(plain, header.record_count)
            .map_while(Result::ok)
            .find(|record| record.key.is_none())
            .map(|record| record.offset_delta);
        return Err(AppendError::InvalidRecord { reason: "a compacted topic needs keys", index });
    }
    if config.log_append_time {
        return Ok(());
    }
    if is_in_bounds(summary.min_timestamp, config, now) && is_in_bounds(summary.max_timestamp, config, now) {
        return check_timestamp_type(header, summary.min_timestamp, now);
    }
    for record in records::walk(plain, header.record_count).map_while(Result::ok) {
        let timestamp = header.base_timestamp.wrapping_add(record.timestamp_delta);
        check_timestamp(timestamp, record.offset_delta, config, now)?;
    }
    check_timestamp_type(header, summary.min_timestamp, now)
}

/// Only a broker says that the time is its own.
fn check_timestamp_type(header: &BatchHeader, timestamp: Millis, now: Millis) -> Result<(), AppendError> {
    if header.has_log_append_time() {
        return Err(AppendError::InvalidTimestamp { timestamp, now, index: 0 });
    }
    Ok(())
}

fn check_timestamp(
    timestamp: Millis,
    index: i32,
    config: &TopicConfig,
    now: Millis,
) -> Result<(), AppendError> {
    if is_in_bounds(timestamp, config, now) {
        Ok(())
    } else {
        Err(AppendError::InvalidTimestamp { timestamp, now, index })
    }
}

fn is_in_bounds(timestamp: Millis, config: &TopicConfig, now: Millis) -> bool {
    timestamp == NO_TIMESTAMP
        || (now.saturating_sub(timestamp) <= config.message_timestamp_before_max_ms
            && timestamp.saturating_sub(now) <= config.message_timestamp_after_max_ms)
}

/// Writes the timestamps that the stored batch has.
fn stamp(
    checked: &mut Checked,
    max_timestamp: Millis,
    config: &TopicConfig,
    now: Millis,
) -> Result<(), AppendError> {
    let header = &checked.header;
    let (timestamp, log_append_time) =
        if config.log_append_time { (now, true) } else { (max_timestamp, false) };
    if header.max_timestamp == timestamp && header.has_log_append_time() == log_append_time {
        return Ok(());
    }
    batch::patch_max_timestamp(&mut checked.head, timestamp, log_append_time)
        .map_err(AppendError::Corrupt)?;
    checked.header = BatchHeader::parse(&checked.head).map_err(AppendError::Corrupt)?;
    checked.log_append_time = log_append_time.then_some(now);
    Ok(())
}

/// The codec that the topic stores batches of codec `source` with.
fn target_codec(source: Codec, config: &TopicConfig) -> Codec {
    match config.compression {
        CompressionType::Producer => source,
        CompressionType::Uncompressed => Codec::None,
        CompressionType::Gzip => Codec::Gzip,
        CompressionType::Snappy => Codec::Snappy,
        CompressionType::Lz4 => Codec::Lz4,
        CompressionType::Zstd => Codec::Zstd,
    }
}

/// The same records in a batch of another codec.
fn recompress(header: &BatchHeader, plain: &[u8], target: Codec, config: &TopicConfig) -> Checked {
    let level = match target {
        Codec::Gzip => Some(config.compression_gzip_level),
        Codec::Lz4 => Some(config.compression_lz4_level),
        Codec::Zstd => Some(config.compression_zstd_level),
        Codec::None | Codec::Snappy => None,
    };
    let body = compression::compress(target, level, plain);
    let mut header = *header;
    header.attributes = (header.attributes & !ATTRIBUTE_CODEC) | i16::from(target.id());
    let length = BATCH_HEADER_BYTES - batch::LOG_OVERHEAD_BYTES + body.len();
    header.batch_length = i32::try_from(length).unwrap_or(i32::MAX);
    let mut bytes = BytesMut::with_capacity(BATCH_HEADER_BYTES + body.len());
    bytes.extend_from_slice(&header.to_bytes());
    bytes.extend_from_slice(&body);
    batch::patch_crc(&mut bytes).expect("the header was just written");
    let header = BatchHeader::parse(&bytes).expect("the header was just written");
    Checked { header, head: header.to_bytes(), batch: bytes.freeze(), log_append_time: None }
}

const fn invalid(reason: &'static str) -> AppendError {
    AppendError::InvalidRecord { reason, index: None }
}

fn bad_compression(reason: impl std::fmt::Display) -> AppendError {
    AppendError::BadCompression { reason: reason.to_string().into() }
}
