//! The writer: one thread that owns the file, decides every write and commits many at once.
//!
//! A thread of the system, not a task: a commit waits for the disk, and the runtime the store was started on must not.

use std::path::{Path, PathBuf};
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
    /// In a file of which a write failed, as on a full disk; it is opened and read anew before the next write.
    Failed(PathBuf),
    /// In a file of which a sync failed. The system may show pages that never reached the disk, so reading it anew proves
    /// nothing: no more writes in this process.
    Untrusted,
}

/// The writer's own.
pub struct Writer {
    state: Arc<State>,
    disk: Disk,
    clock: Clock,
    fsync: bool,
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
        fsync: bool,
        retention: Retention,
    ) -> Result<(Self, Identity, Arc<State>), FileError> {
        let (store, disk, identity) = match path {
            None => (Store::default(), Disk::None, Identity::random()),
            Some(path) => {
                let (file, identity) = File::open(&path, fsync)?;
                (load(&file, &clock)?, Disk::Open(file), identity)
            }
        };
        let state = Arc::new(State::new(store));
        let writer = Self { state: Arc::clone(&state), disk, clock, fsync, retention };
        writer.tell_size();
        Ok((writer, identity, state))
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
        if !self.is_ready() {
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
        let file = match &self.disk {
            _ if records.is_empty() => return true,
            Disk::None => return true,
            Disk::Open(file) => file,
            Disk::Failed(_) | Disk::Untrusted => return false,
        };
        match file.commit(records) {
            Ok(()) => {
                self.tell_size();
                true
            }
            Err(error) => {
                tracing::error!(error = &error as &dyn std::error::Error, "embedded etcd: a write failed");
                self.disk = after_failure(file);
                false
            }
        }
    }

    fn tell_size(&self) {
        if let Disk::Open(file) = &self.disk {
            self.state.set_file_bytes(file.size_bytes());
        }
    }

    /// After a failed commit memory is ahead of the file: memory is read back from it before anything else is decided. Until that
    /// succeeds reads go on at the last durable revision.
    fn is_ready(&mut self) -> bool {
        let path = match &self.disk {
            Disk::None | Disk::Open(_) => return true,
            Disk::Untrusted => return false,
            Disk::Failed(path) => path.clone(),
        };
        let reopened = self.reopen(&path);
        if let Err(error) = &reopened {
            let error = error as &dyn std::error::Error;
            tracing::error!(error, "embedded etcd: the store's file cannot be opened again");
        }
        reopened.is_ok()
    }

    fn reopen(&mut self, path: &Path) -> Result<(), FileError> {
        let (file, _) = File::open(path, self.fsync)?;
        let store = load(&file, &self.clock)?;
        let revision = store.map().revision();
        *self.state.write() = store;
        self.disk = Disk::Open(file);
        self.state.publish(revision);
        tracing::info!(revision, "embedded etcd: the store's file is open again");
        Ok(())
    }

    fn compact_if_due(&mut self) {
        if matches!(self.disk, Disk::Failed(_) | Disk::Untrusted) {
            return;
        }
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
            self.disk = after_failure(file);
            return Err(RequestError::Stopped);
        }
        self.tell_size();
        Ok(())
    }
}

fn after_failure(file: &File) -> Disk {
    if file.sync_failed() { Disk::Untrusted } else { Disk::Failed(file.path().to_owned()) }
}

/// Reads a store back. Its leases get their full time again.
fn load(file: &File, clock: &Clock) -> Result<Store, FileError> {
    let now = clock.elapsed();
    let mut store = Store::default();
    file.load(|record| store.replay(&record, now))?;
    Ok(store)
}

#[cfg(test)]
mod tests {
    use etcd_client::proto::PbPutRequest;
    use tempfile::TempDir;

    use super::*;

    fn put(writer: &mut Writer, key: &str) -> Result<Reply, RequestError> {
        let (_commands, mut queue) = mpsc::channel(1);
        let (reply, mut answer) = oneshot::channel();
        let request = PbPutRequest { key: key.into(), ..Default::default() };
        assert!(writer.write_batch((Write::Put(request), reply), &mut queue).is_none());
        answer.try_recv().unwrap()
    }

    fn holds(state: &State, key: &str) -> bool {
        let (store, visible) = state.read();
        store.map().live_at(key.as_bytes(), visible).is_some()
    }

    fn open(folder: &TempDir) -> (Writer, Arc<State>) {
        let path = Some(folder.path().join("store"));
        let (writer, _, state) = Writer::open(path, Clock::manual(0), true, Retention::default()).unwrap();
        (writer, state)
    }

    fn file(writer: &Writer) -> &File {
        let Disk::Open(file) = &writer.disk else { panic!("the file is not open") };
        file
    }

    #[test]
    fn a_failed_write_is_never_shown_and_the_store_recovers_by_itself() {
        let folder = TempDir::new().unwrap();
        let (mut writer, state) = open(&folder);
        put(&mut writer, "before").unwrap();
        file(&writer).fault().fail_writes();
        assert_eq!(put(&mut writer, "lost"), Err(RequestError::Stopped));
        assert!(holds(&state, "before") && !holds(&state, "lost"), "reads go on at the durable revision");
        put(&mut writer, "after").unwrap();
        assert!(holds(&state, "before") && !holds(&state, "lost") && holds(&state, "after"));
        drop(writer);
        let (_writer, state) = open(&folder);
        assert!(holds(&state, "before") && !holds(&state, "lost") && holds(&state, "after"));
    }

    #[test]
    fn after_a_failed_sync_nothing_is_written_any_more() {
        let folder = TempDir::new().unwrap();
        let (mut writer, state) = open(&folder);
        put(&mut writer, "before").unwrap();
        file(&writer).fault().fail_syncs();
        assert_eq!(put(&mut writer, "doubtful"), Err(RequestError::Stopped));
        assert_eq!(put(&mut writer, "after"), Err(RequestError::Stopped));
        assert!(holds(&state, "before") && !holds(&state, "doubtful") && !holds(&state, "after"));
    }
}
