//! One log directory of the file system: its files, its lock, its free space, and the faults that tests inject.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use rustix::fs::FlockOperation;

use super::blocking::may_block;
use super::file::DataFile;

/// A directory that holds all files of one log directory. Paths are relative to it. Every method may wait for a disk.
#[derive(Debug)]
pub struct Volume {
    root: PathBuf,
    faults: Faults,
}

/// What a directory contains.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its file name; entries whose names are not UTF-8 are left out.
    pub name: String,
    /// Whether it is a directory.
    pub is_directory: bool,
}

/// Space of a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Its size.
    pub total_bytes: u64,
    /// What an unprivileged process may still use.
    pub usable_bytes: u64,
}

/// Holds the exclusive lock of a directory while it lives. The system releases it when the process ends, however it ends.
#[derive(Debug)]
pub struct DirectoryLock {
    file: File,
}

impl Drop for DirectoryLock {
    fn drop(&mut self) {
        // Closing the file would do, if no child that is just being started had a copy of it.
        if let Err(error) = rustix::fs::flock(&self.file, FlockOperation::Unlock) {
            tracing::warn!(%error, "a directory cannot be unlocked");
        }
    }
}

impl Volume {
    /// The volume at `root`, which is created if it does not exist.
    ///
    /// # Errors
    /// What the system says.
    pub fn open(root: &Path) -> io::Result<Arc<Self>> {
        may_block("mkdir");
        fs::create_dir_all(root)?;
        Ok(Arc::new(Self { root: root.canonicalize()?, faults: Faults::default() }))
    }

