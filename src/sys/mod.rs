//! sys.

pub mod read;
pub mod timer;
