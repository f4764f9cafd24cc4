//! etcd is away: for one, or for all.

use super::super::message::Refusal;
use super::super::node::Loss;
use super::super::world::World;
use super::guarded;
use crate::types::seeded::Bug;

#[test]
fn n22_etcd_is_away_and_then_a_follower_dies() {
    guarded(&[Bug::L4ShrinkEarly, Bug::E6NoDeadline], || {
        let mut world = World::new(3).topic(3, 2);
        world.etcd.down = true;
        world.run(5_000);
        // No time limit: all in sync fetch in this epoch.
        world.acked(1);
        let leader_only = world.produce(1, false);
        world.run(20);
        assert_eq!(world.refusal(leader_only), Some(Refusal::NotLeader), "somebody else may lead by now");
        world.kill(3, Loss::Nothing);
        let op = world.produce(1, true);
        world.run(3_000);
        assert_eq!((world.is_acked(op), world.breach()), (false, None), "nobody can take 3 out");
        let now = world.now;
        world.etcd.up(now);
        world.run(2_500);
        assert_eq!((world.leader(), world.isr()), (Some(1), vec![1, 2]));
        assert!(world.is_acked(op));
        world.ends_well();
    });
}

#[test]
fn n22_only_the_leader_is_cut_off_from_etcd() {
    guarded(&[Bug::E6NoDeadline], || {
        let mut world = World::new(3).topic(3, 2);
        world.cut_etcd(1);
        world.run(100);
        world.acked(1);
        world.run(2_000);
        assert_eq!(world.leader(), Some(2), "its lease is over");
        let (all, leader_only) = (world.produce(1, true), world.produce(1, false));
        world.run(1_000);
        assert!(!world.is_acked(all) && !world.is_acked(leader_only));
        assert_eq!(world.breach(), None);
        world.acked(2);
        world.ends_well();
    });
}
