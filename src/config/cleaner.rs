//! What the log cleaner runs with: broker keys that may change while it runs.

use super::load::Config;
use super::registry::BROKER_KEYS;
use super::topic_values::Dynamic;
use super::value::Value;
use crate::types::Millis;

/// Least memory of one thread for its map of keys, as Kafka's.
const MAP_BYTES_MIN: u64 = 1 << 20;

/// The keys `log.cleaner.*` that are not also topic keys.
#[derive(Debug, Clone, PartialEq)]
pub struct CleanerConfig {
    /// `log.cleaner.enable`.
    pub enable: bool,
    /// `log.cleaner.threads`.
    pub threads: usize,
    /// `log.cleaner.io.max.bytes.per.second`, of all threads together.
    pub io_max_bytes_per_second: f64,
    /// `log.cleaner.dedupe.buffer.size`: the memory for maps of keys, of all threads together. Taken only while a log is cleaned, and
    /// only as much as its records need.
    pub dedupe_buffer_bytes: u64,
    /// `log.cleaner.io.buffer.size`.
    pub io_buffer_bytes: usize,
    /// `log.cleaner.io.buffer.load.factor`.
    pub load_factor: f64,
    /// `log.cleaner.backoff.ms`.
    pub backoff_ms: Millis,
}

impl CleanerConfig {
    /// How many threads should run.
    #[must_use]
    pub const fn running_threads(&self) -> usize {
        if self.enable { self.threads } else { 0 }
    }
}

impl Default for CleanerConfig {
    fn default() -> Self {
        Self {
            enable: true,
            threads: 1,
            io_max_bytes_per_second: f64::MAX,
            dedupe_buffer_bytes: 134_217_728,
            io_buffer_bytes: 524_288,
            load_factor: 0.9,
            backoff_ms: 15_000,
        }
    }
}

impl Config {
    /// The log cleaner's configuration under the dynamic values of this broker.
    #[must_use]
    pub fn cleaner(&self, dynamic: &Dynamic<'_>) -> CleanerConfig {
        let value = |name: &str| {
            let key = BROKER_KEYS.get(name).expect("the caller names a key of the registry");
            self.effective(key, dynamic).0
        };
        let long = |name: &str| value(name).map_or(0, |value| value.integer());
        let fraction = |name: &str| match value(name) {
            Some(Value::Double(number)) => number,
            _ => 0.0,
        };
        let threads = usize::try_from(long("log.cleaner.threads")).unwrap_or_default();
        CleanerConfig {
            // Read-only, as in Kafka.
            enable: self.settings().boolean("log.cleaner.enable"),
            threads,
            io_max_bytes_per_second: fraction("log.cleaner.io.max.bytes.per.second"),
            dedupe_buffer_bytes: u64::try_from(long("log.cleaner.dedupe.buffer.size"))
                .unwrap_or_default()
                .max(MAP_BYTES_MIN * threads.max(1) as u64),
            io_buffer_bytes: usize::try_from(long("log.cleaner.io.buffer.size")).unwrap_or_default(),
            load_factor: fraction("log.cleaner.io.buffer.load.factor"),
            backoff_ms: long("log.cleaner.backoff.ms"),
        }
    }
}
