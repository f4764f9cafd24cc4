//! Which partition keeps a group: Kafka's partitioner, so that both brokers and tools find the same.

/// `Utils.abs(group.hashCode()) % partitions`.
pub(super) fn partition_of(group: &str, partitions: i32) -> i32 {
    let hash =
        group.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    hash.checked_abs().unwrap_or(0) % partitions.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_are_where_kafka_puts_them() {
        // The hashes as `java.lang.String.hashCode` gives them: 0, 97, 98629247, -1906497762, -409444148.
        let groups = [("", 0), ("a", 47), ("group", 47), ("my-group", 12), ("größe-π-😀", 48)];
        for (group, partition) in groups {
            assert_eq!(partition_of(group, 50), partition, "{group}");
        }
    }

    #[test]
    fn the_smallest_hash_has_no_absolute_value_and_goes_to_partition_0() {
        // hashCode() == Integer.MIN_VALUE.
        assert_eq!(partition_of("polygenelubricants", 50), 0);
    }
}
