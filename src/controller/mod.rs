//! What needs one author in the cluster: where partitions are placed, the end of deleted topics, replicas on the move, the balance
//! of leaders.
//!
//! The decisions here are pure functions of the image; the broker carries them out through `metadata/`. Any broker places a new
//! topic or begins a reassignment (the Txn is guarded); only the elected controller finishes what takes time.
//!
//! Read first: [`placement`], then [`plan`].

pub mod housekeeping;
pub mod placement;
pub mod plan;
