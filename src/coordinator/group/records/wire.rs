//! The primitive types of Kafka's schemas, in the old form and the compact one of flexible versions (KIP-482).

use bytes::{BufMut, Bytes};
use uuid::Uuid;

use super::codec::{RecordError, RecordProblem};
use crate::coordinator::group::command::Name;
use crate::protocol::varint;
pub(super) use crate::protocol::writer::Writer;
use crate::types::TopicId;

/// Key or value being read. Counts and lengths are checked against the bytes that remain before anything is reserved.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
    size: usize,
    schema: &'static str,
    flexible: bool,
}

type Read<T> = Result<T, RecordError>;

impl<'a> Reader<'a> {
    pub(super) const fn new(bytes: &'a [u8], schema: &'static str) -> Self {
        Self { rest: bytes, size: bytes.len(), schema, flexible: false }
    }

    pub(super) const fn name_schema(&mut self, schema: &'static str) {
        self.schema = schema;
    }

    pub(super) const fn set_flexible(&mut self, flexible: bool) {
        self.flexible = flexible;
    }

    pub(super) fn i8(&mut self, field: &'static str) -> Read<i8> {
        self.fixed(field).map(i8::from_be_bytes)
    }

    pub(super) fn i16(&mut self, field: &'static str) -> Read<i16> {
        self.fixed(field).map(i16::from_be_bytes)
    }

    pub(super) fn i32(&mut self, field: &'static str) -> Read<i32> {
        self.fixed(field).map(i32::from_be_bytes)
    }

    pub(super) fn i64(&mut self, field: &'static str) -> Read<i64> {
        self.fixed(field).map(i64::from_be_bytes)
    }

    pub(super) fn topic_id(&mut self, field: &'static str) -> Read<TopicId> {
        let uuid = self.fixed(field).map(Uuid::from_bytes)?;
        Ok(TopicId::new(uuid).unwrap_or(TopicId::ZERO))
    }

    pub(super) fn name(&mut self, field: &'static str) -> Read<Name> {
        self.nullable_name(field)?.ok_or_else(|| self.error(field, RecordProblem::Null))
    }

    pub(super) fn nullable_name(&mut self, field: &'static str) -> Read<Option<Name>> {
        let length = if self.flexible { self.length_32(field)? } else { i64::from(self.i16(field)?) };
        let Some(length) = self.nullable(length, field)? else { return Ok(None) };
        let bytes = self.take(length, field)?;
        let text = std::str::from_utf8(bytes).map_err(|_| self.error(field, RecordProblem::NotUtf8))?;
        // The empty name is one shared allocation: most offsets have empty metadata.
        Ok(Some(if text.is_empty() { Name::default() } else { text.into() }))
    }

    /// A copy: what is kept for long must not pin the buffer of a whole read.
    pub(super) fn bytes(&mut self, field: &'static str) -> Read<Bytes> {
        let length = self.length_32(field)?;
        let length = self.nullable(length, field)?.ok_or_else(|| self.error(field, RecordProblem::Null))?;
        self.take(length, field).map(Bytes::copy_from_slice)
    }

    /// An array of elements that `read` reads, each at least `size_min` bytes long.
    pub(super) fn array<T>(
        &mut self,
        field: &'static str,
        size_min: usize,
        read: impl Fn(&mut Self) -> Read<T>,
    ) -> Read<Vec<T>> {
        self.nullable_array(field, size_min, read)?.ok_or_else(|| self.error(field, RecordProblem::Null))
    }

    /// As [`Reader::array`], or null.
    pub(super) fn nullable_array<T>(
        &mut self,
        field: &'static str,
        size_min: usize,
        read: impl Fn(&mut Self) -> Read<T>,
    ) -> Read<Option<Vec<T>>> {
        let count = self.length_32(field)?;
        let Some(count) = self.nullable(count, field)? else { return Ok(None) };
        if count > self.rest.len() / size_min {
            return Err(self.error(field, RecordProblem::TooLong));
        }
        let mut elements = Vec::with_capacity(count);
        for _ in 0..count {
            elements.push(read(self)?);
        }
        Ok(Some(elements))
    }

