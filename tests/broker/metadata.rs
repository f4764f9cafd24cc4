//! Metadata: topics by name and id, all and none, created when asked for.

use ketcd::protocol::peer::messages::MetadataRequest;
use ketcd::protocol::peer::messages::metadata_request::MetadataRequestTopic;
use ketcd::protocol::peer::messages::metadata_response::MetadataResponseTopic;
use ketcd::protocol::peer::{Peer, encode_frame};
use tempfile::TempDir;
use uuid::Uuid;

use crate::fixture::{OwnBroker, connect, fresh_name, named, peer, shared, topic, topic_with};
use crate::wire;

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_TOPIC_EXCEPTION: i16 = 17;
const INVALID_REQUEST: i16 = 42;
const UNKNOWN_TOPIC_ID: i16 = 100;
const NOT_ASKED: i32 = i32::MIN;

fn by_name(names: &[&str]) -> MetadataRequest {
    let topics = names.iter().map(|name| MetadataRequestTopic::default().with_name(Some(named(name))));
    MetadataRequest::default().with_topics(Some(topics.collect())).with_allow_auto_topic_creation(false)
}

async fn ask(peer: &mut Peer, request: &MetadataRequest, version: i16) -> Vec<MetadataResponseTopic> {
    peer.call_at(request, version).await.unwrap().topics
}

fn names(topics: &[MetadataResponseTopic]) -> Vec<&str> {
    topics.iter().map(|topic| topic.name.as_ref().unwrap().as_str()).collect()
}

#[tokio::test]
async fn null_asks_for_all_topics_and_an_empty_list_for_none() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "all").await;
    for version in 1..=13 {
        let all = MetadataRequest::default().with_topics(None).with_allow_auto_topic_creation(version >= 4);
        let all = if version < 4 { all.with_allow_auto_topic_creation(true) } else { all };
        assert!(names(&ask(&mut peer, &all, version).await).contains(&topic.name.as_str()), "v{version}");
        let none = all.with_topics(Some(vec![]));
        assert_eq!(ask(&mut peer, &none, version).await, [], "v{version}");
    }
    let old = MetadataRequest::default().with_topics(Some(vec![])).with_allow_auto_topic_creation(true);
    assert!(names(&ask(&mut peer, &old, 0).await).contains(&topic.name.as_str()), "v0 has no null");
}

#[tokio::test]
async fn topics_are_answered_by_name_with_their_partitions() {
    let mut peer = peer().await;
    let topic = topic_with(&mut peer, "named", 3, &[]).await;
    let answer = peer.call_at(&by_name(&[&topic.name]), 12).await.unwrap();
    assert_eq!((answer.brokers.len(), answer.controller_id.0), (1, 0));
    assert_eq!(format!("{}:{}", answer.brokers[0].host.as_str(), answer.brokers[0].port), shared());
    let told = &answer.topics[0];
    assert_eq!((told.error_code, told.topic_id, told.is_internal), (0, topic.id, false));
    let partitions: Vec<_> = told
        .partitions
        .iter()
        .map(|it| {
            (it.partition_index, it.error_code, it.leader_id.0, it.leader_epoch, it.offline_replicas.len())
        })
        .collect();
    assert_eq!(partitions, [(0, 0, 0, 0, 0), (1, 0, 0, 0, 0), (2, 0, 0, 0, 0)]);
}

#[tokio::test]
async fn topics_are_answered_by_id() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "by-id").await;
    let ids = [topic.id, Uuid::from_u128(5)];
    // The Java client leaves the name empty where others say null.
    for (version, name) in [(12, None), (12, Some(named(""))), (13, None), (13, Some(named("")))] {
        let asked = ids.map(|id| MetadataRequestTopic::default().with_topic_id(id).with_name(name.clone()));
        let request = MetadataRequest::default().with_topics(Some(asked.to_vec()));
        let topics = ask(&mut peer, &request, version).await;
        assert_eq!((topics[0].error_code, topics[0].topic_id), (0, topic.id));
        assert_eq!(topics[0].name.as_ref().unwrap().as_str(), topic.name);
        assert_eq!((topics[1].error_code, topics[1].topic_id), (UNKNOWN_TOPIC_ID, ids[1]));
        assert!(topics[1].name.is_none());
    }
    // With both it is the id that counts, as in Kafka.
    let both = MetadataRequestTopic::default().with_topic_id(topic.id).with_name(Some(named("another")));
    let neither = MetadataRequestTopic::default().with_name(None);
    let request = MetadataRequest::default().with_topics(Some(vec![both, neither]));
    let topics = ask(&mut peer, &request, 13).await;
    assert_eq!((topics[0].error_code, topics[0].topic_id), (0, topic.id));
    assert_eq!(topics[0].name.as_ref().unwrap().as_str(), topic.name);
    assert_eq!(topics[1].error_code, INVALID_REQUEST);
}

