//! Produce (key 0), v3-13 served, advertised from 0 (KAFKA-18659: librdkafka takes no compression otherwise).
//!
//! - v8 record errors and messages, v10 current leader hints (KIP-951), v13 topic ids.
//! - Exactly one v2 batch per partition; a transactional id is refused with a fatal error until transactions are served.
//! - acks=0 gets no answer; if such an append fails the connection is closed, as Kafka does: the client has no other way to know.

use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::{BoxFuture, join_all};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
    TopicProduceResponse,
};
use kafka_protocol::messages::{ProduceRequest, ProduceResponse, TopicName as WireTopicName};
use tracing::debug;

use super::endpoint::{Api, Handled, RequestContext};
use super::errors;
use super::reply::CloseReason;
use super::wire::{Failure, NONE, broker_id, endpoint_of, text};
use crate::broker::{Broker, Topic};
use crate::log::{AppendError, AppendInfo, AppendOptions, Step};
use crate::protocol::error::ErrorCode;
use crate::replication::PartitionError;
use crate::telemetry::metrics;
use crate::types::{BrokerId, LeaderEpoch, TopicId};

const FIRST_VERSION_WITH_TOPIC_IDS: i16 = 13;
const ACKS_ALL: i16 = -1;
const ACKS_NONE: i16 = 0;

pub struct Produce;

impl Api for Produce {
    type Request = ProduceRequest;
    const NAME: &'static str = "Produce";
    const VERSIONS: RangeInclusive<i16> = 3..=13;
    const ADVERTISED_MIN: i16 = 0;

