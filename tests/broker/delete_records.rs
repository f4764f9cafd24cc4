//! DeleteRecords: the log start offset moves, and only where it may.

use ketcd::protocol::peer::Peer;
use ketcd::protocol::peer::messages::DeleteRecordsRequest;
use ketcd::protocol::peer::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};

use crate::fixture::{fetch, list_offset, named, peer, produce_values, topic, topic_with};
use crate::wire::values_of;

const OFFSET_OUT_OF_RANGE: i16 = 1;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const POLICY_VIOLATION: i16 = 44;

async fn delete(peer: &mut Peer, topic: &str, partition: i32, offset: i64) -> (i16, i64) {
    let partition = DeleteRecordsPartition::default().with_partition_index(partition).with_offset(offset);
    let topic = DeleteRecordsTopic::default().with_name(named(topic)).with_partitions(vec![partition]);
    let request = DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(30_000);
    let answer = peer.call_at(&request, 2).await.unwrap();
    let told = &answer.topics[0].partitions[0];
    (told.error_code, told.low_watermark)
}

#[tokio::test]
async fn records_before_an_offset_are_gone() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "delete-records").await;
    for value in ["a", "b", "c", "d"] {
        produce_values(&mut peer, &topic.name, 0, &[value]).await;
    }
    assert_eq!(delete(&mut peer, &topic.name, 0, 2).await, (0, 2));
    assert_eq!(fetch(&mut peer, &topic.name, 0, 1).await.error_code, OFFSET_OUT_OF_RANGE);
    let fetched = fetch(&mut peer, &topic.name, 0, 2).await;
    assert_eq!(
        (values_of(fetched.records.as_ref()), fetched.log_start_offset),
        (vec!["c".into(), "d".into()], 2)
    );
    let (_, _, earliest, _) = list_offset(&mut peer, &topic.name, 0, -2).await;
    assert_eq!(earliest, 2);
    // Backwards changes nothing, -1 deletes all, appends go on.
    assert_eq!(delete(&mut peer, &topic.name, 0, 1).await, (0, 2));
    assert_eq!(delete(&mut peer, &topic.name, 0, -1).await, (0, 4));
    assert_eq!(produce_values(&mut peer, &topic.name, 0, &["e"]).await, 4);
    assert_eq!(values_of(fetch(&mut peer, &topic.name, 0, 4).await.records.as_ref()), ["e"]);
}

#[tokio::test]
async fn what_cannot_be_deleted_is_refused() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "delete-records").await;
    produce_values(&mut peer, &topic.name, 0, &["a", "b"]).await;
    for offset in [3, i64::MAX, -2, i64::MIN] {
        assert_eq!(delete(&mut peer, &topic.name, 0, offset).await, (OFFSET_OUT_OF_RANGE, -1), "{offset}");
    }
    assert_eq!(delete(&mut peer, &topic.name, 1, 0).await, (UNKNOWN_TOPIC_OR_PARTITION, -1));
    assert_eq!(delete(&mut peer, "no-such-topic", 0, 0).await, (UNKNOWN_TOPIC_OR_PARTITION, -1));
    let compacted = topic_with(&mut peer, "compacted", 1, &[("cleanup.policy", "compact")]).await;
    produce_values(&mut peer, &compacted.name, 0, &["a"]).await;
    assert_eq!(delete(&mut peer, &compacted.name, 0, 1).await, (POLICY_VIOLATION, -1));
    assert_eq!(fetch(&mut peer, &topic.name, 0, 0).await.log_start_offset, 0);
}
