#![doc = include_str!("ARCHITECTURE.md")]
#![deny(unsafe_code)]
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::indexing_slicing,
        clippy::cast_possible_truncation
    )
)]

// Floor 0
pub mod sys;
pub mod telemetry;
pub mod types;
// Floor 1
pub mod config;
pub mod protocol;
// Floor 2
pub mod log;
pub mod metadata;
// Floor 3
pub mod controller;
pub mod coordinator;
pub mod replication;
// Floor 4
pub mod broker;
// Floor 5
pub mod handlers;
// Floor 6
pub mod server;
// Floor 7
pub mod cli;

/// The simulated cluster around the cores of replication and metadata.
#[cfg(test)]
#[path = "../tests/sim/mod.rs"]
mod sim;

/// How many cases a property is tried with: so many where `PROPTEST_CASES` is proptest's 256, and in proportion to it.
#[cfg(test)]
fn property_cases(everyday: u32) -> u32 {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    asked.map_or(everyday, |asked: u32| everyday.saturating_mul(asked.div_ceil(256)))
}
