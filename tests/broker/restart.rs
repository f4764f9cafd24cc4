//! A broker that is stopped and started again on its directory has everything: topics, records, producers, configuration.

use ketcd::protocol::peer::messages::DescribeClusterRequest;
use ketcd::protocol::peer::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use ketcd::protocol::peer::messages::{DeleteRecordsRequest, InitProducerIdRequest};
use ketcd::protocol::records::BatchBuilder;
use tempfile::TempDir;

use crate::configs::{TOPIC, alter};
use crate::fixture::{
    OwnBroker, build, connect, fetch, list_offset, named, now_ms, produce, produce_values, topic, topic_with,
};
use crate::wire::values_of;

#[tokio::test]
async fn a_restarted_broker_has_what_it_had() {
    let data = TempDir::new().unwrap();
    let broker = OwnBroker::start(data.path(), &[]).await;
    let mut peer = connect(&broker.address).await;
    let cluster_id = peer.call(&DescribeClusterRequest::default()).await.unwrap().cluster_id;
    let init =
        InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(60_000);
    let id = peer.call_at(&init, 5).await.unwrap().producer_id.0;
    let kept = topic_with(&mut peer, "kept", 3, &[("retention.ms", "5000000")]).await;
    let trimmed = topic(&mut peer, "trimmed").await;
    let now = now_ms();
    let sequenced =
        |sequence: i32, value: &str| build(BatchBuilder::new().producer(id, 0, sequence), &[(now, value)]);
    assert_eq!(produce(&mut peer, &kept.name, 1, sequenced(0, "one")).await.error_code, 0);
    assert_eq!(produce(&mut peer, &kept.name, 1, sequenced(1, "two")).await.error_code, 0);
    produce_values(&mut peer, &trimmed.name, 0, &["a"]).await;
    produce_values(&mut peer, &trimmed.name, 0, &["b"]).await;
    let before = DeleteRecordsPartition::default().with_partition_index(0).with_offset(1);
    let before = DeleteRecordsTopic::default().with_name(named(&trimmed.name)).with_partitions(vec![before]);
    let request = DeleteRecordsRequest::default().with_topics(vec![before]).with_timeout_ms(30_000);
    assert_eq!(peer.call_at(&request, 2).await.unwrap().topics[0].partitions[0].error_code, 0);
    assert_eq!(alter(&mut peer, TOPIC, &trimmed.name, "max.message.bytes", 0, Some("1000")).await, 0);
    broker.stop().await;

    let mut next_id = id;
    for round in 0..3 {
        let broker = OwnBroker::start(data.path(), &[]).await;
        let mut peer = connect(&broker.address).await;
        assert_eq!(peer.call(&DescribeClusterRequest::default()).await.unwrap().cluster_id, cluster_id);
        // "latest" is at the end before anything else was asked.
        let (code, _, latest, _) = list_offset(&mut peer, &kept.name, 1, -1).await;
        assert_eq!((code, latest), (0, 2 + round));
        let fetched = fetch(&mut peer, &kept.name, 1, 0).await;
        assert_eq!(&values_of(fetched.records.as_ref())[..2], ["one", "two"]);
        let fetched = fetch(&mut peer, &trimmed.name, 0, 1).await;
        assert_eq!(
            (values_of(fetched.records.as_ref()), fetched.log_start_offset),
            (vec!["b".to_owned()], 1)
        );
        // The producer goes on where it was: a repetition is one, a gap is one.
        let again = produce(&mut peer, &kept.name, 1, sequenced(round as i32 + 1, "two")).await;
        assert_eq!((again.error_code, again.base_offset), (0, 1 + round), "round {round}");
        let gap = produce(&mut peer, &kept.name, 1, sequenced(99, "gap")).await;
        assert_eq!(gap.error_code, 45);
        let next = produce(&mut peer, &kept.name, 1, sequenced(round as i32 + 2, "next")).await;
        assert_eq!((next.error_code, next.base_offset), (0, 2 + round));
        let large = produce(&mut peer, &trimmed.name, 0, crate::fixture::batch(&[&"x".repeat(2000)])).await;
        assert_eq!(large.error_code, 10, "the topic's configuration is there");
        let fresh = peer.call_at(&init, 5).await.unwrap().producer_id.0;
        assert!(fresh > next_id, "producer id {fresh} was given before");
        next_id = fresh;
        broker.stop().await;
    }
}

#[tokio::test]
async fn a_stop_answers_what_waits_and_refuses_nobody_that_was_answered() {
    use crate::fixture::{fetch_partition, fetch_request};
    let data = TempDir::new().unwrap();
    let broker = OwnBroker::start(data.path(), &[]).await;
    let mut peer = connect(&broker.address).await;
    let topic = topic(&mut peer, "stopping").await;
    produce_values(&mut peer, &topic.name, 0, &["a"]).await;
    let mut waiting = connect(&broker.address).await;
    let request = fetch_request(&topic.name, vec![fetch_partition(0, 1)]).with_max_wait_ms(25_000);
    let begun = std::time::Instant::now();
    let parked = tokio::spawn(async move { waiting.call_at(&request, 12).await });
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    broker.stop().await;
    let answer = parked.await.unwrap().expect("a parked fetch is answered");
    assert_eq!(answer.responses[0].partitions[0].high_watermark, 1);
    assert!(begun.elapsed() < std::time::Duration::from_secs(20));
    assert!(peer.call_at(&DescribeClusterRequest::default(), 0).await.is_err(), "the connection is closed");
}
