//! The log directories of a broker: opening them and their logs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use uuid::Uuid;

use crate::config::TopicConfig;
use crate::sys::host::{self, Limits};
use crate::sys::{Faults, Volume};
use crate::types::{BrokerId, Clock, TopicId, TopicPartition, random};

use super::checkpoint;
use super::clean::threads::Cleaner;
use super::error::OpenError;
use super::handle::{Known, Log};
use super::home::{Home, LogOptions};
use super::housekeeping::Housekeeper;
use super::identity::{self, NONE_SEEN};
use super::names::DELETE_DIRECTORY_SUFFIX;
use super::offsets::OffsetCheckpoints;
use super::on_disk::Found;
use super::step::Step;
use super::storage::{Storage, lock};

/// How to open the log directories.
#[derive(Debug, Clone)]
pub struct LogDirsOptions {
    /// `log.dirs`, in order.
    pub dirs: Vec<PathBuf>,
    /// `node.id`.
    pub node_id: BrokerId,
    /// The cluster's id, if it is known yet.
    pub cluster_id: Option<String>,
    /// Time.
    pub clock: Clock,
    /// Threads that may wait for disks.
    pub storage: Storage,
    /// What all logs share.
    pub options: LogOptions,
}

/// The log directories. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LogDirs {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub node_id: BrokerId,
    pub clock: Clock,
    limits: Limits,
    pub homes: Vec<Arc<Home>>,
    /// Directories that could not be opened, and why.
    broken: Vec<(PathBuf, String)>,
    pub logs: Mutex<HashMap<TopicPartition, Arc<Log>>>,
    /// Logs on the disk that nobody asked for yet.
    pub found: Mutex<HashMap<TopicPartition, Found>>,
    was_clean: bool,
    data_may_be_lost: bool,
    /// Names this run.
    lifetime: Uuid,
    /// Held while the proofs of this run are written: the lifetimes for which these directories vouch.
    pub vouched: Mutex<Vec<Uuid>>,
    /// Who else is told of the first failure.
    pub told: OnceLock<Told>,
    pub housekeeper: Mutex<Option<Housekeeper>>,
    pub cleaner: Cleaner,
}

/// A listener for failures.
pub(super) struct Told(pub Box<dyn Fn() + Send + Sync>);

impl std::fmt::Debug for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

/// A log directory as others see it (DescribeLogDirs).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryInfo {
    /// Its id; `None` if it could not be opened.
    pub id: Option<Uuid>,
    /// Its path.
    pub path: PathBuf,
    /// Size of its file system.
    pub total_bytes: u64,
    /// What is still free there.
    pub usable_bytes: u64,
    /// Why it is offline.
    pub failed: Option<String>,
}

impl LogDirs {
    /// Locks and reads the directories, and starts the housekeeping thread. A directory that cannot be used is left out if another one
    /// can; one that is another broker's, or in use, is an error.
    ///
    /// After a clean stop this reads one file per directory for all logs together. Waits for the disk.
    ///
    /// # Errors
    /// [`OpenError`].
    pub fn open(options: LogDirsOptions) -> Result<Self, OpenError> {
        let limits = host::raise_limits();
        let mut opened = Opened::default();
        for path in &options.dirs {
            match opened.add(path, &options) {
                Ok(()) => {}
                Err(OpenError::Io { path, source }) => {
                    tracing::error!(directory = %path.display(), error = %source, "log directory cannot be used");
                    opened.broken.push((path, source.to_string()));
                }
                Err(error) => return Err(error),
            }
        }
        let Opened { homes, broken, found, clean, lost, vouched } = opened;
        if homes.is_empty() {
            let reason =
                broken.last().map_or_else(|| "none is configured".to_owned(), |(_, why)| why.clone());
            return Err(OpenError::NoDirectory { reason });
        }
        let data_may_be_lost = lost || !broken.is_empty();
        tracing::info!(
            directories = homes.len(),
            logs = found.len(),
            clean,
            data_may_be_lost,
            open_files = limits.open_files,
            "log directories opened"
        );
        let shared = Arc::new(Shared {
            node_id: options.node_id,
            clock: options.clock,
            limits,
            homes,
            broken,
            logs: Mutex::new(HashMap::new()),
            found: Mutex::new(found),
            was_clean: clean,
            data_may_be_lost,
            lifetime: random::uuid(),
            vouched: Mutex::new(vouched.unwrap_or_default()),
            told: OnceLock::new(),
            housekeeper: Mutex::new(None),
            cleaner: Cleaner::new(options.options.cleaner.clone()),
        });
        shared.record_failures();
        *lock(&shared.housekeeper) = Some(Housekeeper::start(&shared));
        shared.cleaner.start(&shared);
        let dirs = Self { shared };
        if !data_may_be_lost {
            // Should this run end before it registers, the next one still knows what these directories vouch for.
            let earlier = dirs.vouched_lifetimes();
            dirs.prove(earlier.into_iter().chain([dirs.lifetime()]).collect())?;
        }
        Ok(dirs)
    }

