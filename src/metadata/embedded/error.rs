//! What a request is refused with: etcd's facts, codes and words.

use tonic::{Code, Status};

/// Why a request was refused. Nothing has changed then.
///
/// The text and the gRPC code of each are etcd's own to the letter (`api/v3rpc/rpctypes/error.go`): clients tell errors apart by
/// comparing the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The key is empty.
    #[error("etcdserver: key is not provided")]
    EmptyKey,
    /// `ignore_value` or `ignore_lease` was asked for on a key that does not exist; or an empty operation stood in a Txn.
    #[error("etcdserver: key not found")]
    KeyNotFound,
    /// A value came with `ignore_value`.
    #[error("etcdserver: value is provided")]
    ValueProvided,
    /// A lease came with `ignore_lease`.
    #[error("etcdserver: lease is provided")]
    LeaseProvided,
    /// More than 128 compares or operations in a Txn.
    #[error("etcdserver: too many operations in txn request")]
    TooManyOps,
    /// One branch of a Txn changes a key twice.
    #[error("etcdserver: duplicate key given in txn request")]
    DuplicateKey,
    /// A sort order or target that does not exist.
    #[error("etcdserver: invalid sort option")]
    InvalidSortOption,
    /// The request is larger than 1.5 MiB.
    #[error("etcdserver: request is too large")]
    RequestTooLarge,
    /// The revision asked for is older than the last compaction.
    #[error("etcdserver: mvcc: required revision has been compacted")]
    Compacted,
    /// The revision asked for has not happened yet.
    #[error("etcdserver: mvcc: required revision is a future revision")]
    FutureRevision,
    /// The lease does not exist (any more).
    #[error("etcdserver: requested lease not found")]
    LeaseNotFound,
    /// A lease with this id exists.
    #[error("etcdserver: lease already exists")]
    LeaseExists,
    /// The TTL asked for is beyond 9,000,000,000 s.
    #[error("etcdserver: too large lease TTL")]
    LeaseTtlTooLarge,
    /// The store is closing, or its file cannot be written now: the outcome is unknown to the caller.
    #[error("etcdserver: server stopped")]
    Stopped,
}

impl From<RequestError> for Status {
    fn from(error: RequestError) -> Self {
        let code = match error {
            RequestError::EmptyKey
            | RequestError::KeyNotFound
            | RequestError::ValueProvided
            | RequestError::LeaseProvided
            | RequestError::TooManyOps
            | RequestError::DuplicateKey
            | RequestError::InvalidSortOption
            | RequestError::RequestTooLarge => Code::InvalidArgument,
            RequestError::Compacted | RequestError::FutureRevision | RequestError::LeaseTtlTooLarge => {
                Code::OutOfRange
            }
            RequestError::LeaseNotFound => Code::NotFound,
            RequestError::LeaseExists => Code::FailedPrecondition,
            RequestError::Stopped => Code::Unavailable,
        };
        Self::new(code, error.to_string())
    }
}
