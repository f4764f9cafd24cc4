//! The harness itself: what a healthy cluster does, told by hand.

use super::message::ClientAnswer;
use super::node::Loss;
use super::world::World;
use crate::types::Offset;

#[test]
fn a_record_is_committed_by_all_and_the_next_leader_has_it() {
    let mut world = World::new(3).topic(3, 2);
    let op = world.produce(1, true);
    world.run(60);
    assert!(world.is_acked(op));
    world.kill(1, Loss::Nothing);
    world.run(400);
    assert_eq!(world.leader(), Some(2));
    assert_eq!(world.isr(), [2, 3]);
    assert_eq!(world.settle(), Ok(()));
    assert_eq!(world.replica(1).log.values, [op]);
}

#[test]
fn a_graceful_stop_hands_over_and_comes_back_intact() {
    let mut world = World::new(3).topic(3, 2);
    world.stop_broker(1);
    world.run(1_000);
    assert_eq!(world.leader(), Some(2));
    assert_eq!(world.isr(), [2, 3]);
    assert!(world.nodes[&crate::types::BrokerId(1)].process.is_none());
    assert!(world.nodes[&crate::types::BrokerId(1)].disk.marker.is_some());
    assert_eq!(world.settle(), Ok(()));
}

#[test]
fn the_last_known_leader_comes_back_when_all_lost_something() {
    let mut world = World::new(2).topic(2, 1);
    world.kill(2, Loss::Unsynced);
    world.run(1_500);
    assert_eq!(world.isr(), [1]);
    world.kill(1, Loss::Unsynced);
    world.run(1_500);
    world.start_broker(2);
    world.run(2_000);
    assert_ne!(world.leader(), Some(2), "an entry that is not refuted blocks");
    assert_eq!(world.settle(), Ok(()));
}

/// N46: a process that was restarted does not lead on in its old epoch.
#[test]
fn a_restarted_leader_ballots_again() {
    let mut world = World::new(3).topic(3, 2);
    let epoch = world.record().leader_epoch;
    world.kill(1, Loss::Nothing);
    world.start_broker(1);
    world.run(400);
    assert!(world.record().leader_epoch > epoch);
    assert!(world.leader_core(1).is_none_or(|core| core.epoch() > epoch));
    assert_eq!(world.settle(), Ok(()));
}

#[test]
fn what_is_synced_everywhere_survives_a_power_failure_of_all() {
    let mut world = World::new(3).topic(3, 2);
    let op = world.produce(1, true);
    world.run(300);
    assert!(world.is_acked(op));
    for broker in 1..=3 {
        world.sync(broker);
    }
    for broker in 1..=3 {
        world.kill(broker, Loss::Unsynced);
    }
    assert_eq!(world.settle(), Ok(()));
    let leader = world.leader().unwrap();
    let read = world.read(leader, 0, None);
    world.run(50);
    let first = Offset::ZERO;
    assert_eq!(world.answer(read), Some(&ClientAnswer::Read { from: first, values: vec![op] }));
}
