//! Sends batches to the leaders of their partitions, again where an error may pass.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::time::Duration;

use super::produce::Written;
use crate::cli::client::{Cluster, by_leader};
use crate::cli::exit::{CliError, Exit, Outcome};
use crate::protocol::error::ErrorCode;
use crate::protocol::peer::messages::metadata_response::MetadataResponseTopic;
use crate::protocol::peer::messages::produce_request::{PartitionProduceData, TopicProduceData};
use crate::protocol::peer::messages::{InitProducerIdRequest, ProduceRequest};
use crate::protocol::records::BatchBuilder;
use crate::types::Clock;
use bytes::Bytes;

/// Pause before the first repetition; doubled each time up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How many acknowledgements a produce waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// `0`: none, not even an answer.
    None,
    /// `1`: the leader's.
    Leader,
    /// `all`: that of every in-sync replica.
    All,
}

impl Acks {
    /// As the wire says it.
    #[must_use]
    pub const fn wire(self) -> i16 {
        match self {
            Self::None => 0,
            Self::Leader => 1,
            Self::All => -1,
        }
    }
}

impl FromStr for Acks {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "0" => Ok(Self::None),
            "1" => Ok(Self::Leader),
            "all" | "-1" => Ok(Self::All),
            _ => Err("give 0, 1 or all".to_owned()),
        }
    }
}

/// Records for one partition.
#[derive(Debug)]
pub(super) struct Batch {
    pub(super) partition: i32,
    pub(super) records: i32,
    pub(super) builder: BatchBuilder,
}

/// A batch as it goes out, however often.
struct Sealed {
    partition: i32,
    records: i32,
    bytes: Bytes,
}

/// Writes to one topic.
#[derive(Debug)]
pub(super) struct Sender {
    topic: MetadataResponseTopic,
    name: String,
    acks: Acks,
    producer: Option<(i64, i16)>,
    sequences: BTreeMap<i32, i32>,
    written: BTreeMap<i32, Written>,
}

impl Sender {
    /// Finds the topic (a broker that creates topics by itself may do so now), and with `idempotent` gets a producer id.
    pub(super) async fn open(
        cluster: &mut Cluster,
        name: &str,
        acks: Acks,
        idempotent: bool,
    ) -> Outcome<Self> {
        let topic = find_or_create(cluster, name).await?;
        let producer = if idempotent { Some(producer_id(cluster).await?) } else { None };
        Ok(Self {
            topic,
            name: name.to_owned(),
            acks,
            producer,
            sequences: BTreeMap::new(),
            written: BTreeMap::new(),
        })
    }

    /// How many partitions the topic has.
    pub(super) fn partition_count(&self) -> i32 {
        i32::try_from(self.topic.partitions.len()).unwrap_or(i32::MAX)
    }

    /// The partitions that have a leader.
    pub(super) fn available(&self) -> Vec<i32> {
        let led = self.topic.partitions.iter().filter(|partition| partition.leader_id.0 >= 0);
        led.map(|partition| partition.partition_index).collect()
    }

    /// What was written so far.
    pub(super) fn written(&self) -> Vec<Written> {
        self.written.values().cloned().collect()
    }

