//! What a connection's idempotent producers were refused.
//!
//! A client has several batches of a partition under way. If the first is refused (the leader is not elected yet) and the second is
//! taken a moment later, by a log that does not know the producer, then the second becomes the first: the refused one is out of order
//! for ever, or comes behind (KAFKA-14359). So the connection remembers where such a producer has to begin.

use std::collections::HashMap;
use std::collections::hash_map::{Entry, RandomState};
use std::hash::BuildHasher as _;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use uuid::Uuid;

use crate::protocol::batch::BatchHeader;

/// Most batches that one connection is remembered by: partitions of one producer, as a rule.
const BATCHES_MAX: usize = 4_096;

/// A batch of an idempotent producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequencedBatch {
    producer: i64,
    epoch: i16,
    sequence: i32,
}

impl SequencedBatch {
    /// `None` if the batch has no producer.
    pub fn of(header: &BatchHeader) -> Option<Self> {
        header.has_producer_id().then_some(Self {
            producer: header.producer_id,
            epoch: header.producer_epoch,
            sequence: header.base_sequence,
        })
    }
}

/// A partition as the requests of one connection name it: by its topic's name, or by the id.
#[derive(Debug, Clone, Copy, Hash)]
pub struct Destination<'a> {
    /// Of the topic; empty where requests name ids.
    pub name: &'a str,
    /// Of the topic; the zero id where requests name it.
    pub id: Uuid,
    /// Number of the partition.
    pub index: i32,
}

/// Of a [`Destination`]. Names are the client's, of any length: a hash will do.
type DestinationHash = u64;

/// The first batch of each producer and partition that was refused and did not come again.
#[derive(Debug, Default)]
pub struct RefusedBatches {
    batches: Mutex<HashMap<(DestinationHash, i64), (i16, i32)>>,
    /// How many there are: without any, nothing is hashed or locked.
    count: AtomicUsize,
    hasher: RandomState,
}

impl RefusedBatches {
    /// The sequence of an earlier batch that has to come first.
    pub fn comes_before(&self, to: Destination<'_>, batch: &SequencedBatch) -> Option<i32> {
        if self.is_empty() {
            return None;
        }
        let (epoch, sequence) = *self.lock().get(&self.key(to, batch))?;
        (epoch == batch.epoch && sequence < batch.sequence).then_some(sequence)
    }

    /// What became of a batch.
    pub fn note(&self, to: Destination<'_>, batch: &SequencedBatch, is_taken: bool) {
        if is_taken && self.is_empty() {
            return;
        }
        let mut batches = self.lock();
        let is_full = batches.len() >= BATCHES_MAX;
        let refused = (batch.epoch, batch.sequence);
        match batches.entry(self.key(to, batch)) {
            Entry::Occupied(known) if is_taken => {
                known.remove();
            }
            Entry::Occupied(mut known) => {
                let (epoch, sequence) = *known.get();
                if epoch < batch.epoch || epoch == batch.epoch && batch.sequence < sequence {
                    known.insert(refused);
                }
            }
            Entry::Vacant(_) if is_taken || is_full => {}
            Entry::Vacant(place) => {
                place.insert(refused);
            }
        }
        self.count.store(batches.len(), Ordering::Release);
    }

    fn is_empty(&self) -> bool {
        self.count.load(Ordering::Acquire) == 0
    }

    fn key(&self, to: Destination<'_>, batch: &SequencedBatch) -> (DestinationHash, i64) {
        (self.hasher.hash_one(to), batch.producer)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(DestinationHash, i64), (i16, i32)>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TO: Destination<'static> = Destination { name: "t", id: Uuid::nil(), index: 1 };

    fn batch(epoch: i16, sequence: i32) -> SequencedBatch {
        SequencedBatch { producer: 7, epoch, sequence }
    }

    #[test]
    fn the_first_refused_batch_comes_before_all_that_follow() {
        let refused = RefusedBatches::default();
        assert_eq!(refused.comes_before(TO, &batch(0, 3)), None);
        refused.note(TO, &batch(0, 3), false);
        refused.note(TO, &batch(0, 9), false);
        assert_eq!(refused.comes_before(TO, &batch(0, 9)), Some(3));
        assert_eq!(refused.comes_before(TO, &batch(0, 3)), None, "itself");
        refused.note(TO, &batch(0, 0), false);
        assert_eq!(refused.comes_before(TO, &batch(0, 3)), Some(0));
        assert_eq!(refused.comes_before(Destination { index: 2, ..TO }, &batch(0, 3)), None);
        assert_eq!(refused.comes_before(TO, &SequencedBatch { producer: 8, ..batch(0, 3) }), None);
    }

    #[test]
    fn a_batch_that_is_taken_ends_it() {
        let refused = RefusedBatches::default();
        refused.note(TO, &batch(0, 3), false);
        refused.note(TO, &batch(0, 3), true);
        assert_eq!(refused.comes_before(TO, &batch(0, 9)), None);
    }

    #[test]
    fn a_new_epoch_begins_anew() {
        let refused = RefusedBatches::default();
        refused.note(TO, &batch(0, 3), false);
        assert_eq!(refused.comes_before(TO, &batch(1, 9)), None);
        refused.note(TO, &batch(1, 5), false);
        refused.note(TO, &batch(0, 1), false);
        assert_eq!(
            refused.comes_before(TO, &batch(1, 9)),
            Some(5),
            "a late batch of the old epoch changes nothing"
        );
    }

    #[test]
    fn no_client_makes_it_remember_without_bound() {
        let refused = RefusedBatches::default();
        for producer in 0..2 * BATCHES_MAX as i64 {
            refused.note(TO, &SequencedBatch { producer, ..batch(0, 0) }, false);
        }
        assert_eq!(refused.lock().len(), BATCHES_MAX);
    }
}
