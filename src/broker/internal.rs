//! The topic of groups grows with the cluster: made when there were few brokers, it gets its missing replicas once there are more.
//!
//! Apache Kafka refuses to make its internal topics before there are brokers enough, and leaves the rest to the operator. Here a group can
//! begin on one broker, and is replicated as soon as others join: the controller begins ordinary reassignments.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Broker;
use super::groups::{internal_min_isr, replicas_possible};
use super::reassignments::Reassign;
use crate::controller::placement::{Candidate, place};
use crate::coordinator::runtime::OFFSETS_TOPIC;
use crate::metadata::image::{ClusterImage, ConfigEntity, TopicImage};
use crate::replication::reassignment;

/// Time between two looks.
const PACE: Duration = Duration::from_secs(5);
/// Brokers must have been there for so long: one that comes and goes costs no copy.
const SETTLED: Duration = Duration::from_secs(30);
/// How long the beginning of the reassignments may take.
const TIMEOUT: Duration = Duration::from_secs(10);
/// In whose name the audit trail says it is done.
const WHO: &str = "controller";

/// Acts whenever this broker is the controller, until `stop`.
pub async fn run(broker: Arc<Broker>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(PACE) => {}
        }
        let session = broker.metadata().session();
        if session.is_controller()
            && session.reachable
            && !session.fenced
            && broker.brokers_settled_for() >= SETTLED
        {
            grow(&broker).await;
        }
    }
}

async fn grow(broker: &Broker) {
    let image = broker.image();
    let replicas = replicas_possible(&image, &broker.broker_config().groups);
    let Some(topic) = image.topic(OFFSETS_TOPIC) else { return };
    let asks = missing(&image, topic, replicas);
    if asks.is_empty() {
        return;
    }
    info!(
        topic = OFFSETS_TOPIC,
        replicas,
        partitions = asks.len(),
        "there are brokers for more replicas: adding them"
    );
    if let Some(min_isr) = internal_min_isr(replicas) {
        // Never more than a partition has replicas: it counts as soon as they are there.
        let with = move |now: &BTreeMap<String, String>| {
            let mut entries = now.clone();
            entries.entry("min.insync.replicas".to_owned()).or_insert_with(|| min_isr.to_string());
            Ok::<_, std::convert::Infallible>(entries)
        };
        let entity = ConfigEntity::Topic(topic.name.clone());
        if let Err(cause) = broker.metadata().alter_config(entity, with).await {
            warn!(topic = OFFSETS_TOPIC, ?cause, "min.insync.replicas is not set");
        }
    }
    for (ask, outcome) in asks.iter().zip(broker.reassign(&asks, true, TIMEOUT, WHO).await) {
        if let Err(cause) = outcome {
            warn!(topic = OFFSETS_TOPIC, partition = ask.partition, %cause, "replicas are not added");
        }
    }
}

/// The partitions with fewer than `replicas`, and their replicas to be: those that they have, then others, racks not used before first.
fn missing(image: &ClusterImage, topic: &TopicImage, replicas: usize) -> Vec<Reassign> {
    let live = image.brokers.values().filter(|broker| !broker.draining && !broker.stopping);
    let candidates: Vec<Candidate> =
        live.map(|broker| Candidate { id: broker.id, rack: broker.rack.clone() }).collect();
    let (Ok(count), Ok(factor)) = (i32::try_from(topic.partitions.len()), i32::try_from(replicas)) else {
        return Vec::new();
    };
    let Ok(placed) = place(&candidates, count, factor, 0) else { return Vec::new() };
    let partitions = (0..).zip(topic.partitions.iter().zip(placed));
    partitions
        .filter(|(_, (state, _))| state.replicas.len() < replicas && !reassignment::in_progress(state))
        .map(|(partition, (state, placed))| {
            let mut target = state.replicas.clone();
            target.extend(placed.into_iter().filter(|id| !state.replicas.contains(id)));
            target.truncate(replicas);
            Reassign { topic: topic.name.to_string(), partition, target: Some(target) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::image::{BrokerImage, PartitionImage};
    use crate::types::{BrokerEpoch, BrokerId, TopicId, TopicName};

    fn ids(ids: &[i32]) -> Vec<BrokerId> {
        ids.iter().map(|id| BrokerId(*id)).collect()
    }

    fn partition(replicas: &[i32], adding: &[i32]) -> Arc<PartitionImage> {
        Arc::new(PartitionImage {
            replicas: ids(replicas),
            leader: None,
            isr: vec![],
            adding: ids(adding),
            ..PartitionImage::assigned(Vec::new())
        })
    }

    #[test]
    fn partitions_get_the_replicas_that_they_lack_and_keep_those_that_they_have() {
        let mut image = ClusterImage::default();
        for (id, rack) in [(1, "a"), (2, "a"), (3, "b"), (4, "c")] {
            let broker = BrokerImage {
                rack: Some(rack.to_owned()),
                draining: id == 4,
                ..BrokerImage::of(BrokerId(id), BrokerEpoch(1))
            };
            image.brokers.insert(BrokerId(id), Arc::new(broker));
        }
        let topic = TopicImage {
            id: TopicId::new(uuid::Uuid::from_u128(1)).unwrap(),
            name: TopicName::new(OFFSETS_TOPIC).unwrap(),
            mod_revision: 1,
            deleting: false,
            partitions: vec![
                partition(&[2], &[]),
                partition(&[1, 2, 3], &[]),
                partition(&[1, 3], &[3]),
                partition(&[4], &[]),
            ],
        };
        let mut asked = Vec::new();
        for ask in missing(&image, &topic, 3) {
            let mut target = ask.target.unwrap();
            let kept = target[0];
            target.sort_unstable();
            asked.push((ask.partition, kept.get(), target));
        }
        let (first, last) = (&asked[0], &asked[1]);
        assert_eq!(asked.len(), 2, "whole ones and moving ones are left alone: {asked:?}");
        assert_eq!(*first, (0, 2, ids(&[1, 2, 3])));
        assert_eq!((last.0, last.1, last.2.len()), (3, 4, 3));
    }
}
