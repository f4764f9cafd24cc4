//! The request of Fetch, v4-18, read without the crate's maps and copies. Equals what `kafka-protocol` decodes (tested for every
//! version); what followers send (cluster id, directory ids, watermarks) is read too. Written as the crate writes it, for our own
//! followers.

use bytes::{BufMut, Bytes};
use kafka_protocol::protocol::StrBytes;
use smallvec::SmallVec;
use uuid::Uuid;

use super::fetch_body::FETCH_KEY;
use super::reader::Reader;
use super::writer::Writer;

pub use super::reader::DecodeError;

/// First version with compact lengths and tagged fields.
const FLEXIBLE_FROM: i16 = 12;
/// First version that names topics by id.
const TOPIC_ID_FROM: i16 = 13;
/// First version whose replica state is a tagged field (KIP-903).
const REPLICA_STATE_FROM: i16 = 15;

/// A request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetchRequest {
    /// The cluster that the sender believes to ask (v12+).
    pub cluster_id: Option<StrBytes>,
    /// The follower, -1 for a consumer.
    pub replica_id: i32,
    /// The follower's broker epoch, -1 if not known (v15+).
    pub replica_epoch: i64,
    /// How long to wait for `min_bytes`.
    pub max_wait_ms: i32,
    /// How much is worth an answer.
    pub min_bytes: i32,
    /// How large the answer may be; the first batch may be larger (KIP-74).
    pub max_bytes: i32,
    /// 0 read uncommitted, 1 read committed.
    pub isolation_level: i8,
    /// Fetch session, 0 for none (v7+).
    pub session_id: i32,
    /// Its epoch, -1 for no session (v7+).
    pub session_epoch: i32,
    /// Partitions to fetch; in a session only those that changed.
    pub topics: SmallVec<[FetchTopic; 1]>,
    /// Partitions that leave the session (v7+).
    pub forgotten_topics: Vec<ForgottenTopic>,
    /// The consumer's rack (v11+).
    pub rack_id: StrBytes,
}

/// One topic of the request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FetchTopic {
    /// Its name; empty from v13 on.
    pub name: StrBytes,
    /// Its id; nil until v12.
    pub id: Uuid,
    /// Its partitions.
    pub partitions: SmallVec<[FetchPartition; 1]>,
}

/// One partition of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchPartition {
    /// Number of the partition.
    pub index: i32,
    /// The leader epoch that the client knows, -1 for none (v9+).
    pub current_leader_epoch: i32,
    /// Where to begin.
    pub fetch_offset: i64,
    /// Epoch of the last record that the follower has, -1 for none (v12+).
    pub last_fetched_epoch: i32,
    /// The follower's log start, -1 for a consumer (v5+).
    pub log_start_offset: i64,
    /// How much of this partition; the first batch may be larger.
    pub max_bytes: i32,
    /// The follower's directory, nil for none (v17+).
    pub replica_directory_id: Uuid,
    /// The follower's high watermark, the largest number if it does not say (v18+).
    pub high_watermark: i64,
}

/// A topic that leaves the session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ForgottenTopic {
    /// Its name; empty from v13 on.
    pub name: StrBytes,
    /// Its id; nil until v12.
    pub id: Uuid,
    /// Its partitions.
    pub partitions: Vec<i32>,
}

