//! Who is in sync, and what is committed with whom.

use super::super::controller::Wish;
use super::super::message::Refusal;
use super::super::node::Loss;
use super::super::world::{Event, World};
use super::{changes_partition, fetched_by, guarded, tells_high_watermark};
use crate::types::BrokerId;
use crate::types::seeded::Bug;

/// Broker 3 is about to stop and has left the ISR. It does not see that, and fetches on.
fn stops_and_fetches_on(world: &mut World) {
    world.stop_broker(3);
    while world.isr().len() == 3 {
        if world.process(1).image.brokers[&BrokerId(3)].stopping {
            world.cut_etcd(3);
        }
        let next = world.now + 1;
        world.step(next);
    }
}

#[test]
fn n1_followers_are_cut_off_and_the_leader_goes_on_alone() {
    // min.insync.replicas = 1: what it acknowledges alone waits for its return.
    guarded(&[Bug::U1Unclean], || {
        let mut world = World::new(3).topic(3, 1);
        world.cut_off(1);
        let first = world.produce(1, true);
        world.run(900);
        assert_eq!((world.isr(), world.is_acked(first)), (vec![1], true));
        let alone = world.acked(1);
        world.kill(1, Loss::Nothing);
        world.run(3_000);
        assert_eq!(world.leader(), Some(1), "nobody else has the record");
        world.ends_well();
        assert_eq!(world.values(2), [first, alone]);
    });
    // min.insync.replicas = 2: nothing is acknowledged alone.
    guarded(&[Bug::L7NoMinIsr], || {
        let mut world = World::new(3).topic(3, 2);
        world.cut_off(1);
        world.produce(1, false);
        world.run(900);
        assert_eq!((world.isr(), world.elr().is_empty()), (vec![1], false));
        let alone = world.produce(1, true);
        world.run(100);
        assert_eq!(world.refusal(alone), Some(Refusal::NotEnoughReplicas));
        world.ends_well();
    });
}

#[test]
fn n7_a_follower_below_the_epochs_start_does_not_join_on_a_stale_high_watermark() {
    guarded(&[Bug::L5BelowEpochStart], || {
        let mut world = World::new(3).topic(3, 2);
        let first = world.acked(1);
        world.run(50);
        // 3 has the first record only; 2 has all and does not hear what is committed.
        world.hold(|event| tells_high_watermark(event, 2, 2));
        world.falls_behind(3, 1);
        assert_eq!((world.replica(1).high_watermark.get(), world.values(2).len()), (2, 2));
        assert_eq!(world.replica(2).high_watermark.get(), 1);
        world.kill(1, Loss::Nothing);
        world.hold(|event| fetched_by(event, 3).is_some());
        world.mend_both(2, 3);
        world.run(300);
        assert_eq!(world.leader(), Some(2));
        assert_eq!(world.values(3), [first], "it is at the high watermark that 2 knows");
        assert_eq!((world.isr(), world.breach()), (vec![2], None));
        world.ends_well();
        assert_eq!(world.values(3).len(), 2);
    });
}

#[test]
fn n8_a_follower_that_left_and_came_back_must_fetch_in_this_epoch() {
    guarded(&[Bug::L5NotThisEpoch], || {
        let mut world = World::new(3).topic(3, 2);
        world.falls_behind(3, 1);
        world.acked(1);
        world.moves_from(1);
        assert_eq!(world.leader(), Some(2));
        world.run(300);
        assert_eq!((world.isr(), world.breach()), (vec![1, 2], None));
        world.ends_well();
    });
}

#[test]
fn n9_a_follower_on_its_way_into_the_isr_loses_its_disk() {
    guarded(&[Bug::E4NoEpoch], || {
        let mut world = World::new(2).topic(2, 1);
        world.falls_behind(2, 1);
        world.acked(1);
        world.hold(|event| changes_partition(event, 1));
        world.mend_both(1, 2);
        while world.held.is_empty() {
            world.run(5);
        }
        world.kill(2, Loss::Disk);
        world.cut_both(1, 2);
        world.start_broker(2);
        world.run(2_000);
        assert!(world.process(2).held().is_some(), "another lifetime, with nothing");
        world.release();
        world.run(100);
        assert_eq!((world.isr(), world.breach()), (vec![1], None));
        world.ends_well();
    });
}

#[test]
fn n10_a_broker_that_stops_is_not_taken_back() {
    guarded(&[Bug::U5TakenBack], || {
        let mut world = World::new(3).topic(3, 2);
        world.acked(1);
        stops_and_fetches_on(&mut world);
        world.run(300);
        assert_eq!((world.isr(), world.breach()), (vec![1, 2], None));
        world.ends_well();
    });
}

