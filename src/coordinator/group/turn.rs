//! One turn of a shard: what a step of the core sees, and what it decides.

use super::command::Answer;
use super::records::Record;
use super::settings::GroupSettings;
use super::timers::Timers;
use crate::metadata::image::ClusterImage;
use crate::types::Millis;

/// Names one request that waits for its answer. The shell keeps the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// The time of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Now {
    /// Wall clock: for timestamps in records. May jump.
    pub wall_ms: Millis,
    /// Milliseconds of a clock that never goes back: for sessions and deadlines.
    pub elapsed_ms: Millis,
}

/// What a step decided.
#[derive(Debug, Default, PartialEq)]
pub struct Turn {
    /// To be appended in this order, atomically. Replayed on an empty shard after all earlier ones they give the state that the step
    /// left behind.
    pub records: Vec<Record>,
    /// May leave when the records of this turn, and of all turns before, are below the high watermark (rule G1).
    pub answers: Vec<(Ticket, Answer)>,
}

/// What a step sees beside its command, and where it puts what it decides.
pub struct Context<'a> {
    /// When.
    pub now: Now,
    /// The coordinator's configuration.
    pub settings: &'a GroupSettings,
    /// The cluster: topics, partitions, racks, group configurations.
    pub image: &'a ClusterImage,
    /// The deadlines of the shard.
    pub timers: &'a mut Timers,
    /// What has been decided so far.
    pub turn: &'a mut Turn,
}

impl Context<'_> {
    /// Decides that `record` is written.
    pub fn write(&mut self, record: Record) {
        self.turn.records.push(record);
    }

    /// Answers `ticket`.
    pub fn answer(&mut self, ticket: Ticket, answer: Answer) {
        self.turn.answers.push((ticket, answer));
    }
}
