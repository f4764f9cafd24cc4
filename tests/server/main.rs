//! The server over real sockets, in front of a test service that echoes, waits or misbehaves as a request tells it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods
)]

mod admin;
mod bounds;
mod lifecycle;
mod order;
mod service;
mod strangers;
