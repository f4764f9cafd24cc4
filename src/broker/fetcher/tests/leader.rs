//! A leader for tests: a socket, fetch sessions, and real partitions behind them; some answers are what a test says.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::ApiVersion;
use kafka_protocol::messages::{ApiVersionsResponse, ResponseHeader};
use kafka_protocol::protocol::Encodable as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::broker::sessions::{FetchPartition, FetchSessions, SessionContext, SessionRequest, TopicKey};
use crate::log::{ReadError, ReadOptions};
use crate::metadata::image::ReplicaEntry;
use crate::protocol::error::ErrorCode;
use crate::protocol::fetch_body::{EpochEndOffset, FetchResponse, FetchedPartition, FetchedTopic};
use crate::protocol::fetch_request::FetchRequest;
use crate::protocol::header;
use crate::replication::follower::FetchFrom;
use crate::replication::{Partition, PartitionError};
use crate::types::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, TopicId};

/// What a test says of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Its records have a wrong CRC.
    Corrupt,
    /// It answers an error.
    Error(ErrorCode),
}

/// What is behind the socket, whatever becomes of the socket.
pub struct Leader {
    pub partitions: Vec<Arc<Partition>>,
    pub faults: Mutex<BTreeMap<i32, Fault>>,
    /// Positions that were asked, by partition: where and with which epoch of the last record.
    pub asked: Mutex<Vec<(i32, i64, i32)>>,
    pub senders: Mutex<BTreeSet<(i32, i64)>>,
    /// How long each request would wait, in ms.
    pub waits: Mutex<Vec<i32>>,
    pub divergences: AtomicUsize,
    pub connections: AtomicUsize,
    /// Looks at every position that is asked.
    pub look: Mutex<Option<Look>>,
    sessions: FetchSessions,
}

/// Is shown partitions and positions.
type Look = Box<dyn Fn(i32, i64) + Send>;

/// The socket. Its end closes all connections.
pub struct Served {
    pub address: String,
    tasks: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.tasks.lock().unwrap().iter().for_each(JoinHandle::abort);
    }
}

impl Leader {
    pub fn new(partitions: Vec<Arc<Partition>>) -> Arc<Self> {
        Arc::new(Self {
            partitions,
            faults: Mutex::default(),
            asked: Mutex::default(),
            senders: Mutex::default(),
            waits: Mutex::default(),
            divergences: AtomicUsize::new(0),
            connections: AtomicUsize::new(0),
            look: Mutex::default(),
            sessions: FetchSessions::new(100),
        })
    }

