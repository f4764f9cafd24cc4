//! The offset checkpoints of a log directory, as they stand on the disk, and their renewal.

use std::collections::BTreeMap;
use std::io;

use crate::sys::Volume;
use crate::types::TopicPartition;

use super::checkpoint;
use super::names::{
    CLEANER_CHECKPOINT, LOG_START_CHECKPOINT, RECOVERY_POINT_CHECKPOINT, REPLICATION_CHECKPOINT,
};

/// Offsets by partition.
pub type Offsets = BTreeMap<TopicPartition, i64>;

/// One of Kafka's offset checkpoints.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Below it everything is synced.
    RecoveryPoint,
    /// First offset that may be read.
    LogStart,
    /// High watermark.
    HighWatermark,
    /// First offset that was never cleaned, of logs that were.
    Cleaner,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::RecoveryPoint, Self::LogStart, Self::HighWatermark, Self::Cleaner];

    const fn file(self) -> &'static str {
        match self {
            Self::RecoveryPoint => RECOVERY_POINT_CHECKPOINT,
            Self::LogStart => LOG_START_CHECKPOINT,
            Self::HighWatermark => REPLICATION_CHECKPOINT,
            Self::Cleaner => CLEANER_CHECKPOINT,
        }
    }
}

/// What was last written.
#[derive(Debug, Default)]
pub struct OffsetCheckpoints {
    recovery_points: Offsets,
    log_starts: Offsets,
    high_watermarks: Offsets,
    cleaned: Offsets,
}

impl OffsetCheckpoints {
    /// Reads all of them; a file that is missing or damaged counts as empty (rule S6).
    ///
    /// # Errors
    /// What the system says.
    pub fn read(volume: &Volume) -> io::Result<Self> {
        let read = |kind: Kind| -> io::Result<Offsets> {
            let Some(bytes) = volume.read(kind.file())? else { return Ok(Offsets::new()) };
            Ok(checkpoint::decode_offsets(&bytes).unwrap_or_else(|| {
                tracing::warn!(file = kind.file(), "checkpoint is damaged and counts as absent");
                Offsets::new()
            }))
        };
        Ok(Self {
            recovery_points: read(Kind::RecoveryPoint)?,
            log_starts: read(Kind::LogStart)?,
            high_watermarks: read(Kind::HighWatermark)?,
            cleaned: read(Kind::Cleaner)?,
        })
    }

    /// The offset of a partition, 0 if there is none.
    #[must_use]
    pub fn get(&self, kind: Kind, partition: &TopicPartition) -> i64 {
        self.find(kind, partition).unwrap_or_default()
    }

    /// The offset of a partition, if there is one.
    #[must_use]
    pub fn find(&self, kind: Kind, partition: &TopicPartition) -> Option<i64> {
        let offsets = match kind {
            Kind::RecoveryPoint => &self.recovery_points,
            Kind::LogStart => &self.log_starts,
            Kind::HighWatermark => &self.high_watermarks,
            Kind::Cleaner => &self.cleaned,
        };
        offsets.get(partition).copied()
    }

    /// Changes a checkpoint and writes it if that made a difference.
    ///
    /// # Errors
    /// What the system says; the file then has its old content, and the next change tries again.
    pub fn change(
        &mut self,
        kind: Kind,
        volume: &Volume,
        change: impl FnOnce(&mut Offsets),
    ) -> io::Result<()> {
        let offsets = match kind {
            Kind::RecoveryPoint => &mut self.recovery_points,
            Kind::LogStart => &mut self.log_starts,
            Kind::HighWatermark => &mut self.high_watermarks,
            Kind::Cleaner => &mut self.cleaned,
        };
        let mut changed = offsets.clone();
        change(&mut changed);
        if changed != *offsets {
            let text =
                checkpoint::encode_offsets(changed.iter().map(|(partition, offset)| (partition, *offset)));
            volume.write_atomically(kind.file(), text.as_bytes())?;
            *offsets = changed;
        }
        Ok(())
    }
}
