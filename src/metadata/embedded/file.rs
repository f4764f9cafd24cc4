//! The file: a redb database with the changes, the leases and a few numbers. The only place that touches the disk.
//!
//! Each commit is one redb transaction with `Durability::Immediate`: one sync, and it has reached the disk when it returns. redb's
//! one-phase commit (checksums decide after a crash which of two commit slots is whole) is enough, because nobody but this process
//! writes the file; the price is a walk over the file when it is opened after a crash, which the bounded history keeps short.
//! Without `fsync` a commit has reached the system only: it survives the end of the process, not that of the machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::{Builder, Database, ReadableDatabase, ReadableTable, TableDefinition};

use super::backend::Backend;
use super::mvcc::Revision;
use super::record::{self, Record};
use crate::types::random;

/// Changes by revision and place in it; the bytes are [`record::encode`]'s.
const CHANGES: TableDefinition<'_, (u64, u32), &[u8]> = TableDefinition::new("changes");
/// Granted seconds by lease.
const LEASES: TableDefinition<'_, i64, i64> = TableDefinition::new("leases");
/// Numbers by name.
const NUMBERS: TableDefinition<'_, &str, i64> = TableDefinition::new("numbers");

const FORMAT: &str = "format";
const CLUSTER_ID: &str = "cluster_id";
const MEMBER_ID: &str = "member_id";
const COMPACTED: &str = "compacted";
/// The one format so far.
const FORMAT_VERSION: i64 = 1;
/// redb's page cache: the state is in memory anyway, so this only has to hold what a commit touches.
const CACHE_BYTES: usize = 2 << 20;

/// Who answers: random numbers, drawn once per store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The store.
    pub cluster_id: u64,
    /// Its only member.
    pub member_id: u64,
}

impl Identity {
    /// Of a new store.
    #[must_use]
    pub fn random() -> Self {
        let id = || random::below(u64::MAX >> 1) + 1;
        Self { cluster_id: id(), member_id: id() }
    }
}

/// Why the file could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// Another process has it open.
    #[error("{path} is in use by another process")]
    InUse {
        /// The file.
        path: PathBuf,
    },
    /// A newer version of the program wrote it.
    #[error("{path} has format {found}; this version reads format {FORMAT_VERSION}")]
    UnknownFormat {
        /// The file.
        path: PathBuf,
        /// What it says.
        found: i64,
    },
    /// A change in it makes no sense.
    #[error("{path} is damaged at revision {revision}")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where.
        revision: u64,
    },
    /// redb or the system below it.
    #[error("{path}")]
    Database {
        /// The file.
        path: PathBuf,
        /// What it says.
        source: Box<redb::Error>,
    },
}

/// The open file.
pub struct File {
    database: Database,
    backend: Backend,
    path: PathBuf,
}

impl File {
    /// Opens or creates the file. Its folder must exist.
    ///
    /// # Errors
    /// See [`FileError`].
    ///
    /// # Cost
    /// Creating one is a few writes and one sync; opening one is one sync and reads a few pages, or all of them after a crash.
    pub fn open(path: &Path, fsync: bool) -> Result<(Self, Identity), FileError> {
        let opened = Backend::open(path, fsync).and_then(|backend| {
            let mut builder = Builder::new();
            let database = builder.set_cache_size(CACHE_BYTES).create_with_backend(backend.clone())?;
            Ok((database, backend))
        });
        let (database, backend) = opened.map_err(|error| match error {
            redb::DatabaseError::DatabaseAlreadyOpen => FileError::InUse { path: path.to_owned() },
            other => FileError::Database { path: path.to_owned(), source: Box::new(other.into()) },
        })?;
        let file = Self { database, backend, path: path.to_owned() };
        let identity = match file.read_identity() {
            Ok(Some((FORMAT_VERSION, identity))) => identity,
            Ok(Some((found, _))) => return Err(FileError::UnknownFormat { path: file.path, found }),
            Ok(None) => file.initialize().map_err(|source| file.error(source))?,
            Err(source) => return Err(file.error(source)),
        };
        Ok((file, identity))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether a failure was one after which the file cannot be trusted in this process any more.
    #[must_use]
    pub fn sync_failed(&self) -> bool {
        self.backend.sync_failed()
    }

    /// What a test lets fail.
    #[cfg(test)]
    #[must_use]
    pub fn fault(&self) -> &super::backend_fault::Fault {
        self.backend.fault()
    }

    /// Bytes of the file.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.backend.size_bytes()
    }

