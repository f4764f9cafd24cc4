//! One broker process: its session with etcd, its image, its replicas, and what it does about them.
//!
//! A thin shell around the real cores, with the decisions of `broker/` and `metadata/`: it registers (rules E3, E6, B7), keeps an
//! image (rule E7), applies roles (rule B3), campaigns, sends changes and gives outcomes back.

mod deciding;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use deciding::election_of;

use super::controller;
use super::etcd::{Answer, Request, TTL};
use super::log::Log;
use super::message::{ClientAnswer, ClientRequest, Message, Refusal};
use super::random::Random;
use super::replica::{Applied, Replica, Role};
use super::stopping::Stop;
use super::{cluster_value, duration, keys, topic_id};
use crate::metadata::PartitionOutcome;
use crate::metadata::apply::{self, KeyEvent};
use crate::metadata::image::{ClusterImage, ReplicaEntry};
use crate::metadata::keys::{BrokerLiveValue, Key, Record};
use crate::metadata::txn::Outcome;
use crate::metadata::txn::partitions::{PartitionChange, change_partitions, pack};
use crate::metadata::txn::shapes::{self, ClusterKey};
use crate::replication::election::{self, ElectionRules};
use crate::replication::leader::{Leader, Rules};
use crate::types::seeded::{Bug, seeded};
use crate::types::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionEpoch};

/// The deadline of a session is that much before the lease's end (rule E6).
const MARGIN: u64 = 90;
/// Between two looks at timers.
pub const TICK: u64 = 100;
/// How long an answer of etcd is waited for.
pub const REQUEST_TIMEOUT: u64 = 250;
/// `replica.lag.time.max.ms`
pub const LAG_MAX: u64 = 400;
/// Each better placed candidate is given that long.
const RANK_DELAY: u64 = 60;

/// The topic's configuration.
#[derive(Debug, Clone, Copy)]
pub struct Topic {
    pub min_isr: usize,
    pub unclean: bool,
    /// Time between two full reads of the image.
    pub resync: u64,
}

impl Topic {
    pub fn rules(self) -> Rules {
        Rules { min_insync_replicas: self.min_isr, lag_max: duration(LAG_MAX) }
    }

    pub const fn election(self) -> ElectionRules {
        ElectionRules { min_insync_replicas: self.min_isr, unclean: self.unclean }
    }
}

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

#[derive(Debug)]
pub enum Session {
    /// Registers again then.
    Away {
        next_at: u64,
    },
    /// The registration is on its way.
    Registering,
    /// Its answer was lost: the lease is ended, which ends the doubt.
    Doubt {
        lease: i64,
        next_at: u64,
    },
    Held(Held),
}

#[derive(Debug, Clone, Copy)]
pub struct Held {
    pub epoch: BrokerEpoch,
    pub lease: i64,
    renewed_at: u64,
    renewing: bool,
    /// The candidacy was sent.
    candidate: bool,
}

/// What an outstanding request is about.
#[derive(Debug)]
enum Pending {
    Register { lease: i64, sent: u64 },
    Renew { lease: i64, sent: u64 },
    Revoke,
    EndDoubt { lease: i64 },
    ReadAll,
    Changes(Vec<(PartitionChange, Purpose)>),
    Flags,
    Candidacy,
    EndSession(BrokerId),
}

/// Why a record is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Isr(LeaderEpoch),
    Ballot,
    HandOver,
    /// In the name of the controller: its candidacy.
    Controller {
        lease: i64,
        epoch: i64,
    },
    /// An operator asked for it.
    Asked,
}

impl Purpose {
    const fn task(self) -> u8 {
        match self {
            Self::Isr(_) => 0,
            Self::Ballot => 1,
            Self::HandOver => 2,
            Self::Controller { .. } => 3,
            Self::Asked => 4,
        }
    }
}

