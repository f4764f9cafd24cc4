//! One broker process: its ports, its output, its end.
#![allow(dead_code, reason = "each test target uses a part of this")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long a broker may take to serve on a busy machine.
pub const START_DEADLINE: Duration = Duration::from_secs(60);
/// How long a stop, or a start that fails, may take.
pub const END_DEADLINE: Duration = Duration::from_secs(30);
/// Where brokers listen that have no network of their own.
const LOOPBACK: &str = "127.0.0.1";
/// The ports used here: below those that the system gives to connections, so that nobody gets one while its broker is down.
const PORTS: std::ops::Range<u16> = 30_100..32_500;

/// The lines that a process printed, on both of its outputs.
#[derive(Default)]
struct Output {
    lines: Mutex<Vec<String>>,
    more: Condvar,
}

/// A broker process that ran, runs or may run again.
pub struct Node {
    program: Vec<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    child: Option<Child>,
    host: String,
    port: u16,
    output: Arc<Output>,
    readers: Vec<JoinHandle<()>>,
}

impl Node {
    /// `ketcd dev` on a port of its own, with more arguments. Not yet started.
    pub fn dev(data: &Path, more: &[&str]) -> Self {
        let port = free_port();
        let mut arguments: Vec<String> =
            ["dev", "--port", &port.to_string(), "--data"].map(str::to_owned).to_vec();
        arguments.push(data.display().to_string());
        arguments.extend(more.iter().map(ToString::to_string));
        Self::new(arguments, LOOPBACK, port)
    }

    /// `ketcd dev --nodes 3` on ports of its own, without data that is kept if there is no directory for it. Not yet started.
    pub fn three(data: Option<&Path>) -> Self {
        let port = free_ports(3);
        let mut arguments: Vec<String> =
            ["dev", "--nodes", "3", "--port", &port.to_string()].map(str::to_owned).to_vec();
        match data {
            Some(data) => arguments.extend(["--data".to_owned(), data.display().to_string()]),
            None => arguments.push("--ephemeral".to_owned()),
        }
        Self::new(arguments, LOOPBACK, port)
    }

    /// `ketcd` with exactly these arguments, which say where it listens. Not yet started.
    pub fn with_arguments(arguments: &[&str]) -> Self {
        Self::new(arguments.iter().map(ToString::to_string).collect(), LOOPBACK, 0)
    }

    /// `ketcd broker` on a port of its own, with an etcd and more settings. Not yet started.
    pub fn broker(data: &Path, etcd: &str, settings: &[&str]) -> Self {
        Self::broker_at(LOOPBACK, free_port(), data, etcd, settings)
    }

    /// [`Node::broker`] at an address that the caller knows to be free.
    pub fn broker_at(host: &str, port: u16, data: &Path, etcd: &str, settings: &[&str]) -> Self {
        let mut arguments = vec!["broker".to_owned()];
        let own = [
            format!("listeners=PLAINTEXT://{host}:{port}"),
            format!("admin.listen={host}:{}", port + 100),
            format!("log.dirs={}", data.display()),
            format!("etcd.endpoints={etcd}"),
        ];
        for setting in own.into_iter().chain(settings.iter().map(ToString::to_string)) {
            arguments.extend(["--set".to_owned(), setting]);
        }
        Self::new(arguments, host, port)
    }

    fn new(arguments: Vec<String>, host: &str, port: u16) -> Self {
        let program = vec![env!("CARGO_BIN_EXE_ketcd").to_owned()];
        let host = host.to_owned();
        Self {
            program,
            arguments,
            environment: Vec::new(),
            child: None,
            host,
            port,
            output: Arc::default(),
            readers: Vec::new(),
        }
    }

    /// With a variable of its own.
    pub fn with_environment(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Runs it under another program, `strace` for one.
    pub fn under(mut self, program: &[impl ToString]) -> Self {
        self.program.splice(0..0, program.iter().map(ToString::to_string));
        self
    }

    /// Starts the process and waits until it serves.
    pub fn started(mut self) -> Self {
        self.start();
        self
    }

    /// Starts the process (again) and waits until it serves.
    pub fn start(&mut self) {
        let from = self.line_count();
        self.spawn();
        let deadline = Instant::now() + START_DEADLINE;
        while self.line_after(from, "ready").is_none() {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none(), "the broker ended with {ended:?}:\n{}", self.output());
            assert!(Instant::now() < deadline, "the broker does not serve:\n{}", self.output());
            self.wait_for_more(Duration::from_millis(50));
        }
    }

    /// Starts the process and does not wait.
    pub fn spawn(&mut self) {
        assert!(self.child.is_none(), "it runs");
        let mut child = without_settings(&self.program[0])
            .args(&self.program[1..])
            .args(&self.arguments)
            .envs(self.environment.iter().cloned())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {:?}: {error}", self.program));
        self.readers = vec![
            follow(child.stdout.take().unwrap(), Arc::clone(&self.output)),
            follow(child.stderr.take().unwrap(), Arc::clone(&self.output)),
        ];
        self.child = Some(child);
    }

