//! Running the program, and the broker that the commands are tried on.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

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
    process: Option<Child>,
}

impl Broker {
    pub fn start() -> Self {
        if let Ok(address) = std::env::var("KETCD_TEST_BROKER") {
            return Self { address, process: None };
        }
        let mut process = ketcd()
            .args(["dev", "--ephemeral", "--port", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (found, address) = mpsc::channel();
        let streams: [Box<dyn std::io::Read + Send>; 2] =
            [Box::new(process.stdout.take().unwrap()), Box::new(process.stderr.take().unwrap())];
        // Both streams are read to their ends, or the broker would stop at a full pipe.
        for stream in streams {
            let found = found.clone();
            std::thread::spawn(move || {
                let mut said = String::new();
                let mut stream = BufReader::new(stream);
                let mut line = String::new();
                while stream.read_line(&mut line).is_ok_and(|read| read > 0) {
                    if let Some(address) = address_in(&line) {
                        let _ = found.send(Ok(address));
                        let _ = stream.read_to_end(&mut Vec::new());
                        return;
                    }
                    said += &line;
                    line.clear();
                }
                let _ = found.send(Err(said));
            });
        }
        drop(found);
        let mut said = String::new();
        let address = loop {
            match address.recv_timeout(Duration::from_secs(30)) {
                Ok(Ok(address)) => break address,
                Ok(Err(more)) => said += &more,
                Err(_) => {
                    let _ = process.kill();
                    panic!("the broker names no address within 30 s; it said:\n{said}");
                }
            }
        };
        Self { address, process: Some(process) }
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

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(process) = &mut self.process {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

/// The address in the line `  kafka      127.0.0.1:PORT ...`.
fn address_in(line: &str) -> Option<String> {
    let mut words = line.split_whitespace();
    (words.next()? == "kafka").then_some(())?;
    words.next().filter(|word| word.contains(':')).map(str::to_owned)
}
