use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::types::{BrokerId, TopicName};

const TOPIC: &str = "ASNFZ4mrze_-3LqYdlQyEA";

fn keys() -> Keys {
    Keys::under("/k")
}

fn topic_id() -> TopicId {
    TOPIC.parse().unwrap()
}

fn put(key: &str, created: i64, changed: i64, value: &serde_json::Value) -> KeyEvent {
    KeyEvent {
        key: format!("/k/{key}").into_bytes(),
        mod_revision: changed,
        change: Change::Put { value: value.to_string().into_bytes(), create_revision: created },
    }
}

fn delete(key: &str, at: i64) -> KeyEvent {
    KeyEvent { key: format!("/k/{key}").into_bytes(), mod_revision: at, change: Change::Delete }
}

fn topic_value(partitions: usize) -> serde_json::Value {
    json!({"v": 1, "name": "t", "created_ms": 1, "assignment": vec![json!([1]); partitions],
        "epochs": [{"from": 0, "brokers": [{"id": 1, "epoch": 3}]}]})
}

fn partition_value(leader_epoch: i32) -> serde_json::Value {
    json!({"v": 1, "leader": {"id": 1, "epoch": 9}, "leader_epoch": leader_epoch, "replicas": [1],
        "isr": [{"id": 1, "epoch": 9}], "why": "ballot"})
}

fn live(incarnation: u128) -> serde_json::Value {
    json!({"v": 1, "incarnation": Uuid::from_u128(incarnation), "boot_id": "b", "host": "h",
        "endpoints": [], "directories": [], "version": "x"})
}

fn created_topic(at: i64, partitions: usize) -> Vec<KeyEvent> {
    // In the order of the operations of the Txn, name first.
    vec![
        put("topics/name/t", at, at, &json!({"v": 1, "id": TOPIC})),
        put(&format!("topics/id/{TOPIC}"), at, at, &topic_value(partitions)),
    ]
}

fn step(image: &ClusterImage, events: &[KeyEvent]) -> ClusterImage {
    let applied = apply(&keys(), image, events, 0);
    assert_eq!(applied.facts, []);
    applied.image
}

#[test]
fn a_partition_without_a_record_is_as_assigned() {
    let image = step(&ClusterImage::default(), &created_topic(5, 3));
    assert_eq!((image.revision, image.events_revision), (5, 5));
    let topic = image.topic("t").unwrap();
    assert_eq!((topic.partitions.len(), topic.mod_revision, topic.deleting), (3, 5, false));
    let partition = &topic.partitions[2];
    let entry = ReplicaEntry { id: BrokerId(1), epoch: BrokerEpoch(3) };
    assert_eq!((partition.leader, partition.isr.as_slice()), (Some(entry), &[entry][..]));
    assert_eq!((partition.leader_epoch.get(), partition.partition_epoch.get()), (0, 0));
    assert!(Arc::ptr_eq(&topic.partitions[0], &topic.partitions[2]), "equal partitions share one entry");
}

#[test]
fn a_record_overrides_the_assignment_until_it_is_deleted() {
    let image = step(&ClusterImage::default(), &created_topic(5, 2));
    let record = format!("partitions/{TOPIC}/0000000001");
    let image = step(&image, &[put(&record, 6, 6, &partition_value(1))]);
    let partition = |image: &ClusterImage, n: usize| image.topic("t").unwrap().partitions[n].clone();
    assert_eq!((partition(&image, 1).leader_epoch.get(), partition(&image, 1).partition_epoch.get()), (1, 6));
    assert_eq!(partition(&image, 0).partition_epoch.get(), 0);
    // More partitions: the record stays.
    let image = step(&image, &[put(&format!("topics/id/{TOPIC}"), 5, 7, &topic_value(4))]);
    assert_eq!(image.topic("t").unwrap().partitions.len(), 4);
    assert_eq!(partition(&image, 1).why, "ballot");
    let image = step(&image, &[delete(&record, 8)]);
    assert_eq!(partition(&image, 1), partition(&image, 0));
}

