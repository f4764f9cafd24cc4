//! AlterConfigs (key 33), v0-2. The whole new configuration of topics, brokers and groups: keys not named go back to their defaults.
//! Deprecated by IncrementalAlterConfigs, still used by older tools.

use std::ops::RangeInclusive;

use kafka_protocol::messages::alter_configs_request::AlterConfigsResource;
use kafka_protocol::messages::alter_configs_response::AlterConfigsResourceResponse;
use kafka_protocol::messages::{AlterConfigsRequest, AlterConfigsResponse};

use super::alteration::{Alteration, alter};
use super::endpoint::{Api, Handled, RequestContext};
use crate::broker::configs::{ConfigChange, KeyChange};
use crate::config::AlterOp;

pub struct AlterConfigs;

impl Api for AlterConfigs {
    type Request = AlterConfigsRequest;
    const NAME: &'static str = "AlterConfigs";
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(context: &RequestContext, request: AlterConfigsRequest) -> Handled<AlterConfigsResponse> {
        let validate_only = request.validate_only;
        let asked = request.resources.into_iter().map(whole).collect();
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
            AlterConfigsResponse::default().with_responses(responses.collect())
        }))
    }
}

fn whole(resource: AlterConfigsResource) -> Alteration {
    let keys = resource.configs.iter().map(|config| KeyChange {
        name: config.name.as_str().to_owned(),
        op: AlterOp::Set,
        value: config.value.as_ref().map(|value| value.as_str().to_owned()),
    });
    Alteration {
        resource_type: resource.resource_type,
        change: Ok(ConfigChange { replace: true, keys: keys.collect() }),
        resource_name: resource.resource_name,
    }
}