#[derive(Debug)]
pub struct Process {
    pub id: BrokerId,
    pub life: u64,
    pub boot: u64,
    pub session: Session,
    /// The lifetime in whose name it acts: registered, and seen in the image (rule B3).
    pub me: Option<ReplicaEntry>,
    /// Fenced after this (rule E6).
    pub deadline: u64,
    data_may_be_lost: bool,
    pub image: Arc<ClusterImage>,
    /// Where the watch goes on in etcd's history; `None` until everything was read.
    pub cursor: Option<usize>,
    reading: bool,
    next_resync: u64,
    pub replicas: BTreeMap<i32, Replica>,
    left: BTreeMap<i32, Log>,
    pending: BTreeMap<u64, Pending>,
    ending: BTreeSet<BrokerId>,
    pub draining: bool,
    pub stop: Option<Stop>,
    flags_under_way: bool,
    /// What an operator asked of this process.
    pub wishes: Vec<controller::Wish>,
    /// When the controller looks at a partition again.
    pub errands: BTreeMap<i32, u64>,
}

impl Process {
    pub fn new(
        id: BrokerId,
        life: u64,
        boot: u64,
        data_may_be_lost: bool,
        clean_start: bool,
        left: BTreeMap<i32, Log>,
        now: u64,
    ) -> Self {
        let mut process = Self {
            id,
            life,
            boot,
            session: Session::Away { next_at: now },
            me: None,
            deadline: 0,
            data_may_be_lost,
            image: Arc::default(),
            cursor: None,
            reading: false,
            next_resync: 0,
            replicas: BTreeMap::new(),
            left,
            pending: BTreeMap::new(),
            ending: BTreeSet::new(),
            draining: false,
            stop: None,
            flags_under_way: false,
            wishes: Vec::new(),
            errands: BTreeMap::new(),
        };
        // What is on the disk is opened before anything else; its recovery takes its time.
        for (partition, mut log) in std::mem::take(&mut process.left) {
            let end = log.end();
            log.epochs.truncate_from_end(end.get());
            let recovery = if clean_start {
                0
            } else {
                40 + (life * 37 + u64::from(partition.unsigned_abs()) * 53) % 250
            };
            process.replicas.insert(partition, Replica::new(partition, log, now + recovery));
        }
        process
    }

    fn live_value(&self, draining: bool, stopping: bool) -> Record<BrokerLiveValue> {
        Record::new(BrokerLiveValue {
            incarnation: uuid::Uuid::from_u128(u128::from(self.life)),
            boot_id: self.boot.to_string(),
            host: self.id.to_string(),
            endpoints: Vec::new(),
            rack: None,
            directories: Vec::new(),
            version: String::new(),
            draining,
            stopping,
        })
    }

    fn ask(&mut self, pending: Pending, request: Request, context: &mut Context<'_>) {
        let id = context.id();
        self.pending.insert(id, pending);
        context.etcd.push((id, request));
    }

    /// The session is held and its deadline has not passed.
    pub const fn is_fenced(&self, now: u64) -> bool {
        now > self.deadline
    }

    pub fn held(&self) -> Option<&Held> {
        match &self.session {
            Session::Held(held) => Some(held),
            _ => None,
        }
    }

    /// Timers.
    pub fn tick(&mut self, disk: &mut super::node::Disk, context: &mut Context<'_>) {
        let now = context.now;
        match &mut self.session {
            Session::Away { next_at } if *next_at <= now => self.register(disk, context),
            Session::Doubt { lease, next_at } if *next_at <= now => {
                let lease = *lease;
                *next_at = now + REQUEST_TIMEOUT;
                self.ask(Pending::EndDoubt { lease }, Request::Revoke { lease }, context);
            }
            Session::Held(held) if !held.renewing && now >= held.renewed_at + TTL / 3 => {
                held.renewing = true;
                let lease = held.lease;
                self.ask(Pending::Renew { lease, sent: now }, Request::KeepAlive { lease }, context);
            }
            _ => {}
        }
        if self.cursor.is_none() || now >= self.next_resync && !seeded(Bug::E7NoResync) {
            self.read_all(context);
        }
        // Now and then the logs are synced and the high watermarks written.
        for replica in self.replicas.values_mut() {
            if now >= replica.ready_at && context.random.chance(15) {
                replica.log.sync();
            }
            if context.random.chance(30) {
                replica.log.checkpoint = replica.high_watermark.get();
            }
        }
    }

