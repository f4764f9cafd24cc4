//! A partition as its leader sees it: role and epoch, high watermark, who waits for it.
//!
//! This room decides whether an append or a read is allowed and when a record counts as committed. It knows the log below it and
//! nothing of requests, sockets or etcd: the broker tells it what the image says ([`Partition::apply`]).
//!
//! Read first: [`partition`].

pub mod partition;
pub mod wait;

pub use partition::{Appended, Partition, PartitionError, Role};
pub use wait::FetchWait;
