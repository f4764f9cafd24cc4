//! Logs that part and meet again: fetches, divergence, truncation.

use super::super::message::{Body, ClientAnswer, Refusal};
use super::super::node::Loss;
use super::super::world::World;
use super::{fetch_of, fetched_by, guarded, tells_high_watermark};
use crate::types::seeded::Bug;
use crate::types::{LeaderEpoch, Offset};

#[test]
fn n2_a_follower_with_a_stale_high_watermark_keeps_its_records() {
    guarded(&[Bug::F2ToHighWatermark], || {
        let mut world = World::new(2).topic(2, 2);
        world.hold(|event| tells_high_watermark(event, 2, 1));
        world.acked(1);
        assert_eq!((world.values(2).len(), world.replica(2).high_watermark.get()), (1, 0));
        // It leads without hearing of anybody, and follows again: its epoch has no record, so its log is cut to its own end.
        world.cut(1, 2);
        world.moves_from(1);
        assert_eq!(world.leader(), Some(2));
        assert_eq!(world.replica(2).high_watermark.get(), 0);
        world.moves_from(2);
        assert_eq!(world.leader(), Some(1));
        world.mend(1, 2);
        world.release();
        world.run(400);
        assert_eq!((world.values(2).len(), world.breach()), (1, None));
        world.ends_well();
    });
}

#[test]
fn n3_two_hosts_lose_power_and_have_other_records_at_one_offset() {
    guarded(&[Bug::L10NoDivergence, Bug::F2OneRound, Bug::F2ToHighWatermark], || {
        let mut world = World::new(2).topic(2, 1).unclean();
        let both = world.acked(1);
        world.acked(1);
        world.run(30);
        for replica in world.process_mut(2).replicas.values_mut() {
            replica.log.synced = 1;
        }
        for replica in world.process_mut(1).replicas.values_mut() {
            replica.log.sync();
            replica.log.checkpoint = 2;
        }
        world.kill(1, Loss::Unsynced);
        world.kill(2, Loss::Unsynced);
        world.start_broker(2);
        world.run(3_000);
        assert_eq!((world.leader(), world.values(2)), (Some(2), &[both][..]), "an operator allowed it");
        let other = world.acked(2);
        world.start_broker(1);
        world.run(1_500);
        assert_eq!(world.settle(), Ok(()));
        assert_eq!(world.values(1), [both, other]);
    });
}

#[test]
fn n4_two_quick_failovers_take_two_rounds() {
    guarded(&[Bug::F2OneRound, Bug::L10NoDivergence], || {
        let mut world = World::new(2).topic(2, 1).unclean();
        let both = world.acked(1);
        // 1 alone, in epoch 0.
        world.cut(1, 2);
        world.produce(1, false);
        world.run(20);
        world.kill(1, Loss::Nothing);
        world.net = Default::default();
        world.run(1_500);
        // 2 alone, in epoch 1.
        let second = world.produce(2, false);
        world.run(20);
        world.kill(2, Loss::Nothing);
        world.start_broker(1);
        world.run(2_500);
        // 1 alone again, in epoch 2.
        assert_eq!(world.leader(), Some(1));
        world.produce(1, false);
        world.produce(1, false);
        world.run(20);
        world.kill(1, Loss::Nothing);
        world.start_broker(2);
        world.run(2_500);
        // And 2, in epoch 3, which has never heard of epoch 2.
        assert_eq!((world.leader(), world.record().leader_epoch), (Some(2), LeaderEpoch(3)));
        let last = world.produce(2, false);
        world.run(20);
        world.start_broker(1);
        world.run(1_000);
        assert_eq!(world.settle(), Ok(()));
        assert_eq!(world.values(1), [both, second, last]);
        assert!(world.checker().counters.truncations >= 2);
    });
}

#[test]
fn n5_an_answer_of_a_leader_of_another_epoch_cuts_nothing() {
    guarded(&[Bug::F1OtherEpoch], || {
        let mut world = World::new(3).topic(3, 2);
        world.acked(1);
        // 1 has two records that nobody else has, and then follows.
        world.cut(1, 2);
        world.cut(1, 3);
        world.produce(1, false);
        world.produce(1, false);
        world.run(10);
        world.hold(|event| {
            fetched_by(event, 1).is_some_and(|fetched| {
                fetched.epoch == LeaderEpoch(1) && matches!(fetched.body, Body::Diverging { .. })
            })
        });
        world.process_mut(1).draining = true;
        world.run(100);
        assert_eq!(world.leader(), Some(2));
        world.mend(1, 2);
        world.mend(1, 3);
        world.run(500);
        assert!(!world.held.is_empty(), "2 has told where the logs part");
        // In the next epoch 1 goes through that with 3, and goes on.
        world.moves_from(2);
        assert_eq!(world.leader(), Some(3));
        world.run(400);
        let more = [world.acked(3), world.acked(3)];
        world.run(200);
        assert!(world.values(1).ends_with(&more));
        world.release();
        world.run(100);
        assert!(world.values(1).ends_with(&more));
        assert_eq!(world.breach(), None);
        world.ends_well();
    });
}

