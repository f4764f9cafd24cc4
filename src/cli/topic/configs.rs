//! A topic's configuration over the wire: DescribeConfigs and IncrementalAlterConfigs.

use std::collections::BTreeMap;

use crate::cli::client::{Cluster, text};
use crate::cli::exit::{CliError, Outcome};
use crate::protocol::error::ErrorCode;
use crate::protocol::peer::messages::describe_configs_request::DescribeConfigsResource;
use crate::protocol::peer::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use crate::protocol::peer::messages::{DescribeConfigsRequest, IncrementalAlterConfigsRequest};

/// `ConfigResource.Type.TOPIC` on the wire.
const TOPIC_RESOURCE: i8 = 2;
/// `ConfigSource.TOPIC_CONFIG` on the wire: set on the topic itself.
const SOURCE_TOPIC: i8 = 1;
/// `AlterConfigOp.OpType` on the wire.
const OPERATION_SET: i8 = 0;
const OPERATION_DELETE: i8 = 1;

/// One key with its effective value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicConfigValue {
    /// The value; `None` if the broker hides it.
    pub value: Option<String>,
    /// Whether the topic itself sets it.
    pub overridden: bool,
}

/// Every configuration of a topic, by key.
///
/// # Errors
/// If the broker refuses.
pub async fn describe(cluster: &mut Cluster, topic: &str) -> Outcome<BTreeMap<String, TopicConfigValue>> {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC_RESOURCE)
        .with_resource_name(text(topic))
        .with_configuration_keys(None);
    let answer = cluster.ask(&DescribeConfigsRequest::default().with_resources(vec![resource])).await?;
    let mut configs = BTreeMap::new();
    for result in answer.results {
        if result.error_code != ErrorCode::None.code() {
            let what = format!("configuration of topic {topic:?}");
            return Err(CliError::from_code(&what, result.error_code, result.error_message.as_deref()));
        }
        configs.extend(result.configs.into_iter().map(|config| {
            let value = config.value.map(|value| value.to_string());
            let overridden = config.config_source == SOURCE_TOPIC;
            (config.name.to_string(), TopicConfigValue { value, overridden })
        }));
    }
    Ok(configs)
}

/// Sets and unsets configurations of a topic in one step.
///
/// # Errors
/// If the broker refuses.
pub async fn alter(
    cluster: &mut Cluster,
    topic: &str,
    set: &[(String, String)],
    unset: &[String],
) -> Outcome {
    let sets = set.iter().map(|(key, value)| {
        AlterableConfig::default()
            .with_name(text(key))
            .with_config_operation(OPERATION_SET)
            .with_value(Some(text(value)))
    });
    let unsets = unset.iter().map(|key| {
        AlterableConfig::default()
            .with_name(text(key))
            .with_config_operation(OPERATION_DELETE)
            .with_value(None)
    });
    let resource = AlterConfigsResource::default()
        .with_resource_type(TOPIC_RESOURCE)
        .with_resource_name(text(topic))
        .with_configs(sets.chain(unsets).collect());
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    let answer = cluster.ask(&request).await?;
    match answer.responses.iter().find(|response| response.error_code != ErrorCode::None.code()) {
        Some(refused) => {
            let what = format!("configuration of topic {topic:?} was not changed");
            Err(CliError::from_code(&what, refused.error_code, refused.error_message.as_deref()))
        }
        None => Ok(()),
    }
}
