//! Produce as Kafka answers it.

use bytes::{Bytes, BytesMut};
use ketcd::protocol::batch;
use ketcd::protocol::compression::Codec;
use ketcd::protocol::peer::messages::TransactionalId;
use ketcd::protocol::peer::messages::produce_request::PartitionProduceData;
use ketcd::protocol::peer::{Peer, encode_frame};
use ketcd::protocol::records::{BatchBuilder, NewRecord};

use crate::fixture::{
    Topic, batch as batch_of, batch_at, build, fetch, now_ms, peer, produce, produce_request, produce_values,
    shared, text, topic, topic_with,
};
use crate::wire;

const CORRUPT_MESSAGE: i16 = 2;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const NOT_LEADER_OR_FOLLOWER: i16 = 6;
const MESSAGE_TOO_LARGE: i16 = 10;
const INVALID_REQUIRED_ACKS: i16 = 21;
const INVALID_TIMESTAMP: i16 = 32;
const UNSUPPORTED_FOR_MESSAGE_FORMAT: i16 = 43;
const TRANSACTIONAL_ID_AUTHORIZATION_FAILED: i16 = 53;
const KAFKA_STORAGE_ERROR: i16 = 56;
const INVALID_RECORD: i16 = 87;
const UNKNOWN_TOPIC_ID: i16 = 100;

#[tokio::test]
async fn records_come_back_as_they_were_sent_with_every_codec() {
    let mut peer = peer().await;
    for codec in Codec::ALL {
        let topic = topic(&mut peer, "codec").await;
        let now = now_ms();
        let builder = BatchBuilder::new().codec(codec, None);
        let sent = build(builder, &[(now, "one"), (now + 1, "two"), (now + 2, "three")]);
        let answer = produce(&mut peer, &topic.name, 0, sent.clone()).await;
        assert_eq!(
            (answer.error_code, answer.base_offset, answer.log_append_time_ms),
            (0, 0, -1),
            "{codec:?}"
        );
        let again = produce(&mut peer, &topic.name, 0, sent).await;
        assert_eq!((again.error_code, again.base_offset), (0, 3));
        let fetched = fetch(&mut peer, &topic.name, 0, 0).await;
        let seen = wire::records_of(fetched.records.as_ref());
        let seen: Vec<_> = seen.iter().map(|it| (it.offset, it.timestamp - now, it.value.as_str())).collect();
        let expected =
            [(0, 0, "one"), (1, 1, "two"), (2, 2, "three"), (3, 0, "one"), (4, 1, "two"), (5, 2, "three")];
        assert_eq!(seen, expected, "{codec:?}");
        assert_eq!(fetched.high_watermark, 6);
    }
}

#[tokio::test]
async fn each_number_of_acks_stores_the_records() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "acks").await;
    for acks in [1, -1] {
        let request = produce_request(&topic.name, 0, acks, Some(batch_of(&["told"])));
        let answer = peer.call_at(&request, 9).await.unwrap();
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
    }
    let silent = produce_request(&topic.name, 0, 0, Some(batch_of(&["silent"])));
    peer.send_silent(&produce_by_id(silent, &topic)).await.unwrap();
    // In order behind it: the next answer is the next request's.
    assert_eq!(produce_values(&mut peer, &topic.name, 0, &["after"]).await, 3);
    let fetched = fetch(&mut peer, &topic.name, 0, 0).await;
    assert_eq!(wire::values_of(fetched.records.as_ref()), ["told", "told", "silent", "after"]);
}

/// The request with its topic by id, as v13 has it.
fn produce_by_id(
    mut request: ketcd::protocol::peer::messages::ProduceRequest,
    topic: &Topic,
) -> ketcd::protocol::peer::messages::ProduceRequest {
    request.topic_data[0].name = Default::default();
    request.topic_data[0].topic_id = topic.id;
    request
}

#[tokio::test]
async fn a_silent_produce_that_fails_closes_the_connection() {
    let request = produce_request("no-such-topic", 0, 0, Some(batch_of(&["x"])));
    let frame = encode_frame(&request, 9, 1, "tests").unwrap();
    let mut socket = wire::open(shared()).await;
    assert_eq!(wire::exchange(&mut socket, &frame).await, wire::Outcome::Closed);
}

