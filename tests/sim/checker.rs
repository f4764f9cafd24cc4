//! The invariants of `correctness.md`, looked at after every step.

mod leaders;
mod restored;

use std::collections::{BTreeMap, BTreeSet};

use super::clients::Clients;
use super::etcd::{Etcd, Write};
use super::message::{ClientAnswer, ClientKind, Refusal};
use super::node::Node;
use super::process::{Fact, Reply, Topic};
use super::records::{self, Mins, is_refuted};
use super::{keys, topic_id};
use crate::metadata::image::ReplicaEntry;
use crate::metadata::keys::{BrokerLiveValue, Key, PartitionValue, Record, TopicValue};
use crate::replication::members::effective_min_isr;
use crate::types::seeded::Bug;
use crate::types::{BrokerId, LeaderEpoch, Offset};

/// What is known of a partition, by somebody who sees everything.
#[derive(Debug)]
pub struct Truth {
    /// Everything that was ever below the high watermark of a leader.
    pub committed: Vec<u64>,
    /// The record in etcd.
    pub record: PartitionValue,
    /// Who was recorded as leader, by epoch (I6).
    leaders: BTreeMap<LeaderEpoch, Option<ReplicaEntry>>,
    /// Which brokers ever had a value at an index, and how many losses there had been when it was written first.
    holders: BTreeMap<(usize, u64), (u32, usize)>,
    /// Since this epoch what was committed before may be lost: an election of the last known leader, or an unclean one.
    pub cut_in: Option<LeaderEpoch>,
    pub cuts: u64,
    /// The high watermark of each leader: broker, life, epoch.
    high_watermarks: BTreeMap<(BrokerId, u64, LeaderEpoch), Offset>,
    /// Acknowledged with acks=all, by offset.
    acked: BTreeMap<i64, u64>,
    /// Whom etcd believes in only because it went back in time (rule E13).
    forgotten: BTreeSet<BrokerId>,
    /// It believes in others than before.
    in_doubt: bool,
    /// The leader epoch that it went back to.
    restored_in: Option<LeaderEpoch>,
}

/// What a run did, for its validity (I15).
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    pub steps: u64,
    pub acked: u64,
    pub leader_changes: u64,
    pub cuts: u64,
    pub truncations: u64,
    pub registrations: u64,
    pub losses: u64,
    pub reads: u64,
    pub acked_lost: u64,
    pub restores: u64,
}

#[derive(Debug, Default)]
pub struct Checker {
    pub truths: BTreeMap<i32, Truth>,
    /// The first breach of an invariant.
    pub breach: Option<String>,
    pub counters: Counters,
    /// Whose data was lost, in order.
    losses: Vec<BrokerId>,
    /// All values of `min.insync.replicas` so far: somebody may still go by any of them.
    mins: Vec<usize>,
}

impl Checker {
    /// A broker's data was lost.
    pub fn lost(&mut self, id: BrokerId) {
        self.losses.push(id);
        self.counters.losses += 1;
    }

    /// Somebody sets `min.insync.replicas`.
    pub fn configured(&mut self, min: usize) {
        self.mins.push(min);
    }

    /// The least and the largest of them.
    fn mins(&self) -> Mins {
        let least = self.mins.iter().copied().min().unwrap_or(1);
        Mins { least, most: self.mins.iter().copied().max().unwrap_or(least) }
    }

    pub fn say(&mut self, what: String) {
        self.breach.get_or_insert(what);
    }

