//! What must hold of everything that was acknowledged, against everything that was read.

use std::collections::BTreeMap;

use crate::kafka::{Found, Producer};

/// Every acknowledged record was read at its offset, exactly once and in order; nothing was read that was not sent.
/// `producers` are those of one partition, with no batch in flight; `found` is the partition from its start.
pub fn check(producers: &[&Producer], found: &[Found]) {
    let mut end = None;
    let mut next: BTreeMap<i64, i32> = BTreeMap::new();
    for record in found {
        assert!(end.is_none_or(|end| record.offset == end), "a gap before {record:?}: expected {end:?}");
        end = Some(record.offset + 1);
        let expected = next.entry(record.producer).or_default();
        assert_eq!(record.number, *expected, "lost, repeated or out of order: {record:?}");
        *expected += 1;
    }
    let by_offset: BTreeMap<i64, &Found> = found.iter().map(|record| (record.offset, record)).collect();
    for producer in producers {
        let read = next.remove(&producer.id).unwrap_or_default();
        assert_eq!(read, producer.next_number, "records of producer {}", producer.id);
        for &(offset, number, count) in &producer.acked {
            for index in 0..count {
                let record = by_offset.get(&(offset + i64::from(index)));
                assert_eq!(
                    record.map(|record| (record.producer, record.number)),
                    Some((producer.id, number + index)),
                    "acknowledged at offset {}",
                    offset + i64::from(index)
                );
            }
        }
    }
    assert!(next.is_empty(), "records of producers that nobody started: {next:?}");
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::kafka::Found;

    #[test]
    #[should_panic(expected = "lost, repeated or out of order")]
    fn a_duplicate_is_seen() {
        let found = [(0, 0), (1, 0)].map(|(offset, number)| Found { offset, producer: 1, number });
        check(&[], &found);
    }

    #[test]
    #[should_panic(expected = "a gap before")]
    fn a_gap_is_seen() {
        let found = [(0, 0), (2, 1)].map(|(offset, number)| Found { offset, producer: 1, number });
        check(&[], &found);
    }
}
