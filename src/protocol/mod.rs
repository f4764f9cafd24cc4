//! protocol.

pub mod peer;
