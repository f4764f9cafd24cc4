//! `cluster`: one key per cluster, created by its first broker, never deleted.

use serde::{Deserialize, Serialize};

/// The key after the prefix.
pub(super) const KEY: &str = "cluster";

/// The layout of keys that this software reads and writes.
pub const LAYOUT_VERSION: u32 = 1;

/// Value of `cluster`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterValue {
    /// The cluster's id in Kafka's base64 form.
    pub cluster_id: String,
    /// Version of the layout of all keys.
    pub layout: u32,
    /// When the cluster was created, milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// Grows when an operator restores a backup of etcd.
    #[serde(default)]
    pub restore_generation: u32,
}
