//! One partition on this broker: its log, its role, and the rules between them. What a leader does is in [`leading`], what a follower
//! does in [`following`].

mod early;
mod error;
mod following;
mod leading;

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::Duration;

pub use error::PartitionError;

use super::attention::Attention;
use super::follower::EpochLog;
use super::leader::{Leader, Rules};
use super::wait::{FetchWait, News, Waiters, Watchers};
use crate::log::{AppendInfo, Log, Read, ReadError, ReadOptions, Step, Unusable};
use crate::metadata::image::{ClusterImage, PartitionImage, ReplicaEntry};
use crate::types::seeded::{Bug, seeded};
use crate::types::{BrokerId, Clock, LeaderEpoch, Offset, PartitionEpoch, TopicId, TopicPartition};

/// What the image says this broker is to the partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Leads it, in this epoch.
    Leader {
        /// The epoch in which it leads: stamped on every append (rule L2).
        epoch: LeaderEpoch,
    },
    /// Somebody else leads it, or nobody does.
    NotLeader {
        /// The leader, if there is one.
        leader: Option<BrokerId>,
        /// The epoch known here.
        epoch: LeaderEpoch,
    },
}

impl Role {
    /// The leader epoch that the role belongs to.
    #[must_use]
    pub const fn epoch(&self) -> LeaderEpoch {
        match self {
            Self::Leader { epoch, .. } | Self::NotLeader { epoch, .. } => *epoch,
        }
    }
}

/// What is logged of [`Partition::rolled_back`].
const ROLLED_BACK: &str = "etcd knows an older leader epoch than this log: it was restored from a backup. The replica neither leads nor \
follows until etcd.accept.rollback=true accepts that";

/// A finished append.
pub type Appended = Result<AppendInfo, PartitionError>;

/// An image as one partition takes it.
#[derive(Debug, Clone, Copy)]
pub struct Applied<'a> {
    /// The partition's state.
    pub state: &'a Arc<PartitionImage>,
    /// The image it is of.
    pub image: &'a Arc<ClusterImage>,
    /// This broker's lifetime.
    pub me: ReplicaEntry,
    /// What the configuration says.
    pub rules: Rules,
}

/// How an append is to be acknowledged.
#[derive(Debug, Clone, Copy)]
pub struct Acks {
    /// acks=all: when all in-sync replicas have it, within this time. `None`: when the leader has it.
    pub all_within: Option<Duration>,
    /// The deadline of this broker's lease has passed (rule L12): others may have elected another leader.
    pub lease_over: bool,
}

impl Acks {
    /// acks=1 of a broker whose session holds.
    pub const LEADER: Self = Self { all_within: None, lease_over: false };
}

/// One partition that this broker holds a replica of.
pub struct Partition {
    name: TopicPartition,
    topic_id: TopicId,
    log: Arc<Log>,
    clock: Clock,
    /// Lock order: the role, then whatever the log locks, then the core, then the waiters.
    role: RwLock<State>,
    /// The leader's core, from the beginning of its epoch until the role ends. Not for a single replica.
    core: Mutex<Option<Leader>>,
    /// This broker is the only replica: a record is committed as soon as it is appended (rule L3 with one replica).
    sole: AtomicBool,
    /// Wait for what is committed.
    waiters: Waiters,
    /// Wait for what is appended: followers without a session.
    follower_waiters: Waiters,
    /// Followers' sessions.
    watchers: Watchers,
    /// Bytes appended that the waiters for what is committed were not told of.
    uncommitted_bytes: AtomicI64,
    /// etcd may have gone back in time: an operator says so (rule E13).
    accepts_rollback: AtomicBool,
    /// The role has begun: offsets are known, nothing of an earlier role is under way.
    serving: AtomicBool,
    /// A leader's records came here: they may still be on their way into the log when the role changes.
    followed: AtomicBool,
    /// Appends that came before `serving`.
    early: early::Early,
    attention: Arc<Attention>,
    me: Weak<Self>,
}

struct State {
    role: Role,
    partition_epoch: PartitionEpoch,
    /// Counts roles: what was waited for in an earlier one says nothing.
    serial: u64,
    /// What the leader's core begins with, until it does.
    begin_with: Option<Begin>,
}

struct Begin {
    state: Arc<PartitionImage>,
    image: Arc<ClusterImage>,
    me: ReplicaEntry,
    rules: Rules,
}

