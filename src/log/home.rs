//! One log directory while the broker runs: its volume, its state of health, and what its logs share.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use uuid::Uuid;

use crate::config::CleanerConfig;
use crate::sys::Volume;
use crate::sys::volume::DirectoryLock;
use crate::types::{Clock, Millis, Offset, TopicPartition};

use super::error::Unusable;
use super::offsets::{Kind, OffsetCheckpoints, Offsets};
use super::segment::Segment;
use super::storage::{Storage, lock};

/// What all logs share. Broker keys of the same names where there are any.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// `producer.id.expiration.ms`.
    pub producer_id_expiration_ms: Millis,
    /// `log.retention.check.interval.ms`.
    pub retention_check_interval_ms: Millis,
    /// `replica.high.watermark.checkpoint.interval.ms`.
    pub high_watermark_checkpoint_interval: Duration,
    /// A log that nobody used for so long lets its files go.
    pub idle_close_ms: Millis,
    /// Preallocation leaves so many bytes of a disk free (rule S12).
    pub reserve_bytes: u64,
    /// Sealed segments that are kept open for reading in one directory (rule S13). Each takes two maps.
    pub sealed_segments_open_max: usize,
    /// What the log cleaner runs with at first.
    pub cleaner: CleanerConfig,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            producer_id_expiration_ms: 86_400_000,
            retention_check_interval_ms: 300_000,
            high_watermark_checkpoint_interval: Duration::from_secs(5),
            idle_close_ms: 600_000,
            reserve_bytes: 16 << 20,
            sealed_segments_open_max: 4096,
            cleaner: CleanerConfig::default(),
        }
    }
}

/// A log directory that is open and locked.
#[derive(Debug)]
pub(super) struct Home {
    pub volume: Arc<Volume>,
    pub directory_id: Uuid,
    pub clock: Clock,
    pub storage: Storage,
    pub options: LogOptions,
    /// Logs with open files.
    pub open_logs: AtomicUsize,
    /// Whether a partition's directory was created or renamed since the volume's own directory was synced.
    pub root_dirty: AtomicBool,
    /// Whether the broker stops: closed logs stay closed.
    pub stopped: AtomicBool,
    failed: AtomicBool,
    failure: OnceLock<Arc<str>>,
    /// Told once of the first failure (rule B2).
    on_failure: OnceLock<Teller>,
    graveyard: Mutex<Vec<Grave>>,
    open_sealed: Mutex<VecDeque<Weak<Segment>>>,
    /// The offset checkpoints as they stand on the disk.
    pub checkpoints: Mutex<OffsetCheckpoints>,
    directory_lock: Mutex<Option<DirectoryLock>>,
}

/// Renamed files that are removed for good at `due`.
#[derive(Debug)]
struct Grave {
    due: Millis,
    files: Vec<String>,
    directory: Option<String>,
}

/// Whom a directory tells of its failure.
struct Teller(Box<dyn Fn(&str) + Send + Sync>);

impl std::fmt::Debug for Teller {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Teller")
    }
}

impl Home {
    pub fn new(
        volume: Arc<Volume>,
        directory_lock: DirectoryLock,
        directory_id: Uuid,
        clock: Clock,
        storage: Storage,
        options: LogOptions,
        checkpoints: OffsetCheckpoints,
    ) -> Arc<Self> {
        Arc::new(Self {
            volume,
            directory_id,
            clock,
            storage,
            options,
            open_logs: AtomicUsize::new(0),
            root_dirty: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
            failed: AtomicBool::new(false),
            failure: OnceLock::new(),
            on_failure: OnceLock::new(),
            graveyard: Mutex::new(Vec::new()),
            open_sealed: Mutex::new(VecDeque::new()),
            checkpoints: Mutex::new(checkpoints),
            directory_lock: Mutex::new(Some(directory_lock)),
        })
    }

    pub fn path(&self) -> PathBuf {
        self.volume.root().to_owned()
    }

    /// Runs `told` at the first failure.
    pub fn when_failed(&self, told: impl Fn(&str) + Send + Sync + 'static) {
        // Set once, at start.
        let _ = self.on_failure.set(Teller(Box::new(told)));
    }

    /// Ends the directory's life until a restart (rule S4).
    pub fn fail(&self, what: &str, error: &io::Error) -> Unusable {
        let mut first = false;
        let reason = self.failure.get_or_init(|| {
            first = true;
            format!("{what}: {error}").into()
        });
        // ORDER: the reason before the flag.
        self.failed.store(true, Ordering::Release);
        if first {
            tracing::error!(directory = %self.volume.root().display(), %reason, "log directory failed and is offline until a restart");
            if let Some(Teller(told)) = self.on_failure.get() {
                told(reason);
            }
        }
        Unusable::Offline { directory: self.path(), reason: Arc::clone(reason) }
    }

