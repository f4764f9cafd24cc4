//! A whole broker in this process: the rooms started in their order, and stopped in the reverse one.
//!
//! Start: log directories locked, listeners bound, embedded etcd if asked for, registration and image, first reconcile, then requests
//! are served. Stop: leaderships handed over, no new connections, answers leave, roles end, logs flushed and the clean-shutdown marker
//! written, lease revoked.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{info, warn};

use super::node_admin::NodeAdmin;
use crate::broker::elect::{self, drain, evidence};
use crate::broker::{Broker, control, internal, isr, reconcile, rollback, seen};
use crate::config::{BrokerConfig, Config, Dynamic, EtcdConfig, EtcdEndpoints};
use crate::handlers::BrokerService;
use crate::log::{LogDirs, LogDirsOptions, LogOptions, Storage};
use crate::metadata::embedded::{EmbeddedEtcd, EmbeddedOptions};
use crate::metadata::image::Endpoint;
use crate::metadata::{ConnectionOptions, Metadata, MetadataOptions, Registration, TlsOptions};
use crate::server::admin::AdminServer;
use crate::server::{Bound, BoundListener, ListenerOptions, Server, ServerOptions};
use crate::sys;
use crate::types::{BrokerId, Clock, random};

/// How long answers may take to leave when the broker stops.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// How long leaderships may take to be handed over, and others to see that this broker leaves, when it stops.
const LEAVE_LIMIT: Duration = Duration::from_secs(5);
/// How long the first reconcile may take.
const FIRST_RECONCILE: Duration = Duration::from_secs(60);
/// `node.id` of a broker that carries its own metadata: it is alone.
const LONE_NODE_ID: BrokerId = BrokerId(0);
/// `storage.threads` where it is not set.
const STORAGE_THREADS: usize = 4;
/// Largest PEM file that is read.
const PEM_BYTES_MAX: u64 = 1 << 20;
/// The embedded store's file, in the first log directory.
const EMBEDDED_FILE: &str = "metadata.redb";

/// A running broker.
pub struct Node {
    broker: Arc<Broker>,
    server: Arc<Server>,
    admin: Option<AdminServer>,
    embedded: Option<EmbeddedEtcd>,
    tasks: TaskTracker,
    stop: CancellationToken,
}

impl Node {
    /// Starts a broker as `config` says. Must be called on the control runtime.
    ///
    /// # Errors
    /// What could not be started, with its cause.
    pub async fn start(config: Config) -> anyhow::Result<Self> {
        let config = Arc::new(config);
        let keys = config.broker();
        let clock = Clock::system();
        let node_id = node_id(keys, &clock).await?;
        let log_dirs = Arc::new(open_log_dirs(&config, node_id, &clock)?);
        let bound = Bound::bind(server_options(keys, &clock))?;
        let (embedded, endpoints) = etcd(keys, &clock).await?;
        let registration = Registration {
            node_id: Some(node_id),
            directories: log_dirs.directories().iter().filter_map(|directory| directory.id).collect(),
            incarnation: log_dirs.lifetime(),
            data_may_be_lost: log_dirs.data_may_be_lost(),
            ..registration(keys, bound.listeners())
        };
        let mut options = metadata_options(keys, endpoints, registration, &clock)?;
        options.known_cluster_id = log_dirs.cluster_id();
        options.vouched = log_dirs.vouched_lifetimes();
        let metadata = Metadata::connect(options).await?;
        log_dirs.set_cluster_id(&metadata.image().cluster_id)?;
        log_dirs.registered()?;
        log_dirs.when_failed({
            let metadata = metadata.clone();
            move || metadata.note_data_lost()
        });
        let broker = Broker::new(Arc::clone(&config), metadata, log_dirs, clock);
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(reconcile::run(Arc::clone(&broker), stop.clone()));
        tasks.spawn(Arc::clone(broker.groups()).run_timers(stop.clone()));
        tasks.spawn(elect::run(Arc::clone(&broker), stop.clone()));
        tasks.spawn(drain::run(Arc::clone(&broker), stop.clone()));
        tasks.spawn(evidence::run(Arc::clone(&broker), stop.clone()));
        tasks.spawn(isr::run(Arc::clone(&broker), stop.clone()));
        tasks.spawn(prove_registrations(Arc::clone(&broker), stop.clone()));
        tasks.spawn(seen::run(Arc::clone(&broker), stop.clone()));
        tasks.spawn(control::run(Arc::clone(&broker), stop.clone()));
        tasks.spawn(rollback::run(Arc::clone(&broker), stop.clone()));
        tasks.spawn(internal::run(Arc::clone(&broker), stop.clone()));
        broker.wait_until_applied(broker.image().revision, FIRST_RECONCILE).await?;
        warn_of_strangers(&broker);
        let server = Arc::new(bound.serve(Arc::new(BrokerService::new(Arc::clone(&broker))))?);
        let admin = match keys.admin_listen {
            Some(address) => Some(AdminServer::start(address, NodeAdmin::new(&broker, &server)).await?),
            None => None,
        };
        info!(node = %broker.id(), cluster = %broker.image().cluster_id, "broker serves");
        Ok(Self { broker, server, admin, embedded, tasks, stop })
    }

