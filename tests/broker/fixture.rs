//! Brokers for tests: one that all tests share, each with topics of its own, and brokers of one test.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::time::Duration;

use bytes::Bytes;
use ketcd::cli::node::Node;
use ketcd::config::{self, LoadOptions, Mode};
use ketcd::protocol::peer::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ketcd::protocol::peer::messages::fetch_request::{FetchPartition, FetchTopic};
use ketcd::protocol::peer::messages::fetch_response::PartitionData;
use ketcd::protocol::peer::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ketcd::protocol::peer::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ketcd::protocol::peer::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ketcd::protocol::peer::messages::produce_response::PartitionProduceResponse;
use ketcd::protocol::peer::messages::{
    CreateTopicsRequest, FetchRequest, FindCoordinatorRequest, GroupId, ListOffsetsRequest,
    OffsetFetchRequest, ProduceRequest, TopicName,
};
use ketcd::protocol::peer::{Peer, StrBytes};
use ketcd::protocol::records::{BatchBuilder, NewRecord};
use ketcd::types::Clock;
use tempfile::TempDir;
use uuid::Uuid;

/// How long anything may take on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// The configuration of a test broker over `data`, with more keys as `key=value`.
fn config(data: &Path, keys: &[&str]) -> config::Config {
    let mut set = vec![
        "listeners=PLAINTEXT://127.0.0.1:0".to_owned(),
        "etcd.embedded.listen=127.0.0.1:0".to_owned(),
        "admin.listen=127.0.0.1:0".to_owned(),
        format!("log.dirs={}", data.display()),
        "log.retention.check.interval.ms=200".to_owned(),
        "data.threads=2".to_owned(),
    ];
    set.extend(keys.iter().map(ToString::to_string));
    let options = LoadOptions {
        mode: Mode::Dev,
        file: None,
        env: BTreeMap::new(),
        flags: Vec::new(),
        set,
        read: Arc::new(|path: &Path| std::fs::read_to_string(path)),
    };
    config::load(&options).expect("a configuration without errors")
}

/// A broker of one test. Ends with [`OwnBroker::stop`].
pub struct OwnBroker {
    node: Node,
    pub address: String,
}

impl OwnBroker {
    /// Starts a broker over `data`; what it keeps there another one finds.
    pub async fn start(data: &Path, keys: &[&str]) -> Self {
        let node = Node::start(config(data, keys)).await.expect("the broker starts");
        let address = node.listeners()[0].address.to_string();
        Self { node, address }
    }

    /// The broker itself.
    pub const fn node(&self) -> &Node {
        &self.node
    }

    /// Where its embedded store is reached.
    pub fn etcd(&self) -> String {
        self.node.etcd_endpoint().expect("a broker with a store of its own")
    }

    pub async fn stop(self) {
        tokio::time::timeout(DEADLINE, self.node.stop()).await.expect("the broker stops");
    }
}

struct Shared {
    address: String,
    _data: TempDir,
}

/// The address of the broker that all tests share. It lives as long as this process, on a thread of its own.
pub fn shared() -> &'static str {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    let shared = SHARED.get_or_init(|| {
        let data = tempfile::Builder::new().prefix("ketcd-broker-test-").tempdir().unwrap();
        let configuration = config(data.path(), &["dev.ephemeral=true"]);
        let (tell, told) = mpsc::channel();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async move {
                let node = Node::start(configuration).await.expect("the shared broker starts");
                tell.send(node.listeners()[0].address.to_string()).unwrap();
                std::future::pending::<()>().await;
            });
        });
        Shared { address: told.recv().expect("the shared broker starts"), _data: data }
    });
    &shared.address
}

/// A typed connection to the shared broker.
pub async fn peer() -> Peer {
    connect(shared()).await
}

/// A typed connection to a broker.
pub async fn connect(address: &str) -> Peer {
    Peer::connect(address, "tests", DEADLINE).await.expect("the broker serves")
}

pub fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

pub fn named(topic: &str) -> TopicName {
    TopicName(text(topic))
}

pub fn now_ms() -> i64 {
    Clock::system().now_ms()
}

