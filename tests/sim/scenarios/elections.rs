//! Who leads after somebody is gone.

use super::super::keys;
use super::super::node::Loss;
use super::super::world::{Event, World};
use super::{changes_partition, guarded};
use crate::metadata::keys::Key;
use crate::types::BrokerId;
use crate::types::seeded::Bug;

#[test]
fn n11_the_last_one_standing_restarts_uncleanly() {
    guarded(&[Bug::U2NoElr, Bug::B2Ignored, Bug::L3NoMinIsr, Bug::U1UnknownIgnored], || {
        let mut world = World::new(3).topic(3, 2);
        let acked = world.acked(1);
        world.kill(3, Loss::Nothing);
        world.run(300);
        world.kill(2, Loss::Nothing);
        let alone = world.produce(1, true);
        world.run(300);
        assert_eq!((world.isr(), world.elr()), (vec![1], vec![2]));
        assert!(!world.is_acked(alone));
        world.unsynced(1);
        world.kill(1, Loss::Unsynced);
        world.start_broker(1);
        world.run(3_000);
        assert!(world.process(1).held().is_some());
        assert_eq!((world.record().leader_epoch.get(), world.breach()), (0, None), "2 may have everything");
        world.start_broker(2);
        world.run(1_500);
        assert_eq!(world.leader(), Some(2));
        world.ends_well();
        assert_eq!(world.values(1), [acked]);
    });
}

#[test]
fn n12_all_in_sync_die_uncleanly_and_an_eligible_one_is_left() {
    guarded(&[Bug::U1UnknownIgnored, Bug::U1LastKnownFirst, Bug::U2NoElr, Bug::B2Ignored], || {
        let mut world = World::new(3).topic(3, 3);
        let acked = world.acked(1);
        world.kill(3, Loss::Nothing);
        world.run(300);
        assert_eq!((world.isr(), world.elr()), (vec![1, 2], vec![3]));
        for broker in [1, 2] {
            world.unsynced(broker);
            world.kill(broker, Loss::Unsynced);
        }
        world.run(1_500);
        world.start_broker(1);
        world.start_broker(2);
        world.run(1_500);
        assert_eq!(
            (world.record().leader_epoch.get(), world.breach()),
            (0, None),
            "3 is away and may come back"
        );
        // It is back, registered, and does nothing: it counts.
        world.start_broker(3);
        let live = keys().bytes(&Key::BrokerLive(BrokerId(3)));
        while !world.etcd.state.keys.contains_key(&live) {
            assert!(world.step(world.now + 1_000));
        }
        world.pause(BrokerId(3));
        world.run(400);
        assert_eq!((world.record().leader_epoch.get(), world.breach()), (0, None), "3 has everything");
        world.resume(BrokerId(3));
        world.run(1_500);
        assert_eq!(world.leader(), Some(3));
        world.ends_well();
        assert_eq!(world.values(1), [acked]);
    });
}

#[test]
fn n19_a_paused_leader_wakes_with_parked_produces() {
    guarded(&[Bug::L11LateAck, Bug::E6NoDeadline], || {
        let mut world = World::new(3).topic(3, 2);
        world.acked(1);
        world.cut(1, 2);
        world.cut(1, 3);
        let parked: Vec<u64> = (0..200).map(|_| world.produce(1, true)).collect();
        world.run(10);
        world.pause(BrokerId(1));
        world.run(2_700);
        assert_eq!(world.leader(), Some(2));
        // A client that never left, and nobody who tells.
        world.cut_etcd(1);
        let (late, late_all) = (world.produce(1, false), world.produce(1, true));
        world.resume(BrokerId(1));
        world.run(300);
        world.net = Default::default();
        for _ in 0..260 {
            world.produce(2, true);
            world.run(4);
        }
        world.run(500);
        assert_eq!(world.breach(), None);
        assert!(parked.iter().chain([&late, &late_all]).all(|op| !world.is_acked(*op)));
        world.ends_well();
    });
}

