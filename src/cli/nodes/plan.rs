//! What `ketcd dev --nodes N` starts: ports, directories and configuration of each node. Pure.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use crate::cli::exit::{CliError, Outcome};
use crate::config::Mode;
use crate::config::key::Tier;
use crate::config::registry::BROKER_KEYS;

/// The most nodes: beyond it their ports would run into the admin ports of other clusters.
pub const NODES_MAX: u8 = 9;
/// The port of the first node where none is given.
const PORT: u16 = 9092;
/// Distance of a node's admin port from its port for clients.
const ADMIN_PORT_OFFSET: u16 = 100;
/// Distance of the metadata store's port from the first node's.
const ETCD_PORT_OFFSET: u16 = 200;
/// Replicas of a partition, where there are as many nodes.
const REPLICAS: u8 = 3;

/// Keys that differ from node to node, or that tie the nodes to their store.
const OWN_KEYS: &[&str] = &[
    "node.id",
    "broker.id",
    "listeners",
    "advertised.listeners",
    "admin.listen",
    "log.dirs",
    "log.dir",
    "etcd.endpoints",
    "etcd.embedded.listen",
    "dev.ephemeral",
];

/// A cluster on one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Where everything is.
    pub data: PathBuf,
    /// Port of the metadata store.
    pub etcd_port: u16,
    /// The nodes, in the order of their ids.
    pub nodes: Vec<NodePlan>,
}

/// One node of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePlan {
    /// `node.id`, from 1.
    pub id: u8,
    /// Port for clients.
    pub port: u16,
    /// Admin port.
    pub admin_port: u16,
    /// Its log directory.
    pub data: PathBuf,
    /// Its configuration file, in Kafka's format.
    pub file: PathBuf,
    /// What that file says.
    pub properties: String,
    /// Where its log lines go.
    pub log: PathBuf,
}

impl Plan {
    /// The plan of `count` nodes from `port` on, under `data`, which is absolute. `set`: keys for all of them.
    ///
    /// # Errors
    /// Options that contradict each other.
    pub fn new(count: u8, port: Option<u16>, data: &Path, set: &[(String, String)]) -> Outcome<Self> {
        let port = port.unwrap_or(PORT);
        if port == 0 {
            return Err(CliError::usage(
                "--port 0 does not go with --nodes: a node that is started again needs its old port",
            )
            .help("ketcd dev --nodes 3 --port 19092"));
        }
        if port.checked_add(ETCD_PORT_OFFSET).is_none() {
            return Err(CliError::usage(format!(
                "--port {port} leaves no room for the admin ports and etcd's (P+{ETCD_PORT_OFFSET})"
            )));
        }
        if let Some((key, _)) = set.iter().find(|(key, _)| OWN_KEYS.contains(&key.as_str())) {
            return Err(CliError::usage(format!(
                "--set {key} does not go with --nodes: each node has its own"
            ))
            .help("--port and --data place the whole cluster"));
        }
        let etcd_port = port + ETCD_PORT_OFFSET;
        let nodes = (1..=count).map(|id| {
            let port = port + u16::from(id - 1);
            let data_of = data.join(format!("node-{id}"));
            let own = [
                ("node.id", id.to_string()),
                ("listeners", format!("PLAINTEXT://127.0.0.1:{port}")),
                ("admin.listen", format!("127.0.0.1:{}", port + ADMIN_PORT_OFFSET)),
                ("log.dirs", data_of.display().to_string()),
                ("etcd.endpoints", format!("http://127.0.0.1:{etcd_port}")),
            ];
            NodePlan {
                id,
                port,
                admin_port: port + ADMIN_PORT_OFFSET,
                file: data.join(format!("node-{id}.properties")),
                log: data.join(format!("node-{id}.log")),
                properties: properties(&own, count, set),
                data: data_of,
            }
        });
        Ok(Self { data: data.to_owned(), etcd_port, nodes: nodes.collect() })
    }

    /// Variables of the environment that must not get between a node and its file.
    pub fn hidden_variables() -> impl Iterator<Item = String> {
        let keys = OWN_KEYS.iter().flat_map(|key| {
            let name = key.to_ascii_uppercase().replace('.', "_");
            ["KETCD_", "KAFKA_", "KAFKA_CFG_"].map(|prefix| format!("{prefix}{name}"))
        });
        keys.chain(["KETCD_CONFIG", "KETCD_PORT", "KETCD_DATA"].map(str::to_owned))
    }

    /// The addresses for clients.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        let addresses: Vec<_> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        addresses.join(",")
    }
}