    fn handle(context: &RequestContext, request: ProduceRequest) -> Handled<ProduceResponse> {
        let acks = request.acks;
        let refused = refusal(&request);
        let topics: Vec<TopicAppend> = request
            .topic_data
            .into_iter()
            .map(|topic| append_topic(context, topic, acks, refused.as_ref()))
            .collect();
        let ready = topics.iter().all(TopicAppend::is_ready);
        if acks == ACKS_NONE {
            return silent(topics);
        }
        if ready {
            let topics = topics.into_iter().map(TopicAppend::into_ready).collect();
            return Handled::Now(respond(context, topics));
        }
        let context = context.clone();
        Handled::Later(Box::pin(async move {
            let topics = join_all(topics.into_iter().map(TopicAppend::finish)).await;
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
    request.transactional_id.is_some().then(|| {
        Failure::new(
            ErrorCode::TransactionalIdAuthorizationFailed,
            "this broker does not serve transactions: unset transactional.id",
        )
    })
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
    name: WireTopicName,
    id: uuid::Uuid,
    partitions: Vec<(i32, Pending)>,
}

struct TopicOutcome {
    name: WireTopicName,
    id: uuid::Uuid,
    partitions: Vec<(i32, Outcome)>,
}

impl TopicAppend {
    fn is_ready(&self) -> bool {
        self.partitions.iter().all(|(_, pending)| matches!(pending, Pending::Ready(_)))
    }

    /// The outcomes of a topic whose partitions are all ready; others are left out.
    fn into_ready(self) -> TopicOutcome {
        let ready = self.partitions.into_iter().filter_map(|(index, pending)| match pending {
            Pending::Ready(outcome) => Some((index, outcome)),
            Pending::Later(_) => None,
        });
        TopicOutcome { name: self.name, id: self.id, partitions: ready.collect() }
    }

    async fn finish(self) -> TopicOutcome {
        let mut partitions = Vec::with_capacity(self.partitions.len());
        for (index, pending) in self.partitions {
            let outcome = match pending {
                Pending::Ready(outcome) => outcome,
                Pending::Later(future) => future.await,
            };
            partitions.push((index, outcome));
        }
        TopicOutcome { name: self.name, id: self.id, partitions }
    }
}

fn append_topic(
    context: &RequestContext,
    data: TopicProduceData,
    acks: i16,
    refused: Option<&Failure>,
) -> TopicAppend {
    let topic = find_topic(&context.broker, context.version, &data);
    let partitions = data
        .partition_data
        .into_iter()
        .map(|partition| {
            let pending = match (refused, &topic) {
                (Some(failure), _) => Pending::Ready(Err(ProduceError::Refused(failure.clone()))),
                (None, Err(failure)) => Pending::Ready(Err(ProduceError::Refused(failure.clone()))),
                (None, Ok(topic)) => append(topic, &partition, acks),
            };
            (partition.index, pending)
        })
        .collect();
    TopicAppend { name: data.name, id: data.topic_id, partitions }
}

fn find_topic(broker: &Broker, version: i16, data: &TopicProduceData) -> Result<Arc<Topic>, Failure> {
    if version >= FIRST_VERSION_WITH_TOPIC_IDS {
        return TopicId::new(data.topic_id)
            .and_then(|id| broker.partitions().topic_by_id(id))
            .ok_or_else(|| Failure::new(ErrorCode::UnknownTopicId, "no topic of that id is held here"));
    }
    broker
        .partitions()
        .topic(&data.name)
        .ok_or_else(|| Failure::new(ErrorCode::UnknownTopicOrPartition, "no such topic is held here"))
}

fn append(topic: &Topic, data: &PartitionProduceData, acks: i16) -> Pending {
    let refuse = |failure| Pending::Ready(Err(ProduceError::Refused(failure)));
    let Some(partition) = topic.partition(data.index) else {
        return refuse(Failure::new(ErrorCode::UnknownTopicOrPartition, "no such partition is held here"));
    };
    let Some(records) = data.records.clone().filter(|records: &Bytes| !records.is_empty()) else {
        return refuse(Failure::new(ErrorCode::InvalidRecord, "the request has no record batch for the partition"));
    };
    let required = usize::try_from(topic.config().min_insync_replicas).unwrap_or(usize::MAX);
    match partition.append_as_leader(records, acks == ACKS_ALL, required, AppendOptions::default()) {
        Step::Ready(outcome) => {
            Pending::Ready(outcome.map_err(ProduceError::Partition))
        }
        Step::Pending(future) => Pending::Later(Box::pin(async move {
            future.await.map_err(ProduceError::Partition)
        })),
    }
}

/// acks=0: nothing to say, unless an append already failed. Appends under way finish without us: the log keeps their order.
fn silent(topics: Vec<TopicAppend>) -> Handled<ProduceResponse> {
    let failed = topics.into_iter().map(TopicAppend::into_ready).find_map(|topic| {
        topic.partitions.into_iter().find_map(|(index, outcome)| {
            let failure = failure(&outcome.err()?);
            Some(format!("{}-{index}: {}: {}", topic.name.as_str(), failure.code.name(), failure.message))
        })
    });
    match failed {
        Some(cause) => Handled::Close(CloseReason::SilentProduceFailed(cause)),
        None => Handled::Silent,
    }
}

fn failure(error: &ProduceError) -> Failure {
    match error {
        ProduceError::Refused(failure) => failure.clone(),
        ProduceError::Partition(error) => Failure::new(errors::of_partition(error), error),
    }
}

fn respond(context: &RequestContext, topics: Vec<TopicOutcome>) -> ProduceResponse {
    let mut leaders = Vec::new();
    let responses = topics
        .into_iter()
        .map(|topic| {
            let partitions = topic.partitions.into_iter().map(|(index, outcome)| match outcome {
                Ok(info) => success(index, &info),
                Err(error) => {
                    let failure = failure(&error);
                    debug!(topic = topic.name.as_str(), partition = index, code = failure.code.name(), cause = %failure.message, "produce refused");
                    failed(context, index, &error, failure, &mut leaders)
                }
            });
            TopicProduceResponse::default()
                .with_partition_responses(partitions.collect())
                .with_name(topic.name)
                .with_topic_id(topic.id)
        })
        .collect();
    ProduceResponse::default().with_responses(responses).with_node_endpoints(endpoints(context, &leaders))
}

fn success(index: i32, info: &AppendInfo) -> PartitionProduceResponse {
    if !info.duplicate {
        let records = info.last_offset.distance_from(info.first_offset).unwrap_or(0) + 1;
        metrics::produced(records, info.size_bytes);
    }
    PartitionProduceResponse::default()
        .with_index(index)
        .with_base_offset(info.first_offset.get())
        .with_log_append_time_ms(info.log_append_time_ms.unwrap_or(-1))
        .with_log_start_offset(info.log_start_offset.get())
}

fn failed(
    context: &RequestContext,
    index: i32,
    error: &ProduceError,
    failure: Failure,
    leaders: &mut Vec<BrokerId>,
) -> PartitionProduceResponse {
    let mut response = PartitionProduceResponse::default()
        .with_index(index)
        .with_error_code(failure.code.code())
        .with_base_offset(-1)
        .with_log_append_time_ms(-1)
        .with_log_start_offset(-1)
        .with_error_message(failure.text());
    if let ProduceError::Partition(PartitionError::Append(AppendError::InvalidRecord { index, .. })) = error {
        response.record_errors = index
            .iter()
            .map(|index| {
                BatchIndexAndErrorMessage::default()
                    .with_batch_index(*index)
                    .with_batch_index_error_message(failure.text())
            })
            .collect();
    }
    if let (true, Some((leader, epoch))) = (context.version >= 10, current_leader(error)) {
        response.current_leader = LeaderIdAndEpoch::default()
            .with_leader_id(kafka_protocol::messages::BrokerId(leader.map_or(NONE, BrokerId::get)))
            .with_leader_epoch(epoch.get());
        leaders.extend(leader);
    }
    response
}

/// The leader that a client should turn to (KIP-951).
fn current_leader(error: &ProduceError) -> Option<(Option<BrokerId>, LeaderEpoch)> {
    match error {
        ProduceError::Partition(PartitionError::NotLeader { leader, epoch, .. }) => Some((*leader, *epoch)),
        _ => None,
    }
}

fn endpoints(context: &RequestContext, leaders: &[BrokerId]) -> Vec<NodeEndpoint> {
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
            Some(
                NodeEndpoint::default()
                    .with_node_id(broker_id(broker.id))
                    .with_host(text(&endpoint.host))
                    .with_port(i32::from(endpoint.port))
                    .with_rack(broker.rack.as_ref().map(text)),
            )
        })
        .collect()
}