    /// What etcd has just carried out. `controller`: the epoch in whose name a controller wrote.
    pub fn written(
        &mut self,
        writes: &[Write],
        etcd: &Etcd,
        nodes: &mut BTreeMap<BrokerId, Node>,
        topic: Topic,
        fenced_by: Option<(i64, i64)>,
    ) {
        for write in writes {
            match keys().parse(&write.key) {
                Ok(Key::TopicById(_)) => {
                    let Some(value) = &write.value else { continue };
                    let value = Record::<TopicValue>::decode(value).unwrap().value;
                    for (partition, replicas) in (0..).zip(&value.assignment) {
                        self.truths
                            .entry(partition)
                            .or_insert_with(|| Truth::new(&value, partition, replicas));
                    }
                }
                Ok(Key::BrokerLive(id)) => {
                    let Some(value) = &write.value else { continue };
                    let value = Record::<BrokerLiveValue>::decode(value).unwrap().value;
                    let life = u64::try_from(value.incarnation.as_u128()).unwrap();
                    let node = nodes.get_mut(&id).unwrap();
                    node.lost_in_life = node.lost_in_life.filter(|lost| life <= *lost);
                    self.counters.registrations += 1;
                    if value.host != id.to_string() {
                        // A copy of its disk: it has said that what the broker had may be lost, and that stands.
                        self.lost(id);
                    }
                }
                Ok(Key::Partition(topic_of, partition)) if topic_of == topic_id() => {
                    let Some(value) = &write.value else { continue };
                    let new = Record::<PartitionValue>::decode(value).unwrap().value;
                    if let Some((lease, epoch)) = fenced_by {
                        self.controls(etcd, lease, epoch);
                    }
                    self.recorded(partition, new, etcd, nodes, topic);
                }
                _ => {}
            }
        }
    }

    /// Rule E2: who writes as the controller is it.
    fn controls(&mut self, etcd: &Etcd, lease: i64, epoch: i64) {
        let candidate = etcd.state.keys.get(&keys().bytes(&Key::Candidate(lease)));
        if candidate.is_none_or(|stored| stored.create_revision != epoch) {
            self.say(format!("a controller of epoch {epoch} wrote although it is none any more (rule E2)"));
        }
    }

    fn recorded(
        &mut self,
        partition: i32,
        new: PartitionValue,
        etcd: &Etcd,
        nodes: &BTreeMap<BrokerId, Node>,
        topic: Topic,
    ) {
        let mins = self.mins();
        let losses = self.counters.losses > 0 || etcd.generation > 0;
        let Some(truth) = self.truths.get_mut(&partition) else { return };
        let breach = records::breach(etcd, &truth.record, &new, mins, topic.unclean, losses);
        let moved = new.leader_epoch != truth.record.leader_epoch;
        let given =
            truth.leaders.contains_key(&new.leader_epoch).then_some(new.leader_epoch).filter(|_| moved);
        let given = given.map(|epoch| format!("leader epoch {epoch} is given out twice (rule E13)"));
        let breach = breach.or(given);
        if moved {
            truth.leaders.insert(new.leader_epoch, new.leader);
            self.counters.leader_changes += 1;
        }
        let mut too_soon = None;
        let unclean = records::is_unclean(etcd, &truth.record, &new) && (new.recovering || breach.is_none());
        let unclean = truth.believes_wrongly(&new) || unclean;
        if unclean && let Some(leader) = new.leader {
            // What the new leader has not is lost, and that is nobody's fault: all others lost data, or an operator allowed it.
            let log = nodes[&leader.id].log(partition);
            let values = log.map_or(&[][..], |log| &log.values[..]);
            let common = truth.committed.iter().zip(values).take_while(|(left, right)| left == right).count();
            truth.committed.truncate(common);
            let lost = truth.acked.split_off(&i64::try_from(common).unwrap());
            self.counters.acked_lost += lost.len() as u64;
            // An acknowledged record may go only if as many of those that had it lost something since as it was promised copies.
            let needed = effective_min_isr(mins.least, truth.record.replicas.len());
            for (offset, value) in lost.iter().filter(|_| !topic.unclean && !truth.in_doubt) {
                let at = (usize::try_from(*offset).unwrap(), *value);
                let Some((holders, born)) = truth.holders.get(&at) else { continue };
                let mut lossy: Vec<BrokerId> = self.losses[*born..]
                    .iter()
                    .copied()
                    .filter(|id| holders & (1 << id.get()) != 0)
                    .collect();
                lossy.sort_unstable();
                lossy.dedup();
                if lossy.len() < needed {
                    let id = leader.id;
                    too_soon = Some(format!(
                        "the record at {offset} is lost by the election of {id}, only {lossy:?} lost data (I1)"
                    ));
                }
            }
            truth.cut_in = Some(new.leader_epoch);
            truth.cuts += 1;
            self.counters.cuts += 1;
        }
        truth.record = new;
        if let Some(breach) = breach.or(too_soon) {
            self.say(format!("partition {partition}: {breach}"));
        }
    }

