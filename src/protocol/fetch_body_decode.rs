//! The answer to Fetch, v4-18, read by followers: records are slices of the frame, nothing is allocated by a count that stands in it.

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use uuid::Uuid;

use super::error::ErrorCode;
use super::fetch_body::{
    AbortedTransaction, Chunks, CurrentLeader, EpochEndOffset, FLEXIBLE_FROM, FetchResponse,
    FetchedPartition, FetchedTopic, NODE_ENDPOINTS_FROM, NodeEndpoint, SnapshotId, TOPIC_ID_FROM,
};
use super::reader::{DecodeError, Reader};

impl FetchResponse {
    /// Reads the body of an answer of `version` 4 to 18, what [`FetchResponse::encode`] wrote. An error code that this version of
    /// Kafka does not have counts as UNKNOWN_SERVER_ERROR, null records as none. Bytes after the last field are ignored.
    ///
    /// # Errors
    /// [`DecodeError`] names the field that does not decode.
    ///
    /// # Cost
    /// No copies; one allocation for each topic's partitions.
    pub fn decode(body: &Bytes, version: i16) -> Result<Self, DecodeError> {
        let reader = &mut Reader::new(body, version >= FLEXIBLE_FROM);
        let has = |from: i16| version >= from;
        let mut response = Self {
            throttle_time_ms: reader.i32("ThrottleTimeMs")?,
            error: if has(7) { error(reader)? } else { ErrorCode::None },
            session_id: if has(7) { reader.i32("SessionId")? } else { 0 },
            topics: Vec::new(),
            node_endpoints: Vec::new(),
        };
        for _ in 0..reader.array("Responses")? {
            let (name, id) = if has(TOPIC_ID_FROM) {
                (StrBytes::default(), reader.uuid("TopicId")?)
            } else {
                (reader.string("Topic")?, Uuid::nil())
            };
            let mut partitions = Vec::new();
            for _ in 0..reader.array("Partitions")? {
                partitions.push(partition(reader, version)?);
            }
            reader.skip_tagged_fields()?;
            response.topics.push(FetchedTopic { name, id, partitions });
        }
        reader.tagged_fields(|tag, value| {
            if tag != 0 || !has(NODE_ENDPOINTS_FROM) {
                return Ok(false);
            }
            for _ in 0..value.array("NodeEndpoints")? {
                response.node_endpoints.push(NodeEndpoint {
                    node_id: value.i32("NodeId")?,
                    host: value.string("Host")?,
                    port: value.i32("Port")?,
                    rack: value.nullable_string("Rack")?,
                });
                value.skip_tagged_fields()?;
            }
            Ok(true)
        })?;
        Ok(response)
    }
}

fn error(reader: &mut Reader<'_>) -> Result<ErrorCode, DecodeError> {
    let code = reader.i16("ErrorCode")?;
    Ok(ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError))
}

fn partition(reader: &mut Reader<'_>, version: i16) -> Result<FetchedPartition, DecodeError> {
    let mut partition = FetchedPartition::failed(reader.i32("PartitionIndex")?, error(reader)?);
    partition.high_watermark = reader.i64("HighWatermark")?;
    partition.last_stable_offset = reader.i64("LastStableOffset")?;
    if version >= 5 {
        partition.log_start_offset = reader.i64("LogStartOffset")?;
    }
    partition.aborted_transactions = match reader.nullable_array("AbortedTransactions")? {
        None => None,
        Some(count) => Some(aborted(reader, count)?),
    };
    if version >= 11 {
        partition.preferred_read_replica = reader.i32("PreferredReadReplica")?;
    }
    let records = reader.nullable_bytes("Records")?;
    partition.records = records.filter(|records| !records.is_empty()).into_iter().collect::<Chunks>();
    reader.tagged_fields(|tag, value| {
        match tag {
            0 => {
                let epoch = value.i32("DivergingEpoch.Epoch")?;
                let end_offset = value.i64("DivergingEpoch.EndOffset")?;
                partition.diverging_epoch = Some(EpochEndOffset { epoch, end_offset });
            }
            1 => {
                let leader_id = value.i32("CurrentLeader.LeaderId")?;
                let leader_epoch = value.i32("CurrentLeader.LeaderEpoch")?;
                partition.current_leader = Some(CurrentLeader { leader_id, leader_epoch });
            }
            2 => {
                let end_offset = value.i64("SnapshotId.EndOffset")?;
                let epoch = value.i32("SnapshotId.Epoch")?;
                partition.snapshot_id = Some(SnapshotId { end_offset, epoch });
            }
            _ => return Ok(false),
        }
        value.skip_tagged_fields()?;
        Ok(true)
    })?;
    Ok(partition)
}

fn aborted(reader: &mut Reader<'_>, count: usize) -> Result<Vec<AbortedTransaction>, DecodeError> {
    let mut aborted = Vec::new();
    for _ in 0..count {
        aborted.push(AbortedTransaction {
            producer_id: reader.i64("ProducerId")?,
            first_offset: reader.i64("FirstOffset")?,
        });
        reader.skip_tagged_fields()?;
    }
    Ok(aborted)
}
