//! `config/{topics,brokers,client-metrics,groups}/<name>`: dynamic configuration, one key per entity.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Key, decode_name, decode_number, encode_name};
use crate::metadata::image::ConfigEntity;
use crate::types::{BrokerId, TopicName};

/// The name that stands for all brokers (Kafka's entity `""`).
const DEFAULT: &str = "default";

/// Value of `config/<type>/<name>`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigValue {
    /// Kafka's keys and their values as text.
    pub entries: BTreeMap<String, String>,
}

pub(super) fn entity(entity: &ConfigEntity) -> String {
    match entity {
        ConfigEntity::Topic(name) => format!("config/topics/{}", encode_name(name.as_str())),
        ConfigEntity::Broker(id) => format!("config/brokers/{id}"),
        ConfigEntity::ClusterDefault => format!("config/brokers/{DEFAULT}"),
        ConfigEntity::ClientMetrics(name) => format!("config/client-metrics/{}", encode_name(name)),
        ConfigEntity::Group(name) => format!("config/groups/{}", encode_name(name)),
    }
}

/// Reads what follows `config/`; `None` for a type that is not known.
pub(super) fn parse(tail: &str) -> Option<Result<Key, &'static str>> {
    const NAME: &str = "a percent-encoded name";
    let (family, rest) = tail.split_once('/')?;
    let entity = match family {
        "topics" => decode_name(rest)
            .and_then(|name| TopicName::new(&name).ok())
            .map(ConfigEntity::Topic)
            .ok_or("a topic name"),
        "brokers" if rest == DEFAULT => Ok(ConfigEntity::ClusterDefault),
        "brokers" => decode_number(rest, 0)
            .map(|id| ConfigEntity::Broker(BrokerId(id)))
            .ok_or("a broker id or \"default\""),
        "client-metrics" => decode_name(rest).map(ConfigEntity::ClientMetrics).ok_or(NAME),
        "groups" => decode_name(rest).map(ConfigEntity::Group).ok_or(NAME),
        _ => return None,
    };
    Some(entity.map(Key::Config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::keys::Record;

    #[test]
    fn a_configuration_reads_what_it_writes() {
        let entries = [("retention.ms".to_owned(), "1".to_owned())].into();
        let record = Record::new(ConfigValue { entries });
        assert_eq!(Record::decode(&record.encode()), Ok(record));
    }
}
