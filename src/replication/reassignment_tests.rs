use std::sync::Arc;

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::metadata::image::{BrokerImage, TopicImage};
use crate::metadata::keys::PartitionValue;
use crate::types::seeded::{Bug, sow};
use crate::types::{BrokerEpoch, ControllerEpoch, PartitionEpoch, TopicName};

const CONTROLS: Reliance = Reliance::Controls { lease: 7, epoch: ControllerEpoch(9) };

fn topic_id() -> TopicId {
    TopicId::new(Uuid::from_u128(5)).unwrap()
}

fn ids(ids: &[i32]) -> Vec<BrokerId> {
    ids.iter().copied().map(BrokerId).collect()
}

/// Lifetimes have the epoch `100 + id`.
fn entry(id: i32) -> ReplicaEntry {
    ReplicaEntry { id: BrokerId(id), epoch: BrokerEpoch(100 + i64::from(id)) }
}

fn entries(ids: &[i32]) -> Vec<ReplicaEntry> {
    ids.iter().copied().map(entry).collect()
}

/// A partition led by the first of its ISR, in leader epoch 4.
fn partition(replicas: &[i32], isr: &[i32]) -> PartitionImage {
    PartitionImage {
        replicas: ids(replicas),
        leader: isr.first().map(|id| entry(*id)),
        leader_epoch: LeaderEpoch(4),
        isr: entries(isr),
        partition_epoch: PartitionEpoch(200),
        ..PartitionImage::assigned(Vec::new())
    }
}

/// That partition in a cluster where `alive` are registered.
fn image(state: PartitionImage, alive: &[i32]) -> ClusterImage {
    let mut image = ClusterImage { revision: 300, ..ClusterImage::default() };
    for id in alive {
        let broker = BrokerImage::of(BrokerId(*id), entry(*id).epoch);
        image.brokers.insert(BrokerId(*id), Arc::new(broker));
    }
    let name = TopicName::new("t").unwrap();
    image.topic_names.insert(name.clone(), topic_id());
    let topic = TopicImage {
        id: topic_id(),
        name,
        mod_revision: 150,
        deleting: false,
        partitions: vec![Arc::new(state)],
    };
    image.topics.insert(topic_id(), Arc::new(topic));
    image
}

fn refute(image: &mut ClusterImage, id: i32) {
    image.intact.insert(BrokerId(id), BrokerEpoch(250));
}

/// The image after the change was written.
fn written(image: &ClusterImage, change: &PartitionChange) -> ClusterImage {
    let PartitionValue {
        leader,
        leader_epoch,
        isr,
        elr,
        last_known_leader,
        replicas,
        adding,
        removing,
        recovering,
        why,
    } = change.value.value.clone();
    let partition_epoch = PartitionEpoch(change.read.get() + 1);
    let state = PartitionImage {
        replicas,
        leader,
        leader_epoch,
        isr,
        elr,
        last_known_leader,
        adding,
        removing,
        recovering,
        why,
        partition_epoch,
    };
    let mut image = image.clone();
    let topic = image.topics.get_mut(&topic_id()).unwrap();
    Arc::make_mut(topic).partitions[0] = Arc::new(state);
    image
}

/// The image after the leader has taken `id` into the ISR.
fn joined(image: &ClusterImage, id: i32) -> ClusterImage {
    let mut image = image.clone();
    let topic = image.topics.get_mut(&topic_id()).unwrap();
    let mut state = PartitionImage::clone(&topic.partitions[0]);
    state.isr.push(entry(id));
    Arc::make_mut(topic).partitions[0] = Arc::new(state);
    image
}

fn state(image: &ClusterImage) -> &PartitionImage {
    &image.topics[&topic_id()].partitions[0]
}

fn begun(image: &ClusterImage, target: &[i32], min: usize) -> ClusterImage {
    written(image, &begin(image, topic_id(), 0, &ids(target), min).unwrap().unwrap())
}