    /// The broker that the directories belong to, as the first one says that is not new: how an automatic `node.id` is kept.
    /// Directories that cannot be read are left to [`LogDirs::open`].
    ///
    /// # Errors
    /// [`OpenError::BadMetaProperties`].
    pub fn node_id_on_disk(dirs: &[PathBuf]) -> Result<Option<BrokerId>, OpenError> {
        for directory in dirs {
            match identity::node_id_in(directory) {
                Ok(None) | Err(OpenError::Io { .. }) => {}
                found => return found,
            }
        }
        Ok(None)
    }

    /// Names this run, and with it this lifetime of the broker.
    #[must_use]
    pub fn lifetime(&self) -> Uuid {
        self.shared.lifetime
    }

    /// The lifetimes of the broker since which nothing was lost here, this one left out. If the last one that registered is not among
    /// them, these directories are older than it: a restored snapshot, or a copy whose original went on (rules B2, B4).
    #[must_use]
    pub fn vouched_lifetimes(&self) -> Vec<Uuid> {
        let vouched = lock(&self.shared.vouched);
        vouched.iter().filter(|lifetime| **lifetime != self.shared.lifetime).copied().collect()
    }

    /// Says which cluster the directories belong to, once that is known.
    ///
    /// # Errors
    /// [`OpenError::Mismatch`] if a directory belongs to another (rule B4).
    pub fn set_cluster_id(&self, cluster_id: &str) -> Result<(), OpenError> {
        for home in &self.shared.homes {
            identity::identify(&home.volume, self.shared.node_id, Some(cluster_id))?;
        }
        Ok(())
    }

    /// The cluster that the directories belong to, as far as they know.
    #[must_use]
    pub fn cluster_id(&self) -> Option<String> {
        self.shared.homes.iter().find_map(|home| {
            let bytes = home.volume.read(super::names::META_PROPERTIES).ok()??;
            checkpoint::MetaProperties::decode(&bytes).ok()?.cluster_id
        })
    }

    /// Says that the broker has registered with [`LogDirs::data_may_be_lost`]: from now on this run counts for the next one (rule B2).
    ///
    /// # Errors
    /// What the system says.
    pub fn registered(&self) -> Result<(), OpenError> {
        self.prove(vec![self.lifetime()])
    }

    /// Puts on record that nothing was lost since any of `lifetimes`; not after an I/O error, whose record stays.
    fn prove(&self, lifetimes: Vec<Uuid>) -> Result<(), OpenError> {
        let mut vouched = lock(&self.shared.vouched);
        if self.shared.homes.iter().any(|home| home.failure().is_some()) {
            return Ok(());
        }
        *vouched = lifetimes;
        for home in &self.shared.homes {
            identity::proof_of_this_run(&home.volume, self.shared.node_id, NONE_SEEN, &vouched)
                .and_then(|proof| identity::write_proof(&home.volume, &proof))
                .map_err(|source| OpenError::Io { path: home.path(), source })?;
        }
        Ok(())
    }

