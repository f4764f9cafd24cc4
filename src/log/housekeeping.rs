//! What must happen without anybody asking: retention, checkpoints, timed syncs, closing idle logs, expiring producers, the canary.
//!
//! One thread for all directories. It decides; work on a log goes through the log's queue.

use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::types::Millis;

use super::directories::Shared;
use super::handle::Log;
use super::home::Home;
use super::names::CANARY;
use super::offsets::Kind;
use super::storage::lock;

/// Time between two rounds. Checkpoints are at most so old.
const ROUND: Duration = Duration::from_secs(1);
/// Rounds between two looks for expired producers (`producer.id.expiration.check.interval.ms`).
const EXPIRY_ROUNDS: u64 = 600;

/// The thread.
#[derive(Debug)]
pub(super) struct Housekeeper {
    stop: Arc<(Mutex<bool>, Condvar)>,
    thread: JoinHandle<()>,
}

impl Housekeeper {
    pub fn start(shared: &Arc<Shared>) -> Self {
        let stop = Arc::new((Mutex::new(false), Condvar::new()));
        let (stopped, weak) = (Arc::clone(&stop), Arc::downgrade(shared));
        let thread = std::thread::Builder::new()
            .name("housekeeping".to_owned())
            .spawn(move || serve(&weak, &stopped))
            .expect("a thread can be started at start-up");
        Self { stop, thread }
    }

    /// Has the thread end after its round.
    pub fn tell_to_stop(&self) {
        *lock(&self.stop.0) = true;
        self.stop.1.notify_all();
    }

    /// Waits for the end of the thread.
    pub fn stop(self) {
        self.tell_to_stop();
        // The last handle of the directories may go on this very thread.
        if self.thread.thread().id() != std::thread::current().id() {
            // A panic there was logged; there is nothing to add.
            let _ = self.thread.join();
        }
    }
}

fn serve(shared: &Weak<Shared>, stop: &(Mutex<bool>, Condvar)) {
    let mut rounds = Rounds::default();
    loop {
        let stopped = lock(&stop.0);
        let waited = stop.1.wait_timeout_while(stopped, ROUND, |stopped| !*stopped);
        if *waited.unwrap_or_else(PoisonError::into_inner).0 {
            return;
        }
        let Some(shared) = shared.upgrade() else { return };
        rounds.next(&shared);
    }
}

/// Does everything that could be due, now.
pub(super) fn round(shared: &Arc<Shared>) {
    let mut rounds = Rounds { next_retention: Millis::MIN, ..Rounds::default() };
    rounds.next(shared);
}

/// What the rounds so far have done.
#[derive(Debug, Default)]
struct Rounds {
    number: u64,
    next_retention: Millis,
    /// When the high watermarks are written next, on [`crate::types::Clock::elapsed`]. In rounds: at most a second late.
    next_high_watermarks: Duration,
}

impl Rounds {
    fn next(&mut self, shared: &Arc<Shared>) {
        let now = shared.clock.now_ms();
        let logs: Vec<Arc<Log>> = lock(&shared.logs).values().cloned().collect();
        if now >= self.next_retention {
            let interval =
                shared.homes.first().map_or(300_000, |home| home.options.retention_check_interval_ms);
            // The first look comes an interval after the start, unless somebody asked for a round.
            let first = self.next_retention == 0;
            self.next_retention = now.saturating_add(interval);
            if !first {
                retain(&logs, now);
            }
        }
        for log in &logs {
            tend(log);
        }
        if self.number.is_multiple_of(EXPIRY_ROUNDS) {
            expire_producers(&logs, now);
        }
        let elapsed = shared.clock.elapsed();
        let with_high_watermarks = elapsed >= self.next_high_watermarks;
        if with_high_watermarks {
            let interval = shared.homes.first().map(|home| home.options.high_watermark_checkpoint_interval);
            self.next_high_watermarks = elapsed.saturating_add(interval.unwrap_or_default());
        }
        for home in &shared.homes {
            canary(home);
            checkpoint(home, logs.iter().filter(|log| Arc::ptr_eq(&log.home, home)), with_high_watermarks);
            home.empty_graves(now);
        }
        self.number += 1;
    }
}

/// Retention, for logs that have something to delete: idle ones stay closed.
fn retain(logs: &[Arc<Log>], now: Millis) {
    for log in logs.iter().filter(|log| log.may_be_retained(now)) {
        // Runs on the log's queue; a failure has been told by then.
        drop(log.apply_retention(now));
    }
}

/// Timed sync, and closing when idle.
fn tend(log: &Arc<Log>) {
    if !log.is_open() {
        return;
    }
    let idle_s = log.home.clock.elapsed().as_secs().saturating_sub(log.last_used_s());
    let is_synced = log.recovery_point() >= log.log_end_offset();
    let flush_ms = log.config_ref().flush_ms;
    if !is_synced && flush_ms.is_some_and(|flush_ms| log.unsynced_for(flush_ms)) {
        log.sync_soon();
    }
    let idle_close_s = u64::try_from(log.home.options.idle_close_ms).unwrap_or(u64::MAX) / 1000;
    if idle_s >= idle_close_s {
        // Runs on the log's queue; the next use opens the log again.
        drop(log.close_files());
    }
}

fn expire_producers(logs: &[Arc<Log>], now: Millis) {
    for log in logs {
        let before = now.saturating_sub(log.home.options.producer_id_expiration_ms);
        log.with_open_writer(|writer| writer.producers.expire(before));
    }
}

/// Learns of a disk that died: stores into maps and the page cache would not tell (rule S4).
fn canary(home: &Home) {
    if home.check().is_err() {
        return;
    }
    let write = || -> std::io::Result<()> {
        let file = home.volume.create_file(CANARY)?;
        file.write_at(&home.clock.now_ms().to_be_bytes(), 0)?;
        file.sync()
    };
    match write() {
        Err(error) if error.kind() != std::io::ErrorKind::StorageFull => {
            // The directory knows; there is no caller to tell.
            let _ = home.fail("canary", &error);
        }
        _ => {}
    }
}

/// Writes the offset checkpoints of a directory where they are behind.
pub(super) fn checkpoint<'a>(
    home: &Home,
    logs: impl Iterator<Item = &'a Arc<Log>> + Clone,
    with_high_watermarks: bool,
) {
    if home.check().is_err() {
        return;
    }
    let known = || logs.clone().filter(|log| log.is_recovered());
    let fill = |kind: Kind, value: fn(&Log) -> i64| {
        let behind: Vec<_> = {
            let written = lock(&home.checkpoints);
            let is_behind = |log: &&Arc<Log>| value(log) != written.get(kind, log.partition());
            known().filter(is_behind).map(|log| (log.partition().clone(), value(log))).collect()
        };
        if behind.is_empty() {
            return;
        }
        if let Err(error) = home.store(kind, |offsets| offsets.extend(behind)) {
            tracing::warn!(directory = %home.path().display(), ?kind, %error, "checkpoint is behind");
        }
    };
    fill(Kind::RecoveryPoint, |log| log.recovery_point().get());
    fill(Kind::LogStart, |log| log.log_start_offset().get());
    if with_high_watermarks {
        fill(Kind::HighWatermark, |log| log.high_watermark().get());
    }
}
