//! etcd is restored from a backup (rule E13): a log that knows newer leader epochs is neither led nor cut off before an operator says so.

use std::time::Duration;

use crate::etcd::{RealEtcd, Release};
use crate::kafka::{self, Producer};
use crate::node::Node;
use crate::skip;

const SOON: Duration = Duration::from_secs(30);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_that_knows_newer_epochs_than_etcd_waits_for_an_operator() {
    let etcd = match RealEtcd::start(Release::Current).await {
        Ok(etcd) => etcd,
        Err(why) => return skip::skip(&why),
    };
    let data = tempfile::tempdir().unwrap();
    let settings = ["node.id=1", "cluster.name=back"];
    let mut node = Node::broker(data.path(), &etcd.endpoint(), &settings).started();
    kafka::created(&node.bootstrap(), "t", 1, &[]).await;
    let mut client = etcd.client().await;
    let topics = client.get("/ketcd/back/topics/name/t", None).await.unwrap();
    let id: serde_json::Value = serde_json::from_slice(topics.kvs()[0].value()).unwrap();
    let record = format!("/ketcd/back/partitions/{}/0000000000", id["id"].as_str().unwrap());
    let live = client.get("/ketcd/back/brokers/live/1", None).await.unwrap().kvs()[0].create_revision();
    let me = serde_json::json!({"id": 1, "epoch": live});
    let led = serde_json::json!({"v": 1, "leader": me, "leader_epoch": 5, "isr": [me], "replicas": [1]});
    client.put(record.clone(), led.to_string(), None).await.unwrap();
    // Answered when the broker has carried out an image that is newer than the record.
    kafka::created(&node.bootstrap(), "u", 1, &[]).await;
    let mut producer = Producer::new(&node.bootstrap(), "t", 0, 100).await;
    producer.send(3).await;
    node.stop();

    // The backup has no record of the partition: as assigned, in epoch 0.
    client.delete(record.clone(), None).await.unwrap();
    let from = node.line_count();
    node.start();
    node.wait_for_line(from, "etcd knows an older leader epoch than this log", SOON);
    assert_eq!(node.metric("ketcd_metadata_rolled_back_replicas"), 1.0);
    let (status, ready) = node.admin("/readyz?verbose");
    assert_eq!(status, 200);
    assert!(ready.contains("etcd.accept.rollback"), "{ready}");
    producer.move_to(&node.bootstrap());
    let refused = producer.send_once(1).await;
    assert_eq!(refused, ketcd::protocol::error::ErrorCode::NotLeaderOrFollower);
    node.stop();

    let mut accepted = Node::broker_at(
        "127.0.0.1",
        node.port(),
        data.path(),
        &etcd.endpoint(),
        &[settings[0], settings[1], "etcd.accept.rollback=true"],
    );
    accepted.start();
    producer.send(2).await;
    assert!(kafka::read_all(&accepted.bootstrap(), "t", 0, 0).await.len() >= 5, "nothing is lost");
    let stored = client.get(record, None).await.unwrap();
    let stored: serde_json::Value = serde_json::from_slice(stored.kvs()[0].value()).unwrap();
    assert!(stored["leader_epoch"].as_i64().unwrap() > 1_000, "no epoch is used twice: {stored}");
}
