//! The cleaner's threads: they pick the log that needs it most, clean it, and pause when there is none (Kafka's `LogCleaner`).

use std::collections::{HashMap, HashSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use arc_swap::ArcSwap;

use crate::config::{CleanerConfig, TopicConfig};
use crate::log::directories::Shared;
use crate::log::handle::Log;
use crate::log::names::SegmentFile;
use crate::log::offsets::Kind;
use crate::log::segment::Segment;
use crate::log::slot::State;
use crate::log::storage::lock;
use crate::protocol::batch::{BATCH_HEADER_BYTES, BatchHeader};
use crate::telemetry::cleaner as metrics;
use crate::types::{Millis, TopicId, TopicPartition};

use super::Stopped;
use super::choose::{self, Fact, Facts, Verdict};
use super::run::{self, Cleaned};
use super::throttle::Throttle;

/// How often a cleaner that waits for a log's slot looks whether the broker stops.
const LOOK: Duration = Duration::from_millis(20);
/// A log that could not be cleaned for want of space, say, is tried again after this time at the earliest.
const RETRY_MS: Millis = 15_000;

/// The cleaner of a broker.
#[derive(Debug)]
pub struct Cleaner {
    control: Arc<Control>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

/// What the threads share.
#[derive(Debug)]
pub struct Control {
    config: ArcSwap<CleanerConfig>,
    stopped: AtomicBool,
    /// Whoever pauses waits here; the flag says that the configuration changed.
    gate: Mutex<bool>,
    wake: Condvar,
    throttle: Mutex<Throttle>,
    /// Logs that a thread has. Bound: threads.
    busy: Mutex<HashSet<TopicPartition>>,
    /// Logs that cannot be cleaned. Bound: logs that exist.
    uncleanable: Mutex<HashSet<(TopicPartition, TopicId)>>,
    /// Logs whose disk was full, say, and when to try again. Bound: logs that exist.
    postponed: Mutex<HashMap<TopicPartition, Millis>>,
    /// What was found of logs that were closed since. Bound: logs that exist.
    looked: Mutex<HashMap<TopicPartition, Looked>>,
}

/// What a verdict of a closed log stands on: as long as this is so, opening the log would find the same.
#[derive(Debug, Clone)]
struct Looked {
    topic: Arc<TopicConfig>,
    first_dirty: i64,
    active_base: i64,
    stable_end: i64,
    verdict: Verdict,
}

impl Cleaner {
    /// A cleaner that does nothing yet.
    pub fn new(config: CleanerConfig) -> Self {
        Self {
            control: Arc::new(Control {
                config: ArcSwap::from_pointee(config),
                stopped: AtomicBool::new(false),
                gate: Mutex::new(false),
                wake: Condvar::new(),
                throttle: Mutex::new(Throttle::default()),
                busy: Mutex::new(HashSet::new()),
                uncleanable: Mutex::new(HashSet::new()),
                postponed: Mutex::new(HashMap::new()),
                looked: Mutex::new(HashMap::new()),
            }),
            threads: Mutex::new(Vec::new()),
        }
    }

    /// Takes over `config` and has as many threads as it says.
    pub fn configure(&self, shared: &Arc<Shared>, config: CleanerConfig) {
        self.control.config.store(Arc::new(config));
        self.control.ring();
        self.start(shared);
    }

    /// Starts the threads that should run and do not.
    pub fn start(&self, shared: &Arc<Shared>) {
        let wanted = self.control.config.load().running_threads();
        let mut threads = lock(&self.threads);
        for number in 0..wanted {
            if self.control.is_stopped() || threads.get(number).is_some_and(|thread| !thread.is_finished()) {
                continue;
            }
            let (weak, control) = (Arc::downgrade(shared), Arc::clone(&self.control));
            let started = std::thread::Builder::new()
                .name(format!("cleaner-{number}"))
                .spawn(move || control.serve(number, &weak));
            match (started, threads.get_mut(number)) {
                (Ok(thread), Some(place)) => *place = thread,
                (Ok(thread), None) => threads.push(thread),
                (Err(error), _) => {
                    tracing::error!(%error, "a thread of the log cleaner cannot be started");
                    return;
                }
            }
        }
    }

    /// Has a running cleaning give up, and none begin any more.
    pub fn tell_to_stop(&self) {
        self.control.stopped.store(true, Ordering::Release);
        self.control.ring();
    }

    /// Waits for the end of the threads.
    pub fn stop(&self) {
        self.tell_to_stop();
        let here = std::thread::current().id();
        for thread in std::mem::take(&mut *lock(&self.threads)) {
            // The last handle of the directories may go on one of these threads.
            if thread.thread().id() != here {
                // A panic there was logged; there is nothing to add.
                let _ = thread.join();
            }
        }
    }

    /// Whether a log is being cleaned.
    #[cfg(test)]
    pub fn is_busy(&self) -> bool {
        !lock(&self.control.busy).is_empty()
    }

    /// See [`crate::log::LogDirs::clean_dirtiest`].
    pub fn clean_dirtiest(&self, shared: &Arc<Shared>) -> Result<Option<Cleaned>, String> {
        match self.control.next(shared) {
            Some(job) => self.control.clean(&job).map(Some),
            None => Ok(None),
        }
    }
}

/// A log that is to be cleaned. While it lives no other thread takes the log.
struct Job {
    log: Arc<Log>,
    verdict: Verdict,
    control: Arc<Control>,
}

impl Drop for Job {
    fn drop(&mut self) {
        lock(&self.control.busy).remove(self.log.partition());
    }
}

impl Control {
    /// Whether everything must end.
    pub fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Runs `work` with the log's slot in hand and waits for it, but not when the broker stops: then nobody hears the answer.
    pub fn with_log<T: Send + 'static>(
        &self,
        log: &Arc<Log>,
        work: impl FnOnce(&Arc<Log>, &mut State) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let (sender, receiver) = mpsc::sync_channel(1);
        log.enqueue(Box::new(move |log, state| {
            // The cleaner may have gone.
            let _ = sender.send(work(log, state));
        }));
        loop {
            match receiver.recv_timeout(LOOK) {
                Ok(answer) => return Ok(answer),
                Err(RecvTimeoutError::Disconnected) => return Err(Stopped::Aborted),
                Err(RecvTimeoutError::Timeout) if self.is_stopped() => return Err(Stopped::Aborted),
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
    }

    /// Says that `bytes` were moved, and waits as long as the configured rate asks for.
    pub fn wait_for_turn(&self, bytes: usize, now: Duration) {
        let rate = self.config.load().io_max_bytes_per_second;
        let pause = lock(&self.throttle).moved(bytes, rate, now);
        if !pause.is_zero() {
            self.pause(pause);
        }
    }

    /// Waits for `time`, or until something changes.
    fn pause(&self, time: Duration) {
        let gate = lock(&self.gate);
        let is_quiet = |changed: &mut bool| !*changed && !self.is_stopped();
        let waited = self.wake.wait_timeout_while(gate, time, is_quiet);
        *waited.unwrap_or_else(PoisonError::into_inner).0 = false;
    }

    fn ring(&self) {
        *lock(&self.gate) = true;
        self.wake.notify_all();
    }

    fn serve(self: Arc<Self>, number: usize, shared: &Weak<Shared>) {
        while !self.is_stopped() && number < self.config.load().running_threads() {
            // The directories are let go before the work: they may be closed meanwhile.
            let Some(job) = shared.upgrade().map(|shared| self.next(&shared)) else { return };
            match job {
                Some(job) => {
                    // What failed was told; the next log has its turn.
                    drop(self.clean(&job));
                }
                None => {
                    let backoff = self.config.load().backoff_ms;
                    self.pause(Duration::from_millis(u64::try_from(backoff).unwrap_or_default().max(1)));
                }
            }
        }
    }

    /// The log that needs cleaning most (`grabFilthiestCompactedLog`).
    fn next(self: &Arc<Self>, shared: &Arc<Shared>) -> Option<Job> {
        let logs: Vec<Arc<Log>> = lock(&shared.logs).values().cloned().collect();
        self.forget_deleted(&logs);
        let now = shared.clock.now_ms();
        let mut ratio_max = 0.0f64;
        let mut best: Option<(Arc<Log>, Verdict)> = None;
        for log in logs {
            if self.is_stopped() {
                return None;
            }
            if !log.config_ref().cleanup_compact || !self.may_clean(&log, now) {
                continue;
            }
            let Some(verdict) = self.verdict(&log, now) else { continue };
            ratio_max = ratio_max.max(verdict.ratio());
            let is_better = best.as_ref().is_none_or(|(_, best)| verdict.ratio() > best.ratio());
            if verdict.is_due(&log.config_ref()) && is_better {
                best = Some((log, verdict));
            }
        }
        metrics::looked(ratio_max, lock(&self.uncleanable).len());
        let (log, verdict) = best?;
        let is_mine = lock(&self.busy).insert(log.partition().clone());
        is_mine.then(|| Job { log, verdict, control: Arc::clone(self) })
    }

    fn forget_deleted(&self, logs: &[Arc<Log>]) {
        let mut uncleanable = lock(&self.uncleanable);
        let mut looked = lock(&self.looked);
        let mut postponed = lock(&self.postponed);
        if uncleanable.is_empty() && looked.is_empty() && postponed.is_empty() {
            return;
        }
        let known: HashMap<_, _> = logs.iter().map(|log| (log.partition(), log.topic_id())).collect();
        uncleanable.retain(|(partition, id)| known.get(partition) == Some(id));
        looked.retain(|partition, _| known.contains_key(partition));
        postponed.retain(|partition, _| known.contains_key(partition));
    }

    fn may_clean(&self, log: &Log, now: Millis) -> bool {
        log.is_recovered()
            && log.home.check().is_ok()
            && lock(&self.postponed).get(log.partition()).is_none_or(|until| now >= *until)
            && !lock(&self.busy).contains(log.partition())
            && !lock(&self.uncleanable).contains(&(log.partition().clone(), log.topic_id()))
    }

    /// What is to be said of a log. Opens a closed one only if that could give another answer than the last time.
    fn verdict(&self, log: &Arc<Log>, now: Millis) -> Option<Verdict> {
        let topic = log.config();
        let (log_start, log_end) = (log.log_start_offset().get(), log.log_end_offset().get());
        let stable_end = log.last_stable_offset().get();
        let checkpoint = lock(&log.home.checkpoints).find(Kind::Cleaner, log.partition());
        let (first_dirty, _) = choose::first_dirty(checkpoint, log_start, log_end);
        let active_base = log.active_base()?;
        if active_base <= first_dirty || stable_end <= first_dirty {
            return None;
        }
        if !log.is_open() {
            let looked = lock(&self.looked).get(log.partition()).cloned();
            let holds = looked.filter(|looked| {
                Arc::ptr_eq(&looked.topic, &topic)
                    && (looked.first_dirty, looked.active_base, looked.stable_end)
                        == (first_dirty, active_base, stable_end)
                    && now <= looked.verdict.holds_until
                    && !looked.verdict.is_due(&topic)
            });
            if let Some(looked) = holds {
                return Some(looked.verdict);
            }
            self.with_log(log, |log, state| log.writer(state).map(drop)).ok()?.ok()?;
        }
        let segments: Vec<Fact> =
            log.segments()?.iter().map(|segment| fact(log, segment, first_dirty, &topic)).collect();
        let facts = Facts { segments: &segments, log_start, log_end, stable_end, checkpoint };
        let verdict = Verdict::of(facts, &topic, now);
        if verdict.resets_checkpoint {
            if !topic.cleanup_delete || checkpoint > Some(log_end) {
                tracing::warn!(partition = %log.partition(), ?checkpoint, first_dirty, "the cleaner's checkpoint is not within the log");
            }
            let stored = log.home.store(Kind::Cleaner, |offsets| {
                offsets.insert(log.partition().clone(), first_dirty);
            });
            stored.ok()?;
        }
        let looked = Looked { topic, first_dirty, active_base, stable_end, verdict };
        lock(&self.looked).insert(log.partition().clone(), looked);
        Some(verdict)
    }

    fn clean(&self, job: &Job) -> Result<Cleaned, String> {
        let Job { log, verdict, .. } = job;
        let config = self.config.load_full();
        tracing::debug!(partition = %log.partition(), first_dirty = verdict.first_dirty, to = verdict.first_uncleanable, ratio = verdict.ratio(), "cleaning");
        let result = catch_unwind(AssertUnwindSafe(|| run::clean(log, verdict, &config, self)));
        let stopped = match result {
            Ok(Ok(cleaned)) => {
                let Cleaned { keys, bytes_read, bytes_written, end_offset, elapsed, .. } = &cleaned;
                metrics::cleaned(*bytes_read, *bytes_written, *elapsed);
                tracing::info!(partition = %log.partition(), end_offset, keys, bytes_read, bytes_written, ?elapsed, "log cleaned");
                return Ok(cleaned);
            }
            Ok(Err(stopped)) => stopped,
            Err(_) => Stopped::Bad { segment: 0, position: 0, reason: "the cleaner panicked".to_owned() },
        };
        match &stopped {
            Stopped::Aborted => metrics::aborted(),
            Stopped::Bad { .. } => {
                lock(&self.uncleanable).insert((log.partition().clone(), log.topic_id()));
                metrics::failed();
                tracing::error!(partition = %log.partition(), error = %stopped, "log cannot be cleaned and is left alone until a restart");
            }
            Stopped::Unusable(_) => {
                metrics::failed();
                tracing::warn!(partition = %log.partition(), error = %stopped, "log was not cleaned; it is tried again");
                let until = log.home.clock.now_ms().saturating_add(config.backoff_ms.max(RETRY_MS));
                lock(&self.postponed).insert(log.partition().clone(), until);
            }
        }
        Err(stopped.to_string())
    }
}

/// What the choice needs to know of a segment: files are read only where the configuration asks for ages.
fn fact(log: &Log, segment: &Arc<Segment>, first_dirty: i64, topic: &TopicConfig) -> Fact {
    let is_dirty = segment.end_offset() > first_dirty && segment.size_bytes() > 0;
    let asks_young = is_dirty && topic.min_compaction_lag_ms > 0;
    let asks_old = is_dirty && topic.max_compaction_lag_ms < Millis::MAX;
    Fact {
        base_offset: segment.base_offset(),
        size_bytes: u64::from(segment.size_bytes()),
        largest_timestamp: if asks_young { log.largest_timestamp_of(segment) } else { -1 },
        first_timestamp: if asks_old { first_timestamp(log, segment).unwrap_or(-1) } else { -1 },
    }
}

/// The largest timestamp of a segment's first batch.
fn first_timestamp(log: &Log, segment: &Segment) -> Option<Millis> {
    let path = SegmentFile::Log.path(&log.directory(), segment.base_offset());
    let mut head = [0; BATCH_HEADER_BYTES];
    log.home.volume.open_file(&path).and_then(|file| file.read_exact_at(&mut head, 0)).ok()?;
    BatchHeader::parse(&head).ok().map(|header| header.max_timestamp)
}
