//! Two brokers in this process over one metadata store: followers have what their leaders have, byte for byte.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use ketcd::protocol::peer::Peer;
use ketcd::protocol::peer::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ketcd::protocol::peer::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use ketcd::protocol::peer::messages::fetch_request::{FetchPartition, ReplicaState};
use ketcd::protocol::peer::messages::metadata_request::MetadataRequestTopic;
use ketcd::protocol::peer::messages::{
    CreateTopicsRequest, DeleteRecordsRequest, FetchResponse, MetadataRequest,
};
use tempfile::TempDir;

use crate::fixture::{
    DEADLINE, OwnBroker, batch, connect, eventually, fetch, fetch_partition, fetch_request, fresh_name,
    named, produce, text,
};

struct Two {
    data: [TempDir; 2],
    first: OwnBroker,
    second: Option<OwnBroker>,
}

impl Two {
    async fn start() -> Self {
        let data = [TempDir::new().unwrap(), TempDir::new().unwrap()];
        let first = OwnBroker::start(data[0].path(), &["node.id=0"]).await;
        let mut two = Self { data, first, second: None };
        two.start_second().await;
        two
    }

    async fn start_second(&mut self) {
        let etcd = self.first.node().etcd_endpoint().unwrap();
        let etcd = format!("etcd.endpoints={etcd}");
        let keys = ["node.id=1", "replica.fetch.backoff.ms=200", etcd.as_str()];
        self.second = Some(OwnBroker::start(self.data[1].path(), &keys).await);
    }

    async fn stop_second(&mut self) {
        self.second.take().unwrap().stop().await;
    }

    async fn stop(mut self) {
        self.stop_second().await;
        self.first.stop().await;
    }

    async fn topic(&self, partitions: i32, configs: &[(&str, &str)]) -> String {
        let name = fresh_name("replicated");
        let configs = configs.iter().map(|(name, value)| {
            CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)))
        });
        let wanted = CreatableTopic::default()
            .with_name(named(&name))
            .with_num_partitions(partitions)
            .with_replication_factor(2)
            .with_configs(configs.collect());
        let request = CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(30_000);
        let response = connect(&self.first.address).await.call_at(&request, 7).await.unwrap();
        assert_eq!(response.topics[0].error_code, 0, "{:?}", response.topics[0]);
        name
    }

    /// Leader, address and size of the ISR of each partition.
    async fn leaders(&self, topic: &str) -> BTreeMap<i32, (i32, String, usize)> {
        let asked = MetadataRequestTopic::default().with_name(Some(named(topic)));
        let request = MetadataRequest::default().with_topics(Some(vec![asked]));
        let response = connect(&self.first.address).await.call_at(&request, 9).await.unwrap();
        let addresses: BTreeMap<i32, String> = response
            .brokers
            .iter()
            .map(|broker| (broker.node_id.0, format!("{}:{}", broker.host, broker.port)))
            .collect();
        let partitions = response.topics[0].partitions.iter();
        partitions
            .filter_map(|it| {
                let address = addresses.get(&it.leader_id.0)?.clone();
                Some((it.partition_index, (it.leader_id.0, address, it.isr_nodes.len())))
            })
            .collect()
    }

    async fn all_in_sync(&self, topic: &str, partitions: usize) {
        eventually("all replicas are in sync", async || {
            let leaders = self.leaders(topic).await;
            (leaders.len() == partitions && leaders.values().all(|(.., isr)| *isr == 2)).then_some(())
        })
        .await;
    }

    /// Produces one value with acks=all to wherever the partition is led, as often as it takes.
    async fn produce(
        &self,
        peers: &mut BTreeMap<String, Peer>,
        topic: &str,
        partition: i32,
        value: &str,
    ) -> i64 {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some((_, address, _)) = self.leaders(topic).await.get(&partition) {
                if !peers.contains_key(address)
                    && let Ok(peer) = Peer::connect(address, "tests", DEADLINE).await
                {
                    peers.insert(address.clone(), peer);
                }
                if let Some(peer) = peers.get_mut(address) {
                    match try_produce(peer, topic, partition, value).await {
                        Some(offset) => return offset,
                        None => drop(peers.remove(address)),
                    }
                }
            }
            assert!(Instant::now() < deadline, "not produced in time");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the replicas of `topic` are equal.
    async fn are_equal(&self, topic: &str, partitions: i32) {
        for partition in 0..partitions {
            eventually("the replicas are equal", async || {
                let [a, b] =
                    [&self.data[0], &self.data[1]].map(|data| log_bytes(data.path(), topic, partition));
                (!a.is_empty() && a == b).then_some(())
            })
            .await;
        }
    }
}

