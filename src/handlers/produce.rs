//! Produce (key 0), v3-13 served, advertised from 0 (KAFKA-18659: librdkafka takes no compression otherwise).
//!
//! - v8 record errors and messages, v10 current leader hints (KIP-951), v13 topic ids.
//! - Exactly one v2 batch per partition; a transactional id is refused with a fatal error until transactions are served.
//! - acks=0 gets no answer; if such an append fails the connection is closed, as Kafka does: the client has no other way to know.

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use kafka_protocol::protocol::StrBytes;
use smallvec::SmallVec;
use tracing::debug;
use uuid::Uuid;

use super::endpoint::{RawApi, RequestContext};
use super::errors;
use super::refused_batches::{Destination, RefusedBatches, SequencedBatch};
use super::reply::{CloseReason, Reply, Response};
use super::wire::{Failure, NONE, endpoint_of, is_internal, text};
use crate::broker::{Broker, Topic};
use crate::log::{AppendError, AppendInfo, AppendOptions, Step};
use crate::protocol::batch::BatchHeader;
use crate::protocol::error::ErrorCode;
use crate::protocol::produce_body::{
    CurrentLeader, NodeEndpoint, PRODUCE_KEY, PartitionAnswer, ProduceRequest, ProduceResponse,
    ProducedPartition, ProducedTopic, RecordErrorAnswer, TopicAnswer,
};
use crate::replication::{Acks, PartitionError};
use crate::telemetry::metrics;
use crate::types::{BrokerId, TopicId};

const FIRST_VERSION_WITH_TOPIC_IDS: i16 = 13;
const ACKS_ALL: i16 = -1;
const ACKS_NONE: i16 = 0;
/// `AdminUtils.ADMIN_CLIENT_ID`.
const ADMIN_CLIENT: &str = "__admin_client";

pub struct Produce;

impl RawApi for Produce {
    const KEY: i16 = PRODUCE_KEY;
    const NAME: &'static str = "Produce";
    const VERSIONS: RangeInclusive<i16> = 3..=13;
    const ADVERTISED_MIN: i16 = 0;

    fn call(context: &RequestContext, body: Bytes) -> Reply {
        let request = match ProduceRequest::decode(&body, context.version) {
            Ok(request) => request,
            Err(cause) => return Reply::Close(CloseReason::Malformed(format!("Produce: {cause}"))),
        };
        let acks = request.acks;
        let refused = refusal(&request);
        let how = acknowledgement(context, acks, request.timeout_ms);
        let topics: SmallVec<[TopicAppend; 1]> = request
            .topics
            .into_iter()
            .map(|topic| append_topic(context, topic, how, refused.as_ref()))
            .collect();
        if acks == ACKS_NONE {
            return silent(topics);
        }
        if topics.iter().all(TopicAppend::is_ready) {
            let topics = topics.into_iter().map(TopicAppend::into_ready);
            return Reply::Now(respond(context, topics));
        }
        let context = context.clone();
        Reply::Later(Box::pin(async move {
            let refused_batches = &context.connection.refused_batches;
            let topics = join_all(topics.into_iter().map(|topic| topic.finish(refused_batches))).await;
            respond(&context, topics)
        }))
    }
}

/// What makes the whole request invalid.
fn refusal(request: &ProduceRequest) -> Option<Failure> {
    if !(ACKS_ALL..=1).contains(&request.acks) {
        let message = format!("acks={} is none of -1, 0 and 1", request.acks);
        return Some(Failure::new(ErrorCode::InvalidRequiredAcks, message));
    }
    request.transactional_id.is_some().then(no_transactions)
}

/// What the request waits for. Past the deadline of this broker's lease others may lead already (rule L12).
fn acknowledgement(context: &RequestContext, acks: i16, timeout_ms: i32) -> Acks {
    let within = Duration::from_millis(u64::try_from(timeout_ms).unwrap_or(0));
    let serves_anyhow = context.broker.broker_config().etcd.outage_acks1_serve;
    Acks {
        all_within: (acks == ACKS_ALL).then_some(within),
        lease_over: !serves_anyhow && context.broker.metadata().is_fenced(),
    }
}

fn no_transactions() -> Failure {
    Failure::new(
        ErrorCode::TransactionalIdAuthorizationFailed,
        "this broker does not serve transactions: unset transactional.id",
    )
}

/// A partition's append: its outcome, now or later.
enum Pending {
    Ready(Outcome),
    Later(BoxFuture<'static, Outcome>),
}

type Outcome = Result<AppendInfo, ProduceError>;

enum ProduceError {
    Refused(Failure),
    Partition(PartitionError),
}

struct TopicAppend {
    name: StrBytes,
    id: Uuid,
    partitions: SmallVec<[PartitionAppend; 1]>,
}

struct PartitionAppend {
    index: i32,
    /// Of an idempotent producer, if the outcome is to be remembered.
    batch: Option<SequencedBatch>,
    pending: Pending,
}

struct TopicOutcome {
    name: StrBytes,
    id: Uuid,
    partitions: SmallVec<[(i32, Outcome); 1]>,
}

impl TopicAppend {
    fn is_ready(&self) -> bool {
        self.partitions.iter().all(|partition| matches!(partition.pending, Pending::Ready(_)))
    }

