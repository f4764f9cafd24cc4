//! Groups at the wire, against the real binary: how long a hundred members take to settle, in both protocols, and what commits cost.
//! `cargo bench --bench groups`; one line per mark, the median with the least and the most.
//!
//! `KETCD_BENCH_BROKER=tests/setup/kafka-node.sh cargo bench --bench groups` measures Apache Kafka with the same program.

#![allow(clippy::expect_used, clippy::unwrap_used, missing_docs)]

#[path = "../common/mod.rs"]
mod common;

mod classic;
mod commits;
mod consumer;
mod wire;

use common::process::{Broker, Mark};
use ketcd::types::Clock;

/// Members of a group.
pub const MEMBERS: usize = 100;
/// Partitions of its topic.
pub const PARTITIONS: i32 = 1000;
const RUNS: usize = 3;

fn main() {
    let clock = Clock::system();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut lone = Vec::new();
        for _ in 0..RUNS {
            lone.push(classic::lone(&clock).await);
        }
        Mark { name: "a lone consumer on a new broker: to its assignment", unit: "ms", runs: lone }.print();
        let data = tempfile::tempdir().unwrap();
        let broker = Broker::start(data.path());
        common::process::create(&mut broker.peer().await, wire::TOPIC, PARTITIONS).await;
        wire::find_coordinator(&mut broker.peer().await).await;
        let (mut start, mut leave) = (Vec::new(), Vec::new());
        for run in 0..RUNS {
            let marks = classic::start_and_leave(&broker, &clock, &format!("classic-{run}")).await;
            start.push(marks.start_ms);
            leave.push(marks.leave_ms);
        }
        Mark { name: "classic, 100 members: first join to everybody synced", unit: "ms", runs: start }
            .print();
        Mark { name: "classic, 100 members: one leaves, everybody synced again", unit: "ms", runs: leave }
            .print();
        let (mut start, mut leave) = (Vec::new(), Vec::new());
        for run in 0..RUNS {
            let marks = consumer::start_and_leave(&broker, &clock, &format!("consumer-{run}")).await;
            start.push(marks.start_ms);
            leave.push(marks.leave_ms);
        }
        Mark { name: "KIP-848, 100 members, 1,000 partitions: start to settled", unit: "ms", runs: start }
            .print();
        Mark { name: "KIP-848, 100 members, 1,000 partitions: one leaves, settled", unit: "ms", runs: leave }
            .print();
        let rates = commits::rate(&broker, &clock, RUNS).await;
        Mark { name: "commits, one partition each, 64 connections", unit: "/s", runs: rates.per_second }
            .print();
        Mark { name: "commits for a second of the broker's CPU", unit: "", runs: rates.per_cpu_second }
            .print();
        broker.stop();
        commits::load(&clock).await.print();
    });
}

/// How long a group took to settle.
pub struct Settling {
    pub start_ms: f64,
    pub leave_ms: f64,
}
