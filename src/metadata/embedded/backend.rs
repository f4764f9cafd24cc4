//! redb's file with control over when it is synced.

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};

/// The open file; clones are the same file.
///
/// redb syncs a new file four times before the first byte of ours is in it. What a crash could lose then is an empty store, so
/// the syncs are held back until it is made, and one does for all ([`Backend::release`]).
#[derive(Debug, Clone)]
pub struct Backend(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    file: FileBackend,
    fsync: bool,
    held: AtomicBool,
    sync_failed: AtomicBool,
    #[cfg(test)]
    fault: super::backend_fault::Fault,
}

impl Backend {
    /// Opens or creates the file. Syncs are held if it is empty.
    ///
    /// # Errors
    /// Those of the system; that another process has it open.
    pub fn open(path: &Path, fsync: bool) -> Result<Self, DatabaseError> {
        // As redb's own `create` does; it takes no backend that wraps its own.
        let options = std::fs::File::options().read(true).write(true).create(true).truncate(false).open(path);
        let file = FileBackend::new(options.map_err(redb::StorageError::Io)?)?;
        let is_new = file.len().map_err(redb::StorageError::Io)? == 0;
        Ok(Self(Arc::new(Inner {
            file,
            fsync,
            held: AtomicBool::new(is_new),
            sync_failed: AtomicBool::new(false),
            #[cfg(test)]
            fault: super::backend_fault::Fault::default(),
        })))
    }

    /// Ends the holding back of syncs, with one.
    ///
    /// # Errors
    /// Those of the system.
    pub fn release(&self) -> Result<(), std::io::Error> {
        if self.0.held.swap(false, Ordering::Relaxed) { self.sync_data() } else { Ok(()) }
    }

    /// Whether a sync has ever failed. What the system shows of the file since then may never reach the disk.
    #[must_use]
    pub fn sync_failed(&self) -> bool {
        self.0.sync_failed.load(Ordering::Relaxed)
    }

    /// What a test lets fail.
    #[cfg(test)]
    #[must_use]
    pub fn fault(&self) -> &super::backend_fault::Fault {
        &self.0.fault
    }

    /// Bytes of the file now.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        self.0.file.len().unwrap_or(0)
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> Result<u64, std::io::Error> {
        self.0.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), std::io::Error> {
        self.0.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> Result<(), std::io::Error> {
        self.0.file.set_len(len)
    }

    fn sync_data(&self) -> Result<(), std::io::Error> {
        if !self.0.fsync || self.0.held.load(Ordering::Relaxed) {
            return Ok(());
        }
        #[cfg(test)]
        let synced = self.0.fault.sync().and_then(|()| self.0.file.sync_data());
        #[cfg(not(test))]
        let synced = self.0.file.sync_data();
        if synced.is_err() {
            self.0.sync_failed.store(true, Ordering::Relaxed);
        }
        synced
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), std::io::Error> {
        #[cfg(test)]
        self.0.fault.write()?;
        self.0.file.write(offset, data)
    }

    fn close(&self) -> Result<(), std::io::Error> {
        // A clean stop leaves a whole file in any case.
        if !self.0.fsync {
            self.0.file.sync_data()?;
        }
        self.0.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.query_lock_range(start, end)
    }
}