    /// What a process did in this step.
    pub fn acted(&mut self, node: &Node, facts: &[Fact]) {
        for fact in facts {
            match fact {
                Fact::Stored { partition, index, value } => {
                    let Some(truth) = self.truths.get_mut(partition) else { continue };
                    let losses = self.losses.len();
                    let (holders, _) = truth.holders.entry((*index, *value)).or_insert((0, losses));
                    *holders |= 1 << node.id.get();
                    let stamps = node.log(*partition).map_or(&[][..], |log| &log.stamps[..]);
                    let before = index.checked_sub(1).and_then(|before| stamps.get(before));
                    if stamps.get(*index).is_some_and(|stamp| before.is_some_and(|before| before > stamp)) {
                        self.say(format!(
                            "partition {partition}: epochs go back in the log of {} (rule F5)",
                            node.id
                        ));
                    }
                }
                Fact::Taken { partition, isr } if isr.0 < isr.1 => {
                    let id = node.id;
                    self.say(format!(
                        "partition {partition}: broker {id} takes acks=all with {} in sync (rule L7)",
                        isr.0
                    ));
                }
                Fact::Taken { .. } => {}
                Fact::Advanced { partition, epoch, from, values } => {
                    let Some(truth) = self.truths.get_mut(partition) else { continue };
                    if truth.cut_in.is_some_and(|cut| *epoch < cut) {
                        continue;
                    }
                    if let (Some(log), true) = (node.log(*partition), truth.cut_in.is_some()) {
                        // What it knew as committed before that was cut is there again.
                        let known = truth.committed.len().min(*from);
                        truth.committed.extend_from_slice(&log.values[known..*from]);
                    }
                    let known = truth.committed.len().saturating_sub(*from).min(values.len());
                    let same = truth.committed.get(*from..from + known) == Some(&values[..known]);
                    truth.committed.extend_from_slice(&values[known..]);
                    if !same {
                        let id = node.id;
                        self.say(format!(
                            "partition {partition}: {id} commits other records than were committed (I2)"
                        ));
                    }
                }
                Fact::Cut { partition, to, below_high_watermark, from } => {
                    self.counters.truncations += u64::from(to < from);
                    let uncut = self.truths.get(partition).is_some_and(|truth| truth.cut_in.is_none());
                    if *below_high_watermark && uncut {
                        self.say(format!(
                            "partition {partition}: broker {} is cut to {to}, below its high watermark (rule F3)",
                            node.id
                        ));
                    }
                }
            }
        }
        if let Some(process) = &node.process {
            let partitions: Vec<i32> = process.replicas.keys().copied().collect();
            for partition in partitions {
                self.look_at(process, partition);
            }
        }
    }

