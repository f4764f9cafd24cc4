//! A cluster of a few brokers and one partition to decide in: what etcd holds, as an image, and what it says to a change.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::election::{Ballot, ElectionRules, HandOver, ballot, hand_over};
use super::leader::{Leader, Rules};
use crate::metadata::PartitionOutcome;
use crate::metadata::image::{ClusterImage, PartitionImage, ReplicaEntry};
use crate::metadata::txn::partitions::{PartitionChange, Reliance};
use crate::types::seeded::{Bug, sow};
use crate::types::{BrokerEpoch, BrokerId, ControllerEpoch, Offset, PartitionEpoch, TopicId};

/// `replica.lag.time.max.ms` of all tests.
pub const LAG_MAX: Duration = Duration::from_secs(30);

/// What etcd holds. A clone of [`World::image`] is what a broker that is behind still sees.
#[derive(Debug, Clone)]
pub struct World {
    pub image: ClusterImage,
    pub revision: i64,
}

pub fn topic() -> TopicId {
    "ASNFZ4mrze_-3LqYdlQyEA".parse().unwrap()
}

pub fn id(raw: i32) -> BrokerId {
    BrokerId(raw)
}

pub fn entry(raw: i32, epoch: i64) -> ReplicaEntry {
    ReplicaEntry { id: BrokerId(raw), epoch: BrokerEpoch(epoch) }
}

pub fn at(raw: i64) -> Offset {
    Offset::new(raw).unwrap()
}

pub const fn secs(raw: u64) -> Duration {
    Duration::from_secs(raw)
}

pub fn unknown() -> PartitionOutcome {
    PartitionOutcome::Unknown { why: "test".to_owned() }
}

pub fn ids(entries: &[ReplicaEntry]) -> Vec<i32> {
    entries.iter().map(|entry| entry.id.get()).collect()
}

/// Runs `test`, which must pass, and then without the guard of each of `bugs`, where it must fail.
pub fn guarded(bugs: &[Bug], test: impl Fn()) {
    sow(None);
    test();
    for bug in bugs {
        sow(Some(*bug));
        let passed = catch_unwind(AssertUnwindSafe(&test)).is_ok();
        sow(None);
        assert!(!passed, "the test passes without the guard of {bug:?}");
    }
}

impl World {
    /// Brokers `replicas` registered at revisions 1, 2, ... as brokers whose data begins with that, and the partition assigned to
    /// them: no record, the first one leads.
    pub fn new(replicas: &[i32]) -> Self {
        let mut world = Self { image: ClusterImage::default(), revision: 0 };
        let isr: Vec<ReplicaEntry> = replicas.iter().map(|id| world.register(*id, false)).collect();
        let state = PartitionImage {
            replicas: replicas.iter().map(|id| BrokerId(*id)).collect(),
            leader: isr.first().copied(),
            isr,
            ..PartitionImage::assigned(Vec::new())
        };
        world.revision += 1;
        world.image.put_topic(topic(), world.revision, vec![state]);
        world
    }

    /// As [`World::new`], with a record that `edit` changed.
    pub fn with(replicas: &[i32], edit: impl FnOnce(&mut PartitionImage)) -> Self {
        let mut world = Self::new(replicas);
        world.write(edit);
        world
    }

    /// A broker registers; `intact`: it lost nothing since its last registration.
    pub fn register(&mut self, raw: i32, intact: bool) -> ReplicaEntry {
        self.revision += 1;
        let entry = entry(raw, self.revision);
        self.image.put_broker(entry);
        if !intact {
            self.image.intact.insert(entry.id, entry.epoch);
        }
        entry
    }

    /// A broker's session ends.
    pub fn leaves(&mut self, raw: i32) {
        self.revision += 1;
        self.image.brokers.remove(&BrokerId(raw));
    }

    /// A broker's session ends and it registers again.
    pub fn restarts(&mut self, raw: i32, intact: bool) -> ReplicaEntry {
        self.leaves(raw);
        self.register(raw, intact)
    }

    /// A broker raises its flags.
    pub fn flags(&mut self, raw: i32, draining: bool, stopping: bool) {
        self.revision += 1;
        let broker = Arc::make_mut(self.image.brokers.get_mut(&BrokerId(raw)).unwrap());
        (broker.draining, broker.stopping, broker.mod_revision) = (draining, stopping, self.revision);
    }

    /// The broker's present lifetime.
    pub fn me(&self, raw: i32) -> ReplicaEntry {
        ReplicaEntry { id: BrokerId(raw), epoch: self.image.brokers[&BrokerId(raw)].epoch }
    }

    pub fn state(&self) -> &Arc<PartitionImage> {
        &self.image.topics[&topic()].partitions[0]
    }

