//! ListOffsets and OffsetForLeaderEpoch.

use ketcd::protocol::compression::Codec;
use ketcd::protocol::peer::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ketcd::protocol::peer::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use ketcd::protocol::peer::messages::{ListOffsetsRequest, OffsetForLeaderEpochRequest};
use ketcd::protocol::records::BatchBuilder;

use crate::fixture::{build, list_offset, named, now_ms, peer, produce, topic, topic_with};

const LATEST: i64 = -1;
const EARLIEST: i64 = -2;
const MAX_TIMESTAMP: i64 = -3;
const EARLIEST_LOCAL: i64 = -4;
const LATEST_TIERED: i64 = -5;

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const UNSUPPORTED_VERSION: i16 = 35;
const UNKNOWN_LEADER_EPOCH: i16 = 75;

#[tokio::test]
async fn the_special_timestamps_of_an_empty_partition() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "empty").await;
    assert_eq!(list_offset(&mut peer, &topic.name, 0, LATEST).await, (0, -1, 0, 0));
    let (code, timestamp, offset, _) = list_offset(&mut peer, &topic.name, 0, EARLIEST).await;
    assert_eq!((code, timestamp, offset), (0, -1, 0));
    assert_eq!(list_offset(&mut peer, &topic.name, 0, MAX_TIMESTAMP).await, (0, -1, -1, -1));
    assert_eq!(list_offset(&mut peer, &topic.name, 0, 0).await, (0, -1, -1, -1));
}

#[tokio::test]
async fn offsets_are_found_by_time_in_batches_of_every_codec() {
    let mut peer = peer().await;
    for codec in Codec::ALL {
        let topic = topic(&mut peer, "by-time").await;
        let t = now_ms() - 1_000_000;
        // Two batches; the largest timestamp is in the middle of the second.
        for records in
            [[(t, "0"), (t + 10, "1"), (t + 20, "2")], [(t + 30, "3"), (t + 90, "4"), (t + 40, "5")]]
        {
            let batch = build(BatchBuilder::new().codec(codec, None), &records);
            assert_eq!(produce(&mut peer, &topic.name, 0, batch).await.error_code, 0);
        }
        let cases = [
            (0, (0, t, 0, 0)),
            (t, (0, t, 0, 0)),
            (t + 1, (0, t + 10, 1, 0)),
            (t + 20, (0, t + 20, 2, 0)),
            (t + 21, (0, t + 30, 3, 0)),
            (t + 35, (0, t + 90, 4, 0)),
            (t + 90, (0, t + 90, 4, 0)),
            (t + 91, (0, -1, -1, -1)),
            (i64::MAX, (0, -1, -1, -1)),
            (LATEST, (0, -1, 6, 0)),
            (EARLIEST, (0, -1, 0, 0)),
            (MAX_TIMESTAMP, (0, t + 90, 4, 0)),
            (EARLIEST_LOCAL, (0, -1, 0, 0)),
            (LATEST_TIERED, (0, -1, -1, -1)),
        ];
        for (timestamp, expected) in cases {
            assert_eq!(
                list_offset(&mut peer, &topic.name, 0, timestamp).await,
                expected,
                "{codec:?} {timestamp}"
            );
        }
    }
}

fn one(topic: &str, timestamp: i64, epoch: i32) -> ListOffsetsRequest {
    let partition = ListOffsetsPartition::default()
        .with_partition_index(0)
        .with_current_leader_epoch(epoch)
        .with_timestamp(timestamp);
    let topic = ListOffsetsTopic::default().with_name(named(topic)).with_partitions(vec![partition]);
    ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic])
}

#[tokio::test]
async fn a_special_timestamp_is_refused_below_its_version() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "special").await;
    for (timestamp, first) in
        [(MAX_TIMESTAMP, 7), (EARLIEST_LOCAL, 8), (LATEST_TIERED, 9), (-6, i16::MAX), (-7, i16::MAX)]
    {
        for version in 1..=10 {
            let answer = peer.call_at(&one(&topic.name, timestamp, -1), version).await.unwrap();
            let code = answer.topics[0].partitions[0].error_code;
            let expected = if version >= first { 0 } else { UNSUPPORTED_VERSION };
            assert_eq!(code, expected, "timestamp {timestamp} in v{version}");
        }
    }
}

#[tokio::test]
async fn errors_name_what_is_wrong() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "wrong").await;
    let unknown = (UNKNOWN_TOPIC_OR_PARTITION, -1, -1, -1);
    assert_eq!(list_offset(&mut peer, "no-such-topic", 0, LATEST).await, unknown);
    assert_eq!(list_offset(&mut peer, &topic.name, 1, LATEST).await, unknown);
    for version in 4..=10 {
        let answer = peer.call_at(&one(&topic.name, LATEST, 3), version).await.unwrap();
        assert_eq!(answer.topics[0].partitions[0].error_code, UNKNOWN_LEADER_EPOCH, "v{version}");
    }
}

#[tokio::test]
async fn the_end_of_a_leader_epoch_is_told() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "epoch-end").await;
    crate::fixture::produce_values(&mut peer, &topic.name, 0, &["a", "b"]).await;
    let partition = |index: i32, current: i32, epoch: i32| {
        OffsetForLeaderPartition::default()
            .with_partition(index)
            .with_current_leader_epoch(current)
            .with_leader_epoch(epoch)
    };
    let asked = vec![
        partition(0, -1, 0),
        partition(0, 0, 0),
        partition(0, 0, 7),
        partition(0, 7, 0),
        partition(1, -1, 0),
        partition(0, -1, -1),
    ];
    let topic = OffsetForLeaderTopic::default().with_topic(named(&topic.name)).with_partitions(asked);
    for version in 2..=4 {
        let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic.clone()]);
        let request = if version >= 3 { request.with_replica_id((-1).into()) } else { request };
        let answer = peer.call_at(&request, version).await.unwrap();
        let told: Vec<_> = answer.topics[0]
            .partitions
            .iter()
            .map(|it| (it.error_code, it.leader_epoch, it.end_offset))
            .collect();
        let expected = [
            (0, 0, 2),
            (0, 0, 2),
            (0, -1, -1),
            (UNKNOWN_LEADER_EPOCH, -1, -1),
            (UNKNOWN_TOPIC_OR_PARTITION, -1, -1),
            (0, -1, -1),
        ];
        assert_eq!(told, expected, "v{version}");
    }
}

#[tokio::test]
async fn times_of_the_broker_are_found_too() {
    let mut peer = peer().await;
    let topic = topic_with(&mut peer, "append-time", 1, &[("message.timestamp.type", "LogAppendTime")]).await;
    let mut times = Vec::new();
    for codec in Codec::ALL {
        let batch = build(BatchBuilder::new().codec(codec, None), &[(5, "a"), (6, "b")]);
        let answer = produce(&mut peer, &topic.name, 0, batch).await;
        times.push(answer.log_append_time_ms);
        // The next batch gets another time.
        crate::fixture::eventually("a millisecond", async || {
            (now_ms() > answer.log_append_time_ms).then_some(())
        })
        .await;
    }
    for (n, time) in (0i64..).zip(&times) {
        assert_eq!(list_offset(&mut peer, &topic.name, 0, *time).await, (0, *time, n * 2, 0), "batch {n}");
    }
    let last = times[4];
    assert_eq!(list_offset(&mut peer, &topic.name, 0, last + 1).await, (0, -1, -1, -1));
    assert_eq!(list_offset(&mut peer, &topic.name, 0, MAX_TIMESTAMP).await, (0, last, 8, 0));
}