#[tokio::test]
async fn an_id_of_a_version_that_cannot_ask_by_id_is_refused() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "by-id").await;
    for (version, name) in [(10, Some(named(""))), (10, None), (11, Some(named(""))), (11, None)] {
        let asked = MetadataRequestTopic::default().with_topic_id(topic.id).with_name(name);
        let request = MetadataRequest::default().with_topics(Some(vec![asked]));
        let topics = ask(&mut peer, &request, version).await;
        assert_eq!(topics[0].error_code, INVALID_REQUEST, "v{version}");
    }
}

#[tokio::test]
async fn operations_are_told_when_asked_for() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "operations").await;
    for version in 8..=13 {
        let request = by_name(&[&topic.name]);
        let answer = peer.call_at(&request, version).await.unwrap();
        assert_eq!(answer.topics[0].topic_authorized_operations, NOT_ASKED, "v{version}");
        let request = request.with_include_topic_authorized_operations(true);
        let request = request.with_include_cluster_authorized_operations(version <= 10);
        let answer = peer.call_at(&request, version).await.unwrap();
        // READ, WRITE, CREATE, DELETE, ALTER, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS
        assert_eq!(answer.topics[0].topic_authorized_operations, 0b1101_1111_1000, "v{version}");
        if version <= 10 {
            assert_eq!(answer.cluster_authorized_operations, 0b1_1111_1010_0000);
        }
    }
}

#[tokio::test]
async fn a_missing_topic_is_created_where_client_and_broker_allow_it() {
    let mut peer = peer().await;
    let name = fresh_name("auto");
    assert_eq!(ask(&mut peer, &by_name(&[&name]), 9).await[0].error_code, UNKNOWN_TOPIC_OR_PARTITION);
    let creating = by_name(&[&name]).with_allow_auto_topic_creation(true);
    let mut created = None;
    for _ in 0..10 {
        let topic = ask(&mut peer, &creating, 12).await.remove(0);
        if topic.error_code == 0 {
            created = Some(topic);
            break;
        }
        assert_eq!(topic.error_code, 5, "LEADER_NOT_AVAILABLE until it is there");
    }
    let created = created.expect("it was created");
    assert_eq!((created.partitions.len(), created.topic_id.is_nil()), (1, false));
    let old = fresh_name("auto-old");
    let request = by_name(&[&old]).with_allow_auto_topic_creation(true);
    assert!([0, 5].contains(&ask(&mut peer, &request, 0).await[0].error_code), "before v4 all may create");
}

#[tokio::test]
async fn nothing_is_created_where_the_broker_forbids_it() {
    let data = TempDir::new().unwrap();
    let broker =
        OwnBroker::start(data.path(), &["dev.ephemeral=true", "auto.create.topics.enable=false"]).await;
    let mut peer = connect(&broker.address).await;
    for version in 0..=13 {
        let request = by_name(&["wanted"]).with_allow_auto_topic_creation(true);
        assert_eq!(ask(&mut peer, &request, version).await[0].error_code, UNKNOWN_TOPIC_OR_PARTITION);
    }
    let all = MetadataRequest::default().with_topics(None);
    assert_eq!(ask(&mut peer, &all, 12).await, []);
    broker.stop().await;
}

#[tokio::test]
async fn names_that_are_none_are_refused_and_not_created() {
    let mut peer = peer().await;
    let long = "x".repeat(250);
    for name in ["", ".", "..", "a/b", "../x", "a b", "a\0b", "ä", "a:b", &long] {
        for (version, create) in [(1, true), (9, true), (9, false), (13, true)] {
            let request = by_name(&[name]).with_allow_auto_topic_creation(create);
            let topic = ask(&mut peer, &request, version).await.remove(0);
            assert_eq!(topic.error_code, INVALID_TOPIC_EXCEPTION, "{name:?} v{version}");
            assert_eq!(topic.name.unwrap().as_str(), name);
        }
    }
}

#[tokio::test]
async fn a_name_asked_twice_is_answered() {
    let mut peer = peer().await;
    let name = fresh_name("twice");
    let request = by_name(&[&name, &name]).with_allow_auto_topic_creation(true);
    for topic in ask(&mut peer, &request, 9).await {
        assert!([0, 5].contains(&topic.error_code), "{topic:?}");
    }
}

#[tokio::test]
async fn a_client_that_gives_no_name_is_answered() {
    let frame = encode_frame(&by_name(&[]), 9, 3, "").unwrap();
    let mut socket = wire::open(shared()).await;
    assert_eq!(&wire::exchange(&mut socket, &frame).await.answer()[..4], [0, 0, 0, 3]);
    let null = wire::framed(&[0, 18, 0, 0, 0, 0, 0, 4, 0xff, 0xff]);
    assert_eq!(&wire::exchange(&mut socket, &null).await.answer()[..4], [0, 0, 0, 4]);
}
