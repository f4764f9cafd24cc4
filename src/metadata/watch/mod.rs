//! The feed: one full read, then one watch for the whole process, and an image after every response.
//!
//! Watches are hints (rule E7): events are applied in revision order, what is already applied is ignored, and every few minutes the
//! image is compared with a full read.

pub(super) mod load;
pub(super) mod responses;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use etcd_client::WatchRequestSender;
use tokio::sync::{Notify, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::apply::{Applied, Fact, KeyEvent, apply, differences, from_snapshot, older_epoch};
use super::client::{CallError, Connector};
use super::error::MetadataError;
use super::image::ClusterImage;
use super::keys::{Keys, prefix_end};
use super::session::Session;
use super::session::supervisor::SUSPICIONS_MAX;
use super::state_file::StateFile;
use crate::types::seeded::{Bug, seeded};
use responses::{Batch, Responses};

/// Time between two attempts to reach etcd.
const RETRY: Duration = Duration::from_millis(300);
/// Time between two writes of the highest revision seen (rule E13).
const REMEMBER_INTERVAL: Duration = Duration::from_secs(5);
/// How long a reader waits for a revision before the server is asked for its progress.
const NUDGE_AFTER: Duration = Duration::from_millis(100);
/// Keys whose trouble was logged are remembered up to this many.
const LOGGED_MAX: usize = 1_000;

/// Where the newest image is.
pub(super) struct ImageCell {
    current: ArcSwap<ClusterImage>,
    sender: watch::Sender<Arc<ClusterImage>>,
    nudge: Notify,
    /// Why the last full read failed.
    trouble: Mutex<Option<String>>,
}

impl ImageCell {
    pub fn new() -> Self {
        let empty = Arc::new(ClusterImage::default());
        Self {
            current: ArcSwap::new(Arc::clone(&empty)),
            sender: watch::Sender::new(empty),
            nudge: Notify::new(),
            trouble: Mutex::new(None),
        }
    }

    pub fn image(&self) -> Arc<ClusterImage> {
        self.current.load_full()
    }

    pub fn images(&self) -> watch::Receiver<Arc<ClusterImage>> {
        self.sender.subscribe()
    }

    /// Why the last full read failed.
    pub fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_trouble(&self, why: String) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(why);
    }

    fn publish(&self, image: Arc<ClusterImage>) {
        self.current.store(Arc::clone(&image));
        self.sender.send_replace(image);
    }

    /// Waits until the image has reached `revision`.
    ///
    /// # Errors
    /// [`MetadataError::NotYetVisible`] after `timeout`.
    pub async fn wait_for(&self, revision: i64, timeout: Duration) -> Result<(), MetadataError> {
        let mut images = self.images();
        let mut reached = std::pin::pin!(images.wait_for(|image| image.revision >= revision));
        if tokio::time::timeout(NUDGE_AFTER.min(timeout), &mut reached).await.is_ok() {
            return Ok(());
        }
        // Nothing of ours may have happened at that revision: then only the server's progress tells.
        self.nudge.notify_one();
        match tokio::time::timeout(timeout, &mut reached).await {
            Ok(_) => Ok(()),
            Err(_) => Err(MetadataError::NotYetVisible { revision, waited: timeout }),
        }
    }
}

/// Counters of the feed, for metrics.
#[derive(Debug, Default)]
pub(super) struct FeedCounters {
    pub images: AtomicU64,
    pub events: AtomicU64,
    pub events_ignored: AtomicU64,
    pub resyncs: AtomicU64,
    pub divergences: AtomicU64,
    pub unreadable: AtomicU64,
    pub stale_partitions: AtomicU64,
}

/// Keeps the image.
pub(super) struct Feed {
    pub connector: Connector,
    pub keys: Keys,
    pub cell: Arc<ImageCell>,
    pub session: Arc<Session>,
    pub counters: Arc<FeedCounters>,
    pub state_file: StateFile,
    pub closing: CancellationToken,
    pub resync_interval: Duration,
    pub accept_rollback: bool,
    /// How often in a row etcd looked like its own past.
    pub suspicions: u32,
    /// Trouble that was logged already.
    pub logged: BTreeSet<String>,
}

