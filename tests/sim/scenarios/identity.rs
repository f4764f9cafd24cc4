//! Lifetimes of brokers, and what they prove.

use super::super::node::Loss;
use super::super::world::{Event, World};
use super::guarded;
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