#[test]
fn a_deletion_hides_the_name_at_once_and_the_topic_at_its_end() {
    let image = step(&ClusterImage::default(), &created_topic(5, 1));
    let mut deleting = topic_value(1);
    deleting["deleting"] = json!(true);
    let image =
        step(&image, &[delete("topics/name/t", 6), put(&format!("topics/id/{TOPIC}"), 5, 6, &deleting)]);
    assert!(image.topic("t").is_none());
    assert!(image.topics[&topic_id()].deleting);
    let image = step(&image, &[delete(&format!("topics/id/{TOPIC}"), 7)]);
    assert!(image.topics.is_empty() && image.topic_values.is_empty());
}

#[test]
fn events_already_applied_are_ignored_and_counted() {
    let image = step(&ClusterImage::default(), &created_topic(5, 1));
    let back_in_time = [delete("topics/name/t", 4), delete("topics/name/t", 5)];
    let applied = apply(&keys(), &image, &back_in_time, 0);
    assert_eq!(applied.image, image);
    assert_eq!(applied.facts, [Fact::AlreadyApplied { events: 2 }]);
}

#[test]
fn progress_moves_the_revision_but_not_the_guard_against_late_events() {
    let image = step(&ClusterImage::default(), &created_topic(5, 1));
    let image = apply(&keys(), &image, &[], 9).image;
    assert_eq!((image.revision, image.events_revision), (9, 5));
    // A server that reported progress too early does not cost us its event.
    let image = step(&image, &[delete("topics/name/t", 8)]);
    assert!(image.topic("t").is_none());
    assert_eq!((image.revision, image.events_revision), (9, 8));
}

#[test]
fn within_one_revision_a_topic_comes_before_its_partitions() {
    let mut events = vec![put(&format!("partitions/{TOPIC}/0000000000"), 5, 5, &partition_value(2))];
    events.extend(created_topic(5, 1));
    let image = step(&ClusterImage::default(), &events);
    assert_eq!(image.topic("t").unwrap().partitions[0].leader_epoch.get(), 2);
}

#[test]
fn a_full_read_gives_the_same_image_as_the_events() {
    let record = put(&format!("partitions/{TOPIC}/0000000000"), 6, 7, &partition_value(2));
    let candidate = json!({"v": 1, "broker": 1, "broker_epoch": 3});
    let events = [
        vec![
            put("cluster", 2, 2, &json!({"v": 1, "cluster_id": "c", "layout": 1, "created_ms": 1})),
            put("brokers/live/1", 3, 3, &live(1)),
            put("brokers/intact/1", 3, 3, &json!("")),
            put("controller/000000000000004d", 4, 4, &candidate),
        ],
        created_topic(5, 2),
        vec![record, put("config/topics/t", 8, 8, &json!({"v": 1, "entries": {"a": "b"}}))],
    ]
    .concat();
    let watched = step(&ClusterImage::default(), &events);
    let mut entries = events;
    entries.sort_by(|left, right| left.key.cmp(&right.key));
    let Applied { image: read, facts } = from_snapshot(&keys(), &entries, 8);
    assert_eq!(facts, []);
    assert_eq!(read, watched);
    assert_eq!(differences(&read, &watched), 0);
    assert_eq!(read.controller, Some((BrokerId(1), ControllerEpoch(4))));
    assert_eq!(read.brokers[&BrokerId(1)].epoch, BrokerEpoch(3));
    assert_eq!(read.intact[&BrokerId(1)], BrokerEpoch(3));
    let entity = crate::metadata::image::ConfigEntity::Topic(TopicName::new("t").unwrap());
    assert_eq!(read.config(&entity).unwrap()["a"], "b");
}

#[test]
fn the_smallest_candidate_is_the_controller() {
    let candidate = |broker: i32| json!({"v": 1, "broker": broker, "broker_epoch": 1});
    let image = step(
        &ClusterImage::default(),
        &[
            put("controller/00000000000000ff", 4, 4, &candidate(1)),
            put("controller/0000000000000001", 5, 5, &candidate(2)),
        ],
    );
    assert_eq!(image.controller, Some((BrokerId(1), ControllerEpoch(4))));
    let image = step(&image, &[delete("controller/00000000000000ff", 6)]);
    assert_eq!(image.controller, Some((BrokerId(2), ControllerEpoch(5))));
    let image = step(&image, &[delete("controller/0000000000000001", 7)]);
    assert_eq!(image.controller, None);
}

