//! AlterPartitionReassignments (key 45), v0-1. Begins and cancels moves of replicas (KIP-455); any broker takes it.
//!
//! - A null list of replicas cancels. v1 may forbid that the number of replicas changes (KIP-860).
//! - The answer says that the move has begun; the controller completes it.

use std::ops::RangeInclusive;
use std::time::Duration;

use kafka_protocol::messages::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use kafka_protocol::messages::{AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::errors;
use super::wire::{Failure, repeated};
use crate::broker::reassignments::Reassign;
use crate::protocol::error::ErrorCode;
use crate::types::BrokerId;

pub struct AlterPartitionReassignments;

impl Api for AlterPartitionReassignments {
    type Request = AlterPartitionReassignmentsRequest;
    const NAME: &'static str = "AlterPartitionReassignments";
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    fn handle(
        context: &RequestContext,
        request: AlterPartitionReassignmentsRequest,
    ) -> Handled<AlterPartitionReassignmentsResponse> {
        let context = context.clone();
        Handled::Later(Box::pin(async move { answer(&context, request).await }))
    }
}

async fn answer(
    context: &RequestContext,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
    let allow = context.version < 1 || request.allow_replication_factor_change;
    let places = || {
        let topics = request.topics.iter();
        topics.flat_map(|topic| topic.partitions.iter().map(move |one| (&topic.name, one.partition_index)))
    };
    let repeated = repeated(places());
    let asks: Vec<Reassign> = request
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(move |one| (topic, one)))
        .filter(|(topic, one)| !repeated.contains(&(&topic.name, one.partition_index)))
        .map(|(topic, one)| Reassign {
            topic: topic.name.as_str().to_owned(),
            partition: one.partition_index,
            target: one.replicas.as_ref().map(|ids| ids.iter().map(|id| BrokerId(id.0)).collect()),
        })
        .collect();
    let mut outcomes = context.broker.reassign(&asks, allow, timeout, &context.who()).await.into_iter();
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|one| {
            let result = ReassignablePartitionResponse::default().with_partition_index(one.partition_index);
            let failure = if repeated.contains(&(&topic.name, one.partition_index)) {
                Some(Failure::new(
                    ErrorCode::InvalidRequest,
                    "the request names the partition more than once",
                ))
            } else {
                let failed = outcomes.next().and_then(Result::err);
                failed.map(|error| Failure::new(errors::of_reassign(&error), error))
            };
            match failure {
                None => result,
                Some(failure) => {
                    result.with_error_code(failure.code.code()).with_error_message(failure.text())
                }
            }
        });
        ReassignableTopicResponse::default()
            .with_name(topic.name.clone())
            .with_partitions(partitions.collect())
    });
    AlterPartitionReassignmentsResponse::default()
        .with_allow_replication_factor_change(allow)
        .with_responses(topics.collect())
}