    fn register(&mut self, disk: &mut super::node::Disk, context: &mut Context<'_>) {
        let lease = i64::try_from(context.id()).unwrap();
        // A lost registration must be ended by the next process: its lease is written down first (rule B7).
        disk.lease = lease;
        if seeded(Bug::B2ProofEarly) {
            (disk.proof, disk.error) = (disk.proof.map(|(_, epoch)| (self.boot, epoch)), false);
        }
        let stopping = self.stop.as_ref().is_some_and(Stop::is_stopping);
        let value = self.live_value(self.draining || self.stop.is_some(), stopping);
        let cluster = ClusterKey::Stands(cluster_value().encode());
        let txn = shapes::register(keys(), self.id, &value, lease, self.data_may_be_lost, cluster);
        self.session = Session::Registering;
        self.ask(Pending::Register { lease, sent: context.now }, Request::Register { lease, txn }, context);
    }

    fn read_all(&mut self, context: &mut Context<'_>) {
        if !self.reading {
            self.reading = true;
            self.ask(Pending::ReadAll, Request::ReadAll, context);
        }
    }

    /// Nothing was answered in time (rule E9).
    pub fn timed_out(&mut self, request: u64, context: &mut Context<'_>) {
        let now = context.now;
        let Some(pending) = self.pending.remove(&request) else { return };
        match pending {
            Pending::Register { lease, .. } => self.session = Session::Doubt { lease, next_at: now },
            Pending::EndDoubt { .. } | Pending::Revoke => {}
            Pending::Candidacy => {
                if let Session::Held(held) = &mut self.session {
                    held.candidate = false;
                }
            }
            Pending::Renew { lease, .. } => {
                if let Session::Held(held) = &mut self.session
                    && held.lease == lease
                {
                    held.renewing = false;
                }
            }
            Pending::ReadAll => self.reading = false,
            Pending::Flags => self.flags_under_way = false,
            Pending::EndSession(broker) => {
                self.ending.remove(&broker);
            }
            Pending::Changes(changes) => {
                for (change, purpose) in changes {
                    let outcome = PartitionOutcome::Unknown { why: "no answer".to_owned() };
                    self.outcome(&change, purpose, &outcome, context);
                }
            }
        }
        self.poll(context);
    }

    /// etcd has answered in time.
    pub fn answered(
        &mut self,
        request: u64,
        answer: Answer,
        after: usize,
        disk: &mut super::node::Disk,
        context: &mut Context<'_>,
    ) {
        let Some(pending) = self.pending.remove(&request) else { return };
        let now = context.now;
        match (pending, answer) {
            (Pending::Register { lease, sent }, answer) => {
                self.registered(lease, sent, answer, disk, context)
            }
            (Pending::EndDoubt { lease }, _) => {
                if matches!(self.session, Session::Doubt { lease: doubted, .. } if doubted == lease) {
                    self.session = Session::Away { next_at: now };
                }
            }
            (Pending::Renew { lease, sent }, Answer::Alive(alive)) => {
                if let Session::Held(held) = &mut self.session
                    && held.lease == lease
                {
                    if alive {
                        held.renewing = false;
                        held.renewed_at = sent;
                        self.deadline = sent + TTL - MARGIN;
                    } else {
                        self.session = Session::Away { next_at: now };
                    }
                }
            }
            (Pending::ReadAll, Answer::All { entries, revision }) => {
                self.reading = false;
                self.next_resync = now + context.topic.resync;
                if revision >= self.image.revision || seeded(Bug::F7OldEpoch) {
                    self.image = Arc::new(apply::from_snapshot(keys(), &entries, revision).image);
                    self.cursor = Some(after);
                    self.look_for_myself(now);
                }
            }
            (Pending::Flags, _) => self.flags_under_way = false,
            (Pending::EndSession(broker), _) => {
                self.ending.remove(&broker);
            }
            (Pending::Changes(changes), answer) => self.changed(changes, answer, context),
            _ => {}
        }
        self.poll(context);
    }

