//! Several brokers over one store: placement, reassignments, elections, brokers that are away, the end of a deleted topic.

use std::collections::BTreeSet;

use ketcd::metadata::inspect::Inspector;
use ketcd::metadata::{ConnectionOptions, keys::Keys};
use ketcd::protocol::peer::Peer;
use ketcd::protocol::peer::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use ketcd::protocol::peer::messages::create_topics_request::{CreatableReplicaAssignment, CreatableTopic};
use ketcd::protocol::peer::messages::delete_topics_request::DeleteTopicState;
use ketcd::protocol::peer::messages::describe_log_dirs_request::DescribableLogDirTopic;
use ketcd::protocol::peer::messages::elect_leaders_request::TopicPartitions;
use ketcd::protocol::peer::messages::list_partition_reassignments_response::OngoingPartitionReassignment;
use ketcd::protocol::peer::messages::metadata_request::MetadataRequestTopic;
use ketcd::protocol::peer::messages::metadata_response::MetadataResponsePartition;
use ketcd::protocol::peer::messages::{
    AlterPartitionReassignmentsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeClusterRequest,
    DescribeLogDirsRequest, ElectLeadersRequest, ListPartitionReassignmentsRequest, MetadataRequest,
    UnregisterBrokerRequest,
};
use tempfile::TempDir;

use crate::fixture::{OwnBroker, connect, eventually, fetch, fresh_name, named, produce_values};
use crate::wire::values_of;

const INVALID_REPLICATION_FACTOR: i16 = 38;
const INVALID_REPLICA_ASSIGNMENT: i16 = 39;
const INVALID_REQUEST: i16 = 42;
const PREFERRED_LEADER_NOT_AVAILABLE: i16 = 80;
const ELIGIBLE_LEADERS_NOT_AVAILABLE: i16 = 83;
const ELECTION_NOT_NEEDED: i16 = 84;
const NO_REASSIGNMENT_IN_PROGRESS: i16 = 85;
const BROKER_ID_NOT_REGISTERED: i16 = 102;

/// Brokers 0, 1 and 2; the first one carries the store.
struct Trio {
    brokers: Vec<Option<OwnBroker>>,
    data: Vec<TempDir>,
    etcd: String,
    keys: Vec<String>,
}

impl Trio {
    async fn start() -> Self {
        Self::start_with(&[]).await
    }

    async fn start_with(keys: &[&str]) -> Self {
        let keys: Vec<String> = ["replica.lag.time.max.ms=1000", "etcd.session.ttl=2000"]
            .iter()
            .chain(keys)
            .map(ToString::to_string)
            .collect();
        let data: Vec<TempDir> = (0..3).map(|_| TempDir::new().unwrap()).collect();
        let mut trio = Self { brokers: vec![None, None, None], data, etcd: String::new(), keys };
        for id in 0..3 {
            trio.run(id).await;
        }
        let mut peer = trio.peer(0).await;
        eventually("every broker knows every other", async || {
            let answer =
                peer.call_at(&MetadataRequest::default().with_topics(Some(vec![])), 12).await.unwrap();
            (answer.brokers.len() == 3 && answer.controller_id.0 >= 0).then_some(())
        })
        .await;
        trio
    }

    async fn run(&mut self, id: usize) {
        let (node, endpoints) = (format!("node.id={id}"), format!("etcd.endpoints={}", self.etcd));
        let mut keys: Vec<&str> = self.keys.iter().map(String::as_str).collect();
        keys.push(&node);
        if id > 0 {
            keys.push(&endpoints);
        }
        let broker = OwnBroker::start(self.data[id].path(), &keys).await;
        if id == 0 {
            self.etcd = broker.etcd();
        }
        self.brokers[id] = Some(broker);
    }

    async fn peer(&self, id: usize) -> Peer {
        connect(&self.brokers[id].as_ref().unwrap().address).await
    }

    async fn stop_one(&mut self, id: usize) {
        self.brokers[id].take().unwrap().stop().await;
    }

