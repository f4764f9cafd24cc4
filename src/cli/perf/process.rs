//! What the broker's process uses, read from `/proc`.

use std::path::PathBuf;

use serde::Serialize;

use crate::cli::exit::{CliError, Outcome};
use crate::sys::read;

/// The files of `/proc/PID` are small.
const PROC_FILE_BYTES_MAX: u64 = 64 << 10;
/// Fields of `/proc/PID/stat` after the name, counted from the state (field 3 of proc(5) is number 0 here).
const UTIME: usize = 11;
const STIME: usize = 12;
const THREADS: usize = 17;

/// What a process has used at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Usage {
    /// Seconds in user mode, all threads, since its start.
    pub user_seconds: f64,
    /// Seconds in the kernel, all threads, since its start.
    pub system_seconds: f64,
    /// Resident memory, in bytes: mapped files in the page cache are in it.
    pub rss_bytes: u64,
    /// Resident memory that belongs to the process alone, in bytes.
    pub rss_anonymous_bytes: u64,
    /// Threads.
    pub threads: u64,
}

impl Usage {
    /// Reads the usage of process `pid`, or of this one.
    ///
    /// # Errors
    /// If there is no such process.
    pub fn of(pid: Option<u32>) -> Outcome<Self> {
        let name = pid.map_or_else(|| "self".to_owned(), |pid| pid.to_string());
        let directory = PathBuf::from("/proc").join(&name);
        let file = |file: &str| {
            let path = directory.join(file);
            read::small(&path, PROC_FILE_BYTES_MAX)
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .map_err(|error| {
                    CliError::failure(format!("cannot read: {error}"))
                        .at(path.display().to_string())
                        .help("--pid wants the process id of a broker on this machine")
                })
        };
        let ticks = rustix::param::clock_ticks_per_second();
        Self::parse(&file("stat")?, &file("status")?, ticks)
            .ok_or_else(|| CliError::failure("unknown format").at(directory.display().to_string()))
    }

    /// The seconds of CPU in all.
    #[must_use]
    pub fn cpu_seconds(&self) -> f64 {
        self.user_seconds + self.system_seconds
    }

    #[allow(clippy::cast_precision_loss)] // ticks of CPU stay far below 2^52
    fn parse(stat: &str, status: &str, ticks_per_second: u64) -> Option<Self> {
        // The name is in parentheses and may hold anything, also parentheses.
        let (_, after_name) = stat.rsplit_once(')')?;
        let fields: Vec<&str> = after_name.split_ascii_whitespace().collect();
        let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
        let seconds = |index: usize| Some(number(index)? as f64 / ticks_per_second as f64);
        let memory = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kib: u64 = line.split_ascii_whitespace().next()?.parse().ok()?;
            Some(kib * 1024)
        };
        Some(Self {
            user_seconds: seconds(UTIME)?,
            system_seconds: seconds(STIME)?,
            rss_bytes: memory("VmRSS:")?,
            rss_anonymous_bytes: memory("RssAnon:")?,
            threads: number(THREADS)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_of_proc_are_found_behind_any_name() {
        let stat = "42 (a b) c) S 1 42 42 0 -1 4194304 100 0 0 0 250 50 0 0 20 0 7 0 1000 1 2";
        let usage =
            Usage::parse(stat, "Name:\tx\nVmRSS:\t    2048 kB\nRssAnon:\t    1024 kB\n", 100).unwrap();
        assert_eq!(
            usage,
            Usage {
                user_seconds: 2.5,
                system_seconds: 0.5,
                rss_bytes: 2 << 20,
                rss_anonymous_bytes: 1 << 20,
                threads: 7
            }
        );
        assert_eq!(Usage::parse("garbage", "", 100), None);
    }

    #[test]
    fn this_process_has_used_something() {
        let usage = Usage::of(None).unwrap();
        assert!(usage.rss_bytes > 0 && usage.threads > 0, "{usage:?}");
        assert!(Usage::of(Some(u32::MAX)).is_err());
    }
}
