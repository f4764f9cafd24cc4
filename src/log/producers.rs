//! What a log remembers of idempotent producers: their epochs and last five batches (`ProducerStateManager`, KIP-98).
//!
//! A pure function of the log (rule T10): appends and recovery both go through [`Producers::record`].

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::protocol::batch::BatchHeader;
use crate::types::{LeaderEpoch, Millis, Offset, ProducerEpoch, ProducerId};

use super::error::AppendError;

/// Batches remembered per producer: as many as a client may have in flight.
const BATCHES: usize = 5;

/// The producers of one log. Bound: producers that wrote within `producer.id.expiration.ms`.
#[derive(Debug, Default, Clone)]
pub struct Producers {
    entries: HashMap<i64, ProducerState, BuildHasherDefault<IdHasher>>,
}

/// One producer, as kept in memory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerState {
    /// Newest epoch seen.
    pub epoch: i16,
    /// Epoch of the coordinator that wrote the last marker, -1 if none.
    pub coordinator_epoch: i32,
    /// Time of the last batch.
    pub last_timestamp: Millis,
    /// When this broker took the last batch in, by its own clock. Expiry goes by it: records that are older than their producer
    /// (a mirrored or replayed topic) must not cost it the detection of duplicates.
    pub seen_ms: Millis,
    /// First offset of the open transaction, if any.
    pub transaction_start: Option<i64>,
    batches: [Batch; BATCHES],
    count: u8,
}

/// A batch as remembered for the detection of duplicates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Batch {
    /// Sequence of its last record.
    pub last_sequence: i32,
    /// Offset of its last record.
    pub last_offset: i64,
    /// Last offset less first offset.
    pub offset_delta: i32,
    /// Its largest timestamp.
    pub timestamp: Millis,
}

/// One producer as others see it (DescribeProducers).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerEntry {
    /// The producer.
    pub producer_id: ProducerId,
    /// Newest epoch seen.
    pub epoch: ProducerEpoch,
    /// Sequence of its last record; `None` if its batches were forgotten.
    pub last_sequence: Option<i32>,
    /// Time of its last batch.
    pub last_timestamp: Millis,
    /// Epoch of the coordinator that wrote the last marker.
    pub coordinator_epoch: Option<LeaderEpoch>,
    /// First offset of the open transaction.
    pub transaction_start: Option<Offset>,
}

impl Batch {
    /// Offset of the first record.
    #[must_use]
    pub const fn first_offset(&self) -> i64 {
        self.last_offset - self.offset_delta as i64
    }

    /// Sequence of the first record.
    #[must_use]
    pub const fn first_sequence(&self) -> i32 {
        self.last_sequence.wrapping_sub(self.offset_delta) & i32::MAX
    }
}

impl ProducerState {
    /// A producer known by one batch, or by none.
    #[must_use]
    pub fn new(epoch: i16, coordinator_epoch: i32, last_timestamp: Millis, last: Option<Batch>) -> Self {
        let mut state = Self {
            epoch,
            coordinator_epoch,
            last_timestamp,
            seen_ms: last_timestamp,
            transaction_start: None,
            batches: [Batch::default(); BATCHES],
            count: 0,
        };
        if let Some(batch) = last {
            state.push(batch);
        }
        state
    }

    /// The remembered batches, oldest first.
    #[must_use]
    pub fn batches(&self) -> &[Batch] {
        self.batches.get(..usize::from(self.count)).unwrap_or_default()
    }

    fn push(&mut self, batch: Batch) {
        let count = usize::from(self.count);
        if count == BATCHES {
            self.batches.rotate_left(1);
        } else {
            self.count += 1;
        }
        if let Some(place) = self.batches.get_mut(count.min(BATCHES - 1)) {
            *place = batch;
        }
    }
}

