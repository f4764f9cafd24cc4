//! A raw reader of one partition, from its start, in order; and "latest" beside it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use ketcd::protocol::batch;
use ketcd::protocol::error::ErrorCode;
use ketcd::protocol::peer::messages::fetch_request::{FetchPartition, FetchTopic};
use ketcd::protocol::peer::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ketcd::protocol::peer::messages::{BrokerId, FetchRequest, ListOffsetsRequest, TopicName};
use ketcd::protocol::peer::{Peer, PeerError};
use ketcd::protocol::records::walk;

use crate::directory::{Directory, code, text};
use crate::history::{History, Op, runs};

/// The last version that names topics by their names.
const FETCH_VERSION: i16 = 12;
const LIST_OFFSETS_VERSION: i16 = 7;
/// How long a fetch waits at the broker.
const FETCH_WAIT: Duration = Duration::from_millis(300);
/// How often "latest" is asked for.
const LATEST_EVERY: Duration = Duration::from_millis(700);
const PATIENCE: Duration = Duration::from_secs(3);

/// Reads one partition until it is told the end and has reached it.
pub struct Reader {
    client: String,
    partition: i32,
    directory: Arc<Directory>,
    history: Arc<History>,
    peer: Option<(String, Peer)>,
    next: i64,
}

/// One record: offset, producer and number.
type Record = (i64, i64, i64);

impl Reader {
    pub fn new(client: &str, partition: i32, directory: &Arc<Directory>, history: &Arc<History>) -> Self {
        history.note(client, Op::Assign { partition, offset: Some(0) });
        Self {
            client: client.to_owned(),
            partition,
            directory: Arc::clone(directory),
            history: Arc::clone(history),
            peer: None,
            next: 0,
        }
    }

    /// Reads on until `end` (>= 0 once it is known) is reached. False if it was not within `limit` of being known.
    pub async fn run(mut self, end: Arc<AtomicI64>, limit: Duration) -> bool {
        let mut asked = Instant::now();
        let mut known_since = None;
        loop {
            let end = end.load(Ordering::Relaxed);
            if end >= 0 {
                if self.next >= end {
                    return true;
                }
                if known_since.get_or_insert_with(Instant::now).elapsed() > limit {
                    return false;
                }
            }
            if let Err(again) = self.poll().await {
                self.peer = None;
                if !again {
                    return false;
                }
                self.directory.refresh(Duration::from_millis(50)).await;
                tokio::time::sleep(Duration::from_millis(30)).await;
            } else if asked.elapsed() > LATEST_EVERY {
                asked = Instant::now();
                if let Ok(Ok(offset)) = self.latest().await {
                    let op = Op::Latest { partition: self.partition, offset };
                    self.history.note(&self.client, op);
                } else {
                    self.peer = None;
                }
            }
        }
    }

    /// One fetch. On an error: whether to try again.
    async fn poll(&mut self) -> Result<(), bool> {
        let epoch = self.connect().await.map_err(|_| true)?;
        let (_, peer) = self.peer.as_mut().ok_or(true)?;
        let topic = &self.directory.topic;
        let found = fetch(peer, topic, self.partition, self.next, epoch).await.map_err(|_| true)?;
        match found {
            Ok(records) => {
                let Some(last) = records.last() else { return Ok(()) };
                self.next = last.0 + 1;
                let op = Op::Poll { partition: self.partition, runs: runs(records) };
                self.history.note(&self.client, op);
                Ok(())
            }
            Err(error) if error.retriable() => Err(true),
            Err(error) => {
                let why = format!("fetch of {} at {}: {error:?}", self.partition, self.next);
                self.history.note(&self.client, Op::Error { why });
                Err(false)
            }
        }
    }

    async fn latest(&mut self) -> Result<Result<i64, ErrorCode>, PeerError> {
        let epoch = self.connect().await?;
        let (_, peer) = self.peer.as_mut().expect("just connected");
        latest(peer, &self.directory.topic, self.partition, epoch).await
    }

    /// Connects to the leader; gives the epoch that it leads in.
    async fn connect(&mut self) -> Result<i32, PeerError> {
        let Some((_, address, epoch)) = self.directory.leader(self.partition) else {
            return Err(PeerError::NotServed { address: "nobody".into(), api: "a leader".to_owned() });
        };
        if self.peer.as_ref().is_none_or(|(to, _)| *to != address) {
            let peer = Peer::connect(&address, &self.client, PATIENCE).await?;
            self.peer = Some((address, peer));
        }
        Ok(epoch)
    }
}

/// "Latest" of a partition from the leader of `epoch`.
pub async fn latest(
    peer: &mut Peer,
    topic: &str,
    partition: i32,
    epoch: i32,
) -> Result<Result<i64, ErrorCode>, PeerError> {
    let partition = ListOffsetsPartition::default()
        .with_partition_index(partition)
        .with_current_leader_epoch(epoch)
        .with_timestamp(-1);
    let topic =
        ListOffsetsTopic::default().with_name(TopicName(text(topic))).with_partitions(vec![partition]);
    let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![topic]);
    let answer = peer.call_at(&request, LIST_OFFSETS_VERSION).await?;
    let told = &answer.topics[0].partitions[0];
    Ok(match code(told.error_code) {
        ErrorCode::None => Ok(told.offset),
        error => Err(error),
    })
}

/// The records at `offset` and after it. Batches' checksums are looked at.
pub async fn fetch(
    peer: &mut Peer,
    topic: &str,
    partition: i32,
    offset: i64,
    epoch: i32,
) -> Result<Result<Vec<Record>, ErrorCode>, PeerError> {
    let partition = FetchPartition::default()
        .with_partition(partition)
        .with_current_leader_epoch(epoch)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20);
    let topic = FetchTopic::default().with_topic(TopicName(text(topic))).with_partitions(vec![partition]);
    let request = FetchRequest::default()
        .with_max_wait_ms(FETCH_WAIT.as_millis() as i32)
        .with_min_bytes(1)
        .with_max_bytes(8 << 20)
        .with_topics(vec![topic]);
    let answer = peer.call_within(&request, FETCH_VERSION, FETCH_WAIT + PATIENCE).await?;
    let partition = &answer.responses[0].partitions[0];
    if partition.error_code != 0 {
        return Ok(Err(code(partition.error_code)));
    }
    let mut found = Vec::new();
    let records = partition.records.clone().unwrap_or_default();
    for piece in batch::split(&records) {
        // The last batch may be cut by the size that was asked for.
        let Ok((header, bytes)) = piece else { break };
        batch::verify_crc(&bytes).expect("a batch as it was sent");
        for record in walk(&bytes[batch::BATCH_HEADER_BYTES..], header.record_count) {
            let record = record.expect("a record");
            let (producer, number) = value_of(record.value.expect("a value"));
            found.push((header.base_offset + i64::from(record.offset_delta), producer, number));
        }
    }
    found.retain(|record| record.0 >= offset);
    Ok(Ok(found))
}

/// `producer/number/...`
fn value_of(value: &[u8]) -> (i64, i64) {
    let text = std::str::from_utf8(value).expect("a value of ours");
    let mut parts = text.split('/').map(|part| part.parse().ok());
    let mut part = || parts.next().flatten().expect("a value of ours");
    (part(), part())
}
