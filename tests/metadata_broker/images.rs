//! The image: pages, compaction, garbage, comparison with a full read.

use std::time::Duration;

use etcd_client::{Client, Txn, TxnOp};
use ketcd::metadata::Metadata;
use ketcd::types::{TopicId, random};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::proxy::Proxy;
use crate::server::{Broker, Server, new_topic, options};

crate::on_every_server!(
    five_thousand_topics_are_read_in_pages,
    large_values_are_read_too,
    garbage_in_the_store_harms_nobody,
    a_compacted_gap_is_read_anew,
    a_full_read_from_time_to_time_finds_no_difference,
    a_revision_of_others_is_reached_too,
);

fn topic_puts(n: usize) -> [TxnOp; 2] {
    let id = TopicId::new(random::uuid()).unwrap();
    let value = format!(
        r#"{{"v":1,"name":"topic-{n}","created_ms":1,"assignment":[[1],[1],[1]],"epochs":[{{"from":0,"brokers":[{{"id":1,"epoch":1}}]}}]}}"#
    );
    [
        TxnOp::put(format!("/ketcd/test/topics/name/topic-{n}"), format!(r#"{{"v":1,"id":"{id}"}}"#), None),
        TxnOp::put(format!("/ketcd/test/topics/id/{id}"), value, None),
    ]
}

async fn put_topics(client: &mut Client, topics: std::ops::Range<usize>) {
    for first in topics.clone().step_by(50) {
        let puts: Vec<TxnOp> = (first..(first + 50).min(topics.end)).flat_map(topic_puts).collect();
        client.txn(Txn::new().and_then(puts)).await.unwrap();
    }
}

async fn five_thousand_topics_are_read_in_pages(server: &mut Server) {
    let mut client = server.client().await;
    put_topics(&mut client, 0..5_000).await;
    let begun = Instant::now();
    let broker = Broker::start(&server.endpoint(), 1).await;
    eprintln!("5,000 topics loaded in {:?}", begun.elapsed());
    let image = broker.metadata.image();
    assert_eq!((image.topics.len(), image.topic_names.len()), (5_000, 5_000));
    assert!(image.topic_names.keys().all(|name| image.topic(name.as_str()).is_some()));
    // And a flood of changes on top of it.
    let before = broker.metadata.counters();
    put_topics(&mut client, 5_000..6_000).await;
    broker.sees("a thousand more", |image| image.topic_names.len() == 6_000).await;
    let after = broker.metadata.counters();
    assert!(after.images - before.images <= 25, "at most one image per response: {before:?} {after:?}");
    assert_eq!(after.unreadable, 0);
}

async fn large_values_are_read_too(server: &mut Server) {
    let mut client = server.client().await;
    for n in 0..12 {
        let value = format!(r#"{{"v":1,"entries":{{"x":"{}"}}}}"#, "x".repeat(1 << 20));
        client.put(format!("/ketcd/test/config/groups/g{n}"), value, None).await.unwrap();
    }
    let broker = Broker::start(&server.endpoint(), 1).await;
    assert_eq!(broker.metadata.image().configs.len(), 12);
}

async fn garbage_in_the_store_harms_nobody(server: &mut Server) {
    let mut client = server.client().await;
    let broker = Broker::start(&server.endpoint(), 1).await;
    broker.metadata.create_topic(new_topic("good", 1)).await.unwrap();
    for (key, value) in [
        ("topics/id/nonsense", "{}"),
        ("topics/name/good2", "not json"),
        ("topics/id/ASNFZ4mrze_-3LqYdlQyEA", r#"{"v":99,"shape":"of things to come"}"#),
        ("partitions/ASNFZ4mrze_-3LqYdlQyEA/0000000000", "\u{0}"),
        ("brokers/live/77", "[]"),
        ("controller/0000000000000001", "{}"),
        ("config/topics/%zz", "{}"),
        ("unheard/of", "x"),
    ] {
        client.put(format!("/ketcd/test/{key}"), value, None).await.unwrap();
    }
    broker.metadata.create_topic(new_topic("later", 1)).await.unwrap();
    assert_eq!(broker.metadata.counters().unreadable, 8);
    // Also for one who starts with it.
    let second = Broker::start(&server.endpoint(), 2).await;
    let image = second.metadata.image();
    let names: Vec<&str> = image.topic_names.keys().map(|name| name.as_str()).collect();
    assert_eq!(names, ["good", "later"]);
    assert_eq!(image.controller, broker.metadata.image().controller);
}

async fn a_compacted_gap_is_read_anew(server: &mut Server) {
    let road = Proxy::to(server.port()).await;
    let broker = Broker::start(&road.endpoint(), 1).await;
    broker.metadata.create_topic(new_topic("old", 1)).await.unwrap();
    road.cut();
    let mut client = server.client().await;
    put_topics(&mut client, 0..100).await;
    let deleted = client.delete("/ketcd/test/topics/name/old", None).await.unwrap();
    client.compact(deleted.header().unwrap().revision(), None).await.unwrap();
    // Long enough that the connection is given up, so that the watch starts again before the compaction.
    broker.until("the outage", |metadata| !metadata.session().reachable).await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    road.heal();
    broker.sees("all changes", |image| image.topic_names.len() == 100 && image.topic("old").is_none()).await;
    broker.metadata.create_topic(new_topic("new", 1)).await.ok();
    broker.until("the end of the outage", |metadata| metadata.session().reachable).await;
}

async fn a_full_read_from_time_to_time_finds_no_difference(server: &mut Server) {
    let broker = Broker::start_with(&server.endpoint(), 1, |options| {
        options.resync_interval = Duration::from_millis(60);
    })
    .await;
    for n in 0..60 {
        broker.metadata.create_topic(new_topic(&format!("t{n}"), 2)).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    broker.until("some full reads", |metadata| metadata.counters().resyncs >= 5).await;
    let counters = broker.metadata.counters();
    // etcd 3.4 tells of progress before the events that belong to it: the full read is there to notice.
    let status = server.client().await.status().await.unwrap();
    let healthy = !status.version().starts_with("3.4.");
    assert!(counters.divergences == 0 || !healthy, "{counters:?}");
    assert_eq!(counters.unreadable, 0, "{counters:?}");
    broker.sees("every topic", |image| image.topic_names.len() == 60).await;
}

async fn a_revision_of_others_is_reached_too(server: &mut Server) {
    let state = TempDir::new().unwrap();
    let metadata = Metadata::connect(options(&server.endpoint(), Some(1), state.path())).await.unwrap();
    let put = server.client().await.put("/elsewhere", "x", None).await.unwrap();
    let revision = put.header().unwrap().revision();
    metadata.wait_for(revision, Duration::from_secs(5)).await.unwrap();
    assert!(metadata.image().revision >= revision);
    let never = metadata.wait_for(revision + 1_000, Duration::from_millis(200)).await;
    assert!(never.unwrap_err().retriable());
}