#[test]
fn a_move_grows_waits_and_shrinks_and_the_leader_goes_to_a_replica_that_stays() {
    let start = image(partition(&[1, 2, 3], &[1, 2, 3]), &[1, 2, 3, 4, 5]);
    let grown = begun(&start, &[4, 5, 3], 2);
    let moving = state(&grown);
    assert_eq!(moving.replicas, ids(&[4, 5, 3, 1, 2]));
    assert_eq!((&moving.adding, &moving.removing), (&ids(&[4, 5]), &ids(&[1, 2])));
    assert_eq!(moving.isr, entries(&[1, 2, 3]), "rule U4: nobody is added to the ISR");
    assert_eq!(
        (moving.leader, moving.leader_epoch),
        (Some(entry(1)), LeaderEpoch(4)),
        "rule E1: nothing left"
    );
    assert!(in_progress(moving));

    let wait = complete(&grown, topic_id(), 0, 2, CONTROLS).unwrap_err();
    assert_eq!(wait, Refusal::CatchingUp { missing: vec![4, 5] });
    let wait = complete(&joined(&grown, 4), topic_id(), 0, 2, CONTROLS).unwrap_err();
    assert_eq!(wait, Refusal::CatchingUp { missing: vec![5] });

    let caught_up = joined(&joined(&grown, 4), 5);
    let change = complete(&caught_up, topic_id(), 0, 2, CONTROLS).unwrap().unwrap();
    assert_eq!(change.relies_on.first(), Some(&CONTROLS), "rule E2");
    let leader = Reliance::Unchanged { broker: BrokerId(4), mod_revision: 104 };
    assert!(change.relies_on.contains(&leader), "the new leader does not stop meanwhile");
    for id in [3, 4, 5] {
        assert!(change.relies_on.contains(&Reliance::Intact(entry(id))), "N44: {id}");
    }
    let done = written(&caught_up, &change);
    let done = state(&done);
    assert_eq!(done.replicas, ids(&[4, 5, 3]));
    assert_eq!(done.isr, entries(&[3, 4, 5]));
    assert!(!in_progress(done));
    assert_eq!((done.leader, done.leader_epoch), (Some(entry(4)), LeaderEpoch(5)), "rule E1");
}

#[test]
fn a_target_that_nobody_has_to_catch_up_for_is_taken_at_once() {
    let start = image(partition(&[1, 2, 3], &[1, 2, 3]), &[1, 2, 3]);
    let fewer = begun(&start, &[2, 1], 2);
    assert_eq!((&state(&fewer).replicas, &state(&fewer).isr), (&ids(&[2, 1]), &entries(&[1, 2])));
    assert_eq!((state(&fewer).leader, state(&fewer).leader_epoch), (Some(entry(1)), LeaderEpoch(5)));
    let reordered = begun(&start, &[3, 2, 1], 2);
    assert_eq!(
        (&state(&reordered).replicas, state(&reordered).leader_epoch),
        (&ids(&[3, 2, 1]), LeaderEpoch(4))
    );
    assert!(!in_progress(state(&reordered)));
    assert_eq!(begin(&start, topic_id(), 0, &ids(&[1, 2, 3]), 2), Ok(None));
}

#[test]
fn a_move_that_is_cancelled_gives_back_the_old_replicas() {
    let start = image(partition(&[1, 2, 3], &[1, 2, 3]), &[1, 2, 3, 4]);
    let grown = joined(&begun(&start, &[4, 1, 2], 2), 4);
    let back = written(&grown, &cancel(&grown, topic_id(), 0, 2).unwrap().unwrap());
    let back = state(&back);
    assert_eq!((&back.replicas, &back.isr), (&ids(&[1, 2, 3]), &entries(&[1, 2, 3])));
    assert!(!in_progress(back));
    assert_eq!((back.leader, back.leader_epoch), (Some(entry(1)), LeaderEpoch(5)), "rule E1: 4 was removed");
    assert_eq!(cancel(&start, topic_id(), 0, 2), Err(Refusal::NotInProgress));
}

#[test]
fn a_copy_goes_only_while_enough_in_sync_replicas_stay() {
    // 2 and 3 are away; 4 was added and is in sync: with 1 alone a record would have one copy of the two that were promised.
    let mut moving = partition(&[4, 1, 2, 3], &[1, 4]);
    moving.adding = ids(&[4]);
    let start = image(moving.clone(), &[1, 4]);
    let refused = Refusal::TooFewInSync { stay: 1, required: 2 };
    assert_eq!(cancel(&start, topic_id(), 0, 2), Err(refused.clone()));
    assert_eq!(begin(&start, topic_id(), 0, &ids(&[1, 2, 3]), 2), Err(refused.clone()));
    assert!(cancel(&start, topic_id(), 0, 1).is_ok());
    // The same when the move is to end.
    let mut moving = partition(&[4, 2, 1, 3], &[1, 3, 4]);
    moving.adding = ids(&[4]);
    moving.removing = ids(&[1, 3]);
    let start = image(moving, &[1, 3, 4]);
    assert_eq!(complete(&start, topic_id(), 0, 2, CONTROLS), Err(refused));
}

