//! The keys of replication and of a broker's life in a cluster, typed.

use std::time::Duration;

use super::merge::Settings;
use super::registry::BROKER_KEYS;
use super::value::Value;
use super::{Config, Dynamic};

/// What replication runs with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicationConfig {
    /// `num.replica.fetchers`: connections to each leader.
    pub fetchers: usize,
    /// `replica.lag.time.max.ms`.
    pub lag_max: Duration,
    /// `replica.fetch.min.bytes`.
    pub fetch_min_bytes: i32,
    /// `replica.fetch.max.bytes`, per partition.
    pub fetch_max_bytes: i32,
    /// `replica.fetch.response.max.bytes`.
    pub fetch_response_max_bytes: i32,
    /// `replica.fetch.wait.max.ms`.
    pub fetch_wait_max_ms: i32,
    /// `replica.fetch.backoff.ms`: after an error of a partition.
    pub fetch_backoff: Duration,
    /// `replica.socket.timeout.ms`.
    pub socket_timeout: Duration,
    /// `replica.high.watermark.checkpoint.interval.ms`.
    pub high_watermark_checkpoint_interval: Duration,
    /// `auto.leader.rebalance.enable`.
    pub auto_leader_rebalance: bool,
    /// `leader.imbalance.check.interval.seconds`.
    pub leader_imbalance_check_interval: Duration,
    /// `controlled.shutdown.enable`.
    pub controlled_shutdown: bool,
    /// `inter.broker.listener.name`, in capitals; `None`: `PLAINTEXT` where there is one, else the first listener.
    pub inter_broker_listener: Option<String>,
}

/// Builds the typed keys.
pub(super) fn build(settings: &Settings) -> ReplicationConfig {
    let int = |name: &str| i32::try_from(settings.integer(name)).unwrap_or(i32::MAX);
    let millis = |name: &str| Duration::from_millis(u64::try_from(settings.integer(name)).unwrap_or(0));
    let seconds = |name: &str| Duration::from_secs(u64::try_from(settings.integer(name)).unwrap_or(0));
    ReplicationConfig {
        fetchers: usize::try_from(settings.integer("num.replica.fetchers")).unwrap_or(1),
        lag_max: millis("replica.lag.time.max.ms"),
        fetch_min_bytes: int("replica.fetch.min.bytes"),
        fetch_max_bytes: int("replica.fetch.max.bytes"),
        fetch_response_max_bytes: int("replica.fetch.response.max.bytes"),
        fetch_wait_max_ms: int("replica.fetch.wait.max.ms"),
        fetch_backoff: millis("replica.fetch.backoff.ms"),
        socket_timeout: millis("replica.socket.timeout.ms"),
        high_watermark_checkpoint_interval: millis("replica.high.watermark.checkpoint.interval.ms"),
        auto_leader_rebalance: settings.boolean("auto.leader.rebalance.enable"),
        leader_imbalance_check_interval: seconds("leader.imbalance.check.interval.seconds"),
        controlled_shutdown: settings.boolean("controlled.shutdown.enable"),
        inter_broker_listener: settings
            .text("inter.broker.listener.name")
            .map(|name| name.to_ascii_uppercase()),
    }
}

impl Config {
    /// `ketcd.draining` under the dynamic values of this broker.
    #[must_use]
    pub fn is_draining(&self, dynamic: &Dynamic<'_>) -> bool {
        let key = BROKER_KEYS.get("ketcd.draining").expect("a key of the registry");
        matches!(self.effective(key, dynamic).0, Some(Value::Boolean(true)))
    }
}
