//! What the core answers: etcd's response messages, with a header that so far holds the revision only.

use etcd_client::proto::{
    PbCompactionResponse, PbDeleteResponse, PbLeaseGrantResponse, PbLeaseRevokeResponse, PbPutResponse,
    PbResponseHeader, PbTxnResponse,
};

/// The answer to one write.
#[derive(Debug, Clone, PartialEq)]
pub enum Reply {
    /// To a Put.
    Put(PbPutResponse),
    /// To a DeleteRange.
    Delete(PbDeleteResponse),
    /// To a Txn.
    Txn(PbTxnResponse),
    /// To a compaction.
    Compact(PbCompactionResponse),
    /// To a grant.
    Grant(PbLeaseGrantResponse),
    /// To a revocation.
    Revoke(PbLeaseRevokeResponse),
    /// To the store's own order to end leases: how many ended.
    Expired(usize),
}

/// A header with the revision; the service adds who answers.
#[must_use]
pub fn header(revision: i64) -> PbResponseHeader {
    PbResponseHeader { revision, ..Default::default() }
}