#[test]
fn n14_a_shrink_that_is_only_proposed_moves_nothing() {
    guarded(&[Bug::L4ShrinkEarly], || {
        let mut world = World::new(3).topic(3, 2);
        world.hold(|event| changes_partition(event, 1));
        world.cut_off(3);
        let op = world.produce(1, true);
        world.run(1_500);
        assert!(!world.held.is_empty(), "the shrink is on its way");
        assert_eq!((world.isr(), world.is_acked(op), world.breach()), (vec![1, 2, 3], false, None));
        world.release();
        world.run(600);
        assert_eq!((world.isr(), world.is_acked(op)), (vec![1, 2], true));
        world.ends_well();
    });
}

#[test]
fn n15_the_answer_to_a_change_comes_after_an_image_that_moved_on() {
    guarded(&[Bug::L4OtherOutcome], || {
        let mut world = World::new(4).topic(3, 2);
        world.falls_behind(3, 1);
        world.acked(1);
        world.hold(|event| changes_partition(event, 1));
        world.mend_both(1, 3);
        while world.held.is_empty() {
            world.run(5);
        }
        world.cut_off(3);
        // Somebody else changes the record in the same leader epoch, and 1 sees that before it is answered.
        world.process_mut(2).wishes.push(Wish::Reassign(0, [1, 2, 3, 4].map(BrokerId).to_vec()));
        world.run(120);
        assert_eq!(world.record().adding, [BrokerId(4)]);
        world.holds.clear();
        world.hold(|event| matches!(event, Event::Watch { node: BrokerId(1), .. }));
        let now = world.now;
        for event in std::mem::take(&mut world.held) {
            world.at(now, event);
        }
        world.run(30);
        world.produce(1, true);
        world.run(800);
        assert_eq!(world.breach(), None);
        world.ends_well();
    });
}

#[test]
fn n16_a_follower_that_may_not_join_holds_nothing_back() {
    guarded(&[Bug::L3IneligibleHolds], || {
        let mut world = World::new(3).topic(3, 2);
        world.acked(1);
        let epoch = world.record().leader_epoch;
        stops_and_fetches_on(&mut world);
        world.run(200);
        world.cut(1, 3);
        let op = world.produce(1, true);
        world.run(60);
        assert!(world.is_acked(op), "{:?}", world.answer(op));
        assert_eq!(world.record().leader_epoch, epoch, "no change of the ISR is one of the leader (rule E1)");
        world.ends_well();
    });
}

#[test]
fn n41_a_change_whose_answer_was_lost_may_land_any_time() {
    guarded(&[Bug::E9UnknownIsRejected], || {
        let mut world = World::new(2).topic(2, 1);
        world.falls_behind(2, 1);
        world.acked(1);
        world.hold(|event| changes_partition(event, 1));
        world.mend_both(1, 2);
        while world.held.is_empty() {
            world.run(5);
        }
        world.cut_both(1, 2);
        assert_eq!(world.values(2).len(), 2);
        let second = world.produce(1, true);
        world.run(2_000);
        assert!(!world.is_acked(second), "2 may be in the ISR by now");
        world.release();
        world.run(50);
        assert_eq!(world.breach(), None);
        world.ends_well();
    });
}

#[test]
fn a_lower_min_insync_replicas_counts_once_nobody_else_is_eligible() {
    guarded(&[Bug::U2NoClear], || {
        let mut world = World::new(3).topic(3, 2);
        world.acked(1);
        world.kill(3, Loss::Nothing);
        world.run(300);
        world.kill(2, Loss::Nothing);
        world.run(300);
        assert_eq!((world.isr(), world.elr()), (vec![1], vec![2]));
        world.hold(|event| changes_partition(event, 1));
        world.configure(1);
        world.run(50);
        let alone = world.produce(1, true);
        world.run(50);
        assert!(!world.is_acked(alone), "2 may still be elected, and lacks it");
        world.release();
        world.run(200);
        assert_eq!((world.elr(), world.is_acked(alone)), (vec![], true));
        world.kill(1, Loss::Nothing);
        world.start_broker(2);
        world.run(3_000);
        assert_eq!((world.record().leader_epoch.get(), world.breach()), (0, None), "nobody else has it");
        world.ends_well();
        assert!(world.values(2).contains(&alone));
    });
}

#[test]
fn n43_an_entry_that_is_refuted_does_not_make_the_isr_large_enough() {
    guarded(&[Bug::U2RefutedCounts], || {
        let mut world = World::new(2).topic(2, 2);
        world.acked(1);
        world.hold(|event| changes_partition(event, 1));
        world.unsynced(2);
        world.kill(2, Loss::IoError);
        world.start_broker(2);
        world.run(500);
        assert_eq!(world.values(2).len(), 1, "the new process has caught up; the entry is still the old one");
        let op = world.produce(1, true);
        world.run(60);
        assert!(!world.is_acked(op), "one copy that counts is too few");
        world.ends_well();
    });
}
