//! The program from outside: help, exit codes, errors, JSON shapes; and the commands against a running broker.
//!
//! Snapshots of texts are in `snapshots/`; `KETCD_BLESS=1 cargo test --test cli` writes them anew (look at the difference).
#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

mod commands;
mod configuration;
mod errors;
mod files;
mod groups;
mod help;
mod program;
