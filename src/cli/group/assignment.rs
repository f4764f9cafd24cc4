//! Reads `ConsumerProtocolAssignment`, the bytes in which the leader of a classic group tells a consumer what it gets.
//!
//! They were written by some client of the group: nothing is allocated by a number that stands in them.

use std::collections::BTreeMap;

use bytes::Buf as _;

/// Partitions by topic; `None` if the bytes are of another protocol. Empty bytes are no assignment. All versions begin alike: INT16
/// version, ARRAY of (STRING topic, ARRAY of INT32 partitions).
#[must_use]
pub fn read(mut bytes: &[u8]) -> Option<BTreeMap<String, Vec<i32>>> {
    let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    if bytes.is_empty() {
        return Some(topics);
    }
    if bytes.try_get_i16().ok()? < 0 {
        return None;
    }
    for _ in 0..bytes.try_get_i32().ok()? {
        let length = usize::try_from(bytes.try_get_i16().ok()?).ok()?;
        let (name, rest) = bytes.split_at_checked(length)?;
        bytes = rest;
        let partitions = topics.entry(String::from_utf8(name.to_vec()).ok()?).or_default();
        for _ in 0..bytes.try_get_i32().ok()? {
            partitions.push(bytes.try_get_i32().ok()?);
        }
        partitions.sort_unstable();
    }
    Some(topics)
}

/// As people read it: `orders:0-2,5 payments:1`.
#[must_use]
pub fn text(topics: &BTreeMap<String, Vec<i32>>) -> String {
    let ranges = topics.iter().map(|(topic, partitions)| format!("{topic}:{}", ranges(partitions)));
    ranges.collect::<Vec<_>>().join(" ")
}

/// Ascending numbers with neighbours drawn together: `0-2,5`.
fn ranges(numbers: &[i32]) -> String {
    let mut runs: Vec<(i32, i32)> = Vec::new();
    for number in numbers {
        match runs.last_mut() {
            Some((_, last)) if i64::from(*number) == i64::from(*last) + 1 => *last = *number,
            _ => runs.push((*number, *number)),
        }
    }
    let text = |(first, last): &(i32, i32)| {
        if first == last { first.to_string() } else { format!("{first}-{last}") }
    };
    runs.iter().map(text).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_assignment_is_read_and_shown_in_ranges() {
        let bytes = b"\0\x01\0\0\0\x02\0\x01b\0\0\0\x01\0\0\0\x07\0\x01a\0\0\0\x03\0\0\0\x02\0\0\0\x01\0\0\0\x05\xff\xff\xff\xff";
        assert_eq!(text(&read(bytes).unwrap()), "a:1-2,5 b:7");
        assert_eq!(read(b""), Some(BTreeMap::new()));
    }

    #[test]
    fn what_is_no_assignment_is_none_and_costs_nothing() {
        assert_eq!(read(b"\0\x01\x7f\xff\xff\xff"), None, "more topics than bytes");
        assert_eq!(read(b"\0\x01\0\0\0\x01\0\x01a\x7f\xff\xff\xff"), None, "more partitions than bytes");
        assert_eq!(read(b"\0\x01\0\0\0\x01\x7f\xffa"), None, "a longer name than bytes");
        assert_eq!(read(b"\xff\xff\0\0\0\0"), None);
        assert_eq!(read(b"x"), None);
    }
}