    async fn stop(mut self) {
        for id in (0..3).rev() {
            if let Some(broker) = self.brokers[id].take() {
                broker.stop().await;
            }
        }
    }
}

/// A topic with these replicas of each partition.
async fn create(peer: &mut Peer, assignment: &[&[i32]]) -> (String, i16) {
    let name = fresh_name("replicas");
    let one = |(index, ids): (usize, &&[i32])| {
        CreatableReplicaAssignment::default()
            .with_partition_index(i32::try_from(index).unwrap())
            .with_broker_ids(ids.iter().map(|id| (*id).into()).collect())
    };
    let topic = CreatableTopic::default()
        .with_name(named(&name))
        .with_num_partitions(-1)
        .with_replication_factor(-1)
        .with_assignments(assignment.iter().enumerate().map(one).collect());
    (name, create_topic(peer, topic).await)
}

async fn create_topic(peer: &mut Peer, topic: CreatableTopic) -> i16 {
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
    peer.call_at(&request, 7).await.unwrap().topics[0].error_code
}

async fn partitions(peer: &mut Peer, topic: &str) -> Vec<MetadataResponsePartition> {
    let asked = MetadataRequestTopic::default().with_name(Some(named(topic)));
    let request = MetadataRequest::default().with_topics(Some(vec![asked]));
    peer.call_at(&request, 12).await.unwrap().topics.remove(0).partitions
}

async fn partition(peer: &mut Peer, topic: &str) -> MetadataResponsePartition {
    partitions(peer, topic).await.remove(0)
}

fn ids<T: Copy + Into<i32>>(ids: &[T]) -> Vec<i32> {
    ids.iter().map(|id| (*id).into()).collect()
}

async fn reassign(peer: &mut Peer, topic: &str, target: Option<&[i32]>) -> i16 {
    let target = target.map(|ids| ids.iter().map(|id| (*id).into()).collect());
    let partition = ReassignablePartition::default().with_partition_index(0).with_replicas(target);
    let topic = ReassignableTopic::default().with_name(named(topic)).with_partitions(vec![partition]);
    let request =
        AlterPartitionReassignmentsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
    peer.call_at(&request, 1).await.unwrap().responses[0].partitions[0].error_code
}

async fn moving(peer: &mut Peer) -> Vec<OngoingPartitionReassignment> {
    let request = ListPartitionReassignmentsRequest::default().with_topics(None);
    let answer = peer.call_at(&request, 0).await.unwrap();
    answer.topics.into_iter().flat_map(|topic| topic.partitions).collect()
}

/// The errors of an election at one partition, or what an election everywhere tells.
async fn elect(peer: &mut Peer, kind: i8, topic: Option<&str>) -> Vec<i16> {
    let topics =
        topic.map(|name| vec![TopicPartitions::default().with_topic(named(name)).with_partitions(vec![0])]);
    let request = ElectLeadersRequest::default()
        .with_election_type(kind)
        .with_topic_partitions(topics)
        .with_timeout_ms(10_000);
    let answer = peer.call_at(&request, 2).await.unwrap();
    assert_eq!(answer.error_code, 0);
    let results = answer.replica_election_results.iter().flat_map(|topic| &topic.partition_result);
    results.map(|result| result.error_code).collect()
}

async fn in_sync(peer: &mut Peer, topic: &str, count: usize) {
    eventually("all replicas are in sync", async || {
        (partition(peer, topic).await.isr_nodes.len() == count).then_some(())
    })
    .await;
}

/// Whether a broker has a log of the topic.
async fn has_log(peer: &mut Peer, topic: &str) -> bool {
    let asked = DescribableLogDirTopic::default().with_topic(named(topic)).with_partitions(vec![0]);
    let request = DescribeLogDirsRequest::default().with_topics(Some(vec![asked]));
    let answer = peer.call_at(&request, 4).await.unwrap();
    answer.results.iter().any(|directory| !directory.topics.is_empty())
}

