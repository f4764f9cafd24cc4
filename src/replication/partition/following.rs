//! A partition as a follower of its leader: what comes from the leader of one epoch, and of no other (rules F1, F7).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::{Partition, PartitionError, Role};
use crate::log::{AppendError, Log, Step};
use crate::replication::follower::{self, FetchFrom};
use crate::types::seeded::{Bug, seeded};
use crate::types::{LeaderEpoch, Offset};

impl Partition {
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

    /// Drops the log and begins anew at `at`, where the log of the leader of `epoch` begins (rule F8).
    ///
    /// # Errors
    /// [`PartitionError::NotFollowing`], [`PartitionError::Append`].
    pub fn restart_as_follower(&self, epoch: LeaderEpoch, at: Offset) -> Step<Result<(), PartitionError>> {
        self.follow(epoch, |log| {
            log.restart_at(at).map(|done| done.map_err(|error| AppendError::from(error).into()))
        })
    }

    /// The high watermark and the log start of the leader of `epoch` (rule F6). Never back: what was committed once stays so.
    pub fn leader_said(&self, epoch: LeaderEpoch, high_watermark: Offset, log_start: Offset) {
        let state = self.read_role();
        if matches!(state.role, Role::NotLeader { epoch: current, .. } if current == epoch) {
            let known = self.log.high_watermark();
            let believed = follower::high_watermark(high_watermark, self.log.log_end_offset());
            if believed > known {
                self.log.update_high_watermark(believed);
            }
            self.log.raise_log_start(log_start);
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
}
