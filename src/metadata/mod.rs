//! Metadata in etcd: the session, keys, transactions, watch and image.
//!
//! This room owns every word that ketcd exchanges with etcd: the broker's lease and registration, the schema of the keys, the
//! guarded changes, and the image that everybody else reads. It must never know what a log, a request or a role is; it learns
//! nothing from them but the changes they ask for. Nobody waits for etcd on the request path: reads go to the image.
//!
//! ```text
//!   session thread:  lease -> register -> renew .. (supervisor)      own runtime, own connection
//!   metadata thread: full read -> watch -> apply -> image (feed)     and all admin calls, as tasks
//! ```
//!
//! Read first: [`keys`], then [`image`] and [`apply`] (pure), then [`Metadata`].

mod admin;
pub mod apply;
mod changes;
mod client;
pub mod embedded;
mod error;
pub mod image;
pub mod inspect;
pub mod keys;
mod options;
mod session;
mod state_file;
pub mod txn;
mod watch;

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot, watch as tokio_watch};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

pub use admin::audit::{AuditEntry, KEPT as AUDIT_ENTRIES_KEPT};
pub use admin::configs::AlterError;
pub use admin::partitions::PartitionOutcome;
pub use admin::producer_ids::BLOCK as PRODUCER_ID_BLOCK;
pub use admin::topics::NewTopic;
pub use error::MetadataError;
pub use options::{
    ConnectionOptions, MetadataOptions, REQUEST_TIMEOUT, Registration, SESSION_TTL, TlsOptions,
};
pub use session::SessionState;

use admin::Admin;
use admin::producer_ids::ProducerIds;
use client::Connector;
use image::ClusterImage;
use keys::{AuditValue, Keys, Record};
use session::Session;
use session::register::Registrar;
use session::supervisor::Supervisor;
use watch::{Feed, FeedCounters, ImageCell};

use crate::types::{BrokerEpoch, BrokerId, Clock, ProducerId};

/// How long the first image may take after the registration.
const FIRST_IMAGE_TIMEOUT: Duration = Duration::from_secs(30);

/// Time between two attempts to take an automatic node id.
const CHOOSE_RETRY: Duration = Duration::from_millis(250);

/// How long a graceful stop waits for the last audit entries.
const AUDIT_FLUSH_TIMEOUT: Duration = Duration::from_secs(3);

/// This broker's part in the cluster's metadata. Cheap to clone. Dropping all clones ends the threads but not the lease, as the
/// death of the process would; [`Metadata::close`] ends both.
#[derive(Clone)]
pub struct Metadata(Arc<Inner>);

struct Inner {
    admin: Admin,
    session: Arc<Session>,
    cell: Arc<ImageCell>,
    counters: Arc<FeedCounters>,
    producer_ids: Arc<ProducerIds>,
    audit: mpsc::Sender<Record<AuditValue>>,
    audit_dropped: Arc<AtomicU64>,
    audit_closing: CancellationToken,
    audit_writer: tokio::sync::Mutex<Option<JoinHandle<()>>>,
    clock: Clock,
    /// The metadata thread's runtime, where admin calls run.
    runtime: Handle,
    session_closing: CancellationToken,
    feed_closing: CancellationToken,
    session_ended: tokio::sync::Mutex<Option<oneshot::Receiver<()>>>,
    feed_ended: tokio::sync::Mutex<Option<oneshot::Receiver<()>>>,
    _end_with_me: [DropGuard; 2],
}

/// Counters of this room, for metrics. All only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MetadataCounters {
    /// Images published.
    pub images: u64,
    /// Events applied.
    pub events: u64,
    /// Events that were already applied (rule E7).
    pub events_ignored: u64,
    /// Full reads after the first.
    pub resyncs: u64,
    /// Entries that a full read found different; stays 0 on healthy servers.
    pub divergences: u64,
    /// Keys or values that could not be read.
    pub unreadable: u64,
    /// Older partition states ignored (rule E14).
    pub stale_partitions: u64,
    /// Audit entries that were lost.
    pub audit_dropped: u64,
    /// Total time without etcd, milliseconds.
    pub outage_ms: u64,
}

