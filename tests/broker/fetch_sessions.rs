//! Fetch sessions (KIP-227): a consumer names its partitions once, and then only what changes.

use ketcd::protocol::fetch_request as ours;
use ketcd::protocol::peer::Peer;
use ketcd::protocol::peer::messages::create_topics_request::CreatableTopic;
use ketcd::protocol::peer::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use ketcd::protocol::peer::messages::fetch_request::{FetchPartition, ForgottenTopic};
use ketcd::protocol::peer::messages::{
    CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest, FetchRequest, FetchResponse,
};
use ketcd::protocol::replica::ReplicaConnection;
use tempfile::TempDir;
use uuid::Uuid;

use crate::fixture::{
    DEADLINE, OwnBroker, Topic, connect, eventually, fetch_partition, fetch_request, named, peer,
    produce_values, shared, topic, topic_with,
};
use crate::wire::values_of;

const FETCH_SESSION_ID_NOT_FOUND: i16 = 70;
const INVALID_FETCH_SESSION_EPOCH: i16 = 71;
const FETCH_SESSION_TOPIC_ID_ERROR: i16 = 106;

fn in_session(topic: &str, partitions: Vec<FetchPartition>, id: i32, epoch: i32) -> FetchRequest {
    let mut request = fetch_request(topic, partitions).with_session_id(id).with_session_epoch(epoch);
    if request.topics[0].partitions.is_empty() {
        request.topics.clear();
    }
    request
}

/// The partitions answered, with their values.
fn told(answer: &FetchResponse) -> Vec<(i32, Vec<String>)> {
    assert_eq!(answer.error_code, 0, "{answer:?}");
    let partitions = answer.responses.iter().flat_map(|topic| &topic.partitions);
    partitions.map(|it| (it.partition_index, values_of(it.records.as_ref()))).collect()
}

/// A session over partitions 0 to 2 from offset 0.
async fn begin(peer: &mut Peer, topic: &Topic) -> i32 {
    let all = (0..3).map(|index| fetch_partition(index, 0)).collect();
    let answer = peer.call_at(&in_session(&topic.name, all, 0, 0), 12).await.unwrap();
    assert_ne!(answer.session_id, 0);
    assert_eq!(told(&answer).len(), 3, "a full answer names every partition");
    answer.session_id
}

#[tokio::test]
async fn an_incremental_fetch_answers_only_what_is_new() {
    let mut peer = peer().await;
    let topic = topic_with(&mut peer, "session", 3, &[]).await;
    let id = begin(&mut peer, &topic).await;
    let nothing = peer.call_at(&in_session(&topic.name, vec![], id, 1), 12).await.unwrap();
    assert_eq!((nothing.session_id, told(&nothing)), (id, vec![]));

    produce_values(&mut peer, &topic.name, 1, &["new"]).await;
    let answer = peer.call_at(&in_session(&topic.name, vec![], id, 2), 12).await.unwrap();
    assert_eq!(told(&answer), [(1, vec!["new".to_owned()])]);

    let moved = vec![fetch_partition(1, 1)];
    let answer = peer.call_at(&in_session(&topic.name, moved, id, 3), 12).await.unwrap();
    assert!(told(&answer).iter().all(|(_, values)| values.is_empty()));
    produce_values(&mut peer, &topic.name, 0, &["zero"]).await;
    let answer = peer.call_at(&in_session(&topic.name, vec![], id, 4), 12).await.unwrap();
    assert_eq!(told(&answer), [(0, vec!["zero".to_owned()])]);
}

#[tokio::test]
async fn forgotten_partitions_are_answered_no_more_and_added_ones_are() {
    let mut peer = peer().await;
    let topic = topic_with(&mut peer, "forget", 4, &[]).await;
    let id = begin(&mut peer, &topic).await;
    for partition in 0..4 {
        produce_values(&mut peer, &topic.name, partition, &[&format!("in {partition}")]).await;
    }
    let forgotten = ForgottenTopic::default().with_topic(named(&topic.name)).with_partitions(vec![0, 2]);
    let request = in_session(&topic.name, vec![fetch_partition(3, 0)], id, 1)
        .with_forgotten_topics_data(vec![forgotten]);
    let mut answered = told(&peer.call_at(&request, 12).await.unwrap());
    answered.sort();
    assert_eq!(answered, [(1, vec!["in 1".to_owned()]), (3, vec!["in 3".to_owned()])]);
}

#[tokio::test]
async fn a_waiting_incremental_fetch_wakes_for_a_partition_that_it_does_not_name() {
    let mut peer = peer().await;
    let topic = topic_with(&mut peer, "wakes", 3, &[]).await;
    let id = begin(&mut peer, &topic).await;
    let mut producer = crate::fixture::peer().await;
    let request = in_session(&topic.name, vec![], id, 1).with_max_wait_ms(25_000);
    let (answer, _) = tokio::join!(peer.call_at(&request, 12), async {
        tokio::time::sleep(std::time::Duration::from_millis(150)).await;
        produce_values(&mut producer, &topic.name, 2, &["late"]).await
    });
    assert_eq!(told(&answer.unwrap()), [(2, vec!["late".to_owned()])]);
}

