//! Controllers that wake late, transactions that land late, watches that lie.

use super::super::controller::Wish;
use super::super::etcd::Request;
use super::super::process::Topic;
use super::super::world::{Event, World};
use super::guarded;
use crate::types::BrokerId;
use crate::types::seeded::Bug;

/// Four brokers: 1 is the controller and no replica; 3 leads, 2 is preferred, and 1 has sent the change that says so.
fn change_of_the_controller_is_held() -> World {
    let mut world = World::new(4).partitions(vec![[2, 3, 4].map(BrokerId).to_vec()], 2);
    world.acked(2);
    world.moves_from(2);
    world.run(200);
    assert_eq!(world.leader(), Some(3));
    assert_eq!(world.process(1).image.controller.map(|(id, _)| id), Some(BrokerId(1)));
    world.hold(|event| {
        matches!(event, Event::Request { node: BrokerId(1), request: Request::AsController { .. }, .. })
    });
    world.process_mut(1).wishes.push(Wish::Balance);
    while world.held.is_empty() {
        world.run(10);
    }
    world
}

#[test]
fn n20_a_controller_that_was_deposed_writes_nothing() {
    guarded(&[Bug::E2NoFence], || {
        let mut world = change_of_the_controller_is_held();
        world.pause(BrokerId(1));
        world.end_session(1);
        world.run(200);
        assert_ne!(world.process(2).image.controller.map(|(id, _)| id), Some(BrokerId(1)));
        world.release();
        world.run(50);
        assert_eq!((world.leader(), world.breach()), (Some(3), None));
        world.ends_well();
    });
}

#[test]
fn n21_a_change_that_timed_out_lands_after_it_was_made_anew() {
    guarded(&[Bug::E1NoCompare], || {
        let mut world = change_of_the_controller_is_held();
        // No answer: the controller decides again, and this time it is heard.
        world.run(300);
        world.holds.clear();
        world.process_mut(1).wishes.push(Wish::Balance);
        world.run(500);
        assert_eq!(world.leader(), Some(2));
        // The record goes on; then the first attempt lands.
        world.process_mut(3).wishes.push(Wish::Reassign(0, [2, 3, 4, 1].map(BrokerId).to_vec()));
        world.run(500);
        let record = world.record().clone();
        assert_eq!(record.replicas.len(), 4);
        world.release();
        world.run(5);
        assert_eq!((world.record(), world.breach()), (&record, None));
        world.ends_well();
    });
}

#[test]
fn n25_a_gap_in_the_watch_is_read_anew() {
    guarded(&[Bug::E7NoResync], || {
        let mut world = World::new(3).topic(3, 2);
        world.acked(1);
        world.net.no_answers.insert(BrokerId(3));
        world.moves_from(1);
        assert_eq!(world.leader(), Some(2));
        let op = world.produce(2, true);
        world.run(1_500);
        assert!(world.is_acked(op));
        assert_eq!(world.isr(), [1, 2]);
        let revision = world.etcd.state.revision;
        world.etcd.compact(revision + 1);
        world.net.no_answers.clear();
        world.ends_well();
    });
}

#[test]
fn n25_an_image_of_the_past_is_not_taken() {
    guarded(&[Bug::F7OldEpoch], || {
        let topic = Topic { min_isr: 2, unclean: false, resync: 100 };
        let mut world = World::with(3, topic, 0).topic(3, 2);
        world.acked(1);
        world.etcd.snapshot();
        world.moves_from(1);
        assert_eq!(world.leader(), Some(2));
        world.acked(2);
        world.rates.hostile_watch = 100;
        for _ in 0..1_000 {
            world.produce(1, false);
            world.run(1);
        }
        assert_eq!(world.breach(), None);
        world.ends_well();
    });
}