#[test]
fn n24_all_brokers_vanish_at_once() {
    guarded(&[Bug::U2NoElr, Bug::U1UnknownIgnored, Bug::B2Ignored], || {
        let mut world = World::new(3).topic(3, 2);
        let acked = world.acked(1);
        for broker in 1..=3 {
            world.end_session(broker);
        }
        for broker in 2..=3 {
            world.cut_etcd(broker);
        }
        world.run(600);
        assert_eq!((world.leader(), world.isr(), world.elr()), (Some(1), vec![1], vec![2, 3]));
        // The one that came back first loses what it had.
        world.unsynced(1);
        world.kill(1, Loss::Unsynced);
        world.start_broker(1);
        world.run(3_000);
        assert_eq!(world.breach(), None);
        world.ends_well();
        assert_eq!(
            (world.values(1), world.checker().counters.cuts),
            (&[acked][..], 0),
            "no unclean election"
        );
    });
    // All come back as they were: nobody has to do anything.
    let mut world = World::new(3).topic(3, 2);
    let acked = world.acked(1);
    for broker in 1..=3 {
        world.end_session(broker);
    }
    world.run(1_500);
    assert_eq!(
        (world.leader().is_some(), world.isr(), world.checker().counters.cuts),
        (true, vec![1, 2, 3], 0)
    );
    world.ends_well();
    assert_eq!(world.values(3), [acked]);
}

#[test]
fn n42_a_follower_that_is_away_and_intact_blocks_the_last_known_leader() {
    guarded(&[Bug::U1UnknownIgnored, Bug::U2NoElr], || {
        let mut world = World::new(2).topic(2, 2);
        let acked = world.acked(1);
        world.cut_etcd(2);
        world.end_session(2);
        world.run(300);
        assert_eq!((world.isr(), world.elr()), (vec![1], vec![2]));
        world.unsynced(1);
        world.kill(1, Loss::Unsynced);
        world.start_broker(1);
        world.run(3_000);
        assert_eq!((world.record().leader_epoch.get(), world.breach()), (0, None));
        world.mend_etcd(2);
        world.run(1_500);
        assert_eq!(world.leader(), Some(2));
        world.ends_well();
        assert_eq!(world.values(1), [acked]);
    });
}

#[test]
fn n44_a_ballot_on_a_stale_image_keeps_nobody_who_was_refuted() {
    guarded(&[Bug::E10NoIntact], || {
        let mut world = World::new(3).topic(3, 2);
        world.acked(1);
        world.hold(|event| changes_partition(event, 2) || changes_partition(event, 3));
        world.kill(1, Loss::Nothing);
        world.run(20);
        assert!(!world.held.is_empty(), "2's ballot is on its way, with 3 in sync");
        world.unsynced(3);
        world.cut_both(2, 3);
        world.kill(3, Loss::IoError);
        world.start_broker(3);
        world.run(400);
        assert!(world.process(3).held().is_some());
        world.release();
        world.run(100);
        assert_eq!(world.breach(), None);
        world.ends_well();
    });
}

#[test]
fn n46_a_restarted_leader_does_not_go_on_in_its_old_epoch() {
    guarded(&[Bug::E3LeadsOn], || {
        for loss in [Loss::Nothing, Loss::IoError] {
            let mut world = World::new(2).topic(2, 1);
            world.acked(1);
            // Nobody else sees it gone: neither its port nor its session.
            world.cut_both(1, 2);
            world.hold(|event| matches!(event, Event::Watch { node: BrokerId(2), .. }));
            world.unsynced(1);
            world.kill(1, loss);
            world.start_broker(1);
            world.run(700);
            assert!(world.process(1).held().is_some());
            assert_eq!(world.breach(), None);
            let epoch = i32::from(loss == Loss::Nothing);
            assert_eq!(world.record().leader_epoch.get(), epoch, "it leads anew if it lost nothing");
            world.ends_well();
            assert_eq!(world.record().leader_epoch.get(), 1);
        }
    });
}
