//! Everything there is, and time. Each step takes the earliest event and looks at the invariants afterwards.

mod network;
mod people;
mod restoring;

use std::collections::{BTreeMap, BTreeSet};

use super::checker::Checker;
use super::clients::Clients;
use super::etcd::{Answer, Etcd, Request};
use super::message::{ClientAnswer, Message};
use super::node::Node;
use super::process::{Context, Process, TICK, Topic};
use super::random::Random;
use super::schedule::Chaos;
pub use people::Deed;
pub use restoring::Restoring;

use crate::types::BrokerId;

/// Something that happens.
#[derive(Debug, Clone)]
pub enum Event {
    /// Timers of a process.
    Tick {
        node: BrokerId,
        life: u64,
    },
    /// To whatever process was there when it was sent.
    Message {
        to: BrokerId,
        from: Option<BrokerId>,
        life: u64,
        message: Message,
    },
    Request {
        node: BrokerId,
        life: u64,
        id: u64,
        request: Request,
    },
    Answer {
        node: BrokerId,
        life: u64,
        id: u64,
        answer: Answer,
        after: usize,
    },
    Timeout {
        node: BrokerId,
        life: u64,
        id: u64,
    },
    Watch {
        node: BrokerId,
        life: u64,
    },
    /// etcd looks at its leases.
    Expire,
    /// The host loses power, if its process is closing.
    PowerAtClose {
        node: BrokerId,
    },
    /// A process begins, if none is there.
    Start {
        node: BrokerId,
    },
    /// An answer to a client.
    Reply {
        op: u64,
        answer: ClientAnswer,
    },
    /// The schedule's next fault, or operation of a client.
    Chaos,
    Operate,
    /// etcd goes back in time.
    Restoring(restoring::Step),
    Deed(Deed),
}

/// What the network does beside delivering.
#[derive(Debug, Default)]
pub struct Net {
    /// What `from` sends does not reach `to`.
    pub cut: BTreeSet<(BrokerId, BrokerId)>,
    /// Whose requests do not reach etcd, and who does not hear from it.
    pub no_requests: BTreeSet<BrokerId>,
    pub no_answers: BTreeSet<BrokerId>,
}

/// Percentages of what goes wrong on the way.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rates {
    pub lost: u64,
    pub slow: u64,
    pub repeated: u64,
    pub etcd_lost: u64,
    pub etcd_slow: u64,
    /// The watch loses, repeats and reorders.
    pub hostile_watch: u64,
    /// Messages take any time in [1, 4], not just one.
    pub jitter: bool,
}

/// A reason to hold an event back, told by hand.
pub type Hold = Box<dyn Fn(&Event) -> bool>;

pub struct World {
    pub now: u64,
    queue: BTreeMap<(u64, u64), Event>,
    sequence: u64,
    pub random: Random,
    ids: u64,
    lives: u64,
    pub etcd: Etcd,
    pub nodes: BTreeMap<BrokerId, Node>,
    /// What waits for a paused process.
    backlog: BTreeMap<BrokerId, Vec<Event>>,
    watching: BTreeSet<BrokerId>,
    pub net: Net,
    pub rates: Rates,
    pub topic: Topic,
    pub clients: Clients,
    pub checker: Checker,
    pub chaos: Option<Chaos>,
    pub restoring: Restoring,
    pub holds: Vec<Hold>,
    pub held: Vec<Event>,
    pub trace: Trace,
}

/// What is kept of a run.
#[derive(Debug, Default)]
pub struct Trace {
    pub print: bool,
    pub hash: Option<u64>,
}

impl Trace {
    pub const fn is_on(&self) -> bool {
        self.print || self.hash.is_some()
    }

