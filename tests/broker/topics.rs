//! CreateTopics, DeleteTopics, CreatePartitions.

use ketcd::protocol::peer::Peer;
use ketcd::protocol::peer::messages::create_partitions_request::{
    CreatePartitionsAssignment, CreatePartitionsTopic,
};
use ketcd::protocol::peer::messages::create_topics_request::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig,
};
use ketcd::protocol::peer::messages::create_topics_response::CreatableTopicResult;
use ketcd::protocol::peer::messages::delete_topics_request::DeleteTopicState;
use ketcd::protocol::peer::messages::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteTopicsRequest, MetadataRequest,
};
use tempfile::TempDir;
use uuid::Uuid;

use crate::fixture::{
    OwnBroker, connect, fetch, fresh_name, named, peer, produce_values, text, topic, topic_with,
};
use crate::wire::values_of;

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_TOPIC_EXCEPTION: i16 = 17;
const TOPIC_ALREADY_EXISTS: i16 = 36;
const INVALID_PARTITIONS: i16 = 37;
const INVALID_REPLICATION_FACTOR: i16 = 38;
const INVALID_REPLICA_ASSIGNMENT: i16 = 39;
const INVALID_CONFIG: i16 = 40;
const INVALID_REQUEST: i16 = 42;
const TOPIC_DELETION_DISABLED: i16 = 73;
const UNKNOWN_TOPIC_ID: i16 = 100;

fn wanted(name: &str, partitions: i32, factor: i16) -> CreatableTopic {
    CreatableTopic::default()
        .with_name(named(name))
        .with_num_partitions(partitions)
        .with_replication_factor(factor)
}

async fn create(
    peer: &mut Peer,
    topics: Vec<CreatableTopic>,
    validate_only: bool,
) -> Vec<CreatableTopicResult> {
    let request = CreateTopicsRequest::default()
        .with_topics(topics)
        .with_timeout_ms(30_000)
        .with_validate_only(validate_only);
    peer.call_at(&request, 7).await.unwrap().topics
}

async fn exists(peer: &mut Peer, name: &str) -> bool {
    let answer = peer.call_at(&MetadataRequest::default().with_topics(None), 12).await.unwrap();
    answer.topics.iter().any(|topic| topic.name.as_ref().is_some_and(|it| it.as_str() == name))
}

#[tokio::test]
async fn minus_one_asks_for_the_brokers_defaults() {
    let mut peer = peer().await;
    let made = create(&mut peer, vec![wanted(&fresh_name("defaults"), -1, -1)], false).await.remove(0);
    assert_eq!((made.error_code, made.num_partitions, made.replication_factor), (0, 1, 1));
    assert!(!made.topic_id.is_nil());
}

#[tokio::test]
async fn a_topic_that_is_only_checked_is_not_made() {
    let mut peer = peer().await;
    let name = fresh_name("checked");
    let checked = create(&mut peer, vec![wanted(&name, 4, 1)], true).await.remove(0);
    assert_eq!((checked.error_code, checked.num_partitions), (0, 4));
    assert!(!exists(&mut peer, &name).await);
}

