//! Fetch (key 1), v4-18. Reads many partitions, waits for data, keeps sessions.
//!
//! - v5 log start offset, v7 sessions (KIP-227), v9 leader epochs (KIP-320), v12 last fetched epoch and divergence (KIP-595),
//!   v13 topic ids (KIP-516), v15 replica state (KIP-903), v16 node endpoints (KIP-951). v17 and v18 carry what only followers say.
//! - The answer's records are pieces of mapped segments: the body is encoded around them ([`FetchBody`]).
//! - A follower says which lifetime of which broker it is (v15+); it reads up to the log end and is counted (rules L3, L9).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use bytes::Bytes;
use uuid::Uuid;

use super::endpoint::{RawApi, RequestContext};
use super::errors;
use super::produce::node_endpoints;
use super::reply::{CloseReason, Reply, Response};
use super::wire::{leader_epoch, text};
use crate::broker::fetch::{self, FetchError, FetchParams, Fetched, PartitionData};
use crate::broker::sessions::{FetchPartition, SessionContext, SessionRequest, TopicKey};
use crate::log::ReadError;
use crate::metadata::image::ReplicaEntry;
use crate::protocol::fetch_body::{
    CurrentLeader, EpochEndOffset, FETCH_KEY, FetchResponse as FetchBody, FetchedPartition, FetchedTopic,
};
use crate::protocol::fetch_request::FetchRequest;
use crate::replication::PartitionError;
use crate::telemetry::metrics;
use crate::types::{BrokerEpoch, BrokerId, Offset, TopicId};

const FIRST_VERSION_WITH_TOPIC_IDS: i16 = 13;
const FIRST_VERSION_WITH_ENDPOINTS: i16 = 16;
const READ_COMMITTED: i8 = 1;

pub struct Fetch;

impl RawApi for Fetch {
    const KEY: i16 = FETCH_KEY;
    const NAME: &'static str = "Fetch";
    const VERSIONS: RangeInclusive<i16> = 4..=18;

    fn call(context: &RequestContext, body: Bytes) -> Reply {
        let request = match FetchRequest::decode(&body, context.version) {
            Ok(request) => request,
            Err(cause) => return Reply::Close(CloseReason::Malformed(format!("Fetch: {cause}"))),
        };
        // The session is entered in the order of the connection: epochs must be seen as they were sent.
        let asked = Asked::of(context, &request);
        let begun = context.broker.sessions().begin(
            asked.session,
            asked.partitions,
            &asked.forgotten,
            context.broker.clock().elapsed(),
        );
        let context = context.clone();
        let (session, named) = match begun {
            Ok(begun) => begun,
            Err(error) => {
                let body = FetchBody { error: errors::of_session(error), ..FetchBody::default() };
                return Reply::Now(encode(&context, &body));
            }
        };
        let of_follower =
            asked.params.follower.filter(|_| asked.session.uses_ids && session.turn().is_some());
        match of_follower {
            Some(follower) => Reply::Later(Box::pin(async move {
                let fetched =
                    fetch::fetch_in_session(&context.broker, &session, follower, asked.params).await;
                encode(&context, &respond(&context, &session, fetched, asked.params))
            })),
            None => {
                let partitions = session.partitions(named);
                let superseded = session.superseded();
                Reply::Later(Box::pin(async move {
                    let fetched = fetch::fetch(&context.broker, partitions, asked.params, superseded).await;
                    encode(&context, &respond(&context, &session, fetched, asked.params))
                }))
            }
        }
    }
}

/// A request in our terms.
struct Asked {
    session: SessionRequest,
    partitions: Vec<FetchPartition>,
    forgotten: Vec<(TopicKey, i32)>,
    params: FetchParams,
}

impl Asked {
    fn of(context: &RequestContext, request: &FetchRequest) -> Self {
        let uses_ids = context.version >= FIRST_VERSION_WITH_TOPIC_IDS;
        let key = |name: &str, id: Uuid| {
            if uses_ids {
                TopicKey::Id(TopicId::new(id).unwrap_or(TopicId::ZERO))
            } else {
                TopicKey::Name(name.to_owned())
            }
        };
        let mut partitions = Vec::new();
        for topic in &request.topics {
            let key = key(&topic.name, topic.id);
            partitions.extend(topic.partitions.iter().map(|partition| FetchPartition {
                topic: key.clone(),
                index: partition.index,
                fetch_offset: partition.fetch_offset,
                max_bytes: partition.max_bytes,
                current_leader_epoch: leader_epoch(partition.current_leader_epoch),
                last_fetched_epoch: leader_epoch(partition.last_fetched_epoch),
                cursor: None,
                told: None,
            }));
        }
        let forgotten = request
            .forgotten_topics
            .iter()
            .flat_map(|topic| {
                let key = key(&topic.name, topic.id);
                topic.partitions.iter().map(move |index| (key.clone(), *index))
            })
            .collect();
        let limit = context.broker.broker_config().fetch_max_bytes;
        let params = FetchParams {
            max_wait: Duration::from_millis(u64::try_from(request.max_wait_ms).unwrap_or(0)),
            min_bytes: usize::try_from(request.min_bytes).unwrap_or(0),
            max_bytes: usize::try_from(request.max_bytes).unwrap_or(0).min(limit),
            read_committed: request.isolation_level == READ_COMMITTED,
            follower: (request.replica_id >= 0).then_some(ReplicaEntry {
                id: BrokerId(request.replica_id),
                epoch: BrokerEpoch(request.replica_epoch),
            }),
        };
        Self {
            session: SessionRequest {
                id: request.session_id,
                epoch: request.session_epoch,
                uses_ids,
                follower: uses_ids && params.follower.is_some(),
            },
            partitions,
            forgotten,
            params,
        }
    }
}

