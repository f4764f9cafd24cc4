//! Produce, v3-13: the request read into slices of its frame, the answer written, both without the crate's maps and copies.
//!
//! The request equals what `kafka-protocol` decodes, the answer is byte for byte what it encodes (tested for every version).

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use smallvec::SmallVec;
use uuid::Uuid;

use super::error::ErrorCode;
use super::leader_hints;
use super::reader::Reader;
use super::writer::Writer;

pub use super::leader_hints::{CurrentLeader, NodeEndpoint};
pub use super::reader::DecodeError;

/// Key of Produce.
pub const PRODUCE_KEY: i16 = 0;
/// First version with compact lengths and tagged fields.
const FLEXIBLE_FROM: i16 = 9;
/// First version that names topics by id.
const TOPIC_ID_FROM: i16 = 13;
/// First version that says where the leader is.
const LEADER_HINTS_FROM: i16 = 10;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProduceRequest {
    /// Set by transactional producers.
    pub transactional_id: Option<StrBytes>,
    /// 0, 1 or -1 (all).
    pub acks: i16,
    /// How long the broker may wait for replicas, in milliseconds.
    pub timeout_ms: i32,
    /// The topics.
    pub topics: SmallVec<[ProducedTopic; 1]>,
}

/// One topic of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducedTopic {
    /// Its name; empty from v13 on.
    pub name: StrBytes,
    /// Its id; nil until v12.
    pub id: Uuid,
    /// Its partitions.
    pub partitions: SmallVec<[ProducedPartition; 1]>,
}

/// One partition of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducedPartition {
    /// Number of the partition.
    pub index: i32,
    /// Record batches: a slice of the frame.
    pub records: Option<Bytes>,
}

impl ProduceRequest {
    /// Reads the body of a request of `version` 3 to 13. Bytes after its last field are ignored, as in Kafka.
    ///
    /// # Errors
    /// [`DecodeError`] names the field that does not decode. Safe also for bytes that no guard has seen.
    ///
    /// # Cost
    /// No copies; no allocation for one partition of one topic.
    pub fn decode(body: &Bytes, version: i16) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(body, version >= FLEXIBLE_FROM);
        let transactional_id = reader.nullable_string("TransactionalId")?;
        let acks = reader.i16("Acks")?;
        let timeout_ms = reader.i32("TimeoutMs")?;
        let mut topics = SmallVec::new();
        for _ in 0..reader.array("TopicData")? {
            topics.push(ProducedTopic::decode(&mut reader, version)?);
        }
        reader.skip_tagged_fields()?;
        Ok(Self { transactional_id, acks, timeout_ms, topics })
    }
}

impl ProducedTopic {
    fn decode(reader: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let (name, id) = if version >= TOPIC_ID_FROM {
            (StrBytes::default(), reader.uuid("TopicId")?)
        } else {
            (reader.string("Name")?, Uuid::nil())
        };
        let mut partitions = SmallVec::new();
        for _ in 0..reader.array("PartitionData")? {
            let index = reader.i32("Index")?;
            let records = reader.nullable_bytes("Records")?;
            reader.skip_tagged_fields()?;
            partitions.push(ProducedPartition { index, records });
        }
        reader.skip_tagged_fields()?;
        Ok(Self { name, id, partitions })
    }
}

/// A whole answer. Fields that a version does not have are not written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProduceResponse {
    /// The topics.
    pub topics: Vec<TopicAnswer>,
    /// How long the client is throttled, in milliseconds.
    pub throttle_time_ms: i32,
    /// Addresses of the brokers that `current_leader`s name (v10+).
    pub node_endpoints: Vec<NodeEndpoint>,
}

/// One topic of the answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicAnswer {
    /// Its name (until v12).
    pub name: StrBytes,
    /// Its id (from v13).
    pub id: Uuid,
    /// Its partitions.
    pub partitions: Vec<PartitionAnswer>,
}