#[tokio::test]
async fn every_wrong_topic_is_refused_with_its_reason() {
    let mut peer = peer().await;
    let there = topic(&mut peer, "there").await.name;
    let assigned = |replicas: &[&[i32]]| {
        let assignments = (0..).zip(replicas).map(|(index, brokers)| {
            CreatableReplicaAssignment::default()
                .with_partition_index(index)
                .with_broker_ids(brokers.iter().map(|id| (*id).into()).collect())
        });
        wanted(&fresh_name("assigned"), -1, -1).with_assignments(assignments.collect())
    };
    let configured = |name: &str, value: &str| {
        let config = CreatableTopicConfig::default().with_name(text(name)).with_value(Some(text(value)));
        wanted(&fresh_name("configured"), 1, 1).with_configs(vec![config])
    };
    let mut gap = assigned(&[&[0], &[0]]);
    gap.assignments[1].partition_index = 5;
    let cases = [
        (wanted(&there, 1, 1), TOPIC_ALREADY_EXISTS),
        (wanted("a/b", 1, 1), INVALID_TOPIC_EXCEPTION),
        (wanted("", 1, 1), INVALID_TOPIC_EXCEPTION),
        (wanted("..", 1, 1), INVALID_TOPIC_EXCEPTION),
        (wanted(&"x".repeat(250), 1, 1), INVALID_TOPIC_EXCEPTION),
        (wanted(&fresh_name("n"), 0, 1), INVALID_PARTITIONS),
        (wanted(&fresh_name("n"), -2, 1), INVALID_PARTITIONS),
        (wanted(&fresh_name("n"), i32::MAX, 1), INVALID_PARTITIONS),
        (wanted(&fresh_name("n"), 1, 0), INVALID_REPLICATION_FACTOR),
        (wanted(&fresh_name("n"), 1, -2), INVALID_REPLICATION_FACTOR),
        (wanted(&fresh_name("n"), 1, 3), INVALID_REPLICATION_FACTOR),
        (assigned(&[&[7]]), INVALID_REPLICA_ASSIGNMENT),
        (assigned(&[&[0, 0]]), INVALID_REPLICA_ASSIGNMENT),
        (assigned(&[&[]]), INVALID_REPLICA_ASSIGNMENT),
        (gap, INVALID_REPLICA_ASSIGNMENT),
        (assigned(&[&[0]]).with_num_partitions(1), INVALID_REQUEST),
        (configured("no.such.key", "1"), INVALID_CONFIG),
        (configured("retention.ms", "soon"), INVALID_CONFIG),
        (configured("segment.bytes", "-5"), INVALID_CONFIG),
        (configured("cleanup.policy", "shred"), INVALID_CONFIG),
    ];
    for (topic, code) in cases {
        let name = topic.name.as_str().to_owned();
        for validate_only in [true, false] {
            let refused = create(&mut peer, vec![topic.clone()], validate_only).await.remove(0);
            assert_eq!((refused.name.as_str(), refused.error_code), (name.as_str(), code), "{refused:?}");
            assert!(refused.error_message.is_some_and(|text| text.len() > 10), "{topic:?}");
        }
        assert_eq!(exists(&mut peer, &name).await, name == there);
    }
}

#[tokio::test]
async fn the_cure_of_too_many_replicas_is_told() {
    let mut peer = peer().await;
    let refused = create(&mut peer, vec![wanted(&fresh_name("n"), 1, 3)], false).await.remove(0);
    let message = refused.error_message.unwrap();
    assert!(message.contains('3') && message.contains('1'), "{message:?}");
}

#[tokio::test]
async fn names_that_differ_only_in_dots_and_underscores_collide() {
    let mut peer = peer().await;
    let stem = fresh_name("collide");
    let made = create(&mut peer, vec![wanted(&format!("{stem}.a_b"), 1, 1)], false).await.remove(0);
    assert_eq!(made.error_code, 0);
    let refused = create(&mut peer, vec![wanted(&format!("{stem}_a.b"), 1, 1)], false).await.remove(0);
    assert_eq!(refused.error_code, INVALID_TOPIC_EXCEPTION);
}

#[tokio::test]
async fn a_name_twice_in_one_request_is_refused_twice_and_others_are_made() {
    let mut peer = peer().await;
    let (twice, once) = (fresh_name("twice"), fresh_name("once"));
    let topics = vec![wanted(&twice, 1, 1), wanted(&once, 1, 1), wanted(&twice, 1, 1)];
    let answers = create(&mut peer, topics, false).await;
    for answer in &answers {
        let expected = if answer.name.as_str() == twice { INVALID_REQUEST } else { 0 };
        assert_eq!(answer.error_code, expected, "{answer:?}");
    }
    assert!(!exists(&mut peer, &twice).await && exists(&mut peer, &once).await);
}

