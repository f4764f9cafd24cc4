//! What the tests ask of a broker over the protocol: topics, idempotent producers that retry, reading everything back.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ketcd::protocol::batch;
use ketcd::protocol::error::ErrorCode;
use ketcd::protocol::peer::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ketcd::protocol::peer::messages::fetch_request::{FetchPartition, FetchTopic};
use ketcd::protocol::peer::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use ketcd::protocol::peer::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ketcd::protocol::peer::messages::{
    CreateTopicsRequest, FetchRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest, ProduceRequest,
    TopicName,
};
use ketcd::protocol::peer::{Peer, PeerError, StrBytes};
use ketcd::protocol::records::{BatchBuilder, NewRecord, walk};

/// How long one answer may take.
const ANSWER_DEADLINE: Duration = Duration::from_secs(20);
/// How long a producer tries again.
pub const SEND_DEADLINE: Duration = Duration::from_secs(60);
/// The last versions that name topics by their names.
const PRODUCE_VERSION: i16 = 12;
const FETCH_VERSION: i16 = 12;

fn text(value: &str) -> StrBytes {
    StrBytes::from_string(value.to_owned())
}

pub async fn connect(bootstrap: &str) -> Result<Peer, PeerError> {
    Peer::connect(bootstrap, "process-test", ANSWER_DEADLINE).await
}

/// Code and message of the broker's answer to CreateTopics.
pub async fn create_topic(
    bootstrap: &str,
    name: &str,
    partitions: i32,
    configs: &[(&str, &str)],
) -> Result<(ErrorCode, String), PeerError> {
    let configs = configs.iter().map(|(key, value)| {
        CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
    });
    let request = CreateTopicsRequest::default().with_timeout_ms(30_000).with_topics(vec![
        CreatableTopic::default()
            .with_name(TopicName(text(name)))
            .with_num_partitions(partitions)
            .with_replication_factor(1)
            .with_configs(configs.collect()),
    ]);
    let answer = connect(bootstrap).await?.call(&request).await?;
    let topic = &answer.topics[0];
    Ok((code(topic.error_code), topic.error_message.as_deref().unwrap_or_default().to_owned()))
}

/// [`create_topic`], which must succeed.
pub async fn created(bootstrap: &str, name: &str, partitions: i32, configs: &[(&str, &str)]) {
    let (code, message) = create_topic(bootstrap, name, partitions, configs).await.unwrap();
    assert_eq!(code, ErrorCode::None, "{message}");
}

/// Code and message of the broker's answer to IncrementalAlterConfigs of one key of a topic.
pub async fn alter_topic(
    bootstrap: &str,
    name: &str,
    key: &str,
    value: &str,
) -> Result<(ErrorCode, String), PeerError> {
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![
        AlterConfigsResource::default().with_resource_type(2).with_resource_name(text(name)).with_configs(
            vec![
                AlterableConfig::default()
                    .with_name(text(key))
                    .with_config_operation(0)
                    .with_value(Some(text(value))),
            ],
        ),
    ]);
    let answer = connect(bootstrap).await?.call(&request).await?;
    let resource = &answer.responses[0];
    Ok((code(resource.error_code), resource.error_message.as_deref().unwrap_or_default().to_owned()))
}

/// A new producer id, or the broker's error code.
pub async fn producer_id(peer: &mut Peer) -> Result<Result<i64, ErrorCode>, PeerError> {
    let request =
        InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(60_000);
    let answer = peer.call(&request).await?;
    Ok(match code(answer.error_code) {
        ErrorCode::None => Ok(answer.producer_id.0),
        error => Err(error),
    })
}

pub fn code(raw: i16) -> ErrorCode {
    ErrorCode::from_code(raw).expect("a code of Kafka's")
}

/// An idempotent producer of numbered records for one partition. Sequence number and record number are the same.
pub struct Producer {
    bootstrap: String,
    topic: String,
    pub partition: i32,
    pub id: i64,
    pub next_number: i32,
    record_bytes: usize,
    peer: Option<Peer>,
    /// Timestamp of all records; `None`: that of sending.
    pub timestamp: Option<i64>,
    /// Acknowledged batches: first offset, first number, records.
    pub acked: Vec<(i64, i32, i32)>,
    /// How often a batch was sent again.
    pub retries: u64,
}

