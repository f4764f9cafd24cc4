//! etcd goes back in time (rule E13). Blocks of producer ids (rule T11) are no matter of the model: whoever takes one keeps its end in a
//! file of its own, and what that is good for is tested with the real transactions (`tests/metadata/`).

use super::super::message::Refusal;
use super::super::node::Loss;
use super::super::world::World;
use super::guarded;
use crate::types::BrokerId;
use crate::types::seeded::Bug;

/// Broker 2 leads and has acknowledged records in an epoch of which etcd knows nothing any more: there, 1 leads in the one before.
fn led_in_an_epoch_that_is_forgotten() -> (World, Vec<u64>) {
    let mut world = World::new(3).topic(3, 2);
    let mut acked = vec![world.acked(1)];
    world.backup();
    for from in [1, 2, 1, 2, 1, 2, 1, 2, 1] {
        world.moves_from(from);
    }
    acked.extend([world.acked(2), world.acked(2)]);
    assert_eq!((world.leader(), world.record().leader_epoch.get()), (Some(2), 9));
    // Long enough for the disks to remember the revision.
    world.run(600);
    world.restore();
    assert_eq!((world.leader(), world.record().leader_epoch.get()), (Some(1), 0));
    (world, acked)
}

#[test]
fn n23_an_etcd_of_the_past_is_believed_by_nobody_until_that_is_accepted() {
    guarded(&[Bug::E13Believes, Bug::E13NotRaised], || {
        let (mut world, acked) = led_in_an_epoch_that_is_forgotten();
        world.run(2_000);
        let leader_only = world.produce(2, false);
        world.run(20);
        assert_eq!(world.refusal(leader_only), Some(Refusal::NotLeader), "somebody else may lead by now");
        // Started again, they remember.
        for broker in 1..=3 {
            world.kill(broker, Loss::Nothing);
        }
        for broker in 1..=3 {
            world.start_broker(broker);
        }
        world.run(3_000);
        assert_eq!(
            (world.record().leader_epoch.get(), world.breach()),
            (0, None),
            "epoch 1 was given out before"
        );
        assert!((1..=3).all(|broker| world.process(broker).held().is_none()));
        // An operator accepts it: nothing was forgotten that anything depends on, so nothing is lost.
        for broker in 1..=3 {
            world.accept(BrokerId(broker));
        }
        world.ends_well();
        assert!(world.record().leader_epoch.get() > 1_000, "{:?}", world.record());
        assert!((1..=3).all(|broker| world.values(broker) == acked));
    });
}

#[test]
fn n23_a_log_that_is_newer_than_its_record_waits_even_if_the_disk_forgot_the_revision() {
    guarded(&[Bug::E13Believes], || {
        let (mut world, acked) = led_in_an_epoch_that_is_forgotten();
        for broker in 1..=3 {
            world.kill(broker, Loss::Nothing);
            // Nothing tells but the logs, and nobody has accepted anything.
            world.nodes.get_mut(&BrokerId(broker)).unwrap().disk.highest = i64::MAX;
        }
        for broker in 1..=3 {
            world.start_broker(broker);
            world.process_mut(broker).knows_no_revision();
        }
        world.run(3_000);
        assert!((1..=3).all(|broker| world.process(broker).held().is_some()));
        assert_eq!((world.record().leader_epoch.get(), world.breach()), (0, None));
        assert!((1..=3).all(|broker| world.leader_core(broker).is_none()));
        world.ends_well();
        assert!((1..=3).all(|broker| world.values(broker) == acked));
    });
}

/// To accept a rollback is an operator's unclean election: etcd believes in whoever was in sync when the backup was made.
#[test]
fn n23_what_etcd_has_forgotten_of_the_in_sync_set_costs_records_once_that_is_accepted() {
    guarded(&[Bug::E13NotRaised], || {
        let mut world = World::new(2).topic(2, 1);
        let both = world.acked(1);
        world.moves_from(1);
        world.moves_from(2);
        world.run(100);
        world.backup();
        world.falls_behind(2, 1);
        assert_eq!((world.isr(), world.record().leader_epoch.get()), (vec![1], 2));
        // 1 begins another epoch of its own, and acknowledges what nobody else has.
        world.kill(1, Loss::Nothing);
        world.start_broker(1);
        world.run(1_000);
        assert_eq!((world.leader(), world.record().leader_epoch.get()), (Some(1), 3));
        world.acked(1);
        world.kill(1, Loss::Nothing);
        world.restore();
        assert_eq!(world.isr(), [1, 2]);
        world.accept(BrokerId(2));
        world.run(3_000);
        assert_eq!((world.leader(), world.values(2), world.breach()), (Some(2), &[both][..], None));
        let other = world.acked(2);
        // Both begin at one offset, and are told apart by their epochs.
        assert_eq!(world.settle(), Ok(()));
        assert_eq!(world.values(1), [both, other]);
        assert_eq!(world.checker().counters.acked_lost, 1);
    });
}
