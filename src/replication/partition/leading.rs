//! A partition as its leader: appends and their acknowledgement, followers' positions, changes of the ISR.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::early::Turn;
use super::{Acks, Appended, Partition, PartitionError, Role, check_epoch};
use crate::log::{AppendError, AppendOptions, Origin, ReadError, Step, Unusable};
use crate::metadata::PartitionOutcome;
use crate::metadata::image::{ClusterImage, ReplicaEntry};
use crate::metadata::txn::partitions::PartitionChange;
use crate::replication::follower::{self, FetchFrom};
use crate::replication::leader::Leader;
use crate::replication::wait::{FetchWait, Waiting};
use crate::types::seeded::{Bug, seeded};
use crate::types::{LeaderEpoch, Offset};

impl Partition {
    /// The log grew by this leader's append or as a follower.
    pub(super) fn appended(&self, log_end: Offset, size_bytes: usize) {
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
        self.tell_followers(true);
    }

    /// Moves the high watermark as far as the rules allow. Under the core's lock, so that it never goes back.
    pub(super) fn advance(&self, leader: &mut Leader) {
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
        // A follower that waits hears of it with the next answer.
        self.tell_followers(false);
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
        if !self.early.is_waiting() {
            match self.append_in(None, records.clone(), acks, options) {
                Ok((appended, epoch)) => return self.acknowledged(appended, epoch, acks),
                Err(Refused::Because(error)) => return Step::Ready(Err(error)),
                Err(Refused::NotBegun) => {}
            }
        }
        let mut turn = Turn::take(self);
        let this = Arc::clone(self);
        // A task of its own: others wait for it, and who wants the answer may not look for it yet.
        let appended = tokio::spawn(async move {
            turn.come().await;
            let appended = loop {
                match this.append_in(None, records.clone(), acks, options) {
                    Ok((appended, epoch)) => break this.acknowledged(appended, epoch, acks),
                    Err(Refused::Because(error)) => return Err(error),
                    Err(Refused::NotBegun) => this.ready().wait().await.map_err(AppendError::from)?,
                }
            };
            drop(turn);
            appended.wait().await
        });
        Step::Pending(Box::pin(async move {
            // Only the end of the process ends the task before its time.
            appended.await.unwrap_or_else(|_| Err(AppendError::from(Unusable::Closed).into()))
        }))
    }

    /// Waits for the acknowledgement of what was appended in `epoch`.
    fn acknowledged(
        self: &Arc<Self>,
        appended: Step<Appended>,
        epoch: LeaderEpoch,
        acks: Acks,
    ) -> Step<Appended> {
        let Some(within) = acks.all_within.filter(|_| !self.sole.load(Ordering::Acquire)) else {
            return appended;
        };
        let this = Arc::clone(self);
        Step::Pending(Box::pin(async move {
            let info = appended.wait().await?;
            let committed = this.wait_committed(info.last_offset.advance(1), epoch, true);
            match tokio::time::timeout(within, committed.wait()).await {
                Ok(committed) => committed.map(|()| info).map_err(|error| this.for_a_producer(error)),
                Err(_) => Err(PartitionError::TimedOut { partition: this.name.clone(), waited: within }),
            }
        }))
    }

    /// A producer named no epoch: if this one is over, it is told who leads now (rule L11). Not every client takes FENCED_LEADER_EPOCH
    /// for something to try again.
    fn for_a_producer(&self, error: PartitionError) -> PartitionError {
        match error {
            PartitionError::FencedLeaderEpoch { .. } | PartitionError::UnknownLeaderEpoch { .. } => {
                self.not_leader(&self.role())
            }
            other => other,
        }
    }

    /// Appends a coordinator's batch, if this broker leads in `epoch` and in no other (rule G2). As with acks=all, its records count
    /// only below the high watermark: [`Partition::committed`].
    ///
    /// # Errors
    /// As [`Partition::append_as_leader`]; [`PartitionError::FencedLeaderEpoch`] or [`PartitionError::UnknownLeaderEpoch`] in another epoch.
    pub fn append_as_coordinator(&self, batch: Bytes, epoch: LeaderEpoch) -> Step<Appended> {
        let acks = Acks { all_within: Some(Duration::MAX), lease_over: false };
        let options = AppendOptions { origin: Origin::Coordinator, ..AppendOptions::default() };
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
        if acks.lease_over && !seeded(Bug::E6NoDeadline) {
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
}

/// Why nothing was appended.
enum Refused {
    /// The role has not begun: to be tried again when it has.
    NotBegun,
    Because(PartitionError),
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