impl Producer {
    /// Takes a producer id from the broker. Records are `record_bytes` long.
    pub async fn new(bootstrap: &str, topic: &str, partition: i32, record_bytes: usize) -> Self {
        let mut peer = connect(bootstrap).await.unwrap();
        let deadline = Instant::now() + SEND_DEADLINE;
        let id = loop {
            match producer_id(&mut peer).await.unwrap() {
                Ok(id) => break id,
                Err(error) => assert!(error.retriable() && Instant::now() < deadline, "{error:?}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        };
        Self {
            bootstrap: bootstrap.to_owned(),
            topic: topic.to_owned(),
            partition,
            id,
            next_number: 0,
            record_bytes,
            peer: Some(peer),
            timestamp: None,
            acked: Vec::new(),
            retries: 0,
        }
    }

    /// Sends one batch, the same bytes again and again until it is acknowledged.
    pub async fn send(&mut self, records: i32) {
        let batch = self.batch(records);
        let deadline = Instant::now() + SEND_DEADLINE;
        loop {
            let answer = self.attempt(&batch).await;
            match answer {
                Ok((ErrorCode::None, offset)) => return self.note(offset, records),
                // What clients take for a broker that comes back; everything else ends a real producer.
                Ok((error, _)) => assert!(
                    error.retriable(),
                    "producer {} of {}-{}: {error:?}",
                    self.id,
                    self.topic,
                    self.partition
                ),
                Err(_) => self.peer = None,
            }
            self.retries += 1;
            assert!(Instant::now() < deadline, "{}-{}: no acknowledgement", self.topic, self.partition);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Sends one batch once. On an error the next batch has the same numbers again.
    pub async fn send_once(&mut self, records: i32) -> ErrorCode {
        let batch = self.batch(records);
        let (code, offset) = self.attempt(&batch).await.unwrap();
        if code == ErrorCode::None {
            self.note(offset, records);
        }
        code
    }

    /// Sends one batch once, wherever this broker leads or not. On an error the next batch has the same numbers again.
    pub async fn try_send(&mut self, records: i32) -> Result<ErrorCode, PeerError> {
        let batch = self.batch(records);
        let (code, offset) = self.attempt(&batch).await?;
        if code == ErrorCode::None {
            self.note(offset, records);
        }
        Ok(code)
    }

    /// Goes on with another broker, on a new connection.
    pub fn move_to(&mut self, bootstrap: &str) {
        bootstrap.clone_into(&mut self.bootstrap);
        self.peer = None;
    }

    fn note(&mut self, offset: i64, records: i32) {
        self.acked.push((offset, self.next_number, records));
        self.next_number += records;
    }

    fn batch(&self, records: i32) -> Bytes {
        let mut builder = BatchBuilder::new().producer(self.id, 0, self.next_number);
        let timestamp = self.timestamp.unwrap_or_else(now_ms);
        for number in self.next_number..self.next_number + records {
            let mut value = format!("{}/{number}/", self.id).into_bytes();
            value.resize(self.record_bytes.max(value.len()), b'x');
            builder
                .push(NewRecord { timestamp, key: None, value: Some(&value), headers: &[] })
                .expect("it fits");
        }
        builder.build()
    }

    async fn attempt(&mut self, batch: &Bytes) -> Result<(ErrorCode, i64), PeerError> {
        if self.peer.is_none() {
            self.peer = Some(connect(&self.bootstrap).await?);
        }
        let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(10_000).with_topic_data(vec![
            TopicProduceData::default().with_name(TopicName(text(&self.topic))).with_partition_data(vec![
                PartitionProduceData::default().with_index(self.partition).with_records(Some(batch.clone())),
            ]),
        ]);
        let peer = self.peer.as_mut().expect("just connected");
        let answer = peer.call_at(&request, PRODUCE_VERSION).await?;
        let partition = &answer.responses[0].partition_responses[0];
        Ok((code(partition.error_code), partition.base_offset))
    }
}

fn now_ms() -> i64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as i64
}

/// One record as it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    pub offset: i64,
    pub producer: i64,
    pub number: i32,
}

/// Fetches once from `offset`, waiting at most `wait` for the first byte.
pub async fn fetch(
    peer: &mut Peer,
    topic: &str,
    partition: i32,
    offset: i64,
    wait: Duration,
) -> Result<Result<(Vec<Found>, i64), ErrorCode>, PeerError> {
    let request = FetchRequest::default()
        .with_max_wait_ms(wait.as_millis() as i32)
        .with_min_bytes(1)
        .with_max_bytes(8 << 20)
        .with_topics(vec![FetchTopic::default().with_topic(TopicName(text(topic))).with_partitions(vec![
            FetchPartition::default()
                .with_partition(partition)
                .with_fetch_offset(offset)
                .with_partition_max_bytes(1 << 20),
        ])]);
    let answer = peer.call_within(&request, FETCH_VERSION, wait + ANSWER_DEADLINE).await?;
    let partition = &answer.responses[0].partitions[0];
    if partition.error_code != 0 {
        return Ok(Err(code(partition.error_code)));
    }
    let mut found = Vec::new();
    let records = partition.records.clone().unwrap_or_default();
    for piece in batch::split(&records) {
        // The last batch may be cut by the size that was asked for.
        let Ok((header, bytes)) = piece else { break };
        batch::verify_crc(&bytes).unwrap();
        for record in walk(&bytes[batch::BATCH_HEADER_BYTES..], header.record_count) {
            let record = record.unwrap();
            let value = std::str::from_utf8(record.value.unwrap()).unwrap();
            let mut parts = value.split('/');
            found.push(Found {
                offset: header.base_offset + i64::from(record.offset_delta),
                producer: parts.next().unwrap().parse().unwrap(),
                number: parts.next().unwrap().parse().unwrap(),
            });
        }
    }
    found.retain(|record| record.offset >= offset);
    Ok(Ok((found, partition.high_watermark)))
}

/// Everything of a partition from `offset` to its high watermark.
pub async fn read_all(bootstrap: &str, topic: &str, partition: i32, mut offset: i64) -> Vec<Found> {
    let mut peer = connect(bootstrap).await.unwrap();
    let mut all = Vec::new();
    let deadline = Instant::now() + SEND_DEADLINE;
    loop {
        assert!(Instant::now() < deadline, "{topic}-{partition} cannot be read to its end");
        match fetch(&mut peer, topic, partition, offset, Duration::from_millis(100)).await.unwrap() {
            Ok((found, high_watermark)) => {
                if let Some(last) = found.last() {
                    offset = last.offset + 1;
                }
                all.extend(found);
                if offset >= high_watermark {
                    return all;
                }
            }
            Err(error) => {
                assert!(error.retriable(), "{topic}-{partition} at {offset}: {error:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}
