//! Reassignments as clients ask for them: checked, begun, cancelled, listed.

use std::collections::BTreeSet;
use std::time::Duration;

use super::Broker;
use crate::metadata::MetadataError;
use crate::metadata::image::{ClusterImage, PartitionImage, TopicImage};
use crate::metadata::txn::partitions::PartitionChange;
use crate::replication::reassignment::{self, Refusal};
use crate::types::BrokerId;

/// A partition and what is to become of its replicas.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Reassign {
    /// The topic, not yet checked.
    pub topic: String,
    /// The partition's index, not yet checked.
    pub partition: i32,
    /// The new replicas in preference order; `None` cancels what is under way.
    pub target: Option<Vec<BrokerId>>,
}

/// Why a reassignment was not begun or cancelled.
#[derive(Debug, thiserror::Error)]
pub enum ReassignError {
    /// There is no such partition.
    #[error("there is no partition {1} of topic {0:?}")]
    NoPartition(String, i32),
    /// The replicas given are not usable.
    #[error("the replica assignment is not usable: {0}")]
    InvalidAssignment(String),
    /// The number of replicas would change, which the request forbids.
    #[error(
        "the replication factor is {now}, the assignment has {asked} replicas, and the request does not allow a change of it"
    )]
    FactorChanges {
        /// As it is, moves aside.
        now: usize,
        /// As asked.
        asked: usize,
    },
    /// Not as the partition stands.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// etcd refused, or could not be reached.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

impl Broker {
    /// Begins or cancels reassignments, each on its own; outcomes in the order of the asks.
    pub async fn reassign(
        &self,
        asks: &[Reassign],
        allow_factor_change: bool,
        timeout: Duration,
        who: &str,
    ) -> Vec<Result<(), ReassignError>> {
        let decide = |image: &ClusterImage, ask: &Reassign| self.decide(image, ask, allow_factor_change);
        let outcomes = self.change_each(asks, timeout, decide).await;
        let told = asks.iter().zip(&outcomes).filter(|(_, outcome)| matches!(outcome, Ok(true)));
        let all: Vec<String> = told.take(TOLD_MAX).map(|(ask, _)| tell(ask)).collect();
        let written = outcomes.iter().filter(|outcome| matches!(outcome, Ok(true))).count();
        if written > 0 {
            let more = if written > all.len() {
                format!(" and {} more", written - all.len())
            } else {
                String::new()
            };
            self.audit(who, format!("reassigned {}{more}", all.join(", ")), self.image().revision);
        }
        outcomes.into_iter().map(|outcome| outcome.map(drop)).collect()
    }

    fn decide(
        &self,
        image: &ClusterImage,
        ask: &Reassign,
        allow_factor_change: bool,
    ) -> Result<Option<PartitionChange>, ReassignError> {
        let nowhere = || ReassignError::NoPartition(ask.topic.clone(), ask.partition);
        let topic = image.topic(&ask.topic).ok_or_else(nowhere)?;
        let state = topic.partition(ask.partition).ok_or_else(nowhere)?;
        let min = self.min_insync_replicas(image, topic.id).ok_or_else(nowhere)?;
        let Some(target) = &ask.target else {
            return Ok(reassignment::cancel(image, topic.id, ask.partition, min)?);
        };
        check_target(image, state, target)?;
        let now = state.replicas.iter().filter(|id| !state.adding.contains(id)).count();
        if !allow_factor_change && target.len() != now {
            return Err(ReassignError::FactorChanges { now, asked: target.len() });
        }
        Ok(reassignment::begin(image, topic.id, ask.partition, target, min)?)
    }
}

/// Partitions named in one entry of the audit trail.
const TOLD_MAX: usize = 10;

fn tell(ask: &Reassign) -> String {
    match &ask.target {
        None => format!("{}-{} (cancelled)", ask.topic, ask.partition),
        Some(target) => {
            let ids: Vec<i32> = target.iter().map(|id| id.get()).collect();
            format!("{}-{} to {ids:?}", ask.topic, ask.partition)
        }
    }
}

/// Brokers that are known, each once (`ReplicationControlManager.validateManualPartitionAssignment`). One that is away is allowed, as
/// in Kafka: the reassignment waits for it.
fn check_target(
    image: &ClusterImage,
    state: &PartitionImage,
    target: &[BrokerId],
) -> Result<(), ReassignError> {
    let invalid = |why: String| Err(ReassignError::InvalidAssignment(why));
    if target.is_empty() {
        return invalid("it names no broker".to_owned());
    }
    if target.iter().collect::<BTreeSet<_>>().len() < target.len() {
        return invalid("it names a broker twice".to_owned());
    }
    let known = |id: &BrokerId| {
        image.brokers.contains_key(id) || image.broker_meta.contains_key(id) || state.replicas.contains(id)
    };
    match target.iter().find(|id| !known(id)) {
        Some(unknown) => invalid(format!("broker {unknown} is not registered")),
        None => Ok(()),
    }
}

/// The partitions of a topic whose replicas are on the move, with their indexes.
pub fn ongoing(topic: &TopicImage) -> impl Iterator<Item = (i32, &PartitionImage)> {
    let partitions = (0..).zip(topic.partitions.iter().map(AsRef::as_ref));
    partitions.filter(|(_, state)| reassignment::in_progress(state))
}
