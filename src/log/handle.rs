//! The handle of one log: what others see of it.
//!
//! A log is *closed* (no file, no map, a few hundred bytes) or *open*, with a writer in its [`slot`](super::slot).

use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::config::TopicConfig;
use crate::types::{LeaderEpoch, Millis, Offset, TopicId, TopicPartition};

use super::ends::LogEnd;
use super::epochs::Epochs;
use super::error::Unusable;
use super::home::Home;
use super::producers::ProducerEntry;
use super::segment::Segment;
use super::slot::{Closed, Slot, State};
use super::step::Step;
use super::storage::lock;
use super::sync::SyncQueue;
use super::writer::offset;

/// One partition's log. Cheap while idle; shared by everybody who reads or writes the partition.
#[derive(Debug)]
pub struct Log {
    pub(super) home: Arc<Home>,
    partition: TopicPartition,
    topic_id: TopicId,
    config: ArcSwap<TopicConfig>,
    log_start: AtomicI64,
    log_end: AtomicI64,
    high_watermark: AtomicI64,
    pub(super) recovery_point: AtomicI64,
    pub(super) size_bytes: AtomicU64,
    /// Largest timestamp of the first segment when the log was last looked at by retention or closed, [`Millis::MIN`] if it never was.
    pub(super) first_largest_timestamp: AtomicI64,
    /// Seconds of [`crate::types::Clock::elapsed`] when the log was last used.
    last_used_s: AtomicU64,
    /// Whether the offsets above are known: false from an unclean start until the log was recovered.
    recovered: AtomicBool,
    epochs: Mutex<Epochs>,
    /// The newest epoch in `epochs`, -1 if there is none.
    latest_epoch: AtomicI32,
    /// Whether `leader-epoch-checkpoint` is behind.
    pub(super) epochs_dirty: AtomicBool,
    /// Whether the partition's directory has names that are not synced.
    pub(super) directory_dirty: AtomicBool,
    segments: ArcSwapOption<Vec<Arc<Segment>>>,
    pub(super) slot: Mutex<Slot>,
    pub(super) sync: Mutex<SyncQueue>,
    /// Held while files are synced and while the log is cut, so that a sync never vouches for what was cut.
    pub(super) syncing: Mutex<()>,
    /// Written while files of segments change their names under others, read while one is opened by its name.
    pub(super) swapping: RwLock<()>,
    /// Bytes appended with `ketcd.flush=ack` whose sync is still to come.
    untold_bytes: AtomicUsize,
    /// Told of every append; see [`Log::on_append`].
    appended: OnceLock<Appended>,
}

/// Told the log's new end offset and how many bytes were appended.
struct Appended(Box<dyn Fn(Offset, usize) + Send + Sync>);

impl std::fmt::Debug for Appended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Appended")
    }
}

impl Log {
    pub(super) fn new(
        home: Arc<Home>,
        partition: TopicPartition,
        topic_id: TopicId,
        config: Arc<TopicConfig>,
        known: Known,
    ) -> Arc<Self> {
        let recovered = !matches!(known.closed, Closed::Unclean);
        Arc::new(Self {
            last_used_s: AtomicU64::new(home.clock.elapsed().as_secs()),
            home,
            partition,
            topic_id,
            config: ArcSwap::new(config),
            log_start: AtomicI64::new(known.log_start),
            log_end: AtomicI64::new(known.log_end),
            high_watermark: AtomicI64::new(known.high_watermark),
            recovery_point: AtomicI64::new(known.recovery_point),
            size_bytes: AtomicU64::new(known.size_bytes),
            first_largest_timestamp: AtomicI64::new(known.first_largest_timestamp),
            recovered: AtomicBool::new(recovered),
            latest_epoch: AtomicI32::new(known.epochs.latest().unwrap_or(-1)),
            epochs: Mutex::new(known.epochs),
            epochs_dirty: AtomicBool::new(false),
            directory_dirty: AtomicBool::new(false),
            segments: ArcSwapOption::empty(),
            slot: Mutex::new(Slot::new(known.closed)),
            sync: Mutex::new(SyncQueue::default()),
            syncing: Mutex::new(()),
            swapping: RwLock::new(()),
            untold_bytes: AtomicUsize::new(0),
            appended: OnceLock::new(),
        })
    }

    /// The partition whose log this is.
    #[must_use]
    pub const fn partition(&self) -> &TopicPartition {
        &self.partition
    }

    /// The topic's id.
    #[must_use]
    pub const fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// The id of the log directory that the log is in.
    #[must_use]
    pub fn directory_id(&self) -> uuid::Uuid {
        self.home.directory_id
    }

    /// Offset of the first record that may be read. Grows by retention and DeleteRecords.
    #[must_use]
    pub fn log_start_offset(&self) -> Offset {
        offset(self.log_start.load(Ordering::Acquire))
    }

    /// Offset that the next record gets. Before [`Log::ready`] has answered once, only a lower bound.
    #[must_use]
    pub fn log_end_offset(&self) -> Offset {
        offset(self.log_end.load(Ordering::Acquire))
    }

