//! Names of files and directories, as Kafka's (`LogFileUtils`, `UnifiedLog`).

use crate::types::TopicPartition;

/// Suffix of files and directories that wait for their removal.
pub const DELETED_SUFFIX: &str = ".deleted";
/// End of the name of a partition's directory that waits for its removal.
pub const DELETE_DIRECTORY_SUFFIX: &str = "-delete";
/// Start offsets of leader epochs, in a partition's directory.
pub const LEADER_EPOCH_CHECKPOINT: &str = "leader-epoch-checkpoint";
/// A partition's topic id, in its directory.
pub const PARTITION_METADATA: &str = "partition.metadata";
/// Identity of a log directory.
pub const META_PROPERTIES: &str = "meta.properties";
/// Below these offsets all data is synced.
pub const RECOVERY_POINT_CHECKPOINT: &str = "recovery-point-offset-checkpoint";
/// First offsets that may be read.
pub const LOG_START_CHECKPOINT: &str = "log-start-offset-checkpoint";
/// High watermarks.
pub const REPLICATION_CHECKPOINT: &str = "replication-offset-checkpoint";
/// First offsets that the log cleaner has not cleaned.
pub const CLEANER_CHECKPOINT: &str = "cleaner-offset-checkpoint";
/// Says that the last run ended in order (rule B1).
pub const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";
/// Ours: exact ends of all logs after a clean stop.
pub const ENDS_CHECKPOINT: &str = "ketcd-log-ends";
/// Ours: which boot of which machine ran last, and whether it saw I/O errors (rule B2).
pub const RUN_PROOF: &str = "ketcd-run";
/// Ours: written once a second to learn of a dead disk (rule S4).
pub const CANARY: &str = "ketcd-canary";

/// The files of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentFile {
    /// Record batches.
    Log,
    /// Offsets to positions.
    Index,
    /// Timestamps to offsets.
    TimeIndex,
    /// Producer state as of the segment's base offset.
    Snapshot,
}

impl SegmentFile {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Log, Self::Index, Self::TimeIndex, Self::Snapshot];

    /// Its suffix, with the dot.
    #[must_use]
    pub const fn suffix(self) -> &'static str {
        match self {
            Self::Log => ".log",
            Self::Index => ".index",
            Self::TimeIndex => ".timeindex",
            Self::Snapshot => ".snapshot",
        }
    }

    /// Path of the file of this kind for `base_offset`, relative to the volume.
    #[must_use]
    pub fn path(self, directory: &str, base_offset: i64) -> String {
        format!("{directory}/{base_offset:020}{}", self.suffix())
    }

    /// The base offset in a file name of this kind; `None` for any other name.
    #[must_use]
    pub fn base_offset(self, name: &str) -> Option<i64> {
        let digits = name.strip_suffix(self.suffix())?;
        (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| digits.parse().ok())
            .flatten()
    }
}

/// Directory name of a partition that waits for its removal: `<topic>-<partition>.<unique>-delete`, cut to 255 bytes as Kafka's.
#[must_use]
pub fn delete_directory_name(partition: &TopicPartition, unique: &str) -> String {
    let tail = format!("-{}.{unique}{DELETE_DIRECTORY_SUFFIX}", partition.partition);
    let topic = partition.topic.as_str();
    let room = 255usize.saturating_sub(tail.len()).min(topic.len());
    format!("{}{tail}", topic.get(..room).unwrap_or(topic))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::TopicName;

    #[test]
    fn segment_file_names_are_kafkas() {
        let path = SegmentFile::TimeIndex.path("a-0", 42);
        assert_eq!(path, "a-0/00000000000000000042.timeindex");
        assert_eq!(SegmentFile::TimeIndex.base_offset("00000000000000000042.timeindex"), Some(42));
        for bad in
            ["42.timeindex", "00000000000000000042.index", "0000000000000000004x.timeindex", ".timeindex"]
        {
            assert_eq!(SegmentFile::TimeIndex.base_offset(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_long_topic_name_still_makes_a_legal_directory_name_when_deleted() {
        let partition = TopicPartition::new(TopicName::new(&"t".repeat(249)).unwrap(), 7);
        let name = delete_directory_name(&partition, &"u".repeat(32));
        assert_eq!(name.len(), 255);
        assert!(name.ends_with("-delete"));
        assert_eq!(TopicPartition::from_directory_name(&name), None);
    }
}
