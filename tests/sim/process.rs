//! One broker process: its session with etcd, its image, its replicas, and what it does about them.
//!
//! A thin shell around the real cores, with the decisions of `broker/` and `metadata/`: it registers (rules E3, E6, B7), keeps an
//! image (rule E7), applies roles (rule B3), campaigns, sends changes and gives outcomes back.

mod context;
mod deciding;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

pub use context::{Context, Fact, Reply};
pub use deciding::election_of;

use super::controller;
use super::etcd::{Answer, Request, TTL};
use super::log::Log;
use super::message::{ClientAnswer, Message, Refusal};
use super::replica::{Applied, Replica, Role};
use super::stopping::Stop;
use super::{cluster_value, duration, keys, topic_id, topic_name};
use crate::metadata::PartitionOutcome;
use crate::metadata::apply::{self, KeyEvent};
use crate::metadata::image::{ClusterImage, ConfigEntity, ReplicaEntry};
use crate::metadata::keys::{BrokerLiveValue, Key, Record};
use crate::metadata::txn::Outcome;
use crate::metadata::txn::partitions::{PartitionChange, change_partitions, pack, partitions_stand};
use crate::metadata::txn::shapes::{self, ClusterKey};
use crate::replication::election::{self, ElectionRules};
use crate::replication::leader::Rules;
use crate::types::seeded::{Bug, seeded};
use crate::types::{BrokerEpoch, BrokerId, LeaderEpoch, PartitionEpoch};

/// The deadline of a session is that much before the lease's end (rule E6).
const MARGIN: u64 = 90;
/// Between two looks at timers.
pub const TICK: u64 = 100;
/// How long an answer of etcd is waited for.
pub const REQUEST_TIMEOUT: u64 = 250;
/// `replica.lag.time.max.ms`
pub const LAG_MAX: u64 = 400;
/// Between two writes of the highest revision seen (rule E13).
const REMEMBER: u64 = 500;
/// Each better placed candidate is given that long.
const RANK_DELAY: u64 = 60;

