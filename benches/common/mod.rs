//! What the benches of the log share.

#![allow(dead_code, reason = "each bench uses a part of this")]

pub mod process;

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use ketcd::config::{CompressionType, TopicConfig};
use ketcd::log::{AppendOptions, Log, LogDirs, LogDirsOptions, LogOptions, OpenError, Storage};
use ketcd::protocol::records::{BatchBuilder, NewRecord};
use ketcd::types::{BrokerId, Clock, LeaderEpoch, TopicId, TopicName, TopicPartition};

/// Kafka's defaults, but deleted files go at once.
pub fn config() -> TopicConfig {
    TopicConfig {
        cleanup_delete: true,
        cleanup_compact: false,
        compression: CompressionType::Producer,
        compression_gzip_level: -1,
        compression_lz4_level: 9,
        compression_zstd_level: 3,
        delete_retention_ms: 86_400_000,
        file_delete_delay_ms: 0,
        flush_messages: None,
        flush_ms: None,
        index_interval_bytes: 4096,
        max_compaction_lag_ms: i64::MAX,
        max_message_bytes: 1_048_588,
        log_append_time: false,
        message_timestamp_before_max_ms: i64::MAX,
        message_timestamp_after_max_ms: 3_600_000,
        min_cleanable_dirty_ratio: 0.5,
        min_compaction_lag_ms: 0,
        min_insync_replicas: 1,
        preallocate: false,
        retention_bytes: None,
        retention_ms: Some(604_800_000),
        segment_bytes: 1 << 30,
        segment_index_bytes: 10 << 20,
        segment_jitter_ms: 0,
        segment_ms: 604_800_000,
        unclean_leader_election_enable: false,
        flush_ack: false,
    }
}

/// Log directories at `path`.
pub fn open(path: &Path, storage: &Storage) -> LogDirs {
    loop {
        let opened = LogDirs::open(LogDirsOptions {
            dirs: vec![path.to_owned()],
            node_id: BrokerId(1),
            cluster_id: Some("bench".to_owned()),
            clock: Clock::system(),
            storage: storage.clone(),
            options: LogOptions::default(),
        });
        match opened {
            // Jobs of the run before still hold the directory.
            Err(OpenError::Locked { .. }) => std::thread::yield_now(),
            opened => return opened.expect("the directory is ours"),
        }
    }
}

/// The log of partition `partition`.
pub fn log(dirs: &LogDirs, partition: i32, config: &Arc<TopicConfig>) -> Arc<Log> {
    let topic = TopicName::new("bench").expect("a legal name");
    let id: TopicId = "ASNFZ4mrze_-3LqYdlQyEA".parse().expect("an id");
    dirs.open_log(&TopicPartition::new(topic, partition), id, Arc::clone(config)).expect("it is not open")
}

/// A batch of `records` records of `value_bytes` each.
pub fn batch(records: usize, value_bytes: usize) -> Bytes {
    let value = vec![b'x'; value_bytes];
    let timestamp = Clock::system().now_ms();
    let mut builder = BatchBuilder::new();
    for _ in 0..records {
        builder.push(NewRecord { timestamp, key: None, value: Some(&value), headers: &[] }).expect("small");
    }
    builder.build()
}

/// Appends and waits.
pub fn append(log: &Arc<Log>, batch: &Bytes) {
    log.append(batch.clone(), LeaderEpoch(0), AppendOptions::default()).wait_blocking().expect("appended");
}
