//! An etcd in the same process: serves etcd's v3 gRPC API on loopback, kept in one file or in memory.
//!
//! For one machine: `ketcd dev` and nodes with `etcd.endpoints = embedded`. It serves what the broker and `etcdctl` use: KV, Watch,
//! Lease, status, alarms, defragmentation, the member list. It has no peers, no authentication and no TLS, and says so by
//! refusing other addresses than loopback. `tests/metadata/` holds it to real etcd servers.
//!
//! This room knows nothing of the broker's keys. Deciding is pure ([`store`], [`mvcc`], [`txn`], [`range`], [`lease`],
//! [`watcher`]); doing is thin: [`writer`] (a thread with the file), [`service`] (gRPC), [`expiry`] (the ends of leases).
//!
//! Read first: [`store`], then [`writer`].

mod backend;
#[cfg(test)]
mod backend_fault;
mod check;
mod error;
mod expiry;
mod file;
mod key_range;
mod lease;
mod mvcc;
mod range;
mod record;
mod reply;
mod service;
mod shared;
mod store;
mod txn;
mod watcher;
mod writer;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::proto::{PbClusterServer, PbKvServer, PbLeaseServer, PbMaintenanceServer, PbWatchServer};
use tokio::net::TcpListener;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

pub use file::FileError;
pub use store::Retention;

use crate::types::Clock;
use file::Identity;
use service::Service;
use shared::{Shared, State};
use writer::Writer;

/// The version of etcd whose API this is, as the status call tells it.
pub const API_VERSION: &str = "3.5.21";
/// Calls that one connection may have open at once.
const STREAMS_PER_CONNECTION: u32 = 10_000;

/// How long a stop waits for clients that do not react.
const SHUTDOWN_GRACE: Duration = Duration::from_secs(2);

/// How to start the store.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// The file; its folder must exist. `None` keeps everything in memory.
    pub path: Option<PathBuf>,
    /// Whether a change is answered only when it has reached the disk. Without, it survives the end of the process, but a power
    /// failure can cost the newest changes or the whole file: for developing and tests.
    pub fsync: bool,
    /// Where to serve. Port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Allows an address other than loopback. There is no authentication: whoever reaches the port owns the metadata.
    pub allow_remote: bool,
    /// Time, for leases.
    pub clock: Clock,
    /// How long a quiet watch that asked for progress notes goes without. etcd's default is 10 minutes.
    pub progress_interval: Duration,
    /// How much history is kept.
    pub retention: Retention,
}

impl Default for EmbeddedOptions {
    fn default() -> Self {
        Self {
            path: None,
            fsync: true,
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            allow_remote: false,
            clock: Clock::system(),
            progress_interval: Duration::from_secs(600),
            retention: Retention::default(),
        }
    }
}

/// Why the store did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address is not loopback, and nobody allowed that.
    #[error(
        "the embedded etcd serves this machine only and has no authentication: {listen} is not a loopback address"
    )]
    NotLoopback {
        /// The address asked for.
        listen: SocketAddr,
    },
    /// The address cannot be served.
    #[error("the embedded etcd cannot listen on {listen}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// The writer's thread could not be started.
    #[error("the embedded etcd could not start its thread")]
    Thread(#[source] std::io::Error),
    /// The file cannot be used.
    #[error("the embedded etcd cannot use its file")]
    File(#[from] FileError),
    /// The writer's thread ended before it had opened the file.
    #[error("the embedded etcd's thread ended while it opened its file")]
    Died,
}

/// A running store. Dropping it stops it in the background; [`EmbeddedEtcd::shutdown`] waits for that.
pub struct EmbeddedEtcd {
    address: SocketAddr,
    endpoint: Arc<str>,
    closing: DropGuard,
    tasks: TaskTracker,
    closed: oneshot::Receiver<()>,
}

impl EmbeddedEtcd {
    /// Opens the file and serves, on the runtime this is called on. Every change that was ever answered is there again, and every
    /// lease that was alive has its full time again.
    ///
    /// # Errors
    /// See [`StartError`].
    ///
    /// # Cost
    /// One thread. The file is read on it, so the runtime is never blocked.
    pub async fn start(options: EmbeddedOptions) -> Result<Self, StartError> {
        let EmbeddedOptions { path, fsync, listen, allow_remote, clock, progress_interval, retention } =
            options;
        if !listen.ip().is_loopback() && !allow_remote {
            return Err(StartError::NotLoopback { listen });
        }
        let cannot_listen = |source| StartError::Listen { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(cannot_listen)?;
        let address = listener.local_addr().map_err(cannot_listen)?;

        let (commands, requests) = mpsc::channel(writer::QUEUE);
        let (opened, ready) = oneshot::channel::<Result<(Identity, Arc<State>), FileError>>();
        let (ended, closed) = oneshot::channel();
        let writer_clock = clock.clone();
        let thread = std::thread::Builder::new().name("ketcd-etcd".to_owned()).spawn(move || {
            match Writer::open(path, writer_clock, fsync, retention) {
                Ok((writer, identity, state)) => {
                    let _ = opened.send(Ok((identity, state)));
                    writer.run(requests);
                }
                Err(error) => {
                    let _ = opened.send(Err(error));
                }
            }
            let _ = ended.send(());
        });
        thread.map_err(StartError::Thread)?;
        let (identity, state) = ready.await.map_err(|_| StartError::Died)??;

        let closing = CancellationToken::new();
        let tasks = TaskTracker::new();
        let endpoint: Arc<str> = format!("http://{address}").into();
        let shared = Shared {
            state,
            commands,
            identity,
            clock,
            leases_changed: Arc::new(Notify::new()),
            progress_interval,
            closing: closing.clone(),
            tasks: tasks.clone(),
            endpoint: Arc::clone(&endpoint),
        };
        tasks.spawn(expiry::run(shared.clone()));
        tasks.spawn(serve(listener, Service(shared), closing.clone()));
        Ok(Self { address, endpoint, closing: closing.drop_guard(), tasks, closed })
    }

    /// What a client connects to, as `http://127.0.0.1:2379`.
    #[must_use]
    pub fn endpoint(&self) -> String {
        self.endpoint.to_string()
    }

    /// The address it listens on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends all streams, answers what is under way, closes the file. Waits at most two seconds for clients that do not react.
    pub async fn shutdown(self) {
        let Self { closing, tasks, closed, .. } = self;
        drop(closing);
        tasks.close();
        let ended = async {
            tasks.wait().await;
            // The writer ends when the last service is gone; an error means that its thread has died.
            let _ = closed.await;
        };
        if tokio::time::timeout(SHUTDOWN_GRACE, ended).await.is_err() {
            tracing::warn!("embedded etcd: a client kept its connection open; the file is not closed yet");
        }
    }
}

async fn serve(listener: TcpListener, service: Service, closing: CancellationToken) {
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let served = Server::builder()
        .max_concurrent_streams(STREAMS_PER_CONNECTION)
        .add_service(PbKvServer::new(service.clone()))
        .add_service(PbWatchServer::new(service.clone()))
        .add_service(PbLeaseServer::new(service.clone()))
        .add_service(PbMaintenanceServer::new(service.clone()))
        .add_service(PbClusterServer::new(service))
        .serve_with_incoming_shutdown(incoming, closing.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(error = &error as &dyn std::error::Error, "embedded etcd: serving ended");
    }
}