    /// The outcomes of a topic whose partitions are all ready; others are left out.
    fn into_ready(self) -> TopicOutcome {
        let ready = self.partitions.into_iter().filter_map(|partition| match partition.pending {
            Pending::Ready(outcome) => Some((partition.index, outcome)),
            Pending::Later(_) => None,
        });
        TopicOutcome { name: self.name, id: self.id, partitions: ready.collect() }
    }

    async fn finish(self, refused_batches: &RefusedBatches) -> TopicOutcome {
        let mut partitions = SmallVec::with_capacity(self.partitions.len());
        for PartitionAppend { index, batch, pending } in self.partitions {
            let outcome = match pending {
                Pending::Ready(outcome) => outcome,
                Pending::Later(future) => {
                    let outcome = future.await;
                    if let Some(batch) = batch {
                        let to = Destination { name: &self.name, id: self.id, index };
                        refused_batches.note(to, &batch, outcome.is_ok());
                    }
                    outcome
                }
            };
            partitions.push((index, outcome));
        }
        TopicOutcome { name: self.name, id: self.id, partitions }
    }
}

fn append_topic(
    context: &RequestContext,
    data: ProducedTopic,
    acks: Acks,
    refused: Option<&Failure>,
) -> TopicAppend {
    let topic = find_topic(&context.broker, context.version, &data).and_then(|topic| {
        // `ReplicaManager.appendRecords`: only the administrator's client may write where a coordinator keeps its state.
        let allowed = !is_internal(topic.name.as_str())
            || context.client_id.as_ref().is_some_and(|client| client.as_str() == ADMIN_CLIENT);
        if allowed { Ok(topic) } else { Err(internal(&topic)) }
    });
    let refused_batches = &context.connection.refused_batches;
    let partitions = data
        .partitions
        .into_iter()
        .map(|partition| {
            let index = partition.index;
            let header = partition.records.as_ref().and_then(|records| BatchHeader::parse(records).ok());
            let batch = header.as_ref().and_then(SequencedBatch::of);
            let to = Destination { name: &data.name, id: data.id, index };
            let pending = match (refused, &topic) {
                (Some(failure), _) => Pending::Ready(Err(ProduceError::Refused(failure.clone()))),
                (None, Err(failure)) => {
                    let unknown = failure.code != ErrorCode::InvalidTopicException;
                    let elsewhere = unknown
                        .then(|| elsewhere(&context.broker, context.version, &data.name, data.id, index))
                        .flatten();
                    Pending::Ready(Err(elsewhere.unwrap_or_else(|| ProduceError::Refused(failure.clone()))))
                }
                (None, Ok(topic)) => {
                    let begins_at = batch.and_then(|batch| refused_batches.comes_before(to, &batch));
                    let options = AppendOptions { begins_at, ..AppendOptions::default() };
                    append(&context.broker, topic, partition, header.as_ref(), acks, options)
                }
            };
            if let (Some(batch), Pending::Ready(outcome)) = (&batch, &pending) {
                refused_batches.note(to, batch, outcome.is_ok());
            }
            PartitionAppend { index, batch, pending }
        })
        .collect();
    TopicAppend { name: data.name, id: data.id, partitions }
}

fn internal(topic: &Topic) -> Failure {
    let message = format!("{} is the group coordinator's: clients cannot write to it", topic.name);
    Failure::new(ErrorCode::InvalidTopicException, message)
}

fn find_topic(broker: &Broker, version: i16, data: &ProducedTopic) -> Result<Arc<Topic>, Failure> {
    if version >= FIRST_VERSION_WITH_TOPIC_IDS {
        return TopicId::new(data.id)
            .and_then(|id| broker.partitions().topic_by_id(id))
            .ok_or_else(|| Failure::new(ErrorCode::UnknownTopicId, "no topic of that id is held here"));
    }
    broker
        .partitions()
        .topic(&data.name)
        .ok_or_else(|| Failure::new(ErrorCode::UnknownTopicOrPartition, "no such topic is held here"))
}

/// A partition that other brokers hold, by the image: the client is told whom to turn to.
fn elsewhere(broker: &Broker, version: i16, name: &str, id: Uuid, index: i32) -> Option<ProduceError> {
    let error = if version >= FIRST_VERSION_WITH_TOPIC_IDS {
        broker.held_elsewhere_by_id(TopicId::new(id)?, index)
    } else {
        broker.held_elsewhere(name, index)
    };
    error.map(ProduceError::Partition)
}

fn append(
    broker: &Broker,
    topic: &Topic,
    data: ProducedPartition,
    header: Option<&BatchHeader>,
    acks: Acks,
    options: AppendOptions,
) -> Pending {
    let refuse = |failure| Pending::Ready(Err(ProduceError::Refused(failure)));
    let Some(partition) = topic.partition(data.index) else {
        if let Some(error) = broker.held_elsewhere_by_id(topic.id, data.index) {
            return Pending::Ready(Err(ProduceError::Partition(error)));
        }
        return refuse(Failure::new(ErrorCode::UnknownTopicOrPartition, "no such partition is held here"));
    };
    let Some(records) = data.records.filter(|records| !records.is_empty()) else {
        return refuse(Failure::new(
            ErrorCode::InvalidRecord,
            "the request has no record batch for the partition",
        ));
    };
    // As a request with a transactional id: nobody could end the transaction.
    if header.is_some_and(BatchHeader::is_transactional) {
        return refuse(no_transactions());
    }
    match partition.append_as_leader(records, acks, options) {
        Step::Ready(outcome) => Pending::Ready(outcome.map_err(ProduceError::Partition)),
        Step::Pending(future) => {
            Pending::Later(Box::pin(async move { future.await.map_err(ProduceError::Partition) }))
        }
    }
}

/// acks=0: nothing to say, unless an append already failed. Appends under way finish without us: the log keeps their order.
fn silent(topics: SmallVec<[TopicAppend; 1]>) -> Reply {
    let failed = topics.into_iter().map(TopicAppend::into_ready).find_map(|topic| {
        topic.partitions.into_iter().find_map(|(index, outcome)| {
            let failure = failure(&outcome.err()?);
            Some(format!("{}-{index}: {}: {}", topic.name, failure.code.name(), failure.message))
        })
    });
    match failed {
        Some(cause) => Reply::Close(CloseReason::SilentProduceFailed(cause)),
        None => Reply::Silent,
    }
}

fn failure(error: &ProduceError) -> Failure {
    match error {
        ProduceError::Refused(failure) => failure.clone(),
        ProduceError::Partition(error) => Failure::new(errors::of_partition(error), error),
    }
}

fn respond(context: &RequestContext, topics: impl IntoIterator<Item = TopicOutcome>) -> Response {
    let mut leaders = Vec::new();
    let topics = topics
        .into_iter()
        .map(|topic| {
            let partitions = topic.partitions.into_iter().map(|(index, outcome)| match outcome {
                Ok(info) => success(index, &info),
                Err(error) => {
                    let failure = failure(&error);
                    debug!(topic = %topic.name, partition = index, code = failure.code.name(), cause = %failure.message, "produce refused");
                    metrics::request_error(PRODUCE_KEY, failure.code.code());
                    failed(index, &error, &failure, &mut leaders)
                }
            });
            TopicAnswer { partitions: partitions.collect(), name: topic.name, id: topic.id }
        })
        .collect();
    let response =
        ProduceResponse { topics, throttle_time_ms: 0, node_endpoints: node_endpoints(context, &leaders) };
    Response::from(response.encode_frame(context.version, context.correlation_id))
}

fn success(index: i32, info: &AppendInfo) -> PartitionAnswer {
    if !info.duplicate {
        let records = info.last_offset.distance_from(info.first_offset).unwrap_or(0) + 1;
        metrics::produced(records, info.size_bytes);
    }
    PartitionAnswer {
        base_offset: info.first_offset.get(),
        log_append_time_ms: info.log_append_time_ms.unwrap_or(-1),
        log_start_offset: info.log_start_offset.get(),
        ..PartitionAnswer::new(index)
    }
}

fn failed(
    index: i32,
    error: &ProduceError,
    failure: &Failure,
    leaders: &mut Vec<BrokerId>,
) -> PartitionAnswer {
    let mut answer = PartitionAnswer::failed(index, failure.code);
    answer.error_message = failure.text();
    if let ProduceError::Partition(PartitionError::Append(
        AppendError::InvalidRecord { index: Some(record), .. }
        | AppendError::InvalidTimestamp { index: record, .. },
    )) = error
    {
        answer.record_errors = vec![RecordErrorAnswer { batch_index: *record, message: failure.text() }];
    }
    // The leader that a client should turn to (KIP-951).
    if let ProduceError::Partition(PartitionError::NotLeader { leader, epoch, .. }) = error {
        let leader_id = leader.map_or(NONE, BrokerId::get);
        answer.current_leader = Some(CurrentLeader { leader_id, leader_epoch: epoch.get() });
        leaders.extend(*leader);
    }
    answer
}

/// The endpoints, for this connection's listener, of the brokers that answers name as leaders. Shared with Fetch.
pub fn node_endpoints(context: &RequestContext, leaders: &[BrokerId]) -> Vec<NodeEndpoint> {
    if leaders.is_empty() {
        return Vec::new();
    }
    let image = context.broker.image();
    image
        .brokers
        .values()
        .filter(|broker| leaders.contains(&broker.id))
        .filter_map(|broker| {
            let endpoint = endpoint_of(&broker.endpoints, &context.connection.listener)?;
            Some(NodeEndpoint {
                node_id: broker.id.get(),
                host: text(&endpoint.host),
                port: i32::from(endpoint.port),
                rack: broker.rack.as_ref().map(text),
            })
        })
        .collect()
}