    fn error(&self, source: redb::Error) -> FileError {
        FileError::Database { path: self.path.clone(), source: Box::new(source) }
    }

    fn read_identity(&self) -> Result<Option<(i64, Identity)>, redb::Error> {
        let read = self.database.begin_read()?;
        let numbers = match read.open_table(NUMBERS) {
            Ok(numbers) => numbers,
            Err(redb::TableError::TableDoesNotExist(_)) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let number = |name| Ok::<_, redb::Error>(numbers.get(name)?.map_or(0, |number| number.value()));
        let identity = Identity {
            cluster_id: number(CLUSTER_ID)?.cast_unsigned(),
            member_id: number(MEMBER_ID)?.cast_unsigned(),
        };
        Ok(Some((number(FORMAT)?, identity)))
    }

    fn initialize(&self) -> Result<Identity, redb::Error> {
        let identity = Identity::random();
        let write = self.database.begin_write()?;
        {
            let mut numbers = write.open_table(NUMBERS)?;
            numbers.insert(FORMAT, FORMAT_VERSION)?;
            numbers.insert(CLUSTER_ID, identity.cluster_id.cast_signed())?;
            numbers.insert(MEMBER_ID, identity.member_id.cast_signed())?;
            write.open_table(CHANGES)?;
            write.open_table(LEASES)?;
        }
        write.commit()?;
        self.backend.release().map_err(redb::StorageError::Io)?;
        Ok(identity)
    }

    /// Reads everything back, in the order in which a store replays it: the compaction, the leases, the changes.
    ///
    /// # Errors
    /// See [`FileError`].
    pub fn load(&self, mut replay: impl FnMut(Record)) -> Result<(), FileError> {
        let damaged = self.read_records(&mut replay).map_err(|source| self.error(source))?;
        match damaged {
            Some(revision) => Err(FileError::Damaged { path: self.path.clone(), revision }),
            None => Ok(()),
        }
    }

    /// Returns the revision of a change that cannot be understood.
    fn read_records(&self, replay: &mut impl FnMut(Record)) -> Result<Option<u64>, redb::Error> {
        let read = self.database.begin_read()?;
        if let Some(revision) = read.open_table(NUMBERS)?.get(COMPACTED)? {
            replay(Record::Compacted { revision: revision.value(), dropped: Vec::new() });
        }
        for entry in read.open_table(LEASES)?.iter()? {
            let (id, ttl) = entry?;
            replay(Record::Granted { id: id.value(), ttl: ttl.value() });
        }
        for entry in read.open_table(CHANGES)?.iter()? {
            let (key, bytes) = entry?;
            let (revision, sub) = key.value();
            let version = i64::try_from(revision)
                .ok()
                .and_then(|main| record::decode(Revision { main, sub }, bytes.value()));
            match version {
                Some(version) => replay(Record::Changed(Arc::new(version))),
                None => return Ok(Some(revision)),
            }
        }
        Ok(None)
    }

    /// Writes records in one commit; they have reached the disk when this returns.
    ///
    /// # Errors
    /// [`FileError::Database`]; the file then has all of the records or none, and must be opened anew.
    pub fn commit(&self, records: &[Record]) -> Result<(), FileError> {
        self.write(records).map_err(|source| self.error(source))
    }

    fn write(&self, records: &[Record]) -> Result<(), redb::Error> {
        let write = self.database.begin_write()?;
        {
            let mut changes = write.open_table(CHANGES)?;
            let mut leases = write.open_table(LEASES)?;
            for record in records {
                match record {
                    Record::Changed(version) => {
                        changes.insert(key_of(version.at), record::encode(version).as_slice())?;
                    }
                    Record::Granted { id, ttl } => {
                        leases.insert(id, ttl)?;
                    }
                    Record::Revoked { id } => {
                        leases.remove(id)?;
                    }
                    Record::Compacted { revision, dropped } => {
                        for at in dropped {
                            changes.remove(key_of(*at))?;
                        }
                        write.open_table(NUMBERS)?.insert(COMPACTED, revision)?;
                    }
                }
            }
        }
        write.commit()?;
        Ok(())
    }

    /// Gives unused space of the file back to the system.
    ///
    /// # Errors
    /// [`FileError::Database`].
    pub fn defragment(&mut self) -> Result<(), FileError> {
        match self.database.compact() {
            Ok(_) => Ok(()),
            Err(error) => Err(self.error(error.into())),
        }
    }
}

fn key_of(at: Revision) -> (u64, u32) {
    (at.main.unsigned_abs(), at.sub)
}
