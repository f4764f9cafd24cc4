//! Logs on the disk: which there are, whose they are, and how they are taken away.

use std::sync::Arc;

use uuid::Uuid;

use crate::types::{TopicId, TopicPartition, random};

use super::checkpoint;
use super::directories::LogDirs;
use super::ends::LogEnd;
use super::error::{OpenError, Unusable};
use super::handle::{Known, Log};
use super::home::Home;
use super::names::{PARTITION_METADATA, delete_directory_name};
use super::offsets::{Kind, Offsets};
use super::slot::{Closed, State};
use super::step::Step;
use super::storage::lock;

/// A log on the disk that nobody asked for yet.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Number of its directory.
    pub home: usize,
    /// Its exact end, after a clean stop.
    pub end: Option<LogEnd>,
}

/// A log on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionOnDisk {
    /// The partition.
    pub partition: TopicPartition,
    /// Its topic's id; `None` if `partition.metadata` is missing or damaged.
    pub topic_id: Option<TopicId>,
    /// Id of the directory it is in.
    pub directory_id: Uuid,
    /// Bytes of its segments; `None` if nobody has counted them yet.
    pub size_bytes: Option<u64>,
}

impl LogDirs {
    /// All logs on the disk, opened or not. Waits for the disk.
    #[must_use]
    pub fn partitions_on_disk(&self) -> Vec<PartitionOnDisk> {
        let mut all: Vec<_> = lock(&self.shared.logs)
            .values()
            .map(|log| PartitionOnDisk {
                partition: log.partition().clone(),
                topic_id: Some(log.topic_id()),
                directory_id: log.directory_id(),
                size_bytes: Some(log.size_bytes()),
            })
            .collect();
        let found: Vec<_> = lock(&self.shared.found).iter().map(|(p, f)| (p.clone(), f.clone())).collect();
        for (partition, found) in found {
            let Some(home) = self.shared.homes.get(found.home) else { continue };
            let topic_id = match &found.end {
                Some(end) => Some(end.topic_id),
                None => read_topic_id(home, &partition),
            };
            all.push(PartitionOnDisk {
                partition,
                topic_id,
                directory_id: home.directory_id,
                size_bytes: found.end.map(|end| end.size_bytes),
            });
        }
        all.sort_unstable_by(|a, b| a.partition.cmp(&b.partition));
        all
    }

    /// What is known of a log on the disk, if it is `topic_id`'s.
    pub(super) fn claim(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
        found: Found,
    ) -> Result<Option<(Arc<Home>, Known)>, OpenError> {
        let Some(home) = self.shared.homes.get(found.home) else { return Ok(None) };
        let its_id = match &found.end {
            Some(end) => Some(end.topic_id),
            None => read_topic_id(home, partition),
        };
        if its_id.is_some_and(|id| id != topic_id) {
            tracing::warn!(%partition, "log of another topic id is moved aside");
            set_aside(home, partition, 0).map_err(|source| OpenError::Io { path: home.path(), source })?;
            forget_cleaned(home, partition)?;
            return Ok(None);
        }
        let known = match found.end {
            Some(end) => Known::clean(end),
            None => {
                let checkpoints = lock(&home.checkpoints);
                let log_start = checkpoints.get(Kind::LogStart, partition);
                let recovery_point = checkpoints.get(Kind::RecoveryPoint, partition);
                Known {
                    closed: Closed::Unclean,
                    log_start,
                    log_end: recovery_point.max(log_start),
                    high_watermark: checkpoints.get(Kind::HighWatermark, partition),
                    recovery_point,
                    ..Known::new_log()
                }
            }
        };
        Ok(Some((Arc::clone(home), known)))
    }

    /// Deletes a partition: its directory is renamed at once and removed after `file.delete.delay.ms`; readers keep what they hold.
    /// Answers when the partition's name is free again.
    pub fn delete_log(&self, log: &Arc<Log>) -> Step<Result<(), Unusable>> {
        lock(&self.shared.logs).remove(log.partition());
        log.submit(
            |log, state| {
                let was_new = matches!(state, State::Closed(Closed::New));
                *state = State::Gone(Unusable::Closed);
                log.set_segments(None);
                if was_new {
                    return Ok(());
                }
                let failed = |error| log.home.write_error("deletion", error);
                set_aside(&log.home, log.partition(), log.config().file_delete_delay_ms).map_err(failed)?;
                // A partition of this name that comes later must not inherit its offsets.
                log.home.forget(log.partition())
            },
            Err,
        )
    }

    /// Removes a log on the disk that nobody opened: its topic was deleted while this broker was away.
    ///
    /// # Errors
    /// What the system says.
    pub fn delete_unopened(&self, partition: &TopicPartition) -> Result<(), OpenError> {
        let Some(found) = lock(&self.shared.found).remove(partition) else { return Ok(()) };
        let Some(home) = self.shared.homes.get(found.home) else { return Ok(()) };
        set_aside(home, partition, 0).map_err(|source| OpenError::Io { path: home.path(), source })?;
        forget_cleaned(home, partition)
    }
}

/// Renames a partition's directory and has it removed after `delay_ms`.
fn set_aside(home: &Home, partition: &TopicPartition, delay_ms: i64) -> std::io::Result<()> {
    let unique = random::uuid().simple().to_string();
    let aside = delete_directory_name(partition, &unique);
    match home.volume.rename(&partition.to_string(), &aside) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        done => done?,
    }
    home.volume.sync_directory("")?;
    home.bury(Vec::new(), Some(aside), delay_ms);
    Ok(())
}

/// Has a later partition of this name begin dirty.
fn forget_cleaned(home: &Home, partition: &TopicPartition) -> Result<(), OpenError> {
    let change = |offsets: &mut Offsets| {
        offsets.remove(partition);
    };
    lock(&home.checkpoints)
        .change(Kind::Cleaner, &home.volume, change)
        .map_err(|source| OpenError::Io { path: home.path(), source })
}

fn read_topic_id(home: &Home, partition: &TopicPartition) -> Option<TopicId> {
    let bytes = home.volume.read(&format!("{partition}/{PARTITION_METADATA}")).ok()??;
    checkpoint::decode_partition_metadata(&bytes)
}
