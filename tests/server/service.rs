//! The service under test and a client for it.
//!
//! A frame is: api key, version, correlation id, then one byte that says what to do and its argument. Replies are the length, the
//! correlation id and what the service adds.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ketcd::handlers::{CloseReason, Connection, Reply, Response, Service};
use ketcd::server::{ListenerOptions, Server, ServerOptions};
use tokio::sync::Semaphore;

/// Longer than anything here should take, on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

pub const ECHO: u8 = b'e';
pub const ECHO_ALL: u8 = b'a';
pub const LATER: u8 = b'l';
pub const GATED: u8 = b'g';
pub const SILENT: u8 = b's';
pub const CLOSE: u8 = b'c';
pub const PANIC: u8 = b'p';
pub const PANIC_LATER: u8 = b'q';
pub const BIG_ANSWER: u8 = b'b';

pub struct TestService {
    pub calls: AtomicUsize,
    /// Each permit lets one [`GATED`] answer go.
    pub gate: Arc<Semaphore>,
    pub order: Mutex<Vec<i32>>,
}

impl TestService {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            calls: AtomicUsize::new(0),
            gate: Arc::new(Semaphore::new(0)),
            order: Mutex::default(),
        })
    }

    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

impl Service for TestService {
    fn call(&self, _connection: &Arc<Connection>, frame: Bytes) -> Reply {
        self.calls.fetch_add(1, Ordering::SeqCst);
        let correlation = i32::from_be_bytes(frame[4..8].try_into().unwrap());
        let argument = frame.get(9..11).map_or(0, |bytes| u16::from_be_bytes(bytes.try_into().unwrap()));
        match frame.get(8).copied().unwrap_or(ECHO) {
            ECHO_ALL => Reply::Now(answer(correlation, frame)),
            LATER => {
                self.order.lock().unwrap().push(correlation);
                let pause = Duration::from_millis(u64::from(argument));
                Reply::Later(Box::pin(async move {
                    tokio::time::sleep(pause).await;
                    answer(correlation, Bytes::new())
                }))
            }
            GATED => {
                // The frame stays alive as long as the answer is not made.
                let gate = self.gate.clone();
                Reply::Later(Box::pin(async move {
                    let _frame = frame;
                    gate.acquire_owned().await.unwrap().forget();
                    answer(correlation, Bytes::new())
                }))
            }
            SILENT => Reply::Silent,
            CLOSE => Reply::Close(CloseReason::Malformed("told so".into())),
            PANIC => panic!("told to panic"),
            PANIC_LATER => Reply::Later(Box::pin(async { panic!("told to panic later") })),
            BIG_ANSWER => Reply::Now(answer(correlation, Bytes::from(vec![7; usize::from(argument) << 10]))),
            _ => Reply::Now(answer(correlation, Bytes::new())),
        }
    }
}

fn answer(correlation: i32, rest: Bytes) -> Response {
    let mut head = Vec::with_capacity(8);
    head.extend_from_slice(&u32::try_from(4 + rest.len()).unwrap().to_be_bytes());
    head.extend_from_slice(&correlation.to_be_bytes());
    Response { chunks: [Bytes::from(head), rest].into_iter().collect() }
}

pub fn options() -> ServerOptions {
    let listener = ListenerOptions { name: "PLAINTEXT".into(), host: "127.0.0.1".into(), port: 0 };
    ServerOptions { data_threads: 2, ..ServerOptions::new(vec![listener]) }
}

pub struct Running {
    pub server: Server,
    pub service: Arc<TestService>,
    pub address: SocketAddr,
}

pub fn start(options: ServerOptions) -> Running {
    let service = TestService::new();
    let server = Server::start(options, service.clone()).unwrap();
    let address = server.listeners()[0].address;
    Running { server, service, address }
}

impl Running {
    pub fn connect(&self) -> Client {
        Client::connect(self.address)
    }
}

/// Waits until `holds`, at most [`PATIENCE`].
pub fn wait_until(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(2));
    }
}

/// Checks for a while that `holds` stays true: for what must not happen.
pub fn stays(what: &str, holds: impl Fn() -> bool) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(150) {
        assert!(holds(), "it did not stay so that {what}");
        std::thread::park_timeout(Duration::from_millis(5));
    }
}

/// A frame with its length: what `kind` means stands at the top of this file.
pub fn request(correlation: i32, kind: u8, argument: u16, padding: usize) -> Vec<u8> {
    let mut frame = vec![0, 3, 0, 12];
    frame.extend_from_slice(&correlation.to_be_bytes());
    frame.push(kind);
    frame.extend_from_slice(&argument.to_be_bytes());
    frame.resize(frame.len() + padding, 0x5a);
    let mut out = u32::try_from(frame.len()).unwrap().to_be_bytes().to_vec();
    out.extend_from_slice(&frame);
    out
}

pub struct Client(pub TcpStream);

impl Client {
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_write_timeout(Some(PATIENCE)).unwrap();
        Self(stream)
    }

    pub fn send(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// The next reply: its correlation id and the rest.
    pub fn reply(&mut self) -> (i32, Vec<u8>) {
        self.try_reply().unwrap()
    }

    pub fn try_reply(&mut self) -> std::io::Result<(i32, Vec<u8>)> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length)?;
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        self.0.read_exact(&mut frame)?;
        let rest = frame.split_off(4);
        Ok((i32::from_be_bytes(frame.try_into().unwrap()), rest))
    }

    /// Whether the server ends this connection, within [`PATIENCE`], without another byte.
    pub fn is_closed(&mut self) -> bool {
        match self.0.read(&mut [0; 1]) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => {
                !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
            }
        }
    }
}

/// Runs an async call of the server.
pub fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
