//! The coordinator's configuration, in the units that the cores use.

use super::command::Name;
use crate::config::{GroupConfig, Range};
use crate::types::Millis;

/// Where segments have room for it. A group of 10,000 consumers with a kilobyte of metadata each takes a third.
const GROUP_BYTES_MAX: usize = 32 << 20;

/// What the cores need of the broker's configuration. The defaults are Kafka's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupSettings {
    /// `group.initial.rebalance.delay.ms`: the most that the first rebalance of an empty group waits for more members.
    pub initial_rebalance_delay_ms: Millis,
    /// `group.min.session.timeout.ms`.
    pub min_session_timeout_ms: i32,
    /// `group.max.session.timeout.ms`.
    pub max_session_timeout_ms: i32,
    /// `group.max.size`.
    pub max_size: usize,
    /// The most that the members of a classic group may take, metadata and assignments together: the group is one record, which must
    /// fit into a segment of its log. Kafka has no such key: there the record is refused by its log (`max.message.bytes`).
    pub group_bytes_max: usize,
    /// `offset.metadata.max.bytes`.
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: Millis,
    /// `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval_ms: Millis,
    /// `group.coordinator.rebalance.protocols` names `consumer`.
    pub consumer_protocol_enabled: bool,
    /// `group.consumer.session.timeout.ms`, and its bounds for single groups.
    pub consumer_session_timeout_ms: Bounded,
    /// `group.consumer.heartbeat.interval.ms`, and its bounds for single groups.
    pub consumer_heartbeat_interval_ms: Bounded,
    /// `group.consumer.assignment.interval.ms`, and its bounds for single groups.
    pub consumer_assignment_interval_ms: Bounded,
    /// `group.consumer.max.size`.
    pub consumer_max_size: usize,
    /// `group.consumer.assignors`, the default first.
    pub consumer_assignors: Vec<Name>,
    /// `group.consumer.migration.policy`.
    pub consumer_migration_policy: MigrationPolicy,
    /// `group.consumer.regex.refresh.interval.ms`.
    pub consumer_regex_refresh_interval_ms: Millis,
}

/// A value that a group may change between two bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounded {
    /// Where nothing else is said.
    pub default: i32,
    /// Least.
    pub min: i32,
    /// Most.
    pub max: i32,
}

/// Which way groups may change between the two protocols.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MigrationPolicy {
    /// Neither way.
    Disabled,
    /// From consumer to classic.
    Downgrade,
    /// From classic to consumer.
    Upgrade,
    /// Both ways.
    Bidirectional,
}

impl Default for GroupSettings {
    fn default() -> Self {
        Self {
            initial_rebalance_delay_ms: 3000,
            min_session_timeout_ms: 6000,
            max_session_timeout_ms: 1_800_000,
            max_size: i32::MAX as usize,
            group_bytes_max: GROUP_BYTES_MAX,
            offset_metadata_max_bytes: 4096,
            offsets_retention_ms: 10_080 * 60_000,
            offsets_retention_check_interval_ms: 600_000,
            consumer_protocol_enabled: true,
            consumer_session_timeout_ms: Bounded { default: 45_000, min: 45_000, max: 60_000 },
            consumer_heartbeat_interval_ms: Bounded { default: 5000, min: 5000, max: 15_000 },
            consumer_assignment_interval_ms: Bounded { default: 1000, min: 0, max: 15_000 },
            consumer_max_size: i32::MAX as usize,
            consumer_assignors: vec!["uniform".into(), "range".into()],
            consumer_migration_policy: MigrationPolicy::Bidirectional,
            consumer_regex_refresh_interval_ms: 600_000,
        }
    }
}

impl From<Range> for Bounded {
    fn from(range: Range) -> Self {
        Self { default: range.default, min: range.min, max: range.max }
    }
}

impl From<&GroupConfig> for GroupSettings {
    fn from(config: &GroupConfig) -> Self {
        let segment_bytes = usize::try_from(config.offsets_topic_segment_bytes).unwrap_or(usize::MAX);
        Self {
            initial_rebalance_delay_ms: config.initial_rebalance_delay_ms,
            min_session_timeout_ms: config.min_session_timeout_ms,
            max_session_timeout_ms: config.max_session_timeout_ms,
            max_size: config.max_size,
            group_bytes_max: GROUP_BYTES_MAX.min(segment_bytes / 2),
            offset_metadata_max_bytes: config.offset_metadata_max_bytes,
            offsets_retention_ms: config.offsets_retention_ms,
            offsets_retention_check_interval_ms: config.offsets_retention_check_interval_ms,
            consumer_protocol_enabled: config.consumer_protocol_enabled,
            consumer_session_timeout_ms: config.consumer_session_timeout_ms.into(),
            consumer_heartbeat_interval_ms: config.consumer_heartbeat_interval_ms.into(),
            consumer_assignment_interval_ms: config.consumer_assignment_interval_ms.into(),
            consumer_max_size: config.consumer_max_size,
            consumer_assignors: config.consumer_assignors.iter().map(|name| name.as_str().into()).collect(),
            consumer_migration_policy: match (config.consumer_upgrade, config.consumer_downgrade) {
                (false, false) => MigrationPolicy::Disabled,
                (false, true) => MigrationPolicy::Downgrade,
                (true, false) => MigrationPolicy::Upgrade,
                (true, true) => MigrationPolicy::Bidirectional,
            },
            consumer_regex_refresh_interval_ms: config.consumer_regex_refresh_interval_ms,
        }
    }
}
