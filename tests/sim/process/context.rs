//! What goes into a process's step and what comes out of it.

use super::Topic;
use crate::replication::leader::Leader;
use crate::sim::etcd::Request;
use crate::sim::message::{ClientAnswer, ClientRequest, Message};
use crate::sim::random::Random;
use crate::types::{BrokerId, LeaderEpoch, Offset};

/// What a process does to the world, and what it is given.
pub struct Context<'a> {
    pub now: u64,
    pub topic: Topic,
    pub random: &'a mut Random,
    pub ids: &'a mut u64,
    pub sends: Vec<(BrokerId, Message)>,
    pub replies: Vec<Reply>,
    pub etcd: Vec<(u64, Request)>,
    pub facts: Vec<Fact>,
    pub exit: bool,
}

/// An answer to a client.
#[derive(Debug, Clone)]
pub struct Reply {
    pub request: ClientRequest,
    pub answer: ClientAnswer,
    /// The epoch in which the sender leads.
    pub in_epoch: Option<LeaderEpoch>,
    /// The size of the ISR, and what is asked for.
    pub isr: (usize, usize),
}

/// What the checker is told as it happens.
#[derive(Debug, Clone)]
pub enum Fact {
    /// A record was written to the log.
    Stored { partition: i32, index: usize, value: u64 },
    /// A leader's high watermark moved from `from` on by these values.
    Advanced { partition: i32, epoch: LeaderEpoch, from: usize, values: Vec<u64> },
    /// A produce with acks=all was taken: the size of the ISR, and what is asked for (rule L7).
    Taken { partition: i32, isr: (usize, usize) },
    /// The log was cut.
    Cut { partition: i32, from: Offset, to: Offset, below_high_watermark: bool },
}

impl Context<'_> {
    pub fn id(&mut self) -> u64 {
        *self.ids += 1;
        *self.ids
    }

    pub fn send(&mut self, to: BrokerId, message: Message) {
        self.sends.push((to, message));
    }

    pub fn reply(&mut self, request: ClientRequest, answer: ClientAnswer) {
        self.replies.push(Reply { request, answer, in_epoch: None, isr: (0, 0) });
    }

    /// An answer of a leader, with what it rested on.
    pub fn reply_of(&mut self, core: &Leader, request: ClientRequest, answer: ClientAnswer) {
        let isr = (core.isr_size(), core.min_isr());
        self.replies.push(Reply { request, answer, in_epoch: Some(core.epoch()), isr });
    }

    pub fn stored(&mut self, partition: i32, index: usize, value: u64) {
        self.facts.push(Fact::Stored { partition, index, value });
    }

    pub fn cut(&mut self, partition: i32, from: Offset, to: Offset, below_high_watermark: bool) {
        self.facts.push(Fact::Cut { partition, from, to, below_high_watermark });
    }
}
