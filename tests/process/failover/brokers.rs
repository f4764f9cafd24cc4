//! Three brokers as processes over an etcd inside this one, and what etcd holds of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use ketcd::metadata::ConnectionOptions;
use ketcd::metadata::embedded::{EmbeddedEtcd, EmbeddedOptions};
use ketcd::metadata::inspect::Inspector;
use ketcd::metadata::keys::Keys;
use ketcd::protocol::error::ErrorCode;
use ketcd::protocol::peer::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use ketcd::protocol::peer::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use ketcd::protocol::peer::messages::{
    BrokerId, CreateTopicsRequest, IncrementalAlterConfigsRequest, TopicName,
};
use ketcd::protocol::peer::{Peer, StrBytes};
use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::kafka;
use crate::node::{Node, START_DEADLINE};

/// How long anything may take that must come.
pub const SOON: Duration = Duration::from_secs(30);
/// A lease that no test outlives: whatever happens is not its doing.
pub const LONG_LEASE: &str = "etcd.session.ttl=120s";

/// A partition's record in etcd.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    pub leader: Option<i64>,
    pub leader_epoch: i64,
    pub isr: Vec<i64>,
    pub elr: Vec<i64>,
    pub why: String,
}

pub struct Brokers {
    nodes: BTreeMap<i32, Node>,
    etcd: EmbeddedEtcd,
    data: TempDir,
}

impl Brokers {
    /// Starts brokers 1, 2 and 3 with more settings, and waits until they serve.
    pub async fn start(settings: &[&str]) -> Self {
        let data = TempDir::with_prefix("ketcd-failover-").unwrap();
        let options = EmbeddedOptions {
            path: Some(data.path().join("etcd")),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            ..EmbeddedOptions::default()
        };
        let etcd = EmbeddedEtcd::start(options).await.unwrap();
        let mut nodes = BTreeMap::new();
        for id in 1..=3 {
            let mut all = vec![format!("node.id={id}"), "replica.lag.time.max.ms=3000".to_owned()];
            all.push("auto.leader.rebalance.enable=false".to_owned());
            all.extend(settings.iter().map(ToString::to_string));
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            let mut node = Node::broker(&data.path().join(id.to_string()), &etcd.endpoint(), &all);
            node.spawn();
            nodes.insert(id, node);
        }
        let brokers = Self { nodes, etcd, data };
        for node in brokers.nodes.values() {
            node.wait_for_line(0, "ready", START_DEADLINE);
        }
        let all = |view: &[i64]| view == [1, 2, 3];
        brokers.until("three brokers are registered", async || all(&brokers.live().await)).await;
        brokers
    }

    pub fn at(&mut self, id: i32) -> &mut Node {
        self.nodes.get_mut(&id).unwrap()
    }

    pub fn node(&self, id: i32) -> &Node {
        &self.nodes[&id]
    }

    pub fn bootstrap(&self, id: i32) -> String {
        self.nodes[&id].bootstrap()
    }

    /// Where a broker keeps its logs.
    pub fn data_of(&self, id: i32) -> PathBuf {
        self.data.path().join(id.to_string())
    }

    pub fn kill(&mut self, id: i32) {
        self.at(id).kill();
    }

    pub fn signal(&self, id: i32, signal: Signal) {
        self.nodes[&id].signal(signal);
    }

    /// The sum of a metric over brokers that run.
    pub fn total(&self, ids: &[i32], metric: &str) -> f64 {
        ids.iter().map(|id| self.nodes[id].metric(metric)).sum()
    }

    async fn keys(&self, below: &str) -> Vec<(String, Value, i64)> {
        let connection = ConnectionOptions::new(vec![self.etcd.endpoint()]);
        let inspector = Inspector::new(connection, Keys::of_cluster("ketcd")).unwrap();
        let (entries, _) = inspector.list(below).await.unwrap();
        entries
            .into_iter()
            .map(|entry| (entry.key, entry.value.unwrap_or_default(), entry.create_revision))
            .collect()
    }

    /// Deletes a registration, as whoever thinks that the broker is dead would.
    pub async fn end_session(&self, id: i32) {
        let mut client = etcd_client::Client::connect([self.etcd.endpoint()], None).await.unwrap();
        client.delete(format!("/ketcd/ketcd/brokers/live/{id}"), None).await.unwrap();
    }

    /// Ids of the registered brokers.
    pub async fn live(&self) -> Vec<i64> {
        self.registrations().await.into_keys().collect()
    }

