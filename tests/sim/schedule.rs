//! Faults and operations of a seed.

use super::clients::State;
use super::controller::Wish;
use super::etcd::Request;
use super::keys;
use super::message::{ClientKind, ClientRequest};
use super::node::Loss;
use super::process::{Topic, election_of};
use super::random::Random;
use super::stopping::Stop;
use super::world::{Deed, Event, Net, Rates, World};
use crate::metadata::keys::Key;
use crate::metadata::txn::Operation;
use crate::types::{BrokerId, LeaderEpoch};

/// How a seed's faults are made.
#[derive(Debug, Clone)]
pub struct Chaos {
    /// Faults end then.
    until: u64,
    /// Time between two faults, at most.
    pause: u64,
    /// Time between two operations, at most.
    think: u64,
    /// Processes die with what they had not synced.
    losses: bool,
    /// Processes are back at once, and what they had sent is late.
    lifetimes: bool,
    /// How many brokers may be away at once.
    away_max: usize,
    partitions: i32,
    /// Weight of each fault.
    weights: [u64; FAULTS.len()],
    /// An operator moves replicas while their leader changes the ISR.
    meddles: bool,
    /// Changes of records take their time, while what makes them necessary goes on.
    slow_changes: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Kill,
    Power,
    Io,
    Disk,
    Stop,
    Restart,
    Pause,
    CutOneWay,
    CutOff,
    CutEtcd,
    NoAnswers,
    Heal,
    EtcdDown,
    EndSession,
    EndAllSessions,
    Compact,
    Drain,
    Preferred,
    Reassign,
}

const FAULTS: [Fault; 19] = [
    Fault::Kill,
    Fault::Power,
    Fault::Io,
    Fault::Disk,
    Fault::Stop,
    Fault::Restart,
    Fault::Pause,
    Fault::CutOneWay,
    Fault::CutOff,
    Fault::CutEtcd,
    Fault::NoAnswers,
    Fault::Heal,
    Fault::EtcdDown,
    Fault::EndSession,
    Fault::EndAllSessions,
    Fault::Compact,
    Fault::Drain,
    Fault::Preferred,
    Fault::Reassign,
];

/// The world of a seed, before anything goes wrong.
pub fn world_of(seed: u64) -> World {
    let mut random = Random::new(seed);
    // What came later has numbers of its own: the other seeds tell the stories that they told.
    let mut apart = Random::new(!seed);
    let brokers = if random.chance(15) {
        2
    } else if random.chance(8) {
        4
    } else {
        3
    };
    let rf = if brokers == 2 || random.chance(35) { 2 } else { 3 };
    let min_isr = if random.chance(55) { 2 } else { 1 };
    let hostile_watch = if random.chance(20) { random.between(5, 40) } else { 0 };
    let resync = if hostile_watch > 0 { 700 } else { 5_000 };
    let unclean = random.chance(6);
    let partitions: i32 = if random.chance(20) { 2 } else { 1 };
    let mut world = World::with(brokers, Topic { min_isr, unclean, resync }, random.next());
    let assignment = (0..partitions)
        .map(|partition| (0..rf).map(|n| BrokerId(1 + (partition + n) % brokers)).collect())
        .collect();
    world = world.partitions(assignment, min_isr);
    let some = |random: &mut Random, most: u64| if random.chance(50) { random.below(most + 1) } else { 0 };
    world.rates = Rates {
        lost: some(&mut random, 6),
        slow: some(&mut random, 25),
        repeated: some(&mut random, 6),
        etcd_lost: some(&mut random, 12),
        etcd_slow: some(&mut random, 20),
        hostile_watch,
        jitter: true,
    };
    // Each seed likes some faults and knows nothing of others: combinations come up that an average never shows.
    let mut weights = [0; FAULTS.len()];
    for (weight, fault) in weights.iter_mut().zip(FAULTS) {
        *weight = match fault {
            Fault::Restart => 30,
            Fault::Heal => 12,
            _ if random.chance(45) => random.between(1, 12),
            _ => 0,
        };
    }
    // Some are about nothing but lifetimes: processes that are back at once, without what they had, while their messages are late.
    let lifetimes = random.chance(15) || apart.chance(25);
    if lifetimes {
        for (weight, fault) in weights.iter_mut().zip(FAULTS) {
            *weight = match fault {
                Fault::Io => 12,
                Fault::Kill | Fault::EndSession => 3,
                Fault::Restart => 6,
                _ => 0,
            };
        }
        world.rates.slow = random.between(10, 30);
    }
    let losses = lifetimes || random.chance(75);
    let pause = random.between(60, 350);
    let think = random.between(10, 60);
    let away_max = if random.chance(40) { 1 } else { 4 };
    let length = random.between(1_500, 4_000);
    world.chaos = Some(Chaos {
        until: world.now + length,
        pause,
        think,
        losses,
        lifetimes,
        away_max,
        partitions,
        weights,
        meddles: apart.chance(15),
        slow_changes: lifetimes && apart.chance(60),
    });
    if apart.chance(8) {
        for _ in 0..apart.between(2, 6) {
            let min = usize::try_from(apart.between(1, 3)).unwrap();
            let at = world.now + apart.between(50, length);
            world.at(at, Event::Deed(Deed::MinIsr(min)));
        }
    }
    if apart.chance(5) {
        let id = apart.pick(&world.brokers());
        let at = world.now + apart.between(50, length);
        world.at(at, Event::Deed(Deed::Copy(id)));
    }
    if apart.chance(16) {
        let from = world.now + apart.between(50, 700);
        world.goes_back(from, from + apart.between(50, 1_200));
    }
    world.at(world.now, Event::Chaos);
    world.at(world.now, Event::Operate);
    world
}