    /// The address for clients.
    pub fn bootstrap(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    /// The port for clients; the admin port is 100 above, the embedded store's 200.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether it was started and not yet killed, stopped or waited for.
    pub const fn is_running(&self) -> bool {
        self.child.is_some()
    }

    /// How it ended, if it ended by itself.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.as_mut().and_then(|child| child.try_wait().unwrap())
    }

    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("it runs").id()
    }

    /// Everything that it printed.
    pub fn output(&self) -> String {
        self.lines().join("\n")
    }

    fn lines(&self) -> Vec<String> {
        self.output.lines.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn line_count(&self) -> usize {
        self.output.lines.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// How many lines after the first `from` hold `part`.
    pub fn lines_with(&self, from: usize, part: &str) -> usize {
        self.lines().iter().skip(from).filter(|line| line.contains(part)).count()
    }

    fn line_after(&self, from: usize, part: &str) -> Option<String> {
        self.lines().into_iter().skip(from).find(|line| line.contains(part))
    }

    fn wait_for_more(&self, limit: Duration) {
        let lines = self.output.lines.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.output.more.wait_timeout(lines, limit));
    }

    /// Waits for a line after the first `from` that holds `part`.
    pub fn wait_for_line(&self, from: usize, part: &str, limit: Duration) -> String {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(line) = self.line_after(from, part) {
                return line;
            }
            assert!(Instant::now() < deadline, "no line with {part:?} within {limit:?}:\n{}", self.output());
            self.wait_for_more(Duration::from_millis(50));
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.child.as_ref().expect("it runs")), signal).unwrap();
    }

    /// kill -9: no goodbye, no flush.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // What strace runs would outlive it.
            for below in children(child.id()) {
                kill_process(below, Signal::KILL).ok();
            }
            child.kill().ok();
            child.wait().ok();
        }
    }

    /// SIGTERM, and how it ended.
    pub fn stop(&mut self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(END_DEADLINE)
    }

    /// How it ended by itself.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let deadline = Instant::now() + limit;
        let mut child = self.child.take().expect("it runs");
        loop {
            if let Some(status) = child.try_wait().unwrap() {
                // Its last words may still be on their way.
                self.readers.drain(..).for_each(|reader| reader.join().unwrap());
                return status;
            }
            if Instant::now() > deadline {
                child.kill().ok();
                child.wait().ok();
                panic!("it did not end within {limit:?}:\n{}", self.output());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// Asks the admin port: status code and body.
    pub fn admin(&self, path: &str) -> (u16, String) {
        let ask = || -> std::io::Result<String> {
            let mut socket = TcpStream::connect((self.host.as_str(), self.port + 100))?;
            socket.set_read_timeout(Some(Duration::from_secs(10)))?;
            write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
            let mut answer = String::new();
            socket.read_to_string(&mut answer)?;
            Ok(answer)
        };
        let answer = ask().unwrap_or_else(|error| panic!("{path}: {error}\n{}", self.output()));
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        assert!(!head.to_ascii_lowercase().contains("chunked"), "{head}");
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    /// The value of a metric without labels.
    pub fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.admin("/metrics");
        let line = text.lines().find(|line| line.split(' ').next() == Some(name));
        let line = line.unwrap_or_else(|| panic!("no metric {name} in\n{text}"));
        line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// Waits until `holds`.
    pub fn until(&self, what: &str, limit: Duration, mut holds: impl FnMut(&Self) -> bool) -> Duration {
        let begun = Instant::now();
        while !holds(self) {
            assert!(begun.elapsed() < limit, "not within {limit:?}: {what}\n{}", self.output());
            std::thread::sleep(Duration::from_millis(20));
        }
        begun.elapsed()
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let lines = self.lines();
            let told = std::env::var("KETCD_TEST_LINES").ok().and_then(|lines| lines.parse().ok());
            let last = lines.len().saturating_sub(told.unwrap_or(60));
            eprintln!("the broker's last words:\n{}", lines[last..].join("\n"));
        }
        self.kill();
    }
}

fn follow(from: impl Read + Send + 'static, output: Arc<Output>) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            output.lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            output.more.notify_all();
        }
    })
}

/// The processes that a process started with its first thread.
pub fn children(pid: u32) -> Vec<Pid> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_whitespace().filter_map(|child| Pid::from_raw(child.parse().ok()?)).collect()
}

/// A port P that is free together with P + 100 and P + 200.
fn free_port() -> u16 {
    free_ports(1)
}

/// The first of so many such ports, one after the other.
pub fn free_ports(count: u16) -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let blocks = (PORTS.end - PORTS.start) / 300;
    let first = std::process::id() as u16 % blocks;
    let is_free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    loop {
        let turn = NEXT.fetch_add(count, Ordering::Relaxed);
        let port = PORTS.start + (first + turn / 100) % blocks * 300 + turn % 100;
        let fits = turn % 100 + count <= 100;
        if fits && (port..port + count).all(|port| [0, 100, 200].iter().all(|more| is_free(port + more))) {
            return port;
        }
    }
}

/// A command that does not see the settings of the test run: variables of these names are keys to a broker.
fn without_settings(program: &str) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        if ["KETCD_", "KAFKA_"].iter().any(|prefix| name.to_string_lossy().starts_with(prefix)) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs `ketcd` with `arguments` to its end: exit code and everything printed.
pub fn ketcd(arguments: &[&str]) -> (Option<i32>, String) {
    let output = without_settings(env!("CARGO_BIN_EXE_ketcd")).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8_lossy(&text).into_owned())
}
