//! What the controller does, by the real plan and the real cores, under its fence (rules E2, U4); and what any broker does for an
//! operator who moves replicas.

use super::process::{Context, Process, Purpose};
use super::topic_id;
use crate::controller::plan::{self, Errand};
use crate::metadata::image::ReplicaEntry;
use crate::metadata::txn::partitions::{PartitionChange, Reliance};
use crate::replication::reassignment;
use crate::types::BrokerId;

/// What an operator wants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wish {
    /// Preferred replicas are to lead.
    Balance,
    /// Exactly these replicas of a partition.
    Reassign(i32, Vec<BrokerId>),
    /// Those that it had.
    Cancel(i32),
}

/// The changes that are due.
pub fn decide(
    process: &mut Process,
    me: ReplicaEntry,
    context: &mut Context<'_>,
) -> Vec<(PartitionChange, Purpose)> {
    let image = std::sync::Arc::clone(&process.image);
    let min = context.topic.min_isr;
    let mut changes = Vec::new();
    let mut balance = false;
    for wish in std::mem::take(&mut process.wishes) {
        let change = match wish {
            Wish::Balance => {
                balance = true;
                continue;
            }
            Wish::Reassign(partition, target) => {
                reassignment::begin(&image, topic_id(), partition, &target, min)
            }
            Wish::Cancel(partition) => reassignment::cancel(&image, topic_id(), partition, min),
        };
        changes.extend(change.ok().flatten().map(|change| (change, Purpose::Asked)));
    }
    let acts = process.held().is_some() && !process.is_fenced(context.now);
    let Some(proof) = plan::proof(&image, me).filter(|_| acts) else { return changes };
    let Reliance::Controls { lease, epoch } = proof else { return changes };
    for task in plan::plan(&image, balance) {
        let partition = task.partition;
        if process.errands.get(&partition).is_some_and(|not_before| *not_before > context.now) {
            continue;
        }
        let change = match task.errand {
            Errand::CompleteReassignment => {
                reassignment::complete(&image, topic_id(), partition, min, proof).ok().flatten()
            }
            Errand::PreferLeader => reassignment::prefer(&image, topic_id(), partition, min, proof),
            Errand::TidyElr => reassignment::tidy_elr(&image, topic_id(), partition, min, proof),
        };
        if let Some(change) = change {
            process.errands.insert(partition, u64::MAX);
            changes.push((change, Purpose::Controller { lease, epoch: epoch.get() }));
        }
    }
    changes
}
