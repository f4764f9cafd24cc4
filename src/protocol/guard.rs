//! Walks a request before the codec decodes it (rule X1).
//!
//! The codec reserves memory by counts of the wire, so five bytes of a stranger could ask it for gigabytes. Here every count and
//! length is held against the bytes that remain, by a table of shapes (`guard/shapes_*.rs`: data, one line per field, in the order of
//! Kafka's message definitions). What passes is then safe to decode: every element that a count promises is there.
//!
//! Nothing is allocated or copied. Record batches are one field of bytes: [`super::batch`] looks into them.

use super::apis::{self, Api};
use super::varint;

pub mod shape;
pub(super) mod shapes_admin;
pub(super) mod shapes_data;
pub(super) mod shapes_groups;
pub(super) mod shapes_security;
pub(super) mod shapes_share;
pub(super) mod shapes_transactions;

use shape::{Field, Kind};

/// Elements that one request may have in all its arrays together (Apache Kafka 4.4 allows as many in each).
pub const ELEMENTS_MAX: usize = 1_000_000;
/// Tagged fields without a known meaning that one request may have in all (Apache Kafka 4.4 allows as many in each struct): the
/// codec keeps them in a map.
pub const TAGGED_FIELDS_MAX: usize = super::header::TAGGED_FIELDS_MAX as usize;
/// Largest memory that the codec takes for one element of an array (measured in `tests/guard_hostile.rs`).
const ELEMENT_MEMORY_BYTES: usize = 128;
/// The longest text (`org.apache.kafka.common.protocol.types.Type`).
const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// A request that may be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// Bytes after the last field. Kafka ignores them.
    pub trailing_bytes: usize,
    /// Structs and texts in arrays: what decoding allocates grows with them.
    pub elements: usize,
}

impl Checked {
    /// What decoding may allocate beside the frame itself, at most: for the budget of request memory (rule X3).
    #[must_use]
    pub const fn memory_bytes(&self) -> usize {
        self.elements.saturating_mul(ELEMENT_MEMORY_BYTES)
    }
}

/// Why a request must not be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum GuardError {
    /// No such API, or a version that cannot be decoded.
    #[error("api key {key} version {version} is not known")]
    Unknown {
        /// The API key.
        key: i16,
        /// The version.
        version: i16,
    },
    /// The body ends before the field does.
    #[error("body ends within {field}")]
    Truncated {
        /// Kafka's name of the field.
        field: &'static str,
    },
    /// A count or length that the rest of the body cannot hold, or below -1.
    #[error("{field} has length {length}, {remaining} bytes remain")]
    Length {
        /// Kafka's name of the field.
        field: &'static str,
        /// The number as it stands, less one if compact.
        length: i64,
        /// Bytes after it.
        remaining: usize,
    },
    /// Null where the version does not allow it.
    #[error("{field} is null")]
    Null {
        /// Kafka's name of the field.
        field: &'static str,
    },
    /// A number of variable length that is longer than it may be, or a byte that is neither present nor null.
    #[error("{field} is malformed")]
    Malformed {
        /// Kafka's name of the field.
        field: &'static str,
    },
    /// More elements than [`ELEMENTS_MAX`].
    #[error("the arrays up to {field} have more than {ELEMENTS_MAX} elements")]
    TooManyElements {
        /// Kafka's name of the field.
        field: &'static str,
    },
    /// More unknown tagged fields than [`TAGGED_FIELDS_MAX`].
    #[error("more than {TAGGED_FIELDS_MAX} unknown tagged fields")]
    TooManyTaggedFields,
    /// Tags that do not ascend (KIP-482 demands it), so one may stand twice.
    #[error("tag {tag} follows tag {previous}")]
    TagOrder {
        /// The tag.
        tag: u32,
        /// The one before it.
        previous: u32,
    },
    /// A known tagged field that does not fill its size, or is larger.
    #[error("tagged field {field} does not fit its size")]
    TagSize {
        /// Kafka's name of the field.
        field: &'static str,
    },
}

/// Whether requests of this API and version can be checked and decoded.
#[must_use]
pub fn knows(api_key: i16, version: i16) -> bool {
    apis::api(api_key).is_some_and(|api| api.decodes(version))
}

