//! Data files: positioned writes, preallocation, syncing. Reading goes through [`super::Map`].

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::AsFd;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use rustix::fs::FallocateFlags;

use super::blocking::may_block;
use super::map::Map;
use super::volume::Volume;

/// An open file of a volume. All methods take positions; there is no cursor. Safe to share between threads.
#[derive(Debug)]
pub struct DataFile {
    file: File,
    volume: Arc<Volume>,
}

impl DataFile {
    pub(super) const fn new(file: File, volume: Arc<Volume>) -> Self {
        Self { file, volume }
    }

    /// Writes all of `bytes` at `position`. Does not wait for a disk: the page cache takes the bytes.
    ///
    /// # Errors
    /// What the system says; some of the bytes may have been written.
    pub fn write_at(&self, bytes: &[u8], position: u64) -> io::Result<()> {
        self.volume.faults().before_write()?;
        self.file.write_all_at(bytes, position)
    }

    /// Writes `head` and then `body` at `position`, with one call to the system if it takes all.
    ///
    /// # Errors
    /// As [`DataFile::write_at`].
    pub fn write_both_at(&self, head: &[u8], body: &[u8], position: u64) -> io::Result<()> {
        self.volume.faults().before_write()?;
        let total = head.len() + body.len();
        let mut done = 0;
        while done < total {
            let head_rest = head.get(done..).unwrap_or_default();
            let body_rest = body.get(done.saturating_sub(head.len())..).unwrap_or_default();
            let slices = [IoSlice::new(head_rest), IoSlice::new(body_rest)];
            match rustix::io::pwritev(&self.file, &slices, position + done as u64) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => done += written,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads exactly `buffer.len()` bytes at `position`. May wait for a disk.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before; else what the system says.
    pub fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        may_block("pread");
        self.file.read_exact_at(buffer, position)
    }

    /// Reserves disk space for `length` bytes from `position` on and makes the file at least that long; new bytes read as zeros.
    /// After it, writing and mapping the range cannot run out of space (rule S1). May wait for a disk.
    ///
    /// # Errors
    /// `StorageFull` if the disk (or the test's quota) has no room.
    pub fn allocate(&self, position: u64, length: u64) -> io::Result<()> {
        may_block("fallocate");
        self.volume.faults().before_allocate(length)?;
        match rustix::fs::fallocate(&self.file, FallocateFlags::empty(), position, length) {
            Ok(()) => Ok(()),
            // File systems without fallocate: writing zeros reserves as well. Never over bytes that exist.
            Err(rustix::io::Errno::OPNOTSUPP) => {
                let from = self.size()?.max(position);
                self.write_zeros(from, (position + length).saturating_sub(from))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Overwrites `length` bytes from `position` on with zeros. The file keeps its size, so maps of it stay valid (rule S3).
    ///
    /// # Errors
    /// What the system says.
    pub fn write_zeros(&self, position: u64, length: u64) -> io::Result<()> {
        const ZEROS: &[u8] = &[0; 64 * 1024];
        let end = position + length;
        let mut at = position;
        while at < end {
            let step = usize::try_from(end - at).unwrap_or(usize::MAX).min(ZEROS.len());
            self.file.write_all_at(ZEROS.get(..step).unwrap_or_default(), at)?;
            at += step as u64;
        }
        Ok(())
    }

    /// Waits until the file's bytes and size are on the disk. An error is final: the caller must give the directory up (rule S4).
    ///
    /// # Errors
    /// What the system says.
    pub fn sync(&self) -> io::Result<()> {
        may_block("fdatasync");
        self.volume.faults().before_sync()?;
        self.file.sync_data()
    }

    /// Cuts or extends the file to `size` bytes. Only for ranges that no reader holds (rule S3).
    ///
    /// # Errors
    /// What the system says.
    pub fn set_size(&self, size: u64) -> io::Result<()> {
        may_block("ftruncate");
        self.file.set_len(size)
    }

    /// The file's size in bytes, zeros of preallocation included.
    ///
    /// # Errors
    /// What the system says.
    pub fn size(&self) -> io::Result<u64> {
        let size = rustix::fs::fstat(self.file.as_fd())?.st_size;
        Ok(u64::try_from(size).unwrap_or_default())
    }

    /// Maps the first `length` bytes for reading; see [`Map`]. Does not wait for a disk.
    ///
    /// # Errors
    /// What the system says, in particular when the process has too many maps.
    pub fn map(&self, length: usize) -> io::Result<Map> {
        Map::new(&self.file, length)
    }
}
