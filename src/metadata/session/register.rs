//! Registration: which cluster this is, which id this broker has, and who else may hold it.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};
use uuid::Uuid;

use super::{Session, deadline_of};
use crate::metadata::client::{CallError, Connector};
use crate::metadata::error::MetadataError;
use crate::metadata::keys::{
    AutoIdValue, BrokerLastValue, BrokerLiveValue, ClusterValue, Key, Keys, LAYOUT_VERSION, Record,
};
use crate::metadata::options::MetadataOptions;
use crate::metadata::state_file::StateFile;
use crate::metadata::txn::shapes::{self, ClusterKey};
use crate::metadata::txn::{Outcome, Stored};
use crate::types::ids::encode_uuid;
use crate::types::seeded::{Bug, seeded};
use crate::types::{BrokerEpoch, BrokerId, random};

/// The smallest automatic node id: Kafka's first one above `reserved.broker.max.id`.
const AUTO_ID_FIRST: i32 = 1001;
/// How often the holder of our id is looked at while its lease runs out.
const HOLDER_POLL: Duration = Duration::from_millis(200);
/// Beyond the remaining time of the holder's lease: etcd ends leases with some delay.
const HOLDER_GRACE: Duration = Duration::from_millis(2_500);
/// How often one registration is tried when others interfere.
const ATTEMPTS: u32 = 10;

/// A registration that holds.
pub(in crate::metadata) struct Held {
    pub broker: BrokerId,
    pub epoch: BrokerEpoch,
    pub lease: i64,
    pub granted: Duration,
    pub deadline: Duration,
}

/// What `brokers/last/<id>` says.
#[derive(Debug, Default)]
struct LastLifetime {
    /// Its `mod_revision`; 0: nobody ever registered.
    revision: i64,
    /// Whose registration that was.
    incarnation: Option<Uuid>,
}

/// Makes registrations.
pub(in crate::metadata) struct Registrar {
    pub session: Arc<Session>,
    pub connector: Connector,
    pub keys: Keys,
    pub options: MetadataOptions,
    pub state_file: StateFile,
    /// Leases of earlier lifetimes on this node's disk, as read at the start (rule B7).
    pub old_lease: i64,
    /// The id in use, once it is known.
    pub node_id: Option<BrokerId>,
    /// Nobody has looked yet whose etcd this is.
    pub first: bool,
}

impl Registrar {
    /// A registrar with a connection of its own.
    ///
    /// # Errors
    /// [`MetadataError::InvalidOption`], [`MetadataError::StateFile`].
    pub fn new(session: Arc<Session>, options: MetadataOptions) -> Result<Self, MetadataError> {
        let state_file = StateFile::open(&options.state_dir)?;
        Ok(Self {
            session,
            connector: Connector::new(options.connection.clone())?,
            keys: options.keys(),
            old_lease: state_file.state().lease,
            node_id: options.registration.node_id,
            state_file,
            first: true,
            options,
        })
    }

    /// Registers under a new lease.
    ///
    /// # Errors
    /// [`MetadataError::Unreachable`] to try again; others need a person.
    pub async fn register(&mut self, data_may_be_lost: bool) -> Result<Held, MetadataError> {
        for _ in 0..ATTEMPTS {
            let sent = self.options.clock.elapsed();
            // The lease needs none of the others' answers: one round trip less at every start.
            let (cluster, granted, last) = tokio::join!(
                self.look_at_cluster(),
                self.connector.grant(self.options.session_ttl),
                self.last_lifetime()
            );
            let cluster = last.and_then(|last| Ok((cluster?, last)));
            let (cluster, last) = match (cluster, &granted) {
                (Ok(cluster), _) => cluster,
                (Err(error), Ok((lease, _))) => {
                    let _ = self.connector.revoke(*lease).await;
                    return Err(error);
                }
                (Err(error), Err(_)) => return Err(error),
            };
            let (lease, granted) = granted.map_err(unreachable)?;
            self.first = false;
            let id = self.take_node_id().await?;
            self.remember(move |state| state.lease = lease).await;
            let value = self.value();
            let (incarnation, lost) = (value.value.incarnation, data_may_be_lost || self.missed(&last));
            let txn = shapes::register(&self.keys, id, &value, lease, lost, cluster);
            let txn = shapes::as_last_lifetime(txn, &self.keys, id, incarnation, last.revision);
            match self.connector.submit(txn).await? {
                Outcome::Applied { revision } => {
                    if lost && !data_may_be_lost {
                        warn!(
                            broker = %id,
                            "the data directories are older than this broker's last registration: its replicas catch up anew"
                        );
                    }
                    let deadline = deadline_of(sent, granted);
                    let epoch = BrokerEpoch(revision);
                    info!(broker = %id, broker_epoch = %epoch, ttl_s = granted.as_secs(), "registered");
                    return Ok(Held { broker: id, epoch, lease, granted, deadline });
                }
                Outcome::Unknown { why } => {
                    // Without its lease the lost request can no longer register anything: that ends the doubt.
                    self.connector.revoke(lease).await.map_err(unreachable)?;
                    return Err(MetadataError::Unreachable { why, since: Duration::ZERO });
                }
                Outcome::Rejected { found, .. } => {
                    let _ = self.connector.revoke(lease).await;
                    let live = self.keys.bytes(&Key::BrokerLive(id));
                    if let Some(holder) = found.into_iter().find(|stored| stored.key == live) {
                        self.deal_with_holder(id, &holder).await?;
                    }
                }
            }
        }
        Err(MetadataError::Conflict { what: "registration".into(), attempts: ATTEMPTS })
    }

