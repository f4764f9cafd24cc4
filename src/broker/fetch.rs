//! One fetch over many partitions: read what is there, and if it is too little wait once for more (Kafka's `ReplicaManager.readFromLog`
//! and `DelayedFetch`).

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use smallvec::SmallVec;

use super::Broker;
use super::sessions::{FetchPartition, ResumeAt, SessionContext, TopicKey};
use crate::log::{Read, ReadError, ReadOptions, Step};
use crate::metadata::image::ReplicaEntry;
use crate::replication::follower::{self, FetchFrom};
use crate::replication::wait::{News, Waiting};
use crate::replication::{FetchWait, Partition, PartitionError};
use crate::types::seeded::{Bug, seeded};
use crate::types::{LeaderEpoch, Offset};

/// All partitions of a follower are looked at so often while its lag would just be allowed.
const LOOKS_IN_LAG: u32 = 6;

/// Limits and wishes of a fetch.
#[derive(Debug, Clone, Copy)]
pub struct FetchParams {
    /// How long to wait for `min_bytes`.
    pub max_wait: Duration,
    /// Answer at once when this many bytes are there.
    pub min_bytes: usize,
    /// Largest answer, in bytes; the first batch may exceed it.
    pub max_bytes: usize,
    /// Only records below the last stable offset (`read_committed`).
    pub read_committed: bool,
    /// The lifetime of the follower that asks; `None`: a consumer. Followers read up to the log end.
    pub follower: Option<ReplicaEntry>,
}

/// What was read of one partition.
#[derive(Debug)]
pub struct Fetched {
    /// The question.
    pub asked: FetchPartition,
    /// The answer.
    pub outcome: Result<PartitionData, FetchError>,
}

/// Records and offsets of one partition.
#[derive(Debug, Default)]
pub struct PartitionData {
    /// Whole batches, borrowed from the mapped segments.
    pub records: SmallVec<[Bytes; 2]>,
    /// Their size.
    pub size_bytes: usize,
    /// The first offset not committed.
    pub high_watermark: Offset,
    /// The first offset that may belong to an open transaction.
    pub last_stable_offset: Offset,
    /// The first offset kept.
    pub log_start_offset: Offset,
    /// Where the records end that may be read, as of the read.
    pub end: Option<Offset>,
    /// Where the client's log parts from ours: its last fetched epoch ends here (KIP-595).
    pub diverging: Option<(LeaderEpoch, Offset)>,
    /// Where the read ended.
    pub cursor: Option<ResumeAt>,
}

impl Fetched {
    /// High watermark and log start, if the partition was read.
    #[must_use]
    pub fn offsets(&self) -> Option<(Offset, Offset)> {
        self.outcome.as_ref().ok().map(|data| (data.high_watermark, data.log_start_offset))
    }

    /// Something that the session was not told yet.
    #[must_use]
    pub fn is_new(&self) -> bool {
        self.asked.told != self.offsets()
            || match &self.outcome {
                Ok(data) => data.size_bytes > 0 || data.diverging.is_some(),
                Err(_) => true,
            }
    }

    /// There is something to read that found no room in the answer.
    fn is_left_out(&self) -> bool {
        let more = |data: &PartitionData| data.end.is_some_and(|end| end.get() > self.asked.fetch_offset);
        self.outcome.as_ref().is_ok_and(|data| data.size_bytes == 0 && more(data))
    }
}

/// Why a partition was not read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum FetchError {
    /// No partition of that name is held here.
    #[error("unknown topic or partition")]
    UnknownTopicOrPartition,
    /// No topic of that id is known here.
    #[error("unknown topic id")]
    UnknownTopicId,
    /// The offset is outside of the log.
    #[error("offset {offset} is outside of the log, {start} to {end}")]
    OffsetOutOfRange {
        /// As asked.
        offset: i64,
        /// Log start offset.
        start: Offset,
        /// Log end offset.
        end: Offset,
    },
    /// The partition refused.
    #[error(transparent)]
    Partition(#[from] PartitionError),
}

/// Reads `partitions` in their order within the limits of `params`, waiting once for `min_bytes`.
///
/// Answers early on any error and when a partition changes its role, as Kafka, and when `superseded` ends. Cost without waiting: one
/// lookup and one read each.
pub async fn fetch(
    broker: &Broker,
    partitions: Vec<FetchPartition>,
    params: FetchParams,
    superseded: impl Future<Output = ()>,
) -> Vec<Fetched> {
    let resolved: Vec<Resolved> = partitions.into_iter().map(|asked| resolve(broker, asked)).collect();
    let (mut fetched, mut enough) = read_all(&resolved, params).await;
    if enough || params.max_wait.is_zero() {
        return fetched;
    }
    let deadline = tokio::time::sleep(params.max_wait);
    tokio::pin!(deadline, superseded);
    loop {
        let parked = Parked::new(&resolved, lacking_bytes(&fetched, params), params.follower.is_some());
        if !grew(&resolved, &fetched, params) {
            tokio::select! {
                biased;
                () = Waiting(Arc::clone(&parked.wait)) => {}
                () = &mut deadline => {
                    return read_all(&resolved, params).await.0;
                }
                () = &mut superseded => {
                    return read_all(&resolved, params).await.0;
                }
            }
        }
        let ended = parked.wait.was_ended();
        drop(parked);
        (fetched, enough) = read_all(&resolved, params).await;
        if enough || ended {
            return fetched;
        }
    }
}

