//! The other family of clients: a process that writes its history to its standard output ([`crate::history`]).

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use crate::etcd::peers;
use crate::history::{Entry, History};

const PROGRAM: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cluster/librdkafka.py");

/// A running client program; it ends with its standard input.
pub struct Agent {
    child: Child,
    stdin: Option<ChildStdin>,
    done: Receiver<String>,
}

impl Agent {
    /// Starts librdkafka with the arguments that its program documents, or says why it cannot.
    pub fn start(arguments: &[&str], history: &Arc<History>) -> Result<Self, String> {
        let python = peers().join("python/bin/python");
        if !python.is_file() {
            return Err(format!("{} is not there: run tests/setup/python.sh", python.display()));
        }
        let mut child = Command::new(python)
            .arg(PROGRAM)
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
        Ok(Self { child, stdin, done })
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
