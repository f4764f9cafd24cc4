//! One partition of `__consumer_offsets` that this broker leads, in one leader epoch.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tracing::{error, info};

use super::active::{Active, Reply, Target, Work};
use super::alarm::NEVER;
use super::batches::{self, Replayed};
use super::log::{CoordinatorLog, LogRefused};
use super::shared::Shared;
use crate::coordinator::group::command::Command;
use crate::coordinator::group::settings::GroupSettings;
use crate::coordinator::group::shard::GroupShard;
use crate::coordinator::group::turn::{Now, Turn};
use crate::log::Step;
use crate::metadata::image::ClusterImage;
use crate::protocol::error::ErrorCode;
use crate::types::{LeaderEpoch, Millis, Offset, TopicId};

/// Pause before a shard is loaded again that was dropped or could not be loaded.
const RELOAD_AFTER: Duration = Duration::from_secs(1);

/// One led partition. What an older epoch had is another value of this type, which is [`State::Gone`].
pub(super) struct LedShard {
    pub index: i32,
    pub topic: TopicId,
    pub epoch: LeaderEpoch,
    log: Arc<dyn CoordinatorLog>,
    shared: Arc<Shared>,
    /// The next deadline of the core, [`NEVER`] if there is none.
    deadline: AtomicI64,
    state: Mutex<State>,
}

enum State {
    /// Being replayed, for the `n`th time.
    Loading(u64),
    Active(Box<Active>),
    /// Not led any more.
    Gone,
}

impl State {
    fn is_loading(&self, attempt: u64) -> bool {
        matches!(self, Self::Loading(now) if *now == attempt)
    }

    /// Why no question can be asked.
    const fn refusal(&self) -> ErrorCode {
        match self {
            Self::Loading(_) => ErrorCode::CoordinatorLoadInProgress,
            Self::Active(_) | Self::Gone => ErrorCode::NotCoordinator,
        }
    }
}

impl LedShard {
    /// Begins to load. At once if the log is empty.
    pub fn begin(
        index: i32,
        topic: TopicId,
        epoch: LeaderEpoch,
        log: Arc<dyn CoordinatorLog>,
        shared: Arc<Shared>,
    ) -> Arc<Self> {
        let deadline = AtomicI64::new(NEVER);
        let shard = Self { index, topic, epoch, log, shared, deadline, state: Mutex::new(State::Loading(0)) };
        let shard = Arc::new(shard);
        shard.load(0);
        shard
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic of the core is caught; one of this file leaves a state that is as good as before.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn target(&self) -> Target<'_> {
        Target { log: self.log.as_ref(), epoch: self.epoch, now: self.shared.clock.elapsed() }
    }

    /// The next deadline.
    pub fn deadline(&self) -> Millis {
        self.deadline.load(Ordering::SeqCst)
    }

    /// Asks the core; the answer comes by the receiver.
    ///
    /// # Errors
    /// COORDINATOR_LOAD_IN_PROGRESS, NOT_COORDINATOR.
    pub fn ask(self: &Arc<Self>, command: Command) -> Result<oneshot::Receiver<Reply>, ErrorCode> {
        let ticket = self.shared.next_ticket();
        let (sender, receiver) = oneshot::channel();
        let mut state = self.lock();
        match &mut *state {
            State::Active(active) if !self.shared.is_stopping() => active.wait(ticket, sender),
            state => return Err(state.refusal()),
        }
        self.turn(state, |core, now, settings, image| core.step(now, settings, image, ticket, command));
        Ok(receiver)
    }

    /// Acts on deadlines that are due.
    pub fn tick(self: &Arc<Self>) {
        let state = self.lock();
        self.turn(state, GroupShard::tick);
    }

    /// The image changed.
    pub fn image_changed(self: &Arc<Self>) {
        let state = self.lock();
        self.turn(state, GroupShard::image_changed);
    }

    /// Lets `look` see the core, if it is loaded.
    pub fn look<T>(&self, look: impl FnOnce(&GroupShard) -> T) -> Option<T> {
        match &*self.lock() {
            State::Active(active) => Some(look(&active.core)),
            State::Loading(_) | State::Gone => None,
        }
    }

    /// The largest batch that its log takes.
    pub fn batch_bytes_max(&self) -> usize {
        self.log.batch_bytes_max()
    }