    /// What a process answered, before it leaves.
    pub fn answered(&mut self, node: &Node, reply: &Reply, fenced: bool) {
        let mins = self.mins();
        let request = &reply.request;
        let partition = request.partition;
        let Some(truth) = self.truths.get_mut(&partition) else { return };
        let stale = match (truth.cut_in, reply.in_epoch) {
            (Some(cut), Some(epoch)) => epoch < cut,
            _ => false,
        };
        if let (Some(known), Some(epoch)) = (request.epoch, reply.in_epoch)
            && !matches!(request.kind, ClientKind::Produce { .. })
            && known != epoch
        {
            return self
                .say(format!("partition {partition}: epoch {epoch} answers who asks in {known} (rule L8)"));
        }
        match (&reply.answer, request.kind) {
            (ClientAnswer::Acked { offset }, ClientKind::Produce { acks_all: true }) => {
                let index = usize::try_from(offset.get()).unwrap();
                self.counters.acked += 1;
                let value = request.op;
                if reply.in_epoch.is_none() {
                    return self.say(format!(
                        "partition {partition}: broker {} acknowledges after its step-down (rule L11)",
                        node.id
                    ));
                }
                if reply.isr.0 < reply.isr.1 {
                    return self.say(format!(
                        "partition {partition}: acknowledged with {} in sync (rule L7)",
                        reply.isr.0
                    ));
                }
                let not_refuted = leaders::not_refuted(node, partition);
                if not_refuted.is_some_and(|size| size < reply.isr.1) {
                    return self
                        .say(format!("partition {partition}: acknowledged with refuted entries (rule L3)"));
                }
                if stale {
                    return;
                }
                if truth.committed.get(index) != Some(&value) {
                    return self.say(format!(
                        "partition {partition}: offset {offset} is acknowledged and not committed (I1)"
                    ));
                }
                truth.acked.insert(offset.get(), value);
                let holders = truth.holders.get(&(index, value)).map_or(0, |(mask, _)| mask.count_ones());
                let needed = effective_min_isr(mins.least, truth.record.replicas.len());
                if (holders as usize) < needed {
                    self.say(format!("partition {partition}: offset {offset} is acknowledged with {holders} copies (rule L7)"));
                }
            }
            (ClientAnswer::Acked { .. }, ClientKind::Produce { acks_all: false })
                if fenced && truth.record.replicas.len() > 1 =>
            {
                self.say(format!(
                    "partition {partition}: broker {} takes acks=1 after its deadline (rule L12)",
                    node.id
                ));
            }
            // What it has read before was committed: it is somewhere (rule C3).
            (ClientAnswer::Failed(Refusal::OffsetOutOfRange), ClientKind::Read { from })
                if !stale && usize::try_from(from.get()).unwrap() <= truth.committed.len() =>
            {
                self.say(format!(
                    "partition {partition}: a consumer that reads on at {from} is told that it is out of range (rule C3)"
                ));
            }
            (ClientAnswer::Read { from, values }, _) if !stale => {
                self.counters.reads += 1;
                let from = usize::try_from(from.get()).unwrap();
                let to = from + values.len();
                if !values.is_empty() && truth.committed.get(from..to) != Some(&values[..]) {
                    self.say(format!(
                        "partition {partition}: a consumer reads at {from} what was not committed (I3)"
                    ));
                }
            }
            _ => {}
        }
    }

    /// What must hold between steps.
    pub fn between(&mut self, etcd: &Etcd, nodes: &BTreeMap<BrokerId, Node>) {
        let mut breach = None;
        let mins = self.mins();
        let changed = mins.least != mins.most;
        for (partition, truth) in &self.truths {
            // I8, for everybody who could be elected: an entry that is not refuted has all that was committed.
            for entry in truth.record.isr.iter().chain(&truth.record.elr) {
                let node = &nodes[&entry.id];
                let excused = node.lost_in_life.is_some() || truth.forgotten.contains(&entry.id);
                if excused || is_refuted(etcd, *entry) {
                    continue;
                }
                let values = node.log(*partition).map_or(&[][..], |log| &log.values[..]);
                let whole = values.get(..truth.committed.len()) == Some(&truth.committed[..]);
                if !whole {
                    let id = entry.id;
                    breach = Some(format!(
                        "partition {partition}: electable broker {id} lacks committed records (I8)"
                    ));
                }
            }
            breach = breach.or_else(|| leaders::superset(*partition, truth, etcd, nodes, changed));
        }
        if let Some(breach) = breach {
            self.say(breach);
        }
    }