    /// End of the records that are committed, as last told by [`Log::update_high_watermark`].
    #[must_use]
    pub fn high_watermark(&self) -> Offset {
        offset(self.high_watermark.load(Ordering::Acquire))
    }

    /// Moves the high watermark, into the log's bounds. Whether it may move is the caller's knowledge (rule L3). Returns where it
    /// is now.
    pub fn update_high_watermark(&self, to: Offset) -> Offset {
        let least = self.log_start.load(Ordering::Acquire);
        let most = self.log_end.load(Ordering::Acquire);
        let to = to.get().min(most).max(least);
        self.high_watermark.store(to, Ordering::Release);
        offset(to)
    }

    /// End of what `read_committed` consumers may read. The high watermark: there are no transactions yet.
    #[must_use]
    pub fn last_stable_offset(&self) -> Offset {
        self.high_watermark()
    }

    /// Everything below is synced.
    #[must_use]
    pub fn recovery_point(&self) -> Offset {
        offset(self.recovery_point.load(Ordering::Acquire))
    }

    /// Bytes of all segments, without what is only preallocated.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes.load(Ordering::Relaxed)
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<TopicConfig> {
        self.config.load_full()
    }

    /// Changes the configuration; holds from the next operation on.
    pub fn update_config(&self, config: Arc<TopicConfig>) {
        self.config.store(config);
    }

    /// Whether the log's offsets are known: always, but for an unclean start that was not recovered yet.
    #[must_use]
    pub fn is_recovered(&self) -> bool {
        self.recovered.load(Ordering::Acquire)
    }

    /// Waits until the log's offsets are known, recovering it if the last run did not end in order (rule B3). After a clean start
    /// it is ready at once and touches no file.
    pub fn ready(self: &Arc<Self>) -> Step<Result<(), Unusable>> {
        if let Err(error) = self.home.check() {
            return Step::Ready(Err(error));
        }
        if self.is_recovered() {
            return Step::Ready(Ok(()));
        }
        self.settled()
    }

    /// Waits until all that was asked of the log before is done, recovering it first if need be: nothing of an earlier role is under
    /// way any more. With `ketcd.flush=ack` all of it is synced then: a role begins with what counts (rule S5).
    pub fn settled(self: &Arc<Self>) -> Step<Result<(), Unusable>> {
        let settled = self.submit(|log, state| log.writer(state).map(drop), Err);
        if !self.config_ref().flush_ack {
            return settled;
        }
        let log = Arc::clone(self);
        Step::Pending(Box::pin(async move {
            settled.wait().await?;
            log.flush().wait().await
        }))
    }

