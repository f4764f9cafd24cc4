//! Lifetimes of brokers, and what they prove.

use super::super::etcd::Request;
use super::super::keys;
use super::super::node::Loss;
use super::super::world::{Event, World};
use super::guarded;
use crate::metadata::keys::Key;
use crate::types::BrokerId;
use crate::types::seeded::Bug;

#[test]
fn n9_data_that_may_be_lost_is_told_with_the_registration() {
    guarded(&[Bug::B2Ignored], || {
        let mut world = World::new(2).topic(2, 2);
        let acked = world.acked(1);
        world.cut_both(1, 2);
        world.unsynced(2);
        world.kill(2, Loss::Unsynced);
        world.start_broker(2);
        world.run(2_000);
        assert!(world.process(2).held().is_some());
        assert_eq!((world.isr(), world.elr(), world.breach()), (vec![1], vec![], None));
        world.ends_well();
        assert_eq!(world.values(2), [acked]);
    });
}

#[test]
fn a_registration_that_comes_late_says_nothing_of_the_data_that_a_later_lifetime_has() {
    let mut world = World::new(2).topic(2, 2);
    let acked = world.acked(1);
    // A lifetime whose data may be lost sends its registration, and ends before it gets there.
    world.kill(2, Loss::IoError);
    world.hold(|event| {
        matches!(event, Event::Request { node: BrokerId(2), request: Request::Register { .. }, .. })
    });
    world.start_broker(2);
    world.run(100);
    world.kill(2, Loss::Nothing);
    let late = std::mem::take(&mut world.held);
    world.release();
    world.start_broker(2);
    world.run(2_000);
    assert_eq!(world.isr(), [1, 2], "it has registered and caught up");
    let intact = keys().bytes(&Key::BrokerIntact(BrokerId(2)));
    let known = world.etcd.changed(&intact);
    // Nobody has the number for a moment.
    world.end_session(2);
    for event in late {
        world.at(world.now, event);
    }
    world.run(1);
    assert_eq!(world.etcd.changed(&intact), known, "what it has is not refuted (rule B2)");
    world.ends_well();
    assert_eq!(world.values(2), [acked]);
}

#[test]
fn n13_a_broker_restarts_within_its_lease_and_nobody_sees_it_gone() {
    guarded(&[Bug::E3Aba], || {
        let mut world = World::new(2).topic(2, 2);
        world.acked(1);
        // Nobody hears its fetches any more, and nobody sees its port refuse.
        world.cut_both(1, 2);
        world.hold(|event| matches!(event, Event::Watch { node: BrokerId(1), .. }));
        world.unsynced(2);
        world.kill(2, Loss::IoError);
        world.start_broker(2);
        world.run(300);
        assert!(world.process(2).held().is_some(), "it ended its own past (rule B7)");
        world.release();
        world.run(200);
        assert_eq!((world.isr(), world.breach()), (vec![1], None));
        world.ends_well();
    });
}

#[test]
fn n40_a_copy_of_a_disk_neither_ends_its_original_nor_stands_in_for_it() {
    guarded(&[Bug::B7AnyLease, Bug::B2Ignored], || {
        // The copy is on another host, or in another directory of a host that looks the same.
        for same_host in [false, true] {
            let mut world = World::new(2).topic(2, 2);
            world.acked(1);
            world.copy_disk(1, 9);
            let copy = BrokerId(9);
            let boot = world.nodes[&BrokerId(1)].boot;
            let there = world.nodes.get_mut(&copy).unwrap();
            there.boot = boot + u64::from(!same_host);
            let acked = world.acked(1);
            let epoch = world.process(1).me;
            world.start(copy);
            if same_host {
                world.process_mut(9).named_as(1);
            }
            // It waits for as long as the original lives, which hears nothing of it.
            world.run(3_000);
            assert!(world.process(9).held().is_none());
            assert!(world.process(1).held().is_some());
            assert_eq!((world.process(1).me, world.leader(), world.isr()), (epoch, Some(1), vec![1, 2]));
            // The original is gone, and nobody but the copy knows the number: its records are not what they were (rule B4).
            world.kill(1, Loss::Nothing);
            world.run(2_500);
            assert!(world.process(9).held().is_some());
            assert_eq!((world.leader(), world.isr(), world.elr()), (Some(2), vec![2], vec![]));
            assert_eq!(world.breach(), None);
            world.kill(9, Loss::Nothing);
            world.start_broker(1);
            world.run(1_000);
            world.nodes.remove(&copy);
            world.ends_well();
            assert!(world.values(1).contains(&acked));
        }
    });
}

#[test]
fn n45_a_start_that_never_registered_proves_nothing() {
    guarded(&[Bug::B2ProofEarly], || {
        let mut world = World::new(2).topic(2, 2);
        let acked = world.acked(1);
        world.cut_both(1, 2);
        world.unsynced(2);
        world.kill(2, Loss::Unsynced);
        world.cut_etcd(2);
        world.start_broker(2);
        world.run(300);
        world.kill(2, Loss::Nothing);
        world.mend_etcd(2);
        world.start_broker(2);
        world.run(2_500);
        assert!(world.process(2).held().is_some());
        assert_eq!((world.elr(), world.breach()), (vec![], None), "what it had is not trusted");
        world.ends_well();
        assert_eq!(world.values(2), [acked]);
        assert!(world.nodes[&BrokerId(2)].lost_in_life.is_none());
    });
}
