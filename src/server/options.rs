//! What the server can be told, with Kafka's names and defaults where Kafka has them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::types::Clock;

/// One listener: a name that clients never see, and where it listens.
#[derive(Debug, Clone)]
pub struct ListenerOptions {
    /// Its name in `listeners`, e.g. `PLAINTEXT`.
    pub name: Arc<str>,
    /// Host name or address to bind; empty: every interface.
    pub host: String,
    /// Port to bind; 0: one that the system chooses.
    pub port: u16,
}

/// How connections share threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Threading {
    /// One single-threaded runtime per data thread; a connection stays on its thread.
    #[default]
    PerThread,
    /// One runtime whose threads share all connections.
    Shared,
}

/// A function that each data thread calls before anything else.
pub type OnThreadStart = Arc<dyn Fn() + Send + Sync>;

/// Everything the server can be told.
#[derive(Clone)]
pub struct ServerOptions {
    /// Where to listen.
    pub listeners: Vec<ListenerOptions>,
    /// How many data threads.
    pub data_threads: usize,
    /// How connections share them.
    pub threading: Threading,
    /// `socket.request.max.bytes`: the largest frame.
    pub request_bytes_max: usize,
    /// `queued.max.request.bytes`: what the frames of all connections may hold together. While nothing is left, sockets are not
    /// read.
    pub queued_bytes_max: usize,
    /// Requests of one connection between arrival and the last byte of their answer.
    pub requests_in_flight_max: usize,
    /// Bytes of such requests and of answers that wait to be sent, of one connection. The request that passes the bound is still
    /// taken.
    pub bytes_in_flight_max: usize,
    /// `connections.max.idle.ms`: a connection without traffic and without a waiting request is closed after this time.
    pub idle_timeout: Duration,
    /// A frame that was begun must arrive within this time and one more second for each MiB of it.
    pub frame_timeout: Duration,
    /// `max.connections`.
    pub connections_max: usize,
    /// `max.connections.per.ip`.
    pub connections_per_ip_max: usize,
    /// `socket.listen.backlog.size`.
    pub backlog: i32,
    /// Called first on each data thread.
    pub on_thread_start: Option<OnThreadStart>,
    /// Source of time.
    pub clock: Clock,
}

impl ServerOptions {
    /// The defaults, on `listeners`.
    #[must_use]
    pub fn new(listeners: Vec<ListenerOptions>) -> Self {
        Self {
            listeners,
            data_threads: std::thread::available_parallelism().map_or(1, usize::from),
            threading: Threading::default(),
            request_bytes_max: 100 << 20,
            queued_bytes_max: 512 << 20,
            requests_in_flight_max: 32,
            bytes_in_flight_max: 8 << 20,
            idle_timeout: Duration::from_secs(600),
            frame_timeout: Duration::from_secs(30),
            connections_max: 20_000,
            connections_per_ip_max: 10_000,
            backlog: 1024,
            on_thread_start: None,
            clock: Clock::system(),
        }
    }
}

impl fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerOptions")
            .field("listeners", &self.listeners)
            .field("data_threads", &self.data_threads)
            .field("threading", &self.threading)
            .field("request_bytes_max", &self.request_bytes_max)
            .field("queued_bytes_max", &self.queued_bytes_max)
            .finish_non_exhaustive()
    }
}
