//! Tests of the room as a whole, one behaviour a file. What belongs to one concept is tested beside it.

mod appending;
mod bad_files;
mod compacting;
mod directories;
mod failing_disks;
mod following;
mod model;
mod reading;
mod recovering;
mod retaining;
pub mod support;
