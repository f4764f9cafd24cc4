//! Producers and consumers: what they know, what they asked, what they were told.

use std::collections::BTreeMap;

use super::message::{ClientAnswer, ClientKind};
use crate::types::{BrokerId, LeaderEpoch, Offset};

/// What came of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    Waiting,
    Done(ClientAnswer),
}

#[derive(Debug, Clone)]
pub struct Op {
    pub client: usize,
    pub partition: i32,
    pub kind: ClientKind,
    pub state: State,
    /// "Latest" as this client knew it when it asked.
    floor: Offset,
    /// When the ledger was cut for the last time when it asked: what a legitimate loss changes is not compared.
    cuts: u64,
}

/// What a client knows of a partition.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known {
    pub leader: Option<BrokerId>,
    pub epoch: LeaderEpoch,
    pub position: Offset,
    latest: Offset,
    cuts: u64,
}

#[derive(Debug, Default)]
pub struct Clients {
    pub ops: BTreeMap<u64, Op>,
    pub known: BTreeMap<(usize, i32), Known>,
}

impl Clients {
    /// Metadata from a broker: older epochs are ignored, as Kafka's clients do.
    pub fn learn(
        &mut self,
        client: usize,
        partition: i32,
        leader: Option<BrokerId>,
        epoch: LeaderEpoch,
    ) -> Known {
        let known = self.known.entry((client, partition)).or_default();
        if epoch >= known.epoch {
            known.leader = leader;
            known.epoch = epoch;
        }
        *known
    }

    pub fn begin(&mut self, op: u64, client: usize, partition: i32, kind: ClientKind, cuts: u64) {
        let known = self.known.entry((client, partition)).or_default();
        if known.cuts != cuts {
            *known = Known { cuts, leader: known.leader, epoch: known.epoch, ..Known::default() };
        }
        let floor = known.latest;
        self.ops.insert(op, Op { client, partition, kind, state: State::Waiting, floor, cuts });
    }

    /// An answer has arrived; says what is wrong with it.
    pub fn end(&mut self, op: u64, answer: ClientAnswer, cuts: u64) -> Option<String> {
        let done = self.ops.get_mut(&op)?;
        if done.state != State::Waiting {
            return None;
        }
        done.state = State::Done(answer.clone());
        let known = self.known.entry((done.client, done.partition)).or_default();
        if done.cuts != cuts {
            return None;
        }
        match answer {
            ClientAnswer::Latest { offset, epoch } => {
                let floor = done.floor;
                known.latest = known.latest.max(offset);
                known.epoch = known.epoch.max(epoch);
                (offset < floor).then(|| format!("latest went back from {floor} to {offset} (rule C2)"))
            }
            ClientAnswer::Read { from, values } => {
                let to = from.advance(u32::try_from(values.len()).unwrap());
                known.position = known.position.max(to);
                None
            }
            _ => None,
        }
    }
}
