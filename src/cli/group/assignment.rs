//! What the leader of a classic group told a consumer that it gets, as people read it.

use std::collections::BTreeMap;

use crate::protocol::consumer_protocol;

/// Partitions by topic; `None` if the bytes are of another protocol. Empty bytes are no assignment.
#[must_use]
pub fn read(bytes: &[u8]) -> Option<BTreeMap<String, Vec<i32>>> {
    let mut topics: BTreeMap<String, Vec<i32>> = BTreeMap::new();
    if bytes.is_empty() {
        return Some(topics);
    }
    for (topic, partitions) in consumer_protocol::assignment(bytes).ok()?.0 {
        topics.entry(topic.to_string()).or_default().extend(partitions);
    }
    topics.values_mut().for_each(|partitions| partitions.sort_unstable());
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
    fn what_is_no_assignment_is_none() {
        assert_eq!(read(b"\xff\xff\0\0\0\0"), None);
        assert_eq!(read(b"x"), None);
    }
}