#[tokio::test]
async fn replicas_are_placed_over_the_brokers_and_what_cannot_be_is_refused() {
    let trio = Trio::start().await;
    let mut peer = trio.peer(1).await;
    let spread = fresh_name("spread");
    let topic =
        CreatableTopic::default().with_name(named(&spread)).with_num_partitions(6).with_replication_factor(3);
    assert_eq!(create_topic(&mut peer, topic.clone()).await, 0);
    let made = partitions(&mut peer, &spread).await;
    assert!(made.iter().all(|one| ids(&one.replica_nodes).into_iter().collect::<BTreeSet<_>>().len() == 3));
    let mut leaders: Vec<i32> = made.iter().map(|one| one.leader_id.0).collect();
    leaders.sort_unstable();
    assert_eq!(leaders, [0, 0, 1, 1, 2, 2]);
    let too_many = topic.with_name(named("too-many")).with_replication_factor(4);
    assert_eq!(create_topic(&mut peer, too_many).await, INVALID_REPLICATION_FACTOR);
    for wrong in [&[&[0, 9][..]][..], &[&[1, 1]], &[&[]], &[&[0, 1], &[2]]] {
        assert_eq!(create(&mut peer, wrong).await.1, INVALID_REPLICA_ASSIGNMENT, "{wrong:?}");
    }
    let (name, code) = create(&mut peer, &[&[2, 0], &[0, 1]]).await;
    assert_eq!(code, 0);
    let made = partitions(&mut peer, &name).await;
    assert_eq!((ids(&made[0].replica_nodes), made[0].leader_id.0), (vec![2, 0], 2));
    trio.stop().await;
}

#[tokio::test]
async fn a_reassignment_moves_the_records_the_leadership_and_the_log() {
    let trio = Trio::start().await;
    let (mut first, mut second, mut third) = (trio.peer(0).await, trio.peer(1).await, trio.peer(2).await);
    let (name, code) = create(&mut first, &[&[0]]).await;
    assert_eq!(code, 0);
    produce_values(&mut first, &name, 0, &["a", "b"]).await;
    assert!(has_log(&mut first, &name).await && !has_log(&mut second, &name).await);
    // Any broker takes it.
    assert_eq!(reassign(&mut third, &name, Some(&[1, 2])).await, 0);
    eventually("the reassignment is complete", async || {
        let state = partition(&mut third, &name).await;
        (ids(&state.replica_nodes) == [1, 2] && state.leader_id.0 == 1).then_some(())
    })
    .await;
    assert!(moving(&mut third).await.is_empty());
    eventually("the old log is gone", async || (!has_log(&mut first, &name).await).then_some(())).await;
    let read = eventually("the new leader serves", async || {
        let read = fetch(&mut second, &name, 0, 0).await;
        (read.error_code == 0).then_some(read)
    })
    .await;
    assert_eq!(values_of(read.records.as_ref()), ["a", "b"]);
    assert!(has_log(&mut third, &name).await);
    trio.stop().await;
}

#[tokio::test]
async fn a_reassignment_to_a_broker_that_is_away_waits_and_can_be_cancelled() {
    let mut trio = Trio::start().await;
    let mut peer = trio.peer(0).await;
    let (name, code) = create(&mut peer, &[&[0, 1]]).await;
    assert_eq!(code, 0);
    trio.stop_one(2).await;
    assert_eq!(reassign(&mut peer, &name, Some(&[2, 0])).await, 0);
    let state = moving(&mut peer).await.remove(0);
    assert_eq!(ids(&state.replicas), [2, 0, 1]);
    assert_eq!((ids(&state.adding_replicas), ids(&state.removing_replicas)), (vec![2], vec![1]));
    assert_eq!(
        partition(&mut peer, &name).await.offline_replicas.iter().map(|id| id.0).collect::<Vec<_>>(),
        [2]
    );
    assert_eq!(reassign(&mut peer, &name, None).await, 0);
    assert!(moving(&mut peer).await.is_empty());
    let state = partition(&mut peer, &name).await;
    assert_eq!(ids(&state.replica_nodes).into_iter().collect::<BTreeSet<_>>(), BTreeSet::from([0, 1]));
    assert_eq!(reassign(&mut peer, &name, None).await, NO_REASSIGNMENT_IN_PROGRESS);
    for wrong in [&[][..], &[0, 0], &[7]] {
        assert_eq!(reassign(&mut peer, &name, Some(wrong)).await, INVALID_REPLICA_ASSIGNMENT, "{wrong:?}");
    }
    assert_eq!(reassign(&mut peer, "not-there", Some(&[0])).await, 3);
    trio.stop().await;
}