    /// Writes the record.
    pub fn write(&mut self, edit: impl FnOnce(&mut PartitionImage)) {
        self.revision += 1;
        let topic = Arc::make_mut(self.image.topics.get_mut(&topic()).unwrap());
        let state = Arc::make_mut(&mut topic.partitions[0]);
        edit(state);
        state.partition_epoch = PartitionEpoch(self.revision);
    }

    /// The compare behind a reliance.
    pub fn holds(&self, reliance: &Reliance) -> bool {
        let created = |id: BrokerId| self.image.brokers.get(&id).map_or(0, |live| live.epoch.get());
        let intact = |id: BrokerId| self.image.intact.get(&id).map_or(0, |since| since.get());
        match *reliance {
            Reliance::Over(entry) => created(entry.id) != entry.epoch.get(),
            Reliance::Lives(entry) => created(entry.id) == entry.epoch.get(),
            Reliance::Intact(entry) => intact(entry.id) < entry.epoch.get() + 1,
            Reliance::Refuted(entry) => intact(entry.id) > entry.epoch.get(),
            Reliance::Unchanged { broker, mod_revision } => {
                self.image.brokers.get(&broker).map_or(0, |live| live.mod_revision) == mod_revision
            }
            Reliance::Controls { lease, epoch } => {
                let create = self.image.candidates.get(&lease).map_or(ControllerEpoch(0), |c| c.epoch);
                create == epoch
            }
        }
    }

    /// Whether etcd would take `change`.
    pub fn takes(&self, change: &PartitionChange) -> bool {
        change.read == self.state().partition_epoch
            && (change.read.get() != 0 || change.topic_revision == self.image.topics[&topic()].mod_revision)
            && change.relies_on.iter().all(|reliance| self.holds(reliance))
    }

    /// What etcd does with `change`.
    pub fn submit(&mut self, change: &PartitionChange) -> PartitionOutcome {
        if !self.takes(change) {
            return PartitionOutcome::Rejected;
        }
        let value = change.value.value.clone();
        self.write(|state| {
            *state = PartitionImage {
                replicas: value.replicas,
                leader: value.leader,
                leader_epoch: value.leader_epoch,
                isr: value.isr,
                elr: value.elr,
                last_known_leader: value.last_known_leader,
                adding: value.adding,
                removing: value.removing,
                recovering: value.recovering,
                why: value.why,
                partition_epoch: state.partition_epoch,
            };
        });
        PartitionOutcome::Written(PartitionEpoch(self.revision))
    }

    /// The core of broker `raw`, which leads, over a log of these offsets, at second 0.
    pub fn leader(&self, raw: i32, min_isr: usize, log_end: i64, high_watermark: i64) -> Leader {
        let me = self.me(raw);
        Leader::new(
            me,
            self.state(),
            &self.image,
            rules(min_isr),
            at(log_end),
            at(high_watermark),
            Duration::ZERO,
        )
    }

    /// `leader` takes the present image.
    pub fn show(&self, leader: &mut Leader, min_isr: usize, now: Duration) {
        leader.observe(self.state(), &self.image, rules(min_isr), now);
    }

    /// What `leader` wants to change.
    pub fn wants(&self, leader: &Leader, now: Duration) -> Option<PartitionChange> {
        leader.propose(topic(), 0, &self.image, now)
    }

    /// `leader` proposes, etcd answers, the image comes.
    pub fn changes(&mut self, leader: &mut Leader, min_isr: usize, now: Duration) -> PartitionOutcome {
        let change = self.wants(leader, now).expect("the leader wants a change");
        leader.sent(&change);
        let outcome = self.submit(&change);
        leader.outcome(&outcome);
        self.show(leader, min_isr, now);
        outcome
    }

    /// Broker `raw`'s ballot by this image.
    pub fn ballot(&self, raw: i32, min_isr: usize) -> Option<Ballot> {
        self.ballot_of(self.me(raw), min_isr, false)
    }

    pub fn ballot_of(&self, me: ReplicaEntry, min_insync_replicas: usize, unclean: bool) -> Option<Ballot> {
        ballot(&self.image, topic(), 0, me, ElectionRules { min_insync_replicas, unclean })
    }

    /// The present leader hands over to `to`.
    pub fn hand_over(&self, to: i32, leaving: Option<i32>, min_isr: usize) -> Option<PartitionChange> {
        let sender = Reliance::Lives(self.state().leader.unwrap());
        let leaving = leaving.map(BrokerId);
        let order = HandOver { to: BrokerId(to), sender, leaving, min_insync_replicas: min_isr, why: "test" };
        hand_over(&self.image, topic(), 0, order)
    }
}

pub const fn rules(min_insync_replicas: usize) -> Rules {
    Rules { min_insync_replicas, lag_max: LAG_MAX }
}