#[tokio::test]
async fn one_of_two_that_create_the_same_topic_wins() {
    let name = fresh_name("race");
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let name = name.clone();
        tasks.spawn(async move {
            create(&mut peer().await, vec![wanted(&name, 2, 1)], false).await.remove(0).error_code
        });
    }
    let mut codes = tasks.join_all().await;
    codes.sort_unstable();
    let mut expected = [TOPIC_ALREADY_EXISTS; 8];
    expected[0] = 0;
    assert_eq!(codes, expected);
}

fn delete(states: Vec<DeleteTopicState>) -> DeleteTopicsRequest {
    DeleteTopicsRequest::default().with_topics(states).with_timeout_ms(30_000)
}

#[tokio::test]
async fn topics_are_deleted_by_name_and_by_id() {
    let mut peer = peer().await;
    let (first, second) = (topic(&mut peer, "delete").await, topic(&mut peer, "delete").await);
    let states = vec![
        DeleteTopicState::default().with_name(Some(named(&first.name))),
        DeleteTopicState::default().with_name(None).with_topic_id(second.id),
        DeleteTopicState::default().with_name(Some(named("no-such-topic"))),
        DeleteTopicState::default().with_name(None).with_topic_id(Uuid::from_u128(8)),
        DeleteTopicState::default().with_name(Some(named(&first.name))).with_topic_id(first.id),
        DeleteTopicState::default().with_name(None),
    ];
    let answer = peer.call_at(&delete(states), 6).await.unwrap();
    let told: Vec<_> = answer.responses.iter().map(|it| it.error_code).collect();
    let expected = [0, 0, UNKNOWN_TOPIC_OR_PARTITION, UNKNOWN_TOPIC_ID, INVALID_REQUEST, INVALID_REQUEST];
    assert_eq!(told, expected);
    assert_eq!((answer.responses[0].topic_id, answer.responses[1].topic_id), (first.id, second.id));
    assert_eq!(answer.responses[1].name.as_ref().unwrap().as_str(), second.name);
    assert!(!exists(&mut peer, &first.name).await && !exists(&mut peer, &second.name).await);
}

#[tokio::test]
async fn a_topic_made_again_is_empty_and_has_another_id() {
    let mut peer = peer().await;
    let old = topic(&mut peer, "again").await;
    for round in 0..5 {
        let value = format!("round {round}");
        assert_eq!(produce_values(&mut peer, &old.name, 0, &[&value]).await, 0);
        assert_eq!(values_of(fetch(&mut peer, &old.name, 0, 0).await.records.as_ref()), [value]);
        let gone = delete(vec![DeleteTopicState::default().with_name(Some(named(&old.name)))]);
        assert_eq!(peer.call_at(&gone, 6).await.unwrap().responses[0].error_code, 0);
        assert_eq!(fetch(&mut peer, &old.name, 0, 0).await.error_code, UNKNOWN_TOPIC_OR_PARTITION);
        // Its record in etcd goes when the logs are gone.
        let made = crate::fixture::eventually("the name is free again", async || {
            let made = create(&mut peer, vec![wanted(&old.name, 1, 1)], false).await.remove(0);
            assert!([0, TOPIC_ALREADY_EXISTS].contains(&made.error_code), "{made:?}");
            (made.error_code == 0).then_some(made)
        });
        assert_ne!(made.await.topic_id, old.id);
    }
}

#[tokio::test]
async fn deletion_can_be_disabled() {
    let data = TempDir::new().unwrap();
    let broker = OwnBroker::start(data.path(), &["dev.ephemeral=true", "delete.topic.enable=false"]).await;
    let mut peer = connect(&broker.address).await;
    let topic = topic(&mut peer, "kept").await;
    let request = delete(vec![DeleteTopicState::default().with_name(Some(named(&topic.name)))]);
    let answer = peer.call_at(&request, 6).await.unwrap();
    assert_eq!(answer.responses[0].error_code, TOPIC_DELETION_DISABLED);
    assert!(exists(&mut peer, &topic.name).await);
    broker.stop().await;
}

