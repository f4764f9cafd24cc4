//! How a scenario is told by hand: no chance, one millisecond per message, and the teller decides what is held back.
//!
//! ```text
//! let mut world = World::new(3).topic(3, 2);      // three brokers, RF 3, min.insync.replicas 2, all in sync
//! let op = world.produce(1, true);                // to broker 1, acks=all
//! world.run(50);                                  // 50 ms go by
//! assert!(world.is_acked(op));
//! world.cut(2, 1);                                // what 2 sends does not reach 1
//! world.hold(|event| matches!(event, Event::Request { .. }));   // kept back until release()
//! world.crash(1, Loss::Unsynced); world.start_broker(1); world.settle();
//! ```

use super::checker::Checker;
use super::clients::State;
use super::message::{ClientAnswer, ClientKind, ClientRequest, Refusal};
use super::node::{Loss, Node};
use super::process::{Process, Topic};
use super::replica::Replica;
use super::stopping::Stop;
use super::world::{Event, Net, Rates, World};
use super::{cluster_value, controller, keys, topic_id, topic_name};
use crate::metadata::image::ReplicaEntry;
use crate::metadata::keys::{CandidateValue, EpochsFrom, Key, PartitionValue, Record, TopicValue};
use crate::metadata::txn::{GuardedTxn, shapes};
use crate::replication::leader::Leader;
use crate::types::{BrokerId, LeaderEpoch, Offset};

use super::etcd::Request;

/// How long everything is given to come to rest.
const SETTLE_MAX: u64 = 20_000;

impl World {
    /// So many brokers, numbered from 1, all registered.
    pub fn new(brokers: i32) -> Self {
        Self::with(brokers, Topic { min_isr: 1, unclean: false, resync: 5_000 }, 0)
    }

    pub fn with(brokers: i32, topic: Topic, seed: u64) -> Self {
        let mut world = Self::empty(brokers, topic, seed);
        let cluster = GuardedTxn::new("cluster").put(keys().bytes(&Key::Cluster), cluster_value().encode());
        world.etcd.handle(Request::Txn(cluster), 0);
        world.etcd_has_written(None);
        for id in 1..=brokers {
            world.start(BrokerId(id));
        }
        world.run(60);
        world
    }

    /// Creates the topic: one partition on brokers `1..=rf`, led by broker 1.
    pub fn topic(self, rf: i32, min_isr: usize) -> Self {
        self.partitions(vec![(1..=rf).map(BrokerId).collect()], min_isr)
    }

    /// Creates the topic with these replicas per partition.
    pub fn partitions(mut self, assignment: Vec<Vec<BrokerId>>, min_isr: usize) -> Self {
        self.topic.min_isr = min_isr;
        self.checker.configured(min_isr);
        let brokers: Vec<ReplicaEntry> = self
            .nodes
            .values()
            .filter_map(|node| {
                let held = node.process.as_ref()?.held()?;
                Some(ReplicaEntry { id: node.id, epoch: held.epoch })
            })
            .collect();
        let value = Record::new(TopicValue {
            name: topic_name(),
            created_ms: 0,
            assignment,
            epochs: vec![EpochsFrom { from: 0, brokers: brokers.clone() }],
            deleting: false,
            remaining: Vec::new(),
        });
        let txn = shapes::create_topic(keys(), topic_id(), &value, &brokers, None);
        let now = self.now;
        self.etcd.handle(Request::Txn(txn), now);
        self.etcd_has_written(None);
        self.run(60);
        self
    }

    /// The topic allows unclean elections.
    pub fn unclean(mut self) -> Self {
        self.topic.unclean = true;
        self
    }

    /// Lets time go by.
    pub fn run(&mut self, milliseconds: u64) {
        let until = self.now + milliseconds;
        while self.checker.breach.is_none() && self.step(until) {}
        self.now = self.now.max(until);
    }

    /// Ends every fault and waits until all partitions are led, in sync and equal (I9). The breach, if there is one.
    pub fn settle(&mut self) -> Result<(), String> {
        self.heal();
        let until = self.now + SETTLE_MAX;
        let mut why = None;
        while self.now < until {
            if let Some(breach) = &self.checker.breach {
                return Err(breach.clone());
            }
            why = self.checker.unhealthy(&self.etcd, &self.nodes, self.now);
            if why.is_none() {
                return Ok(());
            }
            self.run(100);
        }
        Err(format!("no rest after {SETTLE_MAX} ms: {}", why.unwrap_or_default()))
    }

