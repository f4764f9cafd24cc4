//! IncrementalAlterConfigs (key 44), v0-1. Single operations on the configuration of topics, brokers and groups (KIP-339).
//!
//! - Operations: 0 set, 1 delete, 2 append, 3 subtract (the last two on lists).
//! - Resources: 2 topic, 4 broker (empty name: all brokers), 32 group. Broker loggers (8) are not served.

use std::ops::RangeInclusive;

use kafka_protocol::messages::incremental_alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::incremental_alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse};

use super::alteration::{Alteration, alter};
use super::endpoint::{Api, Handled, RequestContext};
use super::wire::Failure;
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
        let validate_only = request.validate_only;
        let asked = request.resources.into_iter().map(incremental).collect();
        let altered = alter(context.clone(), asked, validate_only);
        Handled::Later(Box::pin(async move {
            let responses = altered.await.into_iter().map(|(resource_type, resource_name, outcome)| {
                let response = AlterConfigsResourceResponse::default()
                    .with_resource_type(resource_type)
                    .with_resource_name(resource_name);
                match outcome {
                    Ok(()) => response,
                    Err(failure) => {
                        response.with_error_code(failure.code.code()).with_error_message(failure.text())
                    }
                }
            });
            IncrementalAlterConfigsResponse::default().with_responses(responses.collect())
        }))
    }
}

fn incremental(resource: AlterConfigsResource) -> Alteration {
    Alteration {
        resource_type: resource.resource_type,
        change: operations(&resource),
        resource_name: resource.resource_name,
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
