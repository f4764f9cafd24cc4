//! Clients that people use: processes that write their history to their standard output ([`crate::history`]).

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::etcd::peers;
use crate::history::{Entry, History};

const LIBRDKAFKA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/librdkafka.py");

/// Families of clients: each is an implementation of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// librdkafka, under Python: `librdkafka.py`.
    Librdkafka,
    /// Apache Kafka's own client: `Load.java`.
    Java,
}

impl Family {
    pub const ALL: [Self; 2] = [Self::Librdkafka, Self::Java];

    /// The number of its first producer.
    pub const fn first_producer(self) -> i64 {
        match self {
            Self::Librdkafka => 1_000,
            Self::Java => 2_000,
        }
    }

    /// How its program is started, or why it cannot be.
    fn command(self) -> Result<Command, String> {
        match self {
            Self::Librdkafka => {
                let python = peers().join("python/bin/python");
                if !python.is_file() {
                    return Err(format!("{} is not there: run tests/setup/python.sh", python.display()));
                }
                let mut command = Command::new(python);
                command.arg(LIBRDKAFKA);
                Ok(command)
            }
            Self::Java => {
                let java = peers().join("java");
                if !java.join("classes/Load.class").is_file() {
                    return Err(format!("{} has no client: run tests/setup/java.sh", java.display()));
                }
                let mut command = Command::new("java");
                let classes = format!("{0}/classes:{0}/lib/*", java.display());
                command.args([
                    "-Xmx192m",
                    "-XX:+UseSerialGC",
                    "-XX:TieredStopAtLevel=1",
                    "-cp",
                    &classes,
                    "Load",
                ]);
                Ok(command)
            }
        }
    }
}

/// A running client program; it ends with its standard input.
pub struct Agent {
    pub family: Family,
    child: Child,
    stdin: Option<ChildStdin>,
    done: Receiver<String>,
}

impl Agent {
    /// Starts a client with the arguments that its program documents, or says why it cannot.
    pub fn start(family: Family, arguments: &[&str], history: &Arc<History>) -> Result<Self, String> {
        let mut child = family
            .command()?
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|error| error.to_string())?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().expect("piped");
        let (sender, done) = mpsc::channel();
        let history = Arc::clone(history);
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                match serde_json::from_str::<Entry>(&line) {
                    Ok(entry) => history.add(entry),
                    Err(_) if line.starts_with("{\"done\"") => drop(sender.send(line)),
                    Err(error) => panic!("the client wrote {line:?}: {error}"),
                }
            }
        });
        Ok(Self { family, child, stdin, done })
    }

    /// Sends a command.
    pub fn tell(&mut self, command: &str) {
        let stdin = self.stdin.as_mut().expect("open until it is dropped");
        writeln!(stdin, "{command}").expect("the client listens");
    }

    /// Waits until it says that it has done `what`. Threads of the runtime go on meanwhile.
    pub async fn done(&mut self, what: &str, limit: Duration) -> bool {
        let expected = format!("{{\"done\": \"{what}\"}}");
        let deadline = Instant::now() + limit;
        while Instant::now() < deadline {
            match self.done.try_recv() {
                Ok(line) if line == expected => return true,
                Ok(_) => {}
                Err(mpsc::TryRecvError::Empty) => tokio::time::sleep(Duration::from_millis(20)).await,
                Err(mpsc::TryRecvError::Disconnected) => return false,
            }
        }
        false
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.stdin.take();
        // What it still has to say comes before its end; a stopped one says nothing more.
        if self.done.recv_timeout(Duration::from_secs(5)) == Err(RecvTimeoutError::Timeout) {
            self.child.kill().ok();
        }
        self.child.wait().ok();
    }
}
