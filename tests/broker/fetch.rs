//! Fetch as Kafka answers it: limits, waiting, isolation, leader epochs.

use std::time::{Duration, Instant};

use bytes::Bytes;
use ketcd::protocol::peer::messages::fetch_request::{FetchTopic, ReplicaState};
use ketcd::protocol::peer::messages::fetch_response::PartitionData;
use ketcd::protocol::peer::messages::{FetchRequest, FetchResponse};
use uuid::Uuid;

use crate::fixture::{
    DEADLINE, batch, connect, fetch, fetch_partition, fetch_request, named, peer, produce_values, shared,
    topic, topic_with,
};
use crate::wire::values_of;

const OFFSET_OUT_OF_RANGE: i16 = 1;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const NOT_LEADER_OR_FOLLOWER: i16 = 6;
const UNKNOWN_LEADER_EPOCH: i16 = 75;
const UNKNOWN_TOPIC_ID: i16 = 100;

fn only(response: &FetchResponse) -> &PartitionData {
    assert_eq!((response.error_code, response.responses.len()), (0, 1), "{response:?}");
    assert_eq!(response.responses[0].partitions.len(), 1);
    &response.responses[0].partitions[0]
}

fn by_id(mut request: FetchRequest, id: Uuid) -> FetchRequest {
    request.topics[0].topic = Default::default();
    request.topics[0].topic_id = id;
    request
}

#[tokio::test]
async fn a_fetch_begins_with_the_batch_that_holds_its_offset() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "within").await;
    produce_values(&mut peer, &topic.name, 0, &["a", "b", "c"]).await;
    produce_values(&mut peer, &topic.name, 0, &["d"]).await;
    for (offset, expected) in [(0, vec!["a", "b", "c", "d"]), (2, vec!["a", "b", "c", "d"]), (3, vec!["d"])] {
        assert_eq!(values_of(fetch(&mut peer, &topic.name, 0, offset).await.records.as_ref()), expected);
    }
    let end = fetch(&mut peer, &topic.name, 0, 4).await;
    assert_eq!((end.error_code, end.high_watermark, end.records.map_or(0, |it| it.len())), (0, 4, 0));
}

#[tokio::test]
async fn an_offset_outside_of_the_log_is_out_of_range() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "range").await;
    produce_values(&mut peer, &topic.name, 0, &["a"]).await;
    for offset in [2, i64::MAX, -1, i64::MIN] {
        let answer = fetch(&mut peer, &topic.name, 0, offset).await;
        assert_eq!(answer.error_code, OFFSET_OUT_OF_RANGE, "offset {offset}");
        assert_eq!(answer.records.map_or(0, |it| it.len()), 0);
    }
}

#[tokio::test]
async fn unknown_topics_partitions_and_ids_are_named_so() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "unknown").await;
    assert_eq!(fetch(&mut peer, "no-such-topic", 0, 0).await.error_code, UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(fetch(&mut peer, &topic.name, 1, 0).await.error_code, UNKNOWN_TOPIC_OR_PARTITION);
    assert_eq!(fetch(&mut peer, &topic.name, -1, 0).await.error_code, UNKNOWN_TOPIC_OR_PARTITION);
    for id in [Uuid::from_u128(1), Uuid::nil()] {
        let request = by_id(fetch_request("", vec![fetch_partition(0, 0)]), id);
        for version in 13..=18 {
            let answer = peer.call_at(&request, version).await.unwrap();
            assert_eq!(only(&answer).error_code, UNKNOWN_TOPIC_ID, "v{version} {id}");
            assert_eq!(answer.responses[0].topic_id, id);
        }
    }
    let request = by_id(fetch_request("", vec![fetch_partition(0, 0)]), topic.id);
    assert_eq!(only(&peer.call_at(&request, 18).await.unwrap()).error_code, 0);
}

#[tokio::test]
async fn a_waiting_fetch_wakes_when_records_arrive() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "wakes").await;
    let name = topic.name.clone();
    let waiting = tokio::spawn(async move {
        let mut peer = connect(shared()).await;
        let request = fetch_request(&name, vec![fetch_partition(0, 0)]).with_max_wait_ms(25_000);
        let begun = Instant::now();
        (peer.call_at(&request, 12).await.unwrap(), begun.elapsed())
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!waiting.is_finished(), "it answered without records");
    produce_values(&mut peer, &topic.name, 0, &["here"]).await;
    let (answer, took) = waiting.await.unwrap();
    assert_eq!(values_of(only(&answer).records.as_ref()), ["here"]);
    assert!(took < Duration::from_secs(20), "it waited for its deadline: {took:?}");
}

