//! What all shards of a broker share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::RuntimeOptions;
use super::alarm::Alarm;
use super::numbers::Numbers;
use crate::coordinator::group::settings::GroupSettings;
use crate::coordinator::group::turn::{Now, Ticket};
use crate::metadata::image::ClusterImage;
use crate::protocol::compression::Codec;
use crate::types::Clock;

/// How many shards are loaded at a time: each takes a thread.
const LOADS_AT_A_TIME: usize = 4;

pub(super) struct Shared {
    pub clock: Clock,
    pub settings: ArcSwap<GroupSettings>,
    pub image: ArcSwap<ClusterImage>,
    pub codec: Codec,
    /// Bytes read at a time when a shard is loaded.
    pub load_bytes: usize,
    /// How long an answer may wait for the replicas.
    pub commit_timeout: Duration,
    pub loads: Semaphore,
    pub alarm: Alarm,
    pub numbers: Numbers,
    /// The control runtime: whoever waits for a disk or for others waits there.
    pub runtime: Handle,
    tickets: AtomicU64,
    stopping: AtomicBool,
}

impl Shared {
    pub fn new(
        clock: Clock,
        settings: GroupSettings,
        image: Arc<ClusterImage>,
        options: RuntimeOptions,
        runtime: Handle,
    ) -> Self {
        let RuntimeOptions { codec, load_bytes, commit_timeout, .. } = options;
        Self {
            clock,
            settings: ArcSwap::from_pointee(settings),
            image: ArcSwap::new(image),
            codec,
            load_bytes,
            commit_timeout,
            loads: Semaphore::new(LOADS_AT_A_TIME),
            alarm: Alarm::new(),
            numbers: Numbers::default(),
            runtime,
            tickets: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        }
    }

    pub fn now(&self) -> Now {
        let elapsed_ms = i64::try_from(self.clock.elapsed().as_millis()).unwrap_or(i64::MAX);
        Now { wall_ms: self.clock.now_ms(), elapsed_ms }
    }

    pub fn next_ticket(&self) -> Ticket {
        Ticket(self.tickets.fetch_add(1, Ordering::Relaxed))
    }

    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
    }
}
