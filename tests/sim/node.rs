//! A host with a disk, and at most one broker process on it.

use std::collections::BTreeMap;

use super::log::Log;
use super::process::{Begin, Process};
use crate::types::BrokerId;
use crate::types::seeded::{Bug, seeded};

/// How a process ends, and what is lost with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The process alone dies: what it wrote is still in the page cache.
    Nothing,
    /// The host loses power: everything that is not synced is gone.
    Unsynced,
    /// A sync failed: what was not synced is gone although the host goes on.
    IoError,
    /// The disk is replaced by an empty one.
    Disk,
}

/// What is on the disk beside the logs. All of it is synced when it is written.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    /// Logs of a process that is gone.
    pub logs: BTreeMap<i32, Log>,
    /// The clean-shutdown marker: the broker epoch that it was written in (rule B1).
    pub marker: Option<i64>,
    /// Boot and broker epoch of the last registration that succeeded (rule B2).
    pub proof: Option<(u64, i64)>,
    /// The lease of the last attempt to register (rule B7).
    pub lease: i64,
    /// A write or a sync failed since the last registration.
    pub error: bool,
    /// The host whose directory this was when the process last wrote to it: a copy is known by that (rule B4).
    pub home: i32,
    /// The highest revision of etcd that was seen (rule E13).
    pub highest: i64,
}

/// A host.
#[derive(Debug)]
pub struct Node {
    pub id: BrokerId,
    /// The number of the host: that of its broker, unless somebody copied a disk (N40).
    pub host: i32,
    pub disk: Disk,
    pub boot: u64,
    pub process: Option<Process>,
    /// Stopped by SIGSTOP: what comes waits.
    pub paused: bool,
    /// The host answers, so that a connection to a dead process is refused.
    pub up: bool,
    /// Data was lost, and no process that began after that has registered: what the ISRs say of it is not its fault.
    pub lost_in_life: Option<u64>,
    /// The newest process that began here.
    pub last_life: u64,
}

impl Node {
    pub fn new(id: BrokerId) -> Self {
        Self {
            id,
            host: id.get(),
            disk: Disk::default(),
            boot: 1,
            process: None,
            paused: false,
            up: true,
            lost_in_life: None,
            last_life: 0,
        }
    }

    /// The log of a partition, in whose hands it may be.
    pub fn log(&self, partition: i32) -> Option<&Log> {
        match &self.process {
            Some(process) => process.replicas.get(&partition).map(|replica| &replica.log),
            None => self.disk.logs.get(&partition),
        }
    }

    /// Starts a process: looks at what the last one left (rules B1, B2).
    /// `accepts`: with `etcd.accept.rollback`.
    pub fn start(&mut self, life: u64, now: u64, accepts: bool) {
        let disk = &mut self.disk;
        let here = disk.home == self.host;
        let intact = disk.proof.is_some_and(|(boot, epoch)| {
            here && !disk.error && (boot == self.boot || disk.marker == Some(epoch))
        });
        let old_lease = if here { disk.lease } else { 0 };
        disk.home = self.host;
        if accepts {
            disk.highest = 0;
        }
        let seen = disk.highest;
        let clean = disk.proof.is_some_and(|(_, epoch)| disk.marker == Some(epoch));
        disk.marker = None;
        let data_may_be_lost = !intact && (disk.proof.is_none() || !seeded(Bug::B2Ignored));
        let logs = std::mem::take(&mut disk.logs);
        let (id, host, boot) = (self.id, self.host, self.boot);
        let begin = Begin { id, host, life, boot, data_may_be_lost, clean, old_lease, accepts, seen, now };
        self.process = Some(Process::new(begin, logs));
        self.last_life = life;
        self.paused = false;
        self.up = true;
    }

    /// Ends the process. `keep` says how much of what is not synced survives, of so many records.
    pub fn end(&mut self, loss: Loss, mut keep: impl FnMut(usize) -> usize) {
        self.paused = false;
        if let Some(process) = self.process.take() {
            self.disk.logs =
                process.replicas.into_iter().map(|(partition, replica)| (partition, replica.log)).collect();
        }
        if loss == Loss::Nothing {
            return;
        }
        for log in self.disk.logs.values_mut() {
            let unsynced = log.values.len() - log.synced;
            let kept = log.synced + keep(unsynced);
            let end = super::at(kept);
            if unsynced > 0 {
                log.truncate(end);
            }
            log.synced = log.values.len();
            log.checkpoint = log.checkpoint.min(log.end().get());
        }
        self.lost_in_life = Some(self.last_life);
        match loss {
            Loss::Nothing => {}
            Loss::Unsynced => {
                self.boot += 1;
                self.up = false;
            }
            Loss::IoError => self.disk.error = true,
            Loss::Disk => {
                self.boot += 1;
                self.up = false;
                self.disk = Disk::default();
            }
        }
    }
}