impl Metadata {
    /// Registers this broker and reads the cluster's metadata. Returns when the image shows the registration.
    ///
    /// # Errors
    /// [`MetadataError::Unreachable`] after `start_timeout`; at once all that a person must resolve: another cluster, a rolled back
    /// etcd, a node id in use, options that make no sense.
    pub async fn connect(options: MetadataOptions) -> Result<Self, MetadataError> {
        let keys = options.keys();
        let clock = options.clock.clone();
        let session = Arc::new(Session::new(clock.clone(), options.registration.data_may_be_lost));
        let cell = Arc::new(ImageCell::new());
        let counters = Arc::new(FeedCounters::default());
        let (session_closing, feed_closing) = (CancellationToken::new(), CancellationToken::new());

        let connector = Connector::new(options.connection.clone())?;
        let resync_interval = options.resync_interval;
        let accept_rollback = options.accept_rollback;
        let registrar = Registrar::new(Arc::clone(&session), options)?;
        let state_file = registrar.state_file.clone();
        let feed = Feed {
            connector: connector.clone(),
            keys: keys.clone(),
            cell: Arc::clone(&cell),
            session: Arc::clone(&session),
            counters: Arc::clone(&counters),
            state_file: state_file.clone(),
            closing: feed_closing.clone(),
            resync_interval,
            accept_rollback,
            suspicions: 0,
            logged: BTreeSet::new(),
        };
        let supervisor = Supervisor::new(Arc::clone(&session), registrar, session_closing.clone());

        let (started, registered) = oneshot::channel();
        let (_, session_ended) = run_thread("ketcd-session", supervisor.run(started))?;
        let guards = [session_closing.clone().drop_guard(), feed_closing.clone().drop_guard()];
        let (ready, loaded) = oneshot::channel();
        let (runtime, feed_ended) = run_thread("ketcd-metadata", feed.run(ready))?;

        let epoch = registered.await.map_err(|_| MetadataError::Closed)??;
        let visible = async {
            loaded.await.map_err(|_| MetadataError::Closed)?;
            cell.wait_for(epoch.get(), FIRST_IMAGE_TIMEOUT).await
        };
        let shown = tokio::time::timeout(FIRST_IMAGE_TIMEOUT, visible).await;
        if !matches!(shown, Ok(Ok(()))) {
            // This start has failed: the id is free for the next one at once.
            session.graceful.store(true, Ordering::Release);
            let why = cell.trouble().unwrap_or_else(|| "the watch shows nothing".to_owned());
            let why = format!("the cluster's keys cannot be read: {why}");
            return Err(MetadataError::Unreachable { why, since: FIRST_IMAGE_TIMEOUT });
        }

        let admin = Admin {
            connector,
            keys,
            cell: Arc::clone(&cell),
            session: Arc::clone(&session),
            clock: clock.clone(),
        };
        let (audit, entries) = mpsc::channel(admin::audit::WAITING_MAX);
        let audit_dropped = Arc::new(AtomicU64::new(0));
        let audit_closing = CancellationToken::new();
        let audit_writer = runtime.spawn(admin::audit::write_entries(
            admin.clone(),
            entries,
            Arc::clone(&audit_dropped),
            audit_closing.clone(),
        ));
        let metadata = Self(Arc::new(Inner {
            admin,
            session,
            cell,
            counters,
            producer_ids: Arc::new(ProducerIds::new(state_file, accept_rollback)),
            audit,
            audit_dropped,
            audit_closing,
            audit_writer: tokio::sync::Mutex::new(Some(audit_writer)),
            clock,
            runtime,
            session_closing,
            feed_closing,
            session_ended: tokio::sync::Mutex::new(Some(session_ended)),
            feed_ended: tokio::sync::Mutex::new(Some(feed_ended)),
            _end_with_me: guards,
        }));
        metadata.prefetch_producer_ids();
        Ok(metadata)
    }

    /// Takes an automatic node id for a broker that has none, before it registers; the caller keeps it for all further starts.
    ///
    /// # Errors
    /// As [`Metadata::connect`].
    pub async fn choose_node_id(options: MetadataOptions) -> Result<BrokerId, MetadataError> {
        let clock = options.clock.clone();
        let (begun, patience) = (clock.elapsed(), options.start_timeout);
        let session = Arc::new(Session::new(clock.clone(), true));
        let mut registrar = Registrar::new(session, options)?;
        loop {
            match registrar.choose_node_id().await {
                Err(MetadataError::Unreachable { why, .. }) => {
                    let since = clock.elapsed().saturating_sub(begun);
                    if since >= patience {
                        return Err(MetadataError::Unreachable { why, since });
                    }
                    tokio::time::sleep(CHOOSE_RETRY).await;
                }
                chosen => return chosen,
            }
        }
    }

    /// The newest image. Lock-free.
    #[must_use]
    pub fn image(&self) -> Arc<ClusterImage> {
        self.0.cell.image()
    }

    /// A receiver of images; it may skip some when they come faster than they are taken.
    #[must_use]
    pub fn images(&self) -> tokio_watch::Receiver<Arc<ClusterImage>> {
        self.0.cell.images()
    }

    /// The session as it stands.
    #[must_use]
    pub fn session(&self) -> SessionState {
        self.0.session.state(&self.image())
    }

    /// Others may act as if this broker were dead (rule E6). Reads two atomics and the clock.
    #[must_use]
    pub fn is_fenced(&self) -> bool {
        self.0.session.is_fenced()
    }

    /// This broker's id.
    #[must_use]
    pub fn broker_id(&self) -> BrokerId {
        self.0.session.broker().unwrap_or(BrokerId(-1))
    }

    /// Epochs of this process's registrations: the proof of intactness goes to disk for each (rule B2).
    #[must_use]
    pub fn registrations(&self) -> tokio_watch::Receiver<BrokerEpoch> {
        self.0.session.registrations()
    }

