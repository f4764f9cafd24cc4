//! Writes the primitive types of messages, in the compact form of flexible versions or the old one.

use bytes::{BufMut, BytesMut};
use uuid::Uuid;

use super::header;

/// A growing message in one of the two forms (KIP-482).
#[derive(Debug)]
pub(crate) struct Writer {
    pub(crate) buffer: BytesMut,
    pub(crate) flexible: bool,
}

impl Writer {
    pub(crate) fn new(capacity: usize, flexible: bool) -> Self {
        Self { buffer: BytesMut::with_capacity(capacity), flexible }
    }

    /// Begins a response frame: room for the length, then the header.
    pub(crate) fn begin_frame(&mut self, api_key: i16, api_version: i16, correlation_id: i32) {
        self.buffer.put_u32(0);
        header::put_response_header(&mut self.buffer, api_key, api_version, correlation_id);
    }

    /// Writes the length of a frame that is `frame_bytes` long with its length prefix.
    pub(crate) fn end_frame(&mut self, frame_bytes: usize) {
        let length = u32::try_from(frame_bytes.saturating_sub(4)).unwrap_or(u32::MAX);
        if let Some(place) = self.buffer.first_chunk_mut() {
            *place = length.to_be_bytes();
        }
    }

    pub(crate) fn i8(&mut self, value: i8) {
        self.buffer.put_i8(value);
    }

    pub(crate) fn i16(&mut self, value: i16) {
        self.buffer.put_i16(value);
    }

    pub(crate) fn i32(&mut self, value: i32) {
        self.buffer.put_i32(value);
    }

    pub(crate) fn i64(&mut self, value: i64) {
        self.buffer.put_i64(value);
    }

    pub(crate) fn uuid(&mut self, value: Uuid) {
        self.buffer.put_slice(value.as_bytes());
    }

    /// The number of elements that follow.
    pub(crate) fn array(&mut self, elements: usize) {
        self.length_32(Some(elements));
    }

    /// The number of elements that follow, or null.
    pub(crate) fn nullable_array(&mut self, elements: Option<usize>) {
        self.length_32(elements);
    }

    /// The size of the bytes or records that follow.
    pub(crate) fn bytes_length(&mut self, bytes: usize) {
        self.length_32(Some(bytes));
    }

    /// A text; one longer than 32,767 bytes is cut, which only error messages could be.
    pub(crate) fn string(&mut self, text: &str) {
        self.nullable_string(Some(text));
    }

    pub(crate) fn nullable_string(&mut self, text: Option<&str>) {
        let text = text.map(|text| text.get(..text.floor_char_boundary(i16::MAX as usize)).unwrap_or(text));
        let bytes = text.map_or(0, str::len);
        match (self.flexible, text) {
            (true, None) => self.varint(0),
            (true, Some(_)) => self.varint(u32::try_from(bytes + 1).unwrap_or(u32::MAX)),
            (false, None) => self.i16(-1),
            (false, Some(_)) => self.i16(i16::try_from(bytes).unwrap_or(i16::MAX)),
        }
        self.buffer.put_slice(text.unwrap_or_default().as_bytes());
    }

    /// The number of tagged fields that follow; nothing in versions that have none.
    pub(crate) fn tagged_fields(&mut self, fields: u32) {
        if self.flexible {
            self.varint(fields);
        }
    }

    /// Tag and size of one tagged field, whose bytes follow.
    pub(crate) fn tagged_field(&mut self, tag: u32, bytes: usize) {
        self.varint(tag);
        self.varint(u32::try_from(bytes).unwrap_or(u32::MAX));
    }

    /// The number of elements or bytes that follow, or null.
    pub(crate) fn length_32(&mut self, length: Option<usize>) {
        match (self.flexible, length) {
            (true, None) => self.varint(0),
            (true, Some(length)) => self.varint(u32::try_from(length.saturating_add(1)).unwrap_or(u32::MAX)),
            (false, None) => self.i32(-1),
            (false, Some(length)) => self.i32(i32::try_from(length).unwrap_or(i32::MAX)),
        }
    }

    fn varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.buffer.put_u8((value & 0x7f) as u8 | 0x80);
            value >>= 7;
        }
        self.buffer.put_u8((value & 0x7f) as u8);
    }
}
