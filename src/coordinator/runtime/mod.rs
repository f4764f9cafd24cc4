//! The shell around the cores: it loads, appends, waits and wakes.
//!
//! One shard per partition of `__consumer_offsets` that this broker leads. A request takes the shard's lock, takes a step of the core,
//! gives the records to the log in the same turn, and waits outside of the lock until they are below the high watermark. So the log has
//! the turns in the order in which the state took them, and no answer tells what could still be lost (rules G1, T4). An answer that
//! comes in a later turn waits for that turn's records. A question that writes nothing waits for what was written before it.
//!
//! What a step decided is in memory before it is in the log; if the log refuses it, the shard is dropped and loaded anew, so memory is
//! never ahead of the log for longer than one turn. On a new leader epoch all state and all timers of the old one are dropped (rule G2).
//!
//! Read first: `led` (one shard: questions, loading, the end), then `active` (turns on their way).

mod active;
mod alarm;
mod batches;
mod led;
mod log;
mod numbers;
mod partitioner;
mod shared;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::error;

use self::active::Reply;
use self::alarm::NEVER;
use self::led::LedShard;
use self::shared::Shared;
use super::group::command::{
    Answer, Ask, Command, DescribedConsumerGroup, DescribedGroup, ListedGroup, OffsetCommit,
};
use super::group::settings::GroupSettings;
use super::group::shard::GroupShard;
use crate::metadata::image::ClusterImage;
use crate::protocol::compression::Codec;
use crate::protocol::error::ErrorCode;
use crate::types::{Clock, LeaderEpoch, TopicId};

pub use self::log::{CoordinatorLog, LogRefused};
pub use self::numbers::Totals;

/// The topic that keeps groups and committed offsets.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// What a record of a committed offset takes beside its names and metadata, at most.
const COMMIT_OVERHEAD_BYTES: usize = 128;

/// How a coordinator works, beside its [`GroupSettings`].
#[derive(Debug, Clone, Copy)]
pub struct RuntimeOptions {
    /// `offsets.topic.num.partitions`: counts while the topic does not exist.
    pub partitions: i32,
    /// `offsets.topic.compression.codec`.
    pub codec: Codec,
    /// `offsets.load.buffer.size`.
    pub load_bytes: usize,
    /// `offsets.commit.timeout.ms`: how long an answer may wait for the replicas.
    pub commit_timeout: Duration,
}

/// A partition of `__consumer_offsets` that this broker leads.
pub struct Led {
    /// Which partition.
    pub index: i32,
    /// Id of the topic: one that was deleted and made again is another.
    pub topic: TopicId,
    /// The epoch in which this broker leads.
    pub epoch: LeaderEpoch,
    /// Its log.
    pub log: Arc<dyn CoordinatorLog>,
}

/// The group coordinator of this broker. Cheap to share; every question costs one short lock of one shard.
pub struct GroupCoordinator {
    shared: Arc<Shared>,
    /// By partition.
    shards: ArcSwap<BTreeMap<i32, Arc<LedShard>>>,
    changing: Mutex<()>,
    /// Partitions of the topic as it is; 0 while it does not exist.
    partitions: AtomicI32,
    /// Partitions that it will have.
    partitions_configured: i32,
}

impl GroupCoordinator {
    /// A coordinator that leads nothing yet. Must be called on the runtime on which it may wait and load.
    #[must_use]
    pub fn new(
        options: RuntimeOptions,
        settings: GroupSettings,
        image: Arc<ClusterImage>,
        clock: Clock,
    ) -> Arc<Self> {
        let runtime = tokio::runtime::Handle::current();
        Arc::new(Self {
            shared: Arc::new(Shared::new(clock, settings, image, options, runtime)),
            shards: ArcSwap::default(),
            changing: Mutex::new(()),
            partitions: AtomicI32::new(0),
            partitions_configured: options.partitions,
        })
    }

    /// The partition of `__consumer_offsets` that keeps `group`: Kafka's partitioner, `abs(String.hashCode) mod partitions`.
    #[must_use]
    pub fn partition_of(&self, group: &str) -> i32 {
        let partitions = match self.partitions.load(Ordering::Acquire) {
            0 => self.partitions_configured,
            partitions => partitions,
        };
        partitioner::partition_of(group, partitions)
    }

