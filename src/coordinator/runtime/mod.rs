//! The shell around the cores: it loads, appends, waits and wakes.
//!
//! One shard per partition of `__consumer_offsets` that this broker leads. A request takes the shard's lock, takes a step of the core,
//! gives the records to the log in the same turn, and waits outside of the lock until they are below the high watermark. So the log has
//! the turns in the order in which the state took them, and no answer tells what could still be lost (rules G1, T4). An answer that
//! comes in a later turn waits for that turn's records. A question that writes nothing waits for what was written before it.
//!
//! What a step decided is in memory before it is in the log; if the log refuses it, the shard is dropped and loaded anew, so memory is
//! never ahead of the log for longer than one turn. On a new leader epoch all state and all timers of the old one are dropped (rule G2).

use std::sync::Arc;

use super::group::command::{Ask, DescribedConsumerGroup, DescribedGroup, ListedGroup};
use crate::protocol::error::ErrorCode;

/// The group coordinator of this broker. Cheap to share; every call costs one short lock of one shard.
#[derive(Debug)]
pub struct GroupCoordinator {}

impl GroupCoordinator {
    /// The partition of `__consumer_offsets` that keeps `group`: Kafka's partitioner, `abs(String.hashCode) mod partitions`.
    #[must_use]
    pub fn partition_of(&self, group: &str) -> i32 {
        unreachable!("written next")
    }

    /// Asks the shard of `group` and waits until the answer may leave.
    ///
    /// # Errors
    /// NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE.
    pub async fn ask<A: Ask>(self: &Arc<Self>, group: &str, question: A) -> Result<A::Answer, ErrorCode> {
        unreachable!("written next")
    }

    /// Every group of every shard of this broker.
    ///
    /// # Errors
    /// COORDINATOR_LOAD_IN_PROGRESS while a shard loads; COORDINATOR_NOT_AVAILABLE.
    pub async fn list(self: &Arc<Self>) -> Result<Vec<ListedGroup>, ErrorCode> {
        unreachable!("written next")
    }

    /// For DescribeGroups.
    ///
    /// # Errors
    /// As [`GroupCoordinator::ask`].
    pub async fn describe_classic(self: &Arc<Self>, group: &str) -> Result<DescribedGroup, ErrorCode> {
        unreachable!("written next")
    }

    /// For ConsumerGroupDescribe.
    ///
    /// # Errors
    /// As [`GroupCoordinator::ask`].
    pub async fn describe_consumer(
        self: &Arc<Self>,
        group: &str,
    ) -> Result<DescribedConsumerGroup, ErrorCode> {
        unreachable!("written next")
    }

    /// For DeleteGroups.
    ///
    /// # Errors
    /// As [`GroupCoordinator::ask`], and what the core says: GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP.
    pub async fn delete_group(self: &Arc<Self>, group: &str) -> Result<(), ErrorCode> {
        unreachable!("written next")
    }
}
