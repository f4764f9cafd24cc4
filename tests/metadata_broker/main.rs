//! The metadata room against servers: the embedded store, Debian's old etcd, a current one. Every case runs on all of them, except
//! those whose subject is a process of its own (killed, frozen).

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing, clippy::cast_possible_truncation)]

#[path = "../common/etcd.rs"]
mod etcd;

mod admin;
mod ends;
mod guard;
mod images;
mod outage;
mod proxy;
mod server;
mod sessions;
mod tls;