#[tokio::test]
async fn partitions_are_added_and_old_records_stay() {
    let mut peer = peer().await;
    let topic = topic_with(&mut peer, "grows", 1, &[]).await;
    produce_values(&mut peer, &topic.name, 0, &["first"]).await;
    let ask = |name: &str, count: i32, assignments: Option<Vec<Vec<i32>>>, validate_only: bool| {
        let assignments = assignments.map(|all| {
            let one = |ids: Vec<i32>| ids.into_iter().map(Into::into).collect();
            all.into_iter()
                .map(|ids| CreatePartitionsAssignment::default().with_broker_ids(one(ids)))
                .collect()
        });
        let topic = CreatePartitionsTopic::default()
            .with_name(named(name))
            .with_count(count)
            .with_assignments(assignments);
        CreatePartitionsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(30_000)
            .with_validate_only(validate_only)
    };
    let cases = [
        (ask("no-such-topic", 3, None, false), UNKNOWN_TOPIC_OR_PARTITION),
        (ask(&topic.name, 1, None, false), INVALID_PARTITIONS),
        (ask(&topic.name, 0, None, false), INVALID_PARTITIONS),
        (ask(&topic.name, -1, None, false), INVALID_PARTITIONS),
        (ask(&topic.name, i32::MAX, None, false), INVALID_PARTITIONS),
        (ask(&topic.name, 3, Some(vec![vec![0]]), false), INVALID_REPLICA_ASSIGNMENT),
        (ask(&topic.name, 2, Some(vec![vec![5]]), false), INVALID_REPLICA_ASSIGNMENT),
        (ask(&topic.name, 3, None, true), 0),
        (ask(&topic.name, 2, Some(vec![vec![0]]), false), 0),
        (ask(&topic.name, 4, None, false), 0),
    ];
    for (request, code) in cases {
        let answer = peer.call_at(&request, 3).await.unwrap();
        assert_eq!(answer.results[0].error_code, code, "{request:?} {answer:?}");
        assert_eq!(answer.results[0].error_message.is_some(), code != 0);
    }
    for partition in 1..4 {
        assert_eq!(produce_values(&mut peer, &topic.name, partition, &["new"]).await, 0);
    }
    assert_eq!(values_of(fetch(&mut peer, &topic.name, 0, 0).await.records.as_ref()), ["first"]);
    assert_eq!(fetch(&mut peer, &topic.name, 4, 0).await.error_code, UNKNOWN_TOPIC_OR_PARTITION);
}

#[tokio::test]
async fn what_a_request_names_twice_is_refused_and_left_alone() {
    let mut peer = peer().await;
    let (twice, once) = (topic(&mut peer, "twice").await.name, topic(&mut peer, "once").await.name);
    let all = [&twice, &once, &twice];
    let raise = all.map(|name| {
        CreatePartitionsTopic::default().with_name(named(name)).with_count(2).with_assignments(None)
    });
    let request = CreatePartitionsRequest::default().with_topics(raise.to_vec()).with_timeout_ms(30_000);
    let answer = peer.call_at(&request, 3).await.unwrap();
    let expected = [INVALID_REQUEST, 0, INVALID_REQUEST];
    assert_eq!(answer.results.iter().map(|it| it.error_code).collect::<Vec<_>>(), expected);
    let states = all.map(|name| DeleteTopicState::default().with_name(Some(named(name))));
    let answer = peer.call_at(&delete(states.to_vec()), 6).await.unwrap();
    assert_eq!(answer.responses.iter().map(|it| it.error_code).collect::<Vec<_>>(), expected);
    assert!(exists(&mut peer, &twice).await && !exists(&mut peer, &once).await);
    assert_eq!(fetch(&mut peer, &twice, 1, 0).await.error_code, UNKNOWN_TOPIC_OR_PARTITION);
}
