//! The transactions of the cluster, as data: which compares carry which change. Nothing here does I/O.

use uuid::Uuid;

use crate::metadata::image::{ConfigEntity, ReplicaEntry};
use crate::metadata::keys::{
    AuditValue, AutoIdValue, BrokerLastValue, BrokerLiveValue, BrokerMetaValue, CandidateValue, ClusterValue,
    ConfigValue, Key, Keys, ProducerIdsValue, Record, TopicNameValue, TopicValue,
};
use crate::types::seeded::{Bug, seeded};
use crate::types::{BrokerEpoch, BrokerId, ControllerEpoch, TopicId};

use super::{Guard, GuardedTxn};

/// What a registration finds in `cluster`.
#[derive(Debug, Clone, PartialEq)]
pub enum ClusterKey {
    /// Nothing: this registration creates it.
    Absent(Record<ClusterValue>),
    /// These bytes, and the registration holds only if they still stand.
    Stands(Vec<u8>),
}

/// Registers a broker under its lease (rule E3). The key `intact/<id>` is put when data may have been lost since the last
/// registration (rule B2). A rejection reads who holds the id.
#[must_use]
pub fn register(
    keys: &Keys,
    id: BrokerId,
    value: &Record<BrokerLiveValue>,
    lease: i64,
    data_may_be_lost: bool,
    cluster: ClusterKey,
) -> GuardedTxn {
    let live = keys.bytes(&Key::BrokerLive(id));
    let cluster_key = keys.bytes(&Key::Cluster);
    let mut txn = GuardedTxn::new(format!("registration of broker {id}"))
        .when(Guard::CreatedAt(live.clone(), 0))
        .put_leased(live.clone(), value.encode(), lease)
        .or_read(live)
        .or_read(cluster_key.clone());
    txn = match cluster {
        ClusterKey::Absent(record) => {
            txn.when(Guard::CreatedAt(cluster_key.clone(), 0)).put(cluster_key, record.encode())
        }
        ClusterKey::Stands(bytes) => txn.when(Guard::Is(cluster_key, bytes)),
    };
    if data_may_be_lost && !seeded(Bug::B2Ignored) {
        txn = txn.put(keys.bytes(&Key::BrokerIntact(id)), Vec::new());
    }
    txn
}

/// Writes what outlives the registration of a broker: the broker itself, while that registration stands.
#[must_use]
pub fn put_broker_meta(
    keys: &Keys,
    id: BrokerId,
    value: &Record<BrokerMetaValue>,
    read: i64,
    epoch: BrokerEpoch,
) -> GuardedTxn {
    let meta = keys.bytes(&Key::BrokerMeta(id));
    GuardedTxn::new(format!("address of broker {id}"))
        .when(Guard::CreatedAt(keys.bytes(&Key::BrokerLive(id)), epoch.get()))
        .when(Guard::ChangedAt(meta.clone(), read))
        .put(meta, value.encode())
}

/// Forgets a broker that is not registered. What its data is worth (`intact/<id>`) and its number (`ids/<id>`) stay: both are
/// never used again for anybody else.
#[must_use]
pub fn forget_broker(keys: &Keys, id: BrokerId, read: i64) -> GuardedTxn {
    let meta = keys.bytes(&Key::BrokerMeta(id));
    GuardedTxn::new(format!("end of broker {id}"))
        .when(Guard::CreatedAt(keys.bytes(&Key::BrokerLive(id)), 0))
        .when(Guard::ChangedAt(meta.clone(), read))
        .delete(meta)
}

/// Stores a registration anew with other flags, under the lease that it has: the epoch stays, `mod_revision` moves. `read_revision` is
/// the `mod_revision` of the very registration that was read, so a lifetime that ended cannot be brought back. A rejection reads it.
#[must_use]
pub fn change_registration(
    keys: &Keys,
    id: BrokerId,
    value: &Record<BrokerLiveValue>,
    lease: i64,
    epoch: BrokerEpoch,
    read_revision: i64,
) -> GuardedTxn {
    let live = keys.bytes(&Key::BrokerLive(id));
    GuardedTxn::new(format!("flags of broker {id}"))
        .when(Guard::CreatedAt(live.clone(), epoch.get()))
        .when(Guard::ChangedAt(live.clone(), read_revision))
        .put_leased(live.clone(), value.encode(), lease)
        .or_read(live)
}

