//! Idempotent producers: InitProducerId, sequences, epochs, DescribeProducers.

use std::collections::BTreeSet;

use bytes::Bytes;
use ketcd::protocol::peer::Peer;
use ketcd::protocol::peer::messages::create_partitions_request::CreatePartitionsTopic;
use ketcd::protocol::peer::messages::describe_producers_request::TopicRequest;
use ketcd::protocol::peer::messages::{
    CreatePartitionsRequest, DescribeProducersRequest, InitProducerIdRequest, TransactionalId,
};
use ketcd::protocol::records::BatchBuilder;

use crate::fixture::{build, fetch, named, now_ms, peer, produce, text, topic, topic_with};
use crate::wire;

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const OUT_OF_ORDER_SEQUENCE_NUMBER: i16 = 45;
const INVALID_PRODUCER_EPOCH: i16 = 47;
const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i16 = 53;

async fn init(peer: &mut Peer) -> i64 {
    let request =
        InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(60_000);
    let answer = peer.call_at(&request, 5).await.unwrap();
    assert_eq!((answer.error_code, answer.producer_epoch), (0, 0));
    answer.producer_id.0
}

fn sequenced(id: i64, epoch: i16, sequence: i32, values: &[&str]) -> Bytes {
    let now = now_ms();
    let records: Vec<_> = values.iter().map(|value| (now, *value)).collect();
    build(BatchBuilder::new().producer(id, epoch, sequence), &records)
}

#[tokio::test]
async fn every_producer_gets_an_id_of_its_own() {
    let mut ids = BTreeSet::new();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        tasks.spawn(async {
            let mut peer = peer().await;
            let mut ids = Vec::new();
            for _ in 0..200 {
                ids.push(init(&mut peer).await);
            }
            ids
        });
    }
    while let Some(got) = tasks.join_next().await {
        for id in got.unwrap() {
            assert!(id >= 0 && ids.insert(id), "{id} was given twice");
        }
    }
    assert_eq!(ids.len(), 1600);
}

#[tokio::test]
async fn a_transactional_id_is_refused_for_good() {
    let mut peer = peer().await;
    for version in 0..=5 {
        let request = InitProducerIdRequest::default()
            .with_transactional_id(Some(TransactionalId(text("tx"))))
            .with_transaction_timeout_ms(60_000);
        let answer = peer.call_at(&request, version).await.unwrap();
        assert_eq!(answer.error_code, TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
        assert_eq!((answer.producer_id.0, answer.producer_epoch), (-1, -1));
    }
}

#[tokio::test]
async fn a_batch_sent_again_is_stored_once_and_answered_with_its_offset() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "duplicates").await;
    let id = init(&mut peer).await;
    let batches: Vec<_> = (0..5).map(|n| sequenced(id, 0, n * 2, &["a", "b"])).collect();
    for (n, batch) in (0..).zip(&batches) {
        let answer = produce(&mut peer, &topic.name, 0, batch.clone()).await;
        assert_eq!((answer.error_code, answer.base_offset), (0, n * 2));
    }
    // The last five batches are remembered.
    for (n, batch) in (0..).zip(&batches) {
        let answer = produce(&mut peer, &topic.name, 0, batch.clone()).await;
        assert_eq!((answer.error_code, answer.base_offset), (0, n * 2), "batch {n} again");
    }
    assert_eq!(fetch(&mut peer, &topic.name, 0, 0).await.high_watermark, 10);
}

#[tokio::test]
async fn a_gap_in_the_sequence_is_out_of_order() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "gaps").await;
    let id = init(&mut peer).await;
    assert_eq!(produce(&mut peer, &topic.name, 0, sequenced(id, 0, 0, &["a"])).await.error_code, 0);
    for sequence in [2, 7, i32::MAX] {
        let answer = produce(&mut peer, &topic.name, 0, sequenced(id, 0, sequence, &["x"])).await;
        assert_eq!(answer.error_code, OUT_OF_ORDER_SEQUENCE_NUMBER, "sequence {sequence}");
    }
    let answer = produce(&mut peer, &topic.name, 0, sequenced(id, 0, 1, &["b"])).await;
    assert_eq!((answer.error_code, answer.base_offset), (0, 1));
    let fetched = fetch(&mut peer, &topic.name, 0, 0).await;
    assert_eq!(wire::values_of(fetched.records.as_ref()), ["a", "b"]);
}