    /// Who registered last under this id. An automatic id that is still to be taken has nobody.
    async fn last_lifetime(&self) -> Result<LastLifetime, MetadataError> {
        let Some(id) = self.node_id else { return Ok(LastLifetime::default()) };
        let (stored, _) =
            self.connector.read(self.keys.bytes(&Key::BrokerLast(id))).await.map_err(unreachable)?;
        let Some(stored) = stored else { return Ok(LastLifetime::default()) };
        let value = Record::<BrokerLastValue>::decode(&stored.value).map(|record| record.value);
        Ok(LastLifetime {
            revision: stored.mod_revision,
            incarnation: value.ok().map(|last| last.incarnation),
        })
    }

    /// The disks do not know the last lifetime: they are a snapshot of before it, or a copy whose original went on. Then they prove
    /// nothing (rule B2). Lost answers do no harm: a registration of this process is known to it.
    fn missed(&self, last: &LastLifetime) -> bool {
        let known = |lifetime: Uuid| {
            lifetime == self.options.registration.incarnation || self.options.vouched.contains(&lifetime)
        };
        // After an accepted rollback etcd may have forgotten the lifetimes that the disks remember.
        !self.options.accept_rollback && !last.incarnation.is_some_and(known)
    }

    fn value(&self) -> Record<BrokerLiveValue> {
        let registration = &self.options.registration;
        let flags = self.session.flags();
        Record::new(BrokerLiveValue {
            incarnation: registration.incarnation,
            boot_id: registration.boot_id.clone(),
            host: registration.host.clone(),
            endpoints: registration.endpoints.clone(),
            rack: registration.rack.clone(),
            directories: registration.directories.clone(),
            version: registration.version.clone(),
            draining: flags.draining,
            stopping: flags.stopping,
        })
    }

    /// Checks that this etcd is the one this node belongs to (rule E13), and what the registration must compare.
    async fn look_at_cluster(&self) -> Result<ClusterKey, MetadataError> {
        // Before the read is sent: what the watch brings meanwhile may be newer than the read.
        let state = self.state_file.state();
        let seen = state.highest_revision.max(self.session.seen_revision());
        let registry = async {
            if !self.first || self.options.allow_kubernetes {
                return Ok(false);
            }
            let end = crate::metadata::keys::prefix_end(b"/registry/");
            let options = etcd_client::GetOptions::new().with_range(end).with_limit(1).with_keys_only();
            match self.connector.get(b"/registry/".to_vec(), Some(options)).await {
                Ok(answer) => Ok(!answer.kvs().is_empty()),
                // A user without rights there cannot harm it either.
                Err(CallError::Refused { .. }) => Ok(false),
                Err(error) => Err(error),
            }
        };
        let (registry, cluster) = tokio::join!(registry, self.connector.read(self.keys.bytes(&Key::Cluster)));
        let (stored, now) = cluster.map_err(unreachable)?;
        if registry.map_err(unreachable)? {
            return Err(MetadataError::SharedWithKubernetes);
        }
        let believes = self.options.accept_rollback || seeded(Bug::E13Believes);
        let rolled_back = now < seen && !believes;
        let expected = self.options.known_cluster_id.clone().or(state.cluster_id);
        let key = match stored {
            Some(stored) => {
                let value = Record::<ClusterValue>::decode(&stored.value)
                    .map_err(|why| MetadataError::Unreadable { key: "cluster".into(), why })?
                    .value;
                if value.layout != LAYOUT_VERSION {
                    return Err(MetadataError::UnsupportedLayout {
                        found: value.layout,
                        known: LAYOUT_VERSION,
                    });
                }
                if let Some(expected) = expected.filter(|expected| *expected != value.cluster_id) {
                    return Err(MetadataError::ClusterIdMismatch { expected, found: value.cluster_id });
                }
                // Only now: the revisions of another cluster's etcd say nothing.
                if rolled_back {
                    return Err(MetadataError::RolledBack { seen, now });
                }
                ClusterKey::Stands(stored.value)
            }
            None if rolled_back => return Err(MetadataError::RolledBack { seen, now }),
            None => {
                if let Some(expected) = &expected
                    && !self.options.accept_rollback
                {
                    return Err(MetadataError::ClusterIdMismatch {
                        expected: expected.clone(),
                        found: "none".into(),
                    });
                }
                let value = ClusterValue {
                    cluster_id: expected.unwrap_or_else(|| encode_uuid(random::uuid())),
                    layout: LAYOUT_VERSION,
                    created_ms: self.options.clock.now_ms(),
                    restore_generation: 0,
                };
                ClusterKey::Absent(Record::new(value))
            }
        };
        if self.options.accept_rollback {
            self.remember(move |state| state.highest_revision = now).await;
        }
        Ok(key)
    }

