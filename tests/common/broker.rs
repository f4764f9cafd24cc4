//! The real broker as a process: started, killed, stopped and started again on the same port and data.
//!
//! `KETCD_TEST_BROKER` names another program to start instead of `ketcd`, with the same arguments and the same
//! line on standard output: `tests/setup/kafka-node.sh` does that with Apache Kafka, to check the tests themselves.
#![allow(dead_code, reason = "each test target uses a part of this")]

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// How long a broker may take to say where it listens: Apache Kafka on a busy machine needs most of it.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How long a clean stop may take.
const STOP_DEADLINE: Duration = Duration::from_secs(30);
/// What is kept of the broker's output to show when a test fails.
const LINES_KEPT: usize = 200;

type Output = Arc<Mutex<VecDeque<String>>>;

/// A broker process with a data directory of its own.
pub struct Broker {
    running: Option<Running>,
    port: u16,
    data: TempDir,
    arguments: Vec<OsString>,
    output: Output,
}

struct Running {
    child: Child,
    /// Kills the broker and removes its data when this test process ends in whatever way: it waits for the end
    /// of its standard input. Statics are never dropped, and a crashed test drops nothing.
    watcher: Child,
}

impl Broker {
    /// Starts a broker on a port chosen by the system and waits until it says where it listens.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// [`Broker::start`] with more arguments after `dev --port P --data DIR`.
    pub fn start_with(arguments: &[&str]) -> Self {
        let data = tempfile::Builder::new().prefix("ketcd-test-").tempdir().expect("a temporary directory");
        let arguments = arguments.iter().map(OsString::from).collect();
        let mut broker = Self { running: None, port: 0, data, arguments, output: Output::default() };
        broker.run();
        broker
    }

    /// A broker that can be restarted on its port: one below the range from which the system takes ports for
    /// connections, so that nobody gets it while the broker is down.
    pub fn start_on_fixed_port() -> Self {
        Self::start_on_fixed_port_with(&[])
    }

    /// [`Broker::start_on_fixed_port`] with more arguments.
    pub fn start_on_fixed_port_with(arguments: &[&str]) -> Self {
        let data = tempfile::Builder::new().prefix("ketcd-test-").tempdir().expect("a temporary directory");
        let port = fixed_port();
        let arguments = arguments.iter().map(OsString::from).collect();
        let mut broker = Self { running: None, port, data, arguments, output: Output::default() };
        broker.run();
        broker
    }

    /// The address for clients, `127.0.0.1:PORT`.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where the broker keeps its files.
    pub fn data(&self) -> &Path {
        self.data.path()
    }

    /// The process id while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(|running| running.child.id())
    }

    /// The last lines that the broker printed, for the message of a failing test.
    pub fn output(&self) -> String {
        let lines = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        lines.iter().fold(String::new(), |text, line| text + line + "\n")
    }

    /// kill -9: no goodbye, no flush, no clean-shutdown marker.
    pub fn kill(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        running.dismiss_watcher();
        running.child.kill().expect("the broker was there to be killed");
        running.child.wait().expect("a child can be waited for");
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(&mut self) -> ExitStatus {
        let mut running = self.running.take().expect("a broker that runs");
        running.dismiss_watcher();
        let pid = rustix::process::Pid::from_child(&running.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)
            .expect("the broker was there to be stopped");
        let deadline = Instant::now() + STOP_DEADLINE;
        loop {
            if let Some(status) = running.child.try_wait().expect("a child can be waited for") {
                return status;
            }
            if Instant::now() > deadline {
                running.child.kill().ok();
                running.child.wait().ok();
                panic!("the broker did not stop within {STOP_DEADLINE:?} of SIGTERM:\n{}", self.output());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Starts it again after [`Broker::kill`] or [`Broker::stop`]: same port, same data.
    pub fn restart(&mut self) {
        assert!(self.running.is_none(), "the broker still runs");
        self.run();
    }

    fn run(&mut self) {
        let program = std::env::var_os("KETCD_TEST_BROKER")
            .unwrap_or_else(|| OsString::from(env!("CARGO_BIN_EXE_ketcd")));
        let mut child = Command::new(&program)
            .arg("dev")
            .args(["--port", &self.port.to_string(), "--data"])
            .arg(self.data.path())
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {}: {error}", program.to_string_lossy()));
        let watcher = watch(child.id(), self.data.path());
        let stdout = child.stdout.take().expect("piped");
        let stderr = child.stderr.take().expect("piped");
        let ports = follow(stdout, &self.output);
        drop(follow(stderr, &self.output));
        self.running = Some(Running { child, watcher });
        match ports.recv_timeout(START_DEADLINE) {
            Ok(port) => self.port = port,
            Err(_) => panic!("the broker did not say where it listens:\n{}", self.output()),
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the broker's last words:\n{}", self.output());
        }
        self.kill();
    }
}

impl Running {
    fn dismiss_watcher(&mut self) {
        self.watcher.kill().ok();
        self.watcher.wait().ok();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.dismiss_watcher();
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn watch(pid: u32, data: &Path) -> Child {
    Command::new("sh")
        .args(["-c", r#"read -r _; kill -9 "$1" 2>/dev/null; rm -rf -- "$2""#, "watcher"])
        .arg(pid.to_string())
        .arg(data)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a shell")
}

/// Keeps the last lines of `from`; the port of the line `kafka  127.0.0.1:PORT`, or `node 1  127.0.0.1:PORT` of several, is sent.
fn follow(from: impl Read + Send + 'static, output: &Output) -> Receiver<u16> {
    let (sender, receiver) = mpsc::channel();
    let output = Arc::clone(output);
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if let Some(port) = port_of(&line) {
                sender.send(port).ok();
            }
            let mut kept = output.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.len() == LINES_KEPT {
                kept.pop_front();
            }
            kept.push_back(line);
        }
    });
    receiver
}

fn port_of(line: &str) -> Option<u16> {
    let mut words = line.split_whitespace();
    match words.next()? {
        "kafka" => {}
        "node" if words.next() == Some("1") => {}
        _ => return None,
    }
    words.next()?.rsplit(':').next()?.parse().ok()
}

fn fixed_port() -> u16 {
    // Each call begins after the last one's port: a broker takes its time to bind.
    static TAKEN: AtomicU16 = AtomicU16::new(0);
    let start = 20_000 + u16::try_from(std::process::id() % 100).expect("below 100") * 70;
    loop {
        let port = start + TAKEN.fetch_add(1, Ordering::Relaxed) % 3_000;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// Every file below `directory` whose name ends in `suffix`, sorted by path.
pub fn files_below(directory: &Path, suffix: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut ahead = vec![directory.to_owned()];
    while let Some(directory) = ahead.pop() {
        for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                ahead.push(path);
            } else if entry.file_name().to_string_lossy().ends_with(suffix) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}
