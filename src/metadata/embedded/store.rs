//! The state machine: decides each request from what is in memory, and says what must be kept. Pure: no I/O, no clock.
//!
//! [`Store::apply`] decides one write and replays its [`Record`]s at once; the caller makes them durable before it answers and
//! before anybody may read at the new revision. Reads take the newest revision that may be seen as an argument, so that what is
//! applied but not yet durable stays invisible.

use std::sync::Arc;
use std::time::Duration;

use etcd_client::proto::{
    PbCompactionResponse, PbDeleteRequest, PbLeaseGrantResponse, PbLeaseRevokeResponse, PbPutRequest,
    PbTxnRequest,
};

use super::check;
use super::error::RequestError;
use super::lease::Leases;
use super::mvcc::{Mvcc, Version};
use super::record::Record;
use super::reply::{Reply, header};
use super::txn::Execution;

/// A request that may change something.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Put.
    Put(PbPutRequest),
    /// DeleteRange.
    Delete(PbDeleteRequest),
    /// Txn.
    Txn(PbTxnRequest),
    /// LeaseGrant, with the id already chosen.
    Grant {
        /// The new lease.
        id: i64,
        /// Seconds asked for.
        ttl: i64,
    },
    /// LeaseRevoke.
    Revoke {
        /// The lease.
        id: i64,
    },
    /// The store's own: end the leases whose time is over.
    Expire,
    /// Compact. Only when everything applied is durable.
    Compact {
        /// Everything below becomes unreadable.
        revision: i64,
    },
}

/// What one write did.
#[derive(Debug)]
pub struct Outcome {
    /// The answer, to be given once `records` are durable.
    pub reply: Result<Reply, RequestError>,
    /// The changes, in order. Empty if nothing changed.
    pub records: Vec<Record>,
}

/// How much history is kept without anybody asking for a compaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Revisions that can still be read and watched from.
    pub revisions: i64,
    /// Bytes of keys and values that the changes of those may take in memory; beyond, the older half goes.
    pub bytes: usize,
}

impl Default for Retention {
    fn default() -> Self {
        Self { revisions: 10_000, bytes: 32 << 20 }
    }
}

/// The store. See the module's documentation.
#[derive(Debug, Default)]
pub struct Store {
    pub(super) map: Mvcc,
    pub(super) leases: Leases,
}

impl Store {
    /// The multi-version map, for reads.
    #[must_use]
    pub const fn map(&self) -> &Mvcc {
        &self.map
    }

    /// The leases, for reads.
    #[must_use]
    pub const fn leases(&self) -> &Leases {
        &self.leases
    }

    /// Renews a lease. Not durable: after a restart every lease has its full TTL anyway.
    pub fn renew(&mut self, id: i64, now: Duration) -> Option<i64> {
        self.leases.renew(id, now)
    }

    /// Changes the state by one record: the only way to any state, live or read back from the file. A compaction read back from
    /// the file comes before the changes, and a lease before its keys.
    pub fn replay(&mut self, record: &Record, now: Duration) {
        match record {
            Record::Changed(change) => self.replay_change(change),
            Record::Granted { id, ttl } => self.leases.insert(*id, *ttl, now),
            Record::Revoked { id } => {
                self.leases.remove(*id);
            }
            Record::Compacted { revision, .. } => {
                self.map.restore_compacted(*revision);
            }
        }
    }

    fn replay_change(&mut self, change: &Arc<Version>) {
        let before = self.map.live_at(&change.key, i64::MAX).map_or(0, |(_, live)| live.lease);
        let after = change.live().map_or(0, |live| live.lease);
        if before != after {
            self.leases.detach(before, &change.key);
            self.leases.attach(after, &change.key);
        }
        self.map.insert(Arc::clone(change));
    }