#[tokio::test]
async fn other_numbers_of_acks_are_refused_and_nothing_is_stored() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "acks").await;
    for acks in [2, -2, i16::MAX, i16::MIN] {
        let request = produce_request(&topic.name, 0, acks, Some(batch_of(&["x"])));
        let answer = peer.call_at(&request, 9).await.unwrap();
        let partition = &answer.responses[0].partition_responses[0];
        assert_eq!((partition.error_code, partition.base_offset), (INVALID_REQUIRED_ACKS, -1), "acks={acks}");
    }
    assert_eq!(fetch(&mut peer, &topic.name, 0, 0).await.high_watermark, 0);
}

#[tokio::test]
async fn unknown_topics_partitions_and_ids_are_named_so() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "unknown").await;
    let answer = produce(&mut peer, "no-such-topic", 0, batch_of(&["x"])).await;
    assert_eq!((answer.error_code, answer.base_offset), (UNKNOWN_TOPIC_OR_PARTITION, -1));
    for partition in [1, -1, i32::MAX] {
        let answer = produce(&mut peer, &topic.name, partition, batch_of(&["x"])).await;
        assert_eq!((answer.index, answer.error_code), (partition, UNKNOWN_TOPIC_OR_PARTITION));
    }
    let known = produce_by_id(produce_request(&topic.name, 0, -1, Some(batch_of(&["x"]))), &topic);
    let mut unknown = known.clone();
    unknown.topic_data[0].topic_id = uuid::Uuid::from_u128(99);
    let answer = peer.call_at(&unknown, 13).await.unwrap();
    assert_eq!(answer.responses[0].topic_id, uuid::Uuid::from_u128(99));
    assert_eq!(answer.responses[0].partition_responses[0].error_code, UNKNOWN_TOPIC_ID);
    let answer = peer.call_at(&known, 13).await.unwrap();
    assert_eq!(answer.responses[0].topic_id, topic.id);
    assert_eq!(answer.responses[0].partition_responses[0].error_code, 0);
}

#[tokio::test]
async fn partitions_of_one_request_are_answered_each_for_itself() {
    let mut peer = peer().await;
    let topic = topic_with(&mut peer, "each", 3, &[]).await;
    let mut request = produce_request(&topic.name, 0, -1, Some(batch_of(&["a"])));
    let more = [(7, batch_of(&["b"])), (1, Bytes::from_static(b"nonsense")), (2, batch_of(&["c", "d"]))];
    request.topic_data[0].partition_data.extend(more.map(|(index, records)| {
        PartitionProduceData::default().with_index(index).with_records(Some(records))
    }));
    let answer = peer.call_at(&request, 10).await.unwrap();
    let told: Vec<_> =
        answer.responses[0].partition_responses.iter().map(|it| (it.index, it.error_code)).collect();
    assert_eq!(told, [(0, 0), (7, UNKNOWN_TOPIC_OR_PARTITION), (1, CORRUPT_MESSAGE), (2, 0)]);
}

/// Produces `records` and expects `code`, with a message, and nothing stored.
async fn refused(peer: &mut Peer, topic: &Topic, records: Bytes, code: i16, why: &str) {
    let answer = produce(peer, &topic.name, 0, records).await;
    assert_eq!((answer.error_code, answer.base_offset), (code, -1), "{why}: {answer:?}");
    assert!(answer.error_message.is_some_and(|text| !text.is_empty()), "{why}: no message");
    assert_eq!(fetch(peer, &topic.name, 0, 0).await.high_watermark, 0, "{why}");
}

fn patched(batch: &Bytes, at: usize, bytes: &[u8], mend_crc: bool) -> Bytes {
    let mut batch = BytesMut::from(&batch[..]);
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    if mend_crc {
        batch::patch_crc(&mut batch).unwrap();
    }
    batch.freeze()
}

