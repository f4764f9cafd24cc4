//! Real etcd servers for tests: started on loopback ports that the system chose, in a folder of their own, ended by their own pid.
//!
//! Used by `#[path]` from several test targets; each uses a part of it.
#![allow(dead_code)]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use etcd_client::Client;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;

/// The version that `tests/setup/etcd.sh` builds.
const CURRENT: &str = "etcd-3.7.3";
/// How long a server may take to answer its first read.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// Starts that are tried when somebody else took the port in between.
const START_TRIES: usize = 5;

/// Which server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Release {
    /// Debian's 3.4: end of life.
    Debian,
    /// The current one.
    Current,
}

impl Release {
    /// The server's program, or why it cannot be had.
    pub fn etcd(self) -> Result<PathBuf, String> {
        self.program("etcd")
    }

    /// The command line client's program, or why it cannot be had.
    pub fn etcdctl(self) -> Result<PathBuf, String> {
        self.program("etcdctl")
    }

    fn program(self, name: &str) -> Result<PathBuf, String> {
        let path = match self {
            Self::Debian => Path::new("/usr/bin").join(name),
            Self::Current => peers().join(CURRENT).join(name),
        };
        if path.is_file() {
            Ok(path)
        } else {
            Err(format!("{} is not there: run tests/setup/etcd.sh", path.display()))
        }
    }
}

/// The folder that the set-up scripts install into.
pub fn peers() -> PathBuf {
    let cache = || {
        std::env::var_os("XDG_CACHE_HOME")
            .map(PathBuf::from)
            .unwrap_or_else(|| PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache"))
    };
    std::env::var_os("KETCD_PEERS").map_or_else(|| cache().join("ketcd-peers"), PathBuf::from)
}

/// Reports a test that cannot run here, past the test runner's capture. Panics where nothing may be skipped (`KETCD_NO_SKIPS=1`).
pub fn skip(name: &str, why: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stderr(), "SKIPPED {name}: {why}");
    assert!(std::env::var("KETCD_NO_SKIPS").as_deref() != Ok("1"), "SKIPPED {name}: {why}");
}

/// One real etcd server, alone. Killed when dropped.
pub struct RealEtcd {
    program: PathBuf,
    folder: TempDir,
    client_port: u16,
    peer_port: u16,
    arguments: Vec<String>,
    child: Option<Child>,
}

impl RealEtcd {
    /// Starts a server with an empty store and waits until it answers. No fsync: what these tests end is the process, not the
    /// machine.
    pub async fn start(release: Release) -> Result<Self, String> {
        Self::start_with(release, &[]).await
    }

    /// The same with more arguments.
    pub async fn start_with(release: Release, arguments: &[&str]) -> Result<Self, String> {
        let program = release.etcd()?;
        let mut last = String::new();
        for _ in 0..START_TRIES {
            let (client_port, peer_port) = free_ports().map_err(|error| error.to_string())?;
            let mut server = Self {
                program: program.clone(),
                folder: TempDir::with_prefix("ketcd-etcd-").map_err(|error| error.to_string())?,
                client_port,
                peer_port,
                arguments: arguments.iter().map(ToString::to_string).collect(),
                child: None,
            };
            match server.spawn().await {
                Ok(()) => return Ok(server),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// What a client connects to.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.client_port)
    }

    /// The port that clients connect to; the same after a restart.
    pub const fn port(&self) -> u16 {
        self.client_port
    }

    /// A new connection.
    pub async fn client(&self) -> Client {
        Client::connect([self.endpoint()], None).await.expect("connecting is lazy")
    }

    /// Kills the process (SIGKILL) and waits for its end. The data and the ports stay.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Stops the process without ending it (SIGSTOP): connections stay open and nothing answers. Waits until its last thread has
    /// stopped, which is when the system tells: on a busy machine some go on for a while.
    pub fn freeze(&self) {
        self.signal(Signal::STOP);
        let pid = Pid::from_child(self.child.as_ref().expect("the server runs"));
        let told = waitpid(Some(pid), WaitOptions::UNTRACED).expect("the server is our child");
        assert!(told.is_some_and(|(_, status)| status.stopped()), "the server ended: {told:?}");
    }

    /// Lets a frozen process go on (SIGCONT).
    pub fn thaw(&self) {
        self.signal(Signal::CONT);
    }

    /// Kills the process if it runs, starts it again on the same ports with the same data, and waits until it answers.
    pub async fn restart(&mut self) -> Result<(), String> {
        self.kill();
        self.spawn().await
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("the server runs");
        kill_process(Pid::from_child(child), signal).expect("the server's process can be signalled");
    }

    async fn spawn(&mut self) -> Result<(), String> {
        let client = self.endpoint();
        let peer = format!("http://127.0.0.1:{}", self.peer_port);
        let log = std::fs::File::options()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .map_err(|error| error.to_string())?;
        let child = Command::new(&self.program)
            .env("GOMAXPROCS", "1")
            .args(["--name", "test", "--logger", "zap", "--log-level", "error", "--unsafe-no-fsync"])
            .arg("--data-dir")
            .arg(self.folder.path().join("data"))
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &format!("test={peer}")])
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{}: {error}", self.program.display()))?;
        self.child = Some(child);
        let answers = tokio::time::timeout(START_DEADLINE, self.wait_until_it_answers()).await;
        let started = answers.unwrap_or_else(|_| Err(format!("no answer within {START_DEADLINE:?}")));
        started.map_err(|error| {
            let log = std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default();
            self.kill();
            format!("{}: {error}\n{log}", self.program.display())
        })
    }

    async fn wait_until_it_answers(&mut self) -> Result<(), String> {
        loop {
            let child = self.child.as_mut().expect("just started");
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("ended with {status}"));
            }
            // A linearizable read needs a leader: after this everything works.
            let mut client = self.client().await;
            if client.get("health", None).await.is_ok() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(30)).await;
        }
    }
}

impl Drop for RealEtcd {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Two ports that were free a moment ago.
fn free_ports() -> std::io::Result<(u16, u16)> {
    let first = TcpListener::bind(("127.0.0.1", 0))?;
    let second = TcpListener::bind(("127.0.0.1", 0))?;
    Ok((first.local_addr()?.port(), second.local_addr()?.port()))
}
