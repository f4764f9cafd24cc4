//! The wire: framing, headers, the guard before the codec, record batches, codecs, error codes.
//!
//! Owns every byte that Kafka's protocol puts on a socket or, as record batches, into a file. Decoding and encoding of ordinary
//! messages is the crate `kafka-protocol`'s; what it may be given is decided here ([`guard`]), and what it would copy or lose is
//! written here ([`fetch_body`], [`produce_body`], [`records`]). Must never know: connections, logs, metadata, which APIs are served.
//!
//! Nothing in this room panics on bytes of a peer or of a disk, and nothing allocates by a number that stands in them.
//!
//! Read first: [`batch`], then [`guard`].

pub mod apis;
pub mod batch;
mod batch_builder;
pub mod compression;
pub mod consumer_protocol;
mod crc_shift;
pub mod error;
mod error_table;
pub mod fetch_body;
mod fetch_body_decode;
pub mod fetch_request;
pub mod guard;
pub mod header;
mod leader_hints;
mod lz4;
pub mod peer;
mod peer_error;
pub mod produce_body;
mod reader;
pub mod records;
pub mod replica;
mod snappy;
pub mod varint;
pub(crate) mod writer;

#[cfg(test)]
mod batch_tests;
#[cfg(test)]
mod compression_tests;
#[cfg(test)]
mod fetch_body_tests;
#[cfg(test)]
mod fetch_request_tests;
#[cfg(test)]
mod golden_tests;
#[cfg(test)]
mod produce_body_tests;
#[cfg(test)]
mod records_tests;
