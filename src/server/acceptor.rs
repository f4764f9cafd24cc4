//! Accepts connections and hands each to the least loaded data runtime.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::connection::{ConnectionTask, Ending};
use super::lifecycle::Shared;
use super::listener::ServerError;
use super::runtimes::DataRuntimes;
use crate::handlers::Connection;
use crate::handlers::refused_batches::RefusedBatches;
use crate::telemetry::closing::ClosedBecause;
use crate::telemetry::metrics;

/// How long accepting rests after an error such as EMFILE: the connection stays in the queue and would fail again at once.
const REST_AFTER_ERROR: Duration = Duration::from_millis(100);

/// One line about failing accepts in this time.
const ERROR_LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Connection ids are unique in the process, whichever server accepted.
static NEXT_CONNECTION_ID: AtomicU64 = AtomicU64::new(1);

/// Starts the acceptor thread on sockets that are bound. It ends when `stop` fires, and closes them.
pub(super) fn start(
    listeners: Vec<(Arc<str>, Vec<TcpListener>)>,
    shared: Arc<Shared>,
    runtimes: Arc<DataRuntimes>,
    stop: CancellationToken,
) -> Result<JoinHandle<()>, ServerError> {
    let name = "ketcd-accept".to_owned();
    let failed = |source| ServerError::Thread { name: name.clone(), source };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let mut accepting = Vec::new();
    {
        let _context = runtime.enter();
        for (listener, sockets) in listeners {
            for socket in sockets {
                let socket = tokio::net::TcpListener::from_std(socket).map_err(failed)?;
                accepting.push((listener.clone(), socket));
            }
        }
    }
    std::thread::Builder::new()
        .name(name.clone())
        .spawn(move || {
            for (listener, socket) in accepting {
                let acceptor =
                    Acceptor { listener, socket, shared: shared.clone(), runtimes: runtimes.clone() };
                runtime.spawn(acceptor.run());
            }
            runtime.block_on(stop.cancelled());
        })
        .map_err(failed)
}

struct Acceptor {
    listener: Arc<str>,
    socket: tokio::net::TcpListener,
    shared: Arc<Shared>,
    runtimes: Arc<DataRuntimes>,
}

impl Acceptor {
    async fn run(self) {
        let mut last_error_line = None;
        loop {
            let accepted = self.socket.accept().await;
            // Taken from this thread's poller: it will live on another.
            match accepted.and_then(|(stream, peer)| Ok((stream.into_std()?, peer))) {
                Ok((stream, peer)) => self.hand_over(stream, peer),
                // The client gave up before its turn came.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(error) => {
                    metrics::accept_failed();
                    self.tell(&error, &mut last_error_line);
                    tokio::time::sleep(REST_AFTER_ERROR).await;
                }
            }
        }
    }

    fn tell(&self, error: &io::Error, last_line: &mut Option<Duration>) {
        let now = self.shared.options.clock.elapsed();
        if last_line.is_some_and(|last| now.saturating_sub(last) < ERROR_LINE_INTERVAL) {
            return;
        }
        *last_line = Some(now);
        let errno = error.raw_os_error();
        let out_of_files = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE]
            .iter()
            .any(|limit| errno == Some(limit.raw_os_error()));
        let help = if out_of_files { "raise the limit of open files (ulimit -n)" } else { "" };
        tracing::warn!(listener = %self.listener, %error, help, "cannot accept connections; trying again");
    }

    fn hand_over(&self, stream: TcpStream, peer: SocketAddr) {
        let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
        let about = Arc::new(Connection {
            id: NEXT_CONNECTION_ID.fetch_add(1, Ordering::Relaxed),
            listener: self.listener.clone(),
            peer,
            software: OnceLock::new(),
            refused_batches: RefusedBatches::default(),
        });
        let Some(runtime) = self.runtimes.least_loaded() else { return };
        let open = match self.shared.admission.admit(peer.ip(), runtime.load()) {
            Ok(open) => open,
            Err(too_many) => {
                metrics::connection_refused(ClosedBecause::TooMany);
                Ending::told(
                    ClosedBecause::TooMany,
                    too_many.to_string(),
                    "close connections, or raise the limit",
                )
                .log(&self.shared, &about);
                return;
            }
        };
        let (shared, stop) = (self.shared.clone(), runtime.stop_token());
        runtime.handle().spawn(async move {
            let mut open = open; // moved as a whole: its drop ends the count
            open.because = ClosedBecause::Network;
            if let Ok(stream) = prepare(stream) {
                open.because = ClosedBecause::Shutdown;
                let ending = ConnectionTask::new(shared.clone(), stream, about.clone(), stop).run().await;
                open.because = ending.because();
                ending.log(&shared, &about);
            }
        });
    }
}

fn prepare(stream: TcpStream) -> io::Result<tokio::net::TcpStream> {
    stream.set_nodelay(true)?;
    tokio::net::TcpStream::from_std(stream)
}
