//! The keys of the group coordinator, typed and checked across each other (Kafka's `GroupCoordinatorConfig`).

use std::time::Duration;

use super::load::Config;
use super::merge::Settings;
use super::problem::Problem;
use super::registry::BROKER_KEYS;
use super::topic_values::Dynamic;
use crate::types::Millis;

/// What the group coordinator runs with. Times are in milliseconds, sizes in bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.initial.rebalance.delay.ms`.
    pub initial_rebalance_delay_ms: Millis,
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout_ms: i32,
    /// `group.max.size`.
    pub max_size: usize,
    /// `group.coordinator.rebalance.protocols` names `consumer`.
    pub consumer_protocol_enabled: bool,
    /// `group.consumer.session.timeout.ms`, and its bounds for single groups.
    pub consumer_session_timeout_ms: Range,
    /// `group.consumer.heartbeat.interval.ms`, and its bounds for single groups.
    pub consumer_heartbeat_interval_ms: Range,
    /// `group.consumer.assignment.interval.ms`, and its bounds for single groups.
    pub consumer_assignment_interval_ms: Range,
    /// `group.consumer.max.size`.
    pub consumer_max_size: usize,
    /// `group.consumer.assignors`, the default first.
    pub consumer_assignors: Vec<String>,
    /// `group.consumer.migration.policy`: upgrades from the classic protocol are allowed.
    pub consumer_upgrade: bool,
    /// `group.consumer.migration.policy`: downgrades to the classic protocol are allowed.
    pub consumer_downgrade: bool,
    /// `group.consumer.regex.refresh.interval.ms`.
    pub consumer_regex_refresh_interval_ms: Millis,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.load.buffer.size`.
    pub offsets_load_buffer_size: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: Millis,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval_ms: Millis,
    /// `offsets.commit.timeout.ms`.
    pub offsets_commit_timeout: Duration,
    /// `offsets.topic.num.partitions`.
    pub offsets_topic_num_partitions: i32,
    /// `offsets.topic.replication.factor`: the most; fewer live brokers make fewer replicas.
    pub offsets_topic_replication_factor: i16,
    /// `offsets.topic.segment.bytes`.
    pub offsets_topic_segment_bytes: u32,
    /// `offsets.topic.compression.codec`, the number of a codec.
    pub offsets_topic_compression_codec: u8,
}

impl Config {
    /// What the group coordinator runs with under the dynamic values of this broker: `group.consumer.assignment.interval.ms` may change
    /// while it runs.
    #[must_use]
    pub fn groups(&self, dynamic: &Dynamic<'_>) -> GroupConfig {
        let mut groups = self.broker().groups.clone();
        let key = BROKER_KEYS.get("group.consumer.assignment.interval.ms").expect("a key of the registry");
        let interval = self.effective(key, dynamic).0.and_then(|value| i32::try_from(value.integer()).ok());
        if let Some(interval) = interval {
            groups.consumer_assignment_interval_ms.default = interval;
        }
        groups
    }
}

/// A value with its bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// Where nothing else is said.
    pub default: i32,
    /// Least.
    pub min: i32,
    /// Most.
    pub max: i32,
}

/// Codecs have the numbers 0 (none) to 4 (zstd).
const CODEC_MAX: u8 = 4;
/// The assignors that there are.
const ASSIGNORS: [&str; 2] = ["uniform", "range"];
/// Where their classes are in Kafka.
const ASSIGNOR_PACKAGE: &str = "org.apache.kafka.coordinator.group.assignor.";

/// Builds the typed keys; what is wrong across them goes to `problems`.
pub(super) fn build(settings: &Settings, problems: &mut Vec<Problem>) -> GroupConfig {
    let int = |name: &str| i32::try_from(settings.integer(name)).unwrap_or(i32::MAX);
    let size = |name: &str| usize::try_from(settings.integer(name)).unwrap_or(0);
    let mut range = |what: &str| {
        let name = |bound: &str| format!("group.consumer.{bound}{what}");
        let range = Range { default: int(&name("")), min: int(&name("min.")), max: int(&name("max.")) };
        check_range(settings, &name(""), range, problems);
        range
    };
    let consumer_session_timeout_ms = range("session.timeout.ms");
    let consumer_heartbeat_interval_ms = range("heartbeat.interval.ms");
    let consumer_assignment_interval_ms = range("assignment.interval.ms");
    check_heartbeat(settings, consumer_heartbeat_interval_ms, consumer_session_timeout_ms, problems);
    let protocols = settings.list("group.coordinator.rebalance.protocols");
    check_protocols(settings, &protocols, problems);
    let policy = settings.text("group.consumer.migration.policy").unwrap_or_default().to_ascii_lowercase();
    let session = (int("group.min.session.timeout.ms"), int("group.max.session.timeout.ms"));
    if session.0 > session.1 {
        problems.push(
            Problem::error(format!(
                "group.min.session.timeout.ms = {} is more than group.max.session.timeout.ms = {}",
                session.0, session.1
            ))
            .at(&settings.origin("group.min.session.timeout.ms"))
            .help("lower the one or raise the other"),
        );
    }
    GroupConfig {
        initial_rebalance_delay_ms: settings.integer("group.initial.rebalance.delay.ms"),
        min_session_timeout_ms: session.0,
        max_session_timeout_ms: session.1,
        max_size: size("group.max.size"),
        consumer_protocol_enabled: protocols.iter().any(|name| name == "consumer"),
        consumer_session_timeout_ms,
        consumer_heartbeat_interval_ms,
        consumer_assignment_interval_ms,
        consumer_max_size: size("group.consumer.max.size"),
        consumer_assignors: assignors(settings, problems),
        consumer_upgrade: matches!(policy.as_str(), "upgrade" | "bidirectional"),
        consumer_downgrade: matches!(policy.as_str(), "downgrade" | "bidirectional"),
        consumer_regex_refresh_interval_ms: settings.integer("group.consumer.regex.refresh.interval.ms"),
        offset_metadata_max_bytes: size("offset.metadata.max.bytes"),
        offsets_load_buffer_size: size("offsets.load.buffer.size"),
        offsets_retention_ms: settings.integer("offsets.retention.minutes").saturating_mul(60_000),
        offsets_retention_check_interval_ms: settings.integer("offsets.retention.check.interval.ms"),
        offsets_commit_timeout: Duration::from_millis(
            u64::try_from(settings.integer("offsets.commit.timeout.ms")).unwrap_or_default(),
        ),
        offsets_topic_num_partitions: int("offsets.topic.num.partitions"),
        offsets_topic_replication_factor: i16::try_from(settings.integer("offsets.topic.replication.factor"))
            .unwrap_or(i16::MAX),
        offsets_topic_segment_bytes: u32::try_from(settings.integer("offsets.topic.segment.bytes"))
            .unwrap_or(0),
        offsets_topic_compression_codec: codec(settings, problems),
    }
}

fn check_range(settings: &Settings, name: &str, range: Range, problems: &mut Vec<Problem>) {
    if range.min <= range.default && range.default <= range.max {
        return;
    }
    problems.push(
        Problem::error(format!(
            "{name} = {} is not between its bounds {} and {}",
            range.default, range.min, range.max
        ))
        .at(&settings.origin(name))
        .help("change the value, or its min and max keys"),
    );
}

/// A member must be able to miss a heartbeat.
fn check_heartbeat(settings: &Settings, heartbeat: Range, session: Range, problems: &mut Vec<Problem>) {
    let name = "group.consumer.heartbeat.interval.ms";
    if heartbeat.default >= session.default {
        problems.push(
            Problem::error(format!(
                "{name} = {} is not less than group.consumer.session.timeout.ms = {}",
                heartbeat.default, session.default
            ))
            .at(&settings.origin(name))
            .help("a third of the session timeout or less"),
        );
    }
}

fn check_protocols(settings: &Settings, protocols: &[String], problems: &mut Vec<Problem>) {
    let name = "group.coordinator.rebalance.protocols";
    if protocols.iter().any(|protocol| protocol == "classic") {
        return;
    }
    problems.push(
        Problem::error(format!("{name} = {:?} does not have classic", protocols.join(",")))
            .at(&settings.origin(name))
            .detail("the classic protocol cannot be turned off, as in Kafka")
            .help("classic,consumer"),
    );
}

/// Assignors by name; Kafka's own may also be named by their classes.
fn assignors(settings: &Settings, problems: &mut Vec<Problem>) -> Vec<String> {
    let name = "group.consumer.assignors";
    let mut known = Vec::new();
    for given in settings.list(name) {
        let class = given.strip_prefix(ASSIGNOR_PACKAGE).and_then(|class| class.strip_suffix("Assignor"));
        let short = class.map_or_else(|| given.clone(), str::to_ascii_lowercase);
        if ASSIGNORS.contains(&short.as_str()) {
            known.push(short);
            continue;
        }
        problems.push(
            Problem::error(format!("{name} names {given:?}, which is no assignor of this broker"))
                .at(&settings.origin(name))
                .help(ASSIGNORS.join(",")),
        );
    }
    known
}

fn codec(settings: &Settings, problems: &mut Vec<Problem>) -> u8 {
    let name = "offsets.topic.compression.codec";
    let number = settings.integer(name);
    match u8::try_from(number) {
        Ok(codec) if codec <= CODEC_MAX => codec,
        _ => {
            problems.push(
                Problem::error(format!("{name} = {number} is no codec"))
                    .at(&settings.origin(name))
                    .help("0 none, 1 gzip, 2 snappy, 3 lz4, 4 zstd"),
            );
            0
        }
    }
}
