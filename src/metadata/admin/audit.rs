//! The audit trail: sequential keys, written in batches after the change, the newest 1,000 kept.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::Admin;
use crate::metadata::error::MetadataError;
use crate::metadata::keys::{AuditValue, Key, Record, prefix_end};
use crate::metadata::txn::{Outcome, shapes};
use crate::types::random;

/// Entries that are kept.
pub const KEPT: u64 = 1_000;
/// Entries that wait to be written; more are dropped and counted, e.g. in a long outage.
pub(in crate::metadata) const WAITING_MAX: usize = 1_024;
/// Entries written by one Txn.
const BATCH_MAX: usize = 100;
/// Entries of one burst are written together.
const GATHER: Duration = Duration::from_millis(50);
/// Time between attempts while etcd does not answer.
const RETRY: Duration = Duration::from_secs(1);

/// Something that was changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// On whose behalf: principal, client id or address.
    pub who: String,
    /// What, for people.
    pub what: String,
    /// At which revision; 0 if it is not known.
    pub revision: i64,
}

/// Writes entries until closing.
pub(in crate::metadata) async fn write_entries(
    admin: Admin,
    mut entries: mpsc::Receiver<Record<AuditValue>>,
    dropped: Arc<AtomicU64>,
    closing: CancellationToken,
) {
    let mut batch = Vec::with_capacity(BATCH_MAX);
    loop {
        let received = tokio::select! {
            biased;
            received = entries.recv_many(&mut batch, BATCH_MAX) => received,
            () = closing.cancelled() => return,
        };
        if received == 0 {
            return;
        }
        tokio::select! {
            () = tokio::time::sleep(GATHER) => {}
            () = closing.cancelled() => {}
        }
        while batch.len() < BATCH_MAX
            && let Ok(entry) = entries.try_recv()
        {
            batch.push(entry);
        }
        while let Err(error) = admin.append_audit(&batch).await {
            if !error.retriable() || closing.is_cancelled() {
                dropped.fetch_add(batch.len() as u64, Ordering::Relaxed);
                warn!(%error, entries = batch.len(), "audit entries are lost");
                break;
            }
            debug!(%error, "audit entries wait");
            tokio::select! {
                () = tokio::time::sleep(RETRY) => {}
                () = closing.cancelled() => {}
            }
        }
        batch.clear();
    }
}

impl Admin {
    /// Appends entries after the last one in etcd.
    async fn append_audit(&self, entries: &[Record<AuditValue>]) -> Result<(), MetadataError> {
        for losses in 0..super::ATTEMPTS {
            self.session.check_reachable()?;
            let prefix = self.keys.audit_entries();
            let options = etcd_client::GetOptions::new()
                .with_range(prefix_end(&prefix))
                .with_sort(etcd_client::SortTarget::Key, etcd_client::SortOrder::Descend)
                .with_limit(1)
                .with_keys_only();
            let answer = self
                .connector
                .get(prefix, Some(options))
                .await
                .map_err(|error| self.failed("audit entries", error))?;
            let last = answer.kvs().first().and_then(|kv| match self.keys.parse(kv.key()) {
                Ok(Key::Audit(n)) => Some(n),
                _ => None,
            });
            let skipped = if losses == 0 { 0 } else { random::below(BATCH_MAX as u64) };
            let first = last.map_or(0, |last| last.saturating_add(1)).saturating_add(skipped);
            let end = first.saturating_add(entries.len() as u64);
            let txn = shapes::append_audit(&self.keys, first, entries, end.saturating_sub(KEPT));
            match self.submit(txn).await? {
                Outcome::Applied { .. } => return Ok(()),
                Outcome::Rejected { .. } => {}
                // An entry that stands twice is better than one that is missing.
                Outcome::Unknown { why } => {
                    return Err(MetadataError::UnknownOutcome { what: "audit entries".into(), why });
                }
            }
        }
        Err(MetadataError::Conflict { what: "audit entries".into(), attempts: super::ATTEMPTS })
    }
}
