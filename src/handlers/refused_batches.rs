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

use crate::protocol::batch::BatchHeader;

/// Most batches that one connection is remembered by: partitions of one producer, as a rule.
const BATCHES_MAX: usize = 4_096;

/// A batch of an idempotent producer, on its way to a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SequencedBatch {
    partition: PartitionHash,
    producer: i64,
    epoch: i16,
    sequence: i32,
}

/// Topic and partition as the requests of one connection name them. Names are the client's, of any length: their hash will do.
type PartitionHash = u64;

/// The first batch of each producer and partition that was refused and did not come again.
#[derive(Debug, Default)]
pub struct RefusedBatches {
    batches: Mutex<HashMap<(PartitionHash, i64), (i16, i32)>>,
    /// How many there are: without any, nothing is locked.
    count: AtomicUsize,
    hasher: RandomState,
}

impl RefusedBatches {
    /// The batch as it is remembered; `None` if its producer is not idempotent.
    pub fn batch(
        &self,
        topic: impl std::hash::Hash,
        index: i32,
        header: &BatchHeader,
    ) -> Option<SequencedBatch> {
        header.has_producer_id().then(|| SequencedBatch {
            partition: self.hasher.hash_one((topic, index)),
            producer: header.producer_id,
            epoch: header.producer_epoch,
            sequence: header.base_sequence,
        })
    }

    /// The sequence of an earlier batch that has to come first.
    pub fn comes_before(&self, batch: &SequencedBatch) -> Option<i32> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let (epoch, sequence) = *self.lock().get(&(batch.partition, batch.producer))?;
        (epoch == batch.epoch && sequence < batch.sequence).then_some(sequence)
    }

    /// What became of a batch.
    pub fn note(&self, batch: &SequencedBatch, is_taken: bool) {
        if is_taken && self.count.load(Ordering::Acquire) == 0 {
            return;
        }
        let mut batches = self.lock();
        let is_full = batches.len() >= BATCHES_MAX;
        let refused = (batch.epoch, batch.sequence);
        match batches.entry((batch.partition, batch.producer)) {
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

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<(PartitionHash, i64), (i16, i32)>> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(epoch: i16, sequence: i32) -> SequencedBatch {
        SequencedBatch { partition: 1, producer: 7, epoch, sequence }
    }

    #[test]
    fn the_first_refused_batch_comes_before_all_that_follow() {
        let refused = RefusedBatches::default();
        assert_eq!(refused.comes_before(&batch(0, 3)), None);
        refused.note(&batch(0, 3), false);
        refused.note(&batch(0, 9), false);
        assert_eq!(refused.comes_before(&batch(0, 9)), Some(3));
        assert_eq!(refused.comes_before(&batch(0, 3)), None, "itself");
        refused.note(&batch(0, 0), false);
        assert_eq!(refused.comes_before(&batch(0, 3)), Some(0));
        assert_eq!(refused.comes_before(&SequencedBatch { partition: 2, ..batch(0, 3) }), None);
        assert_eq!(refused.comes_before(&SequencedBatch { producer: 8, ..batch(0, 3) }), None);
    }

    #[test]
    fn a_batch_that_is_taken_ends_it() {
        let refused = RefusedBatches::default();
        refused.note(&batch(0, 3), false);
        refused.note(&batch(0, 3), true);
        assert_eq!(refused.comes_before(&batch(0, 9)), None);
    }

    #[test]
    fn a_new_epoch_begins_anew() {
        let refused = RefusedBatches::default();
        refused.note(&batch(0, 3), false);
        assert_eq!(refused.comes_before(&batch(1, 9)), None);
        refused.note(&batch(1, 5), false);
        refused.note(&batch(0, 1), false);
        assert_eq!(
            refused.comes_before(&batch(1, 9)),
            Some(5),
            "a late batch of the old epoch changes nothing"
        );
    }

    #[test]
    fn no_client_makes_it_remember_without_bound() {
        let refused = RefusedBatches::default();
        for partition in 0..2 * BATCHES_MAX as u64 {
            refused.note(&SequencedBatch { partition, ..batch(0, 0) }, false);
        }
        assert_eq!(refused.lock().len(), BATCHES_MAX);
    }
}