/// Checks the body of a request (what follows its header).
///
/// # Errors
/// [`GuardError`] at the first field that does not fit. The request must not be decoded then.
///
/// # Cost
/// Reads lengths and counts only; about 3 ns per field. A refusal costs no more than the walk up to it.
pub fn check(api_key: i16, version: i16, body: &[u8]) -> Result<Checked, GuardError> {
    let unknown = GuardError::Unknown { key: api_key, version };
    let api = apis::api(api_key).filter(|api| api.decodes(version)).ok_or(unknown)?;
    let flexible = version >= api.flexible_from;
    let mut walk = Walk { rest: body, version, flexible, elements: 0, unknown_tags: 0 };
    walk.fields(api.shape)?;
    Ok(Checked { trailing_bytes: walk.rest.len(), elements: walk.elements })
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    elements: usize,
    unknown_tags: usize,
}

impl Walk<'_> {
    fn fields(&mut self, fields: &'static [Field]) -> Result<(), GuardError> {
        for field in fields {
            if field.versions.contain(self.version) && field.tag.is_none() {
                self.field(field)?;
            }
        }
        if self.flexible { self.tagged_fields(fields) } else { Ok(()) }
    }

    fn field(&mut self, field: &'static Field) -> Result<(), GuardError> {
        match field.kind {
            Kind::Fixed(bytes) => self.skip(bytes, field),
            Kind::String => self.text(field),
            Kind::Bytes => match self.length(field)? {
                Some(bytes) => self.skip(bytes, field),
                None => Ok(()),
            },
            Kind::FixedArray(bytes) => self.fixed_array(bytes, field),
            Kind::StringArray => {
                for _ in 0..self.count(field)? {
                    self.text(field)?;
                }
                Ok(())
            }
            Kind::Struct(fields) => {
                if field.nullable.contain(self.version) && !self.is_present(field)? {
                    return Ok(());
                }
                self.fields(fields)
            }
            Kind::StructArray(fields) => {
                for _ in 0..self.count(field)? {
                    self.fields(fields)?;
                }
                Ok(())
            }
        }
    }

    #[inline]
    fn skip(&mut self, bytes: usize, field: &'static Field) -> Result<(), GuardError> {
        self.rest = self.rest.get(bytes..).ok_or(GuardError::Truncated { field: field.name })?;
        Ok(())
    }

    fn text(&mut self, field: &'static Field) -> Result<(), GuardError> {
        let length = if self.flexible {
            self.length(field)?
        } else {
            let (raw, after) =
                self.rest.split_first_chunk::<2>().ok_or(GuardError::Truncated { field: field.name })?;
            self.rest = after;
            self.fitting(i64::from(i16::from_be_bytes(*raw)), field)?
        };
        match length {
            // An element of an array of texts is never null; the field's own null is the array's.
            None if matches!(field.kind, Kind::StringArray) => Err(GuardError::Null { field: field.name }),
            None => Ok(()),
            Some(bytes) if bytes > STRING_BYTES_MAX => Err(self.bad_length(bytes, field)),
            Some(bytes) => self.skip(bytes, field),
        }
    }

    fn fixed_array(&mut self, element_bytes: usize, field: &'static Field) -> Result<(), GuardError> {
        let Some(count) = self.length(field)? else { return Ok(()) };
        if count > ELEMENTS_MAX {
            return Err(GuardError::TooManyElements { field: field.name });
        }
        match count.checked_mul(element_bytes).and_then(|bytes| self.rest.get(bytes..)) {
            Some(after) => {
                self.rest = after;
                Ok(())
            }
            None => Err(self.bad_length(count, field)),
        }
    }

    /// The number of elements of an array of structs or texts, 0 if it is null. Each takes one byte at least.
    fn count(&mut self, field: &'static Field) -> Result<usize, GuardError> {
        let count = self.length(field)?.unwrap_or(0);
        self.elements = self.elements.saturating_add(count);
        if self.elements > ELEMENTS_MAX {
            return Err(GuardError::TooManyElements { field: field.name });
        }
        Ok(count)
    }

    /// A 32-bit or compact length or count, at most the bytes that remain; `None` is a null that is allowed.
    #[inline]
    fn length(&mut self, field: &'static Field) -> Result<Option<usize>, GuardError> {
        let length = if self.flexible {
            let raw = varint::take_u32(&mut self.rest).ok_or(GuardError::Malformed { field: field.name })?;
            i64::from(raw) - 1
        } else {
            let (raw, after) =
                self.rest.split_first_chunk::<4>().ok_or(GuardError::Truncated { field: field.name })?;
            self.rest = after;
            i64::from(i32::from_be_bytes(*raw))
        };
        self.fitting(length, field)
    }

    #[inline]
    fn fitting(&self, length: i64, field: &'static Field) -> Result<Option<usize>, GuardError> {
        let remaining = self.rest.len();
        match usize::try_from(length) {
            Ok(length) if length <= remaining => Ok(Some(length)),
            Err(_) if length == -1 && field.nullable.contain(self.version) => Ok(None),
            Err(_) if length == -1 => Err(GuardError::Null { field: field.name }),
            _ => Err(GuardError::Length { field: field.name, length, remaining }),
        }
    }

    fn bad_length(&self, length: usize, field: &'static Field) -> GuardError {
        let length = i64::try_from(length).unwrap_or(i64::MAX);
        GuardError::Length { field: field.name, length, remaining: self.rest.len() }
    }

    /// Reads the byte before a struct that may be null: 1 is present, -1 is null.
    fn is_present(&mut self, field: &'static Field) -> Result<bool, GuardError> {
        let (&byte, after) = self.rest.split_first().ok_or(GuardError::Truncated { field: field.name })?;
        self.rest = after;
        match byte.cast_signed() {
            1 => Ok(true),
            -1 => Ok(false),
            _ => Err(GuardError::Malformed { field: field.name }),
        }
    }

    #[inline]
    fn tagged_fields(&mut self, fields: &'static [Field]) -> Result<(), GuardError> {
        if let Some((0, after)) = self.rest.split_first() {
            self.rest = after;
            return Ok(());
        }
        self.some_tagged_fields(fields)
    }

    fn some_tagged_fields(&mut self, fields: &'static [Field]) -> Result<(), GuardError> {
        const NAME: &str = "tagged fields";
        let malformed = GuardError::Malformed { field: NAME };
        let count = varint::take_u32(&mut self.rest).ok_or(malformed)?;
        let mut previous = None;
        for _ in 0..count {
            let tag = varint::take_u32(&mut self.rest).ok_or(malformed)?;
            if let Some(previous) = previous.filter(|previous| *previous >= tag) {
                return Err(GuardError::TagOrder { tag, previous });
            }
            previous = Some(tag);
            let length = varint::take_u32(&mut self.rest).ok_or(malformed)?;
            let size = usize::try_from(length).unwrap_or(usize::MAX);
            let remaining = self.rest.len();
            let (value, after) = self.rest.split_at_checked(size).ok_or(GuardError::Length {
                field: NAME,
                length: i64::from(length),
                remaining,
            })?;
            let known = fields.iter().find(|it| it.tag == Some(tag) && it.versions.contain(self.version));
            if let Some(field) = known {
                self.rest = value;
                self.field(field).map_err(|error| within(error, field))?;
                if !self.rest.is_empty() {
                    return Err(GuardError::TagSize { field: field.name });
                }
            } else {
                self.unknown_tags += 1;
                if self.unknown_tags > TAGGED_FIELDS_MAX {
                    return Err(GuardError::TooManyTaggedFields);
                }
            }
            self.rest = after;
        }
        Ok(())
    }
}

/// A tagged field that ends too early is one that does not fit its size.
fn within(error: GuardError, field: &'static Field) -> GuardError {
    match error {
        GuardError::Truncated { .. } => GuardError::TagSize { field: field.name },
        other => other,
    }
}

/// The shape of an API's requests, for tools and tests; `None` for a key that is not known.
#[must_use]
pub fn shape_of(api_key: i16) -> Option<&'static [Field]> {
    apis::api(api_key).map(Api::shape)
}
