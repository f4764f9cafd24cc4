//! AlterConfigs (key 33), v0-2. The whole new configuration of topics and brokers: keys not named go back to their defaults.
//! Deprecated by IncrementalAlterConfigs, still used by older tools.

use std::ops::RangeInclusive;

use futures_util::future::join_all;
use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::errors;
use super::wire::{Failure, config_entity, repeated};
use crate::broker::configs::{ConfigChange, KeyChange};
use crate::config::AlterOp;
use crate::protocol::error::ErrorCode;

pub struct AlterConfigs;

impl Api for AlterConfigs {
    type Request = AlterConfigsRequest;
    const NAME: &'static str = "AlterConfigs";
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(context: &RequestContext, request: AlterConfigsRequest) -> Handled<AlterConfigsResponse> {
        let context = context.clone();
        Handled::Later(Box::pin(async move {
            let key = |one: &AlterConfigsResource| (one.resource_type, one.resource_name.clone());
            let repeated = repeated(request.resources.iter().map(key));
            let changed = request.resources.into_iter().map(|resource| {
                let twice = repeated.contains(&key(&resource));
                alter(&context, resource, twice, request.validate_only)
            });
            AlterConfigsResponse::default().with_responses(join_all(changed).await)
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
    let outcome = match entity {
        Ok(entity) => context
            .broker
            .alter_config(entity, whole(&resource), validate_only, &context.who())
            .await
            .map_err(|error| Failure::new(errors::of_config_change(&error), error)),
        Err(failure) => Err(failure),
    };
    let response = AlterConfigsResourceResponse::default()
        .with_resource_type(resource.resource_type)
        .with_resource_name(resource.resource_name);
    match outcome {
        Ok(()) => response,
        Err(failure) => response.with_error_code(failure.code.code()).with_error_message(failure.text()),
    }
}

fn whole(resource: &AlterConfigsResource) -> ConfigChange {
    let keys = resource.configs.iter().map(|config| KeyChange {
        name: config.name.as_str().to_owned(),
        op: AlterOp::Set,
        value: config.value.as_ref().map(|value| value.as_str().to_owned()),
    });
    ConfigChange { replace: true, keys: keys.collect() }
}
