//! Replicas that this broker held and holds no more: their logs are closed and deleted.
//!
//! Only a record of the partition that was read, and that is newer than what the log was used under, takes a log away. A partition
//! without a record, a record that cannot be read, or a topic that is not known never does.

use std::sync::Arc;

use tracing::{error, info};

use super::{Broker, Topic};
use crate::metadata::image::{ClusterImage, PartitionImage, TopicImage};
use crate::replication::Partition;
use crate::types::{BrokerId, PartitionEpoch};

/// Partitions of `held` whose newer record in `topic` does not name `me`.
#[must_use]
pub fn of_topic(held: &Topic, topic: &TopicImage, me: BrokerId) -> Vec<Arc<Partition>> {
    let held = held.partitions().filter(|partition| {
        let index = usize::try_from(partition.name().partition).ok();
        let state = index.and_then(|index| topic.partitions.get(index));
        state.is_some_and(|state| takes_away(state, me, partition.partition_epoch()))
    });
    held.cloned().collect()
}

/// The record was read, names others, and is newer than `used`.
fn takes_away(state: &PartitionImage, me: BrokerId, used: PartitionEpoch) -> bool {
    state.partition_epoch > used && !state.replicas.contains(&me)
}

/// Closes the partitions and deletes their logs. Waits for it: a replica may come back.
pub async fn remove(broker: &Broker, partitions: Vec<Arc<Partition>>) {
    for partition in partitions {
        partition.close();
        match broker.log_dirs().delete_log(partition.log()).wait().await {
            Ok(()) => info!(partition = %partition.name(), "replica was moved away: its log is removed"),
            Err(cause) => {
                error!(partition = %partition.name(), %cause, "log of a replica that was moved away cannot be removed");
            }
        }
    }
}

/// At start: deletes logs on the disk of partitions that were moved away, and of topics whose deletion began, while this broker was
/// not there.
pub fn remove_unopened(broker: &Broker, image: &ClusterImage) {
    let me = broker.id();
    for found in broker.log_dirs().partitions_on_disk() {
        let Some(topic) = found.topic_id.and_then(|id| image.topics.get(&id)) else { continue };
        let index = usize::try_from(found.partition.partition).ok();
        let state = index.and_then(|index| topic.partitions.get(index));
        // A log on the disk was used under a record, or the lack of one, that named this broker.
        let moved = state.is_some_and(|state| takes_away(state, me, PartitionEpoch(0)));
        if !topic.deleting && !moved {
            continue;
        }
        match broker.log_dirs().delete_unopened(&found.partition) {
            Ok(()) => {
                info!(partition = %found.partition, deleted = topic.deleting, "log of a replica that is not here any more is removed")
            }
            Err(cause) => {
                error!(partition = %found.partition, %cause, "log of a replica that is not here any more cannot be removed");
            }
        }
    }
}
