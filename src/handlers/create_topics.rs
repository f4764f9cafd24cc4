//! CreateTopics (key 19), v2-7. Any broker places and creates a topic by one guarded Txn.
//!
//! - v5 answers with partitions, replication factor and the effective configuration (KIP-525); v7 with the topic id.
//! - -1 asks for the broker's `num.partitions` and `default.replication.factor` (KIP-464).

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use futures_util::future::join_all;
use kafka_protocol::messages::create_topics_request::CreatableTopic;
use kafka_protocol::messages::create_topics_response::{CreatableTopicConfigs, CreatableTopicResult};
use kafka_protocol::messages::{CreateTopicsRequest, CreateTopicsResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::errors;
use super::wire::{Failure, repeated, text};
use crate::broker::topics::{CreatedTopic, TopicError, TopicSpec};
use crate::protocol::error::ErrorCode;
use crate::types::BrokerId;

pub struct CreateTopics;

impl Api for CreateTopics {
    type Request = CreateTopicsRequest;
    const NAME: &'static str = "CreateTopics";
    const VERSIONS: RangeInclusive<i16> = 2..=7;

    fn handle(context: &RequestContext, request: CreateTopicsRequest) -> Handled<CreateTopicsResponse> {
        let context = context.clone();
        Handled::Later(Box::pin(async move {
            let timeout = Duration::from_millis(u64::try_from(request.timeout_ms).unwrap_or(0));
            let repeated = repeated(request.topics.iter().map(|topic| topic.name.clone()));
            let made = request.topics.into_iter().map(|topic| {
                let twice = repeated.contains(&topic.name);
                create(&context, topic, twice, request.validate_only, timeout)
            });
            CreateTopicsResponse::default().with_topics(join_all(made).await)
        }))
    }
}

async fn create(
    context: &RequestContext,
    topic: CreatableTopic,
    twice: bool,
    validate_only: bool,
    timeout: Duration,
) -> CreatableTopicResult {
    let name = topic.name.clone();
    let outcome = match spec_of(topic, twice, context.who()) {
        Ok(spec) => context.broker.create_topic(spec, validate_only, timeout).await,
        Err(error) => Err(error),
    };
    match outcome {
        Ok(created) => made(context, &created),
        Err(error) => {
            let failure = Failure::new(errors::of_topic(&error), error);
            CreatableTopicResult::default()
                .with_name(name)
                .with_error_code(failure.code.code())
                .with_error_message(failure.text())
                .with_num_partitions(-1)
                .with_replication_factor(-1)
                .with_configs(Some(Vec::new()))
        }
    }
}

fn spec_of(topic: CreatableTopic, twice: bool, who: String) -> Result<TopicSpec, TopicError> {
    if twice {
        return Err(TopicError::InvalidRequest("the request names the topic more than once".to_owned()));
    }
    let assignment = (!topic.assignments.is_empty()).then(|| {
        let by_index: BTreeMap<i32, Vec<BrokerId>> = topic
            .assignments
            .iter()
            .map(|one| (one.partition_index, one.broker_ids.iter().map(|id| BrokerId(id.0)).collect()))
            .collect();
        by_index
    });
    if let Some(by_index) = &assignment
        && !by_index.keys().copied().eq(0..i32::try_from(topic.assignments.len()).unwrap_or(i32::MAX))
    {
        return Err(TopicError::InvalidAssignment(
            "partitions must be 0, 1, 2 and so on, each once".to_owned(),
        ));
    }
    let mut configs = BTreeMap::new();
    for config in topic.configs {
        // As Kafka: a null value means nothing to set.
        if let Some(value) = config.value {
            configs.insert(config.name.as_str().to_owned(), value.as_str().to_owned());
        }
    }
    Ok(TopicSpec {
        name: topic.name.as_str().to_owned(),
        partitions: (topic.num_partitions != -1).then_some(topic.num_partitions),
        replication_factor: (topic.replication_factor != -1).then(|| i32::from(topic.replication_factor)),
        assignment: assignment.map(|by_index| by_index.into_values().collect()),
        who,
        configs,
    })
}

fn made(context: &RequestContext, created: &CreatedTopic) -> CreatableTopicResult {
    let image = context.broker.image();
    let rows = context.broker.config().describe_topic(&created.configs, &context.broker.dynamic(&image));
    let configs = rows
        .into_iter()
        .map(|row| {
            CreatableTopicConfigs::default()
                .with_name(text(&row.name))
                .with_value(row.value.as_ref().map(text))
                .with_read_only(row.read_only)
                .with_config_source(row.source.code())
                .with_is_sensitive(row.sensitive)
        })
        .collect();
    let replicas = created.assignment.first().map_or(0, Vec::len);
    CreatableTopicResult::default()
        .with_name(super::wire::topic_name(&created.name))
        .with_topic_id(created.id.uuid())
        .with_error_code(ErrorCode::None.code())
        .with_num_partitions(i32::try_from(created.assignment.len()).unwrap_or(i32::MAX))
        .with_replication_factor(i16::try_from(replicas).unwrap_or(i16::MAX))
        .with_configs(Some(configs))
}
