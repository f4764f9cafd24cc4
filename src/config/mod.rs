//! Configuration: every key declared once.

pub mod topic;

pub use topic::{CompressionType, TopicConfig};
