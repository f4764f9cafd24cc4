//! Which keys a request means.

use std::ops::Bound;

/// A set of keys: one, all from one on, or all of an interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyRange<'a> {
    /// Exactly this key.
    One(&'a [u8]),
    /// This key and all after it.
    From(&'a [u8]),
    /// From the first (inclusive) to the second (exclusive). Empty if they are the wrong way round.
    Between(&'a [u8], &'a [u8]),
}

/// Both ends of a range over the ordered index.
pub type Bounds<'a> = (Bound<&'a [u8]>, Bound<&'a [u8]>);

impl<'a> KeyRange<'a> {
    /// etcd's pair: an empty `range_end` means the key alone, the single byte 0 means no upper end.
    #[must_use]
    pub fn new(key: &'a [u8], range_end: &'a [u8]) -> Self {
        match range_end {
            [] => Self::One(key),
            [0] => Self::From(key),
            _ => Self::Between(key, range_end),
        }
    }

    /// Whether the set holds `key`.
    #[must_use]
    pub fn contains(&self, key: &[u8]) -> bool {
        match *self {
            Self::One(one) => key == one,
            Self::From(from) => key >= from,
            Self::Between(from, end) => key >= from && key < end,
        }
    }

    /// Whether the set can hold no key at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        matches!(self, Self::Between(from, end) if from >= end)
    }

    /// The ends for a lookup in an ordered map; `None` for an empty set (an ordered map refuses ends that cross).
    #[must_use]
    pub fn bounds(&self) -> Option<Bounds<'a>> {
        match *self {
            Self::One(key) => Some((Bound::Included(key), Bound::Included(key))),
            Self::From(key) => Some((Bound::Included(key), Bound::Unbounded)),
            Self::Between(from, end) => (from < end).then_some((Bound::Included(from), Bound::Excluded(end))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_end_of_one_zero_byte_means_everything_from_the_key_on() {
        let range = KeyRange::new(b"b", &[0]);
        assert!(!range.contains(b"a") && range.contains(b"b") && range.contains(&[0xff, 0xff]));
    }

    #[test]
    fn an_interval_excludes_its_end_and_an_inverted_one_holds_nothing() {
        let range = KeyRange::new(b"b", b"d");
        assert!(range.contains(b"b") && range.contains(b"c") && !range.contains(b"d"));
        let inverted = KeyRange::new(b"d", b"b");
        assert!(inverted.is_empty() && inverted.bounds().is_none() && !inverted.contains(b"c"));
    }
}
