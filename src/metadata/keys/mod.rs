//! The schema of the cluster's keys in etcd: the only place that builds or reads key bytes.
//!
//! One file per family, each with the scope of its keys, the shape of its values and a round-trip test. Values are JSON with
//! `"v": 1`; fields that this version does not know survive a rewrite ([`Record::unknown`]), so that old and new brokers can share
//! a cluster. What cannot be read is a [`KeyError`], a fact to count and to skip, never a crash.
//!
//! Read first: [`Key`], then `topics.rs` and `partitions.rs`.

mod audit;
mod brokers;
mod cluster;
mod config;
mod controller;
mod partitions;
mod producer_ids;
mod record;
mod topics;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

pub use audit::AuditValue;
pub use brokers::{AutoIdValue, BrokerLastValue, BrokerLiveValue, BrokerMetaValue};
pub use cluster::{ClusterValue, LAYOUT_VERSION};
pub use config::ConfigValue;
pub use controller::CandidateValue;
pub use partitions::PartitionValue;
pub use producer_ids::ProducerIdsValue;
pub use record::{Record, VALUE_VERSION, ValueError};
pub use topics::{EpochsFrom, TopicNameValue, TopicValue};

use crate::types::{BrokerId, TopicId, TopicName};

use super::image::ConfigEntity;

/// A key of the cluster, decoded.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key {
    /// `cluster`: the cluster's id. Value: [`ClusterValue`].
    Cluster,
    /// `brokers/live/<id>`, leased: a broker's registration. Value: [`BrokerLiveValue`].
    BrokerLive(BrokerId),
    /// `brokers/intact/<id>`: its `mod_revision` is the epoch since which the broker lost nothing. Value: empty.
    BrokerIntact(BrokerId),
    /// `brokers/last/<id>`: the last lifetime that registered; its `mod_revision` is that one's epoch. Value: [`BrokerLastValue`].
    BrokerLast(BrokerId),
    /// `brokers/meta/<id>`: what outlives a registration. Value: [`BrokerMetaValue`].
    BrokerMeta(BrokerId),
    /// `brokers/ids/<n>`: an automatic node id. Value: [`AutoIdValue`].
    BrokerAutoId(BrokerId),
    /// `controller/<lease id>`, leased: a candidate. Value: [`CandidateValue`].
    Candidate(i64),
    /// `topics/name/<topic>`: the topic's id. Value: [`TopicNameValue`].
    TopicByName(TopicName),
    /// `topics/id/<uuid>`: the topic. Value: [`TopicValue`].
    TopicById(TopicId),
    /// `partitions/<uuid>/<index>`: a partition that is no longer as assigned. Value: [`PartitionValue`].
    Partition(TopicId, i32),
    /// `config/<type>/<name>`: dynamic configuration. Value: [`ConfigValue`].
    Config(ConfigEntity),
    /// `producer-ids`: the next block's start. Value: [`ProducerIdsValue`].
    ProducerIds,
    /// `audit/<n>`: who changed what. Value: [`AuditValue`].
    Audit(u64),
}

/// Why a key or its value cannot be read. Such an entry is counted and skipped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The key is not under the cluster's prefix.
    #[error("key {key:?} is outside of this cluster's prefix")]
    OutsidePrefix {
        /// The key, lossily.
        key: String,
    },
    /// A family of keys that this version does not know (a later version's, or an alien's).
    #[error("key {key:?} is of no family that this version knows")]
    UnknownFamily {
        /// The key without the prefix.
        key: String,
    },
    /// The family is known, the rest of the key is not what the family's keys look like.
    #[error("key {key:?} is malformed: expected {expected}")]
    MalformedKey {
        /// The key without the prefix.
        key: String,
        /// What stands in that place in a good key.
        expected: &'static str,
    },
}

/// Builds and reads the keys of one cluster. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// Ends with `/`.
    prefix: String,
}

/// Characters of a name that stand for themselves in a key.
const NAME: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

impl Keys {
    /// The keys of the cluster `name`: `/ketcd/<name>/..`.
    #[must_use]
    pub fn of_cluster(name: &str) -> Self {
        Self { prefix: format!("/ketcd/{}/", encode_name(name)) }
    }

    /// The keys under `prefix`, with or without a `/` at its end.
    #[must_use]
    pub fn under(prefix: &str) -> Self {
        Self { prefix: format!("{}/", prefix.trim_end_matches('/')) }
    }

