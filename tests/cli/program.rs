//! Running the program, and the broker that the commands are tried on.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use tempfile::TempDir;

/// How a run of the program ended.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    /// stdout of a run that must have succeeded.
    #[track_caller]
    pub fn ok(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.stdout
    }

    /// stdout of a run that must have succeeded, as JSON.
    #[track_caller]
    pub fn json(self) -> serde_json::Value {
        serde_json::from_str(&self.ok()).unwrap()
    }
}

/// The program without any of its variables in the environment.
pub fn ketcd() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ketcd"));
    for (name, _) in std::env::vars() {
        if name.starts_with("KETCD_") || name.starts_with("KAFKA_") {
            command.env_remove(name);
        }
    }
    command.env("NO_COLOR", "1").env("COLUMNS", "100");
    command
}

/// Runs the program with nothing on stdin.
pub fn run(args: &[&str]) -> Ended {
    run_with(args, "")
}

/// Runs the program with a text on stdin.
pub fn run_with(args: &[&str], stdin: &str) -> Ended {
    let mut child = ketcd()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that does not read its stdin may be gone already.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    Ended {
        code: output.status.code().unwrap(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

/// Compares a text with its snapshot.
#[track_caller]
pub fn assert_snapshot(name: &str, text: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/cli/snapshots").join(name);
    if std::env::var_os("KETCD_BLESS").is_some() {
        std::fs::write(&path, text).unwrap();
        return;
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{name} has changed; if that is meant: KETCD_BLESS=1 cargo test --test cli");
}

/// A broker for the commands: `ketcd dev --ephemeral`, or the one that `KETCD_TEST_BROKER` names (any Kafka broker will do).
pub struct Broker {
    pub address: String,
    /// Where its metadata is, if the broker is ours.
    pub etcd: Option<String>,
    process: Option<Child>,
    /// Holds its data, if the broker is ours.
    scratch: TempDir,
}

impl Broker {
    pub fn start() -> Self {
        if let Ok(address) = std::env::var("KETCD_TEST_BROKER") {
            return Self { address, etcd: None, process: None, scratch: TempDir::new().unwrap() };
        }
        Self::launch(TempDir::new().unwrap(), &["--ephemeral", "--port", "0"])
    }

    /// A broker of ours with data that outlives it, on a port of its own: `None` if another broker is to be tested.
    pub fn with_data() -> Option<Self> {
        if std::env::var_os("KETCD_TEST_BROKER").is_some() {
            return None;
        }
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Some(Self::on(TempDir::new().unwrap(), port))
    }

    /// Kills the broker, without a chance to say good-bye, and starts it again on its data.
    pub fn kill_and_restart(mut self) -> Self {
        self.stop();
        let port = self.address.rsplit_once(':').unwrap().1.parse().unwrap();
        Self::on(std::mem::replace(&mut self.scratch, TempDir::new().unwrap()), port)
    }

    fn on(scratch: TempDir, port: u16) -> Self {
        let data = scratch.path().join("data").to_str().unwrap().to_owned();
        Self::launch(scratch, &["--data", &data, "--port", &port.to_string()])
    }

    fn launch(scratch: TempDir, args: &[&str]) -> Self {
        let mut process = ketcd()
            .arg("dev")
            .args(args)
            .env("TMPDIR", scratch.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (said, screen) = mpsc::channel();
        let mut stdout = BufReader::new(process.stdout.take().unwrap());
        std::thread::spawn(move || {
            let mut text = String::new();
            while !text.contains("ready in") && stdout.read_line(&mut text).is_ok_and(|read| read > 0) {}
            let _ = said.send(text);
            // The rest is read too, or the broker would stop at a full pipe.
            let _ = stdout.read_to_end(&mut Vec::new());
        });
        let screen = screen.recv_timeout(Duration::from_secs(30));
        let after = |word: &str| {
            let screen = screen.as_deref().unwrap_or_default();
            screen.split_whitespace().skip_while(|found| *found != word).nth(1).map(str::to_owned)
        };
        let Some(address) = after("kafka") else {
            let _ = process.kill();
            panic!("the broker names no address within 30 s; it said: {screen:?}");
        };
        Self { address, etcd: after("etcd"), process: Some(process), scratch }
    }

    /// The data directory, if the broker is ours.
    pub fn data(&self) -> Option<PathBuf> {
        std::fs::read_dir(self.scratch.path()).unwrap().next().map(|entry| entry.unwrap().path())
    }

    /// Runs a command on this broker.
    pub fn run(&self, args: &[&str]) -> Ended {
        self.run_with(args, "")
    }

    /// Runs a command on this broker with a text on stdin.
    pub fn run_with(&self, args: &[&str], stdin: &str) -> Ended {
        let args: Vec<&str> = args.iter().copied().chain(["-b", &self.address]).collect();
        run_with(&args, stdin)
    }
}

impl Broker {
    fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.stop();
    }
}