#[tokio::test]
async fn sessions_that_cannot_go_on_are_told_why() {
    let mut peer = peer().await;
    let topic = topic_with(&mut peer, "errors", 3, &[]).await;
    let id = begin(&mut peer, &topic).await;
    let ask = |id, epoch| in_session(&topic.name, vec![], id, epoch);
    let unknown = peer.call_at(&ask(if id == 9 { 10 } else { 9 }, 1), 12).await.unwrap();
    assert_eq!(unknown.error_code, FETCH_SESSION_ID_NOT_FOUND);
    let wrong = peer.call_at(&ask(id, 5), 12).await.unwrap();
    assert_eq!(wrong.error_code, INVALID_FETCH_SESSION_EPOCH);
    let by_id = peer.call_at(&ask(id, 1), 13).await.unwrap();
    assert_eq!(by_id.error_code, FETCH_SESSION_TOPIC_ID_ERROR);
    assert!(unknown.responses.is_empty() && wrong.responses.is_empty());
    // Epoch -1 ends the session.
    let last = peer.call_at(&ask(id, -1), 12).await.unwrap();
    assert_eq!((last.error_code, last.session_id), (0, 0));
    let gone = peer.call_at(&ask(id, 1), 12).await.unwrap();
    assert_eq!(gone.error_code, FETCH_SESSION_ID_NOT_FOUND);
}

#[tokio::test]
async fn a_session_by_id_names_an_unknown_topic_until_it_is_there() {
    let mut peer = peer().await;
    let mut request = in_session("", vec![fetch_partition(0, 0)], 0, 0);
    request.topics[0].topic_id = uuid::Uuid::from_u128(4242);
    let first = peer.call_at(&request, 13).await.unwrap();
    assert_eq!((first.error_code, first.responses[0].partitions[0].error_code), (0, 100));
    let again = peer.call_at(&in_session("", vec![], first.session_id, 1), 13).await.unwrap();
    assert_eq!(again.responses[0].partitions[0].error_code, 100);
}

#[tokio::test]
async fn without_a_free_slot_a_fetch_is_served_without_a_session() {
    let data = TempDir::new().unwrap();
    let keys = ["dev.ephemeral=true", "max.incremental.fetch.session.cache.slots=2"];
    let broker = OwnBroker::start(data.path(), &keys).await;
    let mut peer = connect(&broker.address).await;
    let topic = topic_with(&mut peer, "slots", 3, &[]).await;
    let first = begin(&mut peer, &topic).await;
    begin(&mut peer, &topic).await;
    let all = || (0..3).map(|index| fetch_partition(index, 0)).collect();
    let answer = peer.call_at(&in_session(&topic.name, all(), 0, 0), 12).await.unwrap();
    assert_eq!((answer.session_id, told(&answer).len()), (0, 3));
    // A session that begins anew takes its own slot.
    let answer = peer.call_at(&in_session(&topic.name, all(), first, 0), 12).await.unwrap();
    assert_ne!(answer.session_id, 0);
    broker.stop().await;
}

#[tokio::test]
async fn a_session_follows_the_log_over_its_segments() {
    let mut peer = peer().await;
    let topic = topic_with(&mut peer, "segments", 1, &[("segment.bytes", "1048576")]).await;
    let long = "x".repeat(100_000);
    for n in 0..40 {
        produce_values(&mut peer, &topic.name, 0, &[&format!("{n} {long}")]).await;
    }
    let (mut next, mut id) = (0, 0);
    for epoch in 0..200 {
        let partition = fetch_partition(0, next).with_partition_max_bytes(250_000);
        let answer = peer.call_at(&in_session(&topic.name, vec![partition], id, epoch), 12).await.unwrap();
        id = answer.session_id;
        for value in told(&answer).into_iter().flat_map(|(_, values)| values) {
            assert_eq!(value.split(' ').next().unwrap().parse(), Ok(next));
            next += 1;
        }
        if next == 40 {
            return;
        }
    }
    panic!("the session stopped at {next}");
}