/// Why the feed stopped following.
enum End {
    /// The stream ended: open it again from where the image stands.
    Stream(String),
    /// The image cannot be continued: read everything again.
    Reload(&'static str),
    Closed,
}

/// A full read that is compared with the image once the watch has caught up with it.
struct Check {
    /// What the watch alone would have made.
    watched: ClusterImage,
    fresh: Arc<ClusterImage>,
}

impl Feed {
    /// Runs until closing. `ready` fires when the first image is there.
    pub async fn run(mut self, ready: oneshot::Sender<()>) {
        let mut ready = Some(ready);
        let closing = self.closing.clone();
        while !closing.is_cancelled() {
            let loaded = tokio::select! {
                biased;
                () = closing.cancelled() => return,
                loaded = self.reload() => loaded,
            };
            match loaded {
                Ok(()) => {
                    if let Some(ready) = ready.take() {
                        let _ = ready.send(());
                    }
                    self.follow_until_reload().await;
                }
                Err(why) => {
                    debug!(why, "the cluster's keys cannot be read");
                    self.cell.set_trouble(why);
                    tokio::time::sleep(RETRY).await;
                }
            }
        }
    }

    /// Reads everything and publishes it.
    async fn reload(&mut self) -> Result<(), String> {
        let fresh = self.read_all().await?;
        self.publish(fresh);
        Ok(())
    }

    async fn read_all(&mut self) -> Result<ClusterImage, String> {
        let known = self.cell.image().revision;
        let snapshot = load::load(&self.connector, &self.keys).await.map_err(|error| error.to_string())?;
        let believes = self.accept_rollback || seeded(Bug::E13Believes);
        if snapshot.revision < known && !believes {
            return Err(self.suspect(MetadataError::RolledBack { seen: known, now: snapshot.revision }));
        }
        let Applied { image, facts } = from_snapshot(&self.keys, &snapshot.entries, snapshot.revision);
        // An etcd that was restored and went on since has a revision as high as any: its epochs tell.
        if let Some((partition, seen, now)) = older_epoch(&self.cell.image(), &image)
            && !believes
        {
            return Err(self.suspect(MetadataError::EpochRolledBack { partition, seen, now }));
        }
        self.suspicions = 0;
        self.report(facts);
        debug!(keys = snapshot.entries.len(), pages = snapshot.pages, revision = snapshot.revision, "read");
        Ok(image)
    }

    /// Refuses this etcd if it looked like its own past too often.
    fn suspect(&mut self, error: MetadataError) -> String {
        let why = error.to_string();
        self.suspicions += 1;
        if self.suspicions >= SUSPICIONS_MAX {
            self.session.refuse(error);
        }
        why
    }

    async fn follow_until_reload(&mut self) {
        loop {
            match self.follow().await {
                End::Closed => return,
                End::Reload(why) => {
                    info!(why, "reading the cluster's keys again");
                    self.counters.resyncs.fetch_add(1, Ordering::Relaxed);
                    return;
                }
                End::Stream(why) => {
                    debug!(why, "watch ended");
                    // Elsewhere, if there are several endpoints; and with a new login.
                    self.connector.reset();
                    // The supervisor finds out sooner than its next renewal whether etcd is away.
                    self.session.wake.notify_one();
                    tokio::select! {
                        biased;
                        () = self.closing.cancelled() => return,
                        () = tokio::time::sleep(RETRY) => {}
                    }
                }
            }
        }
    }

    /// Watches from where the image stands until the stream ends.
    async fn follow(&mut self) -> End {
        let from = self.keys.prefix().as_bytes().to_vec();
        let to = prefix_end(&from);
        let start = self.cell.image().events_revision + 1;
        let closing = self.closing.clone();
        let opened = tokio::select! {
            biased;
            () = closing.cancelled() => return End::Closed,
            opened = self.connector.watch(from, to, start) => opened,
        };
        match opened {
            Ok(stream) => {
                let (requests, responses) = stream.split();
                self.consume(requests, Responses::new(responses, start)).await
            }
            Err(error) => ended(&error),
        }
    }

    async fn consume(&mut self, mut requests: WatchRequestSender, mut responses: Responses) -> End {
        let closing = self.closing.clone();
        let cell = Arc::clone(&self.cell);
        let mut resync = tokio::time::interval(self.resync_interval);
        let mut remember = tokio::time::interval(REMEMBER_INTERVAL);
        for timer in [&mut resync, &mut remember] {
            timer.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            timer.tick().await;
        }
        let mut check = None;
        loop {
            tokio::select! {
                biased;
                () = closing.cancelled() => {
                    self.remember().await;
                    return End::Closed;
                }
                batch = responses.next() => match batch {
                    Ok(Batch::Events { events, progress }) => self.advance(&events, progress, &mut check),
                    Ok(Batch::Compacted) => return End::Reload("the watch fell behind etcd's compaction"),
                    Ok(Batch::Behind) => return End::Reload("etcd is behind what this broker has seen"),
                    Err(why) => return End::Stream(why),
                },
                () = cell.nudge.notified() => {
                    if let Err(error) = requests.request_progress().await {
                        return End::Stream(error.to_string());
                    }
                }
                _ = resync.tick() => {
                    match self.read_all().await {
                        Ok(fresh) => {
                            self.counters.resyncs.fetch_add(1, Ordering::Relaxed);
                            let fresh = Arc::new(fresh);
                            let watched = self.cell.image().as_ref().clone();
                            check = Some(Check { watched, fresh: Arc::clone(&fresh) });
                            self.publish_shared(fresh);
                            if let Err(error) = requests.request_progress().await {
                                return End::Stream(error.to_string());
                            }
                        }
                        Err(why) => debug!(why, "the periodic comparison was skipped"),
                    }
                }
                _ = remember.tick() => self.remember().await,
            }
        }
    }