/// Runs a seed to its end: faults, then rest. What is wrong, if anything.
pub fn run(world: &mut World) -> Result<(), String> {
    let until = world.chaos.as_ref().map_or(0, |chaos| chaos.until);
    while world.now < until && world.checker.breach.is_none() && world.step(until) {}
    if let Some(breach) = world.breach() {
        return Err(breach.to_owned());
    }
    world.chaos = None;
    world.note(|| "every fault ends".to_owned());
    world.settle()?;
    // Nothing is worth more than a record that gets through.
    let partitions: Vec<i32> = world.checker.truths.keys().copied().collect();
    for partition in partitions {
        // For longer than what is under way since the faults may take.
        if !(0..40).any(|_| gets_through(world, partition)) {
            return Err(world
                .breach()
                .map_or("no record gets through after the faults".to_owned(), str::to_owned));
        }
    }
    world.settle()
}

/// One record to the leader, acks=all.
fn gets_through(world: &mut World, partition: i32) -> bool {
    let Some(leader) = world.checker.truths[&partition].record.leader else { return false };
    let op = world.id();
    let kind = ClientKind::Produce { acks_all: true };
    world.clients.begin(op, 0, partition, kind, world.checker.cuts(partition));
    world.client_sends(leader.id, ClientRequest { op, partition, epoch: None, kind });
    for _ in 0..20 {
        world.run(50);
        if world.answer(op).is_some() {
            break;
        }
    }
    world.is_acked(op)
}

impl World {
    /// The next operation of a client.
    pub fn next_operation(&mut self) {
        let Some(chaos) = &self.chaos else { return };
        let (think, partitions) = (chaos.think, chaos.partitions);
        let next = self.now + 1 + self.random.below(think);
        self.at(next, Event::Operate);
        let client = usize::try_from(self.random.below(2)).unwrap();
        let partition = i32::try_from(self.random.below(partitions.unsigned_abs().into())).unwrap();
        // Metadata of any broker that answers, stale or not.
        let brokers: Vec<BrokerId> = self.brokers();
        let asked = self.random.pick(&brokers);
        let node = &self.nodes[&asked];
        let told = node.process.as_ref().filter(|_| !node.paused).and_then(|process| {
            let state = election_of(&process.image, partition)?;
            Some((state.leader.map(|leader| leader.id), state.leader_epoch))
        });
        let (leader, epoch) = told.unwrap_or((None, LeaderEpoch(0)));
        let known = self.clients.learn(client, partition, leader, epoch);
        let to = known.leader.unwrap_or(asked);
        let kind = match self.random.below(10) {
            0..=4 => ClientKind::Produce { acks_all: true },
            5 => ClientKind::Produce { acks_all: false },
            6..=7 => ClientKind::Read { from: known.position },
            _ => ClientKind::Latest,
        };
        let op = self.id();
        self.clients.begin(op, client, partition, kind, self.checker.cuts(partition));
        let epoch = Some(known.epoch);
        self.client_sends(to, ClientRequest { op, partition, epoch, kind });
        self.forget_old_operations();
    }

