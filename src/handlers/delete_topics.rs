//! DeleteTopics (key 20), v1-6. Marks topics for deletion; v6 names them by name or by id.

use std::ops::RangeInclusive;
use std::time::Duration;

use futures_util::future::join_all;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::delete_topics_response::DeletableTopicResult;
use kafka_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::errors;
use super::wire::{Failure, repeated, topic_name};
use crate::metadata::image::ClusterImage;
use crate::protocol::error::ErrorCode;
use crate::types::TopicId;

pub struct DeleteTopics;

impl Api for DeleteTopics {
    type Request = DeleteTopicsRequest;
    const NAME: &'static str = "DeleteTopics";
    const VERSIONS: RangeInclusive<i16> = 1..=6;

    fn handle(context: &RequestContext, request: DeleteTopicsRequest) -> Handled<DeleteTopicsResponse> {
        let context = context.clone();
        Handled::Later(Box::pin(async move {
            let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
            let named =
                request.topic_names.into_iter().map(|name| DeleteTopicState::default().with_name(Some(name)));
            let all: Vec<_> = request.topics.into_iter().chain(named).collect();
            let repeated = repeated(all.iter().map(|topic| (topic.name.clone(), topic.topic_id)));
            let deleted = all.into_iter().map(|topic| {
                let twice = repeated.contains(&(topic.name.clone(), topic.topic_id));
                delete(&context, topic, twice, timeout)
            });
            DeleteTopicsResponse::default().with_responses(join_all(deleted).await)
        }))
    }
}

async fn delete(
    context: &RequestContext,
    asked: DeleteTopicState,
    twice: bool,
    timeout: Duration,
) -> DeletableTopicResult {
    let image = context.broker.image();
    let outcome = match find(&image, &asked) {
        _ if twice => {
            Err(Failure::new(ErrorCode::InvalidRequest, "the request names the topic more than once"))
        }
        Ok(id) => context
            .broker
            .delete_topic(id, timeout, &context.who())
            .await
            .map(|()| id)
            .map_err(|error| Failure::new(errors::of_topic(&error), error)),
        Err(failure) => Err(failure),
    };
    let result = DeletableTopicResult::default().with_name(asked.name).with_topic_id(asked.topic_id);
    match outcome {
        Ok(id) => {
            let name = image.topics.get(&id).map(|topic| topic_name(&topic.name));
            result.with_topic_id(id.uuid()).with_name(name)
        }
        Err(failure) => result.with_error_code(failure.code.code()).with_error_message(failure.text()),
    }
}

fn find(image: &ClusterImage, asked: &DeleteTopicState) -> Result<TopicId, Failure> {
    match (&asked.name, TopicId::new(asked.topic_id)) {
        (Some(_), Some(_)) => {
            Err(Failure::new(ErrorCode::InvalidRequest, "give the topic's name or its id, not both"))
        }
        (Some(name), None) => image.topic_names.get(name.as_str()).copied().ok_or_else(|| {
            Failure::new(
                ErrorCode::UnknownTopicOrPartition,
                format!("topic {} does not exist", name.as_str()),
            )
        }),
        (None, Some(id)) => image
            .topics
            .get(&id)
            .filter(|topic| !topic.deleting)
            .map(|topic| topic.id)
            .ok_or_else(|| Failure::new(ErrorCode::UnknownTopicId, format!("no topic has the id {id}"))),
        (None, None) => Err(Failure::new(ErrorCode::InvalidRequest, "the topic has neither name nor id")),
    }
}