#[test]
fn a_new_registration_is_a_new_lifetime() {
    let image = step(&ClusterImage::default(), &[put("brokers/live/1", 3, 3, &live(1))]);
    // The delete was never seen.
    let image = step(&image, &[put("brokers/live/1", 7, 7, &live(2))]);
    assert_eq!(image.brokers[&BrokerId(1)].epoch, BrokerEpoch(7));
    let image = step(&image, &[delete("brokers/live/1", 8)]);
    assert!(image.brokers.is_empty());
}

#[test]
fn unreadable_entries_are_isolated() {
    let image = step(&ClusterImage::default(), &created_topic(5, 2));
    let events = [
        put("acls/x", 6, 6, &json!({})),
        put("config/topics/t", 6, 6, &json!({"v": 7, "entries": {}})),
        put("brokers/live/1", 6, 6, &json!("nonsense")),
        put(&format!("partitions/{TOPIC}/0000000001"), 6, 6, &json!({"v": 2})),
        put(&format!("partitions/{TOPIC}/0000000009"), 6, 6, &partition_value(1)),
        put("brokers/live/2", 6, 6, &live(1)),
    ];
    let Applied { image, facts } = apply(&keys(), &image, &events, 0);
    assert_eq!(facts.len(), 5, "{facts:?}");
    assert!(facts.iter().any(|fact| matches!(fact, Fact::AlienKey(KeyError::UnknownFamily { .. }))));
    assert!(facts.contains(&Fact::OrphanPartition { topic: topic_id(), partition: 9 }));
    assert_eq!(image.brokers.keys().collect::<Vec<_>>(), [&BrokerId(2)]);
    // Nobody leads a partition whose record cannot be read.
    let partition = &image.topic("t").unwrap().partitions[1];
    assert_eq!((partition.leader, partition.isr.len(), partition.partition_epoch.get()), (None, 0, 6));
    assert!(image.topic("t").unwrap().partitions[0].leader.is_some());
}

#[test]
fn an_older_leader_epoch_is_ignored_and_counted() {
    let image = step(&ClusterImage::default(), &created_topic(5, 1));
    let record = format!("partitions/{TOPIC}/0000000000");
    let image = step(&image, &[put(&record, 6, 6, &partition_value(4))]);
    let applied = apply(&keys(), &image, &[put(&record, 6, 7, &partition_value(3))], 0);
    assert_eq!(applied.facts, [Fact::StalePartition { topic: topic_id(), partition: 0 }]);
    assert_eq!(applied.image.topic("t").unwrap().partitions[0].leader_epoch.get(), 4);
}

#[test]
fn a_batch_shares_what_it_does_not_change() {
    let image = step(&ClusterImage::default(), &created_topic(5, 4));
    let other = step(&image, &[put("config/topics/t", 6, 6, &json!({"v": 1, "entries": {}}))]);
    assert!(Arc::ptr_eq(&image.topics[&topic_id()], &other.topics[&topic_id()]));
    let record = format!("partitions/{TOPIC}/0000000003");
    let changed = step(&image, &[put(&record, 6, 6, &partition_value(1))]);
    let partition = |image: &ClusterImage, n: usize| Arc::as_ptr(&image.topics[&topic_id()].partitions[n]);
    assert_eq!(partition(&image, 0), partition(&changed, 0));
    assert_ne!(partition(&image, 3), partition(&changed, 3));
    assert_eq!(image.topic("t").unwrap().partitions[3].partition_epoch.get(), 0, "the old image stands");
}

#[test]
fn a_full_read_with_an_older_leader_epoch_is_of_an_etcd_that_has_forgotten() {
    let created = step(&ClusterImage::default(), &created_topic(5, 2));
    let key = format!("partitions/{TOPIC}/0000000001");
    let led = step(&created, &[put(&key, 6, 6, &partition_value(3))]);
    let restored = step(&created, &[put(&key, 6, 90, &partition_value(2))]);
    let went_on = step(&led, &[put(&key, 6, 91, &partition_value(4))]);
    let older =
        |known, fresh| older_epoch(known, fresh).map(|(name, seen, now)| (name, seen.get(), now.get()));
    assert_eq!(older(&led, &restored), Some(("t-1".to_owned(), 3, 2)));
    assert_eq!(older(&led, &created), Some(("t-1".to_owned(), 3, 0)), "the record is gone");
    assert_eq!(older(&led, &went_on), None);
    assert_eq!(older(&led, &ClusterImage::default()), None, "a topic may be deleted");
}