#[tokio::test]
async fn a_batch_does_not_overtake_one_that_was_refused() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "refused").await;
    let id = init(&mut peer).await;
    let batch = |sequence, value| sequenced(id, 0, sequence, &[value]);
    assert_eq!(
        produce(&mut peer, &topic.name, 1, batch(0, "a")).await.error_code,
        UNKNOWN_TOPIC_OR_PARTITION
    );
    let wanted =
        CreatePartitionsTopic::default().with_name(named(&topic.name)).with_count(2).with_assignments(None);
    let request = CreatePartitionsRequest::default().with_topics(vec![wanted]).with_timeout_ms(30_000);
    assert_eq!(peer.call_at(&request, 3).await.unwrap().results[0].error_code, 0);
    // The client had sent it before it knew of the first one's fate; the broker knows nothing of the producer.
    let answer = produce(&mut peer, &topic.name, 1, batch(1, "b")).await;
    assert_eq!(answer.error_code, OUT_OF_ORDER_SEQUENCE_NUMBER);
    for (sequence, value) in [(0, "a"), (1, "b")] {
        assert_eq!(produce(&mut peer, &topic.name, 1, batch(sequence, value)).await.error_code, 0);
    }
    let fetched = fetch(&mut peer, &topic.name, 1, 0).await;
    assert_eq!(wire::values_of(fetched.records.as_ref()), ["a", "b"]);
    // Elsewhere a producer begins where it likes: what the broker knew of it may have expired.
    assert_eq!(produce(&mut peer, &topic.name, 0, batch(7, "c")).await.error_code, 0);
}

#[tokio::test]
async fn an_older_epoch_is_fenced_and_a_newer_one_begins_at_zero() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "epochs").await;
    let id = init(&mut peer).await;
    assert_eq!(produce(&mut peer, &topic.name, 0, sequenced(id, 1, 0, &["a"])).await.error_code, 0);
    let answer = produce(&mut peer, &topic.name, 0, sequenced(id, 0, 1, &["x"])).await;
    assert_eq!(answer.error_code, INVALID_PRODUCER_EPOCH);
    let answer = produce(&mut peer, &topic.name, 0, sequenced(id, 2, 5, &["x"])).await;
    assert_eq!(answer.error_code, OUT_OF_ORDER_SEQUENCE_NUMBER);
    assert_eq!(produce(&mut peer, &topic.name, 0, sequenced(id, 2, 0, &["b"])).await.error_code, 0);
    assert_eq!(fetch(&mut peer, &topic.name, 0, 0).await.high_watermark, 2);
}

#[tokio::test]
async fn the_producers_of_each_partition_are_described() {
    let mut peer = peer().await;
    let topic = topic_with(&mut peer, "described", 2, &[]).await;
    let id = init(&mut peer).await;
    let before = now_ms();
    assert_eq!(produce(&mut peer, &topic.name, 0, sequenced(id, 4, 0, &["a", "b"])).await.error_code, 0);
    let asked = TopicRequest::default().with_name(named(&topic.name)).with_partition_indexes(vec![0, 1, 2]);
    let unknown = TopicRequest::default().with_name(named("no-such-topic")).with_partition_indexes(vec![0]);
    let request = DescribeProducersRequest::default().with_topics(vec![asked, unknown]);
    let answer = peer.call(&request).await.unwrap();
    let partitions = &answer.topics[0].partitions;
    let producer = &partitions[0].active_producers[0];
    let told = (producer.producer_id.0, producer.producer_epoch, producer.last_sequence);
    assert_eq!(told, (id, 4, 1));
    assert!((before..=now_ms()).contains(&producer.last_timestamp));
    assert_eq!((partitions[1].error_code, partitions[1].active_producers.len()), (0, 0));
    assert_eq!(partitions[2].error_code, 3);
    assert_eq!(answer.topics[1].partitions[0].error_code, 3);
}