#[tokio::test]
async fn a_session_reads_a_topic_made_again_and_not_the_old_one() {
    let mut peer = peer().await;
    let topic = topic_with(&mut peer, "again", 1, &[]).await;
    for value in ["old 0", "old 1", "old 2"] {
        produce_values(&mut peer, &topic.name, 0, &[value]).await;
    }
    let first = fetch_partition(0, 0).with_partition_max_bytes(1);
    let answer = peer.call_at(&in_session(&topic.name, vec![first], 0, 0), 12).await.unwrap();
    assert_eq!(told(&answer), [(0, vec!["old 0".to_owned()])]);
    let gone =
        DeleteTopicsRequest::default().with_topic_names(vec![named(&topic.name)]).with_timeout_ms(30_000);
    assert_eq!(peer.call_at(&gone, 5).await.unwrap().responses[0].error_code, 0);
    let wanted = CreatableTopic::default()
        .with_name(named(&topic.name))
        .with_num_partitions(1)
        .with_replication_factor(1);
    let made = CreateTopicsRequest::default().with_topics(vec![wanted]).with_timeout_ms(30_000);
    eventually("the name is free again", async || {
        (peer.call_at(&made, 7).await.unwrap().topics[0].error_code == 0).then_some(())
    })
    .await;
    for value in ["a longer new 0", "new 1", "new 2"] {
        produce_values(&mut peer, &topic.name, 0, &[value]).await;
    }
    // The session's place in the old log must not be used.
    let next = fetch_partition(0, 1);
    let answer = peer.call_at(&in_session(&topic.name, vec![next], answer.session_id, 1), 12).await.unwrap();
    assert_eq!(told(&answer), [(0, vec!["new 1".to_owned(), "new 2".to_owned()])]);
}

#[tokio::test]
async fn a_session_is_told_of_records_deleted_under_it() {
    let mut peer = peer().await;
    let topic = topic_with(&mut peer, "trimmed", 1, &[]).await;
    for value in ["0", "1", "2", "3"] {
        produce_values(&mut peer, &topic.name, 0, &[value]).await;
    }
    let one = |offset| vec![fetch_partition(0, offset).with_partition_max_bytes(1)];
    let answer = peer.call_at(&in_session(&topic.name, one(0), 0, 0), 12).await.unwrap();
    let id = answer.session_id;
    let before = DeleteRecordsPartition::default().with_partition_index(0).with_offset(3);
    let before = DeleteRecordsTopic::default().with_name(named(&topic.name)).with_partitions(vec![before]);
    let request = DeleteRecordsRequest::default().with_topics(vec![before]).with_timeout_ms(30_000);
    assert_eq!(peer.call_at(&request, 2).await.unwrap().topics[0].partitions[0].error_code, 0);
    let answer = peer.call_at(&in_session(&topic.name, one(1), id, 1), 12).await.unwrap();
    assert_eq!(answer.responses[0].partitions[0].error_code, 1, "OFFSET_OUT_OF_RANGE");
    let answer = peer.call_at(&in_session(&topic.name, one(3), id, 2), 12).await.unwrap();
    assert_eq!(told(&answer), [(0, vec!["3".to_owned()])]);
    assert_eq!(answer.responses[0].partitions[0].log_start_offset, 3);
}

#[tokio::test]
async fn session_errors_are_answered_at_every_version() {
    let mut peer = peer().await;
    for version in 7..=18 {
        let answer = peer.call_at(&in_session("", vec![], 77, 3), version).await.unwrap();
        assert_eq!(answer.error_code, FETCH_SESSION_ID_NOT_FOUND, "v{version}");
    }
}

#[tokio::test]
async fn the_next_request_of_a_session_ends_the_wait_of_the_one_before() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "superseded").await;
    let mut connection = ReplicaConnection::connect(shared(), "tests", DEADLINE).await.unwrap();
    let partition = ours::FetchPartition {
        index: 0,
        current_leader_epoch: -1,
        fetch_offset: 0,
        last_fetched_epoch: -1,
        log_start_offset: -1,
        max_bytes: 1000,
        replica_directory_id: Uuid::nil(),
        high_watermark: i64::MAX,
    };
    let named =
        ours::FetchTopic { id: topic.id, partitions: [partition].into(), ..ours::FetchTopic::default() };
    let mut request = ours::FetchRequest {
        replica_id: -1,
        replica_epoch: -1,
        min_bytes: 1,
        max_bytes: 1000,
        topics: [named].into(),
        ..ours::FetchRequest::default()
    };
    connection.send(&request).await.unwrap();
    request.session_id = connection.receive().await.unwrap().session_id;
    assert!(request.session_id > 0);
    request.topics.clear();
    request.max_wait_ms = 600_000;
    for epoch in 1..=5 {
        request.session_epoch = epoch;
        connection.send(&request).await.unwrap();
    }
    for _ in 1..5 {
        let answer =
            tokio::time::timeout(DEADLINE, connection.receive()).await.expect("long before its time");
        assert!(answer.unwrap().topics.is_empty());
    }
    assert_eq!(connection.under_way(), 1);
    produce_values(&mut peer, &topic.name, 0, &["a"]).await;
    let last =
        tokio::time::timeout(DEADLINE, connection.receive()).await.expect("woken by the record").unwrap();
    assert_eq!(last.topics[0].partitions[0].records.len(), 1);
}
