//! A simulated cluster: the real cores of replication and of the metadata, a model etcd, model logs, a network that loses, delays
//! and repeats, and processes that pause, crash and lose data. One thread, virtual time, everything from one seed.
//!
//! - [`world`] holds everything, moves time, carries messages, and does what people do: configure, copy disks, restore etcd;
//!   [`script`] is how a scenario is told by hand;
//! - [`etcd`] carries out the real transactions; [`node`] and [`process`] are brokers, [`replica`] a partition's shell around the real
//!   cores, [`stopping`] and [`controller`] the rest of what a broker does;
//! - [`checker`] and [`records`] look at the invariants of `correctness.md` after every step, [`clients`] at what clients see;
//! - [`schedule`] makes faults of a seed; [`seeds`] runs many, finds seeded bugs, replays one.
//!
//! `make sim SEEDS=n` runs n seeds; `make sim SEED=x` replays one with its trace; `make sim-bugs` runs the seeded bugs.

pub mod checker;
pub mod clients;
pub mod controller;
pub mod etcd;
pub mod log;
pub mod message;
pub mod node;
pub mod process;
pub mod random;
pub mod records;
pub mod replica;
mod scenarios;
pub mod schedule;
pub mod script;
mod scripts;
mod seeds;
pub mod stopping;
pub mod world;

use std::sync::OnceLock;
use std::time::Duration;

use crate::metadata::keys::{ClusterValue, Keys, LAYOUT_VERSION, Record};
use crate::types::{Offset, TopicId, TopicName};

/// The keys of the simulated cluster.
fn keys() -> &'static Keys {
    static KEYS: OnceLock<Keys> = OnceLock::new();
    KEYS.get_or_init(|| Keys::of_cluster("sim"))
}

/// Its only topic.
fn topic_id() -> TopicId {
    TopicId::new(uuid::Uuid::from_u128(7)).unwrap()
}

fn topic_name() -> TopicName {
    TopicName::new("t").unwrap()
}

fn cluster_value() -> Record<ClusterValue> {
    let cluster_id = "sim".to_owned();
    Record::new(ClusterValue { cluster_id, layout: LAYOUT_VERSION, created_ms: 0, restore_generation: 0 })
}

/// Milliseconds as the cores take them.
const fn duration(now: u64) -> Duration {
    Duration::from_millis(now)
}

/// The offset of a place in a model log.
fn at(place: usize) -> Offset {
    Offset::new(i64::try_from(place).unwrap()).unwrap()
}