    /// Takes an automatic node id for a broker that has none yet, of the etcd that its registration will go to.
    ///
    /// # Errors
    /// As [`Registrar::register`].
    pub async fn choose_node_id(&mut self) -> Result<BrokerId, MetadataError> {
        self.look_at_cluster().await?;
        self.take_node_id().await
    }

    /// The configured node id, or a new automatic one: the next number, skipping more the more others compete.
    async fn take_node_id(&mut self) -> Result<BrokerId, MetadataError> {
        if let Some(id) = self.node_id {
            return Ok(id);
        }
        let registration = &self.options.registration;
        let value = Record::new(AutoIdValue {
            incarnation: registration.incarnation,
            host: registration.host.clone(),
        });
        let id = take_sequential(&self.connector, &self.keys, &value).await?;
        self.node_id = Some(id);
        Ok(id)
    }

    /// Another lifetime holds our id: our own past is ended at once (rule B7), others are waited for.
    async fn deal_with_holder(&self, id: BrokerId, holder: &Stored) -> Result<(), MetadataError> {
        let live = Record::<BrokerLiveValue>::decode(&holder.value).map(|record| record.value).ok();
        let now = self.value().value;
        if live.as_ref().is_some_and(|live| live.is_past_of(&now, holder.lease, self.old_lease)) {
            return self.connector.revoke(holder.lease).await.map_err(unreachable);
        }
        let host = live.map_or_else(|| "an unreadable registration".to_owned(), |live| live.host);
        let left = self.connector.remaining(holder.lease).await.map_err(unreachable)?;
        let clock = &self.options.clock;
        let until = clock.elapsed() + left + HOLDER_GRACE;
        warn!(broker = %id, host, wait_s = left.as_secs(), "node.id is in use, waiting for that session's end");
        while clock.elapsed() < until {
            tokio::time::sleep(HOLDER_POLL).await;
            let (now, _) =
                self.connector.read(self.keys.bytes(&Key::BrokerLive(id))).await.map_err(unreachable)?;
            if now.is_none_or(|now| now.create_revision != holder.create_revision) {
                return Ok(());
            }
        }
        Err(MetadataError::DuplicateNodeId { id, host })
    }

    /// Changes the state file off this thread. A disk that does not answer costs half a second, never the lease.
    async fn remember(
        &self,
        change: impl FnOnce(&mut crate::metadata::state_file::SessionState) + Send + 'static,
    ) {
        let file = self.state_file.clone();
        let written = tokio::task::spawn_blocking(move || file.update(change));
        match tokio::time::timeout(Duration::from_millis(500), written).await {
            Ok(Ok(Ok(()))) => {}
            Ok(Ok(Err(error))) => warn!(%error, "session state is not written"),
            Ok(Err(_)) | Err(_) => warn!("session state is not written in time"),
        }
    }
}

/// Takes the next automatic node id. Key order is number order; numbers may be skipped under contention, none is given twice.
///
/// # Errors
/// [`MetadataError`].
pub(in crate::metadata) async fn take_sequential(
    connector: &Connector,
    keys: &Keys,
    value: &Record<AutoIdValue>,
) -> Result<BrokerId, MetadataError> {
    for losses in 0..1_000_u32 {
        let prefix = keys.auto_ids();
        let options = etcd_client::GetOptions::new()
            .with_range(crate::metadata::keys::prefix_end(&prefix))
            .with_sort(etcd_client::SortTarget::Key, etcd_client::SortOrder::Descend)
            .with_limit(1)
            .with_keys_only();
        let answer = connector.get(prefix, Some(options)).await.map_err(unreachable)?;
        let last = answer.kvs().first().and_then(|kv| match keys.parse(kv.key()) {
            Ok(Key::BrokerAutoId(id)) => Some(id.get()),
            _ => None,
        });
        let next = last.map_or(AUTO_ID_FIRST, |last| last.saturating_add(1));
        let window = 1_u64 << losses.min(9);
        let skipped = i32::try_from(random::below(window)).unwrap_or(0);
        let id = BrokerId(next.saturating_add(if losses == 0 { 0 } else { skipped }));
        match connector.submit(shapes::take_node_id(keys, id, value)).await? {
            Outcome::Applied { .. } => return Ok(id),
            Outcome::Rejected { .. } => {}
            // The id may be ours or not: it is burnt, the next one is tried.
            Outcome::Unknown { why } => {
                return Err(MetadataError::Unreachable { why, since: Duration::ZERO });
            }
        }
    }
    Err(MetadataError::Conflict { what: "automatic node id".into(), attempts: 1_000 })
}

pub(super) fn unreachable(error: CallError) -> MetadataError {
    error.into_metadata_error("registration", Duration::ZERO)
}