    /// The broker.
    #[must_use]
    pub const fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Where clients reach it.
    #[must_use]
    pub fn listeners(&self) -> &[BoundListener] {
        self.server.listeners()
    }

    /// Where the admin port is, if it is open.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(AdminServer::address)
    }

    /// Where the embedded etcd is, if it runs.
    #[must_use]
    pub fn etcd_endpoint(&self) -> Option<String> {
        self.embedded.as_ref().map(EmbeddedEtcd::endpoint)
    }

    /// Stops in order. Never the lease first: until the logs are closed nobody else may take over.
    pub async fn stop(self) {
        // What others can take over goes first, while clients are still answered and told where it went (rule U5).
        drain::leave(&self.broker, LEAVE_LIMIT).await;
        self.broker.metadata().end_with_this_lifetime();
        // Parked fetches and joins end at once, appends in flight get their answers, then the sockets close.
        self.broker.stop_waiting();
        let stopped = self.server.shutdown(STOP_GRACE).await;
        if stopped.cut_off > 0 {
            warn!(
                connections = stopped.cut_off,
                "connections were cut off: their answers did not leave in time"
            );
        }
        self.broker.step_down();
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let epoch = self.broker.metadata().session().broker_epoch;
        self.broker.log_dirs().close(Some(epoch)).await;
        self.broker.metadata().close().await;
        if let Some(admin) = self.admin {
            admin.stop(STOP_GRACE).await;
        }
        if let Some(embedded) = self.embedded {
            embedded.shutdown().await;
        }
    }
}

/// Each new registration is a new lifetime, whose proof of intactness must be on the disk (rule B2).
async fn prove_registrations(broker: Arc<Broker>, stop: CancellationToken) {
    let mut registrations = broker.metadata().registrations();
    registrations.mark_unchanged();
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            changed = registrations.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
        let log_dirs = Arc::clone(broker.log_dirs());
        let written = tokio::task::spawn_blocking(move || log_dirs.registered()).await;
        if let Ok(Err(cause)) = written {
            warn!(%cause, "the proof of this registration could not be written: the next start counts as unclean");
        }
    }
}

/// The configured `node.id`, else the one that the data directories remember, else a new one that etcd gives out.
async fn node_id(keys: &BrokerConfig, clock: &Clock) -> anyhow::Result<BrokerId> {
    let known = match keys.node_id {
        Some(id) => Some(id),
        None => LogDirs::node_id_on_disk(&keys.log_dirs)?,
    };
    match (known, &keys.etcd.endpoints) {
        (Some(id), _) => Ok(id),
        (None, EtcdEndpoints::Embedded { .. }) => Ok(LONE_NODE_ID),
        (None, EtcdEndpoints::Servers(endpoints)) => {
            let options = metadata_options(keys, endpoints.clone(), registration(keys, &[]), clock)?;
            let id = Metadata::choose_node_id(options).await?;
            info!(node = %id, directory = %state_dir(keys).display(), "took a node.id, kept in meta.properties");
            Ok(id)
        }
    }
}

fn open_log_dirs(config: &Config, node_id: BrokerId, clock: &Clock) -> anyhow::Result<LogDirs> {
    let keys = config.broker();
    let options = LogOptions {
        producer_id_expiration_ms: keys.producer_id_expiration_ms,
        retention_check_interval_ms: keys.log_retention_check_interval_ms,
        high_watermark_checkpoint_interval: keys.replication.high_watermark_checkpoint_interval,
        cleaner: config.cleaner(&Dynamic::default()),
        ..LogOptions::default()
    };
    Ok(LogDirs::open(LogDirsOptions {
        dirs: keys.log_dirs.clone(),
        node_id,
        cluster_id: None,
        clock: clock.clone(),
        storage: Storage::start(keys.storage_threads.unwrap_or(STORAGE_THREADS)),
        options,
    })?)
}

fn server_options(keys: &BrokerConfig, clock: &Clock) -> ServerOptions {
    let listeners = keys.listeners.iter().map(|listener| ListenerOptions {
        name: listener.name.as_str().into(),
        host: listener.host.clone(),
        port: listener.port,
    });
    let defaults = ServerOptions::new(listeners.collect());
    ServerOptions {
        data_threads: keys.data_threads.unwrap_or(defaults.data_threads),
        request_bytes_max: keys.socket_request_max_bytes,
        queued_bytes_max: keys.queued_max_request_bytes,
        idle_timeout: keys.connections_max_idle.unwrap_or(Duration::MAX),
        connections_max: keys.max_connections.min(defaults.connections_max),
        connections_per_ip_max: keys.max_connections_per_ip,
        // Data threads never wait for a disk: whatever would is caught there.
        on_thread_start: Some(Arc::new(|| std::mem::forget(sys::forbid_blocking()))),
        clock: clock.clone(),
        ..defaults
    }
}