    /// What every key of the cluster starts with; ends with `/`.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The bytes of `key`.
    #[must_use]
    pub fn bytes(&self, key: &Key) -> Vec<u8> {
        let rest = match key {
            Key::Cluster => cluster::KEY.to_owned(),
            Key::BrokerLive(id) => brokers::live(*id),
            Key::BrokerIntact(id) => brokers::intact(*id),
            Key::BrokerLast(id) => brokers::last(*id),
            Key::BrokerMeta(id) => brokers::meta(*id),
            Key::BrokerAutoId(id) => brokers::auto_id(*id),
            Key::Candidate(lease) => controller::candidate(*lease),
            Key::TopicByName(name) => topics::by_name(name),
            Key::TopicById(id) => topics::by_id(*id),
            Key::Partition(topic, partition) => partitions::partition(*topic, *partition),
            Key::Config(entity) => config::entity(entity),
            Key::ProducerIds => producer_ids::KEY.to_owned(),
            Key::Audit(n) => audit::entry(*n),
        };
        format!("{}{rest}", self.prefix).into_bytes()
    }

    /// The prefix of all partition records of a topic.
    #[must_use]
    pub fn partitions_of(&self, topic: TopicId) -> Vec<u8> {
        format!("{}{}", self.prefix, partitions::of_topic(topic)).into_bytes()
    }

    /// The prefix of all automatic node ids.
    #[must_use]
    pub fn auto_ids(&self) -> Vec<u8> {
        format!("{}{}", self.prefix, brokers::AUTO_IDS).into_bytes()
    }

    /// The prefix of all audit entries.
    #[must_use]
    pub fn audit_entries(&self) -> Vec<u8> {
        format!("{}{}", self.prefix, audit::ENTRIES).into_bytes()
    }

    /// Reads a key.
    ///
    /// # Errors
    /// [`KeyError`] says what is wrong with it.
    pub fn parse(&self, bytes: &[u8]) -> Result<Key, KeyError> {
        let outside = || KeyError::OutsidePrefix { key: String::from_utf8_lossy(bytes).into_owned() };
        let text = std::str::from_utf8(bytes).map_err(|_| outside())?;
        let rest = text.strip_prefix(&self.prefix).ok_or_else(outside)?;
        let unknown = || KeyError::UnknownFamily { key: rest.to_owned() };
        let malformed = |expected| KeyError::MalformedKey { key: rest.to_owned(), expected };
        let (family, tail) = rest.split_once('/').unwrap_or((rest, ""));
        match family {
            cluster::KEY if tail.is_empty() => Ok(Key::Cluster),
            producer_ids::KEY if tail.is_empty() => Ok(Key::ProducerIds),
            "brokers" => brokers::parse(tail).ok_or_else(unknown)?.map_err(malformed),
            "controller" => controller::parse(tail).map_err(malformed),
            "topics" => topics::parse(tail).ok_or_else(unknown)?.map_err(malformed),
            "partitions" => partitions::parse(tail).map_err(malformed),
            "config" => config::parse(tail).ok_or_else(unknown)?.map_err(malformed),
            "audit" => audit::parse(tail).map_err(malformed),
            _ => Err(unknown()),
        }
    }
}

/// The end (exclusive) of the range of all keys that start with `prefix`.
#[must_use]
pub fn prefix_end(prefix: &[u8]) -> Vec<u8> {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < u8::MAX {
            end.push(last + 1);
            return end;
        }
    }
    vec![0]
}

/// A name as it stands in a key: percent-encoded, hence without `/`.
fn encode_name(name: &str) -> String {
    utf8_percent_encode(name, NAME).to_string()
}

/// Reads what [`encode_name`] wrote; `None` if it could not have written that.
fn decode_name(text: &str) -> Option<String> {
    let name = percent_decode_str(text).decode_utf8().ok()?.into_owned();
    (encode_name(&name) == text).then_some(name)
}

