//! CreatePartitions (key 37), v0-3. Raises topics to a number of partitions.

use std::ops::RangeInclusive;
use std::time::Duration;

use futures_util::future::join_all;
use kafka_protocol::messages::create_partitions_request::CreatePartitionsTopic;
use kafka_protocol::messages::create_partitions_response::CreatePartitionsTopicResult;
use kafka_protocol::messages::{CreatePartitionsRequest, CreatePartitionsResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::errors;
use super::wire::{Failure, repeated, text};
use crate::protocol::error::ErrorCode;
use crate::types::BrokerId;

pub struct CreatePartitions;

impl Api for CreatePartitions {
    type Request = CreatePartitionsRequest;
    const NAME: &'static str = "CreatePartitions";
    const VERSIONS: RangeInclusive<i16> = 0..=3;

    fn handle(
        context: &RequestContext,
        request: CreatePartitionsRequest,
    ) -> Handled<CreatePartitionsResponse> {
        let context = context.clone();
        Handled::Later(Box::pin(async move {
            let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
            let repeated = repeated(request.topics.iter().map(|topic| topic.name.clone()));
            let raised = request.topics.into_iter().map(|topic| {
                let twice = repeated.contains(&topic.name);
                raise(&context, topic, twice, request.validate_only, timeout)
            });
            CreatePartitionsResponse::default().with_results(join_all(raised).await)
        }))
    }
}

async fn raise(
    context: &RequestContext,
    topic: CreatePartitionsTopic,
    twice: bool,
    validate_only: bool,
    timeout: Duration,
) -> CreatePartitionsTopicResult {
    if twice {
        return CreatePartitionsTopicResult::default()
            .with_name(topic.name)
            .with_error_code(ErrorCode::InvalidRequest.code())
            .with_error_message(Some(text("the request names the topic more than once")));
    }
    let added = topic.assignments.map(|assignments| {
        assignments
            .into_iter()
            .map(|one| one.broker_ids.into_iter().map(|id| BrokerId(id.0)).collect())
            .collect()
    });
    let raised = context
        .broker
        .create_partitions(&topic.name, topic.count, added, validate_only, timeout, &context.who())
        .await;
    let result = CreatePartitionsTopicResult::default().with_name(topic.name);
    match raised {
        Ok(()) => result,
        Err(error) => {
            let failure = Failure::new(errors::of_topic(&error), error);
            result.with_error_code(failure.code.code()).with_error_message(failure.text())
        }
    }
}
