//! Frames that are encoded once: Produce with its batch, Fetch with a place for the offset; and how their answers are checked
//! without decoding.

use bytes::{Buf as _, Bytes};

use crate::cli::client::CLIENT_ID;
use crate::cli::exit::{CliError, Exit, Outcome};
use crate::protocol::compression::Codec;
use crate::protocol::error::ErrorCode;
use crate::protocol::peer::messages::fetch_request::{FetchPartition, FetchTopic};
use crate::protocol::peer::messages::metadata_response::MetadataResponseTopic;
use crate::protocol::peer::messages::produce_request::{PartitionProduceData, TopicProduceData};
use crate::protocol::peer::messages::produce_response::{PartitionProduceResponse, TopicProduceResponse};
use crate::protocol::peer::messages::{FetchRequest, ProduceRequest, ProduceResponse, ResponseHeader};
use crate::protocol::peer::{Encodable as _, HeaderVersion as _, Peer, encode_frame};
use crate::protocol::records::{BatchBuilder, NewRecord};
use crate::types::Clock;

/// A number that stands nowhere in a frame by chance.
const MARKER: i64 = 0x5eed_c0de_f00d_cafe;
/// What a record without key and headers has besides its value: lengths, deltas, attributes.
const RECORD_OVERHEAD_BYTES_MAX: usize = 24;
/// The first version of Fetch that names topics by id.
const FETCH_TOPIC_ID_VERSION: i16 = 13;

/// A batch and what is in it.
#[derive(Debug, Clone)]
pub struct Batch {
    /// The batch as it goes into the request.
    pub bytes: Bytes,
    /// Records in it.
    pub records: u64,
}

impl Batch {
    /// Fills a batch up to `batch_bytes` (before compression; at least one record) with records of `record_size` bytes of value.
    ///
    /// # Errors
    /// If one record does not fit a batch at all.
    pub fn fill(record_size: usize, batch_bytes: usize, codec: Codec) -> Outcome<Self> {
        let timestamp = Clock::system().now_ms();
        let mut noise = Noise(0x9e37_79b9_7f4a_7c15);
        let mut builder = BatchBuilder::new().codec(codec, None);
        while builder.record_count() == 0
            || builder.size_bytes() + record_size + RECORD_OVERHEAD_BYTES_MAX <= batch_bytes
        {
            let value = noise.text(record_size);
            let record = NewRecord { timestamp, key: None, value: Some(&value), headers: &[] };
            builder.push(record).map_err(|full| CliError::usage(full.to_string()))?;
        }
        let records = u64::try_from(builder.record_count()).unwrap_or_default();
        Ok(Self { bytes: builder.build(), records })
    }
}

/// Text that compresses about as badly as hexadecimal noise does: reproducible, no randomness needed.
struct Noise(u64);

impl Noise {
    fn text(&mut self, length: usize) -> Vec<u8> {
        let mut text = Vec::with_capacity(length + 16);
        while text.len() < length {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            text.extend_from_slice(format!("{:016x}", self.0).as_bytes());
        }
        text.truncate(length);
        text
    }
}

/// A Produce request for one partition.
#[derive(Debug, Clone)]
pub struct ProduceFrame {
    /// The whole frame.
    pub frame: Bytes,
    /// Where the error code stands in the answer.
    error_at: usize,
}

impl ProduceFrame {
    /// Encodes it in the highest version that `peer` serves.
    ///
    /// # Errors
    /// If the broker does not serve Produce.
    pub fn new(
        peer: &Peer,
        topic: &MetadataResponseTopic,
        partition: i32,
        acks: i16,
        timeout_ms: i32,
        batch: &Batch,
    ) -> Outcome<Self> {
        let version = peer.version_of::<ProduceRequest>()?;
        let name = topic.name.clone().unwrap_or_default();
        let data =
            PartitionProduceData::default().with_index(partition).with_records(Some(batch.bytes.clone()));
        let request =
            ProduceRequest::default().with_acks(acks).with_timeout_ms(timeout_ms).with_topic_data(vec![
                TopicProduceData::default()
                    .with_name(name.clone())
                    .with_topic_id(topic.topic_id)
                    .with_partition_data(vec![data]),
            ]);
        // The same answer as the broker's, with a marker as base offset: two bytes of error code stand before it.
        let answer = ProduceResponse::default().with_responses(vec![
            TopicProduceResponse::default()
                .with_name(name)
                .with_topic_id(topic.topic_id)
                .with_partition_responses(vec![
                    PartitionProduceResponse::default().with_index(partition).with_base_offset(MARKER),
                ]),
        ]);
        let mut encoded = Vec::new();
        let internal = |error: &dyn std::fmt::Display| CliError::new(Exit::Internal, error.to_string());
        ResponseHeader::default()
            .encode(&mut encoded, ProduceResponse::header_version(version))
            .map_err(|e| internal(&e))?;
        answer.encode(&mut encoded, version).map_err(|e| internal(&e))?;
        let marker_at = position(&encoded).ok_or_else(|| internal(&"no marker in the answer"))?;
        Ok(Self { frame: encode_frame(&request, version, 0, CLIENT_ID)?, error_at: marker_at - 2 })
    }

