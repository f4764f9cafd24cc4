//! Processes that this one started and that end with it.
#![allow(unsafe_code)]

use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::process::{Pid, Signal, getpid, getppid, kill_process, set_parent_process_death_signal};

/// A child process. The system sends it SIGTERM when the thread that started it ends, however that comes about; it has a process group
/// of its own, so that Ctrl-C in a terminal reaches only its parent.
#[derive(Debug)]
pub struct Child {
    process: std::process::Child,
    pid: Pid,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// With this exit code.
    Code(i32),
    /// By this signal.
    Signal(i32),
}

impl From<std::process::ExitStatus> for Ended {
    fn from(status: std::process::ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Self::Code(code),
            (None, signal) => Self::Signal(signal.unwrap_or(0)),
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

impl Child {
    /// Starts `program`. What it prints is appended to the file at `output`; `without` are variables that it does not inherit.
    ///
    /// # Errors
    /// What the system says.
    pub fn start(
        program: &Path,
        arguments: &[impl AsRef<OsStr>],
        without: impl IntoIterator<Item = impl AsRef<OsStr>>,
        output: &Path,
    ) -> io::Result<Self> {
        let log = OpenOptions::new().create(true).append(true).open(output)?;
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).process_group(0);
        for name in without {
            command.env_remove(name);
        }
        let parent = getpid();
        let before_exec = move || {
            set_parent_process_death_signal(Some(Signal::TERM))?;
            // The parent may have ended before the line above.
            if getppid() == Some(parent) { Ok(()) } else { Err(io::ErrorKind::BrokenPipe.into()) }
        };
        // SAFETY: between fork and exec only two system calls are made; nothing is allocated and no lock is taken.
        unsafe {
            command.pre_exec(before_exec);
        }
        let process = command.spawn()?;
        let pid = Pid::from_child(&process);
        Ok(Self { process, pid })
    }

    /// Its process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// How it ended, unless it runs.
    ///
    /// # Errors
    /// What the system says.
    pub fn ended(&mut self) -> io::Result<Option<Ended>> {
        Ok(self.process.try_wait()?.map(Ended::from))
    }

    /// Asks it to end, if it runs.
    pub fn terminate(&mut self) {
        self.signal(Signal::TERM);
    }

    /// Ends it at once, if it runs.
    pub fn kill(&mut self) {
        self.signal(Signal::KILL);
    }

    fn signal(&mut self, signal: Signal) {
        // Not waited for yet, so the number is still this process's.
        if matches!(self.process.try_wait(), Ok(None)) {
            let _ = kill_process(self.pid, signal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait(child: &mut Child) -> Ended {
        child.process.wait().unwrap().into()
    }

    #[test]
    fn a_child_prints_to_its_file_and_tells_how_it_ended() {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("out");
        for _ in 0..2 {
            let mut child =
                Child::start(Path::new("/bin/sh"), &["-c", "echo \"[$HOME]\"; exit 3"], ["HOME"], &output)
                    .unwrap();
            assert_eq!(wait(&mut child), Ended::Code(3));
        }
        assert_eq!(std::fs::read_to_string(&output).unwrap(), "[]\n[]\n", "appended, without the variable");
        let mut child = Child::start(Path::new("/bin/sleep"), &["1000"], [""; 0], &output).unwrap();
        assert_eq!(child.ended().unwrap(), None);
        child.terminate();
        assert_eq!(wait(&mut child), Ended::Signal(15));
        child.kill();
    }

    #[test]
    fn a_child_ends_with_the_thread_that_started_it() {
        let directory = tempfile::tempdir().unwrap();
        let output = directory.path().join("out");
        let started = std::thread::spawn(move || {
            Child::start(Path::new("/bin/sleep"), &["1000"], [""; 0], &output).unwrap()
        });
        let mut child = started.join().unwrap();
        assert_eq!(wait(&mut child), Ended::Signal(15));
    }
}