    /// Its absolute path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The faults that tests inject here.
    #[must_use]
    pub const fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Takes the exclusive lock `.lock`; `None` if another process has it (rule B6).
    ///
    /// # Errors
    /// What the system says.
    pub fn try_lock(&self) -> io::Result<Option<DirectoryLock>> {
        may_block("flock");
        let file =
            OpenOptions::new().create(true).truncate(false).write(true).open(self.root.join(".lock"))?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(DirectoryLock { file })),
            Err(rustix::io::Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Creates a directory; that it exists already is no error. Its parent is not synced.
    ///
    /// # Errors
    /// What the system says.
    pub fn create_directory(&self, path: &str) -> io::Result<()> {
        may_block("mkdir");
        match fs::create_dir(self.root.join(path)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            done => done,
        }
    }

    /// Creates a file for reading and writing, or opens it if it exists.
    ///
    /// # Errors
    /// What the system says.
    pub fn create_file(self: &Arc<Self>, path: &str) -> io::Result<DataFile> {
        may_block("open");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(self.root.join(path))?;
        Ok(DataFile::new(file, Arc::clone(self)))
    }

    /// Opens a file that exists, for reading and writing.
    ///
    /// # Errors
    /// `NotFound` if there is none; else what the system says.
    pub fn open_file(self: &Arc<Self>, path: &str) -> io::Result<DataFile> {
        may_block("open");
        let file = OpenOptions::new().read(true).write(true).open(self.root.join(path))?;
        Ok(DataFile::new(file, Arc::clone(self)))
    }

    /// All bytes of a file, or `None` if there is none.
    ///
    /// # Errors
    /// What the system says.
    pub fn read(&self, path: &str) -> io::Result<Option<Vec<u8>>> {
        may_block("read");
        match fs::read(self.root.join(path)) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Writes a file that a crash may leave torn: for what can be rebuilt.
    ///
    /// # Errors
    /// What the system says.
    pub fn write_rebuildable(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        may_block("write");
        self.faults.before_write()?;
        fs::write(self.root.join(path), bytes)
    }

    /// Replaces a file as a whole: after a crash it has either its old or its new content (rule S6).
    ///
    /// # Errors
    /// What the system says; the old content is then still there.
    pub fn write_atomically(&self, path: &str, bytes: &[u8]) -> io::Result<()> {
        may_block("fsync");
        self.faults.before_write()?;
        let target = self.root.join(path);
        let temporary = self.root.join(format!("{path}.tmp"));
        let mut file = File::create(&temporary)?;
        file.write_all(bytes)?;
        // ORDER: the bytes before the name, the name before we say so.
        self.faults.before_sync()?;
        file.sync_all()?;
        fs::rename(&temporary, &target)?;
        let parent = target.parent().unwrap_or(&self.root);
        File::open(parent)?.sync_all()
    }

    /// Renames a file or a directory. The directory is not synced.
    ///
    /// # Errors
    /// What the system says.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        may_block("rename");
        self.faults.before_step()?;
        fs::rename(self.root.join(from), self.root.join(to))
    }

    /// Removes a file; that there is none is no error.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove_file(&self, path: &str) -> io::Result<()> {
        may_block("unlink");
        self.faults.before_step()?;
        match fs::remove_file(self.root.join(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// Removes a directory and all in it; that there is none is no error.
    ///
    /// # Errors
    /// What the system says.
    pub fn remove_directory(&self, path: &str) -> io::Result<()> {
        may_block("unlink");
        match fs::remove_dir_all(self.root.join(path)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        }
    }

    /// Waits until the names in a directory are on the disk (rule S10). `""` is the volume's own.
    ///
    /// # Errors
    /// What the system says.
    pub fn sync_directory(&self, path: &str) -> io::Result<()> {
        may_block("fsync");
        self.faults.before_sync()?;
        File::open(self.root.join(path))?.sync_all()
    }

    /// What a directory contains, in no order; `None` if there is no such directory. `""` is the volume's own.
    ///
    /// # Errors
    /// What the system says.
    pub fn list(&self, path: &str) -> io::Result<Option<Vec<Entry>>> {
        may_block("readdir");
        let entries = match fs::read_dir(self.root.join(path)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut listed = Vec::new();
        for entry in entries {
            let entry = entry?;
            if let Ok(name) = entry.file_name().into_string() {
                listed.push(Entry { name, is_directory: entry.file_type()?.is_dir() });
            }
        }
        Ok(Some(listed))
    }

    /// Size of a file in bytes, or `None` if there is none.
    ///
    /// # Errors
    /// What the system says.
    pub fn file_size(&self, path: &str) -> io::Result<Option<u64>> {
        may_block("stat");
        match fs::metadata(self.root.join(path)) {
            Ok(metadata) => Ok(Some(metadata.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The space of its file system, less what tests took away.
    ///
    /// # Errors
    /// What the system says.
    pub fn space(&self) -> io::Result<Space> {
        may_block("statvfs");
        let stat = rustix::fs::statvfs(&self.root)?;
        let usable_bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
        Ok(Space {
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            usable_bytes: usable_bytes.min(self.faults.space_left.load(Ordering::Relaxed)),
        })
    }

    /// Names the file system's device: another number means another disk (rule B2).
    ///
    /// # Errors
    /// What the system says.
    pub fn device_id(&self) -> io::Result<u64> {
        Ok(fs::metadata(&self.root)?.dev())
    }

    /// Names the directory within its file system: a copy of it has another number (N40).
    ///
    /// # Errors
    /// What the system says.
    pub fn directory_inode(&self) -> io::Result<u64> {
        Ok(fs::metadata(&self.root)?.ino())
    }
}

/// Faults that a test makes a volume show. All off at start; costs a few loads per call.
#[derive(Debug)]
pub struct Faults {
    space_left: AtomicU64,
    fail_writes: AtomicBool,
    fail_syncs: AtomicBool,
    steps_left: AtomicU64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            space_left: AtomicU64::new(u64::MAX),
            fail_writes: AtomicBool::new(false),
            fail_syncs: AtomicBool::new(false),
            steps_left: AtomicU64::new(u64::MAX),
        }
    }
}

impl Faults {
    /// Lets preallocation use `bytes` more and then report a full disk; `None` lifts the quota.
    pub fn set_space_left(&self, bytes: Option<u64>) {
        self.space_left.store(bytes.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Makes every write fail with EIO.
    pub fn set_fail_writes(&self, fail: bool) {
        self.fail_writes.store(fail, Ordering::Relaxed);
    }

    /// Makes every sync fail with EIO.
    pub fn set_fail_syncs(&self, fail: bool) {
        self.fail_syncs.store(fail, Ordering::Relaxed);
    }

    /// Lets `steps` more changes of files and names through (writes, syncs, renames, removals) and fails the rest with EIO: what is on
    /// the disk is then what a crash at that point leaves. `None` lifts it.
    pub fn set_steps_left(&self, steps: Option<u64>) {
        self.steps_left.store(steps.unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Before a change of names.
    fn before_step(&self) -> io::Result<()> {
        let taken = self.steps_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            if left == u64::MAX { Some(left) } else { left.checked_sub(1) }
        });
        taken.map(drop).map_err(|_| rustix::io::Errno::IO.into())
    }

    pub(super) fn before_allocate(&self, bytes: u64) -> io::Result<()> {
        let taken = self.space_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
            if left == u64::MAX { Some(left) } else { left.checked_sub(bytes) }
        });
        taken.map(drop).map_err(|_| rustix::io::Errno::NOSPC.into())
    }

    pub(super) fn before_write(&self) -> io::Result<()> {
        self.before_step()?;
        fail_if(&self.fail_writes)
    }

    pub(super) fn before_sync(&self) -> io::Result<()> {
        self.before_step()?;
        fail_if(&self.fail_syncs)
    }
}

fn fail_if(fault: &AtomicBool) -> io::Result<()> {
    if fault.load(Ordering::Relaxed) { Err(rustix::io::Errno::IO.into()) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume() -> (tempfile::TempDir, Arc<Volume>) {
        let directory = tempfile::tempdir().unwrap();
        let volume = Volume::open(&directory.path().join("data")).unwrap();
        (directory, volume)
    }

    #[test]
    fn a_directory_is_locked_by_one_at_a_time() {
        let (_directory, volume) = volume();
        let lock = volume.try_lock().unwrap().unwrap();
        assert!(volume.try_lock().unwrap().is_none());
        drop(lock);
        assert!(volume.try_lock().unwrap().is_some());
    }

    #[test]
    fn an_atomic_write_replaces_the_whole_file() {
        let (_directory, volume) = volume();
        volume.write_atomically("checkpoint", b"a long first content").unwrap();
        volume.write_atomically("checkpoint", b"second").unwrap();
        assert_eq!(volume.read("checkpoint").unwrap().unwrap(), b"second");
        let names: Vec<_> = volume.list("").unwrap().unwrap().into_iter().map(|entry| entry.name).collect();
        assert_eq!(names, ["checkpoint"]);
    }

    #[test]
    fn a_map_longer_than_its_file_sees_bytes_written_later() {
        let (_directory, volume) = volume();
        let file = volume.create_file("segment").unwrap();
        let map = file.map(1 << 20).unwrap();
        file.allocate(0, 64 * 1024).unwrap();
        file.write_both_at(b"head", b"body", 4094).unwrap();
        let slice = map.slice(4094..4102).unwrap();
        assert_eq!(slice, b"headbody"[..]);
        assert!(map.is_resident(4094..4102));
        map.populate(0..64 * 1024).unwrap();
        assert!(map.slice(0..(1 << 20) + 1).is_none());
        drop((map, file));
        assert_eq!(slice, b"headbody"[..]);
        assert_eq!(volume.file_size("segment").unwrap(), Some(64 * 1024));
    }

    #[test]
    fn a_quota_makes_preallocation_fail_as_a_full_disk_does() {
        let (_directory, volume) = volume();
        let file = volume.create_file("segment").unwrap();
        volume.faults().set_space_left(Some(10_000));
        file.allocate(0, 8192).unwrap();
        assert_eq!(file.allocate(8192, 8192).unwrap_err().kind(), io::ErrorKind::StorageFull);
        volume.faults().set_space_left(None);
        file.allocate(8192, 8192).unwrap();
    }
}
