//! The operating system: files, maps, signals.

pub mod small_file;