    /// Ends the waits for other members: the broker stops. What is on its way to the log is still answered.
    pub fn end_parked(&self) {
        if let State::Active(active) = &mut *self.lock() {
            active.end_parked(ErrorCode::NotCoordinator);
        }
    }

    /// This broker does not lead the partition in this epoch any more: everything is dropped (rule G2).
    pub fn resign(&self) {
        let before = std::mem::replace(&mut *self.lock(), State::Gone);
        self.deadline.store(NEVER, Ordering::SeqCst);
        if let State::Active(active) = before {
            active.end(ErrorCode::NotCoordinator);
        }
    }

    /// Takes a turn of an active core, with its lock held from the step to the append.
    fn turn(
        self: &Arc<Self>,
        mut state: MutexGuard<'_, State>,
        step: impl FnOnce(&mut GroupShard, Now, &GroupSettings, &ClusterImage) -> Turn,
    ) {
        let State::Active(active) = &mut *state else { return };
        let now = self.shared.now();
        let settings = self.shared.settings.load();
        let image = self.shared.image.load();
        let turn = catch_unwind(AssertUnwindSafe(|| step(&mut active.core, now, &settings, &image)));
        let done = turn
            .map_err(|_| LogRefused::Panicked)
            .and_then(|turn| active.take(turn, &self.target(), self.shared.codec, now.wall_ms));
        self.after(state, done);
    }

    /// Drops a state that the log does not have; else sees to timers and to what is still to be waited for.
    fn after(self: &Arc<Self>, mut state: MutexGuard<'_, State>, done: Result<(), LogRefused>) {
        let State::Active(active) = &mut *state else { return };
        if let Err(refused) = done {
            self.drop_state(state, &refused);
            return;
        }
        let deadline = active.core.next_deadline().unwrap_or(NEVER);
        let pump = active.wants_pump().then_some(active.attempt);
        self.deadline.store(deadline, Ordering::SeqCst);
        drop(state);
        self.shared.alarm.set(deadline);
        if let Some(attempt) = pump {
            let shard = Arc::clone(self);
            self.shared.runtime.spawn(async move { shard.pump(attempt).await });
        }
    }

    /// Waits for appends and for the high watermark until no answer is held.
    async fn pump(self: Arc<Self>, attempt: u64) {
        while let Some(work) = self.next_work(attempt) {
            match work {
                Work::Append(appended) => {
                    let appended = appended.await;
                    self.resume(attempt, |active, target| active.appended(appended, target));
                }
                Work::Commit(mut committed) => {
                    let committed = loop {
                        tokio::select! {
                            biased;
                            committed = &mut committed => break committed,
                            () = self.next_give_up(attempt) => {}
                        }
                    };
                    self.resume(attempt, |active, target| active.committed(committed, target));
                }
            }
        }
    }

    /// Waits until somebody has waited for the replicas as long as anybody may, and tells them.
    async fn next_give_up(&self, attempt: u64) {
        let timeout = self.shared.commit_timeout;
        let since = match &*self.lock() {
            State::Active(active) if active.attempt == attempt => active.waiting_since(),
            _ => None,
        };
        let waited = since.map_or(Duration::ZERO, |since| self.shared.clock.elapsed().saturating_sub(since));
        // Without an answer that waits, one may come meanwhile.
        tokio::time::sleep(timeout.saturating_sub(waited)).await;
        if let State::Active(active) = &mut *self.lock()
            && active.attempt == attempt
            && let Some(until) = self.shared.clock.elapsed().checked_sub(timeout)
        {
            active.give_up(until);
        }
    }

    fn next_work(&self, attempt: u64) -> Option<Work> {
        match &mut *self.lock() {
            State::Active(active) if active.attempt == attempt => active.next_work(),
            _ => None,
        }
    }

