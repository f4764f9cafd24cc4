//! Fetchers: they keep the replicas of this broker equal to those of their leaders (Kafka's `ReplicaFetcherManager`, rules F1 to F8).
//!
//! There is one [`worker`] for each leader and each of `num.replica.fetchers` parts of its partitions, on threads of their own: one
//! connection, one fetch session ([`session`]), one long poll that a change interrupts. What an answer means for a partition is in
//! [`answer`]; what may be done in which leader epoch is the [`Partition`]'s to say.
//!
//! Reconcile says who is followed ([`Fetchers::look`]) and where brokers are ([`Fetchers::set_brokers`]). A partition that ends its
//! role needs no word: everything that comes in an epoch that is over is refused by it.

mod answer;
mod session;
#[cfg(test)]
mod tests;
mod worker;

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::runtime::{Builder, Runtime};
use tokio::sync::Notify;

use crate::config::ReplicationConfig;
use crate::metadata::image::{BrokerImage, ClusterImage, PartitionImage, ReplicaEntry};
use crate::replication::Partition;
use crate::types::{BrokerEpoch, BrokerId, LeaderEpoch};

use self::session::Key;
use self::worker::Worker;

/// Threads that fetchers share, at most: one takes the records of several leaders in as fast as a network brings them.
const THREADS_MAX: usize = 4;

/// All fetchers of this broker.
pub struct Fetchers {
    shared: Arc<Shared>,
    state: Mutex<State>,
}

/// What all workers know.
struct Shared {
    keys: ReplicationConfig,
    me: BrokerId,
    /// The present lifetime of this broker: every fetch says it (rule L3).
    epoch: AtomicI64,
    /// Replicas that are followed no more until a restart (rule F3).
    stopped: Mutex<HashSet<Key>>,
}

#[derive(Default)]
struct State {
    /// Started with the first partition that is followed.
    runtime: Option<Runtime>,
    /// Who is followed.
    followed: HashMap<Key, Followed>,
    workers: HashMap<(BrokerId, usize), Arc<Inbox>>,
    addresses: BTreeMap<BrokerId, Arc<str>>,
    stopped: bool,
}

/// A partition that this broker follows.
#[derive(Clone)]
struct Followed {
    partition: Weak<Partition>,
    leader: BrokerId,
    epoch: LeaderEpoch,
    /// The record has this broker in the ISR.
    in_sync: bool,
}

impl PartialEq for Followed {
    fn eq(&self, other: &Self) -> bool {
        self.partition.ptr_eq(&other.partition)
            && (self.leader, self.epoch, self.in_sync) == (other.leader, other.epoch, other.in_sync)
    }
}

/// What a worker is told.
#[derive(Default)]
struct Inbox {
    news: Mutex<News>,
    changed: Notify,
}

#[derive(Default)]
struct News {
    /// Partitions to follow, or with `None` to leave. Bound: the partitions of this broker.
    partitions: BTreeMap<Key, Option<Followed>>,
    /// Where the leader is; `None` while it is not registered.
    address: Option<Arc<str>>,
}