    /// Operations that are done and were no produces say nothing any more.
    fn forget_old_operations(&mut self) {
        if self.clients.ops.len() > 400 {
            self.clients
                .ops
                .retain(|_, op| op.state == State::Waiting || matches!(op.kind, ClientKind::Produce { .. }));
        }
    }

    /// The next fault.
    pub fn next_fault(&mut self) {
        let Some(chaos) = self.chaos.clone() else { return };
        let next = self.now + 10 + self.random.below(chaos.pause);
        self.at(next, Event::Chaos);
        let total: u64 = chaos.weights.iter().sum();
        let mut at = self.random.below(total);
        let mut chosen = Fault::Heal;
        for (weight, fault) in chaos.weights.iter().zip(FAULTS) {
            if at < *weight {
                chosen = fault;
                break;
            }
            at -= *weight;
        }
        let partition = i32::try_from(self.random.below(chaos.partitions.unsigned_abs().into())).unwrap();
        if self.rates.hostile_watch > 0 {
            // A member that is behind may answer a full read.
            self.etcd.snapshot();
        }
        let target = self.target(partition);
        self.strike(chosen, target, partition, &chaos);
    }

    /// A crash; sometimes the process is back before anybody has noticed.
    fn fall(&mut self, target: BrokerId, loss: Loss) {
        self.crash(target, loss);
        let lifetimes = self.chaos.as_ref().is_some_and(|chaos| chaos.lifetimes);
        if lifetimes || self.random.chance(45) {
            if lifetimes || self.random.chance(80) {
                self.delay_what_was_sent(target);
            }
            let at = self.now + self.random.between(5, 60);
            self.at(at, Event::Start { node: target });
        }
    }

    /// The moment between the last two writes of a process is worth a power failure (rule B1).
    pub fn close_is_near(&mut self, id: BrokerId) {
        if self.chaos.as_ref().is_some_and(|chaos| chaos.losses) && self.random.chance(15) {
            let at = self.now + self.random.between(1, 110);
            self.at(at, Event::PowerAtClose { node: id });
        }
    }

    pub fn power_at_close(&mut self, id: BrokerId) {
        let process = self.nodes[&id].process.as_ref();
        let closing = process.and_then(|process| process.stop.as_ref()).is_some_and(Stop::is_closing);
        if closing && self.chaos.is_some() {
            self.crash(id, Loss::Unsynced);
        }
    }

    /// The leader more often than others.
    fn target(&mut self, partition: i32) -> BrokerId {
        let leader = self.checker.truths.get(&partition).and_then(|truth| truth.record.leader);
        if let Some(leader) = leader
            && self.random.chance(35)
        {
            return leader.id;
        }
        let brokers: Vec<BrokerId> = self.brokers();
        self.random.pick(&brokers)
    }

