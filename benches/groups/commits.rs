//! Commits: how many a second, for how much CPU of the broker, and how long a million of them take to load.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use ketcd::protocol::peer::Peer;
use ketcd::protocol::peer::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ketcd::protocol::peer::messages::offset_fetch_request::OffsetFetchRequestGroup;
use ketcd::protocol::peer::messages::{OffsetCommitRequest, OffsetFetchRequest};
use ketcd::types::Clock;

use crate::PARTITIONS;
use crate::common::process::{Broker, Mark, PATIENCE, create, ms};
use crate::wire::{self, group, passes, text, topic};

const CONNECTIONS: usize = 64;
const MEASURED: Duration = Duration::from_secs(5);
/// Commits that are loaded: this many of each partition of the topic.
const ROUNDS: i64 = 1000;

/// What each run measured.
pub struct Rates {
    pub per_second: Vec<f64>,
    pub per_cpu_second: Vec<f64>,
}

/// Each connection is a standalone consumer of a group of its own, one commit in flight.
pub async fn rate(broker: &Broker, clock: &Clock, runs: usize) -> Rates {
    let mut rates = Rates { per_second: Vec::new(), per_cpu_second: Vec::new() };
    for _ in 0..runs {
        let count = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let mut tasks = Vec::new();
        for place in 0..CONNECTIONS {
            let mut peer = broker.peer().await;
            let (count, stop) = (Arc::clone(&count), Arc::clone(&stop));
            tasks.push(tokio::spawn(async move {
                let name = format!("commits-{place}");
                let mut offset = 0;
                while !stop.load(Ordering::Relaxed) {
                    offset += 1;
                    commit(&mut peer, &name, 0..1, offset).await;
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }));
        }
        let (begun, cpu_before) = (clock.elapsed(), broker.cpu_seconds());
        let before = count.load(Ordering::Relaxed);
        tokio::time::sleep(MEASURED).await;
        let committed = (count.load(Ordering::Relaxed) - before) as f64;
        rates.per_second.push(committed / (clock.elapsed() - begun).as_secs_f64());
        rates.per_cpu_second.push(committed / (broker.cpu_seconds() - cpu_before));
        stop.store(true, Ordering::Relaxed);
        for task in tasks {
            task.await.expect("it ends");
        }
    }
    rates
}

/// A million commits of one group, then a restart: until its offsets are told.
pub async fn load(clock: &Clock) -> Mark {
    let data = tempfile::tempdir().unwrap();
    let broker = Broker::start(data.path());
    let mut peer = broker.peer().await;
    create(&mut peer, wire::TOPIC, PARTITIONS).await;
    wire::find_coordinator(&mut peer).await;
    for round in 0..ROUNDS {
        commit(&mut peer, "load", 0..PARTITIONS, round).await;
    }
    broker.stop();
    let mut runs = Vec::new();
    for _ in 0..3 {
        let broker = Broker::start(data.path());
        let mut peer = broker.peer().await;
        let begun = clock.elapsed();
        while !fetch(&mut peer, "load").await {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        runs.push(ms(clock.elapsed() - begun));
        broker.stop();
    }
    Mark { name: "1,000,000 commits loaded after a restart, first answer", unit: "ms", runs }
}

async fn commit(peer: &mut Peer, name: &str, partitions: std::ops::Range<i32>, offset: i64) {
    let partitions = partitions.map(|index| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(index)
            .with_committed_offset(offset)
            .with_committed_metadata(Some(text("")))
    });
    let topic = OffsetCommitRequestTopic::default().with_name(topic()).with_partitions(partitions.collect());
    let request = OffsetCommitRequest::default()
        .with_group_id(group(name))
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic]);
    loop {
        let answer = peer.call_within(&request, 8, PATIENCE).await.expect("an answer");
        let mut codes = answer.topics.iter().flat_map(|topic| &topic.partitions).map(|p| p.error_code);
        match codes.find(|code| *code != 0) {
            None => return,
            Some(code) => assert!(passes(code), "commit: error {code}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether the last round is told.
async fn fetch(peer: &mut Peer, name: &str) -> bool {
    let asked = OffsetFetchRequestGroup::default().with_group_id(group(name)).with_topics(None);
    let request = OffsetFetchRequest::default().with_groups(vec![asked]);
    let answer = peer.call_within(&request, 8, PATIENCE).await.expect("an answer");
    let group = answer.groups.first().expect("as asked");
    if group.error_code != 0 {
        assert!(passes(group.error_code), "fetch: error {}", group.error_code);
        return false;
    }
    let offsets = group.topics.iter().flat_map(|topic| &topic.partitions).map(|p| p.committed_offset);
    assert!(offsets.into_iter().all(|offset| offset == ROUNDS - 1), "the last commit counts");
    true
}