/// A topic name that no other test has.
pub fn fresh_name(word: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{word}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

#[derive(Debug, Clone)]
pub struct Topic {
    pub name: String,
    pub id: Uuid,
}

/// Makes a topic of its own for a test.
pub async fn topic_with(peer: &mut Peer, word: &str, partitions: i32, configs: &[(&str, &str)]) -> Topic {
    let name = fresh_name(word);
    let configs = configs.iter().map(|(name, value)| {
        CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
    });
    let wanted = CreatableTopic::default()
        .with_name(named(&name))
        .with_num_partitions(partitions)
        .with_replication_factor(1)
        .with_configs(configs.collect());
    let request = CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(30_000);
    let response = peer.call_at(&request, 7).await.unwrap();
    let made = &response.topics[0];
    assert_eq!(made.error_code, 0, "{made:?}");
    Topic { name, id: made.topic_id }
}

/// A topic of one partition with the default configuration.
pub async fn topic(peer: &mut Peer, word: &str) -> Topic {
    topic_with(peer, word, 1, &[]).await
}

/// A batch of one record per value, not compressed, stamped now.
pub fn batch(values: &[&str]) -> Bytes {
    let now = now_ms();
    batch_at(&values.iter().map(|value| (now, *value)).collect::<Vec<_>>())
}

/// A batch of records with their timestamps.
pub fn batch_at(records: &[(i64, &str)]) -> Bytes {
    build(BatchBuilder::new(), records)
}

/// Builds a batch of keyed records with a builder that already knows codec and producer.
pub fn build(mut builder: BatchBuilder, records: &[(i64, &str)]) -> Bytes {
    for (timestamp, value) in records {
        let record = NewRecord {
            timestamp: *timestamp,
            key: Some(b"key"),
            value: Some(value.as_bytes()),
            headers: &[(b"h", Some(b"1"))],
        };
        builder.push(record).unwrap();
    }
    builder.build()
}

/// A Produce request of one partition by name.
pub fn produce_request(topic: &str, partition: i32, acks: i16, records: Option<Bytes>) -> ProduceRequest {
    let data = PartitionProduceData::default().with_index(partition).with_records(records);
    let topic = TopicProduceData::default().with_name(named(topic)).with_partition_data(vec![data]);
    ProduceRequest::default().with_acks(acks).with_timeout_ms(30_000).with_topic_data(vec![topic])
}

/// Produces to one partition with acks=all and gives its answer.
pub async fn produce(
    peer: &mut Peer,
    topic: &str,
    partition: i32,
    records: Bytes,
) -> PartitionProduceResponse {
    let request = produce_request(topic, partition, -1, Some(records));
    let mut response = peer.call_at(&request, 12).await.unwrap();
    response.responses.remove(0).partition_responses.remove(0)
}

/// Produces values that must be taken; gives their first offset.
pub async fn produce_values(peer: &mut Peer, topic: &str, partition: i32, values: &[&str]) -> i64 {
    let answer = produce(peer, topic, partition, batch(values)).await;
    assert_eq!(answer.error_code, 0, "{answer:?}");
    answer.base_offset
}

/// One partition of a Fetch request, from `offset` on.
pub fn fetch_partition(partition: i32, offset: i64) -> FetchPartition {
    FetchPartition::default()
        .with_partition(partition)
        .with_current_leader_epoch(-1)
        .with_fetch_offset(offset)
        .with_partition_max_bytes(1 << 20)
}

/// A Fetch request by name (v4-12) that does not wait.
pub fn fetch_request(topic: &str, partitions: Vec<FetchPartition>) -> FetchRequest {
    let topic = FetchTopic::default().with_topic(named(topic)).with_partitions(partitions);
    FetchRequest::default()
        .with_replica_id((-1).into())
        .with_max_wait_ms(0)
        .with_min_bytes(1)
        .with_max_bytes(50 << 20)
        .with_session_id(0)
        .with_session_epoch(-1)
        .with_topics(vec![topic])
}

/// Fetches one partition without waiting and without a session.
pub async fn fetch(peer: &mut Peer, topic: &str, partition: i32, offset: i64) -> PartitionData {
    let request = fetch_request(topic, vec![fetch_partition(partition, offset)]);
    let mut response = peer.call_at(&request, 12).await.unwrap();
    assert_eq!(response.error_code, 0);
    response.responses.remove(0).partitions.remove(0)
}

/// Asks ListOffsets v10 for one partition: error code, timestamp, offset, leader epoch.
pub async fn list_offset(
    peer: &mut Peer,
    topic: &str,
    partition: i32,
    timestamp: i64,
) -> (i16, i64, i64, i32) {
    let asked = ListOffsetsPartition::default()
        .with_partition_index(partition)
        .with_current_leader_epoch(-1)
        .with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default().with_name(named(topic)).with_partitions(vec![asked]);
    let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
    let response = peer.call_at(&request, 10).await.unwrap();
    let found = &response.topics[0].partitions[0];
    (found.error_code, found.timestamp, found.offset, found.leader_epoch)
}

/// Tries until `look` finds something.
pub async fn eventually<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let found = tokio::time::timeout(DEADLINE, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"))
}

/// Waits until the broker coordinates groups: the first question makes the topic of committed offsets.
pub async fn groups_are_served(address: &str) {
    let mut peer = connect(address).await;
    // Each of the topic's partitions is led, and loaded, on its own.
    for group in 0..12 {
        let group = GroupId(text(&format!("warm-{group}")));
        eventually("the coordinator serves groups", async || {
            let find = FindCoordinatorRequest::default().with_coordinator_keys(vec![group.0.clone()]);
            let found = peer.call_at(&find, 4).await.unwrap().coordinators.remove(0).error_code;
            let asked = OffsetFetchRequestGroup::default().with_group_id(group.clone()).with_topics(None);
            let fetch = OffsetFetchRequest::default().with_groups(vec![asked]);
            let fetched = peer.call_at(&fetch, 8).await.unwrap().groups.remove(0).error_code;
            assert!(
                [0, 14, 15, 16].contains(&found) && [0, 14, 15, 16].contains(&fetched),
                "{found} {fetched}"
            );
            (found == 0 && fetched == 0).then_some(())
        })
        .await;
    }
}