/// Ends a lifetime whose process is known to be dead, before its lease does. `candidacy`: the lease of its candidate key, if it has one.
/// Its lease is left to end by itself. A rejection reads who is registered now.
#[must_use]
pub fn end_session(keys: &Keys, entry: ReplicaEntry, candidacy: Option<i64>) -> GuardedTxn {
    let live = keys.bytes(&Key::BrokerLive(entry.id));
    let mut txn = GuardedTxn::new(format!("end of the session of broker {}", entry.id))
        .when(Guard::CreatedAt(live.clone(), entry.epoch.get()))
        .delete(live.clone())
        .or_read(live);
    if let Some(lease) = candidacy {
        txn = txn.delete(keys.bytes(&Key::Candidate(lease)));
    }
    txn
}

/// Enters the election of the controller. Only a registered broker can (rule E2).
#[must_use]
pub fn candidacy(keys: &Keys, id: BrokerId, epoch: BrokerEpoch, lease: i64) -> GuardedTxn {
    let candidate = keys.bytes(&Key::Candidate(lease));
    let value = Record::new(CandidateValue { broker: id, broker_epoch: epoch });
    GuardedTxn::new(format!("candidacy of broker {id}"))
        .when(Guard::CreatedAt(keys.bytes(&Key::BrokerLive(id)), epoch.get()))
        .when(Guard::CreatedAt(candidate.clone(), 0))
        .put_leased(candidate.clone(), value.encode(), lease)
        .or_read(candidate)
}

/// Adds the controller's own fence to a change: a zombie controller cannot write (rule E2).
#[must_use]
pub fn as_controller(txn: GuardedTxn, keys: &Keys, lease: i64, epoch: ControllerEpoch) -> GuardedTxn {
    txn.when(Guard::CreatedAt(keys.bytes(&Key::Candidate(lease)), epoch.get()))
}

/// Makes a registration the last one of its broker, whose last one so far was at `last_revision` (0: none).
#[must_use]
pub fn as_last_lifetime(
    txn: GuardedTxn,
    keys: &Keys,
    id: BrokerId,
    incarnation: Uuid,
    last_revision: i64,
) -> GuardedTxn {
    let last = keys.bytes(&Key::BrokerLast(id));
    let value = Record::new(BrokerLastValue { incarnation });
    txn.when(Guard::ChangedAt(last.clone(), last_revision)).put(last, value.encode())
}

/// Takes an automatic node id: one that was never given out, and under which no broker ever registered.
#[must_use]
pub fn take_node_id(keys: &Keys, id: BrokerId, value: &Record<AutoIdValue>) -> GuardedTxn {
    let key = keys.bytes(&Key::BrokerAutoId(id));
    GuardedTxn::new("automatic node id")
        .when(Guard::CreatedAt(key.clone(), 0))
        .when(Guard::CreatedAt(keys.bytes(&Key::BrokerLast(id)), 0))
        .put(key, value.encode())
}

/// Most brokers whose lifetime one creation compares; more are left to the election rules.
pub const BROKERS_COMPARED_MAX: usize = 100;

/// Creates a topic of any size: its name, its value, its configuration if it has any. A rejection reads the name.
#[must_use]
pub fn create_topic(
    keys: &Keys,
    id: TopicId,
    value: &Record<TopicValue>,
    brokers: &[ReplicaEntry],
    configs: Option<&Record<ConfigValue>>,
) -> GuardedTxn {
    let name = &value.value.name;
    let by_name = keys.bytes(&Key::TopicByName(name.clone()));
    let by_id = keys.bytes(&Key::TopicById(id));
    let config = keys.bytes(&Key::Config(ConfigEntity::Topic(name.clone())));
    let mut txn = GuardedTxn::new(format!("creation of topic {name}"))
        .when(Guard::CreatedAt(by_name.clone(), 0))
        .when(Guard::CreatedAt(by_id.clone(), 0))
        .put(by_name.clone(), Record::new(TopicNameValue { id }).encode())
        .put(by_id, value.encode())
        .or_read(by_name);
    for entry in brokers.iter().take(BROKERS_COMPARED_MAX) {
        txn = txn.when(Guard::CreatedAt(keys.bytes(&Key::BrokerLive(entry.id)), entry.epoch.get()));
    }
    if let Some(configs) = configs {
        txn = txn.put(config, configs.encode());
    }
    txn
}

