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
use crate::types::seeded::{Bug, seeded};

/// How many epochs are passed over: more than a partition has changes of leader between two backups.
pub const PASSED_OVER: i32 = 1_000;
/// Time between two looks.
const PACE: Duration = Duration::from_secs(1);

/// Raises the epoch of a change that makes a new leader epoch. `image` is the one that it was decided from, or a newer one.
///
/// Ballots, hand-overs, preferred and unclean elections, the end of a reassignment: while a broker of before goes on, all of them can
/// come first.
pub fn raise(image: &ClusterImage, change: &mut PartitionChange) {
    let state = image.partition(change.topic, change.partition);
    let epoch = &mut change.value.value.leader_epoch;
    // Of a newer record the change is refused anyway.
    if state.is_some_and(|state| *epoch > state.leader_epoch) && !seeded(Bug::E13NotRaised) {
        *epoch = LeaderEpoch(epoch.get().saturating_add(PASSED_OVER));
    }
}

impl Broker {
    /// Sends changes of partitions that were decided from its image. Where a rollback of etcd was accepted, new epochs are far away.
    pub(super) async fn change_partitions(&self, mut changes: Vec<PartitionChange>) -> Vec<PartitionOutcome> {
        if self.broker_config().etcd.accept_rollback {
            let image = self.image();
            changes.iter_mut().for_each(|change| raise(&image, change));
        }
        self.metadata().change_partitions(changes).await
    }
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
    let state = image.partition(partition.topic_id(), index)?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replication::election::{self, ElectionRules, HandOver};
    use crate::replication::world::{World, guarded, id, topic};

    /// Forgotten epochs are passed over whatever makes the new leader; a change of the in-sync set alone keeps its epoch (rule E1).
    #[test]
    fn every_new_leader_epoch_is_past_those_that_were_forgotten() {
        guarded(&[Bug::E13NotRaised], || {
            let mut world = World::new(&[1, 2]);
            let epoch = |change: &PartitionChange| change.value.value.leader_epoch.get();
            let before = world.state().leader_epoch.get();
            let sender = Reliance::Lives(world.me(1));
            let hand_over = HandOver { to: id(2), sender, leaving: None, min_insync_replicas: 1, why: "" };
            let mut handed_over = election::hand_over(&world.image, topic(), 0, hand_over).unwrap();
            raise(&world.image, &mut handed_over);
            assert_eq!(epoch(&handed_over), before + 1 + PASSED_OVER);
            world.leaves(1);
            let rules = ElectionRules { min_insync_replicas: 1, unclean: false };
            let mut ballot = election::ballot(&world.image, topic(), 0, world.me(2), rules).unwrap().change;
            raise(&world.image, &mut ballot);
            assert_eq!(epoch(&ballot), before + 1 + PASSED_OVER);
            let mut shrink =
                members::change(&world.image, topic(), 0, vec![], |value| value.isr.truncate(1)).unwrap();
            raise(&world.image, &mut shrink);
            assert_eq!(epoch(&shrink), before);
        });
    }
}
