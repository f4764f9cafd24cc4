//! Changes of the cluster's metadata: one file per kind. Each is one Txn, and done when this broker's own image shows it.

pub(super) mod audit;
pub(super) mod brokers;
pub(super) mod configs;
pub(super) mod partitions;
pub(super) mod producer_ids;
pub(super) mod sessions;
pub(super) mod topics;

use std::sync::Arc;
use std::time::Duration;

use super::client::{CallError, Connector};
use super::error::MetadataError;
use super::image::ClusterImage;
use super::keys::{Key, Keys, Record, ValueError};
use super::session::Session;
use super::txn::{GuardedTxn, Outcome, Stored};
use super::watch::ImageCell;
use crate::types::Clock;

/// How long a change waits until this broker's own image shows it.
const VISIBLE_TIMEOUT: Duration = Duration::from_secs(5);
/// How often a change is tried again when others change the same thing.
const ATTEMPTS: u32 = 30;
/// How long, and how often, the fate of a lost answer is looked for (rule E9).
const LOOK_BACK: (u32, Duration) = (4, Duration::from_millis(150));

/// Makes changes. Cheap to clone; runs on the metadata thread.
#[derive(Clone)]
pub(super) struct Admin {
    pub connector: Connector,
    pub keys: Keys,
    pub cell: Arc<ImageCell>,
    pub session: Arc<Session>,
    pub clock: Clock,
}

impl Admin {
    fn image(&self) -> Arc<ClusterImage> {
        self.cell.image()
    }

    /// A linearizable read of one key, failing at once during an outage.
    async fn read(&self, key: &Key) -> Result<Option<Stored>, MetadataError> {
        self.session.check_reachable()?;
        match self.connector.read(self.keys.bytes(key)).await {
            Ok((stored, _)) => Ok(stored),
            Err(error) => Err(self.failed("a read", error)),
        }
    }

    /// A read of a key and its decoded value.
    async fn read_value<T>(&self, key: &Key) -> Result<Option<(Record<T>, i64)>, MetadataError>
    where
        T: serde::Serialize + serde::de::DeserializeOwned,
    {
        let Some(stored) = self.read(key).await? else { return Ok(None) };
        let record = Record::decode(&stored.value).map_err(|why| self.unreadable(key, why))?;
        Ok(Some((record, stored.mod_revision)))
    }

    fn unreadable(&self, key: &Key, why: ValueError) -> MetadataError {
        MetadataError::Unreadable { key: String::from_utf8_lossy(&self.keys.bytes(key)).into_owned(), why }
    }

    /// Sends a change, failing at once during an outage.
    async fn submit(&self, txn: GuardedTxn) -> Result<Outcome, MetadataError> {
        self.session.check_reachable()?;
        let outcome = self.connector.submit(txn).await;
        if matches!(outcome, Ok(Outcome::Unknown { .. }) | Err(MetadataError::Unreachable { .. })) {
            self.session.wake.notify_one();
        }
        outcome
    }

    /// A failure makes the supervisor look at once whether etcd is away.
    fn failed(&self, what: &str, error: CallError) -> MetadataError {
        let since = match self.session.check_reachable() {
            Err(MetadataError::Unreachable { since, .. }) => since,
            _ => self.connector.request_timeout(),
        };
        if matches!(error, CallError::NoAnswer { .. }) {
            self.session.wake.notify_one();
        }
        error.into_metadata_error(what, since)
    }

    /// Waits until this broker's image shows the change made at `revision`.
    async fn visible(&self, revision: i64) -> Result<i64, MetadataError> {
        self.cell.wait_for(revision, VISIBLE_TIMEOUT).await?;
        Ok(revision)
    }

    /// After a lost answer: looks whether `key` shows the change. An unchanged read proves nothing (rule E9).
    async fn look_back(&self, key: &Key, shows: impl Fn(Option<&Stored>) -> bool) -> Option<i64> {
        let (attempts, pause) = LOOK_BACK;
        for _ in 0..attempts {
            tokio::time::sleep(pause).await;
            match self.read(key).await {
                Ok(stored) if shows(stored.as_ref()) => {
                    return Some(stored.map_or_else(|| self.image().revision, |stored| stored.mod_revision));
                }
                Ok(_) => {}
                Err(_) => return None,
            }
        }
        None
    }

    /// A short pause before the next attempt, longer the more others compete.
    async fn back_off(&self, attempt: u32) {
        let most_ms = 2_u64 << attempt.min(6);
        tokio::time::sleep(Duration::from_millis(crate::types::random::below(most_ms))).await;
    }
}