    /// Has `tell` run once an I/O error is on record: the next registration must say that data may be lost (rule B2). For one listener.
    pub fn when_failed(&self, tell: impl Fn() + Send + Sync + 'static) {
        // Set once, at start.
        let _ = self.shared.told.set(Told(Box::new(tell)));
    }

    /// Whether the last run ended in order, in every directory.
    #[must_use]
    pub fn was_clean(&self) -> bool {
        self.shared.was_clean
    }

    /// Whether something that was written before may be gone (rule B2): a directory is new or missing, or the machine was restarted
    /// without a clean stop, or there was an I/O error.
    #[must_use]
    pub fn data_may_be_lost(&self) -> bool {
        self.shared.data_may_be_lost
    }

    /// The directories and their space. Waits for the disk.
    #[must_use]
    pub fn directories(&self) -> Vec<DirectoryInfo> {
        let open = self.shared.homes.iter().map(|home| {
            let space = home.volume.space().ok();
            DirectoryInfo {
                id: Some(home.directory_id),
                path: home.path(),
                total_bytes: space.map_or(0, |space| space.total_bytes),
                usable_bytes: space.map_or(0, |space| space.usable_bytes),
                failed: home.failure(),
            }
        });
        let broken = self.shared.broken.iter().map(|(path, why)| DirectoryInfo {
            id: None,
            path: path.clone(),
            total_bytes: 0,
            usable_bytes: 0,
            failed: Some(why.clone()),
        });
        open.chain(broken).collect()
    }

    /// The log of a partition: the one on the disk, or a new one in the directory with the fewest logs. Cheap: after a clean stop, and
    /// for a new log, no file is touched before the first use. A log on the disk that belongs to another topic id is what is left
    /// of a deleted topic: it is moved aside.
    ///
    /// # Errors
    /// [`OpenError::AlreadyOpen`], [`OpenError::TooManyPartitions`] (rule S13).
    pub fn open_log(
        &self,
        partition: &TopicPartition,
        topic_id: TopicId,
        config: Arc<TopicConfig>,
    ) -> Result<Arc<Log>, OpenError> {
        let mut logs = lock(&self.shared.logs);
        if logs.contains_key(partition) {
            return Err(OpenError::AlreadyOpen { partition: partition.to_string() });
        }
        check_limits(logs.len(), self.shared.limits)?;
        let found = lock(&self.shared.found).remove(partition);
        let mine = match found {
            Some(found) => self.claim(partition, topic_id, found)?,
            None => None,
        };
        let (home, known) = match mine {
            Some(mine) => mine,
            None => (self.least_loaded(&logs)?, Known::new_log()),
        };
        let log = Log::new(home, partition.clone(), topic_id, config, known);
        logs.insert(partition.clone(), Arc::clone(&log));
        Ok(log)
    }

    fn least_loaded(&self, logs: &HashMap<TopicPartition, Arc<Log>>) -> Result<Arc<Home>, OpenError> {
        let usable = self.shared.homes.iter().filter(|home| home.failure().is_none());
        // One directory is the common case: nothing to count.
        let count = |home: &Arc<Home>| {
            if self.shared.homes.len() == 1 {
                return 0;
            }
            logs.values().filter(|log| Arc::ptr_eq(&log.home, home)).count()
        };
        let reason = || self.shared.homes.iter().find_map(|home| home.failure()).unwrap_or_default();
        usable
            .min_by_key(|home| count(home))
            .cloned()
            .ok_or_else(|| OpenError::NoDirectory { reason: reason() })
    }

    /// A log that is open.
    #[must_use]
    pub fn log(&self, partition: &TopicPartition) -> Option<Arc<Log>> {
        lock(&self.shared.logs).get(partition).cloned()
    }

    /// Does one round of the housekeeping now. The housekeeping thread does it once a second; for tests and tools.
    pub fn housekeep(&self) {
        super::housekeeping::round(&self.shared);
    }

