//! Elections that an operator asks for (ElectLeaders, KIP-460).

use std::time::Duration;

use super::Broker;
use crate::metadata::MetadataError;
use crate::metadata::image::{ClusterImage, PartitionImage, ReplicaEntry, TopicImage};
use crate::metadata::txn::partitions::{PartitionChange, Reliance};
use crate::replication::election::{self, ElectionRules};
use crate::replication::reassignment;
use crate::telemetry::replication::{self as numbers, Won};
use tracing::warn;

/// What kind of election is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ElectionKind {
    /// The preferred replica is to lead, if it is in sync.
    Preferred,
    /// Whoever is left is to lead a partition that nobody leads: records may be lost.
    Unclean,
}

/// A partition, not yet checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Elect {
    /// The topic.
    pub topic: String,
    /// The partition's index.
    pub partition: i32,
}

/// Why no leader was elected.
#[derive(Debug, thiserror::Error)]
pub enum ElectError {
    /// There is no such partition.
    #[error("there is no partition {1} of topic {0:?}")]
    NoPartition(String, i32),
    /// It has the leader that it should have.
    #[error("the partition has the leader that it should have")]
    NotNeeded,
    /// The preferred replica is not in sync, not alive, or takes no leaderships.
    #[error("the preferred replica {0} is not in sync and alive, or takes no leaderships now")]
    PreferredNotAvailable(i32),
    /// No replica is alive.
    #[error("no replica is alive that takes leaderships")]
    NobodyAvailable,
    /// etcd refused, or could not be reached.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

impl Broker {
    /// Elects leaders, each on its own; outcomes in the order of the asks.
    pub async fn elect(
        &self,
        kind: ElectionKind,
        asks: &[Elect],
        timeout: Duration,
        who: &str,
    ) -> Vec<Result<(), ElectError>> {
        let decide = |image: &ClusterImage, ask: &Elect| self.decide_election(image, kind, ask).map(Some);
        let outcomes = self.change_each(asks, timeout, decide).await;
        let elected = outcomes.iter().filter(|outcome| outcome.is_ok()).count();
        if elected > 0 {
            for (ask, _) in asks.iter().zip(&outcomes).filter(|(_, outcome)| outcome.is_ok()) {
                match kind {
                    ElectionKind::Preferred => numbers::elected(Won::HandOver),
                    ElectionKind::Unclean => {
                        numbers::elected(Won::Unclean);
                        warn!(
                            topic = ask.topic,
                            partition = ask.partition,
                            who,
                            "unclean election asked for and done"
                        );
                    }
                }
            }
            self.audit(
                who,
                format!("elected {kind:?} leaders of {elected} partitions"),
                self.image().revision,
            );
        }
        outcomes.into_iter().map(|outcome| outcome.map(drop)).collect()
    }

    fn decide_election(
        &self,
        image: &ClusterImage,
        kind: ElectionKind,
        ask: &Elect,
    ) -> Result<PartitionChange, ElectError> {
        let nowhere = || ElectError::NoPartition(ask.topic.clone(), ask.partition);
        let topic = image.topic(&ask.topic).ok_or_else(nowhere)?;
        let state = topic.partition(ask.partition).ok_or_else(nowhere)?;
        let min_insync_replicas = self.min_insync_replicas(image, topic.id).ok_or_else(nowhere)?;
        match kind {
            ElectionKind::Preferred => prefer(image, topic, ask.partition, state, min_insync_replicas),
            ElectionKind::Unclean => {
                if is_not_needed(image, kind, state) {
                    return Err(ElectError::NotNeeded);
                }
                let rules = ElectionRules { min_insync_replicas, unclean: true };
                best(image, topic, ask.partition, state, rules).ok_or(ElectError::NobodyAvailable)
            }
        }
    }
}

/// Whether the partition has the leader that an election of this kind would want: not even told of when all are asked for.
#[must_use]
pub fn is_not_needed(image: &ClusterImage, kind: ElectionKind, state: &PartitionImage) -> bool {
    let leader = election::leader_now(image, state);
    let preferred = leader == state.replicas.first().copied();
    leader.is_some() && (kind == ElectionKind::Unclean || preferred)
}

fn prefer(
    image: &ClusterImage,
    topic: &TopicImage,
    partition: i32,
    state: &PartitionImage,
    min_insync_replicas: usize,
) -> Result<PartitionChange, ElectError> {
    if is_not_needed(image, ElectionKind::Preferred, state) {
        return Err(ElectError::NotNeeded);
    }
    let preferred = state.replicas.first().copied();
    let change = match state.leader.filter(|leader| image.lives(*leader)) {
        // The record's revision is compared, and that this leader is still the one to step down.
        Some(leader) => {
            reassignment::prefer(image, topic.id, partition, min_insync_replicas, Reliance::Lives(leader))
        }
        None => {
            let rules = ElectionRules { min_insync_replicas, unclean: false };
            let me = preferred.and_then(|id| lifetime(image, id));
            let ballot = me.and_then(|me| election::ballot(image, topic.id, partition, me, rules));
            ballot.map(|ballot| ballot.change)
        }
    };
    change.ok_or(ElectError::PreferredNotAvailable(preferred.map_or(-1, |id| id.get())))
}

/// The best ballot that any replica could give now.
fn best(
    image: &ClusterImage,
    topic: &TopicImage,
    partition: i32,
    state: &PartitionImage,
    rules: ElectionRules,
) -> Option<PartitionChange> {
    let alive = state.replicas.iter().filter_map(|id| lifetime(image, *id));
    let ballots = alive.filter_map(|me| election::ballot(image, topic.id, partition, me, rules));
    ballots.min_by_key(|ballot| (ballot.grounds, ballot.rank)).map(|ballot| ballot.change)
}

fn lifetime(image: &ClusterImage, id: crate::types::BrokerId) -> Option<ReplicaEntry> {
    image.brokers.get(&id).map(|live| ReplicaEntry { id, epoch: live.epoch })
}
