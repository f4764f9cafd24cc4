//! Who joins the ISR, who leaves it, and by which record.

use super::super::world::{World, at, guarded, id, ids, secs};
use super::tests::{NOW, elr_of, fetch, isr_of, two_of_three};
use super::*;

// N8.
#[test]
fn a_follower_joins_only_after_a_fetch_in_this_epoch() {
    guarded(&[Bug::L5NotThisEpoch], || {
        let (world, mut leader) = two_of_three();
        assert_eq!(world.wants(&leader, NOW), None);
        fetch(&world, &mut leader, 3, 10, NOW);
        assert_eq!(isr_of(&world.wants(&leader, NOW).unwrap()), [1, 2, 3]);
    });
}

#[test]
fn a_follower_joins_only_at_or_above_the_high_watermark() {
    guarded(&[Bug::L5BelowHighWatermark], || {
        let world = World::with(&[1, 2, 3], |state| state.isr.truncate(2));
        let mut leader = world.leader(1, 1, 10, 5);
        leader.appended(at(20));
        fetch(&world, &mut leader, 2, 20, NOW);
        assert_eq!(leader.advance(NOW), at(20));
        fetch(&world, &mut leader, 3, 19, NOW);
        assert!(!leader.may_grow(id(3)));
        assert_eq!(world.wants(&leader, NOW), None);
        fetch(&world, &mut leader, 3, 20, NOW);
        assert!(leader.may_grow(id(3)));
        assert_eq!(isr_of(&world.wants(&leader, NOW).unwrap()), [1, 2, 3]);
    });
}

// N7.
#[test]
fn a_follower_joins_only_at_or_above_the_start_of_the_epoch() {
    guarded(&[Bug::L5BelowEpochStart], || {
        let world = World::with(&[1, 2, 3], |state| state.isr.truncate(2));
        let mut leader = world.leader(1, 1, 10, 5);
        fetch(&world, &mut leader, 3, 9, NOW);
        assert_eq!(world.wants(&leader, NOW), None, "the high watermark known here may be stale");
        fetch(&world, &mut leader, 3, 10, NOW);
        assert_eq!(isr_of(&world.wants(&leader, NOW).unwrap()), [1, 2, 3]);
    });
}

// N9.
#[test]
fn an_addition_compares_the_very_registration() {
    guarded(&[Bug::E4NoEpoch], || {
        for stopping in [false, true] {
            let (mut world, mut leader) = two_of_three();
            fetch(&world, &mut leader, 3, 10, NOW);
            let change = world.wants(&leader, NOW).unwrap();
            assert!(world.takes(&change));
            if stopping {
                world.flags(3, false, true);
            } else {
                world.restarts(3, false);
            }
            assert!(!world.takes(&change));
        }
    });
}

// N10.
#[test]
fn a_broker_that_stops_leaves_and_is_not_taken_back() {
    guarded(&[Bug::U5TakenBack], || {
        let (mut world, mut leader) = two_of_three();
        fetch(&world, &mut leader, 3, 10, NOW);
        world.flags(3, false, true);
        world.show(&mut leader, 1, NOW);
        assert_eq!(world.wants(&leader, NOW), None);
    });
    let (mut world, mut leader) = two_of_three();
    world.flags(2, false, true);
    world.show(&mut leader, 1, NOW);
    assert_eq!(isr_of(&world.wants(&leader, NOW).unwrap()), [1]);
    let (mut world, mut leader) = two_of_three();
    world.flags(2, true, false);
    world.show(&mut leader, 1, NOW);
    assert_eq!(world.wants(&leader, NOW), None, "draining is not stopping");
}

#[test]
fn a_follower_that_lags_leaves_after_its_time_and_no_sooner() {
    let (world, mut leader) = two_of_three();
    leader.appended(at(20));
    fetch(&world, &mut leader, 2, 11, secs(20));
    assert_eq!(world.wants(&leader, secs(31)), None, "at second 1 it had all");
    let change = world.wants(&leader, secs(32)).unwrap();
    assert_eq!((isr_of(&change), elr_of(&change)), (vec![1], vec![]));
    // It had at second 33 what there was at second 20.
    fetch(&world, &mut leader, 2, 20, secs(33));
    leader.appended(at(30));
    assert_eq!(world.wants(&leader, secs(63)), None);
    assert!(world.wants(&leader, secs(64)).is_some());
}

