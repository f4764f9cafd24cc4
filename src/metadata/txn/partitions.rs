//! Changes of partition records, packed into as few transactions as etcd's bounds allow: pure.
//!
//! A ballot, a hand-over and an ISR change are all the same shape (rule E1): the record under a compare of the `mod_revision` read,
//! plus what the change relies on. The replication room decides what to write and what to rely on; here it is only packed.

use std::collections::BTreeSet;

use crate::metadata::image::ReplicaEntry;
use crate::metadata::keys::{Key, Keys, PartitionValue, Record};
use crate::types::seeded::{Bug, seeded};
use crate::types::{BrokerId, ControllerEpoch, PartitionEpoch, TopicId};

use super::{BYTES_MAX, COMPARES_MAX, Guard, GuardedTxn, OPERATIONS_MAX};

/// What a change of a partition relies on, besides the record itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reliance {
    /// That lifetime is over: the broker is dead, or lives anew.
    Over(ReplicaEntry),
    /// That lifetime goes on.
    Lives(ReplicaEntry),
    /// That lifetime's data is not refuted: nothing was lost since.
    Intact(ReplicaEntry),
    /// That lifetime's data is refuted.
    Refuted(ReplicaEntry),
    /// The registration stands as it was read, flags included: the broker lives on and does not stop (KIP-841, KIP-903).
    Unchanged {
        /// The broker.
        broker: BrokerId,
        /// `mod_revision` of its registration.
        mod_revision: i64,
    },
    /// The sender is still the controller (rule E2).
    Controls {
        /// The lease of its candidacy.
        lease: i64,
        /// `create_revision` of its candidate key.
        epoch: ControllerEpoch,
    },
}

/// A change of one partition's record.
#[derive(Debug, Clone, PartialEq)]
pub struct PartitionChange {
    /// The topic.
    pub topic: TopicId,
    /// The partition.
    pub partition: i32,
    /// The partition epoch that the change was decided on.
    pub read: PartitionEpoch,
    /// The topic's `mod_revision`, compared while the partition has no record of its own.
    pub topic_revision: i64,
    /// What the record is to be.
    pub value: Record<PartitionValue>,
    /// What must hold.
    pub relies_on: Vec<Reliance>,
}

/// Writes nothing: it succeeds if the records of these partitions are those that were read. At most [`COMPARES_MAX`].
#[must_use]
pub fn partitions_stand(keys: &Keys, topic: TopicId, partitions: &[(i32, PartitionEpoch)]) -> GuardedTxn {
    let txn = GuardedTxn::new("comparison of partitions");
    partitions.iter().fold(txn, |txn, (partition, epoch)| {
        txn.when(Guard::ChangedAt(keys.bytes(&Key::Partition(topic, *partition)), epoch.get()))
    })
}

/// Packs changes into transactions: per transaction the indexes of its changes, in order.
///
/// Guards that several changes share are counted, and sent, once. A change that does not fit into any transaction stands alone and
/// fails [`GuardedTxn::check`].
#[must_use]
pub fn pack(keys: &Keys, changes: &[PartitionChange]) -> Vec<Vec<usize>> {
    let mut packs: Vec<Vec<usize>> = Vec::new();
    let mut guards: BTreeSet<Vec<u8>> = BTreeSet::new();
    let mut bytes = 0;
    for (index, change) in changes.iter().enumerate() {
        let own: Vec<(Vec<u8>, usize)> = guards_of(keys, change).iter().map(identity).collect();
        let put =
            keys.bytes(&Key::Partition(change.topic, change.partition)).len() + change.value.encode().len();
        let new = own.iter().filter(|(guard, _)| !guards.contains(guard));
        let (more_guards, more_bytes) = new.fold((0, put), |(count, sum), (_, size)| (count + 1, sum + size));
        let fits = packs.last().is_some_and(|pack| {
            guards.len() + more_guards <= COMPARES_MAX
                && pack.len() < OPERATIONS_MAX
                && bytes + more_bytes <= BYTES_MAX
        });
        if fits && let Some(pack) = packs.last_mut() {
            pack.push(index);
            bytes += more_bytes;
        } else {
            packs.push(vec![index]);
            guards.clear();
            bytes = put + own.iter().map(|(_, size)| size).sum::<usize>();
        }
        guards.extend(own.into_iter().map(|(guard, _)| guard));
    }
    packs
}

/// One transaction of several changes.
#[must_use]
pub fn change_partitions<'c>(
    keys: &Keys,
    changes: impl IntoIterator<Item = &'c PartitionChange>,
) -> GuardedTxn {
    let mut txn = GuardedTxn::new("change of partitions");
    let mut seen = BTreeSet::new();
    for change in changes {
        for guard in guards_of(keys, change) {
            if seen.insert(identity(&guard).0) {
                txn = txn.when(guard);
            }
        }
        txn = txn.put(keys.bytes(&Key::Partition(change.topic, change.partition)), change.value.encode());
    }
    txn
}