    /// Decides and applies one write. An error means that nothing changed.
    pub fn apply(&mut self, write: Write, now: Duration) -> Outcome {
        match write {
            Write::Put(request) => {
                if let Err(error) = check::put(&request) {
                    return Outcome::refused(error);
                }
                let execution = Execution::new(self, now);
                match execution.check_put(&request) {
                    Ok(()) => execution.finish(|execution| Reply::Put(execution.put(request))),
                    Err(error) => Outcome::refused(error),
                }
            }
            Write::Delete(request) => match check::delete(&request) {
                Ok(()) => {
                    Execution::new(self, now).finish(|execution| Reply::Delete(execution.delete(&request)))
                }
                Err(error) => Outcome::refused(error),
            },
            Write::Txn(request) => {
                if let Err(error) = check::txn(&request) {
                    return Outcome::refused(error);
                }
                let execution = Execution::new(self, now);
                let path = execution.choose_path(&request);
                match execution.check_txn(&request, &path) {
                    Ok(()) => execution.finish(|execution| Reply::Txn(execution.txn(request, &path))),
                    Err(error) => Outcome::refused(error),
                }
            }
            Write::Grant { id, ttl } => self.grant(id, ttl, now),
            Write::Revoke { id } => self.revoke(id, now),
            Write::Expire => self.expire(now),
            Write::Compact { revision } => self.compact(revision),
        }
    }

    fn grant(&mut self, id: i64, ttl: i64, now: Duration) -> Outcome {
        match self.leases.check_grant(id, ttl) {
            Ok(ttl) => {
                let record = Record::Granted { id, ttl };
                self.replay(&record, now);
                let response = PbLeaseGrantResponse {
                    header: Some(header(self.map.revision())),
                    id,
                    ttl,
                    error: String::new(),
                };
                Outcome { reply: Ok(Reply::Grant(response)), records: vec![record] }
            }
            Err(error) => Outcome::refused(error),
        }
    }

    /// Deletes the lease's keys in one revision and the lease with them.
    fn revoke(&mut self, id: i64, now: Duration) -> Outcome {
        let Some(lease) = self.leases.get(id) else {
            return Outcome::refused(RequestError::LeaseNotFound);
        };
        let keys = lease.keys.clone();
        let mut outcome = Execution::new(self, now).finish(|execution| {
            keys.iter().for_each(|key| execution.delete_key(key));
            let response = PbLeaseRevokeResponse { header: Some(header(execution.revision())) };
            Reply::Revoke(response)
        });
        let record = Record::Revoked { id };
        self.replay(&record, now);
        outcome.records.push(record);
        outcome
    }

    fn expire(&mut self, now: Duration) -> Outcome {
        let ended = self.leases.ended(now);
        let records = ended.iter().flat_map(|id| self.revoke(*id, now).records).collect();
        Outcome { reply: Ok(Reply::Expired(ended.len())), records }
    }

    fn compact(&mut self, revision: i64) -> Outcome {
        if revision <= self.map.compacted() {
            return Outcome::refused(RequestError::Compacted);
        }
        if revision > self.map.revision() {
            return Outcome::refused(RequestError::FutureRevision);
        }
        let dropped = self.map.compact(revision);
        let response = PbCompactionResponse { header: Some(header(self.map.revision())) };
        Outcome {
            reply: Ok(Reply::Compact(response)),
            records: vec![Record::Compacted { revision, dropped }],
        }
    }

    /// The revision to compact at so that history stays within `retention`; `None` while it does. A tenth above the limit is let
    /// pass so that this is rare.
    #[must_use]
    pub fn due_compaction(&self, retention: &Retention) -> Option<i64> {
        let newest = self.map.revision();
        let oldest = self.map.compacted().max(0);
        if newest - oldest > retention.revisions + retention.revisions / 10 {
            return Some(newest - retention.revisions);
        }
        if self.map.log_bytes() > retention.bytes {
            return Some(self.map.middle_revision()).filter(|middle| *middle > oldest);
        }
        None
    }
}

impl Outcome {
    const fn refused(error: RequestError) -> Self {
        Self { reply: Err(error), records: Vec::new() }
    }
}
