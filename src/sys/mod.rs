//! sys.

pub mod read;