    /// One new image for one batch of events.
    fn advance(&mut self, events: &[KeyEvent], progress: i64, check: &mut Option<Check>) {
        self.compare(events, progress, check);
        let image = self.cell.image();
        if events.is_empty() && progress <= image.revision {
            return;
        }
        let Applied { image, facts } = apply(&self.keys, &image, events, progress);
        self.counters.events.fetch_add(events.len() as u64, Ordering::Relaxed);
        self.report(facts);
        self.publish(image);
    }

    /// Brings the watched image up to the full read's revision, then compares the two.
    fn compare(&mut self, events: &[KeyEvent], progress: i64, check: &mut Option<Check>) {
        let Some(Check { watched, fresh }) = check else { return };
        let until = fresh.revision;
        let behind: Vec<KeyEvent> =
            events.iter().filter(|event| event.mod_revision <= until).cloned().collect();
        *watched = apply(&self.keys, watched, &behind, 0).image;
        let caught_up = progress >= until || events.iter().any(|event| event.mod_revision > until);
        if caught_up {
            let found = differences(watched, fresh);
            if found > 0 {
                self.counters.divergences.fetch_add(found as u64, Ordering::Relaxed);
                warn!(
                    entries = found,
                    revision = until,
                    "the watch had missed changes; the full read cured it"
                );
            }
            *check = None;
        }
    }

    fn publish(&self, image: ClusterImage) {
        self.publish_shared(Arc::new(image));
    }

    fn publish_shared(&self, image: Arc<ClusterImage>) {
        self.counters.images.fetch_add(1, Ordering::Relaxed);
        self.cell.publish(Arc::clone(&image));
        self.session.observe(&image);
    }

    /// Counts what was met; logs each unreadable entry once.
    fn report(&mut self, facts: Vec<Fact>) {
        for fact in facts {
            match fact {
                Fact::AlreadyApplied { events } => {
                    self.counters.events_ignored.fetch_add(events as u64, Ordering::Relaxed);
                }
                Fact::StalePartition { topic, partition } => {
                    self.counters.stale_partitions.fetch_add(1, Ordering::Relaxed);
                    debug!(%topic, partition, "older partition state ignored");
                }
                Fact::AlienKey(error) => self.unreadable(&error.to_string()),
                Fact::UnreadableValue { key, mod_revision, error } => {
                    self.unreadable(&format!("{key:?} at revision {mod_revision}: {error}"));
                }
                Fact::OrphanPartition { topic, partition } => {
                    self.unreadable(&format!(
                        "record of partition {partition} of topic {topic}, which has none"
                    ));
                }
            }
        }
    }

    fn unreadable(&mut self, what: &str) {
        self.counters.unreadable.fetch_add(1, Ordering::Relaxed);
        if self.logged.len() >= LOGGED_MAX {
            self.logged.clear();
        }
        if self.logged.insert(what.to_owned()) {
            warn!(what, "entry in etcd skipped");
        }
    }

    /// Keeps the cluster's id and the highest revision seen (rule E13).
    async fn remember(&self) {
        let image = self.cell.image();
        let known = self.state_file.state();
        if known.highest_revision >= image.revision && known.cluster_id.as_deref() == Some(&*image.cluster_id)
        {
            return;
        }
        let file = self.state_file.clone();
        let written = tokio::task::spawn_blocking(move || {
            file.update(|state| {
                state.highest_revision = state.highest_revision.max(image.revision);
                state.producer_ids_end = state.producer_ids_end.max(image.producer_ids_next);
                if !image.cluster_id.is_empty() {
                    state.cluster_id = Some(image.cluster_id.to_string());
                }
            })
        });
        if let Ok(Err(error)) = written.await {
            warn!(%error, "session state is not written");
        }
    }
}

fn ended(error: &CallError) -> End {
    if error.is_compacted() {
        End::Reload("the revision to watch from is compacted")
    } else {
        End::Stream(error.to_string())
    }
}
