//! Configuration: every key declared once, every value with its origin.
//!
//! This room owns the registry of keys (Kafka's names, types and defaults), the readers of every place a value can come from
//! (`server.properties`, `ketcd.toml`, environment, flags), the reports about what is wrong with them, and what follows from
//! the values: [`BrokerConfig`], [`TopicConfig`], the rows of DescribeConfigs and the checks of AlterConfigs. It never opens a
//! socket and never writes; files are read through [`ReadText`], which its caller hands in.
//!
//! Read first: [`key`], then [`load()`].

pub mod alter;
pub mod broker;
mod cleaner;
pub mod convert;
pub mod describe;
pub mod environment;
mod groups;
pub mod key;
mod listeners;
mod load;
mod machine;
mod merge;
pub mod origin;
mod placeholder;
pub mod problem;
mod properties;
pub mod registry;
mod replication;
pub mod sample;
mod template;
#[cfg(test)]
mod tests;
mod toml_file;
pub mod topic;
mod topic_values;
pub mod value;

pub use alter::{
    AlterError, AlterOp, BrokerScope, Change, validate_broker_change, validate_group_change,
    validate_topic_change, validate_topic_configs,
};
pub use broker::{AdvertisedListener, BrokerConfig, EtcdConfig, EtcdEndpoints, ListenerConfig, LogFormat};
pub use cleaner::CleanerConfig;
pub use describe::{ConfigRow, ConfigSource, Synonym};
pub use groups::{GroupConfig, Range};
pub use load::{Config, LoadOptions, ReadText, inspect, load};
pub use merge::{Flag, Setting, Settings};
pub use origin::{Mode, Origin};
pub use problem::{ConfigErrors, Problem};
pub use replication::ReplicationConfig;
pub use topic::{CompressionType, TopicConfig};
pub use topic_values::Dynamic;
