//! The rows of DescribeConfigs (wire rule 5): every key with its value, source, synonyms and documentation.

use std::collections::BTreeMap;

use super::key::{Key, Kind, Update};
use super::load::Config;
use super::merge::default_of;
use super::origin::Origin;
use super::registry::{BROKER_KEYS, GROUP_KEYS, TOPIC_KEYS};
use super::topic_values::{Dynamic, converted};
use super::value::Value;
use crate::types::BrokerId;

/// Where a value comes from, by Kafka's numbers (`DescribeConfigsResponse.ConfigSource`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConfigSource {
    /// The topic's own configuration.
    Topic = 1,
    /// The dynamic configuration of this broker.
    DynamicBroker = 2,
    /// The dynamic configuration of all brokers.
    DynamicDefaultBroker = 3,
    /// File, environment or flags.
    StaticBroker = 4,
    /// The key's default.
    Default = 5,
    /// The group's own configuration.
    Group = 8,
}

impl ConfigSource {
    /// The number on the wire.
    #[must_use]
    pub const fn code(self) -> i8 {
        match self {
            Self::Topic => 1,
            Self::DynamicBroker => 2,
            Self::DynamicDefaultBroker => 3,
            Self::StaticBroker => 4,
            Self::Default => 5,
            Self::Group => 8,
        }
    }
}

/// One value that a key has or would have, in order of precedence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Synonym {
    /// The key that gives it; for a topic key, maybe its broker twin.
    pub name: String,
    /// The value; `None` if it is a secret.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: ConfigSource,
}

/// One row of DescribeConfigs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigRow {
    /// The key.
    pub name: String,
    /// Its value in Kafka's text form; `None` if it is a secret or has none.
    pub value: Option<String>,
    /// Whether it can only change by a restart.
    pub read_only: bool,
    /// Whether it has its default.
    pub is_default: bool,
    /// Where the value comes from.
    pub source: ConfigSource,
    /// Whether it is a secret.
    pub sensitive: bool,
    /// Everything that is set for it, highest precedence first, the value that counts included.
    pub synonyms: Vec<Synonym>,
    /// Type of the value.
    pub kind: Kind,
    /// For users.
    pub documentation: &'static str,
}

impl Config {
    /// The rows of a topic. Cost: as [`Config::topic_config`].
    #[must_use]
    pub fn describe_topic(
        &self,
        overrides: &BTreeMap<String, String>,
        dynamic: &Dynamic<'_>,
    ) -> Vec<ConfigRow> {
        let shown = |key: &&'static Key| !key.internal || overrides.contains_key(key.name);
        let row = |key| self.own_row(key, overrides, ConfigSource::Topic, dynamic);
        TOPIC_KEYS.iter().filter(shown).map(row).collect()
    }

    /// The rows of a group, whether it has a configuration of its own or not. Cost: as [`Config::topic_config`].
    #[must_use]
    pub fn describe_group(
        &self,
        overrides: &BTreeMap<String, String>,
        dynamic: &Dynamic<'_>,
    ) -> Vec<ConfigRow> {
        let row = |key| self.own_row(key, overrides, ConfigSource::Group, dynamic);
        GROUP_KEYS.iter().map(row).collect()
    }

    /// The row of a key that a topic or group may set for itself: then its source is `own`.
    fn own_row(
        &self,
        key: &'static Key,
        overrides: &BTreeMap<String, String>,
        own: ConfigSource,
        dynamic: &Dynamic<'_>,
    ) -> ConfigRow {
        let mut synonyms = Vec::new();
        if let Some(text) = overrides.get(key.name) {
            let value = Some(text.clone());
            synonyms.push(Synonym { name: key.name.to_owned(), value, source: own });
        }
        for twin in key.twins {
            if let Some(broker_key) = BROKER_KEYS.get(twin.name) {
                synonyms.extend(self.synonyms_of(broker_key, dynamic));
            }
        }
        // A coarser twin's default says nothing about a value that a finer one sets; source and value follow topic_config.
        let (value, source) = match overrides.get(key.name) {
            Some(text) => (Some(text.clone()), own),
            None => (
                self.topic_default(key, dynamic).map(|value| value.to_text()),
                self.twin_source(key, dynamic),
            ),
        };
        row(key, value, source, synonyms, false)
    }

    /// Where the value of a topic key comes from that the topic does not set.
    fn twin_source(&self, key: &Key, dynamic: &Dynamic<'_>) -> ConfigSource {
        key.twins
            .iter()
            .filter_map(|twin| BROKER_KEYS.get(twin.name))
            .flat_map(|broker_key| self.synonyms_of(broker_key, dynamic))
            .map(|synonym| synonym.source)
            .find(|source| *source != ConfigSource::Default)
            .unwrap_or(ConfigSource::Default)
    }

