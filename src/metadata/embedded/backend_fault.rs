//! Faults of a disk, for tests of the writer.

use std::io::{Error, ErrorKind};
use std::sync::atomic::{AtomicBool, Ordering};

/// What fails from now on.
#[derive(Debug, Default)]
pub struct Fault {
    writes: AtomicBool,
    syncs: AtomicBool,
}

impl Fault {
    /// Lets writes fail, as a full disk does.
    pub fn fail_writes(&self) {
        self.writes.store(true, Ordering::Relaxed);
    }

    /// Lets syncs fail, as a dying disk does.
    pub fn fail_syncs(&self) {
        self.syncs.store(true, Ordering::Relaxed);
    }

    /// Asked before a write.
    pub fn write(&self) -> Result<(), Error> {
        if self.writes.load(Ordering::Relaxed) { Err(ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    /// Asked before a sync.
    pub fn sync(&self) -> Result<(), Error> {
        if self.syncs.load(Ordering::Relaxed) { Err(ErrorKind::Other.into()) } else { Ok(()) }
    }
}