    /// Asks the shard of `group`. The step is taken by the call, in the order of calls; the future waits until the answer may leave.
    ///
    /// # Errors
    /// NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS, COORDINATOR_NOT_AVAILABLE. UNKNOWN_SERVER_ERROR if what was asked for is too
    /// large for the log, as in Kafka.
    pub fn ask<A: Ask + 'static>(
        &self,
        group: &str,
        question: A,
    ) -> impl Future<Output = Result<A::Answer, ErrorCode>> + Send + 'static + use<A> {
        self.question(group, question.into_command(), A::from_answer)
    }

    /// Every group of every shard of this broker.
    ///
    /// # Errors
    /// COORDINATOR_LOAD_IN_PROGRESS while a shard loads.
    pub async fn list(&self) -> Result<Vec<ListedGroup>, ErrorCode> {
        let shards = self.shards.load_full();
        let asked: Vec<_> = shards.values().map(|shard| shard.ask(Command::List)).collect();
        let mut groups = Vec::new();
        for asked in asked {
            let listed = answer(asked, |answer| match answer {
                Answer::List(listed) => Some(listed),
                _ => None,
            });
            match listed.await {
                Ok(listed) => groups.extend(listed),
                // Its new leader lists them.
                Err(ErrorCode::NotCoordinator) => {}
                Err(code) => return Err(code),
            }
        }
        Ok(groups)
    }

    /// For DescribeGroups.
    ///
    /// # Errors
    /// As [`GroupCoordinator::ask`].
    pub fn describe_classic(
        &self,
        group: &str,
    ) -> impl Future<Output = Result<DescribedGroup, ErrorCode>> + Send + 'static + use<> {
        self.question(group, Command::DescribeClassic(group.into()), |answer| match answer {
            Answer::DescribeClassic(described) => Some(described),
            _ => None,
        })
    }

    /// For ConsumerGroupDescribe.
    ///
    /// # Errors
    /// As [`GroupCoordinator::ask`].
    pub fn describe_consumer(
        &self,
        group: &str,
    ) -> impl Future<Output = Result<DescribedConsumerGroup, ErrorCode>> + Send + 'static + use<> {
        self.question(group, Command::DescribeConsumer(group.into()), |answer| match answer {
            Answer::DescribeConsumer(described) => Some(described),
            _ => None,
        })
    }

    /// For DeleteGroups.
    ///
    /// # Errors
    /// As [`GroupCoordinator::ask`], and what the core says: GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP.
    pub fn delete_group(
        &self,
        group: &str,
    ) -> impl Future<Output = Result<(), ErrorCode>> + Send + 'static + use<> {
        let deleted = self.question(group, Command::DeleteGroup(group.into()), |answer| match answer {
            Answer::DeleteGroup(code) => Some(code),
            _ => None,
        });
        async move {
            match deleted.await? {
                ErrorCode::None => Ok(()),
                code => Err(code),
            }
        }
    }

    fn question<T>(
        &self,
        group: &str,
        command: Command,
        take: fn(Answer) -> Option<T>,
    ) -> impl Future<Output = Result<T, ErrorCode>> + Send + 'static + use<T>
    where
        T: 'static,
    {
        answer(self.submit(group, command), take)
    }

    fn submit(&self, group: &str, command: Command) -> Result<oneshot::Receiver<Reply>, ErrorCode> {
        let shards = self.shards.load();
        let Some(shard) = shards.get(&self.partition_of(group)) else {
            return Err(match self.partitions.load(Ordering::Acquire) {
                0 => ErrorCode::CoordinatorNotAvailable,
                _ => ErrorCode::NotCoordinator,
            });
        };
        if let Command::CommitOffsets(commit) = &command
            && commit_bytes(commit) > shard.batch_bytes_max()
        {
            return Ok(refuse_commit(commit));
        }
        shard.ask(command)
    }

    /// Takes over what this broker leads now: partitions that are new, or led in another epoch, are loaded; what is not here any more
    /// is dropped. `partitions` is the number of partitions of the topic, 0 if there is none.
    pub fn lead(&self, partitions: i32, led: Vec<Led>) {
        let _one_at_a_time = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.shards.load_full();
        let mut after = BTreeMap::new();
        for led in led {
            let same = before
                .get(&led.index)
                .filter(|shard| (shard.topic, shard.epoch) == (led.topic, led.epoch))
                .cloned();
            let shard = same.unwrap_or_else(|| {
                // ORDER: the old epoch ends before the new one begins to read (rule G2).
                if let Some(old) = before.get(&led.index) {
                    old.resign();
                }
                LedShard::begin(led.index, led.topic, led.epoch, led.log, Arc::clone(&self.shared))
            });
            after.insert(led.index, shard);
        }
        for (index, old) in before.iter() {
            if !after.contains_key(index) {
                old.resign();
            }
        }
        self.partitions.store(partitions, Ordering::Release);
        self.shards.store(Arc::new(after));
    }

    /// Tells every shard of a new image, if topics or brokers changed.
    pub fn image_changed(&self, image: &Arc<ClusterImage>) {
        let before = self.shared.image.swap(Arc::clone(image));
        if !same_entries(&before.topics, &image.topics) || !same_entries(&before.brokers, &image.brokers) {
            for shard in self.shards.load_full().values() {
                shard.image_changed();
            }
        }
    }

    /// Replaces the settings; they hold from the next step on.
    pub fn set_settings(&self, settings: GroupSettings) {
        self.shared.settings.store(Arc::new(settings));
    }

    /// Acts on deadlines until `stop`: sleeps until the earliest one of all shards, woken when an earlier one is set.
    pub async fn run_timers(self: Arc<Self>, stop: CancellationToken) {
        loop {
            let next = self.shared.alarm.next(|| self.next_deadline());
            let now = self.shared.now().elapsed_ms;
            if next <= now {
                self.tick(now);
                continue;
            }
            let sleep = Duration::from_millis(u64::try_from(next.saturating_sub(now)).unwrap_or(0));
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                () = self.shared.alarm.earlier() => {}
                () = tokio::time::sleep(sleep), if next != NEVER => {}
            }
        }
    }

    fn next_deadline(&self) -> i64 {
        self.shards.load().values().map(|shard| shard.deadline()).min().unwrap_or(NEVER)
    }

    fn tick(&self, now: i64) {
        for shard in self.shards.load_full().values().filter(|shard| shard.deadline() <= now) {
            shard.tick();
        }
    }

    /// The broker stops: no more questions; those that wait for other members are answered NOT_COORDINATOR. What is on its way to the
    /// log is still answered.
    pub fn stop(&self) {
        self.shared.stop();
        for shard in self.shards.load_full().values() {
            shard.end_parked();
        }
    }

    /// Drops everything.
    pub fn step_down(&self) {
        self.lead(self.partitions.load(Ordering::Acquire), Vec::new());
    }

    /// Lets `look` see the core of each loaded shard, under its lock: it must be short.
    pub fn look(&self, mut look: impl FnMut(&GroupShard)) {
        for shard in self.shards.load_full().values() {
            shard.look(&mut look);
        }
    }

    /// How many shards there are, and how many of them are loaded.
    #[must_use]
    pub fn shard_counts(&self) -> (usize, usize) {
        let shards = self.shards.load();
        let loaded = shards.values().filter(|shard| shard.look(|_| ()).is_some()).count();
        (shards.len(), loaded)
    }

    /// What was counted since the start.
    #[must_use]
    pub fn totals(&self) -> Totals {
        self.shared.numbers.totals()
    }
}