#[tokio::test]
async fn the_replication_factor_changes_only_if_the_request_allows_it() {
    let trio = Trio::start().await;
    let mut peer = trio.peer(0).await;
    let (name, _) = create(&mut peer, &[&[0, 1]]).await;
    let partition =
        ReassignablePartition::default().with_partition_index(0).with_replicas(Some(vec![0.into()]));
    let topic = ReassignableTopic::default().with_name(named(&name)).with_partitions(vec![partition]);
    let request = AlterPartitionReassignmentsRequest::default()
        .with_topics(vec![topic])
        .with_allow_replication_factor_change(false)
        .with_timeout_ms(10_000);
    let answer = peer.call_at(&request, 1).await.unwrap();
    assert_eq!(answer.responses[0].partitions[0].error_code, INVALID_REPLICATION_FACTOR);
    trio.stop().await;
}

#[tokio::test]
async fn the_preferred_replica_is_elected_when_it_is_asked_for_and_can_lead() {
    let mut trio = Trio::start_with(&["auto.leader.rebalance.enable=false"]).await;
    let mut peer = trio.peer(0).await;
    let (name, code) = create(&mut peer, &[&[0, 1, 2]]).await;
    assert_eq!(code, 0);
    in_sync(&mut peer, &name, 3).await;
    assert_eq!(elect(&mut peer, 0, Some(&name)).await, [ELECTION_NOT_NEEDED]);
    assert_eq!(reassign(&mut peer, &name, Some(&[1, 0, 2])).await, 0);
    assert_eq!(partition(&mut peer, &name).await.leader_id.0, 0, "another order elects nobody");
    let epoch = partition(&mut peer, &name).await.leader_epoch;
    assert_eq!(elect(&mut peer, 0, None).await, [0], "of all partitions only what is wrong is told");
    let state = partition(&mut peer, &name).await;
    assert_eq!((state.leader_id.0, state.leader_epoch), (1, epoch + 1));
    assert!(elect(&mut peer, 0, None).await.is_empty());
    assert_eq!(elect(&mut peer, 1, Some(&name)).await, [ELECTION_NOT_NEEDED]);
    assert_eq!(reassign(&mut peer, &name, Some(&[2, 1, 0])).await, 0);
    trio.stop_one(2).await;
    eventually("the stopped broker has left the ISR", async || {
        (partition(&mut peer, &name).await.isr_nodes.len() == 2).then_some(())
    })
    .await;
    assert_eq!(elect(&mut peer, 0, Some(&name)).await, [PREFERRED_LEADER_NOT_AVAILABLE]);
    assert_eq!(elect(&mut peer, 0, Some("not-there")).await, [3]);
    trio.stop().await;
}

#[tokio::test]
async fn the_controller_gives_the_leadership_back_to_the_preferred_replica() {
    let trio = Trio::start_with(&["leader.imbalance.check.interval.seconds=1"]).await;
    let mut peer = trio.peer(0).await;
    let (name, _) = create(&mut peer, &[&[0, 1, 2]]).await;
    in_sync(&mut peer, &name, 3).await;
    assert_eq!(reassign(&mut peer, &name, Some(&[2, 0, 1])).await, 0);
    eventually("the preferred replica leads", async || {
        (partition(&mut peer, &name).await.leader_id.0 == 2).then_some(())
    })
    .await;
    trio.stop().await;
}

