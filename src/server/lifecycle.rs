//! Starting and stopping the server.

use std::fmt;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::acceptor;
use super::admission::Admission;
use super::budget::Budget;
use super::close_log::CloseLog;
use super::listener::{BoundListener, ServerError, bind};
use super::options::ServerOptions;
use super::runtimes::DataRuntimes;
use crate::handlers::Service;
use crate::telemetry::metrics::{self, ScrapeRegistration};

/// After the grace time, how long connections may take to notice that it is over.
const STRAGGLERS: Duration = Duration::from_millis(500);

/// How long the threads may take to end.
const THREADS_END: Duration = Duration::from_secs(5);

/// What every connection of one server shares.
pub(super) struct Shared {
    pub(super) service: Arc<dyn Service>,
    pub(super) options: ServerOptions,
    pub(super) budget: Arc<Budget>,
    pub(super) admission: Arc<Admission>,
    pub(super) close_log: CloseLog,
    stopping: AtomicBool,
    grace_ms: AtomicU64,
}

impl Shared {
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// How long answers may take to leave once the server stops.
    pub(super) fn grace(&self) -> Duration {
        Duration::from_millis(self.grace_ms.load(Ordering::Relaxed))
    }
}

/// The listeners and everything behind them. Dropping it cuts every connection off; see [`Server::shutdown`].
pub struct Server {
    shared: Arc<Shared>,
    runtimes: Arc<DataRuntimes>,
    acceptor: JoinHandle<()>,
    stop_accepting: CancellationToken,
    listeners: Vec<BoundListener>,
    _scrape: ScrapeRegistration,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("listeners", &self.listeners).finish_non_exhaustive()
    }
}

/// How a shutdown went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stopped {
    /// Connections whose answers did not leave in time and that were cut off.
    pub cut_off: usize,
}

/// Listeners that are bound but not served yet: clients that come now wait in the backlog. A broker must know its ports before it
/// registers, and be registered before it serves.
pub struct Bound {
    options: ServerOptions,
    listeners: Vec<BoundListener>,
    sockets: Vec<(Arc<str>, Vec<TcpListener>)>,
}

impl Bound {
    /// Binds every listener.
    ///
    /// # Errors
    /// A listener that cannot be bound, with the reason and the cure.
    pub fn bind(options: ServerOptions) -> Result<Self, ServerError> {
        if options.listeners.is_empty() {
            return Err(ServerError::NoListener);
        }
        let mut listeners = Vec::new();
        let mut sockets = Vec::new();
        for listener in &options.listeners {
            let (bound, its_sockets) = bind(listener, options.backlog)?;
            sockets.push((bound.name.clone(), its_sockets));
            listeners.push(bound);
        }
        Ok(Self { options, listeners, sockets })
    }

    /// Where it listens, in the order of the options.
    #[must_use]
    pub fn listeners(&self) -> &[BoundListener] {
        &self.listeners
    }

    /// Starts the data threads and serves `service`.
    ///
    /// # Errors
    /// A thread that cannot be started; nothing is left running then.
    pub fn serve(self, service: Arc<dyn Service>) -> Result<Server, ServerError> {
        let Self { options, listeners, sockets } = self;
        let runtimes = Arc::new(DataRuntimes::start(&options)?);
        let budget = Arc::new(Budget::new(options.queued_bytes_max));
        let shared = Arc::new(Shared {
            service,
            budget: budget.clone(),
            admission: Arc::new(Admission::new(options.connections_max, options.connections_per_ip_max)),
            close_log: CloseLog::default(),
            stopping: AtomicBool::new(false),
            grace_ms: AtomicU64::new(0),
            options,
        });
        let stop_accepting = CancellationToken::new();
        let acceptor = acceptor::start(sockets, shared.clone(), runtimes.clone(), stop_accepting.clone())
            .inspect_err(|_| runtimes.end())?;
        let scrape = metrics::on_scrape(move |scrape| tell_budget(scrape, &budget));
        Ok(Server { shared, runtimes, acceptor, stop_accepting, listeners, _scrape: scrape })
    }
}

impl Server {
    /// Binds every listener, starts the data threads and serves `service`.
    ///
    /// # Errors
    /// As [`Bound::bind`] and [`Bound::serve`].
    pub fn start(options: ServerOptions, service: Arc<dyn Service>) -> Result<Self, ServerError> {
        Bound::bind(options)?.serve(service)
    }

    /// Where it listens, in the order of the options.
    #[must_use]
    pub fn listeners(&self) -> &[BoundListener] {
        &self.listeners
    }

    /// Connections that are open now.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.shared.admission.open()
    }

    /// Bytes of the request budget that are in use.
    #[must_use]
    pub fn queued_bytes(&self) -> usize {
        self.shared.budget.used_bytes()
    }

    /// Whether every data thread runs a new task within `timeout`: the liveness of the data path.
    pub async fn responds_within(&self, timeout: Duration) -> bool {
        self.runtimes.respond_within(timeout).await
    }

    /// Stops listening, lets the answers of requests that were received leave within `grace`, closes every connection and ends
    /// the threads. Requests that wait long (fetches) end at their own time or at the end of the grace: wake them first.
    pub async fn shutdown(&self, grace: Duration) -> Stopped {
        self.stop_accepting.cancel();
        let grace_ms = u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
        self.shared.grace_ms.store(grace_ms, Ordering::Relaxed);
        self.shared.stopping.store(true, Ordering::Release);
        self.runtimes.stop_connections();
        let patience = grace.saturating_add(STRAGGLERS);
        let in_time = tokio::time::timeout(patience, self.shared.admission.none_open()).await.is_ok();
        let cut_off = if in_time { 0 } else { self.connections() };
        self.runtimes.end();
        let threads_end = async {
            while !(self.runtimes.have_ended() && self.acceptor.is_finished()) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        if tokio::time::timeout(THREADS_END, threads_end).await.is_err() {
            tracing::warn!("a data thread is blocked and did not end");
        }
        Stopped { cut_off }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop_accepting.cancel();
        self.shared.stopping.store(true, Ordering::Release);
        self.runtimes.end();
    }
}

fn tell_budget(scrape: &mut metrics::Scrape<'_>, budget: &Budget) {
    #[allow(clippy::cast_precision_loss, reason = "bytes in the exabytes")]
    let number = |bytes: usize| bytes as f64;
    scrape.gauge(
        "ketcd_server_request_memory_bytes",
        "Memory that request frames hold now (kafka.network:type=SocketServer,name=MemoryPoolUsed)",
        number(budget.used_bytes()),
    );
    scrape.gauge(
        "ketcd_server_request_memory_limit_bytes",
        "queued.max.request.bytes: sockets are not read while so much is held",
        number(budget.total_bytes()),
    );
}