    /// A write or sync failed: the next registration tells that data may be lost (rule B2).
    pub fn note_data_lost(&self) {
        self.0.session.note_data_lost();
    }

    /// The cluster's keys, for [`inspect`].
    #[must_use]
    pub fn keys(&self) -> &Keys {
        &self.0.admin.keys
    }

    /// Counters for metrics.
    #[must_use]
    pub fn counters(&self) -> MetadataCounters {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let feed = &self.0.counters;
        MetadataCounters {
            images: load(&feed.images),
            events: load(&feed.events),
            events_ignored: load(&feed.events_ignored),
            resyncs: load(&feed.resyncs),
            divergences: load(&feed.divergences),
            unreadable: load(&feed.unreadable),
            stale_partitions: load(&feed.stale_partitions),
            audit_dropped: load(&self.0.audit_dropped),
            outage_ms: u64::try_from(self.0.session.outage_total().as_millis()).unwrap_or(u64::MAX),
        }
    }

    /// Waits until the image has reached `revision`.
    ///
    /// # Errors
    /// [`MetadataError::NotYetVisible`] after `timeout`.
    pub async fn wait_for(&self, revision: i64, timeout: Duration) -> Result<(), MetadataError> {
        let cell = Arc::clone(&self.0.cell);
        self.run(async move { cell.wait_for(revision, timeout).await }).await?
    }

    /// This process is at its end: should its session end now, it does not register again. To be called when nothing is served any
    /// more, so that nobody finds a new lifetime beside closed logs.
    pub fn end_with_this_lifetime(&self) {
        self.0.session.end_with_this_lifetime();
    }

    /// A new producer id from the block at hand, without waiting; `None` if it is used up and the next one is not here yet.
    #[must_use]
    pub fn try_next_producer_id(&self) -> Option<ProducerId> {
        let taken = self.0.producer_ids.take();
        if taken.fetch {
            self.spawn_refill();
        }
        taken.id
    }

    /// A new producer id, fetching a block if there is none.
    ///
    /// # Errors
    /// As [`Metadata::create_topic`].
    pub async fn next_producer_id(&self) -> Result<ProducerId, MetadataError> {
        loop {
            if let Some(id) = self.try_next_producer_id() {
                return Ok(id);
            }
            let (ids, admin) = (Arc::clone(&self.0.producer_ids), self.0.admin.clone());
            self.run(async move { ids.refill(&admin).await }).await??;
        }
    }

    fn prefetch_producer_ids(&self) {
        self.spawn_refill();
    }

    fn spawn_refill(&self) {
        let (ids, admin) = (Arc::clone(&self.0.producer_ids), self.0.admin.clone());
        self.0.runtime.spawn(async move {
            if let Err(error) = ids.refill(&admin).await {
                tracing::debug!(%error, "no new block of producer ids");
            }
        });
    }

    /// Adds an entry to the audit trail, soon and in a batch. Never waits; an entry too many is dropped and counted.
    pub fn audit(&self, entry: AuditEntry) {
        let value = AuditValue {
            at_ms: self.0.clock.now_ms(),
            broker: self.broker_id(),
            who: entry.who,
            what: entry.what,
            revision: entry.revision,
        };
        if self.0.audit.try_send(Record::new(value)).is_err() {
            self.0.audit_dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Ends the session: the lease is revoked, then the threads end. To be called last, after the logs are closed.
    pub async fn close(&self) {
        self.0.audit_closing.cancel();
        if let Some(writer) = self.0.audit_writer.lock().await.take() {
            let _ = tokio::time::timeout(AUDIT_FLUSH_TIMEOUT, writer).await;
        }
        self.0.session.graceful.store(true, Ordering::Release);
        self.0.session_closing.cancel();
        if let Some(ended) = self.0.session_ended.lock().await.take() {
            let _ = ended.await;
        }
        self.0.feed_closing.cancel();
        if let Some(ended) = self.0.feed_ended.lock().await.take() {
            let _ = ended.await;
        }
    }

    /// Runs a call on the metadata thread, to its end.
    async fn run<T: Send + 'static>(
        &self,
        call: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, MetadataError> {
        self.0.runtime.spawn(call).await.map_err(|_| MetadataError::Closed)
    }
}

/// Runs `task` on a thread and a runtime of its own. The receiver fires when it has ended.
fn run_thread(
    name: &'static str,
    task: impl Future<Output = ()> + Send + 'static,
) -> Result<(Handle, oneshot::Receiver<()>), MetadataError> {
    let failed = |error: std::io::Error| MetadataError::InvalidOption {
        option: "threads",
        why: format!("{name} cannot be started: {error}"),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let handle = runtime.handle().clone();
    let (ended, receiver) = oneshot::channel();
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            runtime.block_on(task);
            // A write of the state file must not hold up the end.
            runtime.shutdown_timeout(Duration::from_millis(200));
            let _ = ended.send(());
        })
        .map_err(failed)?;
    Ok((handle, receiver))
}
