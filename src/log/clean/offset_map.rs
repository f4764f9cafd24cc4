//! The newest offset of every key in the dirty part of a log (Kafka's `SkimpyOffsetMap`).
//!
//! Keys are not kept, only 128 bits of a keyed hash. Two different keys of one cleaning share all of them with a probability below
//! n² / 2^129: 2^-84 for five million keys, far below that of an undetected disk error. Kafka takes MD5, for which anybody can make two
//! keys that collide; here the hash is SipHash twice, each after 16 secret random bytes drawn anew for every map, so nobody can.

use std::collections::hash_map::DefaultHasher;
use std::hash::Hasher;

use crate::types::random;

/// Bytes of one slot: two halves of the hash, and the offset. As Kafka's, so that `log.cleaner.dedupe.buffer.size` means the same.
pub const SLOT_BYTES: u64 = 24;

/// One slot; all zeros is free. The offset is stored plus one.
type Slot = [u64; 3];

/// Keys and their newest offsets. A full map refuses further keys.
pub struct OffsetMap {
    slots: Vec<Slot>,
    used: usize,
    used_max: usize,
    /// The last offset of the newest batch that was taken in whole, -1 if none.
    latest_offset: i64,
    hashers: [DefaultHasher; 2],
}

impl std::fmt::Debug for OffsetMap {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OffsetMap")
            .field("slots", &self.slots.len())
            .field("used", &self.used)
            .finish_non_exhaustive()
    }
}

impl OffsetMap {
    /// A map for `records` records in at most `memory_bytes`, filled up to `load_factor`.
    ///
    /// # Cost
    /// Zeroed pages are taken from the system when they are touched: few keys cost little even where there are many records.
    pub fn new(records: u64, memory_bytes: u64, load_factor: f64) -> Self {
        let load_factor = if load_factor.is_finite() { load_factor.clamp(0.01, 0.99) } else { 0.9 };
        let most = (memory_bytes / SLOT_BYTES).max(2);
        let wanted = fraction(records, 1.0 / load_factor).saturating_add(2);
        let slots = most.min(wanted);
        let used_max = fraction(slots, load_factor).clamp(1, slots - 1);
        let hasher = || {
            let mut hasher = DefaultHasher::new();
            hasher.write(random::uuid().as_bytes());
            hasher
        };
        let size = |count: u64| usize::try_from(count).unwrap_or(usize::MAX);
        Self {
            slots: vec![[0; 3]; size(slots)],
            used: 0,
            used_max: size(used_max),
            latest_offset: -1,
            hashers: [hasher(), hasher()],
        }
    }

    /// Says that `key` is at `offset`, which is newer than all before. False if the map is full and does not know the key.
    pub fn put(&mut self, key: &[u8], offset: i64) -> bool {
        let hash = self.hash(key);
        let at = self.find(hash);
        let is_full = self.used >= self.used_max;
        let Some(slot) = self.slots.get_mut(at) else { return false };
        if slot[2] == 0 {
            if is_full {
                return false;
            }
            self.used += 1;
        }
        *slot = [hash.0, hash.1, offset.cast_unsigned().wrapping_add(1)];
        true
    }

    /// The newest offset of `key`, if it was seen.
    pub fn get(&self, key: &[u8]) -> Option<i64> {
        let slot = self.slots.get(self.find(self.hash(key)))?;
        slot[2].checked_sub(1).map(u64::cast_signed)
    }

    /// The last offset up to which the map knows all keys; -1 if it knows nothing.
    pub const fn latest_offset(&self) -> i64 {
        self.latest_offset
    }

    /// Says that all records up to `offset` were taken in.
    pub fn advance_to(&mut self, offset: i64) {
        self.latest_offset = self.latest_offset.max(offset);
    }

    /// Number of keys.
    pub const fn len(&self) -> usize {
        self.used
    }

    fn hash(&self, key: &[u8]) -> (u64, u64) {
        let [a, b] = &self.hashers;
        let of = |hasher: &DefaultHasher| {
            let mut hasher = hasher.clone();
            hasher.write(key);
            hasher.finish()
        };
        (of(a), of(b))
    }

    /// The slot that has `hash`, or the free one where it belongs. There is always a free one.
    fn find(&self, hash: (u64, u64)) -> usize {
        let count = self.slots.len();
        let mut at = usize::try_from(hash.0 % count.max(1) as u64).unwrap_or_default();
        while let Some(slot) = self.slots.get(at) {
            if slot[2] == 0 || (slot[0], slot[1]) == hash {
                return at;
            }
            at = if at + 1 == count { 0 } else { at + 1 };
        }
        at
    }
}

/// `factor` times `number`.
#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "a size of memory: the last digits do not matter, and a cast from float saturates"
)]
fn fraction(number: u64, factor: f64) -> u64 {
    (number as f64 * factor) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_its_newest_offset_and_an_unknown_one_has_none() {
        let mut map = OffsetMap::new(1000, 1 << 20, 0.9);
        for offset in 0..900i64 {
            assert!(map.put(format!("key-{}", offset % 300).as_bytes(), offset));
        }
        assert_eq!(map.len(), 300);
        for key in 0..300i64 {
            assert_eq!(map.get(format!("key-{key}").as_bytes()), Some(600 + key));
        }
        assert_eq!(map.get(b"key-300"), None);
        assert!(map.put(b"", 901));
        assert_eq!(map.get(b""), Some(901), "an empty key is a key");
    }

    #[test]
    fn a_full_map_refuses_new_keys_and_still_takes_known_ones() {
        let mut map = OffsetMap::new(1 << 40, 240, 0.5);
        for key in 0..5u8 {
            assert!(map.put(&[key], i64::from(key)), "{key}");
        }
        assert!(!map.put(&[9], 9));
        assert!(map.put(&[3], 10));
        assert_eq!((map.get(&[3]), map.get(&[9]), map.len()), (Some(10), None, 5));
    }

    #[test]
    fn a_map_is_as_large_as_its_records_need_and_never_larger_than_its_memory() {
        assert!(OffsetMap::new(100, 128 << 20, 0.9).slots.len() < 120);
        assert_eq!(OffsetMap::new(u64::MAX, 24_000, 0.9).slots.len(), 1000);
        let mut tiny = OffsetMap::new(0, 0, f64::NAN);
        assert!(tiny.put(b"a", 0));
        assert!(!tiny.put(b"b", 1));
    }
}