impl Producers {
    /// Checks the sequence of a client's batch (`ProducerAppendInfo`). `Some` is the batch it repeats: nothing must be appended.
    ///
    /// A producer that is not known may begin with any sequence, as its state may have expired; but not with a later one than
    /// `begins_at`, if an earlier batch of it was refused. Else a batch that follows a refused one would become the first, and the
    /// refused one could never be stored in its place (KAFKA-14359).
    ///
    /// # Errors
    /// [`AppendError::InvalidProducerEpoch`] and [`AppendError::OutOfOrderSequence`].
    pub fn check(&self, header: &BatchHeader, begins_at: Option<i32>) -> Result<Option<Batch>, AppendError> {
        let first = header.base_sequence;
        let out_of_order = |expected| AppendError::OutOfOrderSequence {
            producer: ProducerId(header.producer_id),
            expected,
            got: first,
        };
        let Some(state) = self.entries.get(&header.producer_id) else {
            return begins_at
                .filter(|begin| first > *begin)
                .map_or(Ok(None), |begin| Err(out_of_order(begin)));
        };
        if header.producer_epoch < state.epoch {
            return Err(AppendError::InvalidProducerEpoch {
                producer: ProducerId(header.producer_id),
                current: ProducerEpoch(state.epoch),
                got: ProducerEpoch(header.producer_epoch),
            });
        }
        if header.producer_epoch > state.epoch {
            return if first == 0 { Ok(None) } else { Err(out_of_order(0)) };
        }
        let last = header.last_sequence();
        let repeats = |batch: &&Batch| batch.last_sequence == last && batch.first_sequence() == first;
        if let Some(batch) = state.batches().iter().find(repeats) {
            return Ok(Some(*batch));
        }
        // No batch: only a marker or a snapshot entry without one was seen; Kafka's "last sequence" is then -1.
        let expected =
            state.batches().last().map_or(0, |batch| batch.last_sequence.wrapping_add(1) & i32::MAX);
        if first == expected { Ok(None) } else { Err(out_of_order(expected)) }
    }

    /// Takes in a batch that is in the log now, with its offsets assigned. Batches without a producer change nothing. `now` is the
    /// time of the broker's clock.
    pub fn record(&mut self, header: &BatchHeader, now: Millis) {
        if !header.has_producer_id() || header.is_control() {
            return;
        }
        let batch = Batch {
            last_sequence: header.last_sequence(),
            last_offset: header.last_offset(),
            offset_delta: header.last_offset_delta,
            timestamp: header.max_timestamp,
        };
        let state = self
            .entries
            .entry(header.producer_id)
            .or_insert_with(|| ProducerState::new(header.producer_epoch, -1, header.max_timestamp, None));
        if state.epoch != header.producer_epoch {
            state.epoch = header.producer_epoch;
            state.count = 0;
        }
        state.last_timestamp = header.max_timestamp;
        state.seen_ms = now;
        state.push(batch);
    }

    /// Adds a producer from a snapshot.
    pub fn insert(&mut self, producer_id: i64, state: ProducerState) {
        self.entries.insert(producer_id, state);
    }

    /// Forgets producers that were last seen before `before`. Open transactions stay. Returns how many were forgotten.
    pub fn expire(&mut self, before: Millis) -> usize {
        let count = self.entries.len();
        self.entries.retain(|_, state| state.transaction_start.is_some() || state.seen_ms >= before);
        count - self.entries.len()
    }

    /// Number of producers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// All producers, in no order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (i64, &ProducerState)> {
        self.entries.iter().map(|(id, state)| (*id, state))
    }

    /// All producers as others see them, by id.
    #[must_use]
    pub fn describe(&self) -> Vec<ProducerEntry> {
        let mut all: Vec<_> = self
            .iter()
            .map(|(id, state)| ProducerEntry {
                producer_id: ProducerId(id),
                epoch: ProducerEpoch(state.epoch),
                last_sequence: state.batches().last().map(|batch| batch.last_sequence),
                last_timestamp: state.last_timestamp,
                coordinator_epoch: (state.coordinator_epoch >= 0)
                    .then_some(LeaderEpoch(state.coordinator_epoch)),
                transaction_start: state.transaction_start.and_then(Offset::new),
            })
            .collect();
        all.sort_unstable_by_key(|entry| entry.producer_id);
        all
    }
}

