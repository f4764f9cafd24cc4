//! What needs one author in the cluster: where partitions are placed, and the end of deleted topics.
//!
//! The decisions here are pure functions of the image; the broker carries them out through `metadata/`. Any broker places a new
//! topic (the Txn that creates it is guarded); only the elected controller finishes deletions.
//!
//! Read first: [`placement`].

pub mod housekeeping;
pub mod placement;
