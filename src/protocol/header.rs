//! Request and response headers.
//!
//! Request: api key (i16), version (i16), correlation id (i32), client id (nullable string, never compact); flexible versions add tagged
//! fields. Response: correlation id; flexible versions add tagged fields, except ApiVersions, whose answer must be readable before
//! anyone knows the version (KIP-511).

use bytes::{BufMut, Bytes};
use kafka_protocol::protocol::StrBytes;

use super::apis;
use super::varint;

/// Key of ApiVersions.
pub const API_VERSIONS_KEY: i16 = 18;
/// More tagged fields than this are refused, as Apache Kafka 4.4 does (rule X1).
pub const TAGGED_FIELDS_MAX: u32 = 10_000;

/// The header of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// Which API.
    pub api_key: i16,
    /// Which version of it.
    pub api_version: i16,
    /// Comes back in the response.
    pub correlation_id: i32,
    /// `client.id`, if the client says one. A slice of the frame; bytes that are not UTF-8 are replaced, as in Kafka.
    pub client_id: Option<StrBytes>,
}

/// Why a frame is not a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The frame ends within the header.
    #[error("request header is truncated: the frame has {bytes} bytes")]
    Truncated {
        /// Size of the frame.
        bytes: usize,
    },
    /// A client id with a length below -1 or past the frame.
    #[error("client id has length {length}")]
    ClientId {
        /// The length as it stands.
        length: i16,
    },
    /// Tagged fields that do not fit the frame or are too many.
    #[error("tagged fields of the request header are malformed")]
    TaggedFields,
}

/// Splits a frame (without its length prefix) into header and body. Nothing is copied.
///
/// Any key and version is accepted. For a key that is not known the header is taken as not flexible.
///
/// # Errors
/// [`FrameError`] if the bytes are no header.
pub fn parse(frame: &Bytes) -> Result<(RequestHeader, Bytes), FrameError> {
    let truncated = FrameError::Truncated { bytes: frame.len() };
    let mut rest = frame.as_ref();
    let api_key = i16::from_be_bytes(take(&mut rest).ok_or(truncated)?);
    let api_version = i16::from_be_bytes(take(&mut rest).ok_or(truncated)?);
    let correlation_id = i32::from_be_bytes(take(&mut rest).ok_or(truncated)?);

    let length = i16::from_be_bytes(take(&mut rest).ok_or(truncated)?);
    let client_id = if length == -1 {
        None
    } else {
        let bad = FrameError::ClientId { length };
        let length = usize::try_from(length).map_err(|_| bad)?;
        let (text, after) = rest.split_at_checked(length).ok_or(bad)?;
        rest = after;
        let text = frame.slice_ref(text);
        Some(
            StrBytes::from_utf8(text.clone())
                .unwrap_or_else(|_| StrBytes::from_string(String::from_utf8_lossy(&text).into_owned())),
        )
    };
    if apis::is_flexible(api_key, api_version) == Some(true) {
        rest = skip_tagged_fields(rest).ok_or(FrameError::TaggedFields)?;
    }
    let body = frame.slice_ref(rest);
    Ok((RequestHeader { api_key, api_version, correlation_id, client_id }, body))
}

/// What stands after the tagged fields at the beginning of `rest`.
fn skip_tagged_fields(mut rest: &[u8]) -> Option<&[u8]> {
    let count = varint::take_u32(&mut rest)?;
    if count > TAGGED_FIELDS_MAX {
        return None;
    }
    for _ in 0..count {
        let _tag = varint::take_u32(&mut rest)?;
        let size = usize::try_from(varint::take_u32(&mut rest)?).ok()?;
        rest = rest.get(size..)?;
    }
    Some(rest)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (bytes, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*bytes)
}

/// Size of the header of an answer: 4, or 5 with its tagged fields.
#[must_use]
pub fn response_header_bytes(api_key: i16, api_version: i16) -> usize {
    let flexible = api_key != API_VERSIONS_KEY && apis::is_flexible(api_key, api_version) == Some(true);
    4 + usize::from(flexible)
}

/// Writes the header of an answer, with no tagged field.
pub fn put_response_header(output: &mut impl BufMut, api_key: i16, api_version: i16, correlation_id: i32) {
    output.put_i32(correlation_id);
    if response_header_bytes(api_key, api_version) == 5 {
        output.put_u8(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(parts: &[&[u8]]) -> Bytes {
        parts.concat().into()
    }

    #[test]
    fn a_header_before_flexible_versions_ends_with_the_client_id() {
        let frame = frame(&[&[0, 0, 0, 8, 0, 0, 0, 42, 0, 3], b"abc", b"body"]);
        let (header, body) = parse(&frame).unwrap();
        assert_eq!((header.api_key, header.api_version, header.correlation_id), (0, 8, 42));
        assert_eq!(header.client_id.as_deref(), Some("abc"));
        assert_eq!(body.as_ref(), b"body");
    }

    #[test]
    fn a_flexible_header_has_tagged_fields_which_are_skipped() {
        let frame = frame(&[&[0, 0, 0, 9, 0, 0, 0, 42, 0xff, 0xff], &[2, 0, 3, 1, 2, 3, 7, 0], b"body"]);
        let (header, body) = parse(&frame).unwrap();
        assert_eq!(header.client_id, None);
        assert_eq!(body.as_ref(), b"body");
    }

    #[test]
    fn every_truncation_of_a_header_is_refused() {
        let frame = frame(&[&[0, 18, 0, 3, 0, 0, 0, 42, 0, 3], b"abc", &[1, 0, 3, 1, 2, 3]]);
        assert!(parse(&frame).is_ok());
        for end in 0..frame.len() {
            assert!(parse(&frame.slice(..end)).is_err(), "{end}");
        }
    }

    #[test]
    fn impossible_lengths_and_counts_are_refused() {
        let start = [0, 18, 0, 3, 0, 0, 0, 42];
        assert_eq!(parse(&frame(&[&start, &[0xff, 0xfe]])), Err(FrameError::ClientId { length: -2 }));
        assert_eq!(
            parse(&frame(&[&start, &[0x7f, 0xff, b'a']])),
            Err(FrameError::ClientId { length: i16::MAX })
        );
        for count in
            [[0xff, 0xff, 0xff, 0xff, 0x0f].as_slice(), &[0x91, 0x4e], &[0x80, 0x80, 0x80, 0x80, 0x80, 0]]
        {
            let rest = [0u8; 40_000];
            assert_eq!(parse(&frame(&[&start, &[0, 0], count, &rest])), Err(FrameError::TaggedFields));
        }
        let size = [1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f];
        assert_eq!(parse(&frame(&[&start, &[0, 0], &size])), Err(FrameError::TaggedFields));
    }

    #[test]
    fn a_client_id_that_is_not_utf8_is_mended_rather_than_refused() {
        let (header, _) = parse(&frame(&[&[0, 0, 0, 3, 0, 0, 0, 1, 0, 2, b'a', 0xff]])).unwrap();
        assert_eq!(header.client_id.as_deref(), Some("a\u{fffd}"));
    }

    #[test]
    fn only_the_answer_to_api_versions_never_has_a_flexible_header() {
        let mut output = Vec::new();
        put_response_header(&mut output, API_VERSIONS_KEY, 4, 7);
        assert_eq!(output, [0, 0, 0, 7]);
        put_response_header(&mut output, 3, 8, 8);
        put_response_header(&mut output, 3, 9, 9);
        assert_eq!(output, [0, 0, 0, 7, 0, 0, 0, 8, 0, 0, 0, 9, 0]);
    }
}