#[test]
fn n6_a_fetch_of_an_older_epoch_moves_nothing() {
    guarded(&[Bug::L8NoEpochCheck], || {
        let mut world = World::new(3).topic(3, 2);
        world.acked(1);
        world.cut(1, 2);
        world.hold(|event| {
            fetch_of(event, 3)
                .is_some_and(|fetch| fetch.epoch == LeaderEpoch(0) && fetch.position.offset.get() == 2)
        });
        world.produce(1, false);
        world.run(20);
        assert_eq!((world.values(3).len(), world.held.len()), (2, 1));
        // 2 leads, which has not got the record; 3 is cut, 1 does not fetch. Then 1 leads again.
        world.hold(|event| fetch_of(event, 1).is_some());
        world.moves_from(1);
        assert_eq!((world.leader(), world.values(3).len(), world.values(1).len()), (Some(2), 1, 2));
        world.mend(1, 2);
        world.cut_both(1, 3);
        world.moves_from(2);
        assert_eq!((world.leader(), world.values(2).len()), (Some(1), 2));
        world.release();
        world.run(200);
        assert_eq!((world.replica(1).high_watermark.get(), world.breach()), (1, None), "3 has not got it");
        world.ends_well();
    });
}

#[test]
fn n6_a_fetch_of_an_older_lifetime_moves_nothing() {
    guarded(&[Bug::L3NoReplicaEpoch], || {
        let mut world = World::new(3).topic(3, 2);
        world.hold(|event| fetch_of(event, 3).is_some_and(|fetch| fetch.position.offset.get() == 1));
        world.produce(1, true);
        world.run(20);
        assert_eq!(world.held.len(), 1);
        world.unsynced(3);
        world.cut_off(3);
        world.kill(3, Loss::IoError);
        world.start_broker(3);
        world.run(600);
        assert_eq!((world.isr(), world.values(3)), (vec![1, 2], &[][..]));
        world.release();
        world.run(100);
        assert_eq!((world.isr(), world.breach()), (vec![1, 2], None));
        world.ends_well();
    });
}

#[test]
fn n18_who_reads_on_after_a_failover_is_not_told_that_its_offset_is_out_of_range() {
    guarded(&[Bug::C3OutOfRange], || {
        let mut world = World::new(3).topic(3, 2);
        world.acked(1);
        world.run(50);
        world.hold(|event| tells_high_watermark(event, 2, 2) || tells_high_watermark(event, 3, 2));
        let last = world.acked(1);
        // Consumers read from leaders only: a follower, which knows less, says where to go.
        let (follower, leader) = (world.read(2, 1, None), world.read(1, 1, None));
        world.run(20);
        assert_eq!(world.refusal(follower), Some(Refusal::NotLeader));
        let first = Offset::new(1).unwrap();
        assert_eq!(world.answer(leader), Some(&ClientAnswer::Read { from: first, values: vec![last] }));
        world.kill(1, Loss::Nothing);
        world.hold(|event| fetch_of(event, 3).is_some());
        world.run(200);
        assert_eq!((world.leader(), world.replica(2).high_watermark.get()), (Some(2), 1));
        // Between the high watermark and the end of the log there is nothing yet, which is no reason to begin anew.
        let on = world.read(2, 2, None);
        world.run(20);
        let next = Offset::new(2).unwrap();
        assert_eq!(world.answer(on), Some(&ClientAnswer::Read { from: next, values: vec![] }));
        assert_eq!(world.breach(), None);
        world.ends_well();
    });
}

#[test]
fn n17_latest_is_not_told_before_it_is_known() {
    guarded(&[Bug::C2Early], || {
        let mut world = World::new(3).topic(3, 2);
        world.acked(1);
        world.run(50);
        world.hold(|event| tells_high_watermark(event, 2, 2) || tells_high_watermark(event, 3, 2));
        world.acked(1);
        let before = world.latest(1, None);
        world.run(20);
        assert!(world.answer(before).is_some());
        world.kill(1, Loss::Nothing);
        world.hold(|event| fetch_of(event, 3).is_some());
        world.run(200);
        assert_eq!((world.leader(), world.replica(2).high_watermark.get()), (Some(2), 1));
        let after = world.latest(2, None);
        world.run(20);
        assert_eq!((world.refusal(after), world.breach()), (Some(Refusal::OffsetNotAvailable), None));
        world.ends_well();
    });
}
