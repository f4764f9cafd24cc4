//! Which partition a record goes to: as the Java client's default partitioner does it.

use crate::types::random;

/// Chooses partitions. Records with a key go by its hash; records without stick to one partition until the batch is sent.
#[derive(Debug)]
pub struct Partitioner {
    partitions: i32,
    available: Vec<i32>,
    sticky: i32,
}

impl Partitioner {
    /// A partitioner over `partitions` partitions of which those in `available` have a leader.
    #[must_use]
    pub fn new(partitions: i32, available: Vec<i32>) -> Self {
        let mut partitioner = Self { partitions, available, sticky: 0 };
        partitioner.next_batch();
        partitioner
    }

    /// The partition of a record.
    #[must_use]
    pub fn choose(&self, key: Option<&[u8]>) -> i32 {
        key.map_or(self.sticky, |key| for_key(key, self.partitions))
    }

    /// A batch was sent: records without a key go elsewhere from now on.
    pub fn next_batch(&mut self) {
        let pick = random::below(self.available.len() as u64);
        let pick = usize::try_from(pick).unwrap_or_default();
        self.sticky = self.available.get(pick).copied().unwrap_or(0);
    }
}

/// The partition of a key (`BuiltInPartitioner.partitionForKey`): the sign bit of the hash is masked, not negated.
#[must_use]
pub fn for_key(key: &[u8], partitions: i32) -> i32 {
    let positive = murmur2(key) & 0x7fff_ffff;
    i32::try_from(positive % u32::try_from(partitions.max(1)).unwrap_or(1)).unwrap_or(0)
}

/// Austin Appleby's 32-bit MurmurHash2 with Kafka's seed (`org.apache.kafka.common.utils.Utils.murmur2`).
#[must_use]
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const MULTIPLIER: u32 = 0x5bd1_e995;
    // The hash mixes in the length modulo 2^32.
    let length = u32::try_from(data.len() & 0xffff_ffff).unwrap_or_default();
    let mut hash = SEED ^ length;
    let (words, tail) = data.as_chunks::<4>();
    for word in words {
        let mut k = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        k ^= k >> 24;
        hash = hash.wrapping_mul(MULTIPLIER) ^ k.wrapping_mul(MULTIPLIER);
    }
    if !tail.is_empty() {
        for (index, byte) in tail.iter().enumerate() {
            hash ^= u32::from(*byte) << (8 * index);
        }
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_kafkas() {
        // org.apache.kafka.common.utils.UtilsTest.testMurmur2
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()).cast_signed(), hash, "{key}");
        }
    }

    #[test]
    fn a_key_always_meets_its_partition_and_no_key_sticks() {
        let mut partitioner = Partitioner::new(8, vec![3, 5]);
        assert_eq!(partitioner.choose(Some(b"foobar")), for_key(b"foobar", 8));
        for _ in 0..20 {
            let sticky = partitioner.choose(None);
            assert!([3, 5].contains(&sticky));
            assert_eq!(partitioner.choose(None), sticky);
            partitioner.next_batch();
        }
    }
}
