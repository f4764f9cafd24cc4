//! One partition on this broker: its log, its role, and the rules between them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;

use super::wait::{FetchWait, Waiters, Waiting};
use crate::log::{
    AppendError, AppendInfo, AppendOptions, Log, Origin, Read, ReadError, ReadOptions, Step, Unusable,
};
use crate::metadata::image::{PartitionImage, ReplicaEntry};
use crate::types::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionEpoch, TopicId, TopicPartition};

/// What the image says this broker is to the partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Role {
    /// Leads it, in this epoch.
    Leader {
        /// The epoch in which it leads: stamped on every append (rule L2).
        epoch: LeaderEpoch,
        /// Size of the ISR, this broker included.
        isr_size: usize,
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
    /// The log refused the append.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log refused the read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// A finished append.
pub type Appended = Result<AppendInfo, PartitionError>;

/// One partition that this broker holds a replica of.
pub struct Partition {
    name: TopicPartition,
    topic_id: TopicId,
    log: Arc<Log>,
    role: RwLock<State>,
    waiters: Arc<Waiters>,
    /// Its offsets are known and its high watermark is set: false from an unclean start until the log is recovered.
    serving: AtomicBool,
}

struct State {
    role: Role,
    partition_epoch: PartitionEpoch,
}

impl Partition {
    /// A partition over its opened log; it has no role until [`Partition::apply`].
    #[must_use]
    pub fn new(name: TopicPartition, topic_id: TopicId, log: Arc<Log>) -> Arc<Self> {
        let waiters = Arc::new(Waiters::default());
        let committed = Arc::clone(&waiters);
        let sole_replica = Arc::downgrade(&log);
        // With this broker the only in-sync replica a record is committed as soon as it is appended (rule L3 with one replica). The
        // log calls this in order of its appends, also for those that went to a storage thread.
        log.on_append(move |log_end_offset, size_bytes| {
            if let Some(log) = sole_replica.upgrade() {
                log.update_high_watermark(log_end_offset);
            }
            committed.add(i64::try_from(size_bytes).unwrap_or(i64::MAX));
        });
        Arc::new(Self {
            name,
            topic_id,
            log,
            role: RwLock::new(State {
                role: Role::NotLeader { leader: None, epoch: LeaderEpoch(-1) },
                partition_epoch: PartitionEpoch(-1),
            }),
            waiters,
            serving: AtomicBool::new(false),
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
        self.role.read().unwrap_or_else(PoisonError::into_inner).role.clone()
    }

    /// Takes the role that the image gives this broker. An older state than the one applied is ignored (rule E14). Returns whether
    /// the role changed.
    ///
    /// A process leads only in an epoch whose recorded leader is one of its own registrations (rule E3), so `me` names the lifetime;
    /// with a single replica nobody else can have led in between, so an older lifetime of this broker is as good.
    pub fn apply(&self, image: &PartitionImage, me: ReplicaEntry) -> bool {
        let leads = image.leader.is_some_and(|leader| {
            leader.id == me.id && (leader.epoch == me.epoch || image.replicas.as_slice() == [me.id])
        });
        let role = if leads {
            Role::Leader { epoch: image.leader_epoch, isr_size: image.isr.len().max(1) }
        } else {
            Role::NotLeader { leader: image.leader.map(|leader| leader.id), epoch: image.leader_epoch }
        };
        let mut state = self.role.write().unwrap_or_else(PoisonError::into_inner);
        let newer =
            (image.leader_epoch, image.partition_epoch) >= (state.role.epoch(), state.partition_epoch);
        if !newer || state.role == role {
            return false;
        }
        *state = State { role, partition_epoch: image.partition_epoch };
        drop(state);
        if self.log.is_recovered() {
            self.begin_serving();
        }
        self.waiters.end_all();
        true
    }

    /// Waits until the partition's offsets are known, recovering its log if the last run did not end in order (rule B3). At once after
    /// a clean start.
    pub fn ready(self: &Arc<Self>) -> Step<Result<(), Unusable>> {
        if self.serving.load(Ordering::Acquire) {
            return Step::Ready(Ok(()));
        }
        let this = Arc::clone(self);
        self.log.ready().map(move |recovered| recovered.map(|()| this.begin_serving()))
    }

    fn begin_serving(&self) {
        if let Role::Leader { epoch, .. } = self.role() {
            self.log.begin_epoch(epoch); // rule L1
        }
        // With one replica everything in the log is committed. Before anybody is told an offset: "latest" must not go back (rule C2).
        self.log.update_high_watermark(self.log.log_end_offset());
        self.serving.store(true, Ordering::Release);
    }

    /// Appends record batches as leader.
    ///
    /// `records` is the records field of one partition of a Produce request. `acks_all` asks for `min_insync_replicas` (rule L7).
    ///
    /// # Errors
    /// [`PartitionError::NotLeader`], [`PartitionError::NotEnoughReplicas`], and what the log says of the records.
    pub fn append_as_leader(
        &self,
        records: Bytes,
        acks_all: bool,
        min_insync_replicas: usize,
        options: AppendOptions,
    ) -> Step<Appended> {
        self.append_in(None, records, acks_all, min_insync_replicas, options)
    }

    /// Appends a coordinator's batch, if this broker leads in `epoch` and in no other (rule G2). As with acks=all, its records count
    /// only below the high watermark: [`Partition::committed`].
    ///
    /// # Errors
    /// As [`Partition::append_as_leader`]; [`PartitionError::FencedLeaderEpoch`] or [`PartitionError::UnknownLeaderEpoch`] in another epoch.
    pub fn append_as_coordinator(
        &self,
        batch: Bytes,
        epoch: LeaderEpoch,
        min_insync_replicas: usize,
    ) -> Step<Appended> {
        let options = AppendOptions { origin: Origin::Coordinator };
        self.append_in(Some(epoch), batch, true, min_insync_replicas, options)
    }

    fn append_in(
        &self,
        expected: Option<LeaderEpoch>,
        records: Bytes,
        acks_all: bool,
        min_insync_replicas: usize,
        options: AppendOptions,
    ) -> Step<Appended> {
        let state = self.role.read().unwrap_or_else(PoisonError::into_inner);
        if let Err(error) = check_epoch(expected, state.role.epoch()) {
            return Step::Ready(Err(error));
        }
        let Role::Leader { epoch, isr_size } = state.role else {
            return Step::Ready(Err(self.not_leader(&state.role)));
        };
        if acks_all && isr_size < min_insync_replicas {
            return Step::Ready(Err(PartitionError::NotEnoughReplicas {
                partition: self.name.clone(),
                isr_size,
                required: min_insync_replicas,
            }));
        }
        // The role's lock is held until the log has taken the records in its order: no append of an old epoch can follow a step-down
        // (rule L11).
        match self.log.append(records, epoch, options) {
            Step::Ready(result) => Step::Ready(result.map_err(PartitionError::from)),
            Step::Pending(future) => {
                Step::Pending(Box::pin(async move { future.await.map_err(PartitionError::from) }))
            }
        }
    }

    /// Checks that this broker may serve the partition to a request that knows `current_leader_epoch` (rule L8).
    ///
    /// # Errors
    /// The three errors of rule L8.
    pub fn check_leader(
        &self,
        current_leader_epoch: Option<LeaderEpoch>,
    ) -> Result<LeaderEpoch, PartitionError> {
        let state = self.role.read().unwrap_or_else(PoisonError::into_inner);
        check_epoch(current_leader_epoch, state.role.epoch())?;
        match state.role {
            Role::Leader { epoch, .. } => Ok(epoch),
            Role::NotLeader { .. } => Err(self.not_leader(&state.role)),
        }
    }

    /// Waits until everything below `end` is below the high watermark, while this broker leads in `epoch`. Ready at once if it is.
    ///
    /// # Errors
    /// [`PartitionError::NotLeader`] or one of the epoch errors, as soon as this broker does not lead in `epoch`: also if the high
    /// watermark is far enough (rule G1).
    pub fn committed(self: &Arc<Self>, end: Offset, epoch: LeaderEpoch) -> Step<Result<(), PartitionError>> {
        if let Some(done) = self.is_committed(end, epoch) {
            return Step::Ready(done);
        }
        let partition = Arc::clone(self);
        Step::Pending(Box::pin(async move {
            loop {
                let parked = Parked::new(&partition);
                // Registered first, then looked: what comes between is not missed.
                if let Some(done) = partition.is_committed(end, epoch) {
                    return done;
                }
                Waiting(Arc::clone(&parked.wait)).await;
            }
        }))
    }

    fn is_committed(&self, end: Offset, epoch: LeaderEpoch) -> Option<Result<(), PartitionError>> {
        match self.check_leader(Some(epoch)) {
            Err(error) => Some(Err(error)),
            Ok(_) => (self.log.high_watermark() >= end).then_some(Ok(())),
        }
    }

    fn not_leader(&self, role: &Role) -> PartitionError {
        let (leader, epoch) = match role {
            Role::NotLeader { leader, epoch } => (*leader, *epoch),
            Role::Leader { epoch, .. } => (None, *epoch),
        };
        PartitionError::NotLeader { partition: self.name.clone(), leader, epoch }
    }

    /// Reads whole batches below the options' end, without a check of the role.
    pub fn read(&self, from: Offset, options: ReadOptions) -> Step<Result<Read, ReadError>> {
        self.log.read(from, options)
    }

    /// The record under which this broker uses the log; -1 before the first.
    #[must_use]
    pub fn partition_epoch(&self) -> PartitionEpoch {
        self.role.read().unwrap_or_else(PoisonError::into_inner).partition_epoch
    }

    /// Parks `wait` here until [`Partition::unpark`].
    pub fn park(&self, wait: &Arc<FetchWait>) {
        self.waiters.register(wait);
    }

    /// Takes `wait` out again.
    pub fn unpark(&self, wait: &Arc<FetchWait>) {
        self.waiters.remove(wait);
    }

    /// Ends every wait here.
    pub fn end_waits(&self) {
        self.waiters.end_all();
    }

    /// Steps down for good: the topic is deleted or the broker stops.
    pub fn close(&self) {
        let mut state = self.role.write().unwrap_or_else(PoisonError::into_inner);
        let epoch = state.role.epoch();
        state.role = Role::NotLeader { leader: None, epoch };
        drop(state);
        self.waiters.end_all();
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
        partition.park(&wait);
        Self { wait, partition }
    }
}

impl Drop for Parked<'_> {
    fn drop(&mut self) {
        self.partition.unpark(&self.wait);
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

/// The lifetime of this broker as an ISR names it.
#[must_use]
pub const fn replica_entry(id: BrokerId, epoch: BrokerEpoch) -> ReplicaEntry {
    ReplicaEntry { id, epoch }
}
