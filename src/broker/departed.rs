//! Replicas that this broker held and holds no more: their logs are closed and deleted.
//!
//! Only a record of the partition that was read, and that is newer than what the log was used under, takes a log away. A partition
//! without a record, a record that cannot be read, or a topic that is not known never does. And etcd is asked once more before: an
//! image that missed a change would take away the log of a replica that came back, perhaps the only one in sync.

use std::sync::Arc;

use tracing::{error, info, warn};

use super::{Broker, Topic};
use crate::metadata::image::{ClusterImage, PartitionImage, TopicImage};
use crate::replication::Partition;
use crate::types::{BrokerId, PartitionEpoch};

/// Partitions of `held` whose newer record in `topic` does not name `me`, closed. `None`: etcd does not confirm it.
pub async fn of_topic(
    broker: &Broker,
    held: &Topic,
    topic: &TopicImage,
    me: BrokerId,
) -> Option<Vec<Arc<Partition>>> {
    let mut away = Vec::new();
    let mut read = Vec::new();
    for partition in held.partitions() {
        let index = partition.name().partition;
        let Some(state) = topic.partition(index) else { continue };
        if takes_away(state, me, partition.partition_epoch()) {
            partition.close();
            away.push(Arc::clone(partition));
            read.push((index, state.partition_epoch));
        }
    }
    (read.is_empty() || is_confirmed(broker, topic, read).await).then_some(away)
}

/// The record was read, names others, and is newer than `used`.
fn takes_away(state: &PartitionImage, me: BrokerId, used: PartitionEpoch) -> bool {
    state.partition_epoch > used && !state.replicas.contains(&me)
}

/// Whether etcd itself says what was read of these partitions of a topic. What cannot be asked is not confirmed.
async fn is_confirmed(broker: &Broker, topic: &TopicImage, read: Vec<(i32, PartitionEpoch)>) -> bool {
    match broker.metadata().partitions_stand(topic.id, read).await {
        Ok(stand) => {
            if !stand {
                warn!(topic = %topic.name, "etcd does not say that replicas were moved away: their logs stay");
            }
            stand
        }
        Err(cause) => {
            info!(topic = %topic.name, %cause, "replicas were moved away: their logs stay until etcd confirms it");
            false
        }
    }
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

/// Deletes logs on the disk, which nobody opened, of partitions that were moved away, and of topics whose deletion began, while this
/// broker was not there. Answers whether that is all: what etcd does not confirm stays.
pub async fn remove_unopened(broker: &Broker, image: &ClusterImage) -> bool {
    let me = broker.id();
    let mut all = true;
    for found in broker.log_dirs().partitions_on_disk() {
        let Some(topic) = found.topic_id.and_then(|id| image.topics.get(&id)) else { continue };
        if broker.log_dirs().log(&found.partition).is_some() {
            continue; // open: it goes with its partition
        }
        if !topic.deleting {
            let index = found.partition.partition;
            // A log on the disk was used under a record, or the lack of one, that named this broker.
            let moved = topic.partition(index).filter(|state| takes_away(state, me, PartitionEpoch(0)));
            let Some(state) = moved else { continue };
            if !is_confirmed(broker, topic, vec![(index, state.partition_epoch)]).await {
                all = false;
                continue;
            }
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
    all
}