    pub async fn serve(self: &Arc<Self>) -> Served {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let tasks: Arc<Mutex<Vec<JoinHandle<()>>>> = Arc::default();
        let (leader, all) = (Arc::clone(self), Arc::clone(&tasks));
        let accept = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                leader.connections.fetch_add(1, Ordering::SeqCst);
                let serving = tokio::spawn(Arc::clone(&leader).converse(socket));
                all.lock().unwrap().push(serving);
            }
        });
        tasks.lock().unwrap().push(accept);
        Served { address, tasks }
    }

    /// Requests are begun in their order and answered in it, as the broker does.
    async fn converse(self: Arc<Self>, socket: TcpStream) {
        let (mut read, mut write) = socket.into_split();
        let (answers, mut to_send) = mpsc::channel::<JoinHandle<Bytes>>(16);
        let reading = async {
            loop {
                let Ok(size) = read.read_u32().await else { return };
                let mut frame = vec![0; size as usize];
                if read.read_exact(&mut frame).await.is_err() {
                    return;
                }
                let (header, body) = header::parse(&Bytes::from(frame)).unwrap();
                let answer = match header.api_key {
                    18 => tokio::spawn(std::future::ready(versions(header.correlation_id))),
                    1 => self.fetch(header.api_version, header.correlation_id, &body),
                    other => panic!("a follower sent api {other}"),
                };
                if answers.send(answer).await.is_err() {
                    return;
                }
            }
        };
        let writing = async {
            while let Some(answer) = to_send.recv().await {
                let Ok(answer) = answer.await else { return };
                if write.write_all(&answer).await.is_err() {
                    return;
                }
            }
        };
        tokio::select! {
            () = reading => {}
            () = writing => {}
        }
    }

    fn fetch(self: &Arc<Self>, version: i16, correlation_id: i32, body: &Bytes) -> JoinHandle<Bytes> {
        let request = FetchRequest::decode(body, version).unwrap();
        let from =
            ReplicaEntry { id: BrokerId(request.replica_id), epoch: BrokerEpoch(request.replica_epoch) };
        self.senders.lock().unwrap().insert((from.id.get(), from.epoch.get()));
        self.waits.lock().unwrap().push(request.max_wait_ms);
        let key = |id| TopicKey::Id(TopicId::new(id).unwrap());
        let leader_epoch = |raw: i32| (raw >= 0).then_some(LeaderEpoch(raw));
        let wanted = request.topics.iter().flat_map(|topic| {
            topic.partitions.iter().map(|it| FetchPartition {
                topic: key(topic.id),
                index: it.index,
                fetch_offset: it.fetch_offset,
                max_bytes: it.max_bytes,
                current_leader_epoch: leader_epoch(it.current_leader_epoch),
                last_fetched_epoch: leader_epoch(it.last_fetched_epoch),
                cursor: None,
                told: None,
            })
        });
        let forgotten: Vec<_> = request
            .forgotten_topics
            .iter()
            .flat_map(|topic| topic.partitions.iter().map(|index| (key(topic.id), *index)))
            .collect();
        let (id, epoch) = (request.session_id, request.session_epoch);
        let session = SessionRequest { id, epoch, uses_ids: true, follower: false };
        let begun = self.sessions.begin(session, wanted.collect(), &forgotten, Duration::ZERO);
        let frame = move |response: &FetchResponse| {
            Bytes::from(response.encode_frame(version, correlation_id).concat())
        };
        let (session, partitions) = match begun {
            Ok((session, named)) => {
                let partitions = session.partitions(named);
                (session, partitions)
            }
            Err(_) => {
                let refused =
                    FetchResponse { error: ErrorCode::FetchSessionIdNotFound, ..FetchResponse::default() };
                return tokio::spawn(std::future::ready(frame(&refused)));
            }
        };
        let superseded = session.superseded();
        let leader = Arc::clone(self);
        let wait = Duration::from_millis(request.max_wait_ms.unsigned_abs().into());
        tokio::spawn(async move {
            let deadline = tokio::time::sleep(wait);
            tokio::pin!(deadline, superseded);
            loop {
                let answers = leader.answer(from, &session, &partitions).await;
                let mut is_over = !answers.is_empty();
                if !is_over {
                    tokio::select! {
                        () = &mut deadline => is_over = true,
                        () = &mut superseded => is_over = true,
                        () = tokio::time::sleep(Duration::from_millis(2)) => {}
                    }
                }
                if is_over {
                    let id = leader.partitions[0].topic_id().uuid();
                    let topics = match answers.is_empty() {
                        true => Vec::new(),
                        false => vec![FetchedTopic { id, partitions: answers, ..FetchedTopic::default() }],
                    };
                    return frame(&FetchResponse {
                        session_id: session.id(),
                        topics,
                        ..FetchResponse::default()
                    });
                }
            }
        })
    }

    /// What there is to say, of partitions that have something new.
    async fn answer(
        &self,
        from: ReplicaEntry,
        session: &SessionContext,
        partitions: &[FetchPartition],
    ) -> Vec<FetchedPartition> {
        let mut answers = Vec::new();
        for asked in partitions {
            let one = self.answer_one(from, asked).await;
            let told = Offset::new(one.high_watermark).zip(Offset::new(one.log_start_offset));
            let is_new = !one.error.is_none() || one.diverging_epoch.is_some() || !one.records.is_empty();
            let turn = session.turn().unwrap();
            let held = turn.session().in_order();
            let before = held.iter().find(|it| it.index == asked.index).and_then(|it| it.told);
            turn.answered(asked, told, None, !one.records.is_empty());
            if is_new || before != told {
                answers.push(one);
            }
        }
        answers
    }

    async fn answer_one(&self, from: ReplicaEntry, asked: &FetchPartition) -> FetchedPartition {
        let index = asked.index;
        let last = asked.last_fetched_epoch.map_or(-1, LeaderEpoch::get);
        self.asked.lock().unwrap().push((index, asked.fetch_offset, last));
        if let Some(look) = self.look.lock().unwrap().as_ref() {
            look(index, asked.fetch_offset);
        }
        let fault = self.faults.lock().unwrap().get(&index).copied();
        if let Some(Fault::Error(error)) = fault {
            return FetchedPartition::failed(index, error);
        }
        let partition = &self.partitions[index as usize];
        partition.ready().wait().await.unwrap();
        let log = partition.log();
        let offset = Offset::new(asked.fetch_offset).unwrap();
        let position = FetchFrom { offset, last_fetched_epoch: asked.last_fetched_epoch };
        let mut one = FetchedPartition::new(index);
        match partition.fetched_by_follower(from, position, asked.current_leader_epoch) {
            Ok(None) => {}
            Ok(Some((epoch, end))) => {
                self.divergences.fetch_add(1, Ordering::SeqCst);
                one.diverging_epoch = Some(EpochEndOffset { epoch: epoch.get(), end_offset: end.get() });
            }
            Err(PartitionError::Read(ReadError::OffsetOutOfRange { start, end, .. })) => {
                one.error = ErrorCode::OffsetOutOfRange;
                one.log_start_offset = start.get();
                one.high_watermark = end.get();
                return one;
            }
            Err(error) => {
                let code = match error {
                    PartitionError::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
                    PartitionError::UnknownLeaderEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
                    _ => ErrorCode::NotLeaderOrFollower,
                };
                return FetchedPartition::failed(index, code);
            }
        }
        one.high_watermark = log.high_watermark().get();
        one.last_stable_offset = one.high_watermark;
        one.log_start_offset = log.log_start_offset().get();
        if one.diverging_epoch.is_none() {
            let end = log.log_end_offset();
            // A few batches at a time: many rounds.
            let options = ReadOptions { max_bytes: 300, min_one_batch: true, end, cursor: None };
            let read = log.read(offset, options).wait().await.unwrap();
            let mut records = read.chunks.concat();
            if fault == Some(Fault::Corrupt)
                && let Some(last) = records.last_mut()
            {
                *last ^= 1;
            }
            if !records.is_empty() {
                one.records.push(Bytes::from(records));
            }
        }
        one
    }
}

fn versions(correlation_id: i32) -> Bytes {
    let fetch = ApiVersion::default().with_api_key(1).with_min_version(4).with_max_version(18);
    let response = ApiVersionsResponse::default().with_api_keys(vec![fetch]);
    let mut frame = BytesMut::new();
    ResponseHeader::default().with_correlation_id(correlation_id).encode(&mut frame, 0).unwrap();
    response.encode(&mut frame, 3).unwrap();
    let mut whole = BytesMut::from(&u32::try_from(frame.len()).unwrap().to_be_bytes()[..]);
    whole.extend_from_slice(frame.chunk());
    whole.freeze()
}