    fn registered(
        &mut self,
        lease: i64,
        sent: u64,
        answer: Answer,
        disk: &mut super::node::Disk,
        context: &mut Context<'_>,
    ) {
        let now = context.now;
        match answer {
            Answer::Outcome(Outcome::Applied { revision }) => {
                let epoch = BrokerEpoch(revision);
                self.deadline = sent + TTL - MARGIN;
                self.session =
                    Session::Held(Held { epoch, lease, renewed_at: sent, renewing: false, candidate: false });
                // The proof is written only now (N45).
                disk.proof = Some((self.boot, revision));
                disk.error = false;
                self.data_may_be_lost = false;
            }
            Answer::Outcome(Outcome::Rejected { found, .. }) => {
                self.session = Session::Away { next_at: now + TICK };
                let live = keys().bytes(&Key::BrokerLive(self.id));
                let Some(holder) = found.into_iter().find(|stored| stored.key == live) else { return };
                let value = Record::<BrokerLiveValue>::decode(&holder.value).unwrap().value;
                // Its own past on this host is ended at once (rule B7): directory lock and boot id say so.
                if value.boot_id == self.boot.to_string() && value.host == self.id.to_string() {
                    self.ask(Pending::Revoke, Request::Revoke { lease: holder.lease }, context);
                }
            }
            _ => self.session = Session::Away { next_at: now + TICK },
        }
    }

    /// The watch brings events.
    pub fn watched(&mut self, events: &[KeyEvent], cursor: usize, context: &mut Context<'_>) {
        self.cursor = Some(cursor);
        self.image = Arc::new(apply::apply(keys(), &self.image, events, 0).image);
        self.look_for_myself(context.now);
        self.poll(context);
    }

    /// The watch cannot go on from where it was (rule E7).
    pub fn watch_lost(&mut self, end: usize, context: &mut Context<'_>) {
        if seeded(Bug::E7NoResync) {
            self.cursor = Some(end);
        } else {
            self.cursor = None;
            self.read_all(context);
        }
    }

    /// A deletion of the own key beats any renewal (rule E6).
    fn look_for_myself(&mut self, now: u64) {
        let Session::Held(held) = &self.session else { return };
        let gone = self.image.brokers.get(&self.id).is_none_or(|live| live.epoch != held.epoch);
        if gone && self.image.revision >= held.epoch.get() {
            self.session = Session::Away { next_at: now };
        }
    }

    /// A message of another broker or a client.
    pub fn received(&mut self, message: Message, context: &mut Context<'_>) {
        let now = context.now;
        match message {
            Message::Fetch(fetch) => match self.serving(fetch.partition, now) {
                Some(replica) => replica.on_fetch(fetch, context),
                None => {
                    let body = super::message::Body::Error;
                    let (id, partition, epoch) = (fetch.id, fetch.partition, fetch.epoch);
                    let fetched = super::message::Fetched { id, partition, epoch, body };
                    context.send(fetch.from.id, Message::Fetched(fetched));
                }
            },
            Message::Fetched(fetched) => {
                if let Some(replica) = self.serving(fetched.partition, now) {
                    replica.on_fetched(fetched, context);
                }
            }
            Message::Client(request) => {
                let fenced = self.is_fenced(now);
                let unclean = context.topic.unclean;
                match self.serving(request.partition, now) {
                    Some(replica) => replica.on_client(request, fenced, unclean, context),
                    None => context.reply(request, ClientAnswer::Failed(Refusal::NotLeader)),
                }
            }
            Message::Refused { broker } => self.end_session_of(broker, context),
        }
        self.poll(context);
    }

    /// Faster than the lease: its connections are reset and its port refuses, so that process is dead.
    fn end_session_of(&mut self, broker: BrokerId, context: &mut Context<'_>) {
        let Some(live) = self.image.brokers.get(&broker) else { return };
        // Who stops in order ends its session itself.
        if live.stopping || self.me.is_none() || !self.ending.insert(broker) {
            return;
        }
        let entry = ReplicaEntry { id: broker, epoch: live.epoch };
        let candidacy = self
            .image
            .candidates
            .iter()
            .find(|(_, candidate)| candidate.broker == broker && candidate.broker_epoch == entry.epoch);
        let txn = shapes::end_session(keys(), entry, candidacy.map(|(lease, _)| *lease));
        self.ask(Pending::EndSession(broker), Request::Txn(txn), context);
    }

    fn serving(&mut self, partition: i32, now: u64) -> Option<&mut Replica> {
        self.me?;
        self.replicas.get_mut(&partition).filter(|replica| now >= replica.ready_at)
    }
}