#[tokio::test]
async fn broken_batches_are_refused_with_kafkas_codes() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "broken").await;
    let good = batch_of(&["one", "two"]);
    let mut last = good.to_vec();
    *last.last_mut().unwrap() ^= 1;
    let two = Bytes::from([&good[..], &good[..]].concat());
    let cases: &[(Bytes, i16, &str)] = &[
        (last.into(), CORRUPT_MESSAGE, "a bit flipped in a record"),
        (patched(&good, 17, &[0; 4], false), CORRUPT_MESSAGE, "a wrong checksum"),
        (patched(&good, 16, &[1], true), UNSUPPORTED_FOR_MESSAGE_FORMAT, "magic 1"),
        (patched(&good, 16, &[0], true), UNSUPPORTED_FOR_MESSAGE_FORMAT, "magic 0"),
        (patched(&good, 16, &[3], true), UNSUPPORTED_FOR_MESSAGE_FORMAT, "magic 3"),
        (patched(&good, 8, &(-1i32).to_be_bytes(), false), CORRUPT_MESSAGE, "a negative length"),
        (patched(&good, 8, &i32::MAX.to_be_bytes(), false), CORRUPT_MESSAGE, "a length beyond the end"),
        (patched(&good, 57, &3i32.to_be_bytes(), true), INVALID_RECORD, "three records promised, two there"),
        (patched(&good, 57, &0i32.to_be_bytes(), true), INVALID_RECORD, "no records promised, two there"),
        (patched(&good, 57, &i32::MAX.to_be_bytes(), true), INVALID_RECORD, "a count of 2^31-1"),
        (patched(&good, 0, &5i64.to_be_bytes(), true), INVALID_RECORD, "a base offset of 5"),
        (patched(&good, 21, &0x20i16.to_be_bytes(), true), INVALID_RECORD, "a control batch"),
        (patched(&good, 21, &0x07i16.to_be_bytes(), true), CORRUPT_MESSAGE, "an unknown codec"),
        (two, INVALID_RECORD, "two batches in one partition"),
        (BatchBuilder::new().build(), INVALID_RECORD, "a batch without records"),
        (Bytes::new(), INVALID_RECORD, "no bytes"),
        (good.slice(..good.len() - 1), CORRUPT_MESSAGE, "one byte short"),
        (good.slice(..40), CORRUPT_MESSAGE, "half a header"),
    ];
    for (records, code, why) in cases {
        refused(&mut peer, &topic, records.clone(), *code, why).await;
    }
    let request = produce_request(&topic.name, 0, -1, None);
    let answer = peer.call_at(&request, 9).await.unwrap();
    assert_eq!(answer.responses[0].partition_responses[0].error_code, INVALID_RECORD, "null records");
    assert_eq!(produce_values(&mut peer, &topic.name, 0, &["still works"]).await, 0);
}

#[tokio::test]
async fn a_transactional_request_is_refused_for_good() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "transactional").await;
    let request = produce_request(&topic.name, 0, -1, Some(batch_of(&["x"])))
        .with_transactional_id(Some(TransactionalId(text("tx"))));
    let answer = peer.call_at(&request, 9).await.unwrap();
    let code = answer.responses[0].partition_responses[0].error_code;
    assert_eq!(code, TRANSACTIONAL_ID_AUTHORIZATION_FAILED);
    assert_eq!(fetch(&mut peer, &topic.name, 0, 0).await.high_watermark, 0);
}

#[tokio::test]
async fn a_transactional_batch_outside_of_a_transaction_is_refused() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "transactional").await;
    let builder = BatchBuilder::new().producer(5, 0, 0).attributes(0x10);
    let answer = produce(&mut peer, &topic.name, 0, build(builder, &[(now_ms(), "x")])).await;
    assert_ne!(answer.error_code, 0, "it would hold back the last stable offset forever");
    let fetched = fetch(&mut peer, &topic.name, 0, 0).await;
    assert_eq!((fetched.high_watermark, fetched.last_stable_offset), (0, 0));
}