    /// The rows of a broker. `broker_id` is the number that the broker has, chosen or set.
    #[must_use]
    pub fn describe_broker(&self, broker_id: BrokerId, dynamic: &Dynamic<'_>) -> Vec<ConfigRow> {
        let shown =
            |key: &&'static Key| !(key.internal || retired(key)) || self.settings().is_set_by_user(key.name);
        let mut rows: Vec<ConfigRow> = BROKER_KEYS
            .iter()
            .filter(shown)
            .map(|key| {
                let synonyms = self.synonyms_of(key, dynamic);
                let source = synonyms.first().map_or(ConfigSource::Default, |synonym| synonym.source);
                let set =
                    dynamic.get(key).or_else(|| self.settings().get(key.name).map(|setting| setting.value));
                let value = set.map(|value| value.to_text()).or_else(|| self.worked_out(key, broker_id));
                row(key, value, source, synonyms, key.update == Update::ReadOnly)
            })
            .collect();
        for row in &mut rows {
            if matches!(row.name.as_str(), "node.id" | "broker.id") {
                row.value = Some(broker_id.to_string());
            }
        }
        rows
    }

    /// The rows of "all brokers": only what is set for them, as Kafka.
    #[must_use]
    pub fn describe_cluster_default(&self, cluster: &BTreeMap<String, String>) -> Vec<ConfigRow> {
        cluster
            .iter()
            .filter_map(|(name, text)| {
                let key = BROKER_KEYS.get(name)?;
                let source = ConfigSource::DynamicDefaultBroker;
                let value = (!key.sensitive()).then(|| text.clone());
                let synonym = Synonym { name: name.clone(), value: value.clone(), source };
                Some(row(key, value, source, vec![synonym], key.update == Update::ReadOnly))
            })
            .collect()
    }

    /// Everything that is set for a broker key, and its default, highest precedence first.
    fn synonyms_of(&self, key: &Key, dynamic: &Dynamic<'_>) -> Vec<Synonym> {
        let synonym = |text: String, source| Synonym {
            name: key.name.to_owned(),
            value: (!key.sensitive()).then_some(text),
            source,
        };
        let of = |values: Option<&BTreeMap<String, String>>, source| {
            values.and_then(|values| values.get(key.name)).map(|text| synonym(text.clone(), source))
        };
        let mut synonyms = Vec::new();
        synonyms.extend(of(dynamic.broker, ConfigSource::DynamicBroker));
        synonyms.extend(of(dynamic.cluster, ConfigSource::DynamicDefaultBroker));
        if let Some(setting) = self.settings().layers(key.name).next() {
            // What a mode sets counts as static: a client must not take it for Kafka's default.
            synonyms.push(synonym(setting.value.to_text(), ConfigSource::StaticBroker));
        }
        if let Some(value) = default_of(key) {
            synonyms.push(synonym(value.to_text(), ConfigSource::Default));
        }
        synonyms
    }

    /// Values of keys without a default that follow from others.
    fn worked_out(&self, key: &Key, broker_id: BrokerId) -> Option<String> {
        let broker = self.broker();
        match key.name {
            "node.id" | "broker.id" => Some(broker_id.to_string()),
            "log.dirs" => Some(
                broker.log_dirs.iter().map(|dir| dir.display().to_string()).collect::<Vec<_>>().join(","),
            ),
            "advertised.listeners" => Some(
                broker
                    .advertised_listeners
                    .iter()
                    .map(|one| format!("{}://{}:{}", one.name, one.host, one.port))
                    .collect::<Vec<_>>()
                    .join(","),
            ),
            "etcd.prefix" => Some(broker.etcd.prefix.clone()),
            "log.flush.interval.ms" => {
                Some(self.settings().integer("log.flush.scheduler.interval.ms").to_string())
            }
            _ => None,
        }
    }

    /// The value that counts for a broker key and its origin, dynamic values included. For `ketcd config`.
    #[must_use]
    pub fn effective(&self, key: &Key, dynamic: &Dynamic<'_>) -> (Option<Value>, Origin) {
        let of = |values: Option<&BTreeMap<String, String>>| {
            values
                .and_then(|values| values.get(key.name))
                .and_then(|text| super::value::parse(key, text).ok())
        };
        if let Some(value) = of(dynamic.broker) {
            return (Some(value), Origin::DynamicBroker);
        }
        if let Some(value) = of(dynamic.cluster) {
            return (Some(value), Origin::DynamicDefault);
        }
        match self.settings().get(key.name) {
            Some(setting) => (Some(setting.value), setting.origin),
            None => (None, Origin::Default),
        }
    }

    /// The value of a topic key for topics that do not set it, with the broker key and the origin that give it.
    #[must_use]
    pub fn effective_for_topics(&self, key: &Key) -> (Option<Value>, Origin) {
        for twin in key.twins {
            if let Some(setting) = self.settings().layers(twin.name).next() {
                return (Some(converted(setting.value.clone(), *twin)), setting.origin.clone());
            }
        }
        (default_of(key), Origin::Default)
    }
}

/// Keys of older releases show only where somebody sets them.
fn retired(key: &Key) -> bool {
    matches!(key.tier, super::key::Tier::NoEffect("Kafka 4 has no such key"))
}

fn row(
    key: &'static Key,
    value: Option<String>,
    source: ConfigSource,
    synonyms: Vec<Synonym>,
    read_only: bool,
) -> ConfigRow {
    ConfigRow {
        name: key.name.to_owned(),
        value: value.filter(|_| !key.sensitive()),
        read_only,
        is_default: source == ConfigSource::Default,
        source,
        sensitive: key.sensitive(),
        synonyms,
        kind: key.kind,
        documentation: key.doc,
    }
}
