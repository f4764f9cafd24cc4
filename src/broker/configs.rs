//! Dynamic configuration: what is effective, and changes of it by one guarded write in etcd.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::Broker;
use crate::config::{
    AlterError, AlterOp, BrokerScope, Change, Config, Dynamic, TopicConfig, validate_broker_change,
    validate_group_change, validate_topic_change,
};
use crate::metadata::image::{ClusterImage, ConfigEntity};
use crate::metadata::{self, MetadataError};
use crate::types::{BrokerId, TopicId, TopicName};

/// How long a change waits until this broker has carried it out.
const APPLY_TIMEOUT: Duration = Duration::from_secs(10);

/// Why a configuration was not changed.
#[derive(Debug, thiserror::Error)]
pub enum ConfigChangeError {
    /// The topic does not exist.
    #[error("topic {0} does not exist")]
    NoSuchTopic(TopicName),
    /// The broker does not exist.
    #[error("broker {0} is not alive")]
    NoSuchBroker(BrokerId),
    /// The new configuration of a topic or group is not valid.
    #[error(transparent)]
    Invalid(AlterError),
    /// A broker's new configuration is not valid, or cannot change at run time.
    #[error(transparent)]
    InvalidBroker(AlterError),
    /// etcd refused, or could not be reached.
    #[error(transparent)]
    Metadata(#[from] MetadataError),
}

/// A change of one entity's configuration.
#[derive(Debug, Clone, Default)]
pub struct ConfigChange {
    /// Keys that are not named lose their values (the old AlterConfigs).
    pub replace: bool,
    /// What happens to which key.
    pub keys: Vec<KeyChange>,
}

/// A change of one key: [`Change`] with its texts.
#[derive(Debug, Clone)]
pub struct KeyChange {
    /// The key.
    pub name: String,
    /// What to do.
    pub op: AlterOp,
    /// The value, for everything but a deletion.
    pub value: Option<String>,
}

impl ConfigChangeError {
    fn invalid(entity: &ConfigEntity, error: AlterError) -> Self {
        match entity {
            ConfigEntity::Topic(_) | ConfigEntity::Group(_) => Self::Invalid(error),
            _ => Self::InvalidBroker(error),
        }
    }
}

impl ConfigChange {
    /// The change for the audit trail: whose, and which keys. Never their values: those may be secrets.
    fn told(&self, entity: &ConfigEntity) -> String {
        let whose = match entity {
            ConfigEntity::Topic(name) => format!("topic {name}"),
            ConfigEntity::Broker(id) => format!("broker {id}"),
            ConfigEntity::ClusterDefault => "all brokers".to_owned(),
            ConfigEntity::ClientMetrics(name) => format!("client metrics {name}"),
            ConfigEntity::Group(name) => format!("group {name}"),
        };
        let keys: Vec<&str> = self.keys.iter().map(|key| key.name.as_str()).collect();
        let how = if self.replace { "replaced" } else { "changed" };
        format!("{how} configuration of {whose}: {}", keys.join(", "))
    }

    /// The entity's configuration after the change.
    fn apply(
        &self,
        config: &Config,
        image: &ClusterImage,
        me: BrokerId,
        entity: &ConfigEntity,
        current: &BTreeMap<String, String>,
    ) -> Result<BTreeMap<String, String>, AlterError> {
        let nothing = BTreeMap::new();
        let base = if self.replace { &nothing } else { current };
        let changes: Vec<Change<'_>> = self
            .keys
            .iter()
            .map(|key| Change { name: &key.name, op: key.op, value: key.value.as_deref() })
            .collect();
        match entity {
            ConfigEntity::Topic(_) => validate_topic_change(config, &dynamic(image, me), base, &changes),
            ConfigEntity::Group(_) => validate_group_change(config, &dynamic(image, me), base, &changes),
            ConfigEntity::Broker(_) => validate_broker_change(config, BrokerScope::One, base, &changes),
            _ => validate_broker_change(config, BrokerScope::All, base, &changes),
        }
    }
}

/// The dynamic values that `image` has for the broker `me`.
#[must_use]
pub fn dynamic(image: &ClusterImage, me: BrokerId) -> Dynamic<'_> {
    Dynamic {
        broker: image.config(&ConfigEntity::Broker(me)).map(Arc::as_ref),
        cluster: image.config(&ConfigEntity::ClusterDefault).map(Arc::as_ref),
    }
}

impl Broker {
    /// The dynamic values that `image` has for this broker.
    #[must_use]
    pub fn dynamic<'a>(&self, image: &'a ClusterImage) -> Dynamic<'a> {
        dynamic(image, self.id())
    }

    /// The effective configuration of a topic under `image`.
    #[must_use]
    pub fn topic_config(&self, image: &ClusterImage, name: &TopicName) -> TopicConfig {
        let nothing = Arc::default();
        let overrides = image.config(&ConfigEntity::Topic(name.clone())).unwrap_or(&nothing);
        self.config().topic_config(overrides, &self.dynamic(image))
    }

    /// `min.insync.replicas` of a topic under `image`; `None` if it is not there.
    #[must_use]
    pub fn min_insync_replicas(&self, image: &ClusterImage, topic: TopicId) -> Option<usize> {
        let name = &image.topics.get(&topic)?.name;
        Some(usize::try_from(self.topic_config(image, name).min_insync_replicas).unwrap_or(usize::MAX))
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
        who: &str,
    ) -> Result<(), ConfigChangeError> {
        let image = self.image();
        check_entity(&image, &entity)?;
        let (config, me) = (Arc::clone(self.config()), self.id());
        let nothing = Arc::default();
        let current = Arc::clone(image.config(&entity).unwrap_or(&nothing));
        let altered = change
            .apply(&config, &image, me, &entity, &current)
            .map_err(|error| ConfigChangeError::invalid(&entity, error))?;
        if validate_only || altered == *current {
            return Ok(());
        }
        let (same, whose) = (entity.clone(), entity.clone());
        let what = change.told(&entity);
        // Decided anew if somebody else changed the entity meanwhile.
        let again =
            move |current: &BTreeMap<String, String>| change.apply(&config, &image, me, &same, current);
        let revision = self.metadata().alter_config(entity, again).await.map_err(|error| match error {
            metadata::AlterError::Refused(error) => ConfigChangeError::invalid(&whose, error),
            metadata::AlterError::Metadata(error) => ConfigChangeError::Metadata(error),
        })?;
        self.audit(who, what, revision);
        Ok(self.wait_until_applied(revision, APPLY_TIMEOUT).await?)
    }
}

fn check_entity(image: &ClusterImage, entity: &ConfigEntity) -> Result<(), ConfigChangeError> {
    match entity {
        ConfigEntity::Topic(name) if image.topic(name.as_str()).is_none() => {
            Err(ConfigChangeError::NoSuchTopic(name.clone()))
        }
        ConfigEntity::Broker(id) if !image.brokers.contains_key(id) => {
            Err(ConfigChangeError::NoSuchBroker(*id))
        }
        _ => Ok(()),
    }
}

/// The entity that a resource name of type BROKER means: empty for all brokers. `None` if it is not the id of a broker.
#[must_use]
pub fn broker_entity(name: &str) -> Option<ConfigEntity> {
    if name.is_empty() {
        return Some(ConfigEntity::ClusterDefault);
    }
    name.parse().ok().map(|id| ConfigEntity::Broker(BrokerId(id)))
}