    /// Ends every fault: the network, pauses, etcd, dead brokers.
    pub fn heal(&mut self) {
        self.net = Net::default();
        self.rates = Rates { jitter: self.rates.jitter, ..Rates::default() };
        self.holds.clear();
        self.remove_copy();
        self.release();
        if self.etcd.down {
            let now = self.now;
            self.etcd.up(now);
        }
        let ids: Vec<BrokerId> = self.nodes.keys().copied().collect();
        for id in ids {
            self.resume(id);
            self.heal_the_past(id);
            if self.nodes[&id].process.as_ref().is_some_and(|process| process.stop.is_some()) {
                self.crash(id, Loss::Nothing);
            }
            self.start(id);
            self.process_mut(id.get()).draining = false;
        }
    }

    /// The breach of an invariant that was found, if any.
    pub fn breach(&self) -> Option<&str> {
        self.checker.breach.as_deref()
    }

    pub fn checker(&self) -> &Checker {
        &self.checker
    }

    // Processes.

    /// Ends a process, or its host.
    pub fn kill(&mut self, broker: i32, loss: Loss) {
        self.crash(BrokerId(broker), loss);
    }

    pub fn start_broker(&mut self, broker: i32) {
        self.start(BrokerId(broker));
    }

    /// Begins a graceful stop.
    pub fn stop_broker(&mut self, broker: i32) {
        let now = self.now;
        if let Some(process) = self.nodes.get_mut(&BrokerId(broker)).unwrap().process.as_mut() {
            process.stop.get_or_insert(Stop::Leaving { since: now, stopping: false });
        }
    }

    /// Somebody copies the disk of a broker as it is now to another host, which has its address.
    pub fn copy_disk(&mut self, broker: i32, host: i32) {
        let original = &self.nodes[&BrokerId(broker)];
        let mut copy = Node::new(BrokerId(broker));
        copy.host = host;
        copy.disk = original.disk.clone();
        if let Some(process) = &original.process {
            let logs = process.replicas.iter().map(|(partition, replica)| (*partition, replica.log.clone()));
            copy.disk.logs = logs.collect();
        }
        self.nodes.insert(BrokerId(host), copy);
    }

    pub fn process(&self, broker: i32) -> &Process {
        self.nodes[&BrokerId(broker)].process.as_ref().unwrap()
    }

    pub fn process_mut(&mut self, broker: i32) -> &mut Process {
        self.nodes.get_mut(&BrokerId(broker)).unwrap().process.as_mut().unwrap()
    }

    pub fn replica(&self, broker: i32) -> &Replica {
        &self.process(broker).replicas[&0]
    }

    /// The core of the leader, if that broker leads.
    pub fn leader_core(&self, broker: i32) -> Option<&Leader> {
        self.nodes[&BrokerId(broker)].process.as_ref()?.replicas.get(&0)?.leading()
    }

    /// Everything that was written to a broker's log is synced.
    pub fn sync(&mut self, broker: i32) {
        for replica in self.process_mut(broker).replicas.values_mut() {
            replica.log.sync();
        }
    }

    // The network.

    /// What `from` sends does not reach `to`.
    pub fn cut(&mut self, from: i32, to: i32) {
        self.net.cut.insert((BrokerId(from), BrokerId(to)));
    }

    /// Both ways.
    pub fn cut_both(&mut self, one: i32, other: i32) {
        self.cut(one, other);
        self.cut(other, one);
    }

    pub fn mend(&mut self, from: i32, to: i32) {
        self.net.cut.remove(&(BrokerId(from), BrokerId(to)));
    }

    /// A broker and etcd do not hear each other.
    pub fn cut_etcd(&mut self, broker: i32) {
        self.net.no_requests.insert(BrokerId(broker));
        self.net.no_answers.insert(BrokerId(broker));
    }

