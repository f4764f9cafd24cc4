//! A cluster of real processes, broken in every way that a network, a machine and an operator can think of, under the load of real
//! clients of two families, with one checker for everything that they were told.
//!
//! Read first: `history` (what is written down), `checker` (what must hold of it), `scenarios` (what is broken).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods
)]

#[path = "../common/etcd.rs"]
mod etcd;
#[path = "../process/node.rs"]
mod node;
#[path = "../common/skip.rs"]
mod skip;

mod agent;
mod checker;
mod checker_tests;
mod cluster;
mod directory;
mod etcds;
mod faults;
mod history;
mod load;
mod network;
mod producer;
mod reader;
mod replicas;
mod scenarios;
mod turn;
