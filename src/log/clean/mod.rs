//! The log cleaner: keeps the newest record of every key of a compacted log (KIP-58, KIP-354, KIP-534). Kafka's `LogCleaner`.
//!
//! Owns when a log is cleaned, what stays, and how cleaned segments take the place of others. Offsets never change, the active segment
//! is never touched, nothing above the high watermark is. It must never hold a log's slot while it reads or writes records: appends,
//! truncation, retention and closing go on, and a cleaning whose segments are not there any more when it wants to swap gives up.
//!
//! | file | concept |
//! |---|---|
//! | `choose` | which part of a log may be cleaned, and how much it needs it (pure) |
//! | `offset_map` | the newest offset of every key, in bounded memory |
//! | `transactions` | aborted transactions and their markers (pure) |
//! | `filter` | what is kept of a batch (pure) |
//! | `source`, `target` | segments that are read, the segment that is written |
//! | `run` | one cleaning of one log |
//! | `swap` | cleaned segments take the place of others, whatever happens in between (rule S11) |
//! | `throttle`, `threads` | the threads, their pace, the choice of the next log |
//!
//! Read first: `run`, then `filter`, then `swap`.

mod choose;
mod filter;
mod offset_map;
mod run;
mod source;
pub(in crate::log) mod swap;
mod target;
pub(in crate::log) mod threads;
mod throttle;
mod transactions;

use super::error::Unusable;

pub use run::Cleaned;

/// Why a cleaning ended before its end. The log is as it was, or some of its segments are cleaned.
#[derive(Debug, thiserror::Error)]
pub(in crate::log) enum Stopped {
    /// The broker stops, or the log was cut, deleted or closed meanwhile.
    #[error("the log changed, or the broker stops")]
    Aborted,
    /// The log cannot be cleaned: it is left alone from now on.
    #[error("segment {segment} at byte {position}: {reason}")]
    Bad {
        /// Base offset of the segment.
        segment: i64,
        /// Where in its file.
        position: u32,
        /// What is wrong.
        reason: String,
    },
    /// The disk is full or broken. A full one may have room later.
    #[error(transparent)]
    Unusable(Unusable),
}

impl From<Unusable> for Stopped {
    fn from(unusable: Unusable) -> Self {
        match unusable {
            // It was deleted.
            Unusable::Closed => Self::Aborted,
            other => Self::Unusable(other),
        }
    }
}

impl super::LogDirs {
    /// Changes what the cleaner runs with; the number of its threads, too.
    pub fn configure_cleaner(&self, config: crate::config::CleanerConfig) {
        self.shared.cleaner.configure(&self.shared, config);
    }

    /// Cleans the log that needs it most, on the calling thread. `None` if none does. For tests and tools: the cleaner's own threads do
    /// it without being asked.
    ///
    /// # Errors
    /// Why it was not cleaned, in words.
    pub fn clean_dirtiest(&self) -> Result<Option<Cleaned>, String> {
        self.shared.cleaner.clean_dirtiest(&self.shared)
    }
}