impl Fetchers {
    /// No fetcher runs before there is somebody to follow.
    #[must_use]
    pub fn new(me: BrokerId, keys: ReplicationConfig) -> Self {
        let shared = Shared { keys, me, epoch: AtomicI64::new(-1), stopped: Mutex::new(HashSet::new()) };
        Self { shared: Arc::new(shared), state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over where brokers are, and which lifetime of this one fetches. Cost without changes: one comparison for each broker.
    pub fn set_brokers(&self, image: &ClusterImage, me: ReplicaEntry) {
        self.shared.epoch.store(me.epoch.get(), Ordering::Release);
        let listener = self.shared.keys.inter_broker_listener.as_deref();
        let addresses: BTreeMap<BrokerId, Arc<str>> = image
            .brokers
            .values()
            .filter_map(|broker| Some((broker.id, address_of(broker, listener)?.into())))
            .collect();
        let mut state = self.state();
        if state.addresses == addresses {
            return;
        }
        for ((leader, _), inbox) in &state.workers {
            // A broker that is away may be back before its place is known anew: the old address is as good as none.
            if let Some(address) = addresses.get(leader) {
                inbox.tell(|news| news.address = Some(Arc::clone(address)));
            }
        }
        state.addresses = addresses;
    }

    /// Looks at whom `partition` follows now. `record` is the state that it was given. Cheap if nothing changed.
    pub fn look(&self, partition: &Arc<Partition>, record: &PartitionImage) {
        let key = (partition.topic_id(), partition.name().partition);
        let me = self.shared.me;
        let now = partition.following().map(|(leader, epoch)| Followed {
            partition: Arc::downgrade(partition),
            leader,
            epoch,
            in_sync: !record.recovering && record.isr.iter().any(|entry| entry.id == me),
        });
        let mut state = self.state();
        if state.stopped || state.followed.get(&key) == now.as_ref() {
            return;
        }
        let before = match &now {
            Some(now) => state.followed.insert(key, now.clone()),
            None => state.followed.remove(&key),
        };
        let shard = shard_of(key, self.shared.keys.fetchers);
        if let Some(before) = before
            && now.as_ref().is_none_or(|now| now.leader != before.leader)
            && let Some(inbox) = state.workers.get(&(before.leader, shard))
        {
            inbox.tell(|news| {
                news.partitions.insert(key, None);
            });
        }
        if let Some(now) = now {
            let inbox = self.worker(&mut state, now.leader, shard);
            inbox.tell(|news| {
                news.partitions.insert(key, Some(now));
            });
        }
    }

    /// The worker for a part of a leader's partitions, started if there is none.
    fn worker(&self, state: &mut State, leader: BrokerId, shard: usize) -> Arc<Inbox> {
        if let Some(inbox) = state.workers.get(&(leader, shard)) {
            return Arc::clone(inbox);
        }
        let inbox = Arc::new(Inbox::default());
        inbox.tell(|news| news.address = state.addresses.get(&leader).cloned());
        let runtime = state.runtime.get_or_insert_with(|| {
            Builder::new_multi_thread()
                .worker_threads(self.shared.keys.fetchers.clamp(1, THREADS_MAX))
                .thread_name("ketcd-fetcher")
                .enable_all()
                .build()
                .expect("threads can be started")
        });
        let worker = Worker::new(leader, Arc::clone(&self.shared), Arc::clone(&inbox));
        runtime.spawn(worker.run());
        state.workers.insert((leader, shard), Arc::clone(&inbox));
        inbox
    }

    /// Ends all fetchers, for good. What is on its way into a log gets there, or is refused.
    pub fn stop(&self) {
        let runtime = {
            let mut state = self.state();
            state.stopped = true;
            state.workers.clear();
            state.followed.clear();
            state.runtime.take()
        };
        if let Some(runtime) = runtime {
            runtime.shutdown_background();
        }
    }
}

impl Drop for Fetchers {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    fn epoch(&self) -> BrokerEpoch {
        BrokerEpoch(self.epoch.load(Ordering::Acquire))
    }

    fn is_stopped(&self, key: Key) -> bool {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).contains(&key)
    }

    fn stop(&self, key: Key) {
        self.stopped.lock().unwrap_or_else(PoisonError::into_inner).insert(key);
    }
}

impl Inbox {
    fn tell(&self, change: impl FnOnce(&mut News)) {
        change(&mut self.news.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    fn take_partitions(&self) -> BTreeMap<Key, Option<Followed>> {
        std::mem::take(&mut self.news.lock().unwrap_or_else(PoisonError::into_inner).partitions)
    }

    fn address(&self) -> Option<Arc<str>> {
        self.news.lock().unwrap_or_else(PoisonError::into_inner).address.clone()
    }
}

/// Which of a leader's fetchers takes a partition: always the same.
fn shard_of((topic, partition): Key, fetchers: usize) -> usize {
    let (high, low) = topic.uuid().as_u64_pair();
    let hash = (high ^ low).wrapping_mul(31).wrapping_add(u64::from(partition.unsigned_abs()));
    let shards = u64::try_from(fetchers).unwrap_or(1).max(1);
    usize::try_from(hash % shards).unwrap_or(0)
}

/// Where other brokers reach `broker`.
pub(super) fn address_of(broker: &BrokerImage, listener: Option<&str>) -> Option<String> {
    let endpoint = broker.inter_broker_endpoint(listener)?;
    let (host, port) = (&endpoint.host, endpoint.port);
    Some(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
}
