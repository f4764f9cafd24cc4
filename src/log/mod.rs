//! Logs of partitions: append, read, recover, delete. Owns Kafka's files.
//!
//! A log is a row of segments in one log directory. Batches stay the bytes that came from the socket; readers get slices of mapped
//! files. The room knows nothing of acks, leadership, requests or metadata: callers say which leader epoch they append in and up to
//! which offset they may read. Nothing here waits for a disk on the calling thread: see [`Step`].
//!
//! | file | concept |
//! |---|---|
//! | `directories`, `on_disk`, `stop`, `home`, `identity`, `offsets`, `ends` | log directories: locks, ids, checkpoints, clean stop |
//! | `handle`, `slot` | one log, and the slot that hands its writer around |
//! | `validate`, `append`, `writer`, `producers` | the way in |
//! | `read`, `search`, `segment`, `index` | the way out |
//! | `open`, `scan`, `close`, `snapshot`, `epochs` | recovery and what it needs |
//! | `follow`, `truncate` | a follower's appends and cuts |
//! | `retention`, `sync`, `housekeeping` | the rest of a log's life |
//! | `clean` | compaction |
//!
//! Read first: [`Log`] in `handle`, then `writer`, then `read`.

mod append;
mod be;
pub mod checkpoint;
mod clean;
mod close;
mod directories;
mod ends;
pub(crate) mod epochs;
mod error;
mod follow;
mod handle;
mod home;
mod housekeeping;
mod identity;
pub mod index;
pub mod names;
mod offsets;
mod on_disk;
mod open;
mod producers;
mod read;
mod retention;
mod scan;
mod search;
mod segment;
mod slot;
pub mod snapshot;
mod step;
mod stop;
mod storage;
mod sync;
mod truncate;
mod validate;
mod writer;

#[cfg(test)]
mod tests;

pub use append::{AppendOptions, AppendResult};
pub use clean::Cleaned;
pub use directories::{DirectoryInfo, LogDirs, LogDirsOptions};
pub use error::{AppendError, OpenError, ReadError, Unusable};
pub use handle::Log;
pub use home::LogOptions;
pub use on_disk::PartitionOnDisk;
pub use producers::{Batch, ProducerEntry, ProducerState, Producers};
pub use read::{Read, ReadCursor, ReadOptions};
pub use search::FoundOffset;
pub use step::{BoxFuture, Step};
pub use storage::Storage;
pub use validate::Origin;
pub use writer::AppendInfo;
