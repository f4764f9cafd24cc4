//! A raw producer for one partition: finds the leader, sends one batch at a time, tries again as clients do.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ketcd::protocol::error::ErrorCode;
use ketcd::protocol::peer::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ketcd::protocol::peer::messages::{InitProducerIdRequest, ProduceRequest, TopicName};
use ketcd::protocol::peer::{Peer, PeerError};
use ketcd::protocol::records::{BatchBuilder, NewRecord};

use crate::directory::{Directory, code, text};
use crate::history::{History, Op, State, now_ms};

/// The last version that names topics by their names.
const PRODUCE_VERSION: i16 = 12;
/// Kafka's default of `delivery.timeout.ms`: within it no fault of a test may come to a user's eyes.
const DELIVERY_TIMEOUT: Duration = Duration::from_secs(120);
/// How long the broker may wait for replicas.
const ACK_TIMEOUT_MS: i32 = 10_000;

/// How a producer sends.
#[derive(Debug, Clone, Copy)]
pub struct Sending {
    /// Idempotent and with retries; else every batch is sent once, and its end may stay unknown.
    pub idempotent: bool,
    pub records: i64,
    pub record_bytes: usize,
    /// Between the ack of one batch and the next one.
    pub pause: Duration,
    /// How long an answer is waited for before the leader is looked for again.
    pub patience: Duration,
    /// Between two attempts.
    pub backoff: Duration,
}

impl Default for Sending {
    fn default() -> Self {
        Self {
            idempotent: true,
            records: 5,
            record_bytes: 100,
            pause: Duration::from_millis(10),
            patience: Duration::from_secs(3),
            backoff: Duration::from_millis(20),
        }
    }
}

/// One producer of numbered values.
pub struct Producer {
    client: String,
    number: i64,
    partition: i32,
    sending: Sending,
    directory: Arc<Directory>,
    history: Arc<History>,
    /// Producer id of the broker's giving; -1 without idempotence.
    id: i64,
    sequence: i32,
    next: i64,
    peer: Option<(String, Peer)>,
}

/// What one attempt came to.
enum Attempt {
    Acked(i64),
    /// The batch is certainly not in the log.
    Refused(ErrorCode),
    /// It may be.
    Unknown(String),
    /// No retry can help.
    Fatal(ErrorCode),
}

impl Producer {
    /// `number` names it in values: no two producers of a history have the same.
    pub fn new(
        number: i64,
        partition: i32,
        sending: Sending,
        directory: &Arc<Directory>,
        history: &Arc<History>,
    ) -> Self {
        let client = format!("raw-{number}");
        history.note(&client, Op::Producer { producer: number, idempotent: sending.idempotent });
        Self {
            client,
            number,
            partition,
            sending,
            directory: Arc::clone(directory),
            history: Arc::clone(history),
            id: -1,
            sequence: 0,
            next: 0,
            peer: None,
        }
    }

    /// Sends until it is told to stop; the last batch is seen to its end.
    pub async fn run(mut self, stop: Arc<AtomicBool>) {
        while !stop.load(Ordering::Relaxed) {
            self.send().await;
            tokio::time::sleep(self.sending.pause).await;
        }
    }

    /// Sends one batch to its end.
    pub async fn send(&mut self) {
        let first = self.next;
        self.next += self.sending.records;
        if self.sending.idempotent && self.id < 0 {
            self.take_id().await;
        }
        let batch = self.batch(first);
        self.note(State::Invoke, first, None, None);
        let deadline = Instant::now() + DELIVERY_TIMEOUT;
        let mut doubt = None;
        loop {
            match self.attempt(&batch).await {
                Attempt::Acked(offset) => {
                    self.sequence += self.sending.records as i32;
                    return self.note(State::Ok, first, Some(offset), None);
                }
                Attempt::Fatal(error) => {
                    self.history.note(&self.client, Op::Error { why: format!("{error:?}") });
                    self.forget_id();
                    return self.note(State::Unknown, first, None, Some(format!("{error:?}")));
                }
                Attempt::Refused(error) if !self.sending.idempotent => {
                    self.directory.refresh(Duration::from_millis(100)).await;
                    return self.note(State::Fail, first, None, Some(format!("{error:?}")));
                }
                Attempt::Unknown(why) if !self.sending.idempotent => {
                    self.directory.refresh(Duration::from_millis(100)).await;
                    return self.note(State::Unknown, first, None, Some(why));
                }
                Attempt::Refused(error) => doubt = doubt.or(Some(format!("{error:?}"))),
                Attempt::Unknown(why) => doubt = Some(why),
            }
            if Instant::now() > deadline {
                let why = format!("no ack within {DELIVERY_TIMEOUT:?}: {}", doubt.unwrap_or_default());
                self.history.note(&self.client, Op::Error { why: why.clone() });
                self.forget_id();
                return self.note(State::Unknown, first, None, Some(why));
            }
            self.directory.refresh(self.sending.backoff).await;
            tokio::time::sleep(self.sending.backoff).await;
        }
    }

