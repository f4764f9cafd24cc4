//! A loaded shard: its core, who waits for answers, and the turns that are on their way below the high watermark.
//!
//! Turns go to the log one after another. While the disk delays one, the turns behind it are kept here: the log never has a turn
//! without all turns before it, also when an append fails.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;

use super::batches;
use super::log::{CoordinatorLog, LogRefused};
use crate::coordinator::group::command::Answer;
use crate::coordinator::group::shard::GroupShard;
use crate::coordinator::group::turn::{Ticket, Turn};
use crate::log::{BoxFuture, Step};
use crate::protocol::compression::Codec;
use crate::protocol::error::ErrorCode;
use crate::types::{LeaderEpoch, Millis, Offset};

/// What a waiting request gets.
pub(super) type Reply = Result<Answer, ErrorCode>;

/// The log of a shard, and the epoch in which it writes there.
pub(super) struct Target<'a> {
    pub log: &'a dyn CoordinatorLog,
    pub epoch: LeaderEpoch,
    /// When this is asked, by [`crate::types::Clock::elapsed`].
    pub now: Duration,
}

/// A turn whose answers have not left yet.
struct Held {
    /// What the log has not been given yet.
    batches: VecDeque<Bytes>,
    /// The log's end when it had the turn; `None` until then.
    end: Option<Offset>,
    answers: Vec<(Ticket, Answer)>,
    /// Since when the answers wait.
    since: Duration,
}

/// What has to be waited for next, outside of the lock.
pub(super) enum Work {
    /// An append that the disk delays.
    Append(BoxFuture<Result<Offset, LogRefused>>),
    /// The high watermark.
    Commit(BoxFuture<Result<(), LogRefused>>),
}

/// A loaded shard.
pub(super) struct Active {
    pub core: GroupShard,
    /// Which load this is: what belongs to an earlier one must not act (rule G2).
    pub attempt: u64,
    /// Requests without an answer. Bound: requests in flight, which the server bounds.
    waiting: HashMap<Ticket, oneshot::Sender<Reply>>,
    /// Oldest first.
    held: VecDeque<Held>,
    /// How many of `held`, from the front, the log has.
    written: usize,
    /// The log's end after the last append.
    end: Offset,
    /// An append is under way: nothing is given to the log until it is done.
    appending: bool,
    in_flight: Option<BoxFuture<Result<Offset, LogRefused>>>,
    committing: Option<BoxFuture<Result<(), LogRefused>>>,
    /// Somebody waits for what [`Active::next_work`] said.
    pumped: bool,
}

impl Active {
    /// A shard whose state is that of the log below `end`.
    pub fn new(core: GroupShard, attempt: u64, end: Offset) -> Self {
        // Nothing is answered before all that was replayed is committed.
        let loaded =
            Held { batches: VecDeque::new(), end: Some(end), answers: Vec::new(), since: Duration::ZERO };
        Self {
            core,
            attempt,
            waiting: HashMap::new(),
            held: VecDeque::from([loaded]),
            written: 1,
            end,
            appending: false,
            in_flight: None,
            committing: None,
            pumped: false,
        }
    }

    /// `ticket` waits for its answer.
    pub fn wait(&mut self, ticket: Ticket, sender: oneshot::Sender<Reply>) {
        self.waiting.insert(ticket, sender);
    }

    /// Gives what a turn decided to the log, and lets go what may go.
    ///
    /// # Errors
    /// What the log says: then this state is ahead of the log and must be dropped.
    pub fn take(
        &mut self,
        turn: Turn,
        target: &Target<'_>,
        codec: Codec,
        wall_ms: Millis,
    ) -> Result<(), LogRefused> {
        let batches = match batches::encode(&turn.records, wall_ms, codec, target.log.batch_bytes_max()) {
            Ok(batches) => batches,
            Err(refused) => {
                // Asking again would not help these.
                for (ticket, _) in turn.answers {
                    self.send(ticket, Err(ErrorCode::UnknownServerError));
                }
                return Err(refused);
            }
        };
        if !batches.is_empty() || !turn.answers.is_empty() {
            self.held.push_back(Held { batches, end: None, answers: turn.answers, since: target.now });
        }
        self.write(target)?;
        if self.pumped { Ok(()) } else { self.release(target) }
    }

