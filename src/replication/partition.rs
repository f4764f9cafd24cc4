//! One partition on this broker: its log, its role, and the rules between them.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak};
use std::time::Duration;

use bytes::Bytes;

use super::attention::Attention;
use super::follower::{self, EpochLog, FetchFrom};
use super::leader::{FetchRefusal, Leader, Rules};
use super::wait::{FetchWait, Waiters, Waiting};
use crate::log::{
    AppendError, AppendInfo, AppendOptions, Log, Origin, Read, ReadError, ReadOptions, Step, Unusable,
};
use crate::metadata::PartitionOutcome;
use crate::metadata::image::{ClusterImage, PartitionImage, ReplicaEntry};
use crate::metadata::txn::partitions::PartitionChange;
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

/// Why a partition refuses an append or a read.
#[derive(Debug, Clone, thiserror::Error)]
pub enum PartitionError {
    /// This broker does not lead the partition.
    #[error("this broker does not lead {partition}; the leader is {leader:?} in epoch {epoch}")]
    NotLeader {
        /// The partition.
        partition: TopicPartition,
        /// Its leader, if known.
        leader: Option<BrokerId>,
        /// The epoch known here.
        epoch: LeaderEpoch,
    },
    /// The client knows an older leader epoch (rule L8).
    #[error("leader epoch {got} is older than the current {current}")]
    FencedLeaderEpoch {
        /// As the request says.
        got: LeaderEpoch,
        /// As this broker knows.
        current: LeaderEpoch,
    },
    /// The client knows a newer leader epoch (rule L8).
    #[error("leader epoch {got} is newer than the {current} known here")]
    UnknownLeaderEpoch {
        /// As the request says.
        got: LeaderEpoch,
        /// As this broker knows.
        current: LeaderEpoch,
    },
    /// acks=all with fewer in-sync replicas than `min.insync.replicas` (rule L7).
    #[error("{partition} has {isr_size} in-sync replicas, fewer than min.insync.replicas = {required}")]
    NotEnoughReplicas {
        /// The partition.
        partition: TopicPartition,
        /// Size of its ISR.
        isr_size: usize,
        /// `min.insync.replicas`.
        required: usize,
    },
    /// The records were appended, but the ISR is too small by now; they may be committed later (rule L7).
    #[error("{partition}: the records are appended, but too few replicas are in sync to acknowledge them")]
    NotEnoughReplicasAfterAppend {
        /// The partition.
        partition: TopicPartition,
    },
    /// The replicas did not have the records in time; they may be committed later.
    #[error("{partition}: the replicas did not take the records within {waited:?}")]
    TimedOut {
        /// The partition.
        partition: TopicPartition,
        /// How long it was waited.
        waited: Duration,
    },
    /// This broker does not follow a leader in that epoch (any more): what came from it is dropped (rules F1, F7).
    #[error("this broker does not follow {partition} in epoch {epoch}")]
    NotFollowing {
        /// The partition.
        partition: TopicPartition,
        /// The epoch of what came.
        epoch: LeaderEpoch,
    },
    /// A follower's fetch was refused (rule L9).
    #[error(transparent)]
    Follower(#[from] FetchRefusal),
    /// The log refused the append.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log refused the read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

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
    /// Wait for what is appended: followers.
    follower_waiters: Waiters,
    /// Bytes appended that the waiters for what is committed were not told of.
    uncommitted_bytes: AtomicI64,
    /// The role has begun: offsets are known, nothing of an earlier role is under way.
    serving: AtomicBool,
    /// A leader's records came here: they may still be on their way into the log when the role changes.
    followed: AtomicBool,
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
                uncommitted_bytes: AtomicI64::new(0),
                serving: AtomicBool::new(false),
                followed: AtomicBool::new(false),
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

    /// The leader and its epoch, if somebody else leads.
    #[must_use]
    pub fn following(&self) -> Option<(BrokerId, LeaderEpoch)> {
        match self.role() {
            Role::NotLeader { leader: Some(leader), epoch } => Some((leader, epoch)),
            _ => None,
        }
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
        let leads =
            partition.leader.is_some_and(|leader| leader.id == me.id && (leader.epoch == me.epoch || sole));
        let epoch = partition.leader_epoch;
        let role = if leads {
            Role::Leader { epoch }
        } else {
            Role::NotLeader { leader: partition.leader.map(|leader| leader.id), epoch }
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
        if self.log.is_recovered() && !self.followed.load(Ordering::Acquire) {
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
        let followed = self.followed.swap(false, Ordering::AcqRel);
        (serial, if followed { self.log.settled() } else { self.log.ready() })
    }

    /// Begins the role `serial`, if it is still the present one.
    fn begin(&self, serial: u64) {
        let mut state = self.write_role();
        if state.serial != serial || self.serving.load(Ordering::Acquire) {
            return;
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

    /// The log grew by this leader's append or as a follower.
    fn appended(&self, log_end: Offset, size_bytes: usize) {
        let bytes = i64::try_from(size_bytes).unwrap_or(i64::MAX);
        if self.sole.load(Ordering::Acquire) {
            self.log.update_high_watermark(log_end);
            self.waiters.add(bytes);
            return;
        }
        let mut core = self.core();
        let Some(leader) = core.as_mut() else { return };
        self.uncommitted_bytes.fetch_add(bytes, Ordering::AcqRel);
        leader.appended(log_end);
        self.advance(leader);
        drop(core);
        self.follower_waiters.add(bytes);
    }

    /// Moves the high watermark as far as the rules allow. Under the core's lock, so that it never goes back.
    fn advance(&self, leader: &mut Leader) {
        let before = leader.high_watermark();
        let after = leader.advance(self.clock.elapsed());
        if after == before {
            return;
        }
        self.log.update_high_watermark(after);
        let bytes = if after >= self.log.log_end_offset() {
            self.uncommitted_bytes.swap(0, Ordering::AcqRel)
        } else {
            // Too many rather than too few: whoever wakes for nothing looks again.
            self.uncommitted_bytes.load(Ordering::Acquire)
        };
        self.waiters.add(bytes.max(1));
    }

    /// Appends record batches as leader, and waits for the acknowledgement that `acks` asks for.
    ///
    /// `records` is the records field of one partition of a Produce request.
    ///
    /// # Errors
    /// [`PartitionError::NotLeader`], [`PartitionError::NotEnoughReplicas`], with acks=all [`PartitionError::TimedOut`] and
    /// [`PartitionError::NotEnoughReplicasAfterAppend`], and what the log says of the records.
    pub fn append_as_leader(
        self: &Arc<Self>,
        records: Bytes,
        acks: Acks,
        options: AppendOptions,
    ) -> Step<Appended> {
        let (appended, epoch) = match self.append_in(None, records.clone(), acks, options) {
            Ok(appended) => appended,
            Err(Refused::NotBegun) => {
                let this = Arc::clone(self);
                return Step::Pending(Box::pin(async move {
                    this.ready().wait().await.map_err(AppendError::from)?;
                    this.append_as_leader(records, acks, options).wait().await
                }));
            }
            Err(Refused::Because(error)) => return Step::Ready(Err(error)),
        };
        let Some(within) = acks.all_within.filter(|_| !self.sole.load(Ordering::Acquire)) else {
            return appended;
        };
        let this = Arc::clone(self);
        Step::Pending(Box::pin(async move {
            let info = appended.wait().await?;
            let committed = this.wait_committed(info.last_offset.advance(1), epoch, true);
            match tokio::time::timeout(within, committed.wait()).await {
                Ok(committed) => committed.map(|()| info),
                Err(_) => Err(PartitionError::TimedOut { partition: this.name.clone(), waited: within }),
            }
        }))
    }

    /// Appends a coordinator's batch, if this broker leads in `epoch` and in no other (rule G2). As with acks=all, its records count
    /// only below the high watermark: [`Partition::committed`].
    ///
    /// # Errors
    /// As [`Partition::append_as_leader`]; [`PartitionError::FencedLeaderEpoch`] or [`PartitionError::UnknownLeaderEpoch`] in another epoch.
    pub fn append_as_coordinator(&self, batch: Bytes, epoch: LeaderEpoch) -> Step<Appended> {
        let acks = Acks { all_within: Some(Duration::MAX), lease_over: false };
        let options = AppendOptions { origin: Origin::Coordinator };
        match self.append_in(Some(epoch), batch, acks, options) {
            Ok((appended, _)) => appended,
            Err(Refused::NotBegun) => Step::Ready(Err(self.not_leader(&self.role()))),
            Err(Refused::Because(error)) => Step::Ready(Err(error)),
        }
    }

    fn append_in(
        &self,
        expected: Option<LeaderEpoch>,
        records: Bytes,
        acks: Acks,
        options: AppendOptions,
    ) -> Result<(Step<Appended>, LeaderEpoch), Refused> {
        let state = self.read_role();
        check_epoch(expected, state.role.epoch()).map_err(Refused::Because)?;
        let Role::Leader { epoch } = state.role else {
            return Err(Refused::Because(self.not_leader(&state.role)));
        };
        if !self.sole.load(Ordering::Acquire) {
            if !self.serving.load(Ordering::Acquire) {
                return Err(Refused::NotBegun);
            }
            self.check_replicas(&state.role, acks).map_err(Refused::Because)?;
        }
        // The role's lock is held until the log has taken the records in its order: no append of an old epoch can follow a step-down
        // (rule L11).
        let appended = match self.log.append(records, epoch, options) {
            Step::Ready(result) => Step::Ready(result.map_err(PartitionError::from)),
            Step::Pending(future) => {
                Step::Pending(Box::pin(async move { future.await.map_err(PartitionError::from) }) as _)
            }
        };
        Ok((appended, epoch))
    }

    /// Rules L7 and L12 before an append to a replicated partition.
    fn check_replicas(&self, role: &Role, acks: Acks) -> Result<(), PartitionError> {
        let core = self.core();
        let Some(leader) = core.as_ref() else { return Err(self.not_leader(role)) };
        if acks.lease_over {
            // Somebody else may lead by now. Records that all in-sync replicas must have in this epoch are safe all the same, but
            // not if that is this broker alone and another may be elected uncleanly.
            let alone = leader.is_alone() && self.log.config().unclean_leader_election_enable;
            if acks.all_within.is_none() || alone {
                return Err(self.not_leader(role));
            }
        }
        if acks.all_within.is_some() && !leader.has_min_isr() {
            return Err(PartitionError::NotEnoughReplicas {
                partition: self.name.clone(),
                isr_size: leader.isr_size(),
                required: leader.min_isr(),
            });
        }
        Ok(())
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

    /// Waits until everything below `end` is below the high watermark, while this broker leads in `epoch`. Ready at once if it is.
    ///
    /// # Errors
    /// [`PartitionError::NotLeader`] or one of the epoch errors, as soon as this broker does not lead in `epoch`: also if the high
    /// watermark is far enough (rule G1).
    pub fn committed(self: &Arc<Self>, end: Offset, epoch: LeaderEpoch) -> Step<Result<(), PartitionError>> {
        self.wait_committed(end, epoch, false)
    }

    fn wait_committed(
        self: &Arc<Self>,
        end: Offset,
        epoch: LeaderEpoch,
        min_isr: bool,
    ) -> Step<Result<(), PartitionError>> {
        if let Some(done) = self.is_committed(end, epoch, min_isr) {
            return Step::Ready(done);
        }
        let partition = Arc::clone(self);
        Step::Pending(Box::pin(async move {
            loop {
                let parked = Parked::new(&partition);
                // Registered first, then looked: what comes between is not missed.
                if let Some(done) = partition.is_committed(end, epoch, min_isr) {
                    return done;
                }
                Waiting(Arc::clone(&parked.wait)).await;
            }
        }))
    }

    fn is_committed(
        &self,
        end: Offset,
        epoch: LeaderEpoch,
        min_isr: bool,
    ) -> Option<Result<(), PartitionError>> {
        // Role and high watermark of one moment: an offset of another epoch may be another record (rule L11).
        let state = self.read_role();
        if let Err(error) = self.check_leader_in(&state, Some(epoch))
            && !seeded(Bug::L11LateAck)
        {
            return Some(Err(error));
        }
        if self.log.high_watermark() < end {
            return None;
        }
        let enough = !min_isr || self.core().as_ref().is_none_or(Leader::has_min_isr);
        Some(if enough {
            Ok(())
        } else {
            Err(PartitionError::NotEnoughReplicasAfterAppend { partition: self.name.clone() })
        })
    }

    fn not_leader(&self, role: &Role) -> PartitionError {
        let (leader, epoch) = match role {
            Role::NotLeader { leader, epoch } => (*leader, *epoch),
            Role::Leader { epoch } => (None, *epoch),
        };
        PartitionError::NotLeader { partition: self.name.clone(), leader, epoch }
    }

    /// End of what a consumer may be told as "latest": unknown until the high watermark has reached this epoch's start (rule C2).
    #[must_use]
    pub fn latest(&self) -> Option<Offset> {
        let high_watermark = self.log.high_watermark();
        let early = self.core().as_ref().is_some_and(|leader| high_watermark < leader.epoch_start());
        (!early || seeded(Bug::C2Early)).then_some(high_watermark)
    }

    /// A follower fetches `position` of this leader: all below is in its log (rule L3), if the two logs agree so far. `Ok(Some)`: they
    /// do not, and that is where they part (rule L10); nothing is counted then.
    ///
    /// # Errors
    /// The errors of rule L8, [`PartitionError::Follower`], and [`PartitionError::Read`] if the position is outside of the log.
    pub fn fetched_by_follower(
        &self,
        from: ReplicaEntry,
        position: FetchFrom,
        current_leader_epoch: Option<LeaderEpoch>,
    ) -> Result<Option<(LeaderEpoch, Offset)>, PartitionError> {
        let state = self.read_role();
        let checked = !seeded(Bug::L8NoEpochCheck);
        self.check_leader_in(&state, current_leader_epoch.filter(|_| checked))?;
        if let Some(diverging) = follower::divergence(self.log.as_ref(), position) {
            return Ok(Some(diverging));
        }
        let (start, end) = (self.log.log_start_offset(), self.log.log_end_offset());
        if position.offset < start || position.offset > end {
            return Err(ReadError::OffsetOutOfRange { offset: position.offset.get(), start, end }.into());
        }
        let mut core = self.core();
        let Some(leader) = core.as_mut() else {
            // A single replica has no followers; a role that has not begun has none yet.
            return Err(self.not_leader(&state.role));
        };
        if current_leader_epoch.is_none() && checked {
            // Whoever does not say its epoch may be of another one (rule L3): it is served, and does not count.
            return Ok(None);
        }
        if leader.fetched(from, position.offset, self.clock.elapsed())? {
            self.advance(leader);
            let may_grow = leader.may_grow(from.id);
            drop(core);
            if may_grow {
                self.call_attention();
            }
        }
        Ok(None)
    }

    /// The next change of the record that this leader needs, if any; it counts as sent.
    pub fn take_isr_change(&self, image: &ClusterImage) -> Option<(PartitionChange, LeaderEpoch)> {
        let mut core = self.core();
        let leader = core.as_mut()?;
        let change = leader.propose(self.topic_id, self.name.partition, image, self.clock.elapsed())?;
        leader.sent(&change);
        // A proposed member counts at once (rule L4).
        self.advance(leader);
        Some((change, leader.epoch()))
    }

    /// What came of a change that was taken in `epoch`.
    pub fn isr_outcome(&self, epoch: LeaderEpoch, outcome: &PartitionOutcome) {
        let mut core = self.core();
        if let Some(leader) = core.as_mut().filter(|leader| leader.epoch() == epoch) {
            leader.outcome(outcome);
            self.advance(leader);
            drop(core);
            if matches!(outcome, PartitionOutcome::Written(_)) {
                // The image that shows it may have come first, when the next change had to wait for this.
                self.call_attention();
            }
        }
    }

    /// Appends what the leader of `epoch` sent, if this broker still follows it (rules F1, F5, F7).
    ///
    /// # Errors
    /// [`PartitionError::NotFollowing`], [`PartitionError::Append`].
    pub fn append_as_follower(&self, epoch: LeaderEpoch, records: Bytes) -> Step<Result<(), PartitionError>> {
        self.follow(epoch, |log| {
            log.append_as_follower(records, epoch).map(|done| done.map_err(PartitionError::from))
        })
    }

    /// Cuts the log as the leader of `epoch` said (rule F2).
    ///
    /// # Errors
    /// [`PartitionError::NotFollowing`], [`PartitionError::Append`].
    pub fn truncate_as_follower(&self, epoch: LeaderEpoch, to: Offset) -> Step<Result<(), PartitionError>> {
        self.follow(epoch, |log| {
            log.truncate_to(to).map(|done| done.map_err(|error| AppendError::from(error).into()))
        })
    }

    /// The high watermark and the log start of the leader of `epoch` (rule F6). Never back: what was committed once stays so.
    pub fn leader_said(&self, epoch: LeaderEpoch, high_watermark: Offset) {
        let state = self.read_role();
        if matches!(state.role, Role::NotLeader { epoch: current, .. } if current == epoch) {
            let known = self.log.high_watermark();
            let believed = follower::high_watermark(high_watermark, self.log.log_end_offset());
            if believed > known {
                self.log.update_high_watermark(believed);
            }
        }
    }

    /// Where a follower's next fetch begins. The role must have begun.
    #[must_use]
    pub fn position(&self) -> FetchFrom {
        follower::position(self.log.as_ref())
    }

    /// One turn as a follower in `epoch`. The role's lock is held until the log has taken it in its order.
    pub(crate) fn follow<T: Send + 'static>(
        &self,
        epoch: LeaderEpoch,
        turn: impl FnOnce(&Arc<Log>) -> Step<Result<T, PartitionError>>,
    ) -> Step<Result<T, PartitionError>> {
        let state = self.read_role();
        let follows = matches!(state.role, Role::NotLeader { epoch: current, .. } if current == epoch);
        if (!follows && !seeded(Bug::F1OtherEpoch)) || !self.serving.load(Ordering::Acquire) {
            return Step::Ready(Err(PartitionError::NotFollowing { partition: self.name.clone(), epoch }));
        }
        self.followed.store(true, Ordering::Release);
        turn(&self.log)
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

    /// Ends every wait here.
    pub fn end_waits(&self) {
        self.waiters.end_all();
        self.follower_waiters.end_all();
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

/// Why nothing was appended.
enum Refused {
    /// The role has not begun: to be tried again when it has.
    NotBegun,
    Because(PartitionError),
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

/// One wait for the next thing that becomes readable, registered as long as this lives.
struct Parked<'a> {
    wait: Arc<FetchWait>,
    partition: &'a Partition,
}

impl<'a> Parked<'a> {
    fn new(partition: &'a Partition) -> Self {
        let wait = FetchWait::new(1);
        partition.park(&wait, false);
        Self { wait, partition }
    }
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        self.partition.unpark(&self.wait, false);
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