#[tokio::test]
async fn a_batch_larger_than_the_topic_takes_is_too_large() {
    let mut peer = peer().await;
    let topic = topic_with(&mut peer, "large", 1, &[("max.message.bytes", "1000")]).await;
    let long = "x".repeat(2000);
    refused(&mut peer, &topic, batch_of(&[&long]), MESSAGE_TOO_LARGE, "2000 bytes").await;
    produce_values(&mut peer, &topic.name, 0, &[&long[..800]]).await;
}

#[tokio::test]
async fn timestamps_out_of_range_are_refused_with_the_record_that_has_them() {
    let mut peer = peer().await;
    let keys = [("message.timestamp.before.max.ms", "60000"), ("message.timestamp.after.max.ms", "60000")];
    let topic = topic_with(&mut peer, "timestamps", 1, &keys).await;
    let now = now_ms();
    for bad in [now - 3_600_000, now + 3_600_000] {
        let answer = produce(&mut peer, &topic.name, 0, batch_at(&[(now, "good"), (bad, "bad")])).await;
        assert_eq!(answer.error_code, INVALID_TIMESTAMP);
        assert_eq!(answer.record_errors.len(), 1);
        assert_eq!(answer.record_errors[0].batch_index, 1);
        assert!(answer.record_errors[0].batch_index_error_message.is_some());
        assert!(answer.error_message.is_some());
    }
    assert_eq!(produce(&mut peer, &topic.name, 0, batch_at(&[(now, "good")])).await.error_code, 0);
}

#[tokio::test]
async fn a_compacted_topic_refuses_records_without_keys() {
    let mut peer = peer().await;
    let topic = topic_with(&mut peer, "compacted", 1, &[("cleanup.policy", "compact")]).await;
    let mut builder = BatchBuilder::new();
    for key in [Some(&b"k"[..]), None] {
        builder.push(NewRecord { timestamp: now_ms(), key, value: Some(b"v"), headers: &[] }).unwrap();
    }
    let answer = produce(&mut peer, &topic.name, 0, builder.build()).await;
    assert_eq!((answer.error_code, answer.record_errors[0].batch_index), (INVALID_RECORD, 1));
}

#[tokio::test]
async fn log_append_time_is_the_brokers_and_is_told() {
    let mut peer = peer().await;
    let topic = topic_with(&mut peer, "append-time", 1, &[("message.timestamp.type", "LogAppendTime")]).await;
    let before = now_ms();
    let answer = produce(&mut peer, &topic.name, 0, batch_at(&[(5, "old"), (6, "old")])).await;
    assert_eq!(answer.error_code, 0, "{answer:?}");
    assert!((before..=now_ms()).contains(&answer.log_append_time_ms), "{}", answer.log_append_time_ms);
    let fetched = fetch(&mut peer, &topic.name, 0, 0).await;
    for record in wire::records_of(fetched.records.as_ref()) {
        assert_eq!(record.timestamp, answer.log_append_time_ms);
    }
}

#[tokio::test]
async fn errors_of_single_records_are_answered_at_every_version() {
    let mut peer = peer().await;
    let topic = topic_with(&mut peer, "errors", 1, &[("message.timestamp.after.max.ms", "1000")]).await;
    let late = batch_at(&[(now_ms() + 3_600_000, "late")]);
    for version in 3..=13 {
        let request = produce_request(&topic.name, 0, -1, Some(late.clone()));
        let request = if version >= 13 { produce_by_id(request, &topic) } else { request };
        let answer = peer.call_at(&request, version).await.unwrap();
        let partition = &answer.responses[0].partition_responses[0];
        assert_eq!(partition.error_code, INVALID_TIMESTAMP, "v{version}");
        assert_eq!(
            (partition.record_errors.len(), partition.error_message.is_some()),
            if version >= 8 { (1, true) } else { (0, false) }
        );
    }
}

