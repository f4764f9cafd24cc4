//! IncrementalAlterConfigs (key 44), v0-1. Single operations on the configuration of topics and brokers (KIP-339).
//!
//! - Operations: 0 set, 1 delete, 2 append, 3 subtract (the last two on lists).
//! - Resources: 2 topic, 4 broker (empty name: all brokers). Broker loggers (8) are not served.

use std::ops::RangeInclusive;

use futures_util::future::join_all;
use kafka_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::errors;
use super::wire::{Failure, config_entity, repeated};
use crate::broker::configs::{ConfigChange, KeyChange};
use crate::config::AlterOp;
use crate::protocol::error::ErrorCode;

pub struct IncrementalAlterConfigs;

impl Api for IncrementalAlterConfigs {
    type Request = IncrementalAlterConfigsRequest;
    const NAME: &'static str = "IncrementalAlterConfigs";
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    fn handle(
        context: &RequestContext,
        request: IncrementalAlterConfigsRequest,
    ) -> Handled<IncrementalAlterConfigsResponse> {
        let context = context.clone();
        Handled::Later(Box::pin(async move {
            let key = |one: &AlterConfigsResource| (one.resource_type, one.resource_name.clone());
            let repeated = repeated(request.resources.iter().map(key));
            let changed = request.resources.into_iter().map(|resource| {
                let twice = repeated.contains(&key(&resource));
                alter(&context, resource, twice, request.validate_only)
            });
            IncrementalAlterConfigsResponse::default().with_responses(join_all(changed).await)
        }))
    }
}

async fn alter(
    context: &RequestContext,
    resource: AlterConfigsResource,
    twice: bool,
    validate_only: bool,
) -> AlterConfigsResourceResponse {
    let entity = if twice {
        Err(Failure::new(ErrorCode::InvalidRequest, "the request names the resource more than once"))
    } else {
        config_entity(resource.resource_type, &resource.resource_name)
    };
    let outcome = match (entity, operations(&resource)) {
        (Ok(entity), Ok(ops)) => context
            .broker
            .alter_config(entity, ops, validate_only, &context.who())
            .await
            .map_err(|error| Failure::new(errors::of_config_change(&error), error)),
        (Err(failure), _) | (_, Err(failure)) => Err(failure),
    };
    let response = AlterConfigsResourceResponse::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name);
    match outcome {
        Ok(()) => response,
        Err(failure) => response.with_error_code(failure.code.code()).with_error_message(failure.text()),
    }
}

fn operations(resource: &AlterConfigsResource) -> Result<ConfigChange, Failure> {
    let keys = resource.configs.iter().map(|config| {
        let name = config.name.as_str().to_owned();
        let op = AlterOp::from_code(config.config_operation).ok_or_else(|| {
            let message = format!("operation {} of key {name:?} is unknown", config.config_operation);
            Failure::new(ErrorCode::InvalidRequest, message)
        })?;
        Ok(KeyChange { name, op, value: config.value.as_ref().map(|value| value.as_str().to_owned()) })
    });
    Ok(ConfigChange { replace: false, keys: keys.collect::<Result<_, _>>()? })
}
