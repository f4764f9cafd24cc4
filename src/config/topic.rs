//! A topic's configuration, resolved: topic override, else broker value, else default.

use crate::types::Millis;

/// Every topic-level key with its effective value, typed. Built by the registry; see there for names, defaults and documentation.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicConfig {
    /// `cleanup.policy` contains `delete`.
    pub cleanup_delete: bool,
    /// `cleanup.policy` contains `compact`.
    pub cleanup_compact: bool,
    /// `compression.type`.
    pub compression: CompressionType,
    /// `compression.gzip.level`.
    pub compression_gzip_level: i32,
    /// `compression.lz4.level`.
    pub compression_lz4_level: i32,
    /// `compression.zstd.level`.
    pub compression_zstd_level: i32,
    /// `delete.retention.ms`.
    pub delete_retention_ms: Millis,
    /// `file.delete.delay.ms`.
    pub file_delete_delay_ms: Millis,
    /// `flush.messages`; `None` means never.
    pub flush_messages: Option<u64>,
    /// `flush.ms`; `None` means never.
    pub flush_ms: Option<Millis>,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u32,
    /// `max.compaction.lag.ms`.
    pub max_compaction_lag_ms: Millis,
    /// `max.message.bytes`: the largest record batch, in bytes.
    pub max_message_bytes: u32,
    /// `message.timestamp.type` is `LogAppendTime`.
    pub log_append_time: bool,
    /// `message.timestamp.before.max.ms`.
    pub message_timestamp_before_max_ms: Millis,
    /// `message.timestamp.after.max.ms`.
    pub message_timestamp_after_max_ms: Millis,
    /// `min.cleanable.dirty.ratio`.
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: Millis,
    /// `min.insync.replicas`.
    pub min_insync_replicas: u32,
    /// `preallocate`.
    pub preallocate: bool,
    /// `retention.bytes`; `None` means unlimited.
    pub retention_bytes: Option<u64>,
    /// `retention.ms`; `None` means unlimited.
    pub retention_ms: Option<Millis>,
    /// `segment.bytes`.
    pub segment_bytes: u32,
    /// `segment.index.bytes`.
    pub segment_index_bytes: u32,
    /// `segment.jitter.ms`.
    pub segment_jitter_ms: Millis,
    /// `segment.ms`.
    pub segment_ms: Millis,
    /// `unclean.leader.election.enable`.
    pub unclean_leader_election_enable: bool,
    /// `ketcd.flush` is `ack`: an append counts only after its fsync (rule S5).
    pub flush_ack: bool,
}

impl TopicConfig {
    /// Age at which a segment is rolled, in milliseconds: `segment.ms`, and on a compacted topic no later than
    /// `max.compaction.lag.ms`, for the active segment is never cleaned (`LogConfig.maxSegmentMs`, KIP-354).
    #[must_use]
    pub fn roll_ms(&self) -> Millis {
        if self.cleanup_compact && self.max_compaction_lag_ms > 0 {
            self.segment_ms.min(self.max_compaction_lag_ms)
        } else {
            self.segment_ms
        }
    }
}

/// `compression.type`: keep what the producer chose, or make every batch of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionType {
    /// As the producer sent it.
    Producer,
    /// `uncompressed`.
    Uncompressed,
    /// `gzip`.
    Gzip,
    /// `snappy`.
    Snappy,
    /// `lz4`.
    Lz4,
    /// `zstd`.
    Zstd,
}
