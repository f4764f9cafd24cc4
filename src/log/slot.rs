//! The slot that hands a log's writer from thread to thread in order.
//!
//! The slot holds the [`Writer`] of an open log. Short work takes it under the lock; work that may wait for a disk is queued, and a
//! storage thread takes the writer out until the queue is empty. So everything that changes the log happens in the order in which it
//! was asked for.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::error::{ReadError, Unusable};
use super::handle::Log;
use super::open;
use super::step::{Step, promise};
use super::storage::lock;
use super::writer::Writer;

/// Work on a log that may wait for a disk.
pub(super) type Job = Box<dyn FnOnce(&Arc<Log>, &mut State) + Send + 'static>;

/// A log's writer, or where it is, and who waits for it.
pub(super) struct Slot {
    pub state: State,
    /// Bound: requests in flight for this partition, which the server's memory budget bounds.
    waiting: VecDeque<Job>,
}

impl Slot {
    pub const fn new(closed: Closed) -> Self {
        Self { state: State::Closed(closed), waiting: VecDeque::new() }
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

/// Where the writer is.
pub(super) enum State {
    Open(Box<Writer>),
    Closed(Closed),
    /// A storage thread has it, and will run the jobs that wait.
    Busy,
    /// There will be no writer any more.
    Gone(Unusable),
}

/// What is known of a log whose files are not open.
#[derive(Debug, Clone)]
pub(super) enum Closed {
    /// Nothing is on the disk yet.
    New,
    /// It was closed in order, with its active segment there.
    Clean {
        /// Base offset of the active segment.
        active_base: i64,
        /// Where it ends.
        active_position: u32,
    },
    /// It must be recovered: the last run did not end in order.
    Unclean,
}

impl Log {
    /// Runs `work` on the writer if the log is open and nobody waits.
    pub(super) fn with_open_writer<T>(&self, work: impl FnOnce(&mut Writer) -> T) -> Option<T> {
        match &mut lock(&self.slot).state {
            State::Open(writer) => Some(work(writer)),
            State::Closed(_) | State::Busy | State::Gone(_) => None,
        }
    }

    /// Base offset of the active segment; `None` if there is none, or it is not known without recovery. Touches no file.
    pub(super) fn active_base(&self) -> Option<i64> {
        match &lock(&self.slot).state {
            State::Open(writer) => Some(writer.segment.base_offset()),
            State::Closed(Closed::Clean { active_base, .. }) => Some(*active_base),
            State::Busy => self.segments()?.last().map(|active| active.base_offset()),
            State::Closed(Closed::New | Closed::Unclean) | State::Gone(_) => None,
        }
    }

    /// Queues `work` behind all that was asked for before, on a storage thread. `failed` makes an answer of an error.
    pub(super) fn submit<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>, &mut State) -> T + Send + 'static,
        failed: impl FnOnce(Unusable) -> T + Send + 'static,
    ) -> Step<T> {
        let (sender, step) = promise(|| failed(Unusable::Closed));
        self.enqueue(Box::new(move |log, state| {
            // The caller may have gone; the work is done all the same.
            let _ = sender.send(work(log, state));
        }));
        step
    }

    pub(super) fn enqueue(self: &Arc<Self>, job: Job) {
        let mut slot = lock(&self.slot);
        slot.waiting.push_back(job);
        if matches!(slot.state, State::Busy) {
            return;
        }
        let state = std::mem::replace(&mut slot.state, State::Busy);
        drop(slot);
        let log = Arc::clone(self);
        self.home.storage.run(move || log.drain(state));
    }

    /// Runs the jobs that wait, then puts the state back.
    fn drain(self: Arc<Self>, mut state: State) {
        loop {
            let job = {
                let mut slot = lock(&self.slot);
                match slot.waiting.pop_front() {
                    Some(job) => job,
                    None => {
                        slot.state = state;
                        return;
                    }
                }
            };
            if catch_unwind(AssertUnwindSafe(|| job(&self, &mut state))).is_err() {
                tracing::error!(partition = %self.partition(), "a job on the log panicked; the log is closed");
                state = State::Gone(Unusable::Closed);
                self.set_segments(None);
            }
        }
    }

    /// The writer, after opening the log's files if they are closed. Waits for the disk.
    pub(super) fn writer<'a>(self: &Arc<Self>, state: &'a mut State) -> Result<&'a mut Writer, Unusable> {
        self.home.check()?;
        if let State::Closed(closed) = state {
            if self.home.stopped.load(Ordering::Acquire) {
                return Err(Unusable::Closed);
            }
            match open::open(self, closed) {
                Ok(writer) => {
                    self.home.open_logs.fetch_add(1, Ordering::Relaxed);
                    *state = State::Open(Box::new(writer));
                }
                Err(error @ Unusable::Corrupt { .. }) => {
                    tracing::error!(partition = %self.partition(), %error, "log is not served");
                    *state = State::Gone(error.clone());
                    return Err(error);
                }
                Err(error) => return Err(error),
            }
        }
        match state {
            State::Open(writer) => Ok(writer),
            State::Gone(error) => Err(error.clone()),
            State::Closed(_) | State::Busy => Err(Unusable::Closed),
        }
    }

    /// Runs `work` on a storage thread once the log's files are open, beside the writer.
    pub(super) fn when_open<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Arc<Self>) -> Result<T, ReadError> + Send + 'static,
    ) -> Step<Result<T, ReadError>> {
        let (sender, step) = promise(|| Err(ReadError::Unusable(Unusable::Closed)));
        let log = Arc::clone(self);
        let run = move || {
            // The caller may have gone.
            let _ = sender.send(work(&log));
        };
        if self.is_open() {
            self.home.storage.run(run);
        } else {
            let (opened, failed) = (run, Arc::clone(self));
            self.enqueue(Box::new(move |log, state| {
                // Without a writer there are no segments either, and the work says why.
                if let Err(error) = log.writer(state) {
                    tracing::debug!(partition = %failed.partition(), %error, "a log cannot be opened");
                }
                log.home.storage.run(opened);
            }));
        }
        step
    }

    /// Why the log has no segments.
    pub(super) fn why_closed(&self) -> Unusable {
        if let Err(error) = self.home.check() {
            return error;
        }
        match &lock(&self.slot).state {
            State::Gone(error) => error.clone(),
            State::Open(_) | State::Closed(_) | State::Busy => Unusable::Closed,
        }
    }
}
