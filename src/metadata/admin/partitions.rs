//! Changes of partition records: ballots, hand-overs, ISR changes, in packed transactions.

use std::collections::VecDeque;

use futures_util::stream::{FuturesUnordered, StreamExt as _};

use super::Admin;
use crate::metadata::error::MetadataError;
use crate::metadata::txn::partitions::{PartitionChange, change_partitions, pack, partitions_stand};
use crate::metadata::txn::{COMPARES_MAX, Outcome};
use crate::types::{PartitionEpoch, TopicId};

/// Transactions under way at once.
const IN_FLIGHT: usize = 4;

/// What came of one partition's change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartitionOutcome {
    /// The record was written; that is its new partition epoch.
    Written(PartitionEpoch),
    /// Something the change relied on does not hold (any more): take the new image, decide again.
    Rejected,
    /// The answer was lost: nothing is known until the record's partition epoch has moved (rule E9).
    Unknown {
        /// What the attempt met.
        why: String,
    },
    /// It was not sent, or refused: nothing was changed.
    NotSent(MetadataError),
}

impl Admin {
    /// Whether etcd itself says of all these partitions what the image says: their records are at these epochs. An image is only as
    /// good as the watch that made it.
    pub async fn partitions_stand(
        &self,
        topic: TopicId,
        partitions: &[(i32, PartitionEpoch)],
    ) -> Result<bool, MetadataError> {
        for some in partitions.chunks(COMPARES_MAX) {
            match self.submit(partitions_stand(&self.keys, topic, some)).await? {
                Outcome::Applied { .. } => {}
                Outcome::Rejected { .. } => return Ok(false),
                Outcome::Unknown { why } => {
                    return Err(MetadataError::UnknownOutcome {
                        what: "comparison of partitions".into(),
                        why,
                    });
                }
            }
        }
        Ok(true)
    }

    /// Writes records of partitions; outcomes in the order of the changes. A transaction whose guards do not all hold is split in
    /// halves until the partitions at fault are found. Waits for this broker's image unless nothing was written.
    pub async fn change_partitions(&self, changes: Vec<PartitionChange>) -> Vec<PartitionOutcome> {
        let mut outcomes = vec![PartitionOutcome::Rejected; changes.len()];
        let mut waiting: VecDeque<Vec<usize>> = pack(&self.keys, &changes).into();
        let mut under_way = FuturesUnordered::new();
        let mut written = 0;
        loop {
            while under_way.len() < IN_FLIGHT
                && let Some(indexes) = waiting.pop_front()
            {
                let txn =
                    change_partitions(&self.keys, indexes.iter().filter_map(|index| changes.get(*index)));
                under_way.push(async move { (indexes, self.submit(txn).await) });
            }
            let Some((indexes, outcome)) = under_way.next().await else { break };
            let outcome = match outcome {
                Ok(Outcome::Applied { revision }) => {
                    written = written.max(revision);
                    PartitionOutcome::Written(PartitionEpoch(revision))
                }
                Ok(Outcome::Rejected { .. }) if indexes.len() > 1 => {
                    let (left, right) = indexes.split_at(indexes.len() / 2);
                    waiting.push_back(left.to_vec());
                    waiting.push_back(right.to_vec());
                    continue;
                }
                Ok(Outcome::Rejected { .. }) => PartitionOutcome::Rejected,
                Ok(Outcome::Unknown { why }) => PartitionOutcome::Unknown { why },
                Err(error) => PartitionOutcome::NotSent(error),
            };
            for index in indexes {
                if let Some(slot) = outcomes.get_mut(index) {
                    *slot = outcome.clone();
                }
            }
        }
        if written > 0 {
            // The outcome is known either way; an image that is late is caught up with by its own means.
            let _ = self.visible(written).await;
        }
        outcomes
    }
}
