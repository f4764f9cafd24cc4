//! After an operator accepted that etcd went back in time (rule E13): epochs that logs may have seen are passed over.
//!
//! A restored etcd has forgotten leader epochs under which records were written. Whoever leads next must not write under one of them
//! again: followers could not tell the old records from the new ones. How far it went back nobody knows, so the next epochs are far away.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Broker;
use crate::metadata::PartitionOutcome;
use crate::metadata::image::ClusterImage;
use crate::metadata::txn::partitions::{PartitionChange, Reliance};
use crate::replication::{Partition, members};
use crate::types::LeaderEpoch;

/// How many epochs are passed over: more than a partition has changes of leader between two backups.
const PASSED_OVER: i32 = 1_000;
/// Time between two looks.
const PACE: Duration = Duration::from_secs(1);

/// Raises the epoch of a change that makes a new leader.
pub(super) fn raise(change: &mut PartitionChange) {
    let epoch = &mut change.value.value.leader_epoch;
    *epoch = LeaderEpoch(epoch.get().saturating_add(PASSED_OVER));
}

/// Raises the epochs of partitions that have this broker as their only replica, until `stop`: nobody ballots for those.
pub async fn run(broker: Arc<Broker>, stop: CancellationToken) {
    if !broker.broker_config().etcd.accept_rollback {
        return;
    }
    warn!(
        "etcd.accept.rollback is set: whatever etcd says is believed. Remove it once all brokers have started with it"
    );
    while !stop.is_cancelled() {
        let image = broker.image();
        let topics = broker.partitions().topics();
        let held = topics.iter().flat_map(|topic| topic.partitions());
        let changes: Vec<_> = held.filter_map(|partition| change_of(&broker, &image, partition)).collect();
        if !changes.is_empty() {
            let outcomes = broker.metadata().change_partitions(changes).await;
            let done = outcomes.iter().filter(|one| matches!(one, PartitionOutcome::Written(_))).count();
            info!(
                partitions = done,
                "leader epochs of single replicas are past those that etcd has forgotten"
            );
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(PACE) => {}
        }
    }
}

fn change_of(broker: &Broker, image: &ClusterImage, partition: &Arc<Partition>) -> Option<PartitionChange> {
    let (seen, _) = partition.rolled_back()?;
    let me = broker.lifetime();
    let index = partition.name().partition;
    let state = image.topics.get(&partition.topic_id())?.partitions.get(usize::try_from(index).ok()?)?;
    if state.replicas.as_slice() != [me.id] {
        return None;
    }
    members::change(image, partition.topic_id(), index, vec![Reliance::Lives(me)], |value| {
        value.leader = Some(me);
        value.leader_epoch =
            LeaderEpoch(seen.get().max(state.leader_epoch.get()).saturating_add(PASSED_OVER));
        value.isr = vec![me];
        value.why = "etcd went back in time, which was accepted".to_owned();
    })
}