    /// The failure, if there was one. One load otherwise.
    pub fn check(&self) -> Result<(), Unusable> {
        if !self.failed.load(Ordering::Acquire) {
            return Ok(());
        }
        let reason = self.failure.get().cloned().unwrap_or_else(|| "unknown".into());
        Err(Unusable::Offline { directory: self.path(), reason })
    }

    /// Why the directory is offline.
    pub fn failure(&self) -> Option<String> {
        self.failure.get().map(|reason| reason.as_ref().to_owned())
    }

    /// Sorts an error of a write: a full disk passes, a device error ends the directory, anything else is this log's.
    pub fn write_error(&self, what: &str, error: io::Error) -> Unusable {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                Unusable::DiskFull { directory: self.path() }
            }
            _ if is_device_error(&error) => self.fail(what, &error),
            kind => {
                let told = format!("{what} in {}: {error}", self.volume.root().display());
                Unusable::Io(Arc::new(io::Error::new(kind, told)))
            }
        }
    }

    /// Refuses if `bytes` more would eat into the reserve (rule S12).
    pub fn check_space(&self, bytes: u64) -> Result<(), Unusable> {
        let space = self.volume.space().map_err(|error| self.write_error("statvfs", error))?;
        if space.usable_bytes < bytes.saturating_add(self.options.reserve_bytes) {
            return Err(Unusable::DiskFull { directory: self.path() });
        }
        Ok(())
    }

    /// Removes renamed files (and a renamed directory) after `delay_ms`: readers may still open them by their old handles.
    pub fn bury(&self, files: Vec<String>, directory: Option<String>, delay_ms: Millis) {
        let due = self.clock.now_ms().saturating_add(delay_ms.max(0));
        lock(&self.graveyard).push(Grave { due, files, directory });
    }

    /// Removes what is due at `now`.
    pub fn empty_graves(&self, now: Millis) {
        let due: Vec<Grave> = {
            let mut graves = lock(&self.graveyard);
            let (due, later) = graves.drain(..).partition(|grave| grave.due <= now);
            *graves = later;
            due
        };
        for grave in due {
            for file in grave.files {
                if let Err(error) = self.volume.remove_file(&file) {
                    tracing::warn!(%file, %error, "a deleted file cannot be removed");
                }
            }
            if let Some(directory) = grave.directory
                && let Err(error) = self.volume.remove_directory(&directory)
            {
                tracing::warn!(%directory, %error, "a deleted partition cannot be removed");
            }
        }
    }

    /// Counts a sealed segment as open for reading; closes the ones that were not read for longest if there are too many.
    pub fn opened_sealed(&self, segment: &Arc<Segment>) {
        let mut open = lock(&self.open_sealed);
        open.push_back(Arc::downgrade(segment));
        let mut looks = open.len() * 2;
        while open.len() > self.options.sealed_segments_open_max && looks > 0 {
            looks -= 1;
            let Some(oldest) = open.pop_front() else { break };
            if let Some(segment) = oldest.upgrade()
                && !segment.close_if_unused()
            {
                open.push_back(oldest);
            }
        }
    }

    /// Has one partition's log start offset on the disk.
    pub fn store_log_start(&self, partition: &TopicPartition, start: Offset) -> Result<(), Unusable> {
        self.store(Kind::LogStart, |offsets| {
            offsets.insert(partition.clone(), start.get());
        })
    }

    /// Has one partition's recovery point on the disk.
    pub fn store_recovery_point(&self, partition: &TopicPartition, point: Offset) -> Result<(), Unusable> {
        self.store(Kind::RecoveryPoint, |offsets| {
            offsets.insert(partition.clone(), point.get());
        })
    }

    /// Forgets a partition in all checkpoints.
    pub fn forget(&self, partition: &TopicPartition) -> Result<(), Unusable> {
        for kind in Kind::ALL {
            self.store(kind, |offsets| {
                offsets.remove(partition);
            })?;
        }
        Ok(())
    }

    /// Changes a checkpoint and has it on the disk.
    pub fn store(&self, kind: Kind, change: impl FnOnce(&mut Offsets)) -> Result<(), Unusable> {
        lock(&self.checkpoints)
            .change(kind, &self.volume, change)
            .map_err(|error| self.write_error("offset checkpoint", error))
    }

    /// Lets another process have the directory.
    pub fn unlock(&self) {
        *lock(&self.directory_lock) = None;
    }
}

/// Whether the device, not the file or the process, is at fault.
fn is_device_error(error: &io::Error) -> bool {
    use rustix::io::Errno;
    error.raw_os_error().is_some_and(|code| {
        [Errno::IO, Errno::ROFS, Errno::NXIO, Errno::NODEV].iter().any(|errno| errno.raw_os_error() == code)
    })
}