impl From<&Applied<'_>> for Begin {
    fn from(applied: &Applied<'_>) -> Self {
        Self {
            state: Arc::clone(applied.state),
            image: Arc::clone(applied.image),
            me: applied.me,
            rules: applied.rules,
        }
    }
}

impl Partition {
    /// A partition over its opened log; it has no role until [`Partition::apply`]. `attention` is told when a change of its ISR is due.
    #[must_use]
    pub fn new(
        name: TopicPartition,
        topic_id: TopicId,
        log: Arc<Log>,
        clock: Clock,
        attention: Arc<Attention>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|me: &Weak<Self>| {
            let told = Weak::clone(me);
            // The log calls this in order of its appends, also for those that went to a storage thread.
            log.on_append(move |log_end_offset, size_bytes| {
                if let Some(partition) = told.upgrade() {
                    partition.appended(log_end_offset, size_bytes);
                }
            });
            Self {
                name,
                topic_id,
                log,
                clock,
                role: RwLock::new(State {
                    role: Role::NotLeader { leader: None, epoch: LeaderEpoch(-1) },
                    partition_epoch: PartitionEpoch(-1),
                    serial: 0,
                    begin_with: None,
                }),
                core: Mutex::new(None),
                sole: AtomicBool::new(false),
                waiters: Waiters::default(),
                follower_waiters: Waiters::default(),
                watchers: Watchers::default(),
                uncommitted_bytes: AtomicI64::new(0),
                accepts_rollback: AtomicBool::new(false),
                serving: AtomicBool::new(false),
                followed: AtomicBool::new(false),
                early: early::Early::default(),
                attention,
                me: Weak::clone(me),
            }
        })
    }

    /// Its topic and index.
    #[must_use]
    pub const fn name(&self) -> &TopicPartition {
        &self.name
    }

    /// The id of its topic.
    #[must_use]
    pub const fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// Its log.
    #[must_use]
    pub const fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Its present role.
    #[must_use]
    pub fn role(&self) -> Role {
        self.read_role().role
    }

    /// Lets it take roles of epochs that are older than its log's: an operator accepted that etcd went back in time (rule E13).
    pub fn accept_rollback(&self) {
        self.accepts_rollback.store(true, Ordering::Release);
    }

    /// The log's newest epoch and the image's, if the log's is newer: every epoch of a log was in etcd first, so etcd has forgotten
    /// what it said (rule E13). `None` while the log is not recovered.
    #[must_use]
    pub fn rolled_back(&self) -> Option<(LeaderEpoch, LeaderEpoch)> {
        self.rolled_back_to(self.role().epoch())
    }

    fn rolled_back_to(&self, now: LeaderEpoch) -> Option<(LeaderEpoch, LeaderEpoch)> {
        let seen = self.log.latest_epoch().filter(|_| self.log.is_recovered())?;
        (LeaderEpoch(0) <= now && now < seen && !seeded(Bug::E13Believes)).then_some((seen, now))
    }

    /// The leader and its epoch, if somebody else leads.
    #[must_use]
    pub fn following(&self) -> Option<(BrokerId, LeaderEpoch)> {
        match self.role() {
            Role::NotLeader { leader: Some(leader), epoch } => Some((leader, epoch)),
            _ => None,
        }
    }

    /// The record under which this broker uses the log; -1 before the first.
    #[must_use]
    pub fn partition_epoch(&self) -> PartitionEpoch {
        self.read_role().partition_epoch
    }

    fn read_role(&self) -> RwLockReadGuard<'_, State> {
        self.role.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_role(&self) -> RwLockWriteGuard<'_, State> {
        self.role.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn core(&self) -> MutexGuard<'_, Option<Leader>> {
        self.core.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the role that the image gives this broker. An older state than the one applied is ignored (rule E14). Returns whether
    /// the role changed. A new role serves once [`Partition::ready`] was answered.
    ///
    /// A process leads only in an epoch whose recorded leader is one of its own registrations (rule E3), so `me` names the lifetime;
    /// with a single replica nobody else can have led in between, so an older lifetime of this broker is as good.
    pub fn apply(&self, applied: &Applied<'_>) -> bool {
        let (partition, me) = (applied.state, applied.me);
        let sole = partition.replicas.as_slice() == [me.id];
        let leads = partition.leader.is_some_and(|leader| {
            leader.id == me.id && (leader.epoch == me.epoch || sole || seeded(Bug::E3LeadsOn))
        });
        let epoch = partition.leader_epoch;
        let role = if leads {
            Role::Leader { epoch }
        } else {
            // An earlier lifetime of this broker is nobody to turn to.
            let leader = partition.leader.map(|leader| leader.id).filter(|leader| *leader != me.id);
            Role::NotLeader { leader, epoch }
        };
        let mut state = self.write_role();
        if (epoch, partition.partition_epoch) < (state.role.epoch(), state.partition_epoch) {
            return false;
        }
        state.partition_epoch = partition.partition_epoch;
        let was_sole = self.sole.swap(sole, Ordering::AcqRel);
        if state.role == role && was_sole == sole {
            self.observe(&mut state, applied);
            return false;
        }
        // The old epoch ends first: what is parked in it is refused from here on (rule L11).
        *self.core() = None;
        self.serving.store(false, Ordering::Release);
        state.serial += 1;
        state.role = role;
        state.begin_with = (leads && !sole).then(|| applied.into());
        let serial = state.serial;
        drop(state);
        if self.log.is_recovered() && self.is_settled() {
            self.begin(serial);
        }
        self.end_waits();
        true
    }

    /// The same role under a newer image.
    fn observe(&self, state: &mut State, applied: &Applied<'_>) {
        if let Some(begin_with) = &mut state.begin_with {
            *begin_with = applied.into();
            return;
        }
        let mut core = self.core();
        if let Some(leader) = core.as_mut() {
            leader.observe(applied.state, applied.image, applied.rules, self.clock.elapsed());
            self.advance(leader);
            drop(core);
            self.call_attention();
            // Who did not count under the last image may count now.
            self.tell_followers(true);
        }
    }

    /// Asks for a look at this partition's ISR.
    pub fn call_attention(&self) {
        self.attention.call(&self.me);
    }

    /// Waits until the role has begun: the log recovered if the last run did not end in order (rule B3), and nothing of an earlier
    /// role under way. At once in the common case.
    pub fn ready(self: &Arc<Self>) -> Step<Result<(), Unusable>> {
        if self.serving.load(Ordering::Acquire) {
            return Step::Ready(Ok(()));
        }
        let this = Arc::clone(self);
        match self.settle() {
            (serial, Step::Ready(settled)) => Step::Ready(settled.map(|()| self.begin(serial))),
            (mut serial, Step::Pending(mut settled)) => Step::Pending(Box::pin(async move {
                loop {
                    settled.await?;
                    this.begin(serial);
                    if this.serving.load(Ordering::Acquire) {
                        return Ok(());
                    }
                    // Another role came meanwhile.
                    let (next, step) = this.settle();
                    serial = next;
                    settled = Box::pin(step.wait());
                }
            })),
        }
    }

    fn settle(&self) -> (u64, Step<Result<(), Unusable>>) {
        let serial = self.read_role().serial;
        // Until the role has begun everybody waits for what the earlier one left: none of them may begin it before the others' wait ends.
        (serial, if self.is_settled() { self.log.ready() } else { self.log.settled() })
    }

    /// Nothing of an earlier role is under way into the log or, where only what is synced counts (rule S5), to the disk.
    fn is_settled(&self) -> bool {
        !self.followed.load(Ordering::Acquire) && self.log.counting_end() == self.log.log_end_offset()
    }

    /// Begins the role `serial`, if it is still the present one.
    fn begin(&self, serial: u64) {
        let mut state = self.write_role();
        if state.serial != serial || self.serving.load(Ordering::Acquire) {
            return;
        }
        // The caller waited for it; the next turns as a follower come after this, under the same lock.
        self.followed.store(false, Ordering::Release);
        let epoch = state.role.epoch();
        if let Some((seen, now)) = self.rolled_back_to(epoch)
            && !self.accepts_rollback.load(Ordering::Acquire)
        {
            // Rule E13: to lead would give out an epoch twice, to follow would cut off what was acknowledged.
            tracing::error!(partition = %self.name, %seen, %now, "{ROLLED_BACK}");
            state.role = Role::NotLeader { leader: None, epoch };
            state.begin_with = None;
        }
        if let Role::Leader { epoch } = state.role {
            self.log.begin_epoch(epoch); // rule L1
            let log_end = self.log.log_end_offset();
            match state.begin_with.take() {
                Some(begin) => {
                    let hw = self.log.high_watermark();
                    let now = self.clock.elapsed();
                    let mut leader =
                        Leader::new(begin.me, &begin.state, &begin.image, begin.rules, log_end, hw, now);
                    self.advance(&mut leader);
                    *self.core() = Some(leader);
                }
                // Everything in the log is committed. Before anybody is told an offset: "latest" must not go back (rule C2).
                None => {
                    self.log.update_high_watermark(log_end);
                }
            }
        }
        self.serving.store(true, Ordering::Release);
        drop(state);
        self.call_attention();
    }

    /// Checks that this broker may serve the partition to a request that knows `current_leader_epoch` (rule L8).
    ///
    /// # Errors
    /// The three errors of rule L8.
    pub fn check_leader(
        &self,
        current_leader_epoch: Option<LeaderEpoch>,
    ) -> Result<LeaderEpoch, PartitionError> {
        self.check_leader_in(&self.read_role(), current_leader_epoch)
    }

    fn check_leader_in(
        &self,
        state: &State,
        current_leader_epoch: Option<LeaderEpoch>,
    ) -> Result<LeaderEpoch, PartitionError> {
        check_epoch(current_leader_epoch, state.role.epoch())?;
        match state.role {
            Role::Leader { epoch } => Ok(epoch),
            Role::NotLeader { .. } => Err(self.not_leader(&state.role)),
        }
    }

    fn not_leader(&self, role: &Role) -> PartitionError {
        let (leader, epoch) = match role {
            Role::NotLeader { leader, epoch } => (*leader, *epoch),
            Role::Leader { epoch } => (None, *epoch),
        };
        PartitionError::NotLeader { partition: self.name.clone(), leader, epoch }
    }

    /// This broker is the partition's only replica.
    #[must_use]
    pub fn is_sole(&self) -> bool {
        self.sole.load(Ordering::Acquire)
    }

    /// Looks at the leader's core, if this broker leads a replicated partition.
    pub fn with_leader<T>(&self, look: impl FnOnce(&Leader) -> T) -> Option<T> {
        self.core().as_ref().map(look)
    }

    /// Reads whole batches below the options' end, without a check of the role.
    pub fn read(&self, from: Offset, options: ReadOptions) -> Step<Result<Read, ReadError>> {
        self.log.read(from, options)
    }

    fn waiters(&self, follower: bool) -> &Waiters {
        if follower { &self.follower_waiters } else { &self.waiters }
    }

    /// Parks `wait` here until [`Partition::unpark`]: for what is committed, or with `follower` for what is appended.
    pub fn park(&self, wait: &Arc<FetchWait>, follower: bool) {
        self.waiters(follower).register(wait);
    }

    /// Takes `wait` out again.
    pub fn unpark(&self, wait: &Arc<FetchWait>, follower: bool) {
        self.waiters(follower).remove(wait);
    }

    /// Tells a follower's session, from here on, when this partition is to be looked at: after an append, a new high watermark, a change
    /// of the role or of the image.
    pub fn watch(&self, news: &Arc<News>) {
        self.watchers.add(news);
    }

    fn tell_followers(&self, wake: bool) {
        self.watchers.tell((self.topic_id, self.name.partition), wake);
    }

    /// Ends every wait here.
    pub fn end_waits(&self) {
        self.waiters.end_all();
        self.follower_waiters.end_all();
        self.tell_followers(true);
    }

    /// Steps down for good: the topic is deleted or the broker stops.
    pub fn close(&self) {
        let mut state = self.write_role();
        let epoch = state.role.epoch();
        *self.core() = None;
        self.sole.store(false, Ordering::Release);
        state.serial += 1;
        state.role = Role::NotLeader { leader: None, epoch };
        state.begin_with = None;
        drop(state);
        self.end_waits();
    }
}

impl EpochLog for Log {
    fn log_end(&self) -> Offset {
        self.log_end_offset()
    }

    fn latest_epoch(&self) -> Option<LeaderEpoch> {
        Self::latest_epoch(self)
    }

    fn end_offset_for(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.end_offset_for_epoch(epoch)
    }
}

/// Rule L8; `None` is whoever knows no epoch.
fn check_epoch(got: Option<LeaderEpoch>, current: LeaderEpoch) -> Result<(), PartitionError> {
    match got {
        Some(got) if got < current => Err(PartitionError::FencedLeaderEpoch { got, current }),
        Some(got) if got > current => Err(PartitionError::UnknownLeaderEpoch { got, current }),
        _ => Ok(()),
    }
}