/// The key of what [`Topic::min_isr`] holds.
pub const MIN_ISR: &str = "min.insync.replicas";

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

    /// As an image has it, where somebody has changed it since.
    pub fn configured(mut self, image: &ClusterImage) -> Self {
        let changed = image.config(&ConfigEntity::Topic(topic_name()));
        let min = changed.and_then(|entries| entries.get(MIN_ISR)?.parse().ok());
        self.min_isr = min.unwrap_or(self.min_isr);
        self
    }

    pub const fn election(self) -> ElectionRules {
        ElectionRules { min_insync_replicas: self.min_isr, unclean: self.unclean }
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
    Register {
        lease: i64,
        sent: u64,
    },
    Renew {
        lease: i64,
        sent: u64,
    },
    Revoke,
    EndDoubt {
        lease: i64,
    },
    ReadAll,
    Changes(Vec<(PartitionChange, Purpose)>),
    Flags,
    Candidacy,
    EndSession(BrokerId),
    /// Whether a partition was moved away, as its record of that epoch says.
    Departure(i32, PartitionEpoch),
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

/// What a process finds when it begins.
#[derive(Debug, Clone, Copy)]
pub struct Begin {
    pub id: BrokerId,
    /// The number of its host.
    pub host: i32,
    pub life: u64,
    pub boot: u64,
    /// What the disk proves (rules B1, B2).
    pub data_may_be_lost: bool,
    pub clean: bool,
    /// The lease that the last process on these very directories wrote down; 0: none.
    pub old_lease: i64,
    /// It was started with `etcd.accept.rollback`.
    pub accepts: bool,
    /// The highest revision of etcd that the disk remembers.
    pub seen: i64,
    pub now: u64,
}

#[derive(Debug)]
pub struct Process {
    pub id: BrokerId,
    host: i32,
    pub life: u64,
    pub boot: u64,
    old_lease: i64,
    /// It believes whatever etcd says: an operator accepted that it went back in time (rule E13).
    pub accepts: bool,
    /// No etcd at an older revision is registered with.
    pub seen: i64,
    /// Which etcd the watch is of: how often it was restored before.
    pub generation: u64,
    /// How often in a row etcd looked like its own past.
    suspicions: u32,
    /// That was once too often: it believes nothing more, and writes nothing, until somebody restarts it.
    pub refused: bool,
    next_remember: u64,
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
    /// Partitions of which it is being asked.
    departing: BTreeSet<i32>,
    pub draining: bool,
    pub stop: Option<Stop>,
    flags_under_way: bool,
    /// What an operator asked of this process.
    pub wishes: Vec<controller::Wish>,
    /// When the controller looks at a partition again.
    pub errands: BTreeMap<i32, u64>,
}

impl Process {
    pub fn new(begin: Begin, left: BTreeMap<i32, Log>) -> Self {
        let Begin { id, host, life, boot, data_may_be_lost, clean, old_lease, accepts, seen, now } = begin;
        let mut process = Self {
            id,
            host,
            life,
            boot,
            old_lease,
            accepts,
            seen,
            generation: 0,
            suspicions: 0,
            refused: false,
            next_remember: now + REMEMBER,
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
            departing: BTreeSet::new(),
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
            let recovery =
                if clean { 0 } else { 40 + (life * 37 + u64::from(partition.unsigned_abs()) * 53) % 250 };
            process.replicas.insert(partition, Replica::new(partition, log, now + recovery));
        }
        process
    }

    /// It runs on a host that calls itself like another.
    pub fn named_as(&mut self, host: i32) {
        self.host = host;
    }

    fn ask(&mut self, pending: Pending, request: Request, context: &mut Context<'_>) {
        let id = context.id();
        self.pending.insert(id, pending);
        context.etcd.push((id, request));
    }

    /// The deadline of its session has passed, or it does not believe etcd any more.
    pub const fn is_fenced(&self, now: u64) -> bool {
        now > self.deadline || self.refused
    }

    /// Changes of a partition's ISR in a leader epoch of which nothing was heard yet.
    pub fn isr_changes(&self, partition: i32, epoch: LeaderEpoch) -> impl Iterator<Item = &PartitionChange> {
        let sent = self.pending.values().filter_map(|pending| match pending {
            Pending::Changes(changes) => Some(changes),
            _ => None,
        });
        let mine = move |(change, purpose): &&(PartitionChange, Purpose)| {
            change.partition == partition && *purpose == Purpose::Isr(epoch)
        };
        sent.flatten().filter(mine).map(|(change, _)| change)
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
        if now >= self.next_remember {
            self.next_remember = now + REMEMBER;
            disk.highest = disk.highest.max(self.image.revision);
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
            Pending::Departure(partition, _) => {
                self.departing.remove(&partition);
            }
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
            (Pending::ReadAll, Answer::All { entries, revision, generation }) => {
                self.reading = false;
                self.next_resync = now + context.topic.resync;
                let fresh = apply::from_snapshot(keys(), &entries, revision).image;
                if self.believes(&fresh) {
                    self.suspicions = 0;
                    self.image = Arc::new(fresh);
                    self.watches(after, generation);
                    self.look_for_myself(now);
                }
            }
            (Pending::Flags, _) => self.flags_under_way = false,
            (Pending::EndSession(broker), _) => {
                self.ending.remove(&broker);
            }
            (Pending::Departure(partition, epoch), answer) => self.departs(partition, epoch, &answer),
            (Pending::Changes(changes), answer) => self.changed(changes, answer, context),
            _ => {}
        }
        self.poll(context);
    }

    /// Its watch goes on there, of that etcd.
    pub fn watches(&mut self, cursor: usize, generation: u64) {
        (self.cursor, self.generation) = (Some(cursor), generation);
    }

    /// The watch brings events.
    pub fn watched(&mut self, events: &[KeyEvent], cursor: usize, context: &mut Context<'_>) {
        self.cursor = Some(cursor);
        self.image = Arc::new(apply::apply(keys(), &self.image, events, 0).image);
        self.look_for_myself(context.now);
        self.poll(context);
    }

    /// The watch cannot go on from where it was (rule E7).
    pub fn watch_lost(&mut self, end: usize, generation: u64, context: &mut Context<'_>) {
        if seeded(Bug::E7NoResync) {
            self.watches(end, generation);
        } else {
            self.cursor = None;
            self.read_all(context);
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

    fn serving(&mut self, partition: i32, now: u64) -> Option<&mut Replica> {
        self.me?;
        self.replicas.get_mut(&partition).filter(|replica| now >= replica.ready_at)
    }
}