    pub fn mend_etcd(&mut self, broker: i32) {
        self.net.no_requests.remove(&BrokerId(broker));
        self.net.no_answers.remove(&BrokerId(broker));
    }

    /// Events like this are kept back from now on.
    pub fn hold(&mut self, hold: impl Fn(&Event) -> bool + 'static) {
        self.holds.push(Box::new(hold));
    }

    /// Nothing is held any more, and what was comes now.
    pub fn release(&mut self) {
        self.holds.clear();
        let now = self.now;
        for event in std::mem::take(&mut self.held) {
            self.at(now, event);
        }
    }

    // Clients.

    /// Sends a produce of one record to a broker; its value is the number that is returned.
    pub fn produce(&mut self, broker: i32, acks_all: bool) -> u64 {
        self.ask(broker, ClientKind::Produce { acks_all }, None)
    }

    /// Asks a broker for the latest offset, as a client that knows `epoch`.
    pub fn latest(&mut self, broker: i32, epoch: Option<LeaderEpoch>) -> u64 {
        self.ask(broker, ClientKind::Latest, epoch)
    }

    pub fn read(&mut self, broker: i32, from: i64, epoch: Option<LeaderEpoch>) -> u64 {
        self.ask(broker, ClientKind::Read { from: Offset::new(from).unwrap() }, epoch)
    }

    fn ask(&mut self, broker: i32, kind: ClientKind, epoch: Option<LeaderEpoch>) -> u64 {
        let op = self.id();
        let cuts = self.checker.cuts(0);
        self.clients.begin(op, 0, 0, kind, cuts);
        self.client_sends(BrokerId(broker), ClientRequest { op, partition: 0, epoch, kind });
        op
    }

    /// What came of an operation so far.
    pub fn answer(&self, op: u64) -> Option<&ClientAnswer> {
        match &self.clients.ops[&op].state {
            State::Waiting => None,
            State::Done(answer) => Some(answer),
        }
    }

    pub fn is_acked(&self, op: u64) -> bool {
        matches!(self.answer(op), Some(ClientAnswer::Acked { .. }))
    }

    pub fn refusal(&self, op: u64) -> Option<Refusal> {
        match self.answer(op) {
            Some(ClientAnswer::Failed(why)) => Some(*why),
            _ => None,
        }
    }

    // etcd and the operator.

    /// The record of the first partition, as etcd has it.
    pub fn record(&self) -> &PartitionValue {
        &self.checker.truths[&0].record
    }

    pub fn leader(&self) -> Option<i32> {
        self.record().leader.map(|leader| leader.id.get())
    }

    /// Brokers of the ISR, in order.
    pub fn isr(&self) -> Vec<i32> {
        let mut isr: Vec<i32> = self.record().isr.iter().map(|entry| entry.id.get()).collect();
        isr.sort_unstable();
        isr
    }

    pub fn elr(&self) -> Vec<i32> {
        let mut elr: Vec<i32> = self.record().elr.iter().map(|entry| entry.id.get()).collect();
        elr.sort_unstable();
        elr
    }

    /// Ends a broker's session as if its lease had run out: its process hears of it from the watch.
    pub fn end_session(&mut self, broker: i32) {
        let key = keys().bytes(&Key::BrokerLive(BrokerId(broker)));
        let lease = self.etcd.state.keys.get(&key).map(|stored| stored.lease);
        if let Some(lease) = lease {
            self.etcd.end_lease(lease);
            self.etcd_has_written(None);
        }
    }

    /// The controller, as etcd has it.
    pub fn controller(&self) -> Option<BrokerId> {
        let candidates = self
            .etcd
            .state
            .keys
            .values()
            .filter(|stored| matches!(keys().parse(&stored.key), Ok(Key::Candidate(_))));
        let first = candidates.min_by_key(|stored| stored.create_revision)?;
        Some(Record::<CandidateValue>::decode(&first.value).unwrap().value.broker)
    }

    /// An operator's wish, to one process or to every one.
    pub fn wish(&mut self, wish: &controller::Wish, to: Option<BrokerId>) {
        for node in self.nodes.values_mut().filter(|node| to.is_none_or(|to| to == node.id)) {
            if let Some(process) = &mut node.process {
                process.wishes.push(wish.clone());
            }
        }
    }
}
