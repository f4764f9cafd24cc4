//! The words in which the shapes of requests are written down.

/// One field of a message, as Kafka's message definitions have it.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    /// Kafka's name.
    pub name: &'static str,
    /// Versions that have the field.
    pub versions: Versions,
    /// Versions in which it may be null.
    pub nullable: Versions,
    /// Its number among the tagged fields, if it is one; else it stands in its place.
    pub tag: Option<u32>,
    /// What it is.
    pub kind: Kind,
}

/// What a field is on the wire.
#[derive(Debug, Clone, Copy)]
pub enum Kind {
    /// So many bytes.
    Fixed(usize),
    /// A length (i16, or compact) and text.
    String,
    /// A length (i32, or compact) and bytes; record batches too: what is in them is not the guard's business.
    Bytes,
    /// A count (i32, or compact) and so many elements of so many bytes.
    FixedArray(usize),
    /// A count and texts.
    StringArray,
    /// Fields; if it may be null, a byte before them tells.
    Struct(&'static [Field]),
    /// A count and structs.
    StructArray(&'static [Field]),
}

/// A range of versions, both ends included. Empty if `min > max`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Versions {
    /// The first.
    pub min: i16,
    /// The last.
    pub max: i16,
}

impl Versions {
    /// Whether `version` is one of them.
    #[must_use]
    #[inline]
    pub const fn contain(self, version: i16) -> bool {
        self.min <= version && version <= self.max
    }
}

pub(super) const ALL: Versions = since(0);
pub(super) const NONE: Versions = Versions { min: 1, max: 0 };
pub(super) const BOOL: Kind = Kind::Fixed(1);
pub(super) const INT8: Kind = Kind::Fixed(1);
pub(super) const INT16: Kind = Kind::Fixed(2);
pub(super) const INT32: Kind = Kind::Fixed(4);
pub(super) const INT64: Kind = Kind::Fixed(8);
pub(super) const FLOAT64: Kind = Kind::Fixed(8);
pub(super) const UUID: Kind = Kind::Fixed(16);
pub(super) const STRING: Kind = Kind::String;
pub(super) const BYTES: Kind = Kind::Bytes;
pub(super) const RECORDS: Kind = Kind::Bytes;
pub(super) const INT8S: Kind = Kind::FixedArray(1);
pub(super) const INT32S: Kind = Kind::FixedArray(4);
pub(super) const INT64S: Kind = Kind::FixedArray(8);
pub(super) const STRINGS: Kind = Kind::StringArray;

pub(super) const fn since(min: i16) -> Versions {
    Versions { min, max: i16::MAX }
}

pub(super) const fn until(max: i16) -> Versions {
    Versions { min: 0, max }
}

pub(super) const fn only(min: i16, max: i16) -> Versions {
    Versions { min, max }
}

pub(super) const fn a_struct(fields: &'static [Field]) -> Kind {
    Kind::Struct(fields)
}

pub(super) const fn structs(fields: &'static [Field]) -> Kind {
    Kind::StructArray(fields)
}

pub(super) const fn f(name: &'static str, versions: Versions, kind: Kind) -> Field {
    Field { name, versions, nullable: NONE, tag: None, kind }
}

impl Field {
    pub(super) const fn nullable(mut self, versions: Versions) -> Self {
        self.nullable = versions;
        self
    }

    pub(super) const fn tag(mut self, tag: u32) -> Self {
        self.tag = Some(tag);
        self
    }
}
