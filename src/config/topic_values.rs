//! Which value a topic key has: the topic's own, else the broker's, else the default.

use std::collections::BTreeMap;

use super::key::{Key, Twin};
use super::load::Config;
use super::merge::default_of;
use super::registry::{BROKER_KEYS, TOPIC_KEYS};
use super::topic::{CompressionType, TopicConfig};
use super::value::{self, Value};

/// The dynamic configuration that counts for a broker: its own, and that of all brokers. Either may be absent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dynamic<'a> {
    /// `ConfigEntity` of this broker.
    pub broker: Option<&'a BTreeMap<String, String>>,
    /// `ConfigEntity` of all brokers.
    pub cluster: Option<&'a BTreeMap<String, String>>,
}

impl Dynamic<'_> {
    /// The dynamic value of a broker key: this broker's, else that of all. A value that is not legal counts as absent.
    pub(super) fn get(&self, key: &Key) -> Option<Value> {
        [self.broker, self.cluster]
            .into_iter()
            .flatten()
            .find_map(|values| values.get(key.name).and_then(|text| value::parse(key, text).ok()))
    }
}

impl Config {
    /// A topic's configuration. `overrides` are the topic's own keys; what is unknown or not legal there counts as absent.
    ///
    /// # Cost
    /// A few microseconds and some allocations: once per change of a configuration, not per request.
    #[must_use]
    pub fn topic_config(&self, overrides: &BTreeMap<String, String>, dynamic: &Dynamic<'_>) -> TopicConfig {
        let values = TopicValues { config: self, overrides, dynamic };
        values.build()
    }

    /// The value of a topic key for topics without one of their own, in the topic key's unit.
    pub(super) fn topic_default(&self, key: &Key, dynamic: &Dynamic<'_>) -> Option<Value> {
        for twin in key.twins {
            let Some(broker_key) = BROKER_KEYS.get(twin.name) else { continue };
            let set = dynamic
                .get(broker_key)
                .or_else(|| self.settings().layers(twin.name).next().map(|setting| setting.value.clone()));
            if let Some(value) = set {
                return Some(converted(value, *twin));
            }
        }
        // Nothing is set: a broker key's default is its topic key's.
        default_of(key)
    }
}

/// A broker value in the unit of its topic key.
pub(super) fn converted(value: Value, twin: Twin) -> Value {
    match value {
        Value::Integer(number) if twin.factor != 1 => {
            Value::Integer(if number < 0 { -1 } else { number.saturating_mul(twin.factor) })
        }
        other => other,
    }
}

struct TopicValues<'a> {
    config: &'a Config,
    overrides: &'a BTreeMap<String, String>,
    dynamic: &'a Dynamic<'a>,
}

impl TopicValues<'_> {
    fn get(&self, name: &str) -> Value {
        let key = TOPIC_KEYS.get(name).expect("the caller names a key of the registry");
        self.overrides
            .get(name)
            .and_then(|text| value::parse(key, text).ok())
            .or_else(|| self.config.topic_default(key, self.dynamic))
            .unwrap_or(Value::Integer(0))
    }

    fn long(&self, name: &str) -> i64 {
        self.get(name).integer()
    }

    fn bytes(&self, name: &str) -> u32 {
        u32::try_from(self.long(name)).unwrap_or(0)
    }

    fn level(&self, name: &str) -> i32 {
        i32::try_from(self.long(name)).unwrap_or(-1)
    }

    fn boolean(&self, name: &str) -> bool {
        self.get(name) == Value::Boolean(true)
    }

    fn text(&self, name: &str) -> String {
        self.get(name).to_text()
    }

    /// A number where the largest one means "never".
    fn below_max(&self, name: &str) -> Option<i64> {
        Some(self.long(name)).filter(|number| *number < i64::MAX)
    }

    fn build(&self) -> TopicConfig {
        let policy = self.get("cleanup.policy");
        let cleans =
            |what: &str| matches!(&policy, Value::List(entries) if entries.iter().any(|entry| entry == what));
        let segment_bytes = match self.overrides.get("internal.segment.bytes") {
            Some(_) => self.bytes("internal.segment.bytes"),
            None => self.bytes("segment.bytes"),
        };
        TopicConfig {
            cleanup_delete: cleans("delete"),
            cleanup_compact: cleans("compact"),
            compression: match self.text("compression.type").as_str() {
                "uncompressed" => CompressionType::Uncompressed,
                "gzip" => CompressionType::Gzip,
                "snappy" => CompressionType::Snappy,
                "lz4" => CompressionType::Lz4,
                "zstd" => CompressionType::Zstd,
                _ => CompressionType::Producer,
            },
            compression_gzip_level: self.level("compression.gzip.level"),
            compression_lz4_level: self.level("compression.lz4.level"),
            compression_zstd_level: self.level("compression.zstd.level"),
            delete_retention_ms: self.long("delete.retention.ms"),
            file_delete_delay_ms: self.long("file.delete.delay.ms"),
            flush_messages: self.below_max("flush.messages").and_then(|count| u64::try_from(count).ok()),
            flush_ms: self.below_max("flush.ms"),
            index_interval_bytes: self.bytes("index.interval.bytes"),
            max_compaction_lag_ms: self.long("max.compaction.lag.ms"),
            max_message_bytes: self.bytes("max.message.bytes"),
            log_append_time: self.text("message.timestamp.type") == "LogAppendTime",
            message_timestamp_before_max_ms: self.long("message.timestamp.before.max.ms"),
            message_timestamp_after_max_ms: self.long("message.timestamp.after.max.ms"),
            min_cleanable_dirty_ratio: match self.get("min.cleanable.dirty.ratio") {
                Value::Double(ratio) => ratio,
                _ => 0.5,
            },
            min_compaction_lag_ms: self.long("min.compaction.lag.ms"),
            min_insync_replicas: self.bytes("min.insync.replicas"),
            preallocate: self.boolean("preallocate"),
            retention_bytes: u64::try_from(self.long("retention.bytes")).ok(),
            retention_ms: Some(self.long("retention.ms")).filter(|millis| *millis >= 0),
            segment_bytes,
            segment_index_bytes: self.bytes("segment.index.bytes"),
            segment_jitter_ms: self.long("segment.jitter.ms"),
            segment_ms: self.long("segment.ms"),
            unclean_leader_election_enable: self.boolean("unclean.leader.election.enable"),
            flush_ack: self.text("ketcd.flush") == "ack",
        }
    }
}