#[tokio::test]
async fn a_waiting_fetch_ends_at_its_time_with_nothing() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "waits").await;
    let request = fetch_request(&topic.name, vec![fetch_partition(0, 0)]).with_max_wait_ms(300);
    let begun = Instant::now();
    let answer = peer.call_at(&request, 12).await.unwrap();
    assert_eq!((only(&answer).error_code, only(&answer).records.as_ref().map_or(0, Bytes::len)), (0, 0));
    assert!((Duration::from_millis(290)..DEADLINE).contains(&begun.elapsed()));
}

#[tokio::test]
async fn min_bytes_are_waited_for_over_several_appends() {
    let mut peer = peer().await;
    let topic = topic_with(&mut peer, "min-bytes", 2, &[]).await;
    let name = topic.name.clone();
    let size = batch(&["0123456789"]).len() as i32;
    let waiting = tokio::spawn(async move {
        let mut peer = connect(shared()).await;
        let partitions = vec![fetch_partition(0, 0), fetch_partition(1, 0)];
        let request = fetch_request(&name, partitions).with_max_wait_ms(25_000).with_min_bytes(3 * size);
        peer.call_at(&request, 12).await.unwrap()
    });
    for partition in [0, 1] {
        produce_values(&mut peer, &topic.name, partition, &["0123456789"]).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
        assert!(!waiting.is_finished(), "two batches are less than min.bytes");
    }
    produce_values(&mut peer, &topic.name, 1, &["0123456789"]).await;
    let answer = waiting.await.unwrap();
    let counts: Vec<_> =
        answer.responses[0].partitions.iter().map(|it| values_of(it.records.as_ref()).len()).collect();
    assert_eq!(counts, [1, 2]);
}

#[tokio::test]
async fn an_error_is_told_at_once_and_not_after_the_wait() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "error").await;
    let partitions = vec![fetch_partition(0, 0), fetch_partition(5, 0)];
    let request = fetch_request(&topic.name, partitions).with_max_wait_ms(25_000);
    let begun = Instant::now();
    let answer = peer.call_at(&request, 12).await.unwrap();
    assert_eq!(answer.responses[0].partitions[1].error_code, UNKNOWN_TOPIC_OR_PARTITION);
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn limits_hold_but_for_the_first_batch() {
    let mut peer = peer().await;
    let topic = topic_with(&mut peer, "limits", 2, &[]).await;
    let long = "x".repeat(1000);
    for _ in 0..5 {
        for partition in 0..2 {
            produce_values(&mut peer, &topic.name, partition, &[&long]).await;
        }
    }
    let one = batch(&[&long]).len();
    let partition = |index: i32, max: usize| fetch_partition(index, 0).with_partition_max_bytes(max as i32);
    // (limits of the two partitions, limit of the answer) -> batches of each
    let cases = [
        ((one * 2, one * 3), one * 100, [2, 3]),
        ((one * 2, one * 3), one * 4, [2, 2]),
        ((1, one * 3), one * 100, [1, 3]),
        ((0, 0), one * 100, [1, 0]),
        ((one * 9, one * 9), 1, [1, 0]),
        ((one * 9, one * 9), 0, [1, 0]),
        ((one + 1, one - 1), one * 9, [1, 0]),
    ];
    for ((first, second), max, expected) in cases {
        let request = fetch_request(&topic.name, vec![partition(0, first), partition(1, second)])
            .with_max_bytes(max as i32);
        let answer = peer.call_at(&request, 12).await.unwrap();
        let counts: Vec<_> =
            answer.responses[0].partitions.iter().map(|it| values_of(it.records.as_ref()).len()).collect();
        assert_eq!(counts, expected, "limits {first}, {second}, {max} of batches of {one}");
    }
}

#[tokio::test]
async fn both_isolation_levels_read_what_is_there() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "isolation").await;
    produce_values(&mut peer, &topic.name, 0, &["a"]).await;
    for (level, aborted) in [(0, None), (1, Some(0))] {
        let request = fetch_request(&topic.name, vec![fetch_partition(0, 0)]).with_isolation_level(level);
        let answer = peer.call_at(&request, 11).await.unwrap();
        let partition = only(&answer);
        assert_eq!(values_of(partition.records.as_ref()), ["a"]);
        assert_eq!((partition.high_watermark, partition.last_stable_offset), (1, 1));
        assert_eq!(partition.aborted_transactions.as_ref().map(Vec::len), aborted);
    }
}

