//! Whole-process marks of the real binary: start, many partitions, memory. `cargo bench --bench marks`; one line per mark, the median
//! of [`RUNS`] runs with the least and the most. Throughput and latency are `ketcd perf`'s.

#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs)]

mod common;

use common::process::{Broker, Mark, PATIENCE, create, ms};
use ketcd::protocol::peer::messages::TopicName;
use ketcd::protocol::peer::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use ketcd::protocol::peer::{Peer, StrBytes};
use ketcd::types::Clock;

const RUNS: usize = 5;

/// One record to each partition of `partitions`, in one request.
async fn produce(peer: &mut Peer, topic: &str, partitions: std::ops::Range<i32>) {
    let batch = common::batch(1, 100);
    let data = partitions
        .map(|index| PartitionProduceData::default().with_index(index).with_records(Some(batch.clone())))
        .collect();
    let topic = TopicProduceData::default()
        .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_partition_data(data);
    let request = ProduceRequest::default().with_acks(1).with_timeout_ms(60_000).with_topic_data(vec![topic]);
    let response = peer.call_within(&request, 9, PATIENCE).await.expect("an answer");
    let answers = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    assert!(answers.into_iter().all(|answer| answer.error_code == 0), "every append is acknowledged");
}

/// From exec to the first acknowledged produce: a new data directory (the topic is made first), and one that has the topic.
async fn starts(clock: &Clock) -> [Mark; 2] {
    let (mut fresh, mut again) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let data = tempfile::tempdir().unwrap();
        let begun = clock.elapsed();
        let broker = Broker::start(data.path());
        let mut peer = broker.peer().await;
        create(&mut peer, "first", 1).await;
        produce(&mut peer, "first", 0..1).await;
        fresh.push(ms(clock.elapsed() - begun));
        broker.stop();
        let begun = clock.elapsed();
        let broker = Broker::start(data.path());
        produce(&mut broker.peer().await, "first", 0..1).await;
        again.push(ms(clock.elapsed() - begun));
        broker.stop();
    }
    [
        Mark { name: "exec to first acknowledged produce, new directory", unit: "ms", runs: fresh },
        Mark { name: "exec to first acknowledged produce, clean restart", unit: "ms", runs: again },
    ]
}

/// A topic of 1,000 partitions: until it is answered and one partition takes a record, and until each has taken one.
async fn thousand(clock: &Clock) -> [Mark; 2] {
    let (mut producible, mut produced) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        let data = tempfile::tempdir().unwrap();
        let broker = Broker::start(data.path());
        let mut peer = broker.peer().await;
        let begun = clock.elapsed();
        create(&mut peer, "many", 1000).await;
        produce(&mut peer, "many", 999..1000).await;
        producible.push(ms(clock.elapsed() - begun));
        produce(&mut peer, "many", 0..1000).await;
        produced.push(ms(clock.elapsed() - begun));
        broker.stop();
    }
    [
        Mark { name: "1,000 partitions created, first one produced to", unit: "ms", runs: producible },
        Mark { name: "1,000 partitions created, every one produced to", unit: "ms", runs: produced },
    ]
}

/// 4,000 partitions with a record each: a clean start, and what an idle one takes.
async fn four_thousand(clock: &Clock) -> [Mark; 3] {
    let (mut start, mut unused, mut used) = (Vec::new(), Vec::new(), Vec::new());
    let data = tempfile::tempdir().unwrap();
    let broker = Broker::start(data.path());
    let mut peer = broker.peer().await;
    produce_nothing(&mut peer).await;
    let empty = broker.anonymous_kib();
    create(&mut peer, "idle", 4000).await;
    unused.push((broker.anonymous_kib().saturating_sub(empty)) as f64 / 4000.0);
    for first in (0..4000).step_by(1000) {
        produce(&mut peer, "idle", first..first + 1000).await;
    }
    broker.stop();
    for _ in 0..RUNS {
        let begun = clock.elapsed();
        let broker = Broker::start(data.path());
        produce(&mut broker.peer().await, "idle", 7..8).await;
        start.push(ms(clock.elapsed() - begun));
        used.push((broker.anonymous_kib().saturating_sub(empty)) as f64 / 4000.0);
        broker.stop();
    }
    [
        Mark { name: "clean start with 4,000 partitions, to first produce", unit: "ms", runs: start },
        Mark { name: "an idle partition, never used", unit: "KiB", runs: unused },
        Mark { name: "an idle partition with data, after a restart", unit: "KiB", runs: used },
    ]
}

/// Lets the broker settle: what the first topic and the first append allocate once is not a partition's.
async fn produce_nothing(peer: &mut Peer) {
    create(peer, "warm", 1).await;
    produce(peer, "warm", 0..1).await;
}

fn main() {
    let clock = Clock::system();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let marks = runtime.block_on(async {
        let mut marks = Vec::from(starts(&clock).await);
        marks.extend(thousand(&clock).await);
        marks.extend(four_thousand(&clock).await);
        marks
    });
    marks.into_iter().for_each(Mark::print);
}
