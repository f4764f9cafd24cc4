//! What can go wrong, one enum per operation, facts as fields. `handlers/errors.rs` maps them to Kafka's codes.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::protocol::batch::BatchError;
use crate::types::{LeaderEpoch, Millis, Offset, ProducerEpoch, ProducerId};

/// Why a log cannot be used at all. Cheap to clone: every waiter gets it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Unusable {
    /// The directory had an I/O error and is out of use until a restart (rule S4).
    #[error("log directory {directory} is offline: {reason}")]
    Offline {
        /// The directory.
        directory: PathBuf,
        /// The first error.
        reason: Arc<str>,
    },
    /// The partition was deleted, or the broker stops.
    #[error("log is closed")]
    Closed,
    /// Bytes below the recovery point are not what was written there: the log is kept as it is and not served (rule S9).
    #[error("log is corrupt in segment {segment} at byte {position}: {reason}")]
    Corrupt {
        /// Base offset of the segment.
        segment: Offset,
        /// Where in its file.
        position: u32,
        /// What is wrong.
        reason: Arc<str>,
    },
    /// A file could not be opened, created, read or mapped, though the directory works: too many files or maps, say.
    #[error("log file: {0}")]
    Io(Arc<io::Error>),
    /// The disk has no room for the log's next bytes.
    #[error("log directory {directory} is full")]
    DiskFull {
        /// The directory.
        directory: PathBuf,
    },
}

/// Why an append was refused. The log is unchanged.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AppendError {
    /// The bytes are no batch, or its CRC does not fit. Kafka: `CORRUPT_MESSAGE`.
    #[error("corrupt batch: {0}")]
    Corrupt(BatchError),
    /// A record format other than 2. Kafka: `UNSUPPORTED_FOR_MESSAGE_FORMAT`.
    #[error("record format (magic) {magic} is not 2")]
    UnsupportedMagic {
        /// The magic byte.
        magic: i8,
    },
    /// Kafka: `INVALID_RECORD`.
    #[error("invalid record: {reason}")]
    InvalidRecord {
        /// What is wrong.
        reason: &'static str,
        /// Index of the record in the batch, if one is to blame.
        index: Option<i32>,
    },
    /// Kafka: `INVALID_TIMESTAMP`.
    #[error("timestamp {timestamp} is out of range at {now}")]
    InvalidTimestamp {
        /// The record's timestamp.
        timestamp: Millis,
        /// The broker's time.
        now: Millis,
        /// Index of the record in the batch.
        index: i32,
    },
    /// Larger than `max.message.bytes`. Kafka: `MESSAGE_TOO_LARGE`.
    #[error("batch of {size_bytes} bytes is larger than max.message.bytes {max_bytes}")]
    TooLarge {
        /// The batch, as it would be stored.
        size_bytes: usize,
        /// The topic's limit.
        max_bytes: u32,
    },
    /// Larger than a segment. Kafka: `RECORD_LIST_TOO_LARGE`.
    #[error("batch of {size_bytes} bytes is larger than a segment of {max_bytes}")]
    LargerThanSegment {
        /// The batch, as it would be stored.
        size_bytes: usize,
        /// `segment.bytes`.
        max_bytes: u32,
    },
    /// The compression codec is unknown or its data cannot be read. Kafka: `CORRUPT_MESSAGE`.
    #[error("compressed records cannot be read: {reason}")]
    BadCompression {
        /// What the codec said.
        reason: Arc<str>,
    },
    /// Kafka: `OUT_OF_ORDER_SEQUENCE_NUMBER`.
    #[error("producer {producer} sent sequence {got}, expected {expected}")]
    OutOfOrderSequence {
        /// The producer.
        producer: ProducerId,
        /// The sequence that would have been next.
        expected: i32,
        /// The batch's first sequence.
        got: i32,
    },
    /// Kafka: `INVALID_PRODUCER_EPOCH`.
    #[error("producer {producer} has epoch {got}, older than {current}")]
    InvalidProducerEpoch {
        /// The producer.
        producer: ProducerId,
        /// The newest epoch seen.
        current: ProducerEpoch,
        /// The batch's epoch.
        got: ProducerEpoch,
    },
    /// The caller's leader epoch is older than one this log has seen (rule F7). Kafka: `NOT_LEADER_OR_FOLLOWER`.
    #[error("leader epoch {got} is older than {latest}")]
    StaleLeaderEpoch {
        /// The newest epoch seen.
        latest: LeaderEpoch,
        /// The caller's.
        got: LeaderEpoch,
    },
    /// Replicated batches that do not continue the log (rule F5).
    #[error("replicated batch begins at {got}, expected {expected}")]
    NotContiguous {
        /// The log's end.
        expected: Offset,
        /// The batch's base offset.
        got: Offset,
    },
    /// The log itself. Kafka: `KAFKA_STORAGE_ERROR`.
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

/// Why a read or a search gave nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ReadError {
    /// Before the log's start or after its end. Kafka: `OFFSET_OUT_OF_RANGE`.
    #[error("offset {offset} is not in {start}..={end}")]
    OffsetOutOfRange {
        /// The offset asked for.
        offset: i64,
        /// Log start offset.
        start: Offset,
        /// Log end offset.
        end: Offset,
    },
    /// A batch in the file is damaged (rule C6). Kafka: `KAFKA_STORAGE_ERROR`.
    #[error("batch in segment {segment} at byte {position} is damaged: {reason}")]
    Damaged {
        /// Base offset of the segment.
        segment: Offset,
        /// Where in its file.
        position: u32,
        /// What is wrong.
        reason: Arc<str>,
    },
    /// The log itself. Kafka: `KAFKA_STORAGE_ERROR`.
    #[error(transparent)]
    Unusable(#[from] Unusable),
}

/// Why log directories could not be opened. Each tells what to do.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// No directory was given, or none could be used.
    #[error("no usable log directory: {reason}")]
    NoDirectory {
        /// The last directory's error.
        reason: String,
    },
    /// Another process has the directory (rule B6).
    #[error("log directory {directory} is in use by another process")]
    Locked {
        /// The directory.
        directory: PathBuf,
    },
    /// The directory is another broker's (rule B4).
    #[error(
        "log directory {directory} belongs to {key} {found}, not {expected}: wrong disk, or wrong configuration"
    )]
    Mismatch {
        /// The directory.
        directory: PathBuf,
        /// `node.id` or `cluster.id`.
        key: &'static str,
        /// What meta.properties says.
        found: String,
        /// What the broker was told.
        expected: String,
    },
    /// `meta.properties` cannot be read: repair or remove it.
    #[error("{path}: {reason}")]
    BadMetaProperties {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The partition is open already.
    #[error("{partition} is open already")]
    AlreadyOpen {
        /// The partition.
        partition: String,
    },
    /// No more partitions fit the process's limits (rule S13).
    #[error("{partitions} partitions need more than 70% of {limit} {what}")]
    TooManyPartitions {
        /// Partitions open now.
        partitions: usize,
        /// The limit.
        limit: u64,
        /// Files or maps.
        what: &'static str,
    },
    /// A file could not be opened or written.
    #[error("{path}: {source}")]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}