/// What a node's file says: what `ketcd dev` sets, replicas for as many nodes as there are, its own keys, and the user's last.
fn properties(own: &[(&str, String)], count: u8, set: &[(String, String)]) -> String {
    let replicas = count.min(REPLICAS);
    // Two of three must have a record before acks=all says so; of two, one: else nothing could be written while the other is away.
    let in_sync = if replicas == REPLICAS { 2 } else { 1 };
    let replication = [
        ("default.replication.factor", replicas),
        ("min.insync.replicas", in_sync),
        ("offsets.topic.replication.factor", replicas),
        ("transaction.state.log.replication.factor", replicas),
        ("transaction.state.log.min.isr", in_sync),
        ("share.coordinator.state.topic.replication.factor", replicas),
        ("share.coordinator.state.topic.min.isr", in_sync),
    ];
    let mut entries: Vec<(String, String)> = Vec::new();
    let mut put = |key: &str, value: String| {
        entries.retain(|(known, _)| known != key);
        entries.push((key.to_owned(), value));
    };
    // Keys of features that are not there yet would only be noted at each start.
    let effective =
        |key: &str| BROKER_KEYS.get(key).is_some_and(|key| matches!(key.tier, Tier::Effective | Tier::Ours));
    for (key, value) in Mode::Dev.bundle().iter().filter(|(key, _)| effective(key) && !OWN_KEYS.contains(key))
    {
        put(key, (*value).to_owned());
    }
    for (key, value) in replication.into_iter().filter(|(key, _)| effective(key)) {
        put(key, value.to_string());
    }
    for (key, value) in own {
        put(key, value.clone());
    }
    for (key, value) in set {
        put(key, value.clone());
    }
    let mut text = String::from("# Written by `ketcd dev --nodes` at each start.\n");
    for (key, value) in entries {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{key}={}", escaped(&value));
    }
    text
}

/// A value as it stands in a properties file.
fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::sync::Arc;

    use super::*;
    use crate::config::{self, EtcdEndpoints, LoadOptions};

    fn plan(count: u8, set: &[(&str, &str)]) -> Outcome<Plan> {
        let set: Vec<_> = set.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Plan::new(count, Some(19092), Path::new("/tmp/a b\\c"), &set)
    }

    fn loaded(node: &NodePlan) -> config::Config {
        let text = node.properties.clone();
        let options = LoadOptions {
            mode: Mode::Broker,
            file: Some(node.file.clone()),
            env: BTreeMap::new(),
            flags: Vec::new(),
            set: Vec::new(),
            read: Arc::new(move |path: &Path| match path.extension() {
                Some(_) => Ok(text.clone()),
                None => Ok("host\n".to_owned()),
            }),
        };
        config::load(&options).unwrap()
    }

    #[test]
    fn three_nodes_have_a_file_each_that_says_who_and_where_they_are() {
        let plan = plan(3, &[("num.partitions", "6")]).unwrap();
        assert_eq!(
            (plan.etcd_port, plan.bootstrap().as_str()),
            (19292, "127.0.0.1:19092,127.0.0.1:19093,127.0.0.1:19094")
        );
        for (node, id) in plan.nodes.iter().zip(1_u16..) {
            let config = loaded(node);
            assert!(config.warnings().is_empty(), "{:?}", config.warnings());
            let keys = config.broker();
            assert_eq!(keys.node_id.map(|id| id.get()), Some(i32::from(id)));
            assert_eq!(keys.listeners[0].port, 19091 + id);
            assert_eq!(keys.admin_listen.unwrap().port(), 19191 + id);
            assert_eq!(keys.log_dirs, [Path::new("/tmp/a b\\c").join(format!("node-{id}"))]);
            assert_eq!(keys.etcd.endpoints, EtcdEndpoints::Servers(vec!["http://127.0.0.1:19292".into()]));
            assert_eq!((keys.cluster_name.as_str(), keys.num_partitions), ("dev", 6));
            assert_eq!(
                (keys.default_replication_factor, keys.groups.offsets_topic_replication_factor),
                (3, 3)
            );
        }
    }

    #[test]
    fn two_nodes_go_on_when_one_is_away() {
        let text = &plan(2, &[]).unwrap().nodes[1].properties;
        assert!(text.contains("default.replication.factor=2\nmin.insync.replicas=1\n"), "{text}");
        let set = &plan(3, &[("min.insync.replicas", "1")]).unwrap().nodes[0].properties;
        assert!(set.contains("min.insync.replicas=1") && !set.contains("min.insync.replicas=2"), "{set}");
    }

    #[test]
    fn what_each_node_must_have_for_itself_cannot_be_set_for_all() {
        for key in ["node.id", "listeners", "log.dirs", "etcd.endpoints"] {
            assert!(plan(3, &[(key, "1")]).unwrap_err().cause.contains(key));
        }
        assert!(Plan::new(3, Some(0), Path::new("/d"), &[]).is_err());
        assert!(Plan::new(3, Some(65_500), Path::new("/d"), &[]).is_err());
    }
}
