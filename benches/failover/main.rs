//! Three brokers on this machine: how long nothing is acknowledged when one is killed, paused or stopped, or when etcd loses its leader;
//! what it takes to create many partitions; what many idle ones cost. `cargo bench --bench failover`; with names of marks
//! (`nothing`, `kill`, `stop`, `pause`, `etcd`, `create`, `idle`) only those. One line per mark: the median, the least and the most.
//!
//! A gap is the longest time between two acknowledgements of any one partition, as its producer sees it: detection, election and
//! the client's way to the new leader. Producers ask for the leader every few milliseconds while they have none.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    dead_code,
    missing_docs
)]

#[path = "../../tests/cluster/cluster.rs"]
mod cluster;
#[path = "../../tests/cluster/directory.rs"]
mod directory;
#[path = "../../tests/common/etcd.rs"]
mod etcd;
#[path = "../../tests/cluster/etcds.rs"]
mod etcds;
#[path = "../../tests/cluster/history.rs"]
mod history;
#[path = "../../tests/cluster/network.rs"]
mod network;
#[path = "../../tests/process/node.rs"]
mod node;
#[path = "../common/process.rs"]
mod process;
#[path = "../../tests/cluster/producer.rs"]
mod producer;
#[path = "../../tests/cluster/reader.rs"]
mod reader;

mod gaps;
mod many;

use process::Mark;

const RUNS: usize = 5;

fn main() {
    // `cargo bench` adds `--bench`.
    let asked: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let wanted = |name: &str| asked.is_empty() || asked.iter().any(|argument| argument == name);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        for fault in gaps::Fault::ALL {
            if wanted(fault.mark()) {
                let mut runs = Vec::new();
                for _ in 0..RUNS {
                    runs.push(gaps::longest(fault).await);
                }
                Mark { name: fault.name(), unit: "ms", runs }.print();
            }
        }
        for (name, partitions) in [
            ("1,000 partitions (RF 3): created, and the last one written to", 1_000),
            ("10,000 partitions (RF 3): created, and the last one written to", 10_000),
        ] {
            if wanted("create") {
                let mut runs = Vec::new();
                for _ in 0..RUNS.min(3) {
                    runs.push(many::created(partitions).await);
                }
                Mark { name, unit: "ms", runs }.print();
            }
        }
        if wanted("idle") {
            many::idle(10_000).await.into_iter().for_each(Mark::print);
        }
    });
}