    fn strike(&mut self, fault: Fault, target: BrokerId, partition: i32, chaos: &Chaos) {
        let away = self.nodes.values().filter(|node| node.process.is_none() || node.paused).count();
        let may_go = away < chaos.away_max;
        let brokers: Vec<BrokerId> = self.brokers();
        let other = self.random.pick(&brokers);
        self.note(|| format!("-- {fault:?} {target} {other}"));
        match fault {
            Fault::Kill if may_go => self.fall(target, Loss::Nothing),
            Fault::Power if may_go && chaos.losses => self.fall(target, Loss::Unsynced),
            Fault::Io if may_go && chaos.losses => self.fall(target, Loss::IoError),
            Fault::Disk if may_go && chaos.losses && self.random.chance(30) => self.fall(target, Loss::Disk),
            Fault::Stop if may_go => self.stop_broker(target.get()),
            Fault::Restart => {
                let gone: Vec<BrokerId> = self
                    .nodes
                    .values()
                    .filter(|node| node.process.is_none() || node.paused)
                    .map(|node| node.id)
                    .collect();
                if !gone.is_empty() {
                    let id = self.random.pick(&gone);
                    if self.nodes[&id].paused {
                        self.resume(id);
                    } else {
                        self.start(id);
                    }
                }
            }
            Fault::Pause if may_go => self.pause(target),
            Fault::CutOneWay if other != target => {
                self.net.cut.insert((target, other));
            }
            Fault::CutOff => {
                for other in brokers.into_iter().filter(|other| *other != target) {
                    self.net.cut.insert((target, other));
                    self.net.cut.insert((other, target));
                }
            }
            Fault::CutEtcd => {
                self.net.no_requests.insert(target);
                self.net.no_answers.insert(target);
            }
            Fault::NoAnswers => {
                self.net.no_answers.insert(target);
            }
            Fault::Heal => {
                self.net = Net::default();
                let now = self.now;
                if self.etcd.down {
                    self.etcd.up(now);
                }
            }
            Fault::EtcdDown if self.random.chance(40) => self.etcd.down = true,
            Fault::EndSession => {
                // Above all the controller's, which hears of it late and may still be writing (rule E2).
                let controller = if self.random.chance(40) { self.controller() } else { None };
                if self.random.chance(50) {
                    self.wish(&Wish::Balance, None);
                }
                self.end_session(controller.unwrap_or(target).get());
            }
            Fault::EndAllSessions if self.random.chance(30) => {
                for id in brokers {
                    self.end_session(id.get());
                }
            }
            Fault::Compact => {
                let revision = self.etcd.state.revision;
                self.etcd.compact(revision);
                self.etcd.snapshot();
            }
            Fault::Drain => {
                if let Some(process) = self.nodes.get_mut(&target).unwrap().process.as_mut() {
                    process.draining = !process.draining;
                }
            }
            Fault::Preferred => self.wish(&Wish::Balance, None),
            Fault::Reassign => {
                let wish = self.some_move(partition);
                self.wish(&wish, Some(target));
            }
            _ => {}
        }
    }

    /// Other replicas for a partition.
    fn some_move(&mut self, partition: i32) -> Wish {
        let mut shuffled: Vec<BrokerId> = self.brokers();
        let rf = self.checker.truths.get(&partition).map_or(1, |truth| truth.record.replicas.len());
        let count = if self.random.chance(30) { 2 } else { rf.min(shuffled.len()) };
        for at in (1..shuffled.len()).rev() {
            let with = usize::try_from(self.random.below(at as u64 + 1)).unwrap();
            shuffled.swap(at, with);
        }
        shuffled.truncate(count);
        if self.random.chance(15) { Wish::Cancel(partition) } else { Wish::Reassign(partition, shuffled) }
    }

    /// How much later a request reaches etcd than it might, if it changes a partition's record; and that partition, if somebody else
    /// is to be faster (N15).
    pub fn change_is_late(&mut self, request: &Request) -> (u64, Option<i32>) {
        let kind = self.chaos.as_ref().map(|chaos| (chaos.meddles, chaos.slow_changes));
        let (Some((meddles, slow)), Some(partition)) = (kind, changed_by(request)) else { return (0, None) };
        if meddles && self.random.chance(35) {
            (self.random.between(10, 80), Some(partition))
        } else if slow && self.random.chance(50) {
            (self.random.between(20, 150), None)
        } else {
            (0, None)
        }
    }

    /// An operator moves the replicas of a partition, by another broker than `node`, right now.
    pub fn meddle(&mut self, node: BrokerId, partition: i32) {
        let others: Vec<BrokerId> = self
            .nodes
            .values()
            .filter(|other| other.id != node && !other.paused && other.process.is_some())
            .map(|other| other.id)
            .collect();
        if others.is_empty() {
            return;
        }
        let by = self.random.pick(&others);
        let wish = self.some_move(partition);
        self.wish(&wish, Some(by));
        self.act(by, None, |process, _, context| process.poll(context));
    }
}

/// The first partition whose record a request changes.
fn changed_by(request: &Request) -> Option<i32> {
    let Request::Txn(txn) = request else { return None };
    txn.operations.iter().find_map(|operation| match operation {
        Operation::Put { key, .. } => match keys().parse(key) {
            Ok(Key::Partition(_, partition)) => Some(partition),
            _ => None,
        },
        Operation::DeleteRange { .. } => None,
    })
}
