//! Changes of partitions that a client asked for: decided, sent, and decided anew where somebody else was faster.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Broker;
use crate::metadata::image::ClusterImage;
use crate::metadata::txn::partitions::PartitionChange;
use crate::metadata::{MetadataError, PartitionOutcome};

/// How often one partition is decided on.
const ROUNDS: usize = 8;
/// How long a round waits for a newer image before it decides anew.
const NEWER_IMAGE: Duration = Duration::from_millis(200);

impl Broker {
    /// Makes one change for each ask. `decide` says from an image what to write, `Ok(None)` for nothing; it is asked again while the
    /// change is rejected, a few times. Returns when this broker has carried out what was written, or after `timeout`.
    /// Outcomes in the order of the asks: whether something was written.
    pub(super) async fn change_each<A, E: From<MetadataError>>(
        &self,
        asks: &[A],
        timeout: Duration,
        decide: impl Fn(&ClusterImage, &A) -> Result<Option<PartitionChange>, E>,
    ) -> Vec<Result<bool, E>> {
        let mut done: BTreeMap<usize, Result<bool, E>> = BTreeMap::new();
        let mut revision = 0;
        for round in 1..=ROUNDS {
            let image = self.image();
            let (mut sent, mut changes) = (Vec::new(), Vec::new());
            for (index, ask) in
                asks.iter().enumerate().filter(|(index, _)| !done.contains_key(index)).collect::<Vec<_>>()
            {
                match decide(&image, ask) {
                    Ok(Some(change)) => {
                        sent.push(index);
                        changes.push(change);
                    }
                    Ok(None) => {
                        done.insert(index, Ok(false));
                    }
                    Err(refused) => {
                        done.insert(index, Err(refused));
                    }
                }
            }
            if changes.is_empty() {
                break;
            }
            let mut rejected = false;
            for (index, outcome) in sent.into_iter().zip(self.change_partitions(changes).await) {
                match outcome {
                    PartitionOutcome::Written(at) => {
                        revision = revision.max(at.get());
                        done.insert(index, Ok(true));
                    }
                    PartitionOutcome::Rejected if round < ROUNDS => rejected = true,
                    PartitionOutcome::Rejected => {
                        let what = "change of a partition".to_owned();
                        done.insert(index, Err(MetadataError::Conflict { what, attempts: 8 }.into()));
                    }
                    PartitionOutcome::Unknown { why } => {
                        let what = "change of a partition".to_owned();
                        done.insert(index, Err(MetadataError::UnknownOutcome { what, why }.into()));
                    }
                    PartitionOutcome::NotSent(cause) => {
                        done.insert(index, Err(cause.into()));
                    }
                }
            }
            if !rejected {
                break;
            }
            let _ = self.metadata().wait_for(image.revision + 1, NEWER_IMAGE).await;
        }
        if revision > 0 {
            // What was written is written: an image that is late is no error of the change.
            let _ = self.wait_until_applied(revision, timeout).await;
        }
        done.into_values().collect()
    }
}