/// Replaces a topic's value, e.g. with more partitions. `brokers`: lifetimes that it names newly.
#[must_use]
pub fn change_topic(
    keys: &Keys,
    id: TopicId,
    value: &Record<TopicValue>,
    read_revision: i64,
    brokers: &[ReplicaEntry],
) -> GuardedTxn {
    let by_id = keys.bytes(&Key::TopicById(id));
    let mut txn = GuardedTxn::new(format!("change of topic {}", value.value.name))
        .when(Guard::ChangedAt(by_id.clone(), read_revision))
        .put(by_id, value.encode());
    for entry in brokers.iter().take(BROKERS_COMPARED_MAX) {
        txn = txn.when(Guard::CreatedAt(keys.bytes(&Key::BrokerLive(entry.id)), entry.epoch.get()));
    }
    txn
}

/// Begins a topic's deletion: the name is free at once, the value stays with `deleting` until all brokers removed their logs.
/// `value` is the value as read; `name_revision` and `id_revision` are the two keys' `mod_revision`.
#[must_use]
pub fn delete_topic(
    keys: &Keys,
    id: TopicId,
    mut value: Record<TopicValue>,
    name_revision: i64,
    id_revision: i64,
) -> GuardedTxn {
    let name = value.value.name.clone();
    let by_name = keys.bytes(&Key::TopicByName(name.clone()));
    let by_id = keys.bytes(&Key::TopicById(id));
    value.value.deleting = true;
    GuardedTxn::new(format!("deletion of topic {name}"))
        .when(Guard::ChangedAt(by_name.clone(), name_revision))
        .when(Guard::ChangedAt(by_id.clone(), id_revision))
        .delete(by_name)
        .put(by_id, value.encode())
        .delete_prefix(keys.partitions_of(id))
        .delete(keys.bytes(&Key::Config(ConfigEntity::Topic(name))))
}

/// Ends a topic's deletion: its last key goes.
#[must_use]
pub fn finish_topic_deletion(keys: &Keys, id: TopicId, id_revision: i64) -> GuardedTxn {
    let by_id = keys.bytes(&Key::TopicById(id));
    GuardedTxn::new(format!("end of the deletion of topic {id}"))
        .when(Guard::ChangedAt(by_id.clone(), id_revision))
        .delete(by_id)
        .delete_prefix(keys.partitions_of(id))
}

/// Replaces an entity's dynamic configuration; without entries its key goes. A topic's must exist.
#[must_use]
pub fn change_config(
    keys: &Keys,
    entity: &ConfigEntity,
    value: &Record<ConfigValue>,
    read_revision: i64,
) -> GuardedTxn {
    let key = keys.bytes(&Key::Config(entity.clone()));
    let mut txn = GuardedTxn::new(format!("configuration of {entity:?}"))
        .when(Guard::ChangedAt(key.clone(), read_revision));
    if let ConfigEntity::Topic(name) = entity {
        let by_name = keys.bytes(&Key::TopicByName(name.clone()));
        txn = txn.when(Guard::Exists(by_name.clone())).or_read(by_name);
    }
    if value.value.entries.is_empty() && value.unknown.is_empty() {
        txn.delete(key)
    } else {
        txn.put(key, value.encode())
    }
}

/// Takes the block that ends at `next` (rule T11).
#[must_use]
pub fn take_producer_ids(keys: &Keys, value: &Record<ProducerIdsValue>, read_revision: i64) -> GuardedTxn {
    let key = keys.bytes(&Key::ProducerIds);
    GuardedTxn::new("block of producer ids")
        .when(Guard::ChangedAt(key.clone(), read_revision))
        .put(key, value.encode())
}