/// Waits for the reply to what was asked and takes the answer out.
async fn answer<T>(
    asked: Result<oneshot::Receiver<Reply>, ErrorCode>,
    take: fn(Answer) -> Option<T>,
) -> Result<T, ErrorCode> {
    // A sender that is dropped unsent: the shard is gone.
    let reply = asked?.await.unwrap_or(Err(ErrorCode::NotCoordinator))?;
    take(reply).ok_or_else(|| {
        error!("a group shard answered another question than was asked");
        ErrorCode::UnknownServerError
    })
}

/// The most that the records of a commit can take: a topic is named once in the request, but in every record.
fn commit_bytes(commit: &OffsetCommit) -> usize {
    let topics = commit.topics.iter().map(|topic| {
        let each = COMMIT_OVERHEAD_BYTES + commit.group.len() + topic.name.len();
        let metadata: usize = topic.partitions.iter().map(|partition| partition.metadata.len()).sum();
        each.saturating_mul(topic.partitions.len()).saturating_add(metadata)
    });
    topics.fold(0, usize::saturating_add)
}

/// A commit whose records would not fit into the log, refused before it changes anything.
fn refuse_commit(commit: &OffsetCommit) -> oneshot::Receiver<Reply> {
    let code = ErrorCode::InvalidCommitOffsetSize;
    let topics = commit.topics.iter().map(|topic| {
        (topic.name.clone(), topic.partitions.iter().map(|partition| (partition.index, code)).collect())
    });
    let (sender, receiver) = oneshot::channel();
    let _ = sender.send(Ok(Answer::CommitOffsets(topics.collect())));
    receiver
}

fn same_entries<K: Ord, V>(a: &BTreeMap<K, Arc<V>>, b: &BTreeMap<K, Arc<V>>) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|((ka, va), (kb, vb))| ka == kb && Arc::ptr_eq(va, vb))
}
