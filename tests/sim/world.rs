//! Everything there is, and time. Each step takes the earliest event and looks at the invariants afterwards.

use std::collections::{BTreeMap, BTreeSet};

use super::checker::Checker;
use super::clients::Clients;
use super::etcd::{self, Answer, Etcd, Request};
use super::message::{ClientAnswer, ClientRequest, Message, Refusal};
use super::node::Node;
use super::process::{Context, Process, REQUEST_TIMEOUT, TICK, Topic};
use super::random::Random;
use super::schedule::Chaos;
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
        }
        self.checker.between(&self.etcd, &self.nodes);
    }

    /// Lets a process act, then spreads what it did.
    fn act(
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
            self.checker.answered(node, reply, fenced, self.topic);
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
    }

    fn send(&mut self, from: Option<BrokerId>, to: BrokerId, message: Message) {
        let node = &self.nodes[&to];
        let Some(life) = node.process.as_ref().map(|process| process.life) else {
            let refused = node.up && from.is_none_or(|from| !self.net.cut.contains(&(from, to)));
            if refused && let Some(from) = from {
                self.refused(from, to);
            }
            return;
        };
        let lost = from.is_some_and(|from| self.net.cut.contains(&(from, to)));
        if lost || from.is_some() && self.random.chance(self.rates.lost) {
            return;
        }
        if self.rates.repeated > 0 && self.random.chance(self.rates.repeated) {
            let at = self.now + self.latency(40);
            self.at(at, Event::Message { to, from, life, message: message.clone() });
        }
        let at = self.now + self.latency(self.rates.slow);
        self.at(at, Event::Message { to, from, life, message });
    }

    /// `from` learns that the process on `dead` is gone.
    fn refused(&mut self, from: BrokerId, dead: BrokerId) {
        if let Some(life) = self.nodes[&from].process.as_ref().map(|process| process.life)
            && !self.net.cut.contains(&(dead, from))
        {
            let message = Message::Refused { broker: dead };
            self.at(self.now + 2, Event::Message { to: from, from: Some(dead), life, message });
        }
    }

    fn message(&mut self, to: BrokerId, from: Option<BrokerId>, life: u64, message: Message) {
        let there = self.nodes[&to].process.as_ref().is_some_and(|process| process.life == life);
        if !there {
            let node = &self.nodes[&to];
            if let Some(from) = from
                && node.process.is_none()
                && node.up
                && !matches!(message, Message::Refused { .. })
            {
                self.refused(from, to);
            }
            return;
        }
        self.act(to, Some(life), |process, _, context| process.received(message, context));
    }

    /// A client's request.
    pub fn client_sends(&mut self, to: BrokerId, request: ClientRequest) {
        let op = request.op;
        if self.nodes[&to].process.is_none() {
            let answer = ClientAnswer::Failed(Refusal::Lost);
            return self.at(self.now + 1, Event::Reply { op, answer });
        }
        self.send(None, to, Message::Client(request));
    }

    fn ask_etcd(&mut self, node: BrokerId, life: u64, id: u64, request: Request) {
        self.at(self.now + REQUEST_TIMEOUT, Event::Timeout { node, life, id });
        if self.net.no_requests.contains(&node) || self.random.chance(self.rates.etcd_lost) {
            return;
        }
        let at = self.now + 1 + self.latency(self.rates.etcd_slow);
        self.at(at, Event::Request { node, life, id, request });
    }

    fn request(&mut self, node: BrokerId, life: u64, id: u64, request: Request) {
        if self.etcd.down {
            return;
        }
        let fence = match &request {
            Request::AsController { lease, epoch, .. } => Some((*lease, *epoch)),
            _ => None,
        };
        let stale = matches!(request, Request::ReadAll)
            && !self.etcd.snapshots.is_empty()
            && self.rates.hostile_watch > 0
            && self.random.chance(30);
        let answer = if stale {
            etcd::read_all(&self.etcd.snapshots[self.random.below(self.etcd.snapshots.len() as u64) as usize])
        } else {
            self.etcd.handle(request, self.now)
        };
        self.etcd_has_written(fence);
        if self.net.no_answers.contains(&node) || self.random.chance(self.rates.etcd_lost) {
            return;
        }
        let after = match &answer {
            Answer::All { revision, .. } => self.etcd.after(*revision),
            _ => 0,
        };
        let at = self.now + self.latency(self.rates.etcd_slow);
        self.at(at, Event::Answer { node, life, id, answer, after });
    }

    /// The checker and the watches take what was written.
    pub fn etcd_has_written(&mut self, fence: Option<(i64, i64)>) {
        let writes = std::mem::take(&mut self.etcd.written);
        if writes.is_empty() {
            return;
        }
        if self.trace.is_on() {
            for write in &writes {
                let key = String::from_utf8_lossy(&write.key).into_owned();
                let value = write.value.as_ref().map(|value| String::from_utf8_lossy(value).into_owned());
                self.note(|| format!("  etcd {}: {key} = {value:?}", write.revision));
            }
        }
        self.checker.written(&writes, &self.etcd, &mut self.nodes, self.topic, fence);
        let ids: Vec<BrokerId> = self.nodes.keys().copied().collect();
        for id in ids {
            self.notify(id);
        }
    }

    /// A watch event is on its way to a broker that is behind.
    fn notify(&mut self, id: BrokerId) {
        let Some(process) = &self.nodes[&id].process else { return };
        let life = process.life;
        let behind = process.cursor.is_some_and(|cursor| cursor != self.etcd.history.len());
        if behind && self.watching.insert(id) {
            let at = self.now + self.latency(self.rates.etcd_slow);
            self.at(at, Event::Watch { node: id, life });
        }
    }

    fn watch(&mut self, id: BrokerId, life: u64) {
        self.watching.remove(&id);
        if self.etcd.down || self.net.no_answers.contains(&id) {
            return; // the next tick asks again
        }
        let process = self.nodes[&id].process.as_ref().filter(|process| process.life == life);
        let Some(cursor) = process.and_then(|process| process.cursor) else { return };
        let end = self.etcd.history.len();
        let compacted =
            self.etcd.history.get(cursor).is_some_and(|next| next.mod_revision < self.etcd.compacted);
        if compacted || cursor > end {
            return self.act(id, Some(life), |process, _, context| process.watch_lost(end, context));
        }
        let hostile = self.rates.hostile_watch > 0 && self.random.chance(self.rates.hostile_watch);
        let mut from = cursor;
        let mut until = end;
        if self.rates.jitter && self.random.chance(30) && end > cursor {
            // Only a part for now: whole revisions.
            until = cursor + 1 + usize::try_from(self.random.below((end - cursor) as u64)).unwrap();
            until = self.etcd.after(self.etcd.history[until - 1].mod_revision);
        }
        let mut events = self.etcd.history[cursor..until].to_vec();
        if hostile {
            match self.random.below(3) {
                0 => events.clear(),
                1 => {
                    from = from.saturating_sub(usize::try_from(self.random.below(6)).unwrap());
                    events = self.etcd.history[from..until].to_vec();
                }
                _ => {
                    // A later one first: what comes behind it is old for the image.
                    events.reverse();
                    let rest = events.split_off(events.len().min(1));
                    self.act(id, Some(life), |process, _, context| process.watched(&events, until, context));
                    events = rest;
                }
            }
        }
        self.act(id, Some(life), |process, _, context| process.watched(&events, until, context));
        self.notify(id);
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
        self.nodes.get_mut(&id).unwrap().start(life, now);
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