/// Reads a number that is written with exactly `digits` digits, or without padding if `digits` is 0.
fn decode_number<T: std::str::FromStr + std::fmt::Display>(text: &str, digits: usize) -> Option<T> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: T = text.parse().ok()?;
    (format!("{number:0>digits$}") == text).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use uuid::Uuid;

    fn topic(n: u128) -> TopicId {
        TopicId::new(Uuid::from_u128(n)).unwrap()
    }

    fn any_entity() -> impl Strategy<Value = ConfigEntity> {
        prop_oneof![
            "[a-zA-Z0-9._-]{3,40}".prop_map(|name| ConfigEntity::Topic(TopicName::new(&name).unwrap())),
            (0..i32::MAX).prop_map(|id| ConfigEntity::Broker(BrokerId(id))),
            Just(ConfigEntity::ClusterDefault),
            any::<String>().prop_map(ConfigEntity::ClientMetrics),
            any::<String>().prop_map(ConfigEntity::Group),
        ]
    }

    fn any_key() -> impl Strategy<Value = Key> {
        let id = || (0..i32::MAX).prop_map(BrokerId);
        prop_oneof![
            Just(Key::Cluster),
            Just(Key::ProducerIds),
            id().prop_map(Key::BrokerLive),
            id().prop_map(Key::BrokerIntact),
            id().prop_map(Key::BrokerLast),
            id().prop_map(Key::BrokerMeta),
            id().prop_map(Key::BrokerAutoId),
            any::<i64>().prop_map(Key::Candidate),
            "[a-zA-Z0-9._-]{3,249}".prop_map(|name| Key::TopicByName(TopicName::new(&name).unwrap())),
            (1..u128::MAX).prop_map(|n| Key::TopicById(topic(n))),
            (1..u128::MAX, 0..i32::MAX).prop_map(|(n, p)| Key::Partition(topic(n), p)),
            any_entity().prop_map(Key::Config),
            any::<u64>().prop_map(Key::Audit),
        ]
    }

    proptest! {
        #[test]
        fn every_key_reads_back_as_itself(key in any_key()) {
            let keys = Keys::of_cluster("a/b");
            prop_assert_eq!(keys.parse(&keys.bytes(&key)), Ok(key));
        }

        #[test]
        fn no_key_text_crashes_the_parser(text in "/ketcd/c/[a-z/%0-9-]{0,40}", bytes in any::<Vec<u8>>()) {
            let keys = Keys::of_cluster("c");
            if let Ok(key) = keys.parse(text.as_bytes()) {
                prop_assert_eq!(keys.bytes(&key), text.into_bytes());
            }
            let _ = keys.parse(&bytes);
        }
    }

    #[test]
    fn keys_look_as_documented() {
        let keys = Keys::of_cluster("main");
        let id = topic(0x0123_4567_89ab_cdef_fedc_ba98_7654_3210);
        for (key, text) in [
            (Key::Cluster, "cluster"),
            (Key::BrokerLive(BrokerId(7)), "brokers/live/7"),
            (Key::BrokerIntact(BrokerId(7)), "brokers/intact/7"),
            (Key::BrokerMeta(BrokerId(7)), "brokers/meta/7"),
            (Key::BrokerAutoId(BrokerId(1001)), "brokers/ids/0000001001"),
            (Key::Candidate(0x1f), "controller/000000000000001f"),
            (Key::TopicByName(TopicName::new("a.b").unwrap()), "topics/name/a.b"),
            (Key::TopicById(id), "topics/id/ASNFZ4mrze_-3LqYdlQyEA"),
            (Key::Partition(id, 12), "partitions/ASNFZ4mrze_-3LqYdlQyEA/0000000012"),
            (Key::Config(ConfigEntity::ClusterDefault), "config/brokers/default"),
            (Key::Config(ConfigEntity::Group("a/b".into())), "config/groups/a%2Fb"),
            (Key::ProducerIds, "producer-ids"),
            (Key::Audit(3), "audit/00000000000000000003"),
        ] {
            assert_eq!(String::from_utf8(keys.bytes(&key)).unwrap(), format!("/ketcd/main/{text}"));
        }
    }

    #[test]
    fn alien_keys_are_facts_not_crashes() {
        let keys = Keys::under("/ketcd/main/");
        assert!(matches!(keys.parse(b"/other/x"), Err(KeyError::OutsidePrefix { .. })));
        assert!(matches!(keys.parse(b"/ketcd/main/\xff"), Err(KeyError::OutsidePrefix { .. })));
        for unknown in ["acls/x", "", "brokers", "brokers/dead/1", "topics/x", "cluster/1"] {
            let key = format!("/ketcd/main/{unknown}");
            assert!(matches!(keys.parse(key.as_bytes()), Err(KeyError::UnknownFamily { .. })), "{unknown}");
        }
        for bad in [
            "brokers/live/x",
            "brokers/live/01",
            "brokers/live/-1",
            "brokers/ids/7",
            "controller/1f",
            "topics/name/a%2fb",
            "topics/name/..",
            "topics/id/short",
            "topics/id/AAAAAAAAAAAAAAAAAAAAAA",
            "partitions/ASNFZ4mrze_-3LqYdlQyEA/12",
            "partitions/ASNFZ4mrze_-3LqYdlQyEA",
            "config/brokers/x",
            "audit/1",
        ] {
            let key = format!("/ketcd/main/{bad}");
            assert!(matches!(keys.parse(key.as_bytes()), Err(KeyError::MalformedKey { .. })), "{bad}");
        }
    }

    #[test]
    fn a_prefix_ends_where_the_next_one_starts() {
        assert_eq!(prefix_end(b"/a/"), b"/a0");
        assert_eq!(prefix_end(b"a\xff"), b"b");
        assert_eq!(prefix_end(b"\xff"), b"\0");
    }
}
