//! AlterConfigs (key 33), v0-2. The whole new configuration of topics and brokers: keys not named go back to their defaults.
//! Deprecated by IncrementalAlterConfigs, still used by older tools.

use std::ops::RangeInclusive;

use futures_util::future::join_all;
use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::errors;
use super::wire::{Failure, config_entity};
use crate::broker::configs::ConfigChange;
use crate::protocol::error::ErrorCode;

pub struct AlterConfigs;

impl Api for AlterConfigs {
    type Request = AlterConfigsRequest;
    const NAME: &'static str = "AlterConfigs";
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(context: &RequestContext, request: AlterConfigsRequest) -> Handled<AlterConfigsResponse> {
        let context = context.clone();
        Handled::Later(Box::pin(async move {
            let changed =
                request.resources.into_iter().map(|resource| alter(&context, resource, request.validate_only));
            AlterConfigsResponse::default().with_responses(join_all(changed).await)
        }))
    }
}

async fn alter(
    context: &RequestContext,
    resource: AlterConfigsResource,
    validate_only: bool,
) -> AlterConfigsResourceResponse {
    let entity = config_entity(resource.resource_type, &resource.resource_name);
    let outcome = match (entity, values(&resource)) {
        (Ok(entity), Ok(values)) => context
            .broker
            .alter_config(entity, ConfigChange::Replace(values), validate_only)
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

fn values(resource: &AlterConfigsResource) -> Result<Vec<(String, String)>, Failure> {
    let pairs = resource.configs.iter().map(|config| {
        let key = config.name.as_str();
        let value = config.value.as_ref().ok_or_else(|| {
            Failure::new(ErrorCode::InvalidRequest, format!("key {key:?} has no value"))
        })?;
        Ok((key.to_owned(), value.as_str().to_owned()))
    });
    pairs.collect()
}