    /// What must hold when every fault is healed and time has passed (I1, I9); `None` if it does.
    pub fn unhealthy(&self, etcd: &Etcd, nodes: &BTreeMap<BrokerId, Node>, now: u64) -> Option<String> {
        for node in nodes.values() {
            let Some(process) = &node.process else { return Some(format!("broker {} is down", node.id)) };
            if process.held().is_none() || process.is_fenced(now) {
                return Some(format!("broker {} has no session", node.id));
            }
            if process.draining || process.stop.is_some() {
                return Some(format!("broker {} stops", node.id));
            }
        }
        for (partition, truth) in &self.truths {
            let record = &truth.record;
            let Some(leader) = record.leader else {
                return Some(format!("partition {partition} has no leader"));
            };
            let process = nodes[&leader.id].process.as_ref()?;
            let core = process.replicas.get(partition).and_then(|replica| replica.leading());
            if core.is_none_or(|core| core.epoch() != record.leader_epoch) || process.me != Some(leader) {
                return Some(format!("partition {partition} is not led"));
            }
            let mut isr: Vec<BrokerId> = record.isr.iter().map(|entry| entry.id).collect();
            let mut replicas = record.replicas.clone();
            isr.sort_unstable();
            replicas.sort_unstable();
            if isr != replicas || record.isr.iter().any(|entry| is_refuted(etcd, *entry)) {
                return Some(format!("partition {partition}: ISR {isr:?} of {replicas:?} (I9)"));
            }
            if !record.elr.is_empty()
                || record.recovering
                || !record.adding.is_empty()
                || !record.removing.is_empty()
            {
                return Some(format!("partition {partition}: the record is not at rest: {record:?}"));
            }
            for id in replicas {
                let process = nodes[&id].process.as_ref()?;
                let Some(replica) = process.replicas.get(partition) else {
                    return Some(format!("partition {partition}: broker {id} has no replica"));
                };
                if replica.log.values != truth.committed {
                    return Some(format!(
                        "partition {partition}: broker {id} is not equal to what was committed (I9)"
                    ));
                }
                if replica.high_watermark != replica.log.end() {
                    return Some(format!("partition {partition}: broker {id}'s high watermark lags (I9)"));
                }
            }
            let lost = truth.acked.iter().find(|(offset, value)| {
                truth.committed.get(usize::try_from(**offset).unwrap()) != Some(*value)
            });
            if let Some((offset, _)) = lost {
                return Some(format!(
                    "partition {partition}: the acknowledged record at {offset} is lost (I1)"
                ));
            }
        }
        None
    }

    pub fn cuts(&self, partition: i32) -> u64 {
        self.truths.get(&partition).map_or(0, |truth| truth.cuts)
    }

    /// A client's answer has arrived.
    pub fn arrived(&mut self, clients: &mut Clients, op: u64, answer: ClientAnswer) {
        let Some(partition) = clients.ops.get(&op).map(|op| op.partition) else { return };
        // What a deposed leader still says of a partition that lost records is of no use.
        let cut_in = self.truths.get(&partition).and_then(|truth| truth.cut_in);
        if let ClientAnswer::Latest { epoch, .. } = answer
            && cut_in.is_some_and(|cut| epoch < cut)
        {
            return;
        }
        if let Some(what) = clients.end(op, answer, self.cuts(partition)) {
            self.say(format!("partition {partition}: {what}"));
        }
    }
}

impl Truth {
    fn new(value: &TopicValue, partition: i32, replicas: &[BrokerId]) -> Self {
        let isr: Vec<ReplicaEntry> = replicas
            .iter()
            .map(|id| ReplicaEntry { id: *id, epoch: value.epoch_of(*id, partition) })
            .collect();
        let leader = isr.first().copied();
        Self {
            committed: Vec::new(),
            record: PartitionValue {
                leader,
                leader_epoch: LeaderEpoch(0),
                isr,
                elr: Vec::new(),
                last_known_leader: None,
                replicas: replicas.to_vec(),
                adding: Vec::new(),
                removing: Vec::new(),
                recovering: false,
                why: String::new(),
            },
            leaders: BTreeMap::from([(LeaderEpoch(0), leader)]),
            holders: BTreeMap::new(),
            cut_in: None,
            cuts: 0,
            high_watermarks: BTreeMap::new(),
            acked: BTreeMap::new(),
            forgotten: BTreeSet::new(),
            in_doubt: false,
            restored_in: None,
        }
    }
}

/// A fault by its name.
pub fn bug(name: &str) -> Option<Bug> {
    super::seeds::BUGS.iter().copied().find(|bug| format!("{bug:?}") == name)
}
