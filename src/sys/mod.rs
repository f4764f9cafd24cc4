//! The operating system: files, maps, signals.

pub mod read;
pub mod small_file;
pub mod timer;
