//! The operating system: files, directories, memory maps, limits, signals. The only room with `unsafe`, `memmap2` and file system calls.
//!
//! Everything above speaks of volumes, data files and maps and never of descriptors. Calls that may wait for a disk say so to
//! [`blocking`], which catches them on threads that must not wait. The room knows nothing of Kafka's formats.
//!
//! Read first: [`volume`], then [`map`].

pub mod blocking;
pub mod buffer;
pub mod child;
pub mod file;
pub mod host;
pub mod map;
pub mod read;
pub mod scratch;
pub mod sigbus;
pub mod small_file;
pub mod timer;
pub mod volume;

pub use blocking::{blocked_calls, forbid_blocking};
pub use buffer::AlignedBuffer;
pub use file::DataFile;
pub use map::Map;
pub use volume::{Faults, Space, Volume};
