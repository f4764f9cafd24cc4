//! The one format in which every client writes what it asked for and what it was told: JSON lines, in the order of their happening.
//!
//! A value names itself: `producer/number`, where a producer belongs to one partition and counts from 0. So a line tells a run of
//! values by its first number and its length, and a million records are some ten thousand lines.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// One line.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// Milliseconds since 1970 on the clock of the one machine that everything runs on.
    pub at: u64,
    /// Which client. What stands before a `/` names the group that it is a member of.
    pub client: String,
    #[serde(flatten)]
    pub op: Op,
}

/// What became of a request, as far as its sender knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    Invoke,
    Ok,
    /// It certainly did not happen.
    Fail,
    /// It may have happened, or may yet.
    Unknown,
}

/// Consecutive numbers of one producer at consecutive offsets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    pub offset: i64,
    pub producer: i64,
    pub first: i64,
    pub count: i64,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "op", rename_all = "kebab-case")]
pub enum Op {
    /// Name and version of the client's program.
    Client { program: String },
    /// A producer that will send. Without idempotence it sends everything once, and its records may change places.
    Producer { producer: i64, idempotent: bool },
    /// A batch of numbers `first .. first + count`; `offset` is that of the first, where it is acknowledged.
    Send {
        state: State,
        partition: i32,
        producer: i64,
        first: i64,
        count: i64,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offset: Option<i64>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// From here on this client reads the partition from `offset`, or from wherever its group stands.
    Assign { partition: i32, offset: Option<i64> },
    /// What one poll brought of a partition.
    Poll { partition: i32, runs: Vec<Run> },
    /// The answer to ListOffsets(LATEST).
    Latest { partition: i32, offset: i64 },
    /// Who leads, as a broker told it.
    Leader { partition: i32, leader: i32, epoch: i32 },
    /// A group's offset was committed.
    Commit { state: State, partition: i32, offset: i64 },
    /// A group's offset was read back.
    Committed { partition: i32, offset: i64 },
    /// An error that a client with default settings would show to its user.
    Error { why: String },
}

/// What was written so far, for all clients of a test.
#[derive(Default)]
pub struct History {
    entries: Mutex<Written>,
}

#[derive(Default)]
struct Written {
    entries: Vec<Entry>,
    acked_ops: u64,
    acked_records: u64,
    /// The acknowledged operations of each partition.
    by_partition: BTreeMap<i32, u64>,
}

impl History {
    pub fn new() -> Arc<Self> {
        Arc::default()
    }

    /// Writes a line now.
    pub fn note(&self, client: &str, op: Op) {
        self.add(Entry { at: now_ms(), client: client.to_owned(), op });
    }

    /// Writes a line of another process.
    pub fn add(&self, entry: Entry) {
        let mut written = self.lock();
        if let Op::Send { state: State::Ok, count, partition, .. } = entry.op {
            written.acked_ops += 1;
            written.acked_records += count.unsigned_abs();
            *written.by_partition.entry(partition).or_default() += 1;
        }
        written.entries.push(entry);
    }

    /// Acknowledged sends, and the records in them.
    pub fn acked(&self) -> (u64, u64) {
        let written = self.lock();
        (written.acked_ops, written.acked_records)
    }

    /// Acknowledged sends of each partition.
    pub fn acked_by_partition(&self) -> BTreeMap<i32, u64> {
        self.lock().by_partition.clone()
    }

    /// Everything so far.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().entries.clone()
    }

    /// Errors that a user would have seen.
    pub fn errors(&self) -> Vec<String> {
        let written = self.lock();
        let errors = written.entries.iter().filter_map(|entry| match &entry.op {
            Op::Error { why } => Some(format!("{}: {why}", entry.client)),
            _ => None,
        });
        errors.collect()
    }

    /// Writes the lines to a file.
    pub fn save(&self, path: &Path) -> std::io::Result<()> {
        let mut file = std::io::BufWriter::new(std::fs::File::create(path)?);
        for entry in &self.lock().entries {
            serde_json::to_writer(&mut file, entry)?;
            file.write_all(b"\n")?;
        }
        file.flush()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Written> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The wall clock in milliseconds.
pub fn now_ms() -> u64 {
    std::time::UNIX_EPOCH.elapsed().unwrap().as_millis() as u64
}

/// Folds (offset, producer, number) into runs.
pub fn runs(records: impl IntoIterator<Item = (i64, i64, i64)>) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (offset, producer, number) in records {
        match runs.last_mut() {
            Some(run)
                if run.producer == producer
                    && run.offset + run.count == offset
                    && run.first + run.count == number =>
            {
                run.count += 1;
            }
            _ => runs.push(Run { offset, producer, first: number, count: 1 }),
        }
    }
    runs
}