/// The answer; in an incremental session only partitions with something new.
fn respond(
    context: &RequestContext,
    session: &SessionContext,
    fetched: Vec<Fetched>,
    params: FetchParams,
) -> FetchBody {
    let mut topics: Vec<FetchedTopic> = Vec::new();
    let mut places: BTreeMap<TopicKey, usize> = BTreeMap::new();
    let mut leaders = Vec::new();
    let mut bytes = 0;
    for one in fetched {
        let new = one.is_new();
        let (size, cursor) = one.outcome.as_ref().map_or((0, None), |data| (data.size_bytes, data.cursor));
        if let Some(turn) = session.turn() {
            turn.answered(&one.asked, one.offsets(), cursor, size > 0);
        }
        if matches!(session, SessionContext::Incremental(..)) && !new {
            continue;
        }
        bytes += size;
        let place = *places.entry(one.asked.topic.clone()).or_insert_with(|| {
            topics.push(topic_of(&one.asked.topic));
            topics.len() - 1
        });
        if let Some(topic) = topics.get_mut(place) {
            topic.partitions.push(partition_of(context, one, params, &mut leaders));
        }
    }
    metrics::fetched(bytes);
    FetchBody {
        session_id: session.id(),
        topics,
        node_endpoints: node_endpoints(context, &leaders),
        ..FetchBody::default()
    }
}

fn topic_of(key: &TopicKey) -> FetchedTopic {
    match key {
        TopicKey::Name(name) => FetchedTopic { name: text(name), ..FetchedTopic::default() },
        TopicKey::Id(id) => FetchedTopic { id: id.uuid(), ..FetchedTopic::default() },
    }
}

fn partition_of(
    context: &RequestContext,
    one: Fetched,
    params: FetchParams,
    leaders: &mut Vec<BrokerId>,
) -> FetchedPartition {
    let index = one.asked.index;
    match one.outcome {
        Ok(data) => with_data(index, data, params.read_committed),
        Err(error) => {
            let code = errors::of_fetch(&error);
            metrics::request_error(FETCH_KEY, code.code());
            let mut partition = FetchedPartition::failed(index, code);
            if let FetchError::Partition(PartitionError::NotLeader { leader: Some(leader), epoch, .. }) =
                &error
                && context.version >= FIRST_VERSION_WITH_ENDPOINTS
            {
                partition.current_leader =
                    Some(CurrentLeader { leader_id: leader.get(), leader_epoch: epoch.get() });
                leaders.push(*leader);
            }
            if let Some((start, end)) = bounds(&error).filter(|_| params.follower.is_some()) {
                partition.log_start_offset = start.get();
                partition.high_watermark = end.get();
            }
            partition
        }
    }
}

/// Start and end of the log that a follower asked beyond: it must know both to go on (rule F8), and Kafka's has to ask ListOffsets.
const fn bounds(error: &FetchError) -> Option<(Offset, Offset)> {
    match error {
        FetchError::OffsetOutOfRange { start, end, .. }
        | FetchError::Partition(PartitionError::Read(ReadError::OffsetOutOfRange { start, end, .. })) => {
            Some((*start, *end))
        }
        _ => None,
    }
}

fn with_data(index: i32, data: PartitionData, read_committed: bool) -> FetchedPartition {
    FetchedPartition {
        high_watermark: data.high_watermark.get(),
        last_stable_offset: data.last_stable_offset.get(),
        log_start_offset: data.log_start_offset.get(),
        // There are no transactions, so none were aborted; a reader that did not ask gets null.
        aborted_transactions: read_committed.then(Vec::new),
        diverging_epoch: data
            .diverging
            .map(|(epoch, end)| EpochEndOffset { epoch: epoch.get(), end_offset: end.get() }),
        records: data.records,
        ..FetchedPartition::new(index)
    }
}

fn encode(context: &RequestContext, body: &FetchBody) -> Response {
    Response { chunks: body.encode_frame(context.version, context.correlation_id) }
}
