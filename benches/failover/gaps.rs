//! The longest gap between two acknowledgements of a partition.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::cluster::{Cluster, Options, PATIENCE};
use crate::directory::Directory;
use crate::history::{History, Op, State};
use crate::producer::{Producer, Sending};

const TOPIC: &str = "gaps";
const PARTITIONS: i32 = 30;
/// Kafka's `broker.session.timeout.ms`, and ours.
const SESSION_TTL: Duration = Duration::from_secs(9);
/// Acknowledgements before the fault and after it.
const QUIET: Duration = Duration::from_secs(2);
/// How long an answer may take before the leader is looked for again: a paused broker says nothing.
const ANSWER: Duration = Duration::from_millis(250);

/// What happens to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// What the machine and its other work cost.
    Nothing,
    Kill,
    Stop,
    Pause,
    EtcdLeader,
}

impl Fault {
    pub const ALL: [Self; 5] = [Self::Nothing, Self::Kill, Self::Stop, Self::Pause, Self::EtcdLeader];

    /// What it is asked for by.
    pub const fn mark(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Kill => "kill",
            Self::Stop => "stop",
            Self::Pause => "pause",
            Self::EtcdLeader => "etcd",
        }
    }

    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "longest gap between acks: nothing happens",
            Self::Kill => "longest gap between acks: kill -9 of a leader's broker",
            Self::Stop => "longest gap between acks: graceful stop of a leader's broker",
            Self::Pause => "longest gap between acks: SIGSTOP of a leader's broker (lease 9 s)",
            Self::EtcdLeader => "longest gap between acks: etcd's leader killed",
        }
    }
}

/// One run: the longest gap of all partitions, in ms.
pub async fn longest(fault: Fault) -> f64 {
    let options = Options { etcds: 3, session_ttl: SESSION_TTL, ..Options::default() };
    let mut cluster = Cluster::start(options).await.expect("a cluster");
    cluster.create_topic(TOPIC, PARTITIONS, 3, &[]).await;
    cluster.until_whole(TOPIC, PATIENCE).await;
    let history = History::new();
    let directory = Directory::new(&cluster.bootstraps(), TOPIC, ANSWER, &history);
    directory.refresh(Duration::ZERO).await;
    let sending = Sending {
        records: 1,
        pause: Duration::from_millis(2),
        patience: ANSWER,
        backoff: Duration::from_millis(5),
        ..Sending::default()
    };
    let stop = Arc::new(AtomicBool::new(false));
    let mut producers = Vec::new();
    for partition in 0..PARTITIONS {
        let producer = Producer::new(i64::from(partition), partition, sending, &directory, &history);
        producers.push(tokio::spawn(producer.run(Arc::clone(&stop))));
    }
    tokio::time::sleep(QUIET).await;
    let view = cluster.view(TOPIC).await;
    let leader = view.partitions[&0].leader;
    match fault {
        Fault::Nothing => {}
        Fault::Kill => cluster.kill(leader),
        Fault::Stop => assert!(cluster.stop(leader).success()),
        Fault::Pause => cluster.freeze(leader),
        Fault::EtcdLeader => {
            let leader = cluster.etcd.leader().await.expect("etcd has a leader");
            cluster.etcd.kill(leader);
        }
    }
    if !matches!(fault, Fault::Nothing | Fault::EtcdLeader) {
        let elsewhere = |view: &crate::directory::View| view.led_by(leader).is_empty();
        let others = cluster.ids().into_iter().find(|&id| id != leader).expect("three brokers");
        while !cluster.view_of(others, TOPIC).await.is_some_and(|view| elsewhere(&view)) {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
    tokio::time::sleep(QUIET).await;
    stop.store(true, Ordering::Relaxed);
    for producer in producers {
        producer.await.expect("a producer");
    }
    longest_gap(&history)
}

fn longest_gap(history: &History) -> f64 {
    let mut last = BTreeMap::new();
    let mut longest = 0;
    for entry in history.entries() {
        if let Op::Send { state: State::Ok, partition, .. } = entry.op
            && let Some(before) = last.insert(partition, entry.at)
        {
            longest = longest.max(entry.at.saturating_sub(before));
        }
    }
    assert_eq!(last.len(), PARTITIONS as usize, "every partition was written to");
    longest as f64
}