    /// Sends at most one batch for each partition and waits until all are acknowledged.
    pub(super) async fn send(&mut self, cluster: &mut Cluster, batches: Vec<Batch>) -> Outcome {
        let mut left: Vec<Sealed> = batches.into_iter().map(|batch| self.seal(batch)).collect();
        let clock = Clock::system();
        let deadline = clock.elapsed() + cluster.timeout();
        let mut pause = PAUSE_MIN;
        loop {
            let mut last = None;
            left = self.send_once(cluster, left, &mut last).await?;
            let Some(error) = last.filter(|_| !left.is_empty()) else { return Ok(()) };
            if clock.elapsed() >= deadline {
                return Err(error.at(cluster.address()));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
            if let Ok(topic) = cluster.topic(&self.name).await {
                self.topic = topic;
            }
        }
    }

    fn seal(&mut self, batch: Batch) -> Sealed {
        let builder = match self.producer {
            None => batch.builder,
            Some((id, epoch)) => {
                let next = self.sequences.entry(batch.partition).or_insert(0);
                let sequence = *next;
                // Sequences wrap to 0 after the largest, as DefaultRecordBatch.incrementSequence.
                *next = next
                    .checked_add(batch.records)
                    .unwrap_or_else(|| batch.records - (i32::MAX - sequence) - 1);
                batch.builder.producer(id, epoch, sequence)
            }
        };
        Sealed { partition: batch.partition, records: batch.records, bytes: builder.build() }
    }

    /// One attempt; gives back the batches that may be sent again and sets `last` to the reason.
    async fn send_once(
        &mut self,
        cluster: &mut Cluster,
        batches: Vec<Sealed>,
        last: &mut Option<CliError>,
    ) -> Outcome<Vec<Sealed>> {
        let leaders: BTreeMap<i32, i32> = by_leader(&self.topic)
            .into_iter()
            .flat_map(|(leader, partitions)| partitions.into_iter().map(move |p| (p.partition_index, leader)))
            .collect();
        let mut by_broker: BTreeMap<i32, Vec<Sealed>> = BTreeMap::new();
        let mut again = Vec::new();
        for batch in batches {
            match leaders.get(&batch.partition) {
                Some(leader) => by_broker.entry(*leader).or_default().push(batch),
                None => {
                    *last = Some(CliError::new(
                        Exit::Temporary,
                        format!("{}-{} has no leader now", self.name, batch.partition),
                    ));
                    again.push(batch);
                }
            }
        }
        for (leader, batches) in by_broker {
            match self.send_to(cluster, leader, &batches).await {
                Ok(codes) => {
                    for batch in batches {
                        let code = codes.get(&batch.partition).map_or(0, |(code, ..)| *code);
                        if code == ErrorCode::None.code() || code == ErrorCode::DuplicateSequenceNumber.code()
                        {
                            let first = codes.get(&batch.partition).map(|(_, offset, _)| *offset);
                            self.note(batch.partition, batch.records, first);
                            continue;
                        }
                        let message = codes.get(&batch.partition).and_then(|(.., message)| message.clone());
                        let what = format!("{}-{} took no records", self.name, batch.partition);
                        let error = CliError::from_code(&what, code, message.as_deref());
                        if error.exit != Exit::Temporary {
                            return Err(error.at(cluster.address()));
                        }
                        *last = Some(error);
                        again.push(batch);
                    }
                }
                Err(error) if error.exit == Exit::Unreachable => {
                    cluster.forget(leader);
                    *last = Some(error);
                    again.extend(batches);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(again)
    }

    /// Error code, base offset and message by partition.
    async fn send_to(
        &self,
        cluster: &mut Cluster,
        leader: i32,
        batches: &[Sealed],
    ) -> Outcome<BTreeMap<i32, (i16, i64, Option<String>)>> {
        let data = batches.iter().map(|batch| {
            PartitionProduceData::default()
                .with_index(batch.partition)
                .with_records(Some(batch.bytes.clone()))
        });
        let topic = TopicProduceData::default()
            .with_name(self.topic.name.clone().unwrap_or_default())
            .with_topic_id(self.topic.topic_id)
            .with_partition_data(data.collect());
        let request = ProduceRequest::default()
            .with_acks(self.acks.wire())
            .with_timeout_ms(cluster.timeout_ms())
            .with_topic_data(vec![topic]);
        let peer = cluster.broker(leader).await?;
        if self.acks == Acks::None {
            peer.send_silent(&request).await?;
            return Ok(BTreeMap::new());
        }
        let answer = peer.call(&request).await?;
        let partitions = answer.responses.into_iter().flat_map(|topic| topic.partition_responses);
        Ok(partitions
            .map(|p| (p.index, (p.error_code, p.base_offset, p.error_message.map(|text| text.to_string()))))
            .collect())
    }

    fn note(&mut self, partition: i32, records: i32, first: Option<i64>) {
        let first = first.filter(|offset| *offset >= 0);
        let written = self.written.entry(partition).or_insert(Written {
            partition,
            records: 0,
            first_offset: first,
            last_offset: None,
        });
        written.records += u64::try_from(records).unwrap_or_default();
        written.last_offset = first.map(|first| first + i64::from(records) - 1);
    }
}

/// The topic, waiting a moment for the leaders of one that was just created.
async fn find_or_create(cluster: &mut Cluster, name: &str) -> Outcome<MetadataResponseTopic> {
    let clock = Clock::system();
    let deadline = clock.elapsed() + cluster.timeout().min(Duration::from_secs(5));
    let mut asked = 0;
    loop {
        cluster.refresh_with(Some(&[name]), true).await?;
        let code = cluster.metadata().topics.first().map_or(0, |topic| topic.error_code);
        let error = ErrorCode::from_code(code).unwrap_or_default();
        let found = cluster.known_topic(name);
        asked += 1;
        // A broker that creates the topic says "unknown" or "no leader yet" at first; one that does not, "unknown" for ever.
        let may_come = error == ErrorCode::LeaderNotAvailable
            || error == ErrorCode::UnknownTopicOrPartition && asked < 4;
        if found.is_ok() || !may_come || clock.elapsed() >= deadline {
            return found;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// A producer id that is nobody else's. A broker that has no block of ids at hand says so: asked again until the timeout.
async fn producer_id(cluster: &mut Cluster) -> Outcome<(i64, i16)> {
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(i32::MAX)
        .with_producer_id((-1).into())
        .with_producer_epoch(-1);
    let clock = Clock::system();
    let deadline = clock.elapsed() + cluster.timeout();
    let mut pause = PAUSE_MIN;
    loop {
        let answer = cluster.ask(&request).await?;
        if answer.error_code == ErrorCode::None.code() {
            return Ok((answer.producer_id.0, answer.producer_epoch));
        }
        let error = CliError::from_code("no producer id", answer.error_code, None).at(cluster.address());
        if error.exit != Exit::Temporary || clock.elapsed() >= deadline {
            return Err(error);
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
