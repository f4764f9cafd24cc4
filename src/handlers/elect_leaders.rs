//! ElectLeaders (key 43), v0-2. Preferred and unclean elections (KIP-460); any broker takes it.
//!
//! - v0 knows the preferred election only, and no error of the whole.
//! - No partitions named means all; those that have the right leader are then not in the answer, as in Kafka.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use kafka_protocol::messages::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use kafka_protocol::messages::{ElectLeadersRequest, ElectLeadersResponse, TopicName as WireTopicName};

use super::endpoint::{Api, Handled, RequestContext};
use super::errors;
use super::wire::{Failure, text};
use crate::broker::elections::{Elect, ElectError, ElectionKind, is_not_needed};
use crate::metadata::image::ClusterImage;
use crate::protocol::error::ErrorCode;

pub struct ElectLeaders;

impl Api for ElectLeaders {
    type Request = ElectLeadersRequest;
    const NAME: &'static str = "ElectLeaders";
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(context: &RequestContext, request: ElectLeadersRequest) -> Handled<ElectLeadersResponse> {
        let kind = match request.election_type {
            _ if context.version < 1 => ElectionKind::Preferred,
            0 => ElectionKind::Preferred,
            1 => ElectionKind::Unclean,
            _ => {
                let code = ErrorCode::InvalidRequest.code();
                return Handled::Now(ElectLeadersResponse::default().with_error_code(code));
            }
        };
        let context = context.clone();
        Handled::Later(Box::pin(async move { answer(&context, kind, &request).await }))
    }
}

async fn answer(
    context: &RequestContext,
    kind: ElectionKind,
    request: &ElectLeadersRequest,
) -> ElectLeadersResponse {
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let all = request.topic_partitions.is_none();
    let asks = match &request.topic_partitions {
        None => all_that_need(&context.broker.image(), kind),
        Some(topics) => {
            let named = topics.iter().flat_map(|topic| {
                let name = topic.topic.as_str();
                topic.partitions.iter().map(move |index| Elect { topic: name.to_owned(), partition: *index })
            });
            // Said twice is said once.
            named.collect::<std::collections::BTreeSet<_>>().into_iter().collect()
        }
    };
    let outcomes = context.broker.elect(kind, &asks, timeout, &context.who()).await;
    let mut topics: BTreeMap<String, Vec<PartitionResult>> = BTreeMap::new();
    for (ask, outcome) in asks.into_iter().zip(outcomes) {
        if all && matches!(outcome, Err(ElectError::NotNeeded)) {
            continue;
        }
        let result = PartitionResult::default().with_partition_id(ask.partition);
        let result = match outcome {
            Ok(()) => result,
            Err(error) => {
                let failure = Failure::new(errors::of_elect(&error), error);
                result.with_error_code(failure.code.code()).with_error_message(failure.text())
            }
        };
        topics.entry(ask.topic).or_default().push(result);
    }
    let results = topics.into_iter().map(|(topic, results)| {
        ReplicaElectionResult::default().with_topic(WireTopicName(text(topic))).with_partition_result(results)
    });
    ElectLeadersResponse::default().with_replica_election_results(results.collect())
}

fn all_that_need(image: &ClusterImage, kind: ElectionKind) -> Vec<Elect> {
    let topics = image.topics.values().filter(|topic| !topic.deleting);
    let partitions = topics.flat_map(|topic| (0..).zip(&topic.partitions).map(move |one| (topic, one)));
    partitions
        .filter(|(_, (_, state))| !is_not_needed(image, kind, state))
        .map(|(topic, (partition, _))| Elect { topic: topic.name.to_string(), partition })
        .collect()
}
