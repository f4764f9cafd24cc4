//! Thousands of partitions with three replicas: created, and left alone.

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, Options, PATIENCE};
use crate::directory::Directory;
use crate::history::History;
use crate::process::{Mark, ms};
use crate::producer::{Producer, Sending};

const TOPIC: &str = "many";
/// How long idle brokers are watched.
const WATCHED: Duration = Duration::from_secs(20);

/// From the request to create a topic to the ack of a record in its last partition, by all replicas; in ms.
pub async fn created(partitions: i32) -> f64 {
    let cluster = Cluster::start(Options::default()).await.expect("a cluster");
    create(&cluster, partitions).await
}

async fn create(cluster: &Cluster, partitions: i32) -> f64 {
    // The id of the producer is no part of it, nor is the first view of the cluster.
    cluster.create_topic("before", 1, 3, &[]).await;
    cluster.until_whole("before", PATIENCE).await;
    let history = History::new();
    let begun = Instant::now();
    cluster.create_topic(TOPIC, partitions, 3, &[]).await;
    let directory = Directory::new(&cluster.bootstraps(), TOPIC, PATIENCE, &history);
    directory.refresh(Duration::ZERO).await;
    let sending = Sending { records: 1, backoff: Duration::from_millis(2), ..Sending::default() };
    Producer::new(0, partitions - 1, sending, &directory, &history).send().await;
    assert!(history.errors().is_empty(), "{:?}", history.errors());
    ms(begun.elapsed())
}

/// What brokers with this many partitions, each with three replicas, use when nothing happens.
pub async fn idle(partitions: i32) -> Vec<Mark> {
    // As it is by default: how long a follower may lag says how often all partitions are looked at.
    let settings = vec!["replica.lag.time.max.ms=30000".to_owned()];
    let cluster = Cluster::start(Options { settings, ..Options::default() }).await.expect("a cluster");
    create(&cluster, partitions).await;
    cluster.until_whole(TOPIC, PATIENCE * 2).await;
    // Until followers have found out that nothing happens (a sixth of `replica.lag.time.max.ms`, in doubling steps).
    tokio::time::sleep(Duration::from_secs(20)).await;
    let pids: Vec<u32> = cluster.nodes.values().map(|node| node.pid()).collect();
    let before: Vec<f64> = pids.iter().map(|&pid| cpu_seconds(pid)).collect();
    let begun = Instant::now();
    tokio::time::sleep(WATCHED).await;
    let watched = begun.elapsed().as_secs_f64();
    let cpu = pids.iter().zip(before).map(|(&pid, before)| (cpu_seconds(pid) - before) / watched * 100.0);
    let memory = pids.iter().map(|&pid| anonymous_mib(pid));
    vec![
        Mark {
            name: "10,000 idle partitions (RF 3): CPU of each broker",
            unit: "% of a core",
            runs: cpu.collect(),
        },
        Mark {
            name: "10,000 idle partitions (RF 3): memory of each broker",
            unit: "MiB",
            runs: memory.collect(),
        },
    ]
}

/// User and system time, in seconds.
fn cpu_seconds(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("it lives");
    let after_name = stat.rsplit_once(')').expect("Linux tells it").1;
    let fields: Vec<f64> = after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|field| field.parse().expect("a number"))
        .collect();
    fields.iter().sum::<f64>() / 100.0
}

/// Memory of its own, without pages of files.
fn anonymous_mib(pid: u32) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("it lives");
    let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("Linux tells it");
    let kib: f64 = line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number");
    kib / 1024.0
}