    /// Checks an answer. Gives the base offset.
    ///
    /// # Errors
    /// The error code in it.
    pub fn check(&self, answer: &[u8]) -> Outcome<i64> {
        let Some(mut rest) = answer.get(self.error_at..self.error_at + 10) else {
            return Err(CliError::failure("an answer to Produce is too short"));
        };
        let code = rest.get_i16();
        if code == ErrorCode::None.code() {
            Ok(rest.get_i64())
        } else {
            Err(CliError::from_code("produce", code, None))
        }
    }
}

/// A Fetch request for one partition without a session, with a place for the offset.
#[derive(Debug, Clone)]
pub struct FetchFrame {
    /// The version that it is encoded in.
    pub version: i16,
    frame: Vec<u8>,
    offset_at: usize,
}

impl FetchFrame {
    /// Encodes it in the highest version that `peer` serves.
    ///
    /// # Errors
    /// If the broker does not serve Fetch.
    pub fn new(
        peer: &Peer,
        topic: &MetadataResponseTopic,
        partition: i32,
        max_bytes: i32,
        max_wait_ms: i32,
    ) -> Outcome<Self> {
        let version = peer.version_of::<FetchRequest>()?;
        let version = if topic.topic_id.is_nil() { version.min(FETCH_TOPIC_ID_VERSION - 1) } else { version };
        let partition = FetchPartition::default()
            .with_partition(partition)
            .with_fetch_offset(MARKER)
            .with_partition_max_bytes(max_bytes);
        let request = FetchRequest::default()
            .with_max_wait_ms(max_wait_ms)
            .with_min_bytes(1)
            .with_max_bytes(max_bytes.max(1 << 20))
            .with_topics(vec![
                FetchTopic::default()
                    .with_topic(topic.name.clone().unwrap_or_default())
                    .with_topic_id(topic.topic_id)
                    .with_partitions(vec![partition]),
            ]);
        let frame = encode_frame(&request, version, 0, CLIENT_ID)?.to_vec();
        let offset_at =
            position(&frame).ok_or_else(|| CliError::new(Exit::Internal, "no marker in the request"))?;
        Ok(Self { version, frame, offset_at })
    }

    /// The frame that fetches from `offset`.
    pub fn from(&mut self, offset: i64) -> &[u8] {
        if let Some(place) = self.frame.get_mut(self.offset_at..self.offset_at + 8) {
            place.copy_from_slice(&offset.to_be_bytes());
        }
        &self.frame
    }
}

fn position(bytes: &[u8]) -> Option<usize> {
    bytes.windows(8).position(|window| window == MARKER.to_be_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::batch::{BatchHeader, verify_crc};

    #[test]
    fn a_batch_is_as_large_as_asked_and_whole() {
        let batch = Batch::fill(1024, 256 << 10, Codec::None).unwrap();
        let header = BatchHeader::parse(&batch.bytes).unwrap();
        verify_crc(&batch.bytes).unwrap();
        assert_eq!(header.size_bytes(), batch.bytes.len());
        assert_eq!(batch.records, u64::try_from(header.record_count).unwrap());
        assert!((255 << 10..=256 << 10).contains(&batch.bytes.len()), "{}", batch.bytes.len());
        assert_eq!(Batch::fill(100, 1, Codec::None).unwrap().records, 1);
    }
}