    /// Epochs and values of the registered brokers.
    pub async fn registrations(&self) -> BTreeMap<i64, (i64, Value)> {
        let keys = self.keys("brokers/live/").await;
        let id = |key: &str| key.rsplit('/').next().unwrap().parse().unwrap();
        keys.into_iter().map(|(key, value, created)| (id(&key), (created, value))).collect()
    }

    /// The records of all partitions of the only topic with records, by partition.
    pub async fn records(&self) -> BTreeMap<i32, Record> {
        let ids = |value: &Value| {
            let entries = value.as_array().cloned().unwrap_or_default();
            entries.iter().map(|entry| entry["id"].as_i64().unwrap()).collect()
        };
        let keys = self.keys("partitions/").await;
        let read = keys.into_iter().map(|(key, value, _)| {
            let partition = key.rsplit('/').next().unwrap().parse().unwrap();
            let record = Record {
                leader: value["leader"]["id"].as_i64(),
                leader_epoch: value["leader_epoch"].as_i64().unwrap(),
                isr: ids(&value["isr"]),
                elr: ids(&value["elr"]),
                why: value["why"].as_str().unwrap_or_default().to_owned(),
            };
            (partition, record)
        });
        read.collect()
    }

    /// Waits until a look at the cluster finds what is wanted. Returns how long that took.
    pub async fn until(&self, what: &str, mut wanted: impl AsyncFnMut() -> bool) -> Duration {
        let begun = Instant::now();
        while !wanted().await {
            if begun.elapsed() > SOON {
                let (records, live) = (self.records().await, self.registrations().await);
                panic!("never came: {what}\n{records:#?}\n{live:?}");
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        begun.elapsed()
    }

    /// Waits until the records are as wanted.
    pub async fn records_until(
        &self,
        what: &str,
        wanted: impl Fn(&BTreeMap<i32, Record>) -> bool,
    ) -> BTreeMap<i32, Record> {
        self.until(what, async || wanted(&self.records().await)).await;
        self.records().await
    }

    /// Creates a topic with these replicas, asking broker `by`, and waits until every living one knows it.
    pub async fn create_topic(&self, by: i32, name: &str, replicas: &[&[i32]], configs: &[(&str, &str)]) {
        let text = |text: &str| StrBytes::from_string(text.to_owned());
        let assignment = (0..).zip(replicas).map(|(index, ids)| {
            CreatableReplicaAssignment::default()
                .with_partition_index(index)
                .with_broker_ids(ids.iter().map(|id| BrokerId(*id)).collect())
        });
        let configs = configs.iter().map(|(key, value)| {
            CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
        });
        let request = CreateTopicsRequest::default().with_timeout_ms(30_000).with_topics(vec![
            CreatableTopic::default()
                .with_name(TopicName(text(name)))
                .with_num_partitions(-1)
                .with_replication_factor(-1)
                .with_assignments(assignment.collect())
                .with_configs(configs.collect()),
        ]);
        let answer = self.connect(by).await.call(&request).await.unwrap();
        let topic = &answer.topics[0];
        assert_eq!(kafka::code(topic.error_code), ErrorCode::None, "{:?}", topic.error_message);
    }

    /// Sets or deletes a dynamic key of one broker.
    pub async fn alter_broker(&self, by: i32, broker: i32, key: &str, value: Option<&str>) {
        let text = |text: &str| StrBytes::from_string(text.to_owned());
        let config = AlterableConfig::default()
            .with_name(text(key))
            .with_config_operation(i8::from(value.is_none()))
            .with_value(value.map(text));
        let request = IncrementalAlterConfigsRequest::default().with_resources(vec![
            AlterConfigsResource::default()
                .with_resource_type(4)
                .with_resource_name(text(&broker.to_string()))
                .with_configs(vec![config]),
        ]);
        let answer = self.connect(by).await.call(&request).await.unwrap();
        let resource = &answer.responses[0];
        assert_eq!(kafka::code(resource.error_code), ErrorCode::None, "{:?}", resource.error_message);
    }

    async fn connect(&self, id: i32) -> Peer {
        kafka::connect(&self.bootstrap(id)).await.unwrap()
    }

    /// Nothing went wrong that nobody asked for.
    pub fn assert_calm(&self) {
        for (id, node) in &self.nodes {
            let output = node.output();
            for bad in ["panicked", "ERROR", "breach"] {
                assert!(!output.contains(bad), "broker {id} says {bad:?}:\n{output}");
            }
        }
    }
}

/// Everybody but `id` leads: all partitions have a leader, and it is another one.
pub fn all_led_without(id: i64) -> impl Fn(&BTreeMap<i32, Record>) -> bool {
    move |records| {
        !records.is_empty() && records.values().all(|record| record.leader.is_some_and(|leader| leader != id))
    }
}