#[test]
fn a_cancel_that_takes_no_copy_away_needs_nobody_in_sync() {
    let mut moving = partition(&[4, 1, 2], &[1]);
    moving.adding = ids(&[4]);
    moving.elr = entries(&[2]);
    let start = image(moving, &[1]);
    let back = written(&start, &cancel(&start, topic_id(), 0, 2).unwrap().unwrap());
    assert_eq!((&state(&back).isr, &state(&back).elr), (&entries(&[1]), &entries(&[2])), "rule U2");
}

#[test]
fn a_redirected_move_drops_what_it_added_and_keeps_what_is_wanted_again() {
    let start = image(partition(&[1, 2], &[1, 2]), &[1, 2, 3, 4, 5]);
    let first = joined(&begun(&start, &[3, 4], 1), 3);
    let second = begun(&first, &[4, 5], 1);
    let moving = state(&second);
    assert_eq!(moving.replicas, ids(&[4, 5, 1, 2]));
    assert_eq!((&moving.adding, &moving.removing), (&ids(&[4, 5]), &ids(&[1, 2])));
    assert_eq!((&moving.isr, moving.leader_epoch), (&entries(&[1, 2]), LeaderEpoch(5)), "3 left: rule E1");
    let back = written(&second, &cancel(&second, topic_id(), 0, 1).unwrap().unwrap());
    assert_eq!(state(&back).replicas, ids(&[1, 2]), "also a redirected move can be cancelled");
}

#[test]
fn without_a_replica_that_could_lead_a_move_waits() {
    let mut moving = partition(&[2, 3, 1], &[1, 2, 3]);
    moving.adding = ids(&[2, 3]);
    moving.removing = ids(&[1]);
    let mut start = image(moving, &[1, 2, 3]);
    for id in [2, 3] {
        Arc::make_mut(start.brokers.get_mut(&BrokerId(id)).unwrap()).draining = true;
    }
    assert_eq!(complete(&start, topic_id(), 0, 2, CONTROLS), Err(Refusal::NoLeader));
}

#[test]
fn a_refuted_entry_is_not_in_sync() {
    let mut moving = partition(&[3, 1, 2], &[1, 2, 3]);
    moving.adding = ids(&[3]);
    moving.removing = ids(&[2]);
    let mut start = image(moving, &[1, 2, 3]);
    refute(&mut start, 3);
    assert_eq!(complete(&start, topic_id(), 0, 1, CONTROLS), Err(Refusal::CatchingUp { missing: vec![3] }));
}

#[test]
fn an_elr_is_emptied_when_enough_are_in_sync_and_loses_who_is_refuted() {
    let mut few = partition(&[1, 2, 3], &[1]);
    few.elr = entries(&[2, 3]);
    let mut start = image(few, &[1, 2, 3]);
    assert_eq!(tidy_elr(&start, topic_id(), 0, 2, CONTROLS), None);
    let lowered = tidy_elr(&start, topic_id(), 0, 1, CONTROLS).unwrap();
    assert!(lowered.value.value.elr.is_empty(), "rule U2: min.insync.replicas was lowered");
    assert_eq!(lowered.relies_on, [CONTROLS, Reliance::Intact(entry(1))]);
    refute(&mut start, 3);
    let without = tidy_elr(&start, topic_id(), 0, 2, CONTROLS).unwrap();
    assert_eq!(without.value.value.elr, entries(&[2]));
    assert_eq!(without.relies_on, [CONTROLS, Reliance::Refuted(entry(3))]);
    assert_eq!(without.value.value.leader_epoch, LeaderEpoch(4));
}

#[test]
fn the_preferred_replica_is_handed_the_leadership_if_it_is_in_sync() {
    let start = image(partition(&[2, 1, 3], &[1, 2, 3]), &[1, 2, 3]);
    let change = prefer(&start, topic_id(), 0, 1, CONTROLS).unwrap();
    assert_eq!(change.value.value.leader, Some(entry(2)));
    assert_eq!(change.value.value.leader_epoch, LeaderEpoch(5));
    assert!(change.relies_on.contains(&CONTROLS));
    let behind = image(partition(&[2, 1, 3], &[1, 3]), &[1, 2, 3]);
    assert_eq!(prefer(&behind, topic_id(), 0, 1, CONTROLS), None, "rule U4");
    let so_already = image(partition(&[1, 2], &[1, 2]), &[1, 2]);
    assert_eq!(prefer(&so_already, topic_id(), 0, 1, CONTROLS), None);
}

