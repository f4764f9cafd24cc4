//! Why a metadata operation failed, with what to do about it.

use std::path::PathBuf;
use std::time::Duration;

use super::keys::ValueError;
use crate::types::{BrokerId, LeaderEpoch};

/// Why a metadata operation failed. Retriable ones: see [`MetadataError::retriable`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// etcd does not answer. Nothing was changed.
    #[error("etcd is unreachable since {:.1} s ({why}); nothing was changed, retry when it is back", since.as_secs_f64())]
    Unreachable {
        /// What the last attempt met.
        why: String,
        /// For how long.
        since: Duration,
    },
    /// The write was sent and its answer was lost: it may have happened, or may yet happen (rule E9).
    #[error(
        "{what}: etcd did not answer in time ({why}); the change may or may not take effect, look before retrying"
    )]
    UnknownOutcome {
        /// The operation.
        what: String,
        /// What the attempt met.
        why: String,
    },
    /// The thing to create is there.
    #[error("{what} already exists")]
    AlreadyExists {
        /// The thing.
        what: String,
    },
    /// The thing to change is not there.
    #[error("{what} does not exist")]
    NotFound {
        /// The thing.
        what: String,
    },
    /// Others changed the same thing, again and again.
    #[error("{what} was changed by others at the same time ({attempts} attempts); retry")]
    Conflict {
        /// The thing.
        what: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The state of the thing forbids the operation.
    #[error("{what}: {why}")]
    Invalid {
        /// The operation.
        what: String,
        /// Why not.
        why: String,
    },
    /// A broker named in an assignment is not registered.
    #[error("broker {id} has no live registration; choose live brokers")]
    BrokerNotLive {
        /// The broker.
        id: BrokerId,
    },
    /// More than one etcd transaction can hold (rule E11).
    #[error(
        "{what} needs {size} {unit} in one etcd transaction, more than {limit}; split it into smaller changes"
    )]
    TooLarge {
        /// The operation.
        what: String,
        /// What it needs.
        size: usize,
        /// The bound.
        limit: usize,
        /// Of what.
        unit: &'static str,
    },
    /// etcd's NOSPACE alarm: it takes neither puts nor leases.
    #[error(
        "etcd is out of space and refuses writes; run `etcdctl compact $(etcdctl endpoint status -w json | grep -o '\"revision\":[0-9]*' | \
         grep -o '[0-9]*')`, `etcdctl defrag`, `etcdctl alarm disarm`, or raise --quota-backend-bytes"
    )]
    NoSpace,
    /// etcd refused the request for a reason of its own.
    #[error("etcd refused {what}: {why}")]
    Refused {
        /// The operation.
        what: String,
        /// Its message.
        why: String,
    },
    /// The write happened; this broker's image has not seen it yet.
    #[error("the change is made (revision {revision}), but this broker has not seen it within {:.1} s; look before retrying", waited.as_secs_f64())]
    NotYetVisible {
        /// The write's revision.
        revision: i64,
        /// How long it was waited for.
        waited: Duration,
    },
    /// A stored value cannot be read.
    #[error("key {key}: {why}")]
    Unreadable {
        /// The key.
        key: String,
        /// What is wrong with its value.
        why: ValueError,
    },
    /// This process no longer holds the controller's role, or its registration.
    #[error("this broker is not the controller (any more)")]
    NotController,
    /// Another process is registered under this node id.
    #[error("node.id {id} is in use by {host}; give this broker another node.id or stop that one")]
    DuplicateNodeId {
        /// The id.
        id: BrokerId,
        /// Who holds it.
        host: String,
    },
    /// etcd holds another cluster than this node's disks.
    #[error(
        "etcd holds cluster {found}, this node belongs to cluster {expected}; check etcd.endpoints and etcd.prefix, or use empty data directories"
    )]
    ClusterIdMismatch {
        /// The id on this node's disks.
        expected: String,
        /// The id in etcd, or `none`.
        found: String,
    },
    /// etcd went back in time (rule E13).
    #[error(
        "etcd is at revision {now}, this node has seen {seen}: it was restored from a backup, or wiped, or is another etcd; check etcd.endpoints, and if the restore was intended accept it with etcd.accept.rollback=true"
    )]
    RolledBack {
        /// The highest revision seen.
        seen: i64,
        /// The revision now.
        now: i64,
    },
    /// etcd says less than it has said before, though its revision is as high (rule E13).
    #[error(
        "etcd says leader epoch {now} of {partition}, this node has seen {seen}: it was restored from a backup; if that was intended accept it with etcd.accept.rollback=true"
    )]
    EpochRolledBack {
        /// Topic and index.
        partition: String,
        /// The epoch seen.
        seen: LeaderEpoch,
        /// The epoch now.
        now: LeaderEpoch,
    },
    /// This etcd is a Kubernetes control plane's.
    #[error(
        "this etcd holds a Kubernetes control plane (/registry/ keys); use another etcd, or force it with etcd.allow.kubernetes=true"
    )]
    SharedWithKubernetes,
    /// The keys have a layout that this version does not know.
    #[error("the cluster's keys have layout {found}, this version knows {known}; upgrade this broker")]
    UnsupportedLayout {
        /// Layout in etcd.
        found: u32,
        /// Layout of this version.
        known: u32,
    },
    /// An option makes no sense.
    #[error("{option}: {why}")]
    InvalidOption {
        /// The option.
        option: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The state file cannot be read.
    #[error("{}: {why}; if the file is damaged, delete it", path.display())]
    StateFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// This handle was closed.
    #[error("the metadata session is closed: this broker is stopping")]
    Closed,
}

impl MetadataError {
    /// Whether the same request may succeed later without anybody changing anything.
    #[must_use]
    pub const fn retriable(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::UnknownOutcome { .. }
            | Self::Conflict { .. }
            | Self::BrokerNotLive { .. }
            | Self::NoSpace
            | Self::NotYetVisible { .. }
            | Self::NotController
            | Self::Closed => true,
            Self::AlreadyExists { .. }
            | Self::NotFound { .. }
            | Self::Invalid { .. }
            | Self::TooLarge { .. }
            | Self::Refused { .. }
            | Self::Unreadable { .. }
            | Self::DuplicateNodeId { .. }
            | Self::ClusterIdMismatch { .. }
            | Self::RolledBack { .. }
            | Self::EpochRolledBack { .. }
            | Self::SharedWithKubernetes
            | Self::UnsupportedLayout { .. }
            | Self::InvalidOption { .. }
            | Self::StateFile { .. } => false,
        }
    }
}