    fn line(&mut self, line: &str) {
        if self.print {
            println!("{line}");
        }
        if let Some(hash) = &mut self.hash {
            for byte in line.bytes() {
                *hash = (*hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
}

impl World {
    pub fn empty(nodes: i32, topic: Topic, seed: u64) -> Self {
        let mut world = Self {
            now: 1,
            queue: BTreeMap::new(),
            sequence: 0,
            random: Random::new(seed),
            ids: 0,
            lives: 0,
            etcd: Etcd::default(),
            nodes: (1..=nodes).map(|id| (BrokerId(id), Node::new(BrokerId(id)))).collect(),
            backlog: BTreeMap::new(),
            watching: BTreeSet::new(),
            net: Net::default(),
            rates: Rates::default(),
            topic,
            clients: Clients::default(),
            checker: Checker::default(),
            chaos: None,
            restoring: Restoring::default(),
            holds: Vec::new(),
            held: Vec::new(),
            trace: Trace::default(),
        };
        world.at(1, Event::Expire);
        world
    }

    pub fn note(&mut self, line: impl FnOnce() -> String) {
        if self.trace.is_on() {
            let line = format!("{:6} {}", self.now, line());
            self.trace.line(&line);
        }
    }

    pub fn at(&mut self, time: u64, event: Event) {
        self.sequence += 1;
        self.queue.insert((time.max(self.now), self.sequence), event);
    }

    pub fn id(&mut self) -> u64 {
        self.ids += 1;
        self.ids
    }

    fn latency(&mut self, slow: u64) -> u64 {
        if slow > 0 && self.random.chance(slow) {
            return self.random.between(20, 1_200);
        }
        if self.rates.jitter { self.random.between(1, 4) } else { 1 }
    }

    /// Takes the earliest event; `false` if there is none before `until`.
    pub fn step(&mut self, until: u64) -> bool {
        let Some(next) = self.queue.first_entry() else { return false };
        let time = next.key().0;
        if time > until {
            self.now = self.now.max(until);
            return false;
        }
        let event = next.remove();
        self.now = self.now.max(time);
        if self.holds.iter().any(|hold| hold(&event)) {
            self.held.push(event);
            return true;
        }
        self.carry_out(event);
        true
    }

    /// Carries one event out, and looks at everything.
    pub fn carry_out(&mut self, event: Event) {
        self.checker.counters.steps += 1;
        if self.trace.is_on()
            && !matches!(event, Event::Tick { .. } | Event::Expire | Event::Chaos | Event::Operate)
        {
            self.note(|| format!("{event:?}"));
        }
        if let Some(node) = addressee(&event)
            && self.nodes[&node].paused
        {
            self.backlog.entry(node).or_default().push(event);
            return;
        }
        match event {
            Event::Tick { node, life } => self.tick(node, life),
            Event::Message { to, from, life, message } => self.message(to, from, life, message),
            Event::Request { node, life, id, request } => self.request(node, life, id, request),
            Event::Answer { node, life, id, answer, after } => {
                self.act(node, Some(life), |process, disk, context| {
                    process.answered(id, answer, after, disk, context);
                });
            }
            Event::Timeout { node, life, id } => {
                self.act(node, Some(life), |process, _, context| process.timed_out(id, context));
            }
            Event::Watch { node, life } => self.watch(node, life),
            Event::Expire => {
                let now = self.now;
                self.etcd.expire(now);
                self.etcd_has_written(None);
                self.at(now + 30, Event::Expire);
            }
            Event::Reply { op, answer } => self.checker.arrived(&mut self.clients, op, answer),
            Event::PowerAtClose { node } => self.power_at_close(node),
            Event::Start { node } => self.start(node),
            Event::Chaos => self.next_fault(),
            Event::Operate => self.next_operation(),
            Event::Restoring(step) => self.restoring_goes_on(step),
            Event::Deed(deed) => self.do_deed(deed),
        }
        self.checker.between(&self.etcd, &self.nodes);
    }

    /// Lets a process act, then spreads what it did.
    pub(super) fn act(
        &mut self,
        id: BrokerId,
        life: Option<u64>,
        action: impl FnOnce(&mut Process, &mut super::node::Disk, &mut Context<'_>),
    ) {
        let node = self.nodes.get_mut(&id).unwrap();
        let Node { process, disk, .. } = node;
        let Some(process) = process.as_mut().filter(|process| life.is_none_or(|life| process.life == life))
        else {
            return;
        };
        let mut context = Context {
            now: self.now,
            topic: self.topic,
            random: &mut self.random,
            ids: &mut self.ids,
            sends: Vec::new(),
            replies: Vec::new(),
            etcd: Vec::new(),
            facts: Vec::new(),
            exit: false,
        };
        action(process, disk, &mut context);
        let Context { sends, replies, etcd, facts, exit, .. } = context;
        let life = process.life;
        let fenced = process.is_fenced(self.now);
        let node = &self.nodes[&id];
        self.checker.acted(node, &facts);
        for reply in &replies {
            self.checker.answered(node, reply, fenced);
        }
        for (to, message) in sends {
            self.send(Some(id), to, message);
        }
        for reply in replies {
            let at = self.now + self.latency(self.rates.slow);
            if !self.random.chance(self.rates.lost) {
                self.at(at, Event::Reply { op: reply.request.op, answer: reply.answer });
            }
        }
        for (request, what) in etcd {
            self.ask_etcd(id, life, request, what);
        }
        if exit {
            self.note(|| format!("broker {id} has stopped"));
            self.nodes.get_mut(&id).unwrap().end(super::node::Loss::Nothing, |_| 0);
        }
        self.look_at_copy(id);
    }

    fn tick(&mut self, id: BrokerId, life: u64) {
        let there = self.nodes[&id].process.as_ref().is_some_and(|process| process.life == life);
        if !there {
            return;
        }
        self.act(id, Some(life), |process, disk, context| {
            process.tick(disk, context);
            process.poll(context);
            process.close_on(disk, context);
        });
        self.notify(id);
        let closing = self.nodes[&id].process.as_ref().and_then(|process| process.stop.as_ref());
        if self.chaos.is_some() && closing.is_some_and(super::stopping::Stop::is_closing) {
            self.close_is_near(id);
        }
        let jitter = if self.rates.jitter { self.random.below(20) } else { 0 };
        self.at(self.now + TICK + jitter, Event::Tick { node: id, life });
    }

    /// Starts a process on a host that has none.
    pub fn start(&mut self, id: BrokerId) {
        if self.nodes[&id].process.is_some() {
            return;
        }
        self.lives += 1;
        let (life, now) = (self.lives, self.now);
        self.note(|| format!("broker {id} starts, life {life}"));
        let accepts = self.begins_with_acceptance(id);
        self.nodes.get_mut(&id).unwrap().start(life, now, accepts);
        self.watching.remove(&id);
        self.at(now, Event::Tick { node: id, life });
    }

    /// Ends a process.
    pub fn crash(&mut self, id: BrokerId, loss: super::node::Loss) {
        self.note(|| format!("broker {id} crashes, loss: {loss:?}"));
        self.backlog.remove(&id);
        let random = &mut self.random;
        let jitter = self.rates.jitter;
        let keep = |unsynced: usize| {
            if jitter && loss != super::node::Loss::Disk {
                usize::try_from(random.below(unsynced as u64 + 1)).unwrap()
            } else {
                0
            }
        };
        let had = self.nodes[&id].process.is_some();
        self.nodes.get_mut(&id).unwrap().end(loss, keep);
        if loss != super::node::Loss::Nothing {
            self.checker.lost(id);
        }
        if had && loss == super::node::Loss::Nothing {
            // Every peer has a connection that is reset.
            let peers: Vec<BrokerId> = self.nodes.keys().copied().filter(|peer| *peer != id).collect();
            for peer in peers {
                if !self.net.cut.contains(&(peer, id)) {
                    self.refused(peer, id);
                }
            }
        }
        self.watching.remove(&id);
    }

    /// What a dead process had sent takes its time: it may arrive after the next one has registered (rule L9).
    pub fn delay_what_was_sent(&mut self, id: BrokerId) {
        let sent: Vec<(u64, u64)> = self
            .queue
            .iter()
            .filter(|(_, event)| matches!(event, Event::Message { from: Some(from), .. } if *from == id))
            .map(|(at, _)| *at)
            .collect();
        for at in sent {
            if let Some(event) = self.queue.remove(&at) {
                let later = self.now + self.random.between(30, 240);
                self.at(later, event);
            }
        }
    }

    /// Stops a process as SIGSTOP does.
    pub fn pause(&mut self, id: BrokerId) {
        if self.nodes[&id].process.is_some() {
            self.note(|| format!("broker {id} is paused"));
            self.nodes.get_mut(&id).unwrap().paused = true;
        }
    }

    /// Lets it go on: everything that waited is there at once.
    pub fn resume(&mut self, id: BrokerId) {
        let node = self.nodes.get_mut(&id).unwrap();
        if !node.paused {
            return;
        }
        node.paused = false;
        self.note(|| format!("broker {id} goes on"));
        for event in self.backlog.remove(&id).unwrap_or_default() {
            self.at(self.now, event);
        }
    }
}

/// Whose process an event is for.
fn addressee(event: &Event) -> Option<BrokerId> {
    match event {
        Event::Tick { node, .. }
        | Event::Answer { node, .. }
        | Event::Timeout { node, .. }
        | Event::Watch { node, .. } => Some(*node),
        Event::Message { to, .. } => Some(*to),
        _ => None,
    }
}