fn guards_of(keys: &Keys, change: &PartitionChange) -> Vec<Guard> {
    let record = keys.bytes(&Key::Partition(change.topic, change.partition));
    let mut guards = vec![Guard::ChangedAt(record, change.read.get())];
    if seeded(Bug::E1NoCompare) {
        guards.clear();
    } else if change.read.get() == 0 {
        // As assigned: then the assignment is what was read.
        guards.push(Guard::ChangedAt(keys.bytes(&Key::TopicById(change.topic)), change.topic_revision));
    }
    guards.extend(change.relies_on.iter().map(|reliance| match reliance {
        Reliance::Over(entry) => {
            Guard::NotCreatedAt(keys.bytes(&Key::BrokerLive(entry.id)), entry.epoch.get())
        }
        Reliance::Lives(entry) => Guard::CreatedAt(keys.bytes(&Key::BrokerLive(entry.id)), entry.epoch.get()),
        Reliance::Intact(entry) => Guard::ChangedBefore(
            keys.bytes(&Key::BrokerIntact(entry.id)),
            entry.epoch.get().saturating_add(1),
        ),
        Reliance::Refuted(entry) => {
            Guard::ChangedAfter(keys.bytes(&Key::BrokerIntact(entry.id)), entry.epoch.get())
        }
        Reliance::Unchanged { broker, mod_revision } => {
            Guard::ChangedAt(keys.bytes(&Key::BrokerLive(*broker)), *mod_revision)
        }
        Reliance::Controls { lease, epoch } => {
            Guard::CreatedAt(keys.bytes(&Key::Candidate(*lease)), epoch.get())
        }
    }));
    guards
}

/// What makes two guards the same one, and how many bytes it takes.
fn identity(guard: &Guard) -> (Vec<u8>, usize) {
    let (kind, key, revision) = match guard {
        Guard::CreatedAt(key, revision) => (0, key, *revision),
        Guard::NotCreatedAt(key, revision) => (1, key, *revision),
        Guard::ChangedAt(key, revision) => (2, key, *revision),
        Guard::ChangedBefore(key, revision) => (3, key, *revision),
        Guard::ChangedAfter(key, revision) => (4, key, *revision),
        Guard::Exists(key) | Guard::Is(key, _) => (5, key, 0),
    };
    let mut identity = vec![kind];
    identity.extend_from_slice(&revision.to_be_bytes());
    identity.extend_from_slice(key);
    (identity, key.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::{BrokerEpoch, LeaderEpoch};

    fn change(partition: i32, read: i64, relies_on: Vec<Reliance>) -> PartitionChange {
        let value = PartitionValue {
            leader: None,
            leader_epoch: LeaderEpoch(1),
            isr: vec![],
            elr: vec![],
            last_known_leader: None,
            replicas: vec![],
            adding: vec![],
            removing: vec![],
            recovering: false,
            why: String::new(),
        };
        PartitionChange {
            topic: "ASNFZ4mrze_-3LqYdlQyEA".parse().unwrap(),
            partition,
            read: PartitionEpoch(read),
            topic_revision: 5,
            value: Record::new(value),
            relies_on,
        }
    }

    fn entry(id: i32) -> ReplicaEntry {
        ReplicaEntry { id: BrokerId(id), epoch: BrokerEpoch(9) }
    }

    #[test]
    fn a_ballot_compares_the_record_the_old_leader_and_the_new_one() {
        let keys = Keys::under("/k");
        let ballot = change(
            1,
            0,
            vec![Reliance::Over(entry(1)), Reliance::Lives(entry(2)), Reliance::Intact(entry(2))],
        );
        let txn = change_partitions(&keys, [&ballot]);
        let key = |text: &str| format!("/k/{text}").into_bytes();
        assert_eq!(
            txn.guards,
            [
                Guard::ChangedAt(key("partitions/ASNFZ4mrze_-3LqYdlQyEA/0000000001"), 0),
                Guard::ChangedAt(key("topics/id/ASNFZ4mrze_-3LqYdlQyEA"), 5),
                Guard::NotCreatedAt(key("brokers/live/1"), 9),
                Guard::CreatedAt(key("brokers/live/2"), 9),
                Guard::ChangedBefore(key("brokers/intact/2"), 10),
            ]
        );
        assert_eq!(txn.operations.len(), 1);
    }

    #[test]
    fn shared_guards_are_counted_once_and_every_pack_fits() {
        let keys = Keys::under("/k");
        let relies_on = vec![Reliance::Over(entry(1)), Reliance::Lives(entry(2)), Reliance::Intact(entry(2))];
        for (read, expected) in [(0, 116), (7, 117)] {
            let changes: Vec<_> = (0..1_000).map(|n| change(n, read, relies_on.clone())).collect();
            let packs = pack(&keys, &changes);
            assert_eq!(packs[0].len(), expected);
            assert_eq!(packs.concat(), (0..1_000).collect::<Vec<_>>());
            for pack in packs {
                let txn = change_partitions(&keys, pack.iter().map(|index| &changes[*index]));
                assert_eq!(txn.check(), Ok(()));
            }
        }
    }

    #[test]
    fn large_records_are_packed_by_their_bytes() {
        let keys = Keys::under("/k");
        let mut large = change(0, 7, vec![]);
        large.value.value.why = "x".repeat(300_000);
        let changes: Vec<_> = (0..4).map(|n| PartitionChange { partition: n, ..large.clone() }).collect();
        assert_eq!(pack(&keys, &changes), [vec![0, 1, 2], vec![3]]);
    }
}
