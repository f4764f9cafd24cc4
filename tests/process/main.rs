//! The real binary as processes: etcd taken away from under it, killed in the middle of its work, its disk filled, its system calls
//! watched, stopped and started in every way that goes wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods
)]

#[path = "../common/etcd.rs"]
mod etcd;
#[path = "../common/skip.rs"]
mod skip;

mod admin_port;
mod crash;
mod exit_codes;
mod failover;
mod full_disk;
mod history;
mod identity;
mod kafka;
mod node;
mod nodes;
mod outage;
mod outage_start;
mod plain_cluster;
mod rollback;
mod stop;
mod syscalls;
