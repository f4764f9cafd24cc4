//! Replication of partitions: who leads, what is committed, who is in sync, who waits for it.
//!
//! The cores decide and do nothing: [`leader`] (high watermark, ISR), [`follower`] (where to fetch, how far to cut), [`election`]
//! (ballots, hand-overs), [`reassignment`] (replicas that move), [`members`] (ISR and ELR of a record). They see the image and offsets, never a log, a socket or etcd, and
//! run in the simulation as they run here. [`partition`] is the shell: one partition of this broker, its log, its role and the core
//! of the role under one lock.
//!
//! Read first: [`leader`], then [`election`], then [`partition`].

pub mod attention;
pub mod election;
pub mod follower;
pub mod leader;
pub mod members;
pub mod partition;
pub mod reassignment;
pub mod wait;

pub use attention::Attention;
pub use partition::{Acks, Appended, Applied, Partition, PartitionError, Role};
pub use wait::FetchWait;

#[cfg(test)]
#[path = "tests/properties.rs"]
mod properties;
#[cfg(test)]
#[path = "tests/world.rs"]
pub(crate) mod world;
