//! Reads the primitive types of messages out of a frame; texts and bytes are slices of it.

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::varint;

/// A body does not decode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{field} is malformed or truncated")]
pub struct DecodeError {
    /// Kafka's name of the field.
    pub field: &'static str,
}

/// A body being read, in one of the two forms (KIP-482).
#[derive(Debug)]
pub(super) struct Reader<'a> {
    body: &'a Bytes,
    rest: &'a [u8],
    flexible: bool,
}

impl<'a> Reader<'a> {
    pub(super) fn new(body: &'a Bytes, flexible: bool) -> Self {
        Self { body, rest: body, flexible }
    }

    pub(super) fn i8(&mut self, field: &'static str) -> Result<i8, DecodeError> {
        self.fixed(field).map(i8::from_be_bytes)
    }

    pub(super) fn i16(&mut self, field: &'static str) -> Result<i16, DecodeError> {
        self.fixed(field).map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self, field: &'static str) -> Result<i32, DecodeError> {
        self.fixed(field).map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self, field: &'static str) -> Result<i64, DecodeError> {
        self.fixed(field).map(i64::from_be_bytes)
    }

    pub(super) fn uuid(&mut self, field: &'static str) -> Result<Uuid, DecodeError> {
        self.fixed(field).map(Uuid::from_bytes)
    }

    /// The number of elements that follow. Never larger than the bytes that remain; reserve nothing by it all the same.
    pub(super) fn array(&mut self, field: &'static str) -> Result<usize, DecodeError> {
        self.nullable_array(field)?.ok_or(DecodeError { field })
    }

    /// As [`Reader::array`], or null.
    pub(super) fn nullable_array(&mut self, field: &'static str) -> Result<Option<usize>, DecodeError> {
        let count = self.length_32(field)?;
        if count.is_none_or(|count| count <= self.rest.len()) {
            Ok(count)
        } else {
            Err(DecodeError { field })
        }
    }

    pub(super) fn nullable_bytes(&mut self, field: &'static str) -> Result<Option<Bytes>, DecodeError> {
        let Some(length) = self.length_32(field)? else { return Ok(None) };
        self.slice(length, field).map(Some)
    }

    pub(super) fn string(&mut self, field: &'static str) -> Result<StrBytes, DecodeError> {
        self.nullable_string(field)?.ok_or(DecodeError { field })
    }

    pub(super) fn nullable_string(&mut self, field: &'static str) -> Result<Option<StrBytes>, DecodeError> {
        let length = if self.flexible {
            self.length_32(field)?
        } else {
            nullable(i64::from(self.i16(field)?), field)?
        };
        let Some(length) = length else { return Ok(None) };
        let text = StrBytes::try_from(self.slice(length, field)?);
        text.map(Some).map_err(|_| DecodeError { field })
    }

    /// Skips tagged fields without a known meaning; nothing in versions that have none.
    pub(super) fn skip_tagged_fields(&mut self) -> Result<(), DecodeError> {
        self.tagged_fields(|_, _| Ok(false))
    }

    /// Reads tagged fields: `known` gets the tag and the reader at its value, and reads it or says that it does not know it.
    pub(super) fn tagged_fields(
        &mut self,
        mut known: impl FnMut(u32, &mut Self) -> Result<bool, DecodeError>,
    ) -> Result<(), DecodeError> {
        if !self.flexible {
            return Ok(());
        }
        let bad = DecodeError { field: "tagged fields" };
        for _ in 0..varint::take_u32(&mut self.rest).ok_or(bad)? {
            let tag = varint::take_u32(&mut self.rest).ok_or(bad)?;
            let size = varint::take_u32(&mut self.rest).ok_or(bad)?;
            let size = usize::try_from(size).map_err(|_| bad)?;
            let (value, after) = self.rest.split_at_checked(size).ok_or(bad)?;
            self.rest = value;
            if known(tag, self)? && !self.rest.is_empty() {
                return Err(bad);
            }
            self.rest = after;
        }
        Ok(())
    }

    fn length_32(&mut self, field: &'static str) -> Result<Option<usize>, DecodeError> {
        let raw = if self.flexible {
            i64::from(varint::take_u32(&mut self.rest).ok_or(DecodeError { field })?) - 1
        } else {
            i64::from(self.i32(field)?)
        };
        nullable(raw, field)
    }

    fn slice(&mut self, length: usize, field: &'static str) -> Result<Bytes, DecodeError> {
        let (slice, after) = self.rest.split_at_checked(length).ok_or(DecodeError { field })?;
        self.rest = after;
        Ok(self.body.slice_ref(slice))
    }

    fn fixed<const N: usize>(&mut self, field: &'static str) -> Result<[u8; N], DecodeError> {
        let (bytes, after) = self.rest.split_first_chunk().ok_or(DecodeError { field })?;
        self.rest = after;
        Ok(*bytes)
    }
}

fn nullable(raw: i64, field: &'static str) -> Result<Option<usize>, DecodeError> {
    match raw {
        -1 => Ok(None),
        raw => usize::try_from(raw).map(Some).map_err(|_| DecodeError { field }),
    }
}