/// Reads what is new in a session of `follower`, and waits for it if there is nothing. Empty when the next request of the session comes
/// first.
///
/// Cost: one lookup and one read for each partition that is named or has news; for all of them every [`LOOKS_IN_LAG`]th part of
/// `replica.lag.time.max.ms`, so that a follower that has everything counts as caught up.
pub async fn fetch_in_session(
    broker: &Broker,
    session: &SessionContext,
    follower: ReplicaEntry,
    params: FetchParams,
) -> Vec<Fetched> {
    let Some(turn) = session.turn() else { return Vec::new() };
    let news = turn.news();
    let at_least_every = broker.broker_config().replication.lag_max / LOOKS_IN_LAG;
    let deadline = tokio::time::sleep(params.max_wait);
    let superseded = session.superseded();
    tokio::pin!(deadline, superseded);
    let mut is_over = params.max_wait.is_zero();
    loop {
        let now = broker.clock().elapsed();
        let Some(asked) = turn.to_look_at(follower, now, at_least_every) else {
            news.pass_on();
            return Vec::new();
        };
        let (fetched, enough) = look(broker, &news, asked, params).await;
        if enough || is_over {
            return fetched;
        }
        tokio::select! {
            biased;
            () = &mut superseded => return Vec::new(),
            () = news.woken() => {}
            () = &mut deadline => is_over = true,
        }
    }
}

/// Reads `asked`, from now on watched by the session. What is new stays news: whether the follower takes it says its next request.
async fn look(
    broker: &Broker,
    news: &Arc<News>,
    asked: Vec<FetchPartition>,
    params: FetchParams,
) -> (Vec<Fetched>, bool) {
    let resolved: Vec<Resolved> = asked.into_iter().map(|asked| resolve(broker, asked)).collect();
    partitions(&resolved).for_each(|partition| partition.watch(news));
    let (fetched, enough) = read_all(&resolved, params).await;
    let tell = |one: &Fetched| {
        if let TopicKey::Id(topic) = one.asked.topic {
            news.tell((topic, one.asked.index), false);
        }
    };
    // In the order of the next look: who found no room comes first.
    fetched.iter().filter(|one| one.is_left_out()).for_each(tell);
    fetched.iter().filter(|one| one.is_new()).for_each(tell);
    (fetched, enough && !resolved.is_empty())
}

fn lacking_bytes(fetched: &[Fetched], params: FetchParams) -> i64 {
    let have: usize =
        fetched.iter().filter_map(|one| one.outcome.as_ref().ok()).map(|data| data.size_bytes).sum();
    i64::try_from(params.min_bytes.saturating_sub(have)).unwrap_or(i64::MAX)
}

type Resolved = (FetchPartition, Result<Arc<Partition>, FetchError>);

fn resolve(broker: &Broker, asked: FetchPartition) -> Resolved {
    let partition = find(broker, &asked);
    (asked, partition)
}

fn find(broker: &Broker, asked: &FetchPartition) -> Result<Arc<Partition>, FetchError> {
    let topic = match &asked.topic {
        TopicKey::Name(name) => broker.partitions().topic(name),
        TopicKey::Id(id) => broker.partitions().topic_by_id(*id),
    };
    if let Some(partition) = topic.and_then(|topic| topic.partition(asked.index).cloned()) {
        return Ok(partition);
    }
    let (elsewhere, unknown) = match &asked.topic {
        TopicKey::Name(name) => {
            (broker.held_elsewhere(name, asked.index), FetchError::UnknownTopicOrPartition)
        }
        TopicKey::Id(id) => (broker.held_elsewhere_by_id(*id, asked.index), FetchError::UnknownTopicId),
    };
    Err(elsewhere.map_or(unknown, FetchError::Partition))
}

/// Reads every partition once. The flag says whether the answer should leave now: enough bytes, or an error.
async fn read_all(resolved: &[Resolved], params: FetchParams) -> (Vec<Fetched>, bool) {
    let mut fetched = Vec::with_capacity(resolved.len());
    let mut total = 0usize;
    let mut early = resolved.is_empty();
    for (asked, partition) in resolved {
        let outcome = match partition {
            Ok(partition) => read_one(partition, asked, params, total).await,
            Err(error) => Err(error.clone()),
        };
        match &outcome {
            Ok(data) => {
                total += data.size_bytes;
                early |= data.diverging.is_some();
            }
            Err(_) => early = true,
        }
        fetched.push(Fetched { asked: asked.clone(), outcome });
    }
    (fetched, early || total >= params.min_bytes)
}

