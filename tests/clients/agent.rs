//! One client program: commands in, answers out, one JSON object a line.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use serde_json::Value;

/// Longer than any client waits by itself, so that its own error is what a failing test shows.
const ANSWER_DEADLINE: Duration = Duration::from_secs(150);
const LINES_KEPT: usize = 40;

/// A running client program. It ends when its standard input does: with this value, or with the test process.
pub struct Agent {
    name: &'static str,
    child: Child,
    stdin: ChildStdin,
    answers: Receiver<String>,
    errors: Arc<Mutex<VecDeque<String>>>,
}

impl Agent {
    pub fn start(name: &'static str, command: &mut Command) -> Self {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        let stdin = child.stdin.take().expect("piped");
        let stdout = child.stdout.take().expect("piped");
        let stderr = child.stderr.take().expect("piped");
        let (sender, answers) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let errors = Arc::new(Mutex::new(VecDeque::new()));
        let kept = Arc::clone(&errors);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
                if kept.len() == LINES_KEPT {
                    kept.pop_front();
                }
                kept.push_back(line);
            }
        });
        Self { name, child, stdin, answers, errors }
    }

    /// The answer to `command`, or `None` when the program died or hangs: it is of no use any more then.
    pub fn ask(&mut self, command: &Value) -> Option<Value> {
        writeln!(self.stdin, "{command}").ok()?;
        let line = self.answers.recv_timeout(ANSWER_DEADLINE).ok()?;
        Some(serde_json::from_str(&line).unwrap_or_else(|_| panic!("{} printed {line:?}", self.name)))
    }

    /// How the program ended, if it did, and what it wrote to standard error.
    pub fn errors(&mut self) -> String {
        let ended = self.child.try_wait();
        let kept = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        kept.iter().fold(format!("ended: {ended:?}\n"), |text, line| text + line + "\n")
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