    /// The newest leader epoch that the log has seen.
    #[must_use]
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        let latest = self.latest_epoch.load(Ordering::Acquire);
        (latest >= 0).then_some(LeaderEpoch(latest))
    }

    /// Says that this broker leads in `epoch` from the log's end on (rule L1). Call before the first append of the epoch.
    /// An epoch that is not newer than the latest changes nothing. Touches no file: the checkpoint
    /// follows with the next sync, and what is lost before comes back from the batches.
    pub fn begin_epoch(&self, epoch: LeaderEpoch) {
        self.assign_epoch(epoch, self.log_end.load(Ordering::Acquire));
    }

    pub(super) fn assign_epoch(&self, epoch: LeaderEpoch, start_offset: i64) {
        self.change_epochs(|epochs| epochs.assign(epoch.get(), start_offset));
    }

    /// Changes the epochs; `change` says whether it did.
    pub(super) fn change_epochs(&self, change: impl FnOnce(&mut Epochs) -> bool) {
        let mut epochs = lock(&self.epochs);
        if change(&mut epochs) {
            self.latest_epoch.store(epochs.latest().unwrap_or(-1), Ordering::Release);
            self.epochs_dirty.store(true, Ordering::Release);
        }
    }

    /// The end of `epoch` in this log (`OffsetForLeaderEpoch`): the largest epoch not above it, and the offset where the next one
    /// begins. `None` if the epoch is newer than all that the log knows, or it knows none.
    #[must_use]
    pub fn end_offset_for_epoch(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        lock(&self.epochs).end_offset_for(epoch, self.log_end_offset())
    }

    /// The leader epoch of the record at `offset`.
    #[must_use]
    pub fn epoch_of(&self, offset: Offset) -> Option<LeaderEpoch> {
        lock(&self.epochs).epoch_of(offset.get()).map(LeaderEpoch)
    }

    /// The idempotent producers that the log remembers, by id.
    pub fn producers(self: &Arc<Self>) -> Step<Result<Vec<ProducerEntry>, Unusable>> {
        if let State::Open(writer) = &lock(&self.slot).state {
            return Step::Ready(Ok(writer.producers.describe()));
        }
        self.submit(|log, state| log.writer(state).map(|writer| writer.producers.describe()), Err)
    }

    /// All epochs and their start offsets, for checkpoints.
    pub(super) fn epoch_entries(&self) -> Vec<(i32, i64)> {
        lock(&self.epochs).entries().to_vec()
    }

    /// Name of the partition's directory, relative to the volume.
    pub(super) fn directory(&self) -> String {
        self.partition.to_string()
    }

    pub(super) fn config_ref(&self) -> arc_swap::Guard<Arc<TopicConfig>> {
        self.config.load()
    }

    /// The segments in order, the active one last; `None` while the log is closed.
    pub(super) fn segments(&self) -> Option<Arc<Vec<Arc<Segment>>>> {
        self.segments.load_full()
    }

    pub(super) fn segments_ref(&self) -> arc_swap::Guard<Option<Arc<Vec<Arc<Segment>>>>> {
        self.segments.load()
    }

    pub(super) fn set_segments(&self, segments: Option<Vec<Arc<Segment>>>) {
        self.segments.store(segments.map(Arc::new));
    }

    pub(super) fn push_segment(&self, segment: Arc<Segment>) {
        let mut segments: Vec<_> = self.segments().map(|all| all.as_ref().clone()).unwrap_or_default();
        segments.push(segment);
        self.set_segments(Some(segments));
    }

    /// Has `told` called after every append, in the order of the appends and before its answer, under the log's lock: it must be
    /// short and must not call back into appends. Only the first caller is heard. With `ketcd.flush=ack` it is called after the sync
    /// that covers the append, once for all that it covers: what is not synced does not count (rule S5).
    pub fn on_append(&self, told: impl Fn(Offset, usize) + Send + Sync + 'static) {
        let _ = self.appended.set(Appended(Box::new(told)));
    }

    pub(super) fn publish_end(&self, end_offset: i64, size_bytes: usize, config: &TopicConfig) {
        self.log_end.store(end_offset, Ordering::Release);
        if config.flush_ack {
            self.untold_bytes.fetch_add(size_bytes, Ordering::AcqRel);
            return;
        }
        if let Some(told) = self.appended.get() {
            (told.0)(offset(end_offset), size_bytes);
        }
    }

    /// Bytes of appends that wait for their sync to be told of, which the caller will do. Take them before the log's end: then all
    /// of them lie before it.
    pub(super) fn take_untold(&self) -> usize {
        self.untold_bytes.swap(0, Ordering::AcqRel)
    }

    /// Tells of appends that waited for the sync of everything before `end`.
    pub(super) fn publish_synced(&self, end: Offset, size_bytes: usize) {
        if size_bytes > 0
            && let Some(told) = self.appended.get()
        {
            (told.0)(end.max(self.high_watermark()), size_bytes);
        }
    }

    pub(super) fn set_log_start(&self, start_offset: i64) {
        self.log_start.fetch_max(start_offset, Ordering::AcqRel);
        self.high_watermark.fetch_max(start_offset, Ordering::AcqRel);
    }

    /// Takes over the offsets of a log that was just opened or cut.
    pub(super) fn set_offsets(&self, start: i64, end: i64, recovery_point: i64) {
        self.log_start.store(start, Ordering::Release);
        self.log_end.store(end, Ordering::Release);
        self.recovery_point.store(recovery_point, Ordering::Release);
        let high_watermark = self.high_watermark.load(Ordering::Acquire);
        self.high_watermark.store(high_watermark.max(start).min(end), Ordering::Release);
        self.recovered.store(true, Ordering::Release);
    }

    pub(super) fn touch(&self) {
        let now = self.home.clock.elapsed().as_secs();
        if self.last_used_s.load(Ordering::Relaxed) != now {
            self.last_used_s.store(now, Ordering::Relaxed);
        }
    }

    pub(super) fn last_used_s(&self) -> u64 {
        self.last_used_s.load(Ordering::Relaxed)
    }

    /// Whether files of the log are open.
    pub(super) fn is_open(&self) -> bool {
        self.segments.load().is_some()
    }
}

/// What is known of a log before its files are opened.
#[derive(Debug)]
pub(super) struct Known {
    pub closed: Closed,
    pub log_start: i64,
    pub log_end: i64,
    pub high_watermark: i64,
    pub recovery_point: i64,
    pub size_bytes: u64,
    pub first_largest_timestamp: Millis,
    pub epochs: Epochs,
}

impl Known {
    /// Of a log that never was.
    pub fn new_log() -> Self {
        Self {
            closed: Closed::New,
            log_start: 0,
            log_end: 0,
            high_watermark: 0,
            recovery_point: 0,
            size_bytes: 0,
            first_largest_timestamp: Millis::MIN,
            epochs: Epochs::default(),
        }
    }

    /// Of a log that was closed in order.
    pub fn clean(end: LogEnd) -> Self {
        Self {
            closed: Closed::Clean { active_base: end.active_base, active_position: end.active_position },
            log_start: end.log_start,
            log_end: end.log_end,
            high_watermark: end.high_watermark,
            recovery_point: end.log_end,
            size_bytes: end.size_bytes,
            first_largest_timestamp: end.first_largest_timestamp,
            epochs: Epochs::new(end.epochs),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_handle_of_an_idle_log_is_a_few_hundred_bytes() {
        assert!(size_of::<Log>() <= 512, "{}", size_of::<Log>());
    }
}
