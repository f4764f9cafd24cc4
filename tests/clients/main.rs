//! Unmodified clients of unrelated families against the real binary: what one writes, every other one reads.
//!
//! Read `scenarios.rs` first: each function is one thing that must be true for every client. The files named after
//! a client list which of them apply to it. A client is a program of its own (`python/`, `node/`, `java/`, `go/`,
//! or kcat itself) that stays up for all its cases and is told what to do over a pipe (`agent.rs`); all of them
//! share one broker, but for the cases that kill it.
//!
//! `KETCD_TEST_BOOTSTRAP` names a broker that runs already; `KETCD_TEST_BROKER` another program to start
//! (`tests/setup/kafka-node.sh` for Apache Kafka).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "a test may fail, and these wait for real processes"
)]

mod agent;
#[path = "../common/broker.rs"]
mod broker;
mod compaction;
mod family;
mod fixture;
mod groups;
mod kcat_program;
mod records;
mod scenarios;
#[path = "../common/skip.rs"]
mod skip;
mod stored;

mod aiokafka;
mod confluent_kafka;
mod connect;
mod franz_go;
mod java;
mod kafka_python;
mod kafka_tools;
mod kafka_tools_replicas;
mod kafkajs;
mod kcat;
