//! Consumer groups: membership, assignment, committed offsets.
//!
//! A [`shard::GroupShard`] holds every group of one partition of `__consumer_offsets`. A [`command::Command`] goes in with a ticket and
//! the time; records to be written and answers to tickets come out in a [`turn::Turn`]. An answer may come in a later turn: a join
//! waits for the other members. The state is changed at once, because a turn whose records cannot be appended costs the whole shard:
//! it is dropped and replayed from its log, as after a change of leaders.
//!
//! Read first: [`command`], [`turn`], [`shard`]. Then [`classic`] (the protocol in which clients assign) or [`consumer`] (KIP-848).

pub mod assignor;
pub mod classic;
pub mod command;
pub mod consumer;
pub mod offsets;
pub mod records;
pub mod regex;
pub mod settings;
pub mod shard;
pub mod timers;
#[cfg(test)]
mod transcripts;
pub mod turn;
