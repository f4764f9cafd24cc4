//! The changes that other rooms ask for: each runs on the metadata thread, to its end.

use std::collections::BTreeMap;

use super::admin::configs::AlterError;
use super::admin::partitions::PartitionOutcome;
use super::admin::topics::NewTopic;
use super::image::{ConfigEntity, ReplicaEntry};
use super::session::Flags;
use super::txn::partitions::PartitionChange;
use super::{Metadata, MetadataError};
use crate::types::{BrokerId, PartitionEpoch, TopicId};

impl Metadata {
    /// Creates a topic that is already placed. All calls like this return the change's revision when this broker's own image shows
    /// it, run to their end even if the caller stops waiting, and fail within about 2 s while etcd does not answer.
    ///
    /// # Errors
    /// [`MetadataError::AlreadyExists`], [`MetadataError::BrokerNotLive`], [`MetadataError::TooLarge`] and those of every call:
    /// [`MetadataError::Unreachable`], [`MetadataError::UnknownOutcome`], [`MetadataError::NotYetVisible`].
    pub async fn create_topic(&self, topic: NewTopic) -> Result<i64, MetadataError> {
        let admin = self.0.admin.clone();
        self.run(async move { admin.create_topic(topic).await }).await?
    }

    /// Adds partitions `expected..`, with `added` as their replicas, to a topic that has exactly `expected`.
    ///
    /// # Errors
    /// [`MetadataError::NotFound`], [`MetadataError::Conflict`] if it has another number of partitions, and as
    /// [`Metadata::create_topic`].
    pub async fn create_partitions(
        &self,
        topic: TopicId,
        expected: usize,
        added: Vec<Vec<BrokerId>>,
    ) -> Result<i64, MetadataError> {
        let admin = self.0.admin.clone();
        self.run(async move { admin.create_partitions(topic, expected, added).await }).await?
    }

    /// Begins a topic's deletion: its name is free at once, its value stays with `deleting` until
    /// [`Metadata::finish_topic_deletion`].
    ///
    /// # Errors
    /// [`MetadataError::NotFound`], and as [`Metadata::create_topic`].
    pub async fn delete_topic(&self, topic: TopicId) -> Result<i64, MetadataError> {
        let admin = self.0.admin.clone();
        self.run(async move { admin.delete_topic(topic).await }).await?
    }

    /// Says that this broker has no log of a topic that is being deleted; said twice it does no harm.
    ///
    /// # Errors
    /// As [`Metadata::create_topic`].
    pub async fn note_topic_removed(&self, topic: TopicId) -> Result<i64, MetadataError> {
        let admin = self.0.admin.clone();
        self.run(async move { admin.note_topic_removed(topic).await }).await?
    }

    /// Ends a topic's deletion once all brokers removed its logs. Only the controller can; said twice it does no harm.
    ///
    /// # Errors
    /// [`MetadataError::NotController`], and as [`Metadata::create_topic`].
    pub async fn finish_topic_deletion(&self, topic: TopicId) -> Result<i64, MetadataError> {
        let admin = self.0.admin.clone();
        self.run(async move { admin.finish_topic_deletion(topic).await }).await?
    }

    /// Writes records of partitions: ballots, hand-overs, ISR changes (rules E1, E4, E10). Outcomes in the order of the changes;
    /// about 115 partitions share one transaction, several are under way at once. `value` starts best from
    /// [`ClusterImage::partition_record`].
    pub async fn change_partitions(&self, changes: Vec<PartitionChange>) -> Vec<PartitionOutcome> {
        let (admin, count) = (self.0.admin.clone(), changes.len());
        let done = self.run(async move { admin.change_partitions(changes).await }).await;
        done.unwrap_or_else(|error| vec![PartitionOutcome::NotSent(error); count])
    }

    /// Whether etcd itself says of all these partitions what the image says: before something is done on the image's word that cannot
    /// be undone. Nothing is written.
    ///
    /// # Errors
    /// As [`Metadata::create_topic`].
    pub async fn partitions_stand(
        &self,
        topic: TopicId,
        partitions: Vec<(i32, PartitionEpoch)>,
    ) -> Result<bool, MetadataError> {
        let admin = self.0.admin.clone();
        self.run(async move { admin.partitions_stand(topic, &partitions).await }).await?
    }

    /// Writes where this broker is reached, so that it is known when its registration has ended.
    ///
    /// # Errors
    /// As [`Metadata::create_topic`]; said again it does no harm.
    pub async fn note_seen(&self) -> Result<(), MetadataError> {
        let admin = self.0.admin.clone();
        self.run(async move { admin.note_seen().await }).await?
    }

    /// Forgets a broker that is not registered.
    ///
    /// # Errors
    /// [`MetadataError::NotFound`]; [`MetadataError::Invalid`] while it is alive; and as [`Metadata::create_topic`].
    pub async fn forget_broker(&self, id: BrokerId) -> Result<i64, MetadataError> {
        let admin = self.0.admin.clone();
        self.run(async move { admin.forget_broker(id).await }).await?
    }

    /// Says in this broker's registration that it is draining (it takes no leaderships) or stopping (it leaves every ISR and enters
    /// none, KIP-841). The epoch stays; later registrations of this process say the same.
    ///
    /// # Errors
    /// [`MetadataError::NotFound`] while this broker is not registered; else as [`Metadata::create_topic`].
    pub async fn set_flags(&self, draining: bool, stopping: bool) -> Result<i64, MetadataError> {
        let admin = self.0.admin.clone();
        self.run(async move { admin.set_flags(Flags { draining, stopping }).await }).await?
    }

    /// Ends the session of another broker's lifetime whose process is known to be dead, without waiting for its lease. If it lives
    /// after all, it is merely fenced, and registers again. `Ok(false)`: that lifetime was over already.
    ///
    /// # Errors
    /// As [`Metadata::create_topic`].
    pub async fn end_session_of(&self, entry: ReplicaEntry) -> Result<bool, MetadataError> {
        let admin = self.0.admin.clone();
        self.run(async move { admin.end_session_of(entry).await }).await?
    }

    /// Replaces the dynamic configuration of `entity` by what `change` makes of the current one. `change` decides anew after each
    /// conflict with another writer. A topic must exist; other entities need not.
    ///
    /// # Errors
    /// [`AlterError::Refused`] with the reason of `change`; else as [`Metadata::create_topic`].
    pub async fn alter_config<E: Send + 'static>(
        &self,
        entity: ConfigEntity,
        change: impl FnMut(&BTreeMap<String, String>) -> Result<BTreeMap<String, String>, E> + Send + 'static,
    ) -> Result<i64, AlterError<E>> {
        let admin = self.0.admin.clone();
        self.run(async move { admin.alter_config(entity, change).await }).await?
    }
}