/// Appends audit entries numbered from `first`, and drops all before `keep_from`.
#[must_use]
pub fn append_audit(keys: &Keys, first: u64, entries: &[Record<AuditValue>], keep_from: u64) -> GuardedTxn {
    let mut txn = GuardedTxn::new("audit entries");
    for (n, entry) in (first..).zip(entries) {
        let key = keys.bytes(&Key::Audit(n));
        txn = txn.when(Guard::CreatedAt(key.clone(), 0)).put(key, entry.encode());
    }
    if keep_from > 0 {
        txn = txn.delete_range(keys.audit_entries(), keys.bytes(&Key::Audit(keep_from)));
    }
    txn
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::keys::EpochsFrom;
    use crate::metadata::txn::Operation;
    use crate::types::TopicName;

    fn topic(deleting: bool) -> Record<TopicValue> {
        Record::new(TopicValue {
            name: TopicName::new("t").unwrap(),
            created_ms: 1,
            assignment: vec![vec![BrokerId(1)]; 3],
            epochs: vec![EpochsFrom { from: 0, brokers: vec![] }],
            deleting,
            remaining: vec![],
        })
    }

    fn id() -> TopicId {
        "ASNFZ4mrze_-3LqYdlQyEA".parse().unwrap()
    }

    fn text(bytes: &[u8]) -> String {
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    /// Guards and operations as lines.
    fn script(txn: &GuardedTxn) -> Vec<String> {
        let guards = txn.guards.iter().map(|guard| match guard {
            Guard::CreatedAt(key, revision) => format!("created {} = {revision}", text(key)),
            Guard::NotCreatedAt(key, revision) => format!("created {} != {revision}", text(key)),
            Guard::Exists(key) => format!("exists {}", text(key)),
            Guard::ChangedAt(key, revision) => format!("changed {} = {revision}", text(key)),
            Guard::ChangedBefore(key, revision) => format!("changed {} < {revision}", text(key)),
            Guard::ChangedAfter(key, revision) => format!("changed {} > {revision}", text(key)),
            Guard::Is(key, value) => format!("value {} = {}", text(key), text(value)),
        });
        let operations = txn.operations.iter().map(|operation| match operation {
            Operation::Put { key, lease, .. } => format!("put {} lease {lease}", text(key)),
            Operation::DeleteRange { from, to } => format!("delete {} .. {}", text(from), text(to)),
        });
        guards.chain(operations).collect()
    }

    fn registration() -> Record<BrokerLiveValue> {
        Record::new(BrokerLiveValue {
            incarnation: uuid::Uuid::from_u128(1),
            boot_id: String::new(),
            host: String::new(),
            endpoints: vec![],
            rack: None,
            directories: vec![],
            version: String::new(),
            draining: false,
            stopping: false,
        })
    }

    #[test]
    fn a_registration_is_guarded_by_its_absence_and_the_cluster() {
        let value = registration();
        let keys = Keys::under("/k");
        let txn = register(&keys, BrokerId(1), &value, 77, true, ClusterKey::Stands(b"x".to_vec()));
        assert_eq!(
            script(&txn),
            [
                "created /k/brokers/live/1 = 0",
                "value /k/cluster = x",
                "put /k/brokers/live/1 lease 77",
                "put /k/brokers/intact/1 lease 0"
            ]
        );
        let cluster = Record::new(ClusterValue {
            cluster_id: "c".into(),
            layout: 1,
            created_ms: 0,
            restore_generation: 0,
        });
        let txn = register(&keys, BrokerId(1), &value, 77, false, ClusterKey::Absent(cluster));
        assert_eq!(
            script(&txn),
            [
                "created /k/brokers/live/1 = 0",
                "created /k/cluster = 0",
                "put /k/brokers/live/1 lease 77",
                "put /k/cluster lease 0"
            ]
        );
    }

    #[test]
    fn flags_are_changed_under_the_lease_of_the_very_registration_that_was_read() {
        let value = registration();
        let txn = change_registration(&Keys::under("/k"), BrokerId(1), &value, 77, BrokerEpoch(9), 12);
        assert_eq!(
            script(&txn),
            [
                "created /k/brokers/live/1 = 9",
                "changed /k/brokers/live/1 = 12",
                "put /k/brokers/live/1 lease 77"
            ]
        );
    }

    #[test]
    fn a_session_is_ended_only_in_the_lifetime_that_died() {
        let entry = ReplicaEntry { id: BrokerId(1), epoch: BrokerEpoch(9) };
        let keys = Keys::under("/k");
        let lines = script(&end_session(&keys, entry, Some(31)));
        assert_eq!(
            lines,
            [
                "created /k/brokers/live/1 = 9",
                "delete /k/brokers/live/1 .. ",
                "delete /k/controller/000000000000001f .. "
            ]
        );
        assert_eq!(script(&end_session(&keys, entry, None)), lines[..2]);
    }

    #[test]
    fn a_topic_of_any_size_is_created_by_two_puts() {
        let keys = Keys::under("/k");
        let brokers = [ReplicaEntry { id: BrokerId(1), epoch: BrokerEpoch(9) }];
        let txn = create_topic(&keys, id(), &topic(false), &brokers, None);
        assert_eq!(
            script(&txn),
            [
                "created /k/topics/name/t = 0",
                "created /k/topics/id/ASNFZ4mrze_-3LqYdlQyEA = 0",
                "created /k/brokers/live/1 = 9",
                "put /k/topics/name/t lease 0",
                "put /k/topics/id/ASNFZ4mrze_-3LqYdlQyEA lease 0",
            ]
        );
        let many: Vec<_> = (0..500).map(|id| ReplicaEntry { id: BrokerId(id), ..brokers[0] }).collect();
        assert_eq!(create_topic(&keys, id(), &topic(false), &many, None).check(), Ok(()));
    }

    #[test]
    fn a_deletion_frees_the_name_and_drops_the_partitions_at_once() {
        let txn = delete_topic(&Keys::under("/k"), id(), topic(false), 4, 5);
        assert_eq!(
            script(&txn),
            [
                "changed /k/topics/name/t = 4",
                "changed /k/topics/id/ASNFZ4mrze_-3LqYdlQyEA = 5",
                "delete /k/topics/name/t .. ",
                "put /k/topics/id/ASNFZ4mrze_-3LqYdlQyEA lease 0",
                "delete /k/partitions/ASNFZ4mrze_-3LqYdlQyEA/ .. /k/partitions/ASNFZ4mrze_-3LqYdlQyEA0",
                "delete /k/config/topics/t .. ",
            ]
        );
        let Operation::Put { value, .. } = &txn.operations[1] else { panic!("{txn:?}") };
        assert!(Record::<TopicValue>::decode(value).unwrap().value.deleting);
    }

    #[test]
    fn a_controllers_change_compares_its_own_candidacy() {
        let keys = Keys::under("/k");
        let txn = as_controller(finish_topic_deletion(&keys, id(), 5), &keys, 31, ControllerEpoch(8));
        assert_eq!(script(&txn)[1], "created /k/controller/000000000000001f = 8");
    }

    #[test]
    fn an_empty_configuration_has_no_key() {
        let keys = Keys::under("/k");
        let entity = ConfigEntity::Topic(TopicName::new("t").unwrap());
        let mut value = Record::new(ConfigValue::default());
        let last = |value: &_| script(&change_config(&keys, &entity, value, 3)).pop().unwrap();
        assert_eq!(last(&value), "delete /k/config/topics/t .. ");
        value.value.entries.insert("a".into(), "b".into());
        assert_eq!(last(&value), "put /k/config/topics/t lease 0");
    }

    #[test]
    fn audit_entries_are_numbered_and_bounded() {
        let keys = Keys::under("/k");
        let entry = Record::new(AuditValue {
            at_ms: 0,
            broker: BrokerId(1),
            who: String::new(),
            what: String::new(),
            revision: 0,
        });
        let txn = append_audit(&keys, 1001, &[entry.clone(), entry], 3);
        assert_eq!(
            script(&txn)[1..],
            [
                "created /k/audit/00000000000000001002 = 0",
                "put /k/audit/00000000000000001001 lease 0",
                "put /k/audit/00000000000000001002 lease 0",
                "delete /k/audit/ .. /k/audit/00000000000000000003",
            ]
        );
    }
}