/// Spreads producer ids, which are counted up by the cluster: no attacker chooses where they fall in more than one log.
#[derive(Debug, Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_i64(i64::from(*byte));
        }
    }

    fn write_i64(&mut self, id: i64) {
        // Fibonacci hashing, and the high bits folded down for the table's index.
        let mixed = (self.0 ^ id.cast_unsigned()).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = mixed ^ (mixed >> 32);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Long after the timestamps of the records.
    const SEEN: Millis = 1_000_000;

    fn batch(producer_epoch: i16, base_sequence: i32, records: i32, base_offset: i64) -> BatchHeader {
        BatchHeader {
            base_offset,
            batch_length: 49,
            partition_leader_epoch: 0,
            magic: 2,
            crc: 0,
            attributes: 0,
            last_offset_delta: records - 1,
            base_timestamp: 100,
            max_timestamp: 100 + base_offset,
            producer_id: 7,
            producer_epoch,
            base_sequence,
            record_count: records,
        }
    }

    fn fill(batches: &[BatchHeader]) -> Producers {
        let mut producers = Producers::default();
        for header in batches {
            assert!(producers.check(header, None).unwrap().is_none());
            producers.record(header, SEEN);
        }
        producers
    }

    #[test]
    fn a_batch_that_follows_a_refused_one_is_not_the_first_of_an_unknown_producer() {
        let mut producers = Producers::default();
        let (first, second) = (batch(0, 5, 3, 1), batch(0, 8, 1, 4));
        assert!(producers.check(&second, None).unwrap().is_none(), "its state may have expired");
        let error = producers.check(&second, Some(5)).unwrap_err();
        assert!(matches!(error, AppendError::OutOfOrderSequence { expected: 5, got: 8, .. }), "{error}");
        assert!(producers.check(&first, Some(5)).unwrap().is_none());
        producers.record(&first, SEEN);
        assert!(producers.check(&second, Some(5)).unwrap().is_none(), "the log knows better");
    }

    #[test]
    fn the_last_five_batches_are_known_as_duplicates_and_older_ones_are_out_of_order() {
        let batches: Vec<_> = (0..6).map(|i| batch(0, i * 2, 2, i64::from(i) * 2)).collect();
        let producers = fill(&batches);
        for header in &batches[1..] {
            let found = producers.check(header, None).unwrap().unwrap();
            assert_eq!((found.first_offset(), found.last_offset), (header.base_offset, header.last_offset()));
        }
        let error = producers.check(&batches[0], None).unwrap_err();
        assert!(matches!(error, AppendError::OutOfOrderSequence { expected: 12, got: 0, .. }), "{error}");
        let half = batch(0, 10, 1, 0);
        assert!(producers.check(&half, None).is_err(), "a part of a batch is no duplicate");
    }

    #[test]
    fn an_unknown_producer_may_begin_anywhere_but_a_new_epoch_begins_at_zero() {
        let producers = fill(&[batch(3, 41, 1, 0)]);
        assert!(matches!(
            producers.check(&batch(4, 42, 1, 1), None),
            Err(AppendError::OutOfOrderSequence { expected: 0, got: 42, .. })
        ));
        assert!(producers.check(&batch(4, 0, 1, 1), None).unwrap().is_none());
        assert!(matches!(
            producers.check(&batch(2, 42, 1, 1), None),
            Err(AppendError::InvalidProducerEpoch { current: ProducerEpoch(3), got: ProducerEpoch(2), .. })
        ));
    }

    #[test]
    fn sequences_wrap_after_the_largest_number() {
        let mut producers = fill(&[batch(0, i32::MAX - 1, 2, 0)]);
        let next = batch(0, 0, 3, 2);
        assert!(producers.check(&next, None).unwrap().is_none());
        producers.record(&next, SEEN);
        let across = fill(&[batch(0, i32::MAX, 3, 0)]);
        assert!(across.check(&batch(0, i32::MAX, 3, 0), None).unwrap().is_some());
        assert!(across.check(&batch(0, 2, 1, 3), None).unwrap().is_none());
        assert!(across.check(&batch(0, 3, 1, 3), None).is_err());
    }

    #[test]
    fn a_new_epoch_forgets_the_batches_of_the_old() {
        let mut producers = fill(&[batch(0, 0, 1, 0)]);
        producers.record(&batch(1, 0, 1, 1), SEEN);
        let found = producers.check(&batch(1, 0, 1, 9), None).unwrap().unwrap();
        assert_eq!(found.first_offset(), 1);
        assert_eq!(producers.describe()[0].epoch, ProducerEpoch(1));
    }

    #[test]
    fn silent_producers_expire_by_the_brokers_clock_and_not_by_their_records() {
        let mut producers = fill(&[batch(0, 0, 1, 0)]);
        assert_eq!(producers.expire(SEEN), 0);
        assert_eq!(producers.expire(SEEN + 1), 1);
        assert!(producers.is_empty());
    }
}
