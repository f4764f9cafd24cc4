//! The writer: one thread that owns the file, decides every write and commits many at once.
//!
//! A thread of the system, not a task: a commit waits for the disk, and the runtime the store was started on must not.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::error::RequestError;
use super::file::{File, FileError, Identity};
use super::record::Record;
use super::reply::Reply;
use super::shared::State;
use super::store::{Retention, Store, Write};
use crate::types::Clock;

/// Requests that may wait for the writer; more wait in their services.
pub const QUEUE: usize = 1_024;
/// The most requests of one commit: bounds how long the first of them waits.
const BATCH: usize = 512;

/// What the writer is asked to do.
pub enum Command {
    /// Decide a write, make it durable, answer.
    Write {
        /// The request.
        write: Write,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Reply, RequestError>>,
    },
    /// Shrink the file.
    Defragment {
        /// Where the answer goes.
        reply: oneshot::Sender<Result<(), RequestError>>,
    },
}

/// Where the store is kept.
enum Disk {
    /// Nowhere.
    None,
    /// In an open file.
    Open(File),
    /// In a file that failed; it is opened and read anew before the next write.
    Failed(PathBuf),
}

/// The writer's own.
pub struct Writer {
    state: Arc<State>,
    disk: Disk,
    clock: Clock,
    retention: Retention,
}

type Answer = (oneshot::Sender<Result<Reply, RequestError>>, Result<Reply, RequestError>);

impl Writer {
    /// Opens the store: in memory, or a file with all that is in it. Blocks on the disk.
    ///
    /// # Errors
    /// See [`FileError`].
    pub fn open(
        path: Option<PathBuf>,
        clock: Clock,
        retention: Retention,
    ) -> Result<(Self, Identity, Arc<State>), FileError> {
        let (store, disk, identity) = match path {
            None => (Store::default(), Disk::None, Identity::random()),
            Some(path) => {
                let (file, identity) = File::open(&path)?;
                (load(&file, &clock)?, Disk::Open(file), identity)
            }
        };
        let state = Arc::new(State::new(store));
        Ok((Self { state: Arc::clone(&state), disk, clock, retention }, identity, state))
    }

    /// Works until every sender is gone, then closes the file.
    pub fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut next = None;
        while let Some(first) = next.take().or_else(|| commands.blocking_recv()) {
            match first {
                Command::Defragment { reply } => {
                    let _ = reply.send(self.defragment());
                }
                Command::Write { write, reply } => {
                    next = self.write_batch((write, reply), &mut commands);
                    self.compact_if_due();
                }
            }
        }
    }

    /// Decides and commits a first write and those that wait behind it. Returns a command that must not be in the same batch.
    fn write_batch(
        &mut self,
        first: (Write, oneshot::Sender<Result<Reply, RequestError>>),
        commands: &mut mpsc::Receiver<Command>,
    ) -> Option<Command> {
        if let Err(error) = self.reopen() {
            tracing::error!(%error, "embedded etcd: the store's file cannot be opened again");
            let _ = first.1.send(Err(RequestError::Stopped));
            return None;
        }
        let now = self.clock.elapsed();
        let mut records = Vec::new();
        let mut answers: Vec<Answer> = Vec::new();
        let mut apart = None;
        let revision = {
            let mut store = self.state.write();
            let mut next = Some(first);
            while let Some((write, reply)) = next.take() {
                let is_compaction = matches!(write, Write::Compact { .. });
                let outcome = store.apply(write, now);
                records.extend(outcome.records);
                answers.push((reply, outcome.reply));
                if is_compaction || answers.len() >= BATCH {
                    break;
                }
                // A compaction must find everything before it durable: readers may still be at the visible revision.
                match commands.try_recv() {
                    Ok(Command::Write { write, reply }) if !matches!(write, Write::Compact { .. }) => {
                        next = Some((write, reply));
                    }
                    Ok(other) => apart = Some(other),
                    Err(_) => {}
                }
            }
            store.map().revision()
        };
        if self.commit(&records) {
            self.state.publish(revision);
            for (reply, answer) in answers {
                // A caller that has gone away no longer wants its answer.
                let _ = reply.send(answer);
            }
        } else {
            for (reply, _) in answers {
                let _ = reply.send(Err(RequestError::Stopped));
            }
        }
        apart
    }

    /// Whether the records are durable now.
    fn commit(&mut self, records: &[Record]) -> bool {
        let Disk::Open(file) = &self.disk else { return true };
        if records.is_empty() {
            return true;
        }
        match file.commit(records) {
            Ok(()) => true,
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "embedded etcd: a write failed");
                self.disk = Disk::Failed(file.path().to_owned());
                false
            }
        }
    }

    /// After a failed commit memory is ahead of the file: memory is read back from it before anything else is decided. Until that
    /// succeeds reads go on at the last durable revision.
    fn reopen(&mut self) -> Result<(), FileError> {
        let Disk::Failed(path) = &self.disk else { return Ok(()) };
        let (file, _) = File::open(path)?;
        let store = load(&file, &self.clock)?;
        let revision = store.map().revision();
        *self.state.write() = store;
        self.disk = Disk::Open(file);
        self.state.publish(revision);
        tracing::info!(revision, "embedded etcd: the store's file is open again");
        Ok(())
    }

    fn compact_if_due(&mut self) {
        let due = self.state.read().0.due_compaction(&self.retention);
        if let Some(revision) = due {
            let outcome = self.state.write().apply(Write::Compact { revision }, self.clock.elapsed());
            self.commit(&outcome.records);
        }
    }

    fn defragment(&mut self) -> Result<(), RequestError> {
        let Disk::Open(file) = &mut self.disk else { return Ok(()) };
        if let Err(error) = file.defragment() {
            tracing::error!(
                error = &error as &dyn std::error::Error,
                "embedded etcd: defragmentation failed"
            );
            let path = file.path().to_owned();
            self.disk = Disk::Failed(path);
            return Err(RequestError::Stopped);
        }
        Ok(())
    }
}

/// Reads a store back. Its leases get their full time again.
fn load(file: &File, clock: &Clock) -> Result<Store, FileError> {
    let now = clock.elapsed();
    let mut store = Store::default();
    file.load(|record| store.replay(&record, now))?;
    Ok(store)
}
