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
        if delete_log(broker, &partition).await {
            info!(partition = %partition.name(), "replica was moved away: its log is removed");
        }
    }
}

/// Removes the logs of a deleted topic. Waits for it: a topic of the same name may be created next.
pub async fn remove_topic(broker: &Broker, topic: &Topic) {
    for partition in topic.partitions() {
        delete_log(broker, partition).await;
    }
    info!(topic = %topic.name, id = %topic.id, "topic deleted: its logs are removed");
}

/// Closes the partition and deletes its log. Answers whether it is gone; if not, that was told.
async fn delete_log(broker: &Broker, partition: &Partition) -> bool {
    partition.close();
    let deleted = broker.log_dirs().delete_log(partition.log()).wait().await;
    if let Err(cause) = &deleted {
        error!(partition = %partition.name(), %cause, "log of a replica that is not here any more cannot be removed");
    }
    deleted.is_ok()
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