#[tokio::test]
async fn a_broker_that_is_away_is_told_of_until_it_is_unregistered() {
    let mut trio = Trio::start().await;
    let mut peer = trio.peer(0).await;
    let (name, _) = create(&mut peer, &[&[2]]).await;
    let unregister = UnregisterBrokerRequest::default().with_broker_id(2.into());
    let refused = peer.call_at(&unregister, 0).await.unwrap();
    assert_eq!(refused.error_code, INVALID_REQUEST, "{refused:?}");
    let address = trio.brokers[2].as_ref().unwrap().address.clone();
    trio.stop_one(2).await;
    let describe = DescribeClusterRequest::default().with_endpoint_type(1);
    let told = eventually("the broker is fenced", async || {
        let all = describe.clone().with_include_fenced_brokers(true);
        let answer = peer.call_at(&all, 2).await.unwrap();
        answer.brokers.into_iter().find(|broker| broker.is_fenced)
    })
    .await;
    assert_eq!((told.broker_id.0, format!("{}:{}", told.host, told.port)), (2, address));
    let live = peer.call_at(&describe, 2).await.unwrap();
    assert_eq!(live.brokers.iter().map(|broker| broker.broker_id.0).collect::<Vec<_>>(), [0, 1]);

    let state = partition(&mut peer, &name).await;
    assert_eq!((state.error_code, state.leader_id.0), (5, -1), "nobody leads it");
    assert_eq!(ids(&state.offline_replicas), [2]);
    assert_eq!(elect(&mut peer, 1, Some(&name)).await, [ELIGIBLE_LEADERS_NOT_AVAILABLE]);

    assert_eq!(peer.call_at(&unregister, 0).await.unwrap().error_code, 0);
    let all = describe.with_include_fenced_brokers(true);
    assert_eq!(peer.call_at(&all, 2).await.unwrap().brokers.len(), 2);
    assert_eq!(peer.call_at(&unregister, 0).await.unwrap().error_code, BROKER_ID_NOT_REGISTERED);
    trio.stop().await;
}

#[tokio::test]
async fn a_deleted_topic_is_gone_from_every_broker_also_from_one_that_was_away() {
    let mut trio = Trio::start().await;
    let mut peer = trio.peer(0).await;
    let (name, code) = create(&mut peer, &[&[0, 1, 2]]).await;
    assert_eq!(code, 0);
    in_sync(&mut peer, &name, 3).await;
    produce_values(&mut peer, &name, 0, &["a"]).await;
    let on_disk = trio.data[2].path().join(format!("{name}-0"));
    eventually("the log of the last broker is written", async || on_disk.exists().then_some(())).await;
    trio.stop_one(2).await;
    let topic = DeleteTopicState::default().with_name(Some(named(&name)));
    let request = DeleteTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(10_000);
    assert_eq!(peer.call_at(&request, 6).await.unwrap().responses[0].error_code, 0);
    let keys = Keys::of_cluster("dev");
    let inspector = Inspector::new(ConnectionOptions::new(vec![trio.etcd.clone()]), keys).unwrap();
    let remaining = async || {
        let (image, _) = inspector.look().await.unwrap();
        let value = image.topic_values.values().find(|value| value.name.as_str() == name);
        value.map(|value| value.remaining.iter().map(|id| id.get()).collect::<Vec<_>>())
    };
    eventually("who is there has removed its logs", async || {
        (remaining().await == Some(vec![2])).then_some(())
    })
    .await;
    assert!(on_disk.exists(), "the log of the broker that is away");
    trio.run(2).await;
    eventually("the last key of the topic is gone", async || remaining().await.is_none().then_some(())).await;
    assert!(!on_disk.exists());
    trio.stop().await;
}
