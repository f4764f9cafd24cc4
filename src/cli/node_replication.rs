//! What the metrics tell of partitions in a cluster: led here, and all of them by the controller's image.

use crate::broker::Broker;
use crate::metadata::image::{ClusterImage, PartitionImage, ReplicaEntry, TopicImage};
use crate::replication::{election, members, reassignment};
use crate::telemetry::metrics::Scrape;

/// How many partitions are so.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Numbers {
    /// Led here.
    leaders: u64,
    /// Led here, and a replica that is not just being added is not in sync.
    under_replicated: u64,
    /// Led here, with fewer in sync than `min.insync.replicas`.
    under_min_isr: u64,
    /// Led here, with just so many.
    at_min_isr: u64,
    /// Led here, replicas on the move.
    reassigning: u64,
    /// In the cluster.
    all: u64,
    /// In the cluster, without a leader that lives.
    offline: u64,
    /// In the cluster, led by another than the preferred replica.
    not_preferred: u64,
}

impl Numbers {
    fn of(image: &ClusterImage, me: ReplicaEntry, min_isr: impl Fn(&TopicImage) -> usize) -> Self {
        let mut numbers = Self::default();
        for topic in image.topics.values().filter(|topic| !topic.deleting) {
            let mut asked = None;
            for state in &topic.partitions {
                numbers.all += 1;
                let leader = election::leader_now(image, state);
                let preferred = leader == state.replicas.first().copied();
                numbers.offline += u64::from(leader.is_none());
                numbers.not_preferred += u64::from(leader.is_some() && !preferred);
                if leader == Some(me.id) {
                    numbers.add_led(image, state, *asked.get_or_insert_with(|| min_isr(topic)));
                }
            }
        }
        numbers
    }

    fn add_led(&mut self, image: &ClusterImage, state: &PartitionImage, min_insync_replicas: usize) {
        let in_sync = members::isr_size(image, &state.isr);
        let required = members::effective_min_isr(min_insync_replicas, state.replicas.len());
        self.leaders += 1;
        let wanted = state.replicas.iter().filter(|id| !state.adding.contains(id)).count();
        self.under_replicated += u64::from(in_sync < wanted);
        self.under_min_isr += u64::from(in_sync < required);
        self.at_min_isr += u64::from(in_sync == required);
        self.reassigning += u64::from(reassignment::in_progress(state));
    }
}

/// Tells everything about replication.
#[allow(clippy::cast_precision_loss, reason = "metrics are floating point numbers")]
pub fn tell(scrape: &mut Scrape<'_>, broker: &Broker) {
    let image = broker.image();
    let numbers = Numbers::of(&image, broker.lifetime(), |topic| {
        broker.min_insync_replicas(&image, topic.id).unwrap_or(1)
    });
    let replicas = "kafka.server:type=ReplicaManager,name=";
    let controller = "kafka.controller:type=KafkaController,name=";
    let of_cluster = if broker.metadata().session().is_controller() { 1 } else { 0 };
    let gauges = [
        ("ketcd_replication_leaders", "Partitions led here", replicas, "LeaderCount", numbers.leaders),
        (
            "ketcd_replication_under_replicated_partitions",
            "Partitions led here of which a replica is not in sync",
            replicas,
            "UnderReplicatedPartitions",
            numbers.under_replicated,
        ),
        (
            "ketcd_replication_under_min_isr_partitions",
            "Partitions led here with fewer in-sync replicas than min.insync.replicas: acks=all waits",
            replicas,
            "UnderMinIsrPartitionCount",
            numbers.under_min_isr,
        ),
        (
            "ketcd_replication_at_min_isr_partitions",
            "Partitions led here with just min.insync.replicas in-sync replicas",
            replicas,
            "AtMinIsrPartitionCount",
            numbers.at_min_isr,
        ),
        (
            "ketcd_replication_reassigning_partitions",
            "Partitions led here whose replicas are on the move",
            replicas,
            "ReassigningPartitions",
            numbers.reassigning,
        ),
        (
            "ketcd_controller_partitions",
            "Partitions of the cluster; 0 where the controller is not",
            controller,
            "GlobalPartitionCount",
            numbers.all * of_cluster,
        ),
        (
            "ketcd_controller_offline_partitions",
            "Partitions of the cluster that nobody leads; 0 where the controller is not",
            controller,
            "OfflinePartitionsCount",
            numbers.offline * of_cluster,
        ),
        (
            "ketcd_controller_preferred_replica_imbalance",
            "Partitions of the cluster that another than the preferred replica leads; 0 where the controller is not",
            controller,
            "PreferredReplicaImbalanceCount",
            numbers.not_preferred * of_cluster,
        ),
        (
            "ketcd_controller_live_brokers",
            "Brokers that are registered",
            controller,
            "ActiveBrokerCount",
            image.brokers.len() as u64,
        ),
        (
            "ketcd_controller_fenced_brokers",
            "Brokers that are known and not registered",
            controller,
            "FencedBrokerCount",
            image.broker_meta.keys().filter(|id| !image.brokers.contains_key(id)).count() as u64,
        ),
    ];
    for (name, help, bean, attribute, value) in gauges {
        scrape.gauge(name, &format!("{help} ({bean}{attribute})"), value as f64);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::metadata::image::BrokerImage;
    use crate::types::{BrokerEpoch, BrokerId, PartitionEpoch, TopicId, TopicName};

    const fn entry(id: i32) -> ReplicaEntry {
        ReplicaEntry { id: BrokerId(id), epoch: BrokerEpoch(10) }
    }

    fn partition(leader: i32, isr: &[i32], adding: &[i32]) -> Arc<PartitionImage> {
        Arc::new(PartitionImage {
            replicas: vec![BrokerId(1), BrokerId(2), BrokerId(3)],
            leader: Some(entry(leader)),
            isr: isr.iter().copied().map(entry).collect(),
            adding: adding.iter().copied().map(BrokerId).collect(),
            partition_epoch: PartitionEpoch(5),
            ..PartitionImage::assigned(Vec::new())
        })
    }

    #[test]
    fn partitions_are_counted_where_they_are_led_and_as_a_whole() {
        let mut image = ClusterImage::default();
        for id in [1, 2] {
            let broker = BrokerImage::of(BrokerId(id), BrokerEpoch(10));
            image.brokers.insert(BrokerId(id), Arc::new(broker));
        }
        let id = TopicId::new(Uuid::from_u128(1)).unwrap();
        let partitions = vec![
            partition(1, &[1, 2, 3], &[]),
            partition(1, &[1, 2], &[]),
            partition(1, &[1], &[]),
            partition(1, &[1, 2], &[3]),
            partition(2, &[2], &[]),
            partition(3, &[3], &[]),
        ];
        let name = TopicName::new("t").unwrap();
        let topic = TopicImage { id, name, mod_revision: 5, deleting: false, partitions };
        image.topics.insert(id, Arc::new(topic));
        let expected = Numbers {
            leaders: 4,
            under_replicated: 2,
            under_min_isr: 1,
            at_min_isr: 2,
            reassigning: 1,
            all: 6,
            offline: 1,
            not_preferred: 1,
        };
        assert_eq!(Numbers::of(&image, entry(1), |_| 2), expected);
    }
}