async fn read_one(
    partition: &Arc<Partition>,
    asked: &FetchPartition,
    params: FetchParams,
    total: usize,
) -> Result<PartitionData, FetchError> {
    partition.check_leader(asked.current_leader_epoch.filter(|_| !seeded(Bug::L8NoEpochCheck)))?;
    if let Step::Pending(recovered) = partition.ready() {
        recovered.await.map_err(ReadError::from).map_err(PartitionError::from)?;
    }
    let log = partition.log();
    let position = |offset| FetchFrom { offset, last_fetched_epoch: asked.last_fetched_epoch };
    let diverging = match (params.follower, Offset::new(asked.fetch_offset)) {
        (_, None) => None,
        // What the follower has is counted before the high watermark is told.
        (Some(follower), Some(offset)) => {
            partition.fetched_by_follower(follower, position(offset), asked.current_leader_epoch)?
        }
        (None, Some(offset)) => follower::divergence(log.as_ref(), position(offset)),
    };
    let mut data = offsets_of(partition);
    if diverging.is_some() {
        data.diverging = diverging;
        return Ok(data);
    }
    let out_of_range = |log_end_offset| FetchError::OffsetOutOfRange {
        offset: asked.fetch_offset,
        start: log.log_start_offset(),
        end: log_end_offset,
    };
    let from = Offset::new(asked.fetch_offset).ok_or_else(|| out_of_range(log.log_end_offset()))?;
    let end = match params.follower {
        Some(_) => log.log_end_offset(),
        None if params.read_committed => data.last_stable_offset,
        None => data.high_watermark,
    };
    if params.follower.is_none() && from > data.high_watermark && seeded(Bug::C3OutOfRange) {
        return Err(out_of_range(log.log_end_offset())); // what rule C3 forbids
    }
    data.end = Some(end);
    let room = params.max_bytes.saturating_sub(total);
    let wanted = usize::try_from(asked.max_bytes).unwrap_or(0).min(room);
    if total > 0 && room == 0 {
        return Ok(data);
    }
    let topic_id = partition.topic_id();
    let resume = asked.cursor.filter(|resume| resume.topic_id == topic_id);
    let options = ReadOptions {
        max_bytes: wanted,
        min_one_batch: total == 0,
        end,
        cursor: resume.map(|resume| resume.cursor),
    };
    let read = match partition.read(from, options) {
        Step::Ready(read) => read,
        Step::Pending(read) => read.await,
    };
    match read {
        Ok(Read { chunks, size_bytes, cursor, .. }) => {
            data.records = chunks;
            data.size_bytes = size_bytes;
            data.cursor = cursor.map(|cursor| ResumeAt { topic_id, cursor });
            Ok(data)
        }
        Err(ReadError::OffsetOutOfRange { .. }) => Err(out_of_range(log.log_end_offset())),
        Err(error) => Err(FetchError::Partition(error.into())),
    }
}

fn offsets_of(partition: &Partition) -> PartitionData {
    let log = partition.log();
    PartitionData {
        high_watermark: log.high_watermark(),
        last_stable_offset: log.last_stable_offset(),
        log_start_offset: log.log_start_offset(),
        ..PartitionData::default()
    }
}

/// Whether anything became readable between the read and the registration of the wait.
fn grew(resolved: &[Resolved], fetched: &[Fetched], params: FetchParams) -> bool {
    resolved.iter().zip(fetched).any(|((_, partition), before)| match (partition, &before.outcome) {
        (Ok(partition), Ok(data)) if params.follower.is_some() => {
            data.end.is_some_and(|end| partition.log().log_end_offset() > end)
        }
        (Ok(partition), Ok(data)) if params.read_committed => {
            partition.log().last_stable_offset() > data.last_stable_offset
        }
        (Ok(partition), Ok(data)) => partition.log().high_watermark() > data.high_watermark,
        _ => false,
    })
}

/// A wait that is registered on every partition of a fetch, and leaves them all when dropped.
struct Parked<'a> {
    wait: Arc<FetchWait>,
    resolved: &'a [Resolved],
    follower: bool,
}

impl<'a> Parked<'a> {
    fn new(resolved: &'a [Resolved], lacking_bytes: i64, follower: bool) -> Self {
        let wait = FetchWait::new(lacking_bytes);
        for partition in partitions(resolved) {
            partition.park(&wait, follower);
        }
        Self { wait, resolved, follower }
    }
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        for partition in partitions(self.resolved) {
            partition.unpark(&self.wait, self.follower);
        }
    }
}

fn partitions(resolved: &[Resolved]) -> impl Iterator<Item = &Arc<Partition>> {
    resolved.iter().filter_map(|(_, partition)| partition.as_ref().ok())
}
