//! The answer to Fetch, v4-18, written around record chunks that are not copied: the crate's encoder would copy every record.
//!
//! Byte for byte what `kafka-protocol` writes for the same tree (tested for every version). Read again in `fetch_body_decode`.

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use smallvec::SmallVec;
use uuid::Uuid;

use super::error::ErrorCode;
use super::leader_hints;
use super::writer::Writer;

pub use super::leader_hints::{CurrentLeader, NodeEndpoint};

/// Key of Fetch.
pub const FETCH_KEY: i16 = 1;
/// First version with compact lengths and tagged fields.
pub(super) const FLEXIBLE_FROM: i16 = 12;
/// First version that names topics by id.
pub(super) const TOPIC_ID_FROM: i16 = 13;
/// First version with endpoints of leaders.
pub(super) const NODE_ENDPOINTS_FROM: i16 = 16;

/// Pieces of a message, in order.
pub type Chunks = SmallVec<[Bytes; 2]>;

/// A whole answer. Fields that a version does not have are not written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetchResponse {
    /// How long the client is throttled, in milliseconds.
    pub throttle_time_ms: i32,
    /// Error of the whole request (v7+).
    pub error: ErrorCode,
    /// Fetch session, 0 for none (v7+).
    pub session_id: i32,
    /// The topics.
    pub topics: Vec<FetchedTopic>,
    /// Addresses of the brokers that `current_leader`s name (v16+).
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// One topic of the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetchedTopic {
    /// Its name (until v12).
    pub name: StrBytes,
    /// Its id (from v13).
    pub id: Uuid,
    /// Its partitions.
    pub partitions: Vec<FetchedPartition>,
}

/// One partition of the answer. [`FetchedPartition::new`] has the protocol's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedPartition {
    /// Number of the partition.
    pub index: i32,
    /// Its error.
    pub error: ErrorCode,
    /// -1 with an error.
    pub high_watermark: i64,
    /// -1 with an error.
    pub last_stable_offset: i64,
    /// -1 with an error (v5+).
    pub log_start_offset: i64,
    /// Aborted transactions among the records; `None` (null) for a reader that did not ask for `read_committed`.
    pub aborted_transactions: Option<Vec<AbortedTransaction>>,
    /// The replica to read from instead, -1 for this one (v11+).
    pub preferred_read_replica: i32,
    /// Where the follower's log leaves the leader's (v12+).
    pub diverging_epoch: Option<EpochEndOffset>,
    /// The leader, where the error is that this broker is not (v12+).
    pub current_leader: Option<CurrentLeader>,
    /// KRaft's snapshots; never sent by us (v12+).
    pub snapshot_id: Option<SnapshotId>,
    /// Whole batches in pieces. Empty is an empty record set, not null.
    pub records: Chunks,
}

/// A transaction that was aborted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose it was.
    pub producer_id: i64,
    /// Its first offset.
    pub first_offset: i64,
}

/// The end of an epoch in the leader's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEndOffset {
    /// The epoch.
    pub epoch: i32,
    /// Its end, exclusive.
    pub end_offset: i64,
}

/// A snapshot of KRaft's metadata log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SnapshotId {
    /// Its end, exclusive.
    pub end_offset: i64,
    /// Its epoch.
    pub epoch: i32,
}

/// Size of a tagged [`EpochEndOffset`] or [`SnapshotId`], their own (empty) tagged fields included.
const EPOCH_AND_OFFSET_BYTES: usize = 13;
/// What a partition takes without its records, at most, if it has no aborted transactions.
const PARTITION_BYTES: usize = 96;

impl FetchedPartition {
    /// A partition with no records and no error: offsets -1, nothing optional.
    #[must_use]
    pub fn new(index: i32) -> Self {
        Self {
            index,
            error: ErrorCode::None,
            high_watermark: -1,
            last_stable_offset: -1,
            log_start_offset: -1,
            aborted_transactions: None,
            preferred_read_replica: -1,
            diverging_epoch: None,
            current_leader: None,
            snapshot_id: None,
            records: Chunks::new(),
        }
    }

    /// A partition that has only an error.
    #[must_use]
    pub fn failed(index: i32, error: ErrorCode) -> Self {
        let mut partition = Self::new(index);
        partition.error = error;
        partition
    }

    fn records_bytes(&self) -> usize {
        self.records.iter().map(Bytes::len).sum()
    }

