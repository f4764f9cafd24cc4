//! The records of one uncompressed batch: read one after another, nothing copied.
//!
//! A record, from `org.apache.kafka.common.record.DefaultRecord`: length (varint), attributes (i8), timestamp delta (varlong), offset
//! delta (varint), key and value (varint length, -1 is null), headers (varint count, then key and value each). All varints are
//! zigzag. Header keys may repeat, and their order is kept.

use super::batch::BatchHeader;
use super::varint;

pub use super::batch_builder::{BatchBuilder, BatchFull, NewRecord};

/// A record takes at least this many bytes, its length included: attributes, two deltas, null key, null value, no headers.
pub const RECORD_BYTES_MIN: usize = 7;
/// A header takes at least this many bytes: an empty key and a null value.
const HEADER_BYTES_MIN: usize = 2;

/// Why bytes are not the records of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The batch claims more records than its bytes can hold.
    #[error("{count} records do not fit {bytes} bytes")]
    Count {
        /// Records that the header counts.
        count: i32,
        /// Size of the records.
        bytes: usize,
    },
    /// The bytes end before the record does, or a number within it is too long.
    #[error("record {index} is truncated")]
    Truncated {
        /// Which record, from 0.
        index: i32,
    },
    /// A length or a count in the record does not fit the record.
    #[error("record {index} has an impossible {field} of {value}")]
    BadLength {
        /// Which record, from 0.
        index: i32,
        /// What is counted.
        field: &'static str,
        /// The number as it stands.
        value: i32,
    },
    /// The record's fields end before its length does.
    #[error("record {index} has {bytes} bytes that no field claims")]
    Unclaimed {
        /// Which record, from 0.
        index: i32,
        /// How many.
        bytes: usize,
    },
    /// Bytes follow the last record.
    #[error("{bytes} bytes follow the last record")]
    Trailing {
        /// How many.
        bytes: usize,
    },
    /// An offset delta that is not the record's number (a producer's batch has no holes).
    #[error("record {index} has offset delta {offset_delta}")]
    OffsetDelta {
        /// Which record, from 0.
        index: i32,
        /// The delta as it stands.
        offset_delta: i32,
    },
}

/// One record. Borrows the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordView<'a> {
    /// No attribute has a meaning yet.
    pub attributes: i8,
    /// Milliseconds after the batch's `base_timestamp`.
    pub timestamp_delta: i64,
    /// Offset less the batch's `base_offset`.
    pub offset_delta: i32,
    /// The key, if there is one.
    pub key: Option<&'a [u8]>,
    /// The value; `None` is a tombstone on a compacted topic.
    pub value: Option<&'a [u8]>,
    /// All bytes of the record, its length included.
    pub raw: &'a [u8],
    header_count: i32,
    headers: &'a [u8],
}

impl<'a> RecordView<'a> {
    /// The headers in their order, keys possibly repeated.
    #[must_use]
    pub fn headers(&self) -> Headers<'a> {
        Headers { left: self.header_count, rest: self.headers }
    }

    /// How many headers there are.
    #[must_use]
    pub fn header_count(&self) -> usize {
        usize::try_from(self.header_count).unwrap_or_default()
    }
}

/// One header. The key should be UTF-8; nothing checks it, as in Kafka.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeaderView<'a> {
    /// The name.
    pub key: &'a [u8],
    /// The value.
    pub value: Option<&'a [u8]>,
}

/// Iterator of [`RecordView::headers`].
#[derive(Debug, Clone)]
pub struct Headers<'a> {
    left: i32,
    rest: &'a [u8],
}

impl<'a> Iterator for Headers<'a> {
    type Item = HeaderView<'a>;

    fn next(&mut self) -> Option<HeaderView<'a>> {
        if self.left <= 0 {
            return None;
        }
        self.left -= 1;
        // The walk has read these bytes before: they do not fail now.
        take_header(&mut self.rest, 0).ok()
    }
}

/// Reads the `count` records of `records`, the uncompressed rest of a batch after its header.
///
/// Each record is checked whole (lengths, headers, exact use of its bytes) when it is reached. After the last one, bytes that are
/// left are one more item, an error. Ends after the first error.
#[must_use]
pub fn walk(records: &[u8], count: i32) -> Records<'_> {
    Records { rest: records, index: 0, count, ended: false }
}

