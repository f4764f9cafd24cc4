//! Dynamic configuration: what is effective, and changes of it by one guarded write in etcd.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Broker;
use crate::config::{AlterError, ConfigOp, DynamicConfig};
use crate::metadata::MetadataError;
use crate::metadata::image::{ClusterImage, ConfigEntity};
use crate::types::BrokerId;

/// How long a change waits until this broker has carried it out.
const APPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a configuration was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigChangeError {
    /// The topic or broker does not exist.
    #[error("{0}")]
    NoSuchEntity(String),
    /// The new configuration is not valid.
    #[error(transparent)]
    Invalid(#[from] AlterError),
    /// etcd refused, or could not be reached.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

/// How a change is given: single operations, or the whole new configuration (the old AlterConfigs).
#[derive(Debug, Clone)]
pub enum ConfigChange {
    /// Operations on single keys, the others stay.
    Incremental(Vec<(String, ConfigOp)>),
    /// These keys and no others.
    Replace(Vec<(String, String)>),
}

impl Broker {
    /// The dynamic values that `image` has for this broker.
    #[must_use]
    pub fn dynamic(&self, image: &ClusterImage) -> DynamicConfig {
        let of = |entity: &ConfigEntity| image.config(entity).map(|map| map.as_ref().clone()).unwrap_or_default();
        DynamicConfig {
            cluster: of(&ConfigEntity::ClusterDefault),
            broker: of(&ConfigEntity::Broker(self.id())),
        }
    }

    /// Changes the configuration of `entity` and waits until this broker has carried it out.
    ///
    /// # Errors
    /// [`ConfigChangeError`] names key and rule, or why etcd did not take the change.
    pub async fn alter_config(
        &self,
        entity: ConfigEntity,
        change: ConfigChange,
        validate_only: bool,
    ) -> Result<(), ConfigChangeError> {
        let image = self.image();
        self.check_entity(&image, &entity)?;
        let current = image.config(&entity).map(|map| map.as_ref().clone()).unwrap_or_default();
        let altered = self.altered(&entity, &current, &change)?;
        if validate_only || altered == current {
            return Ok(());
        }
        let this = self.config().clone();
        let again = entity.clone();
        let revision = self
            .metadata()
            .alter_config(entity, move |current| altered_by(&this, &again, current, &change).ok())
            .await?;
        Ok(self.wait_until_applied(revision, APPLY_TIMEOUT).await?)
    }

    fn check_entity(&self, image: &ClusterImage, entity: &ConfigEntity) -> Result<(), ConfigChangeError> {
        match entity {
            ConfigEntity::Topic(name) if image.topic(name.as_str()).is_none() => {
                Err(ConfigChangeError::NoSuchEntity(format!("topic {name} does not exist")))
            }
            ConfigEntity::Broker(id) if *id != self.id() && !image.brokers.contains_key(id) => {
                Err(ConfigChangeError::NoSuchEntity(format!("broker {id} is not alive")))
            }
            _ => Ok(()),
        }
    }

    fn altered(
        &self,
        entity: &ConfigEntity,
        current: &BTreeMap<String, String>,
        change: &ConfigChange,
    ) -> Result<BTreeMap<String, String>, AlterError> {
        altered_by(self.config(), entity, current, change)
    }
}

fn altered_by(
    config: &crate::config::Config,
    entity: &ConfigEntity,
    current: &BTreeMap<String, String>,
    change: &ConfigChange,
) -> Result<BTreeMap<String, String>, AlterError> {
    let (base, ops) = match change {
        ConfigChange::Incremental(ops) => (current.clone(), ops.clone()),
        ConfigChange::Replace(values) => {
            let set = values.iter().map(|(key, value)| (key.clone(), ConfigOp::Set(value.clone())));
            (BTreeMap::new(), set.collect())
        }
    };
    match entity {
        ConfigEntity::Topic(_) => config.alter_topic(&base, ops),
        _ => config.alter_broker(&base, ops, matches!(entity, ConfigEntity::Broker(_))),
    }
}

/// The entity that a resource name of type BROKER means: empty for all brokers.
///
/// # Errors
/// The name, if it is not a broker's id.
pub fn broker_entity(name: &str) -> Result<ConfigEntity, String> {
    if name.is_empty() {
        return Ok(ConfigEntity::ClusterDefault);
    }
    name.parse().map(|id| ConfigEntity::Broker(BrokerId(id))).map_err(|_| name.to_owned())
}