/// The endpoints to use, and the embedded store if that is what they are.
async fn etcd(keys: &BrokerConfig, clock: &Clock) -> anyhow::Result<(Option<EmbeddedEtcd>, Vec<String>)> {
    match &keys.etcd.endpoints {
        EtcdEndpoints::Servers(endpoints) => Ok((None, endpoints.clone())),
        EtcdEndpoints::Embedded { listen } => {
            let path = (!keys.dev_ephemeral).then(|| state_dir(keys).join(EMBEDDED_FILE));
            let options =
                EmbeddedOptions { path, listen: *listen, clock: clock.clone(), ..EmbeddedOptions::default() };
            let embedded = EmbeddedEtcd::start(options).await?;
            let endpoints = vec![embedded.endpoint()];
            Ok((Some(embedded), endpoints))
        }
    }
}

/// Where the broker keeps its own small files: the first log directory, which exists by now.
fn state_dir(keys: &BrokerConfig) -> PathBuf {
    keys.log_dirs.first().cloned().unwrap_or_else(|| PathBuf::from("."))
}

/// How this broker registers, as far as its configuration says.
fn registration(keys: &BrokerConfig, listeners: &[BoundListener]) -> Registration {
    Registration {
        node_id: None,
        host: sys::host::host_name(),
        endpoints: advertised(keys, listeners),
        rack: keys.rack.clone(),
        directories: Vec::new(),
        incarnation: random::uuid(),
        boot_id: sys::host::boot_id().unwrap_or_default(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        data_may_be_lost: true,
    }
}

fn metadata_options(
    keys: &BrokerConfig,
    endpoints: Vec<String>,
    registration: Registration,
    clock: &Clock,
) -> anyhow::Result<MetadataOptions> {
    let mut connection = ConnectionOptions::new(endpoints);
    if let Some((user, password)) = &keys.etcd.credentials {
        connection.user = Some(user.clone());
        connection.password = Some(password.clone());
    }
    connection.tls = tls(&keys.etcd)?;
    let mut options = MetadataOptions::new(connection, &keys.cluster_name, registration, state_dir(keys));
    options.prefix = Some(keys.etcd.prefix.clone());
    options.session_ttl = keys.etcd.session_ttl;
    options.start_timeout = keys.etcd.start_timeout;
    options.accept_rollback = keys.etcd.accept_rollback;
    options.allow_kubernetes = keys.etcd.allow_kubernetes;
    options.clock = clock.clone();
    Ok(options)
}

fn tls(etcd: &EtcdConfig) -> anyhow::Result<Option<TlsOptions>> {
    let read =
        |path: &Path| sys::read::small(path, PEM_BYTES_MAX).with_context(|| path.display().to_string());
    let wanted = etcd.tls_ca.is_some() || etcd.tls_identity.is_some() || is_https(&etcd.endpoints);
    if !wanted {
        return Ok(None);
    }
    let identity = etcd.tls_identity.as_ref();
    Ok(Some(TlsOptions {
        ca_pem: etcd.tls_ca.as_deref().map(read).transpose()?,
        identity_pem: identity
            .map(|(certificate, key)| anyhow::Ok((read(certificate)?, read(key)?)))
            .transpose()?,
        server_name: None,
    }))
}

fn is_https(endpoints: &EtcdEndpoints) -> bool {
    matches!(endpoints, EtcdEndpoints::Servers(all) if all.iter().any(|one| one.starts_with("https://")))
}

/// What clients are told: the configured names, with the port that the system chose where none was set.
fn advertised(keys: &BrokerConfig, listeners: &[BoundListener]) -> Vec<Endpoint> {
    let bound_port = |name: &str| {
        listeners.iter().find(|bound| &*bound.name == name).map_or(0, |bound| bound.address.port())
    };
    keys.advertised_listeners
        .iter()
        .map(|advertised| Endpoint {
            listener: advertised.name.clone(),
            host: advertised.host.clone(),
            port: if advertised.port == 0 { bound_port(&advertised.name) } else { advertised.port },
            security_protocol: "PLAINTEXT".to_owned(),
        })
        .collect()
}

/// Logs of partitions that etcd does not know are left alone, and named: nothing is removed that nobody deleted.
fn warn_of_strangers(broker: &Broker) {
    let image = broker.image();
    for found in broker.log_dirs().partitions_on_disk() {
        let known = image.topics.values().any(|topic| {
            topic.name == found.partition.topic && found.topic_id.is_none_or(|id| id == topic.id)
        });
        if !known {
            warn!(partition = %found.partition, "a log of a topic that etcd does not know is left as it is");
        }
    }
}
