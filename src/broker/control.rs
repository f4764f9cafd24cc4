//! The controller at work: carries out what [`plan`] says is due, as long as this broker is the controller.
//!
//! Every change proves the candidacy (rule E2). A change that is rejected, or whose fate is not known, is never repeated: the next
//! image decides anew, and the compare of the record's revision makes the old one harmless if it lands late (rule E9, N21).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Broker;
use crate::controller::plan::{self, Errand, Task};
use crate::metadata::PartitionOutcome;
use crate::metadata::image::ClusterImage;
use crate::metadata::txn::partitions::{PartitionChange, Reliance};
use crate::replication::reassignment;
use crate::telemetry::replication::{self as numbers, Won};
use crate::types::random;

/// Changes decided from one image.
const BATCH_MAX: usize = 1_000;
/// Shortest time between two looks at the image.
const PACE: Duration = Duration::from_millis(100);
/// Pause, and as much again by chance, after changes that were not written.
const BACK_OFF_MS: u64 = 500;
/// Time until a controller that may not act now asks itself again.
const HELD_BACK: Duration = Duration::from_secs(1);

/// Acts whenever this broker is the controller, until `stop`.
pub async fn run(broker: Arc<Broker>, stop: CancellationToken) {
    let mut images = broker.metadata().images();
    let mut balanced_at: Option<Duration> = None;
    loop {
        let image = Arc::clone(&images.borrow_and_update());
        let again = round(&broker, &image, &mut balanced_at).await;
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PACE) => {}
        }
        let idle = async {
            match again {
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = stop.cancelled() => return,
            () = idle => {}
            changed = images.changed() => if changed.is_err() { return },
        }
    }
}

/// Does what is due by `image`. Gives when to look again even if no new image comes. `balanced_at`: when the leaders were looked at
/// last, or when this broker became the controller.
async fn round(
    broker: &Broker,
    image: &ClusterImage,
    balanced_at: &mut Option<Duration>,
) -> Option<Duration> {
    let Some(proof) = proof(broker, image) else {
        *balanced_at = None;
        // Fenced, or without etcd: that ends without an image.
        let elected = image.controller.is_some_and(|(controller, _)| controller == broker.id());
        return elected.then_some(HELD_BACK);
    };
    let keys = &broker.broker_config().replication;
    let (interval, now) = (keys.leader_imbalance_check_interval, broker.clock().elapsed());
    let waited = now.saturating_sub(*balanced_at.get_or_insert(now));
    let balance = keys.auto_leader_rebalance && waited >= interval;
    if balance {
        *balanced_at = Some(now);
    }
    let (tasks, changes) = decide(broker, image, proof, balance);
    if !changes.is_empty() && !carry_out(broker, &tasks, changes).await {
        return Some(Duration::from_millis(BACK_OFF_MS + random::below(BACK_OFF_MS)));
    }
    let next = if balance { interval } else { interval.saturating_sub(waited) };
    keys.auto_leader_rebalance.then_some(next)
}

/// What proves that this broker is the controller; `None` if it is not, or others may act as if it were dead: it resigns at once.
fn proof(broker: &Broker, image: &ClusterImage) -> Option<Reliance> {
    let session = broker.metadata().session();
    let acts = session.is_controller() && session.reachable && !broker.metadata().is_fenced();
    acts.then(|| plan::proof(image, broker.lifetime())).flatten()
}

/// The changes that are due and possible, at most one for each partition.
fn decide(
    broker: &Broker,
    image: &ClusterImage,
    proof: Reliance,
    balance: bool,
) -> (Vec<Task>, Vec<PartitionChange>) {
    let mut busy = BTreeSet::new();
    let (mut tasks, mut changes) = (Vec::new(), Vec::new());
    for task in plan::plan(image, balance) {
        let place = (task.topic, task.partition);
        if changes.len() >= BATCH_MAX || busy.contains(&place) {
            continue;
        }
        let change = change_of(broker, image, &task, proof);
        if let Some(change) = change {
            busy.insert(place);
            tasks.push(task);
            changes.push(change);
        }
    }
    (tasks, changes)
}

fn change_of(broker: &Broker, image: &ClusterImage, task: &Task, proof: Reliance) -> Option<PartitionChange> {
    let min = broker.min_insync_replicas(image, task.topic)?;
    match task.errand {
        Errand::CompleteReassignment => reassignment::complete(image, task.topic, task.partition, min, proof)
            .inspect_err(
                |wait| debug!(topic = %task.topic, partition = task.partition, %wait, "reassignment goes on"),
            )
            .ok()?,
        Errand::PreferLeader => reassignment::prefer(image, task.topic, task.partition, min, proof),
        Errand::TidyElr => reassignment::tidy_elr(image, task.topic, task.partition, min, proof),
    }
}

/// Sends the changes; false if one of them was not written.
async fn carry_out(broker: &Broker, tasks: &[Task], changes: Vec<PartitionChange>) -> bool {
    let asked = changes.len();
    let mut written = 0;
    for (task, outcome) in tasks.iter().zip(broker.change_partitions(changes).await) {
        match outcome {
            PartitionOutcome::Written(_) => {
                written += 1;
                match task.errand {
                    Errand::CompleteReassignment => {
                        numbers::reassigned();
                        info!(topic = %task.topic, partition = task.partition, "reassignment complete");
                    }
                    Errand::PreferLeader => numbers::elected(Won::HandOver),
                    Errand::TidyElr => {}
                }
            }
            PartitionOutcome::Rejected => {}
            PartitionOutcome::Unknown { why } => {
                warn!(topic = %task.topic, partition = task.partition, why, "a change's answer was lost");
            }
            PartitionOutcome::NotSent(cause) => {
                debug!(topic = %task.topic, partition = task.partition, %cause, "a change was not sent");
            }
        }
    }
    if asked > written {
        debug!(asked, written, "changes are decided anew");
    }
    asked == written
}