#[test]
fn without_its_guard_a_controller_does_not_prove_that_it_is_one() {
    let start = image(partition(&[2, 1], &[1, 2]), &[1, 2]);
    sow(Some(Bug::E2NoFence));
    let change = prefer(&start, topic_id(), 0, 1, CONTROLS).unwrap();
    sow(None);
    assert!(!change.relies_on.contains(&CONTROLS));
}

fn some_ids(least: usize) -> impl Strategy<Value = Vec<i32>> {
    proptest::sample::subsequence(vec![1, 2, 3, 4, 5, 6], least..=4).prop_shuffle()
}

#[derive(Debug, Clone)]
struct World {
    replicas: Vec<i32>,
    isr: usize,
    elr: usize,
    alive: Vec<i32>,
    refuted: Vec<i32>,
    first: Vec<i32>,
    second: Vec<i32>,
    min: usize,
}

prop_compose! {
    fn world()(
        replicas in some_ids(1), isr in 1_usize..4, elr in 0_usize..3, alive in some_ids(2), refuted in some_ids(0),
        first in some_ids(1), second in some_ids(1), min in 1_usize..4,
    ) -> World {
        World { replicas, isr, elr, alive, refuted, first, second, min }
    }
}

/// What every change of a move must keep (rules E1, E2, U2, U3, U4).
fn check(before: &ClusterImage, change: &PartitionChange, min: usize) {
    let (old, new) = (state(before), &change.value.value);
    let has = |entries: &[ReplicaEntry], id: BrokerId| entries.iter().any(|entry| entry.id == id);
    assert!(!new.replicas.is_empty());
    assert!(new.isr.iter().all(|entry| old.isr.contains(entry)), "U4: nobody joins the ISR");
    assert!(new.elr.iter().all(|entry| old.elr.contains(entry) || old.isr.contains(entry)));
    for entry in new.isr.iter().chain(&new.elr) {
        assert!(new.replicas.contains(&entry.id), "only replicas have copies that count");
    }
    assert!(new.elr.iter().all(|entry| !has(&new.isr, entry.id)), "U2: apart");
    let left = old.replicas.iter().any(|id| !new.replicas.contains(id));
    let leader_changed = new.leader != old.leader;
    assert_eq!(new.leader_epoch.get() - old.leader_epoch.get(), i32::from(left || leader_changed), "E1");
    if let Some(leader) = new.leader.filter(|_| leader_changed) {
        assert!(has(&new.isr, leader.id) && before.lives(leader), "U4: led by an in-sync replica that lives");
    }
    assert!(new.leader.is_none_or(|leader| new.replicas.contains(&leader.id)));
    let copy_left = old.isr.iter().chain(&old.elr).any(|entry| !new.replicas.contains(&entry.id));
    if copy_left {
        // Of those that were there: what only now begins to be added has promised nothing yet.
        let stayed = new.replicas.iter().filter(|id| old.replicas.contains(id)).count();
        assert!(new.isr.len() >= members::effective_min_isr(min, stayed), "U4: enough stay");
    }
    assert!(new.adding.iter().chain(&new.removing).all(|id| new.replicas.contains(id)));
    assert_eq!(change.read, old.partition_epoch, "E1: the record that was read is compared");
}

proptest! {
    #[test]
    fn whatever_is_asked_of_whatever_partition_the_rules_hold(world in world()) {
        let isr = &world.replicas[..world.isr.min(world.replicas.len())];
        let elr = world.replicas.iter().copied().skip(isr.len()).take(world.elr).collect::<Vec<_>>();
        let mut start = partition(&world.replicas, isr);
        if isr.len() < world.min {
            start.elr = entries(&elr);
        }
        let mut now = image(start, &world.alive);
        for id in &world.refuted {
            refute(&mut now, *id);
        }
        for target in [&world.first, &world.second] {
            if let Ok(Some(change)) = begin(&now, topic_id(), 0, &ids(target), world.min) {
                check(&now, &change, world.min);
                now = written(&now, &change);
                prop_assert!(!in_progress(state(&now)) || state(&now).replicas.starts_with(&ids(target)));
            }
            if let Some(id) = state(&now).adding.first().map(|id| id.get()) {
                now = joined(&now, id);
            }
        }
        for step in [
            complete(&now, topic_id(), 0, world.min, CONTROLS),
            cancel(&now, topic_id(), 0, world.min),
            Ok(tidy_elr(&now, topic_id(), 0, world.min, CONTROLS)),
        ] {
            if let Ok(Some(change)) = step {
                check(&now, &change, world.min);
            }
        }
    }
}
