//! One file per Kafka API, one line per API in [`REGISTRY`]; the map from our errors to Kafka's codes.
//!
//! Handlers keep no state between requests: fetch sessions, partitions and metadata live in `broker/` and below. A handler takes
//! one decoded request and says how its answer comes ([`Handled`]): at once, later, or never. It never blocks and never waits on
//! etcd while it holds its connection's turn.

pub mod reply;

pub use reply::{CloseReason, Connection, Reply, Response, Service};