    /// Gives the log every turn that it can have now.
    fn write(&mut self, target: &Target<'_>) -> Result<(), LogRefused> {
        while !self.appending
            && let Some(held) = self.held.get_mut(self.written)
        {
            let Some(batch) = held.batches.pop_front() else {
                held.end = Some(self.end);
                self.written += 1;
                continue;
            };
            match target.log.append(batch, target.epoch) {
                Step::Ready(end) => self.end = end?,
                Step::Pending(appended) => {
                    self.appending = true;
                    self.in_flight = Some(appended);
                }
            }
        }
        Ok(())
    }

    /// Lets the answers go whose turns are below the high watermark, in the order of their turns (rule G1).
    fn release(&mut self, target: &Target<'_>) -> Result<(), LogRefused> {
        while let Some(end) = self.held.front().and_then(|held| held.end) {
            match target.log.committed(end, target.epoch) {
                Step::Ready(committed) => committed?,
                Step::Pending(committed) => {
                    self.committing = Some(committed);
                    return Ok(());
                }
            }
            let held = self.held.pop_front();
            self.written -= 1;
            for (ticket, answer) in held.into_iter().flat_map(|held| held.answers) {
                self.send(ticket, Ok(answer));
            }
        }
        Ok(())
    }

    /// Whether somebody must begin to wait for [`Active::next_work`]; says so once.
    pub fn wants_pump(&mut self) -> bool {
        let wants = !self.pumped && !self.held.is_empty();
        self.pumped |= wants;
        wants
    }

    /// What to wait for next; `None` if nothing is held any more.
    pub fn next_work(&mut self) -> Option<Work> {
        let work = self.in_flight.take().map(Work::Append);
        let work = work.or_else(|| self.committing.take().map(Work::Commit));
        self.pumped = work.is_some();
        work
    }

    /// The delayed append is done.
    ///
    /// # Errors
    /// As [`Active::take`].
    pub fn appended(
        &mut self,
        end: Result<Offset, LogRefused>,
        target: &Target<'_>,
    ) -> Result<(), LogRefused> {
        self.end = end?;
        self.appending = false;
        self.write(target)?;
        self.release(target)
    }

    /// The high watermark moved.
    ///
    /// # Errors
    /// As [`Active::take`].
    pub fn committed(
        &mut self,
        committed: Result<(), LogRefused>,
        target: &Target<'_>,
    ) -> Result<(), LogRefused> {
        committed?;
        self.release(target)
    }

    /// Since when the oldest answer waits; `None` if none does.
    pub fn waiting_since(&self) -> Option<Duration> {
        self.held.iter().find(|held| !held.answers.is_empty()).map(|held| held.since)
    }

    /// Tells those who have waited since `until` or longer that the replicas take too long. What was decided stays decided, and is
    /// found committed or not by whoever asks again (`offsets.commit.timeout.ms`).
    pub fn give_up(&mut self, until: Duration) {
        let late: Vec<Ticket> = self
            .held
            .iter_mut()
            .take_while(|held| held.since <= until)
            .flat_map(|held| held.answers.drain(..).map(|(ticket, _)| ticket))
            .collect();
        for ticket in late {
            self.send(ticket, Err(ErrorCode::CoordinatorNotAvailable));
        }
    }

    fn send(&mut self, ticket: Ticket, reply: Reply) {
        if let Some(sender) = self.waiting.remove(&ticket) {
            // Nobody is there any more: the connection is closed.
            let _ = sender.send(reply);
        }
    }

    /// Tells everybody who waits for something else than the log.
    pub fn end_parked(&mut self, code: ErrorCode) {
        let decided: HashSet<Ticket> =
            self.held.iter().flat_map(|held| held.answers.iter().map(|(ticket, _)| *ticket)).collect();
        let parked: Vec<Ticket> =
            self.waiting.keys().filter(|ticket| !decided.contains(ticket)).copied().collect();
        for ticket in parked {
            self.send(ticket, Err(code));
        }
    }

    /// Tells everybody who waits.
    pub fn end(self, code: ErrorCode) {
        for (_, sender) in self.waiting {
            let _ = sender.send(Err(code));
        }
    }
}