    fn resume(
        self: &Arc<Self>,
        attempt: u64,
        go_on: impl FnOnce(&mut Active, &Target<'_>) -> Result<(), LogRefused>,
    ) {
        let mut state = self.lock();
        let done = match &mut *state {
            State::Active(active) if active.attempt == attempt => go_on(active, &self.target()),
            _ => return,
        };
        self.after(state, done);
    }

    /// The state is ahead of the log, or not to be trusted: it is dropped and loaded anew, everybody who waits is told.
    fn drop_state(self: &Arc<Self>, mut state: MutexGuard<'_, State>, refused: &LogRefused) {
        let State::Active(active) = std::mem::replace(&mut *state, State::Gone) else { return };
        let again = active.attempt + 1;
        let leads = !matches!(refused, LogRefused::NotLeader(_));
        if leads {
            *state = State::Loading(again);
        }
        drop(state);
        self.deadline.store(NEVER, Ordering::SeqCst);
        active.end(refused.code());
        if leads {
            self.shared.numbers.dropped();
            error!(partition = self.index, epoch = %self.epoch, cause = %refused, "groups are loaded anew");
            self.load_later(again);
        } else {
            info!(partition = self.index, cause = %refused, "groups are dropped");
        }
    }

    fn load_later(self: &Arc<Self>, attempt: u64) {
        let shard = Arc::clone(self);
        self.shared.runtime.spawn(async move {
            tokio::time::sleep(RELOAD_AFTER).await;
            if shard.lock().is_loading(attempt) {
                shard.load(attempt);
            }
        });
    }

    /// Replays the log up to its end as of now, which is where this epoch's appends begin (rule G2).
    fn load(self: &Arc<Self>, attempt: u64) {
        let ready = matches!(self.log.ready(), Step::Ready(Ok(())));
        let end = self.log.end_offset();
        if ready && self.log.start_offset() == end {
            self.activate(attempt, GroupShard::default(), end);
            return;
        }
        let shard = Arc::clone(self);
        self.shared.runtime.spawn(async move {
            let begun = shard.shared.clock.elapsed();
            match shard.replayed(attempt).await {
                Ok(Some((core, end, replayed))) => {
                    let took = shard.shared.clock.elapsed().saturating_sub(begun);
                    shard.shared.numbers.loaded(took, &replayed);
                    shard.tell_loaded(took, &replayed);
                    shard.activate(attempt, core, end);
                }
                Ok(None) => {}
                Err(refused) => {
                    error!(partition = shard.index, epoch = %shard.epoch, cause = %refused, "groups cannot be loaded");
                    shard.load_later(attempt);
                }
            }
        });
    }

    fn tell_loaded(&self, took: Duration, replayed: &Replayed) {
        let ms = took.as_millis();
        let (partition, records) = (self.index, replayed.records);
        if replayed.unknown + replayed.broken > 0 {
            let (unknown, broken) = (replayed.unknown, replayed.broken);
            info!(partition, records, ms, unknown, broken, "groups loaded; records were skipped");
        } else {
            info!(partition, records, ms, "groups loaded");
        }
    }

    /// The state that the log says, up to its end; `None` if it is not wanted any more.
    async fn replayed(
        self: &Arc<Self>,
        attempt: u64,
    ) -> Result<Option<(GroupShard, Offset, Replayed)>, LogRefused> {
        self.log.ready().wait().await?;
        let _permit = self.shared.loads.acquire().await;
        let shard = Arc::clone(self);
        // A million records take a while: not on a thread that others need.
        let replay = tokio::task::spawn_blocking(move || shard.replay(attempt)).await;
        replay.unwrap_or(Err(LogRefused::Panicked))
    }

    fn replay(&self, attempt: u64) -> Result<Option<(GroupShard, Offset, Replayed)>, LogRefused> {
        let end = self.log.end_offset();
        let mut from = self.log.start_offset();
        let mut core = GroupShard::default();
        let mut replayed = Replayed::default();
        while from < end {
            if !self.lock().is_loading(attempt) {
                return Ok(None);
            }
            let chunks = self.log.read(from, end, self.shared.load_bytes).wait_blocking()?;
            let read = chunks
                .iter()
                .filter_map(|chunk| batches::decode(chunk, &mut replayed, |record| core.replay(record)));
            // Compaction may leave nothing up to the end.
            let next = read.max().and_then(Offset::new).unwrap_or(end);
            from = if next > from { next } else { end };
        }
        Ok(Some((core, end, replayed)))
    }

    fn activate(self: &Arc<Self>, attempt: u64, core: GroupShard, end: Offset) {
        let mut state = self.lock();
        if !state.is_loading(attempt) {
            return;
        }
        *state = State::Active(Box::new(Active::new(core, attempt, end)));
        self.turn(state, GroupShard::loaded);
    }
}
