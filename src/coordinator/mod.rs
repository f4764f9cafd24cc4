//! The coordinators: state that many clients share, kept in memory and written as records of an internal topic.
//!
//! [`group`] is the group coordinator: a pure core per partition of `__consumer_offsets` (no I/O, no clock, no randomness) and the
//! record schemas of Kafka. [`runtime`] is the thin shell around the cores: it loads them by replay when this broker becomes leader of
//! their partition, appends what they decide, and lets an answer go when its records are below the high watermark (rules G1, G2).
//! The log is reached through a trait of this room, which `broker/` implements. This room knows no handler, no wire type and no
//! partition table.
//!
//! Read first: [`group::command`], then [`group::shard`].

pub mod group;
pub mod runtime;
