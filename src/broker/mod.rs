//! The broker: owns the rooms below and brings them together, decides nothing itself.
//!
//! [`Broker`] is what handlers reach through: the metadata, the partitions that this broker holds, the fetch sessions, the
//! configuration. [`reconcile`] turns changes of the image into opened logs and roles; [`fetch`] reads many partitions at once and
//! waits; [`fetcher`] fetches as a follower; [`sessions`] keeps fetch sessions (KIP-227); [`groups`] gives the group coordinator its logs; [`elect`] wins leaderships and
//! hands them over.
//!
//! Read first: [`Broker`], then [`reconcile`].

pub mod configs;
pub mod control;
pub mod departed;
pub mod elect;
pub mod elections;
pub mod fetch;
pub mod fetcher;
pub mod groups;
pub mod internal;
pub mod isr;
pub mod lag;
pub mod partitions;
pub mod reassignments;
pub mod reconcile;
pub mod rollback;
pub mod rounds;
pub mod seen;
pub mod sessions;
pub mod topics;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use crate::config::{BrokerConfig, Config};
use crate::coordinator::runtime::GroupCoordinator;
use crate::log::LogDirs;
use crate::metadata::image::ClusterImage;
use crate::metadata::{AuditEntry, Metadata, MetadataError};
use crate::replication::{Attention, PartitionError};
use crate::types::{BrokerId, Clock, TopicId, TopicPartition};

pub use partitions::{Partitions, Topic};

/// One running broker.
pub struct Broker {
    config: Arc<Config>,
    metadata: Metadata,
    log_dirs: Arc<LogDirs>,
    partitions: Partitions,
    sessions: sessions::FetchSessions,
    groups: Arc<GroupCoordinator>,
    attention: Arc<Attention>,
    fetchers: fetcher::Fetchers,
    creating: groups::Creating,
    elections: elect::Elections,
    clock: Clock,
    /// Revision of the newest image that reconcile has carried out.
    applied: watch::Sender<i64>,
}

impl Broker {
    /// Puts a broker together, on the control runtime. Nothing is served before [`reconcile::run`] has carried out the first image.
    #[must_use]
    pub fn new(config: Arc<Config>, metadata: Metadata, log_dirs: Arc<LogDirs>, clock: Clock) -> Arc<Self> {
        let groups = groups::coordinator(&config.broker().groups, metadata.image(), clock.clone());
        let fetchers = fetcher::Fetchers::new(metadata.broker_id(), config.broker().replication.clone());
        let slots = config.broker().max_incremental_fetch_session_cache_slots;
        Arc::new(Self {
            config,
            metadata,
            log_dirs,
            partitions: Partitions::default(),
            sessions: sessions::FetchSessions::new(slots),
            groups,
            attention: Arc::default(),
            fetchers,
            creating: groups::Creating::default(),
            elections: elect::Elections::default(),
            clock,
            applied: watch::Sender::new(0),
        })
    }

    /// The static configuration.
    #[must_use]
    pub fn config(&self) -> &Arc<Config> {
        &self.config
    }

    /// Its typed broker keys.
    #[must_use]
    pub fn broker_config(&self) -> &BrokerConfig {
        self.config.broker()
    }

    /// Metadata in etcd.
    #[must_use]
    pub const fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The newest image of the cluster.
    #[must_use]
    pub fn image(&self) -> Arc<ClusterImage> {
        self.metadata.image()
    }

    /// The log directories.
    #[must_use]
    pub const fn log_dirs(&self) -> &Arc<LogDirs> {
        &self.log_dirs
    }

    /// The partitions of this broker.
    #[must_use]
    pub const fn partitions(&self) -> &Partitions {
        &self.partitions
    }

    /// The fetch sessions.
    #[must_use]
    pub const fn sessions(&self) -> &sessions::FetchSessions {
        &self.sessions
    }

    /// The group coordinator.
    #[must_use]
    pub const fn groups(&self) -> &Arc<GroupCoordinator> {
        &self.groups
    }

    /// What this broker does about leaderships.
    #[must_use]
    pub const fn elections(&self) -> &elect::Elections {
        &self.elections
    }

    /// Partitions whose ISR is to be looked at.
    #[must_use]
    pub const fn attention(&self) -> &Arc<Attention> {
        &self.attention
    }

    /// What keeps replicas equal to their leaders'.
    #[must_use]
    pub const fn fetchers(&self) -> &fetcher::Fetchers {
        &self.fetchers
    }

    /// Who leads a partition that this broker does not hold, as the refusal to tell; `None` if there is no such partition.
    #[must_use]
    pub fn held_elsewhere_by_id(&self, topic: TopicId, index: i32) -> Option<PartitionError> {
        let image = self.image();
        let topic = image.topics.get(&topic).filter(|topic| !topic.deleting)?;
        let state = topic.partition(index)?;
        Some(PartitionError::NotLeader {
            partition: TopicPartition::new(topic.name.clone(), index),
            leader: state.leader.map(|leader| leader.id),
            epoch: state.leader_epoch,
        })
    }

    /// As [`Broker::held_elsewhere_by_id`], by name.
    #[must_use]
    pub fn held_elsewhere(&self, topic: &str, index: i32) -> Option<PartitionError> {
        let id = *self.image().topic_names.get(topic)?;
        self.held_elsewhere_by_id(id, index)
    }

    /// The time.
    #[must_use]
    pub const fn clock(&self) -> &Clock {
        &self.clock
    }

    /// This broker's id.
    #[must_use]
    pub fn id(&self) -> BrokerId {
        self.metadata.broker_id()
    }

    /// Waits until this broker has carried out the image of `revision`: partitions opened, roles taken. At most `timeout`.
    ///
    /// # Errors
    /// [`MetadataError`] when the image does not get there in time.
    pub async fn wait_until_applied(&self, revision: i64, timeout: Duration) -> Result<(), MetadataError> {
        let mut applied = self.applied.subscribe();
        let reached = applied.wait_for(|at| *at >= revision);
        match tokio::time::timeout(timeout, reached).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(_)) | Err(_) => Err(MetadataError::NotYetVisible { revision, waited: timeout }),
        }
    }

    /// Says in the audit trail that `what` was done on behalf of `who`.
    pub(crate) fn audit(&self, who: &str, what: String, revision: i64) {
        self.metadata.audit(AuditEntry { who: who.to_owned(), what, revision });
    }

    /// Ends every wait for data or for other members: parked fetches answer with what there is, parked joins NOT_COORDINATOR.
    pub fn stop_waiting(&self) {
        self.groups.stop();
        for topic in self.partitions.topics() {
            for partition in topic.partitions() {
                partition.end_waits();
            }
        }
    }

    /// Steps down from every partition, so that no further append is taken.
    pub fn step_down(&self) {
        self.fetchers.stop();
        self.groups.step_down();
        for topic in self.partitions.topics() {
            for partition in topic.partitions() {
                partition.close();
            }
        }
    }
}
