use std::sync::Arc;

use uuid::Uuid;

use super::*;
use crate::metadata::image::{BrokerImage, CandidateImage, TopicImage};
use crate::types::{BrokerEpoch, BrokerId, ControllerEpoch, PartitionEpoch, TopicName};

const fn entry(id: i32, epoch: i64) -> ReplicaEntry {
    ReplicaEntry { id: BrokerId(id), epoch: BrokerEpoch(epoch) }
}

fn broker(id: i32, epoch: i64, draining: bool) -> Arc<BrokerImage> {
    Arc::new(BrokerImage { draining, ..BrokerImage::of(BrokerId(id), BrokerEpoch(epoch)) })
}

fn partition(leader: i32) -> PartitionImage {
    PartitionImage {
        replicas: vec![BrokerId(1), BrokerId(2)],
        leader: Some(entry(leader, 10)),
        isr: vec![entry(1, 10), entry(2, 10)],
        partition_epoch: PartitionEpoch(5),
        ..PartitionImage::assigned(Vec::new())
    }
}

fn image(partitions: Vec<PartitionImage>, deleting: bool) -> ClusterImage {
    let mut image = ClusterImage::default();
    for id in [1, 2] {
        image.brokers.insert(BrokerId(id), broker(id, 10, false));
    }
    let id = TopicId::new(Uuid::from_u128(1)).unwrap();
    let topic = TopicImage {
        id,
        name: TopicName::new("t").unwrap(),
        mod_revision: 5,
        deleting,
        partitions: partitions.into_iter().map(Arc::new).collect(),
    };
    image.topics.insert(id, Arc::new(topic));
    image
}

fn errands(image: &ClusterImage, balance: bool) -> Vec<(i32, Errand)> {
    plan(image, balance).iter().map(|task| (task.partition, task.errand)).collect()
}

#[test]
fn what_moves_what_is_not_balanced_and_who_is_eligible_is_looked_after() {
    let mut moving = partition(2);
    moving.adding = vec![BrokerId(2)];
    let mut eligible = partition(1);
    eligible.elr = vec![entry(2, 9)];
    let image = image(vec![partition(1), moving, eligible], false);
    assert_eq!(errands(&image, false), [(1, Errand::CompleteReassignment), (2, Errand::TidyElr)]);
    assert_eq!(
        errands(&image, true),
        [(1, Errand::CompleteReassignment), (1, Errand::PreferLeader), (2, Errand::TidyElr)]
    );
}

#[test]
fn a_preferred_replica_that_drains_or_is_behind_or_away_is_left_alone() {
    let mut draining = image(vec![partition(2)], false);
    assert_eq!(errands(&draining, true), [(0, Errand::PreferLeader)]);
    draining.brokers.insert(BrokerId(1), broker(1, 10, true));
    assert_eq!(errands(&draining, true), []);
    draining.brokers.remove(&BrokerId(1));
    assert_eq!(errands(&draining, true), []);
    let mut behind = partition(2);
    behind.isr = vec![entry(2, 10)];
    assert_eq!(errands(&image(vec![behind], false), true), []);
}

#[test]
fn a_topic_that_is_being_deleted_is_left_alone() {
    let mut moving = partition(2);
    moving.adding = vec![BrokerId(2)];
    assert_eq!(errands(&image(vec![moving], true), true), []);
}

#[test]
fn one_check_of_the_balance_moves_so_many_leaders_and_no_more() {
    let image = image(vec![partition(2); ELECTIONS_MAX + 5], false);
    assert_eq!(plan(&image, true).len(), ELECTIONS_MAX);
}

#[test]
fn only_the_elected_lifetime_proves_that_it_controls() {
    let mut image = image(Vec::new(), false);
    let candidate = |broker_epoch, epoch| CandidateImage {
        broker: BrokerId(1),
        broker_epoch: BrokerEpoch(broker_epoch),
        epoch: ControllerEpoch(epoch),
    };
    image.candidates.insert(77, candidate(10, 20));
    image.candidates.insert(78, candidate(11, 30));
    assert_eq!(proof(&image, entry(1, 10)), None, "nobody is elected");
    image.controller = Some((BrokerId(1), ControllerEpoch(20)));
    let proven = Some(Reliance::Controls { lease: 77, epoch: ControllerEpoch(20) });
    assert_eq!(proof(&image, entry(1, 10)), proven);
    assert_eq!(proof(&image, entry(1, 11)), None, "another lifetime of the same broker");
    assert_eq!(proof(&image, entry(2, 10)), None);
    image.brokers.remove(&BrokerId(1));
    assert_eq!(proof(&image, entry(1, 10)), None, "its registration is gone");
}