    /// Reads tagged fields: `known` gets the tag and the reader at its value, and reads it or says that it does not know it. Versions
    /// that are not flexible have none.
    pub(super) fn tagged_fields(&mut self, mut known: impl FnMut(u32, &mut Self) -> Read<bool>) -> Read<()> {
        const FIELD: &str = "tagged fields";
        if !self.flexible {
            return Ok(());
        }
        for _ in 0..self.varint(FIELD)? {
            let tag = self.varint(FIELD)?;
            let size = self.varint(FIELD)?;
            let size = usize::try_from(size).map_err(|_| self.error(FIELD, RecordProblem::TooLong))?;
            let Some((value, after)) = self.rest.split_at_checked(size) else {
                return Err(self.error(FIELD, RecordProblem::Truncated));
            };
            // The bytes after the field are put aside, so that reading it cannot go past its end.
            let all = self.size;
            self.size -= after.len();
            self.rest = value;
            if known(tag, self)? && !self.rest.is_empty() {
                return Err(self.error(FIELD, RecordProblem::TooLong));
            }
            self.size = all;
            self.rest = after;
        }
        Ok(())
    }

    /// Skips tagged fields without a known meaning.
    pub(super) fn skip_tagged_fields(&mut self) -> Read<()> {
        self.tagged_fields(|_, _| Ok(false))
    }

    pub(super) const fn error(&self, field: &'static str, problem: RecordProblem) -> RecordError {
        RecordError { schema: self.schema, field, at: self.size - self.rest.len(), problem }
    }

    fn varint(&mut self, field: &'static str) -> Read<u32> {
        varint::take_u32(&mut self.rest).ok_or_else(|| self.error(field, RecordProblem::Truncated))
    }

    fn length_32(&mut self, field: &'static str) -> Read<i64> {
        if self.flexible { Ok(i64::from(self.varint(field)?) - 1) } else { self.i32(field).map(i64::from) }
    }

    fn nullable(&self, length: i64, field: &'static str) -> Read<Option<usize>> {
        match length {
            -1 => Ok(None),
            length => {
                let length = usize::try_from(length).ok().filter(|length| *length <= self.rest.len());
                length.map(Some).ok_or_else(|| self.error(field, RecordProblem::TooLong))
            }
        }
    }

    fn take(&mut self, length: usize, field: &'static str) -> Read<&'a [u8]> {
        let Some((bytes, after)) = self.rest.split_at_checked(length) else {
            return Err(self.error(field, RecordProblem::Truncated));
        };
        self.rest = after;
        Ok(bytes)
    }

    fn fixed<const N: usize>(&mut self, field: &'static str) -> Read<[u8; N]> {
        let Some((bytes, after)) = self.rest.split_first_chunk() else {
            return Err(self.error(field, RecordProblem::Truncated));
        };
        self.rest = after;
        Ok(*bytes)
    }
}

/// What keys and values need beside the primitive types of messages.
impl Writer {
    /// Begins with the type of a key or the version of a value.
    pub(super) fn begin(prefix: i16, flexible: bool) -> Self {
        let mut writer = Self::new(64, flexible);
        writer.i16(prefix);
        writer
    }

    pub(super) fn finish(self) -> Bytes {
        self.buffer.freeze()
    }

    pub(super) fn topic_id(&mut self, value: TopicId) {
        self.uuid(value.uuid());
    }

    pub(super) fn name(&mut self, value: &str) {
        self.nullable_name(Some(value));
    }

    /// A text or null. The old form has room for [`super::NAME_BYTES_MAX`]: a longer one, which no shard lets in, is cut. The compact
    /// form has room for all.
    pub(super) fn nullable_name(&mut self, value: Option<&str>) {
        if self.flexible {
            self.length_32(value.map(str::len));
            self.buffer.put_slice(value.unwrap_or_default().as_bytes());
        } else {
            self.nullable_string(value);
        }
    }

    pub(super) fn bytes(&mut self, value: &[u8]) {
        self.bytes_length(value.len());
        self.buffer.put_slice(value);
    }

    /// An array of what `write` writes of each element.
    pub(super) fn elements<T>(&mut self, elements: &[T], write: impl Fn(&mut Self, &T)) {
        self.array(elements.len());
        for element in elements {
            write(self, element);
        }
    }

    /// One tagged field, of what `write` writes.
    pub(super) fn tagged(&mut self, tag: u32, write: impl FnOnce(&mut Self)) {
        let mut value = Self::new(0, self.flexible);
        write(&mut value);
        self.tagged_field(tag, value.buffer.len());
        self.buffer.put_slice(&value.buffer);
    }
}
