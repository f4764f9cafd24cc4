//! Whole-process marks of the real binary: start, many partitions, memory. `cargo bench --bench marks`; one line per mark, the median
//! of [`RUNS`] runs with the least and the most. Throughput and latency are `ketcd perf`'s.

#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs)]

mod common;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ketcd::protocol::peer::messages::TopicName;
use ketcd::protocol::peer::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ketcd::protocol::peer::messages::produce_request::{
    PartitionProduceData, ProduceRequest, TopicProduceData,
};
use ketcd::protocol::peer::{Peer, StrBytes};
use ketcd::types::Clock;

const RUNS: usize = 5;
const PATIENCE: Duration = Duration::from_secs(60);

struct Broker {
    child: Child,
    address: String,
}

impl Broker {
    /// Starts the binary and waits until it says where it listens.
    fn start(data: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_ketcd"))
            .args(["dev", "--port", "0", "--log-level", "error", "--data"])
            .arg(data)
            .stdout(Stdio::piped())
            .spawn()
            .expect("the binary starts");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let line = stdout.lines().map(|line| line.expect("text")).find(|line| line.contains("kafka "));
        let line = line.expect("the broker says where it listens");
        let address = line.split_whitespace().nth(1).expect("an address").to_owned();
        Self { child, address }
    }

    async fn peer(&self) -> Peer {
        Peer::connect(&self.address, "marks", PATIENCE).await.expect("the broker answers")
    }

    /// Memory of its own, in KiB: without pages of files.
    fn anonymous_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it lives");
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("Linux tells it");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    }

    fn stop(mut self) {
        let pid = self.child.id().to_string();
        Command::new("kill").arg(&pid).status().expect("kill runs");
        assert!(self.child.wait().expect("it ends").success(), "a clean stop");
    }
}

async fn create(peer: &mut Peer, topic: &str, partitions: i32) {
    let topic = CreatableTopic::default()
        .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_num_partitions(partitions)
        .with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(60_000);
    let response = peer.call_within(&request, 7, PATIENCE).await.expect("an answer");
    assert_eq!(response.topics.first().map(|topic| topic.error_code), Some(0), "created");
}

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

/// A mark: its name and what each run measured, in milliseconds or KiB.
struct Mark {
    name: &'static str,
    unit: &'static str,
    runs: Vec<f64>,
}

impl Mark {
    fn print(mut self) {
        self.runs.sort_by(f64::total_cmp);
        let (least, most) = (self.runs.first().unwrap(), self.runs.last().unwrap());
        let median = self.runs.get(self.runs.len() / 2).unwrap();
        println!("{:<58} {median:>9.2} {} ({least:.2} to {most:.2})", self.name, self.unit);
    }
}

fn ms(elapsed: Duration) -> f64 {
    elapsed.as_secs_f64() * 1000.0
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
