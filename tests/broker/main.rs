//! The broker end to end, in this process: raw frames and typed calls over sockets of its own port, one module per API.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    missing_docs
)]

mod fixture;
mod member;
mod sample;
mod wire;

mod api_versions;
mod bad_batches;
mod bad_frames;
mod bad_names;
mod bad_requests;
mod configs;
mod configs_take_effect;
mod delete_records;
mod describe;
mod fetch;
mod fetch_sessions;
mod find_coordinator;
mod groups;
mod groups_consumer;
mod groups_hostile;
mod groups_offsets;
mod list_offsets;
mod metadata;
mod produce;
mod producers;
mod registry;
mod replicas;
mod replication;
mod restart;
mod topics;
