//! Metadata in etcd: the session, keys, transactions, watch and image.

pub mod embedded;
pub mod image;
