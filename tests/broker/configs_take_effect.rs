//! Changes of configuration take effect on logs that are in use.

use std::path::Path;

use ketcd::protocol::peer::Peer;
use tempfile::TempDir;

use crate::configs::{BROKER, TOPIC, alter};
use crate::fixture::{
    OwnBroker, batch, batch_at, connect, eventually, fetch, list_offset, now_ms, peer, produce,
    produce_values, topic,
};
use crate::wire::records_of;

const SET: i8 = 0;
const MESSAGE_TOO_LARGE: i16 = 10;

async fn set(peer: &mut Peer, topic: &str, key: &str, value: &str) {
    assert_eq!(alter(peer, TOPIC, topic, key, SET, Some(value)).await, 0, "{key}={value}");
}

#[tokio::test]
async fn max_message_bytes_holds_for_the_next_produce() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "effect").await.name;
    let records = batch(&["x".repeat(5000).as_str()]);
    assert_eq!(produce(&mut peer, &topic, 0, records.clone()).await.error_code, 0);
    set(&mut peer, &topic, "max.message.bytes", "1000").await;
    assert_eq!(produce(&mut peer, &topic, 0, records.clone()).await.error_code, MESSAGE_TOO_LARGE);
    set(&mut peer, &topic, "max.message.bytes", "10000").await;
    assert_eq!(produce(&mut peer, &topic, 0, records).await.error_code, 0);
}

#[tokio::test]
async fn a_cluster_wide_limit_holds_for_every_topic_without_its_own() {
    let data = TempDir::new().unwrap();
    let broker = OwnBroker::start(data.path(), &["dev.ephemeral=true"]).await;
    let mut peer = connect(&broker.address).await;
    let topic = topic(&mut peer, "effect").await.name;
    let records = batch(&["x".repeat(5000).as_str()]);
    assert_eq!(produce(&mut peer, &topic, 0, records.clone()).await.error_code, 0);
    assert_eq!(alter(&mut peer, BROKER, "", "message.max.bytes", SET, Some("1000")).await, 0);
    assert_eq!(produce(&mut peer, &topic, 0, records.clone()).await.error_code, MESSAGE_TOO_LARGE);
    set(&mut peer, &topic, "max.message.bytes", "10000").await;
    assert_eq!(produce(&mut peer, &topic, 0, records).await.error_code, 0);
    broker.stop().await;
}

#[tokio::test]
async fn the_timestamp_type_changes_between_two_batches() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "effect").await.name;
    let old = now_ms() - 500_000;
    assert_eq!(produce(&mut peer, &topic, 0, batch_at(&[(old, "a")])).await.log_append_time_ms, -1);
    set(&mut peer, &topic, "message.timestamp.type", "LogAppendTime").await;
    let told = produce(&mut peer, &topic, 0, batch_at(&[(old, "b")])).await.log_append_time_ms;
    assert!(told > old);
    set(&mut peer, &topic, "message.timestamp.type", "CreateTime").await;
    assert_eq!(produce(&mut peer, &topic, 0, batch_at(&[(old, "c")])).await.log_append_time_ms, -1);
    let fetched = fetch(&mut peer, &topic, 0, 0).await;
    let times: Vec<_> = records_of(fetched.records.as_ref()).iter().map(|it| it.timestamp).collect();
    assert_eq!(times, [old, told, old]);
}

fn segments(data: &Path, topic: &str) -> usize {
    let directory = data.join(format!("{topic}-0"));
    let files = std::fs::read_dir(directory).into_iter().flatten().flatten();
    files.filter(|file| file.path().extension().is_some_and(|it| it == "log")).count()
}

#[tokio::test]
async fn a_smaller_segment_size_rolls_and_retention_by_size_and_time_deletes() {
    let data = TempDir::new().unwrap();
    let keys = ["dev.ephemeral=true", "log.segment.delete.delay.ms=0"];
    let broker = OwnBroker::start(data.path(), &keys).await;
    let mut peer = connect(&broker.address).await;
    let topic = topic(&mut peer, "effect").await.name;
    let long = "x".repeat(1000);
    for _ in 0..10 {
        produce_values(&mut peer, &topic, 0, &[&long]).await;
    }
    assert_eq!(segments(data.path(), &topic), 1);
    // Kafka's smallest segment is 1 MiB.
    set(&mut peer, &topic, "segment.bytes", "1048576").await;
    let large = "x".repeat(300_000);
    for _ in 0..12 {
        produce_values(&mut peer, &topic, 0, &[&large]).await;
    }
    let rolled = eventually("segments are rolled", async || {
        let count = segments(data.path(), &topic);
        (count >= 3).then_some(count)
    });
    rolled.await;
    set(&mut peer, &topic, "retention.bytes", "1000000").await;
    let start = eventually("retention by size moves the start", async || {
        let (_, _, start, _) = list_offset(&mut peer, &topic, 0, -2).await;
        (start > 0).then_some(start)
    });
    assert!(start.await < 22, "the newest segments stay");
    set(&mut peer, &topic, "retention.ms", "1").await;
    let emptied = eventually("retention by time empties the log", async || {
        let (_, _, start, _) = list_offset(&mut peer, &topic, 0, -2).await;
        (start == 22).then_some(())
    });
    emptied.await;
    set(&mut peer, &topic, "retention.ms", "600000").await;
    assert_eq!(produce_values(&mut peer, &topic, 0, &["after"]).await, 22);
    broker.stop().await;
}