/// One partition of the answer. [`PartitionAnswer::new`] has the protocol's defaults.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionAnswer {
    /// Number of the partition.
    pub index: i32,
    /// Its error.
    pub error: ErrorCode,
    /// Offset of the first record, -1 with an error.
    pub base_offset: i64,
    /// When the log appended it, -1 if the records keep the producer's times.
    pub log_append_time_ms: i64,
    /// First offset of the log, -1 with an error (v5+).
    pub log_start_offset: i64,
    /// Which records were refused (v8+).
    pub record_errors: Vec<RecordErrorAnswer>,
    /// Why, for people (v8+).
    pub error_message: Option<StrBytes>,
    /// The leader, where the error is that this broker is not (v10+).
    pub current_leader: Option<CurrentLeader>,
}

/// A record that was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecordErrorAnswer {
    /// Its number in the batch.
    pub batch_index: i32,
    /// Why.
    pub message: Option<StrBytes>,
}

/// What a partition takes at most without texts.
const PARTITION_BYTES: usize = 64;

impl PartitionAnswer {
    /// No error and no offsets.
    #[must_use]
    pub const fn new(index: i32) -> Self {
        Self {
            index,
            error: ErrorCode::None,
            base_offset: -1,
            log_append_time_ms: -1,
            log_start_offset: -1,
            record_errors: Vec::new(),
            error_message: None,
            current_leader: None,
        }
    }

    /// Only an error.
    #[must_use]
    pub const fn failed(index: i32, error: ErrorCode) -> Self {
        let mut answer = Self::new(index);
        answer.error = error;
        answer
    }

    fn put(&self, writer: &mut Writer, version: i16) {
        writer.i32(self.index);
        writer.i16(self.error.code());
        writer.i64(self.base_offset);
        writer.i64(self.log_append_time_ms);
        if version >= 5 {
            writer.i64(self.log_start_offset);
        }
        if version >= 8 {
            writer.array(self.record_errors.len());
            for error in &self.record_errors {
                writer.i32(error.batch_index);
                writer.nullable_string(error.message.as_deref());
                writer.tagged_fields(0);
            }
            writer.nullable_string(self.error_message.as_deref());
        }
        match self.current_leader.filter(|it| version >= LEADER_HINTS_FROM && !it.is_default()) {
            Some(leader) => {
                writer.tagged_fields(1);
                leader.put(writer, 0);
            }
            None => writer.tagged_fields(0),
        }
    }
}

impl ProduceResponse {
    /// The body. `version` is 3 to 13.
    #[must_use]
    pub fn encode(&self, version: i16) -> Bytes {
        let mut writer = self.writer(version);
        self.put(&mut writer, version);
        writer.buffer.freeze()
    }

    /// The whole frame: length, header and body.
    ///
    /// # Cost
    /// One allocation, unless there are texts.
    #[must_use]
    pub fn encode_frame(&self, version: i16, correlation_id: i32) -> Bytes {
        let mut writer = self.writer(version);
        writer.begin_frame(PRODUCE_KEY, version, correlation_id);
        self.put(&mut writer, version);
        let frame_bytes = writer.buffer.len();
        writer.end_frame(frame_bytes);
        writer.buffer.freeze()
    }

    fn writer(&self, version: i16) -> Writer {
        let topics: usize =
            self.topics.iter().map(|it| 32 + it.name.len() + it.partitions.len() * PARTITION_BYTES).sum();
        Writer::new(32 + topics, version >= FLEXIBLE_FROM)
    }

    fn put(&self, writer: &mut Writer, version: i16) {
        writer.array(self.topics.len());
        for topic in &self.topics {
            if version >= TOPIC_ID_FROM {
                writer.uuid(topic.id);
            } else {
                writer.string(&topic.name);
            }
            writer.array(topic.partitions.len());
            for partition in &topic.partitions {
                partition.put(writer, version);
            }
            writer.tagged_fields(0);
        }
        writer.i32(self.throttle_time_ms);
        let endpoints = if version >= LEADER_HINTS_FROM { self.node_endpoints.as_slice() } else { &[] };
        leader_hints::put_node_endpoints(writer, endpoints);
    }
}