/// Iterator of [`walk`].
#[derive(Debug, Clone)]
pub struct Records<'a> {
    rest: &'a [u8],
    index: i32,
    count: i32,
    ended: bool,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<RecordView<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        if self.index >= self.count {
            self.ended = true;
            let bytes = self.rest.len();
            let error = if self.count < 0 {
                RecordError::Count { count: self.count, bytes }
            } else {
                RecordError::Trailing { bytes }
            };
            return (bytes > 0 || self.count < 0).then_some(Err(error));
        }
        if self.index == 0 {
            let bytes = self.rest.len();
            if usize::try_from(self.count).unwrap_or(usize::MAX) > bytes / RECORD_BYTES_MIN {
                self.ended = true;
                return Some(Err(RecordError::Count { count: self.count, bytes }));
            }
        }
        let record = take_record(&mut self.rest, self.index);
        self.index += 1;
        self.ended = record.is_err();
        Some(record)
    }
}

/// What a walk through a producer's batch finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// Largest timestamp of the records in milliseconds; -1 if there are none.
    pub max_timestamp: i64,
    /// Smallest timestamp of the records in milliseconds; -1 if there are none.
    pub min_timestamp: i64,
    /// Offset delta of the first record with `max_timestamp`.
    pub offset_delta_of_max_timestamp: i32,
    /// Whether a record has no key (refused by compacted topics).
    pub has_null_key: bool,
}

/// Walks the records of a producer's batch and checks what Kafka's `LogValidator` checks of each: that it is well formed and that its
/// offset delta is its number.
///
/// `records` is uncompressed.
///
/// # Errors
/// [`RecordError`] at the first record that is not as it should be.
pub fn validate(header: &BatchHeader, records: &[u8]) -> Result<Summary, RecordError> {
    let mut summary = Summary {
        max_timestamp: -1,
        min_timestamp: -1,
        offset_delta_of_max_timestamp: 0,
        has_null_key: false,
    };
    for (record, index) in walk(records, header.record_count).zip(0..) {
        let record = record?;
        let offset_delta = record.offset_delta;
        if offset_delta != index {
            return Err(RecordError::OffsetDelta { index, offset_delta });
        }
        let timestamp = header.base_timestamp.wrapping_add(record.timestamp_delta);
        if index == 0 || timestamp > summary.max_timestamp {
            summary.max_timestamp = timestamp;
            summary.offset_delta_of_max_timestamp = offset_delta;
        }
        if index == 0 || timestamp < summary.min_timestamp {
            summary.min_timestamp = timestamp;
        }
        summary.has_null_key |= record.key.is_none();
    }
    Ok(summary)
}

fn take_record<'a>(rest: &mut &'a [u8], index: i32) -> Result<RecordView<'a>, RecordError> {
    let truncated = RecordError::Truncated { index };
    let all = *rest;
    let length = varint::take_i32(rest).ok_or(truncated)?;
    let (mut body, after) = usize::try_from(length)
        .map_err(|_| RecordError::BadLength { index, field: "length", value: length })
        .and_then(|length| rest.split_at_checked(length).ok_or(truncated))?;
    let raw = all.get(..all.len() - after.len()).unwrap_or_default();
    *rest = after;

    let (&attributes, tail) = body.split_first().ok_or(truncated)?;
    body = tail;
    let timestamp_delta = varint::take_i64(&mut body).ok_or(truncated)?;
    let offset_delta = varint::take_i32(&mut body).ok_or(truncated)?;
    let key = take_bytes(&mut body, index, "key length")?;
    let value = take_bytes(&mut body, index, "value length")?;
    let header_count = varint::take_i32(&mut body).ok_or(truncated)?;
    let too_many = RecordError::BadLength { index, field: "header count", value: header_count };
    if usize::try_from(header_count).map_err(|_| too_many)? > body.len() / HEADER_BYTES_MIN {
        return Err(too_many);
    }
    let headers = body;
    for _ in 0..header_count {
        take_header(&mut body, index)?;
    }
    if !body.is_empty() {
        return Err(RecordError::Unclaimed { index, bytes: body.len() });
    }
    Ok(RecordView {
        attributes: attributes.cast_signed(),
        timestamp_delta,
        offset_delta,
        key,
        value,
        raw,
        header_count,
        headers,
    })
}

fn take_header<'a>(body: &mut &'a [u8], index: i32) -> Result<HeaderView<'a>, RecordError> {
    let key = take_bytes(body, index, "header key length")?;
    let key = key.ok_or(RecordError::BadLength { index, field: "header key length", value: -1 })?;
    let value = take_bytes(body, index, "header value length")?;
    Ok(HeaderView { key, value })
}

fn take_bytes<'a>(
    body: &mut &'a [u8],
    index: i32,
    field: &'static str,
) -> Result<Option<&'a [u8]>, RecordError> {
    let length = varint::take_i32(body).ok_or(RecordError::Truncated { index })?;
    if length == -1 {
        return Ok(None);
    }
    let bad = RecordError::BadLength { index, field, value: length };
    let length = usize::try_from(length).map_err(|_| bad)?;
    let (bytes, after) = body.split_at_checked(length).ok_or(bad)?;
    *body = after;
    Ok(Some(bytes))
}