    /// After a batch of unknown end its sequence numbers are not to be used again.
    fn forget_id(&mut self) {
        self.id = -1;
        self.sequence = 0;
    }

    async fn take_id(&mut self) {
        let deadline = Instant::now() + DELIVERY_TIMEOUT;
        loop {
            let broker = self.directory.some_broker().await;
            match producer_id(&broker, self.sending.patience).await {
                Ok(Ok(id)) => {
                    self.id = id;
                    return;
                }
                Ok(Err(error)) if !error.retriable() => {
                    self.history.note(&self.client, Op::Error { why: format!("InitProducerId: {error:?}") });
                }
                _ => {}
            }
            if Instant::now() > deadline {
                self.history.note(&self.client, Op::Error { why: "no producer id".to_owned() });
                return;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn note(&self, state: State, first: i64, offset: Option<i64>, why: Option<String>) {
        let (partition, producer, count) = (self.partition, self.number, self.sending.records);
        let op = Op::Send { state, partition, producer, first, count, offset, why };
        self.history.note(&self.client, op);
    }

    fn batch(&self, first: i64) -> Bytes {
        let mut builder = BatchBuilder::new();
        if self.id >= 0 {
            builder = builder.producer(self.id, 0, self.sequence);
        }
        let timestamp = now_ms() as i64;
        for number in first..first + self.sending.records {
            let mut value = format!("{}/{number}/", self.number).into_bytes();
            value.resize(self.sending.record_bytes.max(value.len()), b'x');
            let record = NewRecord { timestamp, key: None, value: Some(&value), headers: &[] };
            builder.push(record).expect("it fits");
        }
        builder.build()
    }

    async fn attempt(&mut self, batch: &Bytes) -> Attempt {
        let Some((_, address, _)) = self.directory.leader(self.partition) else {
            return Attempt::Refused(ErrorCode::LeaderNotAvailable);
        };
        if self.peer.as_ref().is_none_or(|(to, _)| *to != address) {
            match Peer::connect(&address, &self.client, self.sending.patience).await {
                Ok(peer) => self.peer = Some((address, peer)),
                Err(_) => return Attempt::Refused(ErrorCode::NetworkException),
            }
        }
        let data =
            PartitionProduceData::default().with_index(self.partition).with_records(Some(batch.clone()));
        let topic = TopicName(text(&self.directory.topic));
        let topic = TopicProduceData::default().with_name(topic).with_partition_data(vec![data]);
        let request = ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(ACK_TIMEOUT_MS)
            .with_topic_data(vec![topic]);
        let (_, peer) = self.peer.as_mut().expect("just connected");
        let answer = match peer.call_at(&request, PRODUCE_VERSION).await {
            Ok(answer) => answer,
            Err(error) => {
                self.peer = None;
                return Attempt::Unknown(error.to_string());
            }
        };
        let told = &answer.responses[0].partition_responses[0];
        match code(told.error_code) {
            ErrorCode::None => Attempt::Acked(told.base_offset),
            // Before anything is appended. (NOT_LEADER_OR_FOLLOWER is not of these: rule L11 says it of a parked produce too.)
            error @ (ErrorCode::NotEnoughReplicas
            | ErrorCode::UnknownTopicOrPartition
            | ErrorCode::LeaderNotAvailable) => Attempt::Refused(error),
            error if error.retriable() => Attempt::Unknown(format!("{error:?}")),
            error => Attempt::Fatal(error),
        }
    }
}

/// A new producer id from one broker.
pub async fn producer_id(bootstrap: &str, patience: Duration) -> Result<Result<i64, ErrorCode>, PeerError> {
    let mut peer = Peer::connect(bootstrap, "raw", patience).await?;
    let request =
        InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(60_000);
    let answer = peer.call(&request).await?;
    Ok(match code(answer.error_code) {
        ErrorCode::None => Ok(answer.producer_id.0),
        error => Err(error),
    })
}
