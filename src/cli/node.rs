//! A whole broker in this process: the rooms started in their order, and stopped in the reverse one.
//!
//! Start: log directories locked, listeners bound, embedded etcd if asked for, registration and image, first reconcile, then requests
//! are served. Stop: no new connections, answers leave, roles end, logs flushed and the clean-shutdown marker written, lease revoked.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::info;

use super::node_admin::NodeAdmin;
use crate::broker::{Broker, reconcile};
use crate::config::{BrokerConfig, Config, EtcdEndpoints};
use crate::handlers::BrokerService;
use crate::log::{LogDirs, LogDirsOptions, Storage};
use crate::metadata::embedded::{EmbeddedEtcd, EmbeddedOptions};
use crate::metadata::image::Endpoint;
use crate::metadata::{ConnectionOptions, Metadata, MetadataOptions, Registration, TlsOptions};
use crate::server::{BoundListener, ListenerOptions, Server, ServerOptions};
use crate::sys;
use crate::types::{Clock, random};

/// How long answers may take to leave when the broker stops.
const STOP_GRACE: Duration = Duration::from_secs(5);
/// How long the first reconcile may take.
const FIRST_RECONCILE: Duration = Duration::from_secs(60);

/// A running broker.
pub struct Node {
    broker: Arc<Broker>,
    server: Server,
    admin: Option<crate::server::admin::Admin>,
    embedded: Option<EmbeddedEtcd>,
    tasks: TaskTracker,
    stop: CancellationToken,
    listeners: Vec<BoundListener>,
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
        sys::raise_open_files_limit();
        let storage = Storage::start(keys.storage_threads()).context("storage threads cannot be started")?;
        let log_dirs = Arc::new(open_log_dirs(keys, &clock, storage)?);
        let server = Server::bind(&server_options(keys, &clock)).context("listeners cannot be opened")?;
        let listeners = server.listeners().to_vec();
        let (embedded, endpoints) = etcd(keys, &clock).await?;
        let options = metadata_options(keys, endpoints, &log_dirs, &listeners, &clock)?;
        let metadata = Metadata::connect(options).await?;
        log_dirs.set_cluster_id(&metadata.image().cluster_id)?;
        log_dirs.registered(metadata.session().broker_epoch)?;
        let broker = Broker::new(Arc::clone(&config), metadata, log_dirs, clock);
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        tasks.spawn(reconcile::run(Arc::clone(&broker), stop.clone()));
        broker.wait_until_applied(broker.image().revision, FIRST_RECONCILE).await?;
        let server = server.serve(Arc::new(BrokerService::new(Arc::clone(&broker))))?;
        let admin = match keys.admin_listen {
            Some(address) => Some(crate::server::admin::start(address, NodeAdmin::new(&broker)).await?),
            None => None,
        };
        info!(node = %broker.id(), cluster = %broker.image().cluster_id, "broker serves");
        Ok(Self { broker, server, admin, embedded, tasks, stop, listeners })
    }

    /// The broker.
    #[must_use]
    pub const fn broker(&self) -> &Arc<Broker> {
        &self.broker
    }

    /// Where clients reach it.
    #[must_use]
    pub fn listeners(&self) -> &[BoundListener] {
        &self.listeners
    }

    /// Where the admin port is, if it is open.
    #[must_use]
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.admin.as_ref().map(crate::server::admin::Admin::address)
    }

    /// Where the embedded etcd is, if it runs.
    #[must_use]
    pub fn etcd_endpoint(&self) -> Option<String> {
        self.embedded.as_ref().map(EmbeddedEtcd::endpoint)
    }

    /// Stops in order. Never the lease first: until the logs are closed nobody else may take over (rule U5).
    ///
    /// # Errors
    /// A log that could not be flushed: the next start recovers it.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.server.stop(STOP_GRACE).await;
        self.broker.step_down();
        self.stop.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        let closed = self.broker.log_dirs().close();
        self.broker.metadata().close().await;
        if let Some(admin) = self.admin {
            admin.stop().await;
        }
        if let Some(embedded) = self.embedded {
            embedded.shutdown().await;
        }
        closed.context("the logs could not be closed cleanly")
    }
}