#[test]
fn nobody_lags_where_nothing_is_produced() {
    let (world, leader) = two_of_three();
    assert_eq!(world.wants(&leader, secs(500)), None);
}

#[test]
fn who_has_left_must_fetch_again_before_it_joins() {
    guarded(&[Bug::L5NotThisEpoch], || {
        let (mut world, mut leader) = two_of_three();
        leader.appended(at(20));
        world.changes(&mut leader, 1, secs(32));
        assert_eq!((ids(&world.state().isr), world.wants(&leader, secs(32))), (vec![1], None));
        fetch(&world, &mut leader, 2, 20, secs(33));
        assert_eq!(isr_of(&world.wants(&leader, secs(33)).unwrap()), [1, 2]);
    });
}

#[test]
fn who_never_fetches_has_the_whole_lag_time_from_the_epochs_beginning() {
    let world = World::new(&[1, 2]);
    let leader = world.leader(1, 1, 10, 5);
    assert_eq!(world.wants(&leader, secs(30)), None);
    assert_eq!(isr_of(&world.wants(&leader, secs(31)).unwrap()), [1]);
}

#[test]
fn who_joins_far_behind_the_leader_has_the_whole_lag_time() {
    let world = World::with(&[1, 2, 3], |state| state.isr.truncate(2));
    let mut world = world;
    let mut leader = world.leader(1, 1, 10, 10);
    leader.appended(at(90));
    fetch(&world, &mut leader, 2, 20, secs(40));
    leader.advance(secs(40));
    fetch(&world, &mut leader, 2, 90, secs(50));
    fetch(&world, &mut leader, 3, 20, secs(50));
    assert_eq!(isr_of(&world.wants(&leader, secs(50)).unwrap()), [1, 2, 3]);
    world.changes(&mut leader, 1, secs(50));
    assert_eq!(world.wants(&leader, secs(80)), None);
    assert_eq!(isr_of(&world.wants(&leader, secs(81)).unwrap()), [1, 2]);
}

#[test]
fn the_leader_does_not_take_itself_out() {
    guarded(&[Bug::L6RemovesItself], || {
        let mut world = World::new(&[1, 2]);
        world.flags(1, true, true);
        let leader = world.leader(1, 1, 10, 5);
        assert_eq!(isr_of(&world.wants(&leader, secs(99)).unwrap()), [1]);
    });
}

#[test]
fn a_change_compares_the_leaders_lifetime_and_every_entry_it_keeps() {
    guarded(&[Bug::E10NoIntact], || {
        let mut world = World::with(&[1, 2, 3], |_| {});
        let mut leader = world.leader(1, 3, 10, 5);
        fetch(&world, &mut leader, 2, 10, secs(40));
        let change = world.wants(&leader, secs(40)).unwrap();
        assert_eq!((isr_of(&change), elr_of(&change)), (vec![1, 2], vec![3]));
        let taken = |disturb: &dyn Fn(&mut World)| {
            let mut other = world.clone();
            disturb(&mut other);
            other.takes(&change)
        };
        assert!(taken(&|_| {}));
        assert!(
            taken(&|world| {
                world.restarts(2, true);
            }),
            "harmless"
        );
        assert!(
            !taken(&|world| {
                world.restarts(1, true);
            }),
            "another lifetime of the leader"
        );
        assert!(
            !taken(&|world| {
                world.restarts(2, false);
            }),
            "refuted in the ISR"
        );
        assert!(
            !taken(&|world| {
                world.restarts(3, false);
            }),
            "refuted in the ELR"
        );
        assert!(!taken(&|world| world.write(|_| {})), "another record");
        world.write(|_| {});
    });
}

#[test]
fn the_isr_grows_only_after_the_recovery_is_recorded() {
    guarded(&[Bug::L13ExpandBeforeRecovered], || {
        let mut world = World::with(&[1, 2], |state| {
            state.isr.truncate(1);
            state.recovering = true;
        });
        let mut leader = world.leader(1, 1, 10, 5);
        fetch(&world, &mut leader, 2, 10, NOW);
        let change = world.wants(&leader, NOW).unwrap();
        assert_eq!((isr_of(&change), change.value.value.recovering), (vec![1], false));
        world.changes(&mut leader, 1, NOW);
        assert_eq!(isr_of(&world.wants(&leader, NOW).unwrap()), [1, 2]);
    });
}