async fn try_produce(peer: &mut Peer, topic: &str, partition: i32, value: &str) -> Option<i64> {
    use crate::fixture::produce_request;
    let request = produce_request(topic, partition, -1, Some(batch(&[value])));
    let mut response = peer.call_at(&request, 12).await.ok()?;
    let answer = response.responses.remove(0).partition_responses.remove(0);
    (answer.error_code == 0).then_some(answer.base_offset)
}

/// The batches of a partition's segments, without the zeros of what is only preallocated.
fn log_bytes(data: &Path, topic: &str, partition: i32) -> Vec<u8> {
    let Ok(entries) = std::fs::read_dir(data.join(format!("{topic}-{partition}"))) else { return Vec::new() };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    paths.sort();
    let mut bytes: Vec<u8> = paths.iter().flat_map(|path| std::fs::read(path).unwrap()).collect();
    while bytes.last() == Some(&0) {
        bytes.pop();
    }
    bytes
}

fn values(records: Option<&bytes::Bytes>) -> Vec<String> {
    crate::wire::values_of(records)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_all_replicas_acknowledged_is_the_same_bytes_on_both() {
    let two = Two::start().await;
    let topic = two.topic(4, &[("min.insync.replicas", "2")]).await;
    two.all_in_sync(&topic, 4).await;
    let mut peers = BTreeMap::new();
    for round in 0..20 {
        for partition in 0..4 {
            let offset = two.produce(&mut peers, &topic, partition, &format!("{round}")).await;
            assert_eq!(offset, round);
        }
    }
    let leaders: Vec<i32> = two.leaders(&topic).await.values().map(|(leader, ..)| *leader).collect();
    assert!(leaders.contains(&0) && leaders.contains(&1), "both lead: {leaders:?}");
    two.are_equal(&topic, 4).await;
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_survive_leaders_that_come_and_go() {
    let mut two = Two::start().await;
    let topic = two.topic(2, &[("min.insync.replicas", "1")]).await;
    two.all_in_sync(&topic, 2).await;
    let mut peers = BTreeMap::new();
    let mut sent: BTreeMap<i32, Vec<String>> = BTreeMap::new();
    for round in 0..3 {
        for step in ["both", "alone", "again"] {
            match step {
                "alone" => two.stop_second().await,
                "again" => {
                    two.start_second().await;
                    two.all_in_sync(&topic, 2).await;
                }
                _ => {}
            }
            for partition in 0..2 {
                for number in 0..5 {
                    let value = format!("{round} {step} {number}");
                    two.produce(&mut peers, &topic, partition, &value).await;
                    sent.entry(partition).or_default().push(value);
                }
            }
        }
    }
    two.are_equal(&topic, 2).await;
    for (partition, sent) in sent {
        let (_, address, _) = two.leaders(&topic).await[&partition].clone();
        let mut peer = connect(&address).await;
        let fetched = fetch(&mut peer, &topic, partition, 0).await;
        let mut found = values(fetched.records.as_ref());
        // A repetition whose first answer was lost is no loss.
        found.dedup();
        assert_eq!(found, sent);
    }
    two.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_records_are_deleted_on_the_follower_too() {
    let two = Two::start().await;
    let topic = two.topic(1, &[]).await;
    two.all_in_sync(&topic, 1).await;
    let (leader, address, _) = two.leaders(&topic).await[&0].clone();
    let mut peer = connect(&address).await;
    for value in ["a", "b", "c"] {
        assert_eq!(produce(&mut peer, &topic, 0, batch(&[value])).await.error_code, 0);
    }
    let before = DeleteRecordsPartition::default().with_partition_index(0).with_offset(2);
    let before = DeleteRecordsTopic::default().with_name(named(&topic)).with_partitions(vec![before]);
    let request = DeleteRecordsRequest::default().with_topics(vec![before]).with_timeout_ms(30_000);
    assert_eq!(peer.call_at(&request, 2).await.unwrap().topics[0].partitions[0].error_code, 0);
    let follower = if leader == 0 { two.second.as_ref().unwrap() } else { &two.first };
    let partition =
        follower.node().broker().partitions().topic(&topic).unwrap().partition(0).cloned().unwrap();
    eventually("the follower's log begins where the leader's does", async || {
        (partition.log().log_start_offset().get() == 2 && partition.log().high_watermark().get() == 3)
            .then_some(())
    })
    .await;
    two.stop().await;
}

/// What the follower of [`Two`] would be told: partition, high watermark and values.
fn told(answer: &FetchResponse) -> Vec<(i32, i64, Vec<String>)> {
    assert_eq!(answer.error_code, 0, "{answer:?}");
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
    let told = partitions.map(|it| {
        assert_eq!(it.error_code, 0, "{it:?}");
        (it.partition_index, it.high_watermark, values(it.records.as_ref()))
    });
    told.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_followers_session_is_told_what_is_new_until_it_says_that_it_has_it() {
    let mut two = Two::start().await;
    let topic = two.topic(3, &[("min.insync.replicas", "1")]).await;
    two.all_in_sync(&topic, 3).await;
    two.stop_second().await;
    eventually("the first broker leads alone", async || {
        two.leaders(&topic).await.values().all(|(leader, _, isr)| (*leader, *isr) == (0, 1)).then_some(())
    })
    .await;
    let asked = MetadataRequestTopic::default().with_name(Some(named(&topic)));
    let request = MetadataRequest::default().with_topics(Some(vec![asked]));
    let (mut peer, mut producer) = (connect(&two.first.address).await, connect(&two.first.address).await);
    let id = peer.call_at(&request, 12).await.unwrap().topics[0].topic_id;
    // As broker 1 would fetch, were it there.
    let ask = |partitions: Vec<FetchPartition>, session: i32, epoch: i32, wait: i32| {
        let state = ReplicaState::default().with_replica_id(1.into()).with_replica_epoch(1);
        let mut request = fetch_request("", partitions).with_replica_state(state);
        request.topics[0].topic_id = id;
        request.topics.retain(|topic| !topic.partitions.is_empty());
        request.with_session_id(session).with_session_epoch(epoch).with_max_wait_ms(wait)
    };
    // Longer than any answer is waited for.
    const LONG: i32 = 600_000;
    let all = (0..3).map(|index| fetch_partition(index, 0)).collect();
    let answer = peer.call_at(&ask(all, 0, 0, 0), 15).await.unwrap();
    assert_eq!(told(&answer), [(0, 0, vec![]), (1, 0, vec![]), (2, 0, vec![])]);
    let session = answer.session_id;
    let mut next = 0;
    let mut ask = |partitions: Vec<FetchPartition>, wait: i32| {
        next += 1;
        ask(partitions, session, next, wait)
    };
    for (number, value) in ["a", "b"].into_iter().enumerate() {
        let offset = i64::try_from(number).unwrap();
        let waiting = ask(vec![], LONG);
        let (answer, _) = tokio::join!(peer.call_at(&waiting, 15), async {
            try_produce(&mut producer, &topic, 2, value).await.unwrap()
        });
        let news = vec![(2, offset + 1, vec![value.to_owned()])];
        assert_eq!(told(&answer.unwrap()), news, "the one that has something, and at once");
        let answer = peer.call_at(&ask(vec![], LONG), 15).await.unwrap();
        assert_eq!(told(&answer), news, "it did not say that it has it");
        let answer = peer.call_at(&ask(vec![fetch_partition(2, offset + 1)], 0), 15).await.unwrap();
        assert_eq!(told(&answer), [(2, offset + 1, vec![])], "a new place is answered");
        assert_eq!(told(&peer.call_at(&ask(vec![], 0), 15).await.unwrap()), []);
    }
    two.start_second().await;
    two.stop().await;
}