impl FetchRequest {
    /// Reads the body of a request of `version` 4 to 18. Bytes after its last field are ignored, as in Kafka.
    ///
    /// # Errors
    /// [`DecodeError`] names the field that does not decode. Safe also for bytes that no guard has seen.
    ///
    /// # Cost
    /// No copies; no allocation for one partition of one topic.
    pub fn decode(body: &Bytes, version: i16) -> Result<Self, DecodeError> {
        let reader = &mut Reader::new(body, version >= FLEXIBLE_FROM);
        let has = |from: i16| version >= from;
        let mut request = Self {
            cluster_id: None,
            replica_id: if has(REPLICA_STATE_FROM) { -1 } else { reader.i32("ReplicaId")? },
            replica_epoch: -1,
            max_wait_ms: reader.i32("MaxWaitMs")?,
            min_bytes: reader.i32("MinBytes")?,
            max_bytes: reader.i32("MaxBytes")?,
            isolation_level: reader.i8("IsolationLevel")?,
            session_id: if has(7) { reader.i32("SessionId")? } else { 0 },
            session_epoch: if has(7) { reader.i32("SessionEpoch")? } else { -1 },
            topics: topics(reader, version)?,
            forgotten_topics: if has(7) { forgotten_topics(reader, version)? } else { Vec::new() },
            rack_id: if has(11) { reader.string("RackId")? } else { StrBytes::default() },
        };
        reader.tagged_fields(|tag, value| {
            match tag {
                0 => request.cluster_id = value.nullable_string("ClusterId")?,
                1 if has(REPLICA_STATE_FROM) => {
                    request.replica_id = value.i32("ReplicaId")?;
                    request.replica_epoch = value.i64("ReplicaEpoch")?;
                    value.skip_tagged_fields()?;
                }
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(request)
    }
}

/// Size of what a topic takes without its name and partitions, and of a partition, at most.
const TOPIC_BYTES: usize = 32;
const PARTITION_BYTES: usize = 72;
/// Size of the tagged replica state, of a directory id, of a high watermark.
const REPLICA_STATE_BYTES: usize = 13;
const DIRECTORY_ID_BYTES: usize = 16;
const HIGH_WATERMARK_BYTES: usize = 8;

impl FetchRequest {
    /// The whole frame of a request of `version` 4 to 18: length, header and body. Fields that the version does not have are not
    /// written, tagged ones not if they have their default.
    ///
    /// # Cost
    /// One allocation.
    #[must_use]
    pub fn encode_frame(&self, version: i16, correlation_id: i32, client_id: &str) -> Bytes {
        let partitions: usize =
            self.topics.iter().map(|topic| topic.name.len() + topic.partitions.len() * PARTITION_BYTES).sum();
        let forgotten: usize =
            self.forgotten_topics.iter().map(|it| it.name.len() + it.partitions.len() * 4).sum();
        let topics = (self.topics.len() + self.forgotten_topics.len()) * TOPIC_BYTES;
        let mut writer = Writer::new(128 + client_id.len() + partitions + forgotten + topics, false);
        writer.buffer.put_u32(0);
        writer.i16(FETCH_KEY);
        writer.i16(version);
        writer.i32(correlation_id);
        writer.string(client_id);
        writer.flexible = version >= FLEXIBLE_FROM;
        writer.tagged_fields(0);
        self.put(&mut writer, version);
        let frame_bytes = writer.buffer.len();
        writer.end_frame(frame_bytes);
        writer.buffer.freeze()
    }

    fn put(&self, writer: &mut Writer, version: i16) {
        let has = |from: i16| version >= from;
        if !has(REPLICA_STATE_FROM) {
            writer.i32(self.replica_id);
        }
        writer.i32(self.max_wait_ms);
        writer.i32(self.min_bytes);
        writer.i32(self.max_bytes);
        writer.i8(self.isolation_level);
        if has(7) {
            writer.i32(self.session_id);
            writer.i32(self.session_epoch);
        }
        writer.array(self.topics.len());
        for topic in &self.topics {
            put_topic_name(writer, version, &topic.name, topic.id);
            writer.array(topic.partitions.len());
            for partition in &topic.partitions {
                partition.put(writer, version);
            }
            writer.tagged_fields(0);
        }
        if has(7) {
            writer.array(self.forgotten_topics.len());
            for topic in &self.forgotten_topics {
                put_topic_name(writer, version, &topic.name, topic.id);
                writer.array(topic.partitions.len());
                topic.partitions.iter().for_each(|index| writer.i32(*index));
                writer.tagged_fields(0);
            }
        }
        if has(11) {
            writer.string(&self.rack_id);
        }
        if has(FLEXIBLE_FROM) {
            self.put_tagged_fields(writer, version);
        }
    }

    fn put_tagged_fields(&self, writer: &mut Writer, version: i16) {
        let has_state = version >= REPLICA_STATE_FROM && (self.replica_id, self.replica_epoch) != (-1, -1);
        writer.tagged_fields(u32::from(self.cluster_id.is_some()) + u32::from(has_state));
        if let Some(cluster_id) = &self.cluster_id {
            let mut field = Writer::new(cluster_id.len() + 4, true);
            field.string(cluster_id);
            writer.tagged_field(0, field.buffer.len());
            writer.buffer.extend_from_slice(&field.buffer);
        }
        if has_state {
            writer.tagged_field(1, REPLICA_STATE_BYTES);
            writer.i32(self.replica_id);
            writer.i64(self.replica_epoch);
            writer.tagged_fields(0);
        }
    }
}

fn put_topic_name(writer: &mut Writer, version: i16, name: &str, id: Uuid) {
    if version >= TOPIC_ID_FROM {
        writer.uuid(id);
    } else {
        writer.string(name);
    }
}

fn topics(reader: &mut Reader<'_>, version: i16) -> Result<SmallVec<[FetchTopic; 1]>, DecodeError> {
    let mut topics = SmallVec::new();
    for _ in 0..reader.array("Topics")? {
        let (name, id) = topic_name(reader, version)?;
        let mut partitions = SmallVec::new();
        for _ in 0..reader.array("Partitions")? {
            partitions.push(FetchPartition::decode(reader, version)?);
        }
        reader.skip_tagged_fields()?;
        topics.push(FetchTopic { name, id, partitions });
    }
    Ok(topics)
}

fn forgotten_topics(reader: &mut Reader<'_>, version: i16) -> Result<Vec<ForgottenTopic>, DecodeError> {
    let mut topics = Vec::new();
    for _ in 0..reader.array("ForgottenTopicsData")? {
        let (name, id) = topic_name(reader, version)?;
        let mut partitions = Vec::new();
        for _ in 0..reader.array("Partitions")? {
            partitions.push(reader.i32("Partitions")?);
        }
        reader.skip_tagged_fields()?;
        topics.push(ForgottenTopic { name, id, partitions });
    }
    Ok(topics)
}

fn topic_name(reader: &mut Reader<'_>, version: i16) -> Result<(StrBytes, Uuid), DecodeError> {
    if version >= TOPIC_ID_FROM {
        Ok((StrBytes::default(), reader.uuid("TopicId")?))
    } else {
        Ok((reader.string("Topic")?, Uuid::nil()))
    }
}

impl FetchPartition {
    fn decode(reader: &mut Reader<'_>, version: i16) -> Result<Self, DecodeError> {
        let has = |from: i16| version >= from;
        let mut partition = Self {
            index: reader.i32("Partition")?,
            current_leader_epoch: if has(9) { reader.i32("CurrentLeaderEpoch")? } else { -1 },
            fetch_offset: reader.i64("FetchOffset")?,
            last_fetched_epoch: if has(12) { reader.i32("LastFetchedEpoch")? } else { -1 },
            log_start_offset: if has(5) { reader.i64("LogStartOffset")? } else { -1 },
            max_bytes: reader.i32("PartitionMaxBytes")?,
            replica_directory_id: Uuid::nil(),
            high_watermark: i64::MAX,
        };
        reader.tagged_fields(|tag, value| {
            match tag {
                0 if has(17) => partition.replica_directory_id = value.uuid("ReplicaDirectoryId")?,
                1 if has(18) => partition.high_watermark = value.i64("HighWatermark")?,
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(partition)
    }

    fn put(&self, writer: &mut Writer, version: i16) {
        let has = |from: i16| version >= from;
        writer.i32(self.index);
        if has(9) {
            writer.i32(self.current_leader_epoch);
        }
        writer.i64(self.fetch_offset);
        if has(12) {
            writer.i32(self.last_fetched_epoch);
        }
        if has(5) {
            writer.i64(self.log_start_offset);
        }
        writer.i32(self.max_bytes);
        let directory = Some(self.replica_directory_id).filter(|id| has(17) && !id.is_nil());
        let high_watermark = Some(self.high_watermark).filter(|offset| has(18) && *offset != i64::MAX);
        writer.tagged_fields(u32::from(directory.is_some()) + u32::from(high_watermark.is_some()));
        if let Some(directory) = directory {
            writer.tagged_field(0, DIRECTORY_ID_BYTES);
            writer.uuid(directory);
        }
        if let Some(high_watermark) = high_watermark {
            writer.tagged_field(1, HIGH_WATERMARK_BYTES);
            writer.i64(high_watermark);
        }
    }
}