    /// As [`LogDirs::directories`], from a thread that may wait for a disk.
    pub fn inspect(&self) -> Step<Vec<DirectoryInfo>> {
        let here = self.clone();
        match self.shared.homes.first() {
            Some(home) => home.storage.call(move || here.directories()).map(Option::unwrap_or_default),
            None => Step::Ready(Vec::new()),
        }
    }

    /// The faults that a test injects into the directory number `at` of those that work.
    #[must_use]
    pub fn faults(&self, at: usize) -> Option<&Faults> {
        self.shared.homes.get(at).map(|home| home.volume.faults())
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(housekeeper) = lock(&self.housekeeper).take() {
            housekeeper.stop();
        }
        self.cleaner.stop();
    }
}

/// What [`LogDirs::open`] gathers.
struct Opened {
    homes: Vec<Arc<Home>>,
    broken: Vec<(PathBuf, String)>,
    found: HashMap<TopicPartition, Found>,
    clean: bool,
    lost: bool,
    /// What all directories vouch for; `None` before the first one.
    vouched: Option<Vec<Uuid>>,
}

impl Default for Opened {
    fn default() -> Self {
        Self {
            homes: Vec::new(),
            broken: Vec::new(),
            found: HashMap::new(),
            clean: true,
            lost: false,
            vouched: None,
        }
    }
}

impl Opened {
    fn add(&mut self, path: &Path, options: &LogDirsOptions) -> Result<(), OpenError> {
        let failed = |source| OpenError::Io { path: path.to_owned(), source };
        let volume = Volume::open(path).map_err(failed)?;
        let Some(directory_lock) = volume.try_lock().map_err(failed)? else {
            return Err(OpenError::Locked { directory: path.to_owned() });
        };
        let identity = identity::identify(&volume, options.node_id, options.cluster_id.as_deref())?;
        let directory_id = identity.meta.directory_id;
        let mut ends = identity::take_clean_ends(&volume, directory_id).map_err(failed)?;
        let clean = ends.is_some();
        let last_run = identity::last_run(&volume, options.node_id);
        let intact = clean || last_run.lost_nothing;
        let also = |lifetime: &Uuid| last_run.lifetimes.contains(lifetime);
        self.vouched = Some(match self.vouched.take() {
            None => last_run.lifetimes,
            Some(others) => others.into_iter().filter(also).collect(),
        });
        if identity.is_new || !intact {
            identity::remove_proof(&volume).map_err(failed)?;
            self.lost = true;
        }
        self.clean &= clean;
        let checkpoints = OffsetCheckpoints::read(&volume).map_err(failed)?;
        let home = Home::new(
            Arc::clone(&volume),
            directory_lock,
            directory_id,
            options.clock.clone(),
            options.storage.clone(),
            options.options.clone(),
            checkpoints,
        );
        let number = self.homes.len();
        for entry in volume.list("").map_err(failed)?.unwrap_or_default() {
            if !entry.is_directory {
                continue;
            }
            if entry.name.ends_with(DELETE_DIRECTORY_SUFFIX) {
                home.bury(Vec::new(), Some(entry.name), 0);
            } else if let Some(partition) = TopicPartition::from_directory_name(&entry.name) {
                let end = ends.as_mut().and_then(|ends| ends.remove(&partition));
                self.found.insert(partition, Found { home: number, end });
            }
        }
        self.homes.push(home);
        Ok(())
    }
}

/// Refuses a partition more than 70% of the process's files and maps allow: one file and two maps each when all are busy (rule S13).
fn check_limits(partitions: usize, limits: Limits) -> Result<(), OpenError> {
    for (limit, each, what) in [(limits.open_files, 1, "open files"), (limits.maps, 2, "memory maps")] {
        let needed = (partitions as u64 + 1).saturating_mul(each);
        if needed > limit.saturating_mul(7) / 10 {
            return Err(OpenError::TooManyPartitions { partitions, limit, what });
        }
    }
    Ok(())
}
