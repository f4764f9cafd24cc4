//! What an operator sees: the log on stderr and the numbers at `/metrics`.
//!
//! Call sites are one word: `metrics::bytes_sent(written)`. Counters are plain atomics that are added up when somebody
//! looks, so that counting costs nanoseconds on the request path and nothing when idle. Numbers that others hold (log sizes,
//! partition counts) are asked for at scrape time through [`metrics::on_scrape`].
//!
//! This room knows no other room: times and sizes come in as arguments. It never does I/O but write to stderr and read `/proc`.
//!
//! Read first: [`metrics`].

pub mod apis;
pub mod cleaner;
pub mod closing;
mod counters;
pub mod exposition;
pub mod logging;
pub mod metrics;
pub mod process;
pub mod replication;