#[tokio::test]
async fn a_topic_of_one_replica_needs_no_more_than_that_whatever_it_asks_for() {
    let mut peer = peer().await;
    let topic = topic_with(&mut peer, "min-isr", 1, &[("min.insync.replicas", "2")]).await;
    // As `Partition.effectiveMinIsr`.
    for acks in [-1, 1] {
        let request = produce_request(&topic.name, 0, acks, Some(batch_of(&["x"])));
        let answer = peer.call_at(&request, 9).await.unwrap();
        assert_eq!(answer.responses[0].partition_responses[0].error_code, 0, "acks={acks}");
    }
    assert_eq!(fetch(&mut peer, &topic.name, 0, 0).await.high_watermark, 2);
}

#[tokio::test]
async fn every_compression_type_of_a_topic_stores_every_codec() {
    let mut peer = peer().await;
    for stored in ["uncompressed", "gzip", "snappy", "lz4", "zstd"] {
        let topic = topic_with(&mut peer, "stored", 1, &[("compression.type", stored)]).await;
        for codec in Codec::ALL {
            let sent = build(BatchBuilder::new().codec(codec, None), &[(now_ms(), "a"), (now_ms(), "b")]);
            assert_eq!(produce(&mut peer, &topic.name, 0, sent).await.error_code, 0, "{codec:?} to {stored}");
        }
        let records = fetch(&mut peer, &topic.name, 0, 0).await.records.unwrap();
        let expected = if stored == "uncompressed" { "none" } else { stored };
        for one in batch::split(&records) {
            assert_eq!(one.unwrap().0.codec().unwrap().name(), expected);
        }
        assert_eq!(wire::values_of(Some(&records)), ["a", "b"].repeat(5));
    }
}

#[tokio::test]
async fn producers_of_a_topic_that_is_deleted_are_told_so() {
    let mut admin = peer().await;
    let topic = topic_with(&mut admin, "deleted", 4, &[]).await;
    let mut producers = tokio::task::JoinSet::new();
    let (going, mut started) = tokio::sync::mpsc::unbounded_channel();
    for partition in 0..4 {
        let (name, going) = (topic.name.clone(), going.clone());
        producers.spawn(async move {
            let mut peer = peer().await;
            loop {
                let answer = produce(&mut peer, &name, partition, batch_of(&["x"])).await;
                match answer.error_code {
                    0 => going.send(partition).unwrap(),
                    // Between the two it has no leader, or its log is closed.
                    NOT_LEADER_OR_FOLLOWER | KAFKA_STORAGE_ERROR => {}
                    UNKNOWN_TOPIC_OR_PARTITION => return,
                    other => panic!("error {other}"),
                }
            }
        });
    }
    let mut stored = std::collections::BTreeSet::new();
    while stored.len() < 4 {
        stored.insert(started.recv().await.unwrap());
    }
    let request = ketcd::protocol::peer::messages::DeleteTopicsRequest::default()
        .with_topic_names(vec![crate::fixture::named(&topic.name)])
        .with_timeout_ms(30_000);
    assert_eq!(admin.call_at(&request, 5).await.unwrap().responses[0].error_code, 0);
    tokio::time::timeout(crate::fixture::DEADLINE, producers.join_all()).await.unwrap();
}

#[tokio::test]
async fn concurrent_producers_of_one_partition_lose_and_reorder_nothing() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "concurrent").await;
    let mut producers = tokio::task::JoinSet::new();
    for producer in 0..6 {
        let name = topic.name.clone();
        producers.spawn(async move {
            let mut peer = crate::fixture::peer().await;
            let mut last = -1;
            for n in 0..100 {
                let at = produce_values(&mut peer, &name, 0, &[&format!("{producer} {n}")]).await;
                assert!(at > last, "offset {at} after {last}");
                last = at;
            }
        });
    }
    producers.join_all().await;
    let fetched = fetch(&mut peer, &topic.name, 0, 0).await;
    let seen = wire::records_of(fetched.records.as_ref());
    assert!(seen.iter().map(|it| it.offset).eq(0..600));
    for producer in 0..6 {
        let own = seen.iter().filter(|it| it.value.starts_with(&format!("{producer} ")));
        let expected = (0..100).map(|n| format!("{producer} {n}"));
        assert!(own.map(|it| it.value.clone()).eq(expected));
    }
}