#[tokio::test]
async fn leader_epochs_other_than_the_current_one_are_told_apart() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "epochs").await;
    for (epoch, code) in [(-1, 0), (0, 0), (1, UNKNOWN_LEADER_EPOCH), (i32::MAX, UNKNOWN_LEADER_EPOCH)] {
        let request =
            fetch_request(&topic.name, vec![fetch_partition(0, 0).with_current_leader_epoch(epoch)]);
        let answer = peer.call_at(&request, 12).await.unwrap();
        assert_eq!(only(&answer).error_code, code, "epoch {epoch}");
    }
}

#[tokio::test]
async fn a_last_fetched_epoch_that_ends_earlier_here_is_diverging() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "diverging").await;
    produce_values(&mut peer, &topic.name, 0, &["a", "b"]).await;
    let ask = |offset: i64, epoch: i32| {
        fetch_request(&topic.name, vec![fetch_partition(0, offset).with_last_fetched_epoch(epoch)])
    };
    let answer = peer.call_at(&ask(1, 0), 12).await.unwrap();
    assert_eq!(values_of(only(&answer).records.as_ref()), ["a", "b"]);
    assert_eq!(only(&answer).diverging_epoch.epoch, -1);
    let answer = peer.call_at(&ask(5, 0), 12).await.unwrap();
    let diverging = &only(&answer).diverging_epoch;
    assert_eq!((only(&answer).error_code, diverging.epoch, diverging.end_offset), (0, 0, 2));
    assert_eq!(only(&answer).records.as_ref().map_or(0, Bytes::len), 0);
}

#[tokio::test]
async fn a_followers_fetch_is_refused() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "follower").await;
    produce_values(&mut peer, &topic.name, 0, &["a"]).await;
    let request = fetch_request(&topic.name, vec![fetch_partition(0, 0)]).with_replica_id(7.into());
    let answer = peer.call_at(&request, 12).await.unwrap();
    assert_eq!(only(&answer).error_code, NOT_LEADER_OR_FOLLOWER);
    let state = ReplicaState::default().with_replica_id(7.into()).with_replica_epoch(1);
    let request = by_id(fetch_request("", vec![fetch_partition(0, 0)]), topic.id)
        .with_replica_id((-1).into())
        .with_replica_state(state);
    let answer = peer.call_at(&request, 17).await.unwrap();
    assert_eq!(only(&answer).error_code, NOT_LEADER_OR_FOLLOWER);
    assert_eq!(only(&answer).records.as_ref().map_or(0, Bytes::len), 0);
}

#[tokio::test]
async fn many_topics_are_answered_in_the_order_asked() {
    let mut peer = peer().await;
    let mut topics = Vec::new();
    for n in 0..5 {
        let topic = topic(&mut peer, "many").await;
        produce_values(&mut peer, &topic.name, 0, &[&format!("of {n}")]).await;
        topics.push(topic.name);
    }
    topics.reverse();
    let mut request = fetch_request("", vec![]);
    request.topics = topics
        .iter()
        .map(|name| {
            FetchTopic::default().with_topic(named(name)).with_partitions(vec![fetch_partition(0, 0)])
        })
        .collect();
    let answer = peer.call_at(&request, 12).await.unwrap();
    let told: Vec<_> = answer.responses.iter().map(|it| it.topic.as_str().to_owned()).collect();
    assert_eq!(told, topics);
    assert_eq!(values_of(answer.responses[0].partitions[0].records.as_ref()), ["of 4"]);
}

#[tokio::test]
async fn a_deleted_topic_ends_the_wait_for_it() {
    use ketcd::protocol::peer::messages::DeleteTopicsRequest;
    let mut peer = peer().await;
    let topic = topic(&mut peer, "deleted").await;
    let name = topic.name.clone();
    let waiting = tokio::spawn(async move {
        let mut peer = connect(shared()).await;
        let request = fetch_request(&name, vec![fetch_partition(0, 0)]).with_max_wait_ms(25_000);
        let begun = Instant::now();
        let answer = peer.call_at(&request, 12).await.unwrap();
        (answer, begun.elapsed())
    });
    tokio::time::sleep(Duration::from_millis(200)).await;
    let request =
        DeleteTopicsRequest::default().with_topic_names(vec![named(&topic.name)]).with_timeout_ms(30_000);
    peer.call_at(&request, 5).await.unwrap();
    let (answer, took) = waiting.await.unwrap();
    assert!(took < Duration::from_secs(20), "{took:?}");
    let code = only(&answer).error_code;
    assert!([UNKNOWN_TOPIC_OR_PARTITION, NOT_LEADER_OR_FOLLOWER].contains(&code), "{code}");
}
