//! DescribeConfigs (key 32), v1-4. The effective configuration of topics, brokers and groups, with source, synonyms, type and
//! documentation, all from the one registry of keys.
//!
//! - Resources: 2 topic; 4 broker (its own id, or the empty name for the cluster-wide dynamic values); 32 group,
//!   whether it exists or not.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
};
use kafka_protocol::messages::{DescribeConfigsRequest, DescribeConfigsResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::wire::{Failure, config_entity, text};
use crate::config::ConfigRow;
use crate::metadata::image::ConfigEntity;
use crate::protocol::error::ErrorCode;
use crate::types::TopicName;

pub struct DescribeConfigs;

impl Api for DescribeConfigs {
    type Request = DescribeConfigsRequest;
    const NAME: &'static str = "DescribeConfigs";
    const VERSIONS: RangeInclusive<i16> = 1..=4;

    fn handle(context: &RequestContext, request: DescribeConfigsRequest) -> Handled<DescribeConfigsResponse> {
        let (synonyms, documentation) = (request.include_synonyms, request.include_documentation);
        let results = request.resources.iter().map(|resource| {
            let result = DescribeConfigsResult::default()
                .with_resource_type(resource.resource_type)
                .with_resource_name(resource.resource_name.clone());
            match rows(context, resource) {
                Ok(rows) => {
                    let wanted = rows.into_iter().filter(|row| is_asked(resource, row));
                    result.with_configs(wanted.map(|row| entry(row, synonyms, documentation)).collect())
                }
                Err(failure) => {
                    result.with_error_code(failure.code.code()).with_error_message(failure.text())
                }
            }
        });
        Handled::Now(DescribeConfigsResponse::default().with_results(results.collect()))
    }
}

fn rows(context: &RequestContext, resource: &DescribeConfigsResource) -> Result<Vec<ConfigRow>, Failure> {
    let broker = &context.broker;
    let image = broker.image();
    let dynamic = broker.dynamic(&image);
    match config_entity(resource.resource_type, &resource.resource_name)? {
        ConfigEntity::Topic(name) => {
            exists(&image, &name)?;
            let empty = std::sync::Arc::default();
            let overrides = image.config(&ConfigEntity::Topic(name)).unwrap_or(&empty);
            Ok(broker.config().describe_topic(overrides, &dynamic))
        }
        ConfigEntity::ClusterDefault => {
            Ok(broker.config().describe_cluster_default(dynamic.cluster.unwrap_or(&BTreeMap::new())))
        }
        ConfigEntity::Broker(id) if id == broker.id() => Ok(broker.config().describe_broker(id, &dynamic)),
        ConfigEntity::Broker(id) => Err(Failure::new(
            ErrorCode::InvalidRequest,
            format!("broker {} answers only for itself: ask broker {id}", broker.id()),
        )),
        group @ ConfigEntity::Group(_) => {
            let empty = std::sync::Arc::default();
            let overrides = image.config(&group).unwrap_or(&empty);
            Ok(broker.config().describe_group(overrides, &dynamic))
        }
        ConfigEntity::ClientMetrics(_) => {
            Err(Failure::new(ErrorCode::InvalidRequest, "client metrics have no configuration here"))
        }
    }
}

fn exists(image: &crate::metadata::image::ClusterImage, name: &TopicName) -> Result<(), Failure> {
    match image.topic(name.as_str()) {
        Some(_) => Ok(()),
        None => Err(Failure::new(ErrorCode::UnknownTopicOrPartition, format!("topic {name} does not exist"))),
    }
}

/// A null or empty list of keys asks for all of them.
fn is_asked(resource: &DescribeConfigsResource, row: &ConfigRow) -> bool {
    match &resource.configuration_keys {
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| key.as_str() == row.name),
        _ => true,
    }
}

fn entry(row: ConfigRow, synonyms: bool, documentation: bool) -> DescribeConfigsResourceResult {
    let names = if synonyms { row.synonyms.as_slice() } else { &[] };
    let synonyms = names.iter().map(|synonym| {
        DescribeConfigsSynonym::default()
            .with_name(text(&synonym.name))
            .with_value(synonym.value.as_ref().map(text))
            .with_source(synonym.source.code())
    });
    DescribeConfigsResourceResult::default()
        .with_name(text(&row.name))
        .with_value(row.value.as_ref().map(text))
        .with_read_only(row.read_only)
        .with_config_source(row.source.code())
        .with_is_sensitive(row.sensitive)
        .with_synonyms(synonyms.collect())
        .with_config_type(row.kind.code())
        .with_documentation(documentation.then(|| text(row.documentation)))
}
