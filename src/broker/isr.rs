//! Changes of the ISR on their way to etcd: collects what the led partitions want, sends it in batches, tells them what came of it
//! (rules L4 to L6). The deciding is in [`Leader`](crate::replication::leader::Leader).

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::Broker;
use crate::metadata::PartitionOutcome;
use crate::metadata::image::{ClusterImage, ReplicaEntry};
use crate::metadata::txn::partitions::PartitionChange;
use crate::replication::Partition;
use crate::telemetry::replication as numbers;
use crate::types::LeaderEpoch;

/// Bounds of the time between two looks at every led partition, for followers that lag.
const LOOK_LEAST: Duration = Duration::from_millis(100);
const LOOK_MOST: Duration = Duration::from_secs(5);
/// Pause before a partition whose change was refused or is in doubt is looked at again.
const RETRY_AFTER: Duration = Duration::from_millis(100);

/// Runs until `stop`. A batch whose answer is late holds up no other partition.
pub async fn run(broker: Arc<Broker>, stop: CancellationToken) {
    let every = (broker.broker_config().replication.lag_max / 4).clamp(LOOK_LEAST, LOOK_MOST);
    let mut look = tokio::time::interval(every);
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let batches = TaskTracker::new();
    loop {
        let partitions = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = broker.attention().called() => broker.attention().take(),
            _ = look.tick() => all(&broker),
        };
        let taken = take_changes(&broker, partitions);
        if !taken.is_empty() {
            batches.spawn(send(Arc::clone(&broker), taken));
        }
    }
    batches.close();
    batches.wait().await;
}

/// A change on its way: whose, in which leader epoch.
type Taken = (Arc<Partition>, LeaderEpoch, PartitionChange);

fn all(broker: &Broker) -> Vec<Arc<Partition>> {
    broker
        .partitions()
        .topics()
        .iter()
        .flat_map(|topic| topic.partitions().cloned().collect::<Vec<_>>())
        .collect()
}

fn take_changes(broker: &Broker, partitions: Vec<Arc<Partition>>) -> Vec<Taken> {
    let image = broker.image();
    let take = |partition: Arc<Partition>| {
        let (change, epoch) = partition.take_isr_change(&image)?;
        debug!(partition = %partition.name(), why = change.value.value.why, "ISR change");
        Some((partition, epoch, change))
    };
    partitions.into_iter().filter_map(take).collect()
}

async fn send(broker: Arc<Broker>, taken: Vec<Taken>) {
    let image = broker.image();
    let moves: Vec<_> = taken.iter().map(|(.., change)| moves(&image, change)).collect();
    let changes = taken.iter().map(|(.., change)| change.clone()).collect();
    let outcomes = broker.metadata().change_partitions(changes).await;
    let mut again = Vec::new();
    for (((partition, epoch, _), outcome), (left, joined)) in taken.into_iter().zip(&outcomes).zip(moves) {
        partition.isr_outcome(epoch, outcome);
        if matches!(outcome, PartitionOutcome::Written(_)) {
            numbers::isr_changed(left, joined);
        } else {
            numbers::isr_change_failed();
            debug!(partition = %partition.name(), ?outcome, "ISR change not made");
            again.push(partition);
        }
    }
    if !again.is_empty() {
        tokio::time::sleep(RETRY_AFTER).await;
        for partition in again {
            partition.call_attention();
        }
    }
}

/// Whether replicas leave the ISR by `change`, and whether some join, for the metrics.
fn moves(image: &ClusterImage, change: &PartitionChange) -> (bool, bool) {
    let state = image.partition(change.topic, change.partition);
    let (old, new) = (state.map_or(&[][..], |state| &state.isr), &change.value.value.isr);
    let lacks = |all: &[ReplicaEntry], entry: &ReplicaEntry| all.iter().all(|other| other.id != entry.id);
    (old.iter().any(|entry| lacks(new, entry)), new.iter().any(|entry| lacks(old, entry)))
}
