//! What the writer, the services and the expiry task share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use etcd_client::proto::PbResponseHeader;
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::error::RequestError;
use super::file::Identity;
use super::reply::{Reply, header};
use super::store::{Store, Write};
use super::writer::Command;
use crate::types::Clock;

/// The store in memory and how far it is durable.
///
/// The writer applies a batch under the lock, commits it without, and then moves the visible revision: readers never see what a
/// crash could still take back.
pub struct State {
    store: RwLock<Store>,
    visible: watch::Sender<i64>,
    file_bytes: AtomicU64,
}

impl State {
    /// A state all of which is durable.
    #[must_use]
    pub fn new(store: Store) -> Self {
        let visible = watch::Sender::new(store.map().revision());
        Self { store: RwLock::new(store), visible, file_bytes: AtomicU64::new(0) }
    }

    /// Reads. The guard and the newest revision that may be seen: taken under the lock, so that no compaction is newer than it.
    pub fn read(&self) -> (RwLockReadGuard<'_, Store>, i64) {
        let store = self.store.read().unwrap_or_else(PoisonError::into_inner);
        let visible = *self.visible.borrow();
        (store, visible)
    }

    /// Changes. Held for the time of deciding only, never over a commit.
    pub fn write(&self) -> RwLockWriteGuard<'_, Store> {
        self.store.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets everybody see up to `revision`.
    pub fn publish(&self, revision: i64) {
        self.visible.send_if_modified(|visible| {
            let moved = *visible != revision;
            *visible = revision;
            moved
        });
    }

    /// Bytes of the file after the last commit; 0 without a file.
    #[must_use]
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes.load(Ordering::Relaxed)
    }

    /// Remembers the size of the file.
    pub fn set_file_bytes(&self, bytes: u64) {
        self.file_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Tells when the visible revision moves.
    #[must_use]
    pub fn moves(&self) -> watch::Receiver<i64> {
        self.visible.subscribe()
    }
}

/// Everything a service needs; cheap to clone.
#[derive(Clone)]
pub struct Shared {
    /// The store.
    pub state: Arc<State>,
    /// To the writer; bounded.
    pub commands: mpsc::Sender<Command>,
    /// Who answers.
    pub identity: Identity,
    /// Time.
    pub clock: Clock,
    /// Woken when the next end of a lease may have moved forward.
    pub leases_changed: Arc<Notify>,
    /// How long a quiet watch that asked for progress notes goes without.
    pub progress_interval: Duration,
    /// Ends everything.
    pub closing: CancellationToken,
    /// The tasks that must have ended before the store is closed.
    pub tasks: TaskTracker,
    /// Where clients reach this store.
    pub endpoint: Arc<str>,
}

impl Shared {
    /// Has a write decided, made durable and answered.
    ///
    /// # Errors
    /// Why it was refused; [`RequestError::Stopped`] when its outcome cannot be known.
    pub async fn submit(&self, write: Write) -> Result<Reply, RequestError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(Command::Write { write, reply }).await.map_err(|_| RequestError::Stopped)?;
        answer.await.map_err(|_| RequestError::Stopped)?
    }

    /// The header of an answer at a revision.
    #[must_use]
    pub fn header(&self, revision: i64) -> PbResponseHeader {
        self.complete(Some(header(revision)))
    }

    /// Completes a header of the core.
    #[must_use]
    pub fn complete(&self, header: Option<PbResponseHeader>) -> PbResponseHeader {
        PbResponseHeader {
            cluster_id: self.identity.cluster_id,
            member_id: self.identity.member_id,
            revision: header.map_or(0, |header| header.revision),
            raft_term: 1,
        }
    }
}