    fn put<'a>(&'a self, frame: &mut Frame<'a>, version: i16) {
        let writer = &mut frame.writer;
        writer.i32(self.index);
        writer.i16(self.error.code());
        writer.i64(self.high_watermark);
        writer.i64(self.last_stable_offset);
        if version >= 5 {
            writer.i64(self.log_start_offset);
        }
        writer.nullable_array(self.aborted_transactions.as_ref().map(Vec::len));
        for aborted in self.aborted_transactions.iter().flatten() {
            writer.i64(aborted.producer_id);
            writer.i64(aborted.first_offset);
            writer.tagged_fields(0);
        }
        if version >= 11 {
            writer.i32(self.preferred_read_replica);
        }
        writer.bytes_length(self.records_bytes());
        frame.lend(&self.records);
        if version >= FLEXIBLE_FROM {
            self.put_tagged_fields(&mut frame.writer);
        }
    }

    fn put_tagged_fields(&self, writer: &mut Writer) {
        let diverging = self.diverging_epoch.filter(|it| (it.epoch, it.end_offset) != (-1, -1));
        let leader = self.current_leader.filter(|it| !it.is_default());
        let snapshot = self.snapshot_id.filter(|it| (it.end_offset, it.epoch) != (-1, -1));
        let fields = [diverging.is_some(), leader.is_some(), snapshot.is_some()];
        writer.tagged_fields(fields.into_iter().map(u32::from).sum());
        if let Some(diverging) = diverging {
            writer.tagged_field(0, EPOCH_AND_OFFSET_BYTES);
            writer.i32(diverging.epoch);
            writer.i64(diverging.end_offset);
            writer.tagged_fields(0);
        }
        if let Some(leader) = leader {
            leader.put(writer, 1);
        }
        if let Some(snapshot) = snapshot {
            writer.tagged_field(2, EPOCH_AND_OFFSET_BYTES);
            writer.i64(snapshot.end_offset);
            writer.i32(snapshot.epoch);
            writer.tagged_fields(0);
        }
    }
}

impl FetchResponse {
    /// The body in pieces: what is written here alternates with the records, which are lent.
    ///
    /// `version` is 4 to 18.
    ///
    /// # Cost
    /// One allocation, whatever the number of partitions, and one reference count per piece.
    #[must_use]
    pub fn encode(&self, version: i16) -> Chunks {
        let mut frame = self.frame(version);
        self.put(&mut frame, version);
        frame.finish()
    }

    /// As [`FetchResponse::encode`], the whole frame: length, header and body.
    #[must_use]
    pub fn encode_frame(&self, version: i16, correlation_id: i32) -> Chunks {
        let mut frame = self.frame(version);
        frame.writer.begin_frame(FETCH_KEY, version, correlation_id);
        self.put(&mut frame, version);
        let frame_bytes = frame.writer.buffer.len() + frame.lent_bytes;
        frame.writer.end_frame(frame_bytes);
        frame.finish()
    }

    fn frame(&self, version: i16) -> Frame<'_> {
        let topics: usize =
            self.topics.iter().map(|it| 32 + it.name.len() + it.partitions.len() * PARTITION_BYTES).sum();
        Frame {
            writer: Writer::new(64 + topics, version >= FLEXIBLE_FROM),
            lent: SmallVec::new(),
            lent_bytes: 0,
        }
    }

    fn put<'a>(&'a self, frame: &mut Frame<'a>, version: i16) {
        let writer = &mut frame.writer;
        writer.i32(self.throttle_time_ms);
        if version >= 7 {
            writer.i16(self.error.code());
            writer.i32(self.session_id);
        }
        writer.array(self.topics.len());
        for topic in &self.topics {
            if version >= TOPIC_ID_FROM {
                frame.writer.uuid(topic.id);
            } else {
                frame.writer.string(&topic.name);
            }
            frame.writer.array(topic.partitions.len());
            for partition in &topic.partitions {
                partition.put(frame, version);
            }
            frame.writer.tagged_fields(0);
        }
        let endpoints = if version >= NODE_ENDPOINTS_FROM { self.node_endpoints.as_slice() } else { &[] };
        leader_hints::put_node_endpoints(&mut frame.writer, endpoints);
    }
}

/// What is written, and where lent pieces belong in it.
struct Frame<'a> {
    writer: Writer,
    lent: SmallVec<[(usize, &'a [Bytes]); 4]>,
    lent_bytes: usize,
}

impl<'a> Frame<'a> {
    fn lend(&mut self, pieces: &'a [Bytes]) {
        let bytes: usize = pieces.iter().map(Bytes::len).sum();
        if bytes > 0 {
            self.lent.push((self.writer.buffer.len(), pieces));
            self.lent_bytes += bytes;
        }
    }

    fn finish(self) -> Chunks {
        let written = self.writer.buffer.freeze();
        let mut chunks = Chunks::new();
        let mut from = 0;
        for (to, pieces) in self.lent {
            chunks.push(written.slice(from..to));
            chunks.extend(pieces.iter().filter(|piece| !piece.is_empty()).cloned());
            from = to;
        }
        if from < written.len() {
            chunks.push(written.slice(from..));
        }
        chunks
    }
}
