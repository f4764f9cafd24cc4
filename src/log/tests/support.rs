//! Directories, logs and batches for the tests of this room.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use tempfile::TempDir;
use uuid::Uuid;

use crate::config::{CleanerConfig, CompressionType, TopicConfig};
use crate::log::{
    AppendInfo, AppendOptions, AppendResult, Log, LogDirs, LogDirsOptions, LogOptions, ReadOptions, Storage,
};
use crate::protocol::batch::{self, BATCH_HEADER_BYTES, BatchHeader};
use crate::protocol::compression::{self, Codec};
use crate::protocol::records::{self, BatchBuilder, NewRecord};
use crate::types::{BrokerEpoch, BrokerId, Clock, LeaderEpoch, Offset, TopicId, TopicName, TopicPartition};

/// When the tests' manual clocks begin.
pub const NOW: i64 = 1_700_000_000_000;

/// Kafka's defaults, but for what a test changes.
pub fn config() -> TopicConfig {
    TopicConfig {
        cleanup_delete: true,
        cleanup_compact: false,
        compression: CompressionType::Producer,
        compression_gzip_level: -1,
        compression_lz4_level: 9,
        compression_zstd_level: 3,
        delete_retention_ms: 86_400_000,
        file_delete_delay_ms: 60_000,
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

/// Log directories in a temporary place, which can be opened again and again.
pub struct Fixture {
    pub root: TempDir,
    pub clock: Clock,
    pub storage: Storage,
    pub options: LogOptions,
    pub dirs: Option<LogDirs>,
}

impl Fixture {
    pub fn new() -> Self {
        let mut fixture = Self {
            root: tempfile::tempdir().unwrap(),
            clock: Clock::manual(NOW),
            storage: Storage::start(2),
            // Tests say when a log is cleaned.
            options: LogOptions {
                reserve_bytes: 0,
                cleaner: CleanerConfig { enable: false, ..CleanerConfig::default() },
                ..LogOptions::default()
            },
            dirs: None,
        };
        fixture.open();
        fixture
    }

    pub fn path(&self) -> PathBuf {
        self.root.path().join("data")
    }

    pub fn options(&self) -> LogDirsOptions {
        LogDirsOptions {
            dirs: vec![self.path()],
            node_id: BrokerId(1),
            cluster_id: Some("cluster".to_owned()),
            clock: self.clock.clone(),
            storage: self.storage.clone(),
            options: self.options.clone(),
        }
    }

    pub fn open(&mut self) -> &LogDirs {
        let options = self.options();
        self.dirs.insert(LogDirs::open(options).unwrap())
    }

    /// Opens the directories again with what a test changed in the options.
    pub fn open_anew(&mut self) {
        self.crash();
        self.open();
    }

    pub fn dirs(&self) -> &LogDirs {
        self.dirs.as_ref().unwrap()
    }

    /// Stops in order.
    pub fn close(&mut self) {
        let dirs = self.dirs.take().unwrap();
        block_on(dirs.close(Some(BrokerEpoch(5))));
    }

    /// Stops as a killed process does: nothing is written any more, the page cache stays.
    pub fn crash(&mut self) {
        self.dirs.take().unwrap().crash();
    }

    pub fn log(&self, config: TopicConfig) -> Arc<Log> {
        self.log_of("t", 0, config)
    }

    pub fn log_of(&self, topic: &str, partition: i32, config: TopicConfig) -> Arc<Log> {
        self.dirs().open_log(&partition_of(topic, partition), topic_id(1), Arc::new(config)).unwrap()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join("t-0").join(name)
    }
}

pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

pub fn partition_of(topic: &str, partition: i32) -> TopicPartition {
    TopicPartition::new(TopicName::new(topic).unwrap(), partition)
}

pub fn topic_id(number: u128) -> TopicId {
    TopicId::new(Uuid::from_u128(number)).unwrap()
}

pub fn at(raw: i64) -> Offset {
    Offset::new(raw).unwrap()
}

/// A batch of records with these values, all at `timestamp`.
pub fn batch(timestamp: i64, values: &[&[u8]]) -> Bytes {
    build(BatchBuilder::new(), timestamp, values)
}

pub fn build(mut builder: BatchBuilder, timestamp: i64, values: &[&[u8]]) -> Bytes {
    for value in values {
        builder.push(NewRecord { timestamp, key: Some(b"k"), value: Some(value), headers: &[] }).unwrap();
    }
    builder.build()
}

/// A batch of `records` records of an idempotent producer.
pub fn idempotent(producer: i64, epoch: i16, sequence: i32, records: usize) -> Bytes {
    let values = vec![b"v".as_slice(); records];
    build(BatchBuilder::new().producer(producer, epoch, sequence), NOW, &values)
}

pub fn append(log: &Arc<Log>, records: Bytes) -> AppendResult {
    log.append(records, LeaderEpoch(0), AppendOptions::default()).wait_blocking()
}

pub fn append_ok(log: &Arc<Log>, records: Bytes) -> AppendInfo {
    append(log, records).unwrap()
}

/// A record as a consumer sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Consumed {
    pub offset: i64,
    pub timestamp: i64,
    pub value: Vec<u8>,
    pub leader_epoch: i32,
}

/// Reads all from `from` to `end` in reads of `max_bytes`, following the cursor, checking every batch as a consumer does.
pub fn consume(log: &Arc<Log>, from: i64, end: i64, max_bytes: usize) -> Vec<Consumed> {
    let mut consumed = Vec::new();
    let mut next = from;
    let mut cursor = None;
    while next < end {
        let options = ReadOptions { max_bytes, min_one_batch: true, end: at(end), cursor };
        let read = log.read(at(next), options).wait_blocking().unwrap();
        assert_eq!(read.size_bytes, read.chunks.iter().map(Bytes::len).sum::<usize>());
        if read.size_bytes == 0 {
            break;
        }
        cursor = read.cursor;
        for chunk in &read.chunks {
            for item in batch::split(chunk) {
                let (header, bytes) = item.expect("reads give whole batches");
                batch::verify_crc(&bytes).unwrap();
                assert!(header.next_offset() <= end, "nothing beyond the bound");
                records_of(&header, &bytes, next, &mut consumed);
                next = next.max(header.next_offset());
            }
        }
    }
    consumed
}

fn records_of(header: &BatchHeader, bytes: &[u8], from: i64, consumed: &mut Vec<Consumed>) {
    let plain =
        compression::decompress(header.codec().unwrap(), &bytes[BATCH_HEADER_BYTES..], 1 << 30).unwrap();
    for record in records::walk(&plain, header.record_count) {
        let record = record.unwrap();
        let offset = header.base_offset + i64::from(record.offset_delta);
        if offset < from {
            continue;
        }
        let timestamp = if header.has_log_append_time() {
            header.max_timestamp
        } else {
            header.base_timestamp + record.timestamp_delta
        };
        consumed.push(Consumed {
            offset,
            timestamp,
            value: record.value.unwrap_or_default().to_vec(),
            leader_epoch: header.partition_leader_epoch,
        });
    }
}

/// Values of all records from the start to the end of the log.
pub fn values(log: &Arc<Log>) -> Vec<Vec<u8>> {
    let end = log.log_end_offset().get();
    consume(log, log.log_start_offset().get(), end, 1 << 20).into_iter().map(|record| record.value).collect()
}

pub const ALL_CODECS: [Codec; 5] = Codec::ALL;
