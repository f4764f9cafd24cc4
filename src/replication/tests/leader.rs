//! What a leader counts, commits and proposes.

use super::super::world::{World, at, entry, guarded, id, ids, rules, secs, topic, unknown};
use super::*;

pub(super) const NOW: Duration = Duration::from_secs(1);

/// A follower of the world's present lifetime fetches from `log_end` on.
pub(super) fn fetch(world: &World, leader: &mut Leader, raw: i32, log_end: i64, now: Duration) {
    assert_eq!(leader.fetched(world.me(raw), at(log_end), now), Ok(true));
}

pub(super) fn isr_of(change: &PartitionChange) -> Vec<i32> {
    ids(&change.value.value.isr)
}

pub(super) fn elr_of(change: &PartitionChange) -> Vec<i32> {
    ids(&change.value.value.elr)
}

/// 1 leads, 2 is in sync, 3 is not: both have fetched everything up to 10.
pub(super) fn two_of_three() -> (World, Leader) {
    let world = World::with(&[1, 2, 3], |state| state.isr.truncate(2));
    let mut leader = world.leader(1, 1, 10, 5);
    fetch(&world, &mut leader, 2, 10, NOW);
    assert_eq!(leader.advance(NOW), at(10));
    (world, leader)
}

#[test]
fn a_new_leader_counts_nobody_who_has_not_fetched_in_its_epoch() {
    guarded(&[Bug::L1NoReset, Bug::L3LocalIsr], || {
        let world = World::new(&[1, 2, 3]);
        let mut leader = world.leader(1, 2, 10, 5);
        assert_eq!(leader.advance(NOW), at(5));
        fetch(&world, &mut leader, 2, 10, NOW);
        assert_eq!(leader.advance(NOW), at(5), "the third one is still unknown");
        fetch(&world, &mut leader, 3, 7, NOW);
        assert_eq!(leader.advance(NOW), at(7));
    });
}

#[test]
fn the_high_watermark_never_goes_down_in_an_epoch() {
    let (world, mut leader) = two_of_three();
    fetch(&world, &mut leader, 2, 4, NOW);
    assert_eq!(leader.advance(NOW), at(10));
    leader.appended(at(12));
    assert_eq!(leader.advance(NOW), at(10));
}

#[test]
fn a_high_watermark_beyond_the_own_log_is_not_believed() {
    assert_eq!(World::new(&[1, 2]).leader(1, 2, 10, 15).high_watermark(), at(10));
}

#[test]
fn nothing_is_committed_while_the_isr_is_too_small() {
    guarded(&[Bug::L3NoMinIsr], || {
        let world = World::with(&[1, 2, 3], |state| state.isr.truncate(1));
        let mut leader = world.leader(1, 2, 10, 5);
        assert_eq!(leader.advance(NOW), at(5));
        world.show(&mut leader, 1, NOW);
        assert_eq!(leader.advance(NOW), at(10));
    });
}

#[test]
fn a_min_isr_above_the_number_of_replicas_is_met_by_all_of_them() {
    let world = World::new(&[1, 2]);
    let mut leader = world.leader(1, 3, 10, 5);
    assert_eq!(leader.min_isr(), 2);
    fetch(&world, &mut leader, 2, 9, NOW);
    assert_eq!(leader.advance(NOW), at(9));
}

// N43.
#[test]
fn a_refuted_entry_holds_the_high_watermark_back_and_does_not_count_towards_min_isr() {
    guarded(&[Bug::U2RefutedCounts], || {
        let mut world = World::new(&[1, 2]);
        let mut leader = world.leader(1, 2, 10, 5);
        fetch(&world, &mut leader, 2, 8, NOW);
        assert_eq!(leader.advance(NOW), at(8));
        world.restarts(2, false);
        world.show(&mut leader, 2, NOW);
        fetch(&world, &mut leader, 2, 10, NOW);
        assert_eq!((leader.isr_size(), leader.has_min_isr(), leader.advance(NOW)), (1, false, at(8)));
        // It re-enters with its new lifetime.
        assert_eq!(
            world.changes(&mut leader, 2, NOW),
            PartitionOutcome::Written(PartitionEpoch(world.revision))
        );
        assert_eq!(world.state().isr, [world.me(1), world.me(2)]);
        assert_eq!((leader.has_min_isr(), leader.advance(NOW)), (true, at(10)));
    });
    let mut world = World::new(&[1, 2, 3]);
    let mut leader = world.leader(1, 2, 10, 5);
    fetch(&world, &mut leader, 2, 10, NOW);
    fetch(&world, &mut leader, 3, 10, NOW);
    world.restarts(3, false);
    world.show(&mut leader, 2, NOW);
    assert_eq!((leader.isr_size(), leader.advance(NOW)), (2, at(5)), "enough, but one of them is unknown");
}

#[test]
fn a_member_that_is_away_counts_towards_min_isr_and_holds_the_high_watermark_back() {
    let mut world = World::new(&[1, 2]);
    let mut leader = world.leader(1, 2, 10, 5);
    fetch(&world, &mut leader, 2, 10, NOW);
    world.leaves(2);
    world.show(&mut leader, 2, NOW);
    assert_eq!((leader.isr_size(), leader.advance(NOW)), (2, at(5)));
}

#[test]
fn the_only_replica_counts_whatever_became_of_its_data() {
    let mut world = World::new(&[1]);
    world.restarts(1, false);
    let mut leader = world.leader(1, 1, 10, 5);
    assert_eq!((leader.has_min_isr(), leader.advance(NOW)), (true, at(10)));
    assert_eq!(world.wants(&leader, NOW), None);
}

#[test]
fn what_an_earlier_lifetime_had_is_forgotten() {
    guarded(&[Bug::E3Aba], || {
        let (mut world, mut leader) = two_of_three();
        leader.appended(at(12));
        fetch(&world, &mut leader, 2, 12, NOW);
        world.restarts(2, true);
        world.show(&mut leader, 1, NOW);
        assert_eq!(leader.advance(NOW), at(10));
        fetch(&world, &mut leader, 2, 11, NOW);
        assert_eq!(leader.advance(NOW), at(11));
    });
}

// N6.
#[test]
fn a_fetch_of_another_lifetime_does_not_count() {
    guarded(&[Bug::L3NoReplicaEpoch], || {
        let world = World::new(&[1, 2]);
        let mut leader = world.leader(1, 2, 10, 5);
        let old = entry(2, world.me(2).epoch.get() - 1);
        assert_eq!(leader.fetched(old, at(10), NOW), Err(FetchRefusal::StaleBrokerEpoch));
        let new = entry(2, 99);
        assert_eq!(leader.fetched(new, at(10), NOW), Ok(false));
        assert_eq!(leader.advance(NOW), at(5));
    });
    let mut world = World::new(&[1, 2]);
    let mut leader = world.leader(1, 2, 10, 5);
    let gone = world.me(2);
    world.leaves(2);
    world.show(&mut leader, 2, NOW);
    assert_eq!(leader.fetched(gone, at(10), NOW), Ok(false), "not registered any more");
}

#[test]
fn who_is_no_replica_is_refused() {
    let mut world = World::new(&[1, 2]);
    let stranger = world.register(7, true);
    let mut leader = world.leader(1, 2, 10, 5);
    assert_eq!(leader.fetched(stranger, at(10), NOW), Err(FetchRefusal::NotAReplica));
    assert_eq!(leader.fetched(world.me(1), at(10), NOW), Err(FetchRefusal::NotAReplica), "nor is the leader");
    // A reassignment takes 2 out (rule E1: in a new epoch; here only its followers are looked at).
    world.write(|state| state.replicas = vec![id(1), id(7)]);
    world.show(&mut leader, 2, NOW);
    assert_eq!(leader.fetched(world.me(2), at(10), NOW), Err(FetchRefusal::NotAReplica));
    assert_eq!(leader.fetched(stranger, at(10), NOW), Ok(true));
    let change = world.wants(&leader, NOW).unwrap();
    assert_eq!((isr_of(&change), elr_of(&change)), (vec![1, 7], vec![]));
}

// N14.
#[test]
fn a_member_under_removal_counts_until_the_removal_stands() {
    guarded(&[Bug::L4ShrinkEarly], || {
        let (mut world, mut leader) = two_of_three();
        leader.appended(at(12));
        world.leaves(2);
        world.show(&mut leader, 1, NOW);
        let change = world.wants(&leader, NOW).unwrap();
        assert_eq!(isr_of(&change), [1]);
        leader.sent(&change);
        assert_eq!(leader.advance(NOW), at(10));
        leader.outcome(&PartitionOutcome::Rejected);
        assert_eq!(leader.advance(NOW), at(10), "back to the committed ISR");
        world.changes(&mut leader, 1, NOW);
        assert_eq!(leader.advance(NOW), at(12));
    });
}

#[test]
fn a_removal_that_was_written_counts_only_when_the_image_shows_it() {
    let (mut world, mut leader) = two_of_three();
    leader.appended(at(12));
    world.leaves(2);
    world.show(&mut leader, 1, NOW);
    let change = world.wants(&leader, NOW).unwrap();
    leader.sent(&change);
    leader.outcome(&world.submit(&change));
    assert_eq!(leader.advance(NOW), at(10));
    world.show(&mut leader, 1, NOW);
    assert_eq!((leader.advance(NOW), leader.is_alone()), (at(12), true));
}

#[test]
fn a_member_to_be_added_counts_at_once() {
    let (world, mut leader) = two_of_three();
    fetch(&world, &mut leader, 3, 10, NOW);
    let change = world.wants(&leader, NOW).unwrap();
    assert_eq!(isr_of(&change), [1, 2, 3]);
    leader.sent(&change);
    leader.appended(at(20));
    fetch(&world, &mut leader, 2, 20, secs(100));
    assert_eq!(leader.advance(secs(100)), at(10), "long after it was caught up");
    leader.outcome(&PartitionOutcome::Rejected);
    assert_eq!(leader.advance(secs(100)), at(20));
}

#[test]
fn one_change_at_a_time() {
    let (mut world, mut leader) = two_of_three();
    fetch(&world, &mut leader, 3, 10, NOW);
    assert!(leader.may_grow(id(3)));
    let change = world.wants(&leader, NOW).unwrap();
    leader.sent(&change);
    assert_eq!((world.wants(&leader, NOW), leader.may_grow(id(3))), (None, false));
    world.leaves(2);
    world.show(&mut leader, 1, NOW);
    assert_eq!(world.wants(&leader, NOW), None);
    leader.outcome(&PartitionOutcome::Rejected);
    assert_eq!(isr_of(&world.wants(&leader, NOW).unwrap()), [1, 3]);
}

// N15.
#[test]
fn an_outcome_is_that_of_its_own_change() {
    let (mut world, mut leader) = two_of_three();
    fetch(&world, &mut leader, 3, 10, NOW);
    let add = world.wants(&leader, NOW).unwrap();
    leader.sent(&add);
    // The controller wrote first; its image comes before the answer to the change.
    world.write(|state| state.why = "controller".to_owned());
    world.show(&mut leader, 1, NOW);
    assert_eq!(world.wants(&leader, NOW), None, "an answer is outstanding");
    leader.outcome(&world.submit(&add));
    let again = world.wants(&leader, NOW).unwrap();
    leader.sent(&again);
    leader.appended(at(20));
    fetch(&world, &mut leader, 2, 20, secs(100));
    assert_eq!(leader.advance(secs(100)), at(10), "the addition counts");
}

// N16, KAFKA-15021.
#[test]
fn a_caught_up_follower_that_may_join_holds_the_high_watermark_back_for_a_while() {
    let (world, mut leader) = two_of_three();
    fetch(&world, &mut leader, 3, 10, NOW);
    leader.appended(at(20));
    fetch(&world, &mut leader, 2, 20, secs(2));
    assert_eq!(leader.advance(secs(2)), at(10));
    assert_eq!(leader.advance(secs(31)), at(10));
    assert_eq!(leader.advance(secs(32)), at(20), "it does not keep up");
}

#[test]
fn a_follower_that_keeps_up_below_a_running_high_watermark_gets_there() {
    let world = World::with(&[1, 2], |state| state.isr.truncate(1));
    let mut leader = world.leader(1, 1, 10, 10);
    fetch(&world, &mut leader, 2, 0, secs(1));
    leader.appended(at(20));
    assert_eq!(leader.advance(secs(1)), at(20), "it never had everything");
    fetch(&world, &mut leader, 2, 10, secs(2));
    leader.appended(at(30));
    assert_eq!(leader.advance(secs(2)), at(20), "at second 1 the log ended at 10: it has that");
    fetch(&world, &mut leader, 2, 20, secs(3));
    leader.appended(at(40));
    assert_eq!(leader.advance(secs(3)), at(20));
    assert_eq!(isr_of(&world.wants(&leader, secs(3)).unwrap()), [1, 2]);
}

#[test]
fn a_follower_that_may_not_join_holds_nothing_back() {
    guarded(&[Bug::L3IneligibleHolds], || {
        let (mut world, mut leader) = two_of_three();
        fetch(&world, &mut leader, 3, 10, NOW);
        world.flags(3, false, true);
        world.show(&mut leader, 1, NOW);
        leader.appended(at(20));
        fetch(&world, &mut leader, 2, 20, NOW);
        assert_eq!(leader.advance(NOW), at(20));
    });
    for intact in [true, false] {
        let (mut world, mut leader) = two_of_three();
        fetch(&world, &mut leader, 3, 10, NOW);
        world.restarts(3, intact);
        world.show(&mut leader, 1, NOW);
        fetch(&world, &mut leader, 3, 2, NOW);
        leader.appended(at(20));
        fetch(&world, &mut leader, 2, 20, NOW);
        assert_eq!(leader.advance(NOW), at(20), "a new lifetime was never caught up");
    }
}

#[test]
fn acks_all_needs_min_isr() {
    guarded(&[Bug::L7NoMinIsr], || {
        let world = World::with(&[1, 2, 3], |state| state.isr.truncate(1));
        assert!(!world.leader(1, 2, 10, 5).has_min_isr());
        assert!(world.leader(1, 1, 10, 5).has_min_isr());
    });
}

// N41.
#[test]
fn an_unknown_outcome_is_no_rejection() {
    guarded(&[Bug::E9UnknownIsRejected], || {
        let mut world = World::with(&[1, 2], |state| state.isr.truncate(1));
        let mut leader = world.leader(1, 1, 10, 10);
        fetch(&world, &mut leader, 2, 10, NOW);
        let add = world.wants(&leader, NOW).unwrap();
        leader.sent(&add);
        leader.outcome(&unknown());
        // The record is read and is unchanged: that proves nothing.
        world.show(&mut leader, 1, secs(50));
        leader.appended(at(20));
        assert_eq!(leader.advance(secs(50)), at(10), "the follower may be in the ISR any moment");
        // The delayed write lands.
        assert_ne!(world.submit(&add), PartitionOutcome::Rejected);
        assert_eq!(leader.advance(secs(50)), at(10));
        world.show(&mut leader, 1, secs(50));
        fetch(&world, &mut leader, 2, 20, secs(50));
        assert_eq!(leader.advance(secs(50)), at(20));
    });
}

#[test]
fn a_doubt_is_ended_by_a_write_of_the_record_as_it_is() {
    let mut world = World::with(&[1, 2, 3], |state| state.isr.truncate(1));
    let mut leader = world.leader(1, 1, 10, 10);
    fetch(&world, &mut leader, 2, 10, NOW);
    let add = world.wants(&leader, NOW).unwrap();
    leader.sent(&add);
    leader.outcome(&unknown());
    fetch(&world, &mut leader, 3, 10, NOW);
    let end = world.wants(&leader, NOW).unwrap();
    assert_eq!((isr_of(&end), end.read), (vec![1], add.read), "nothing else is proposed");
    leader.sent(&end);
    assert_eq!(world.wants(&leader, NOW), None);
    // Rejected, not sent, unknown: the doubt stays, and the addition counts.
    for outcome in [PartitionOutcome::Rejected, unknown()] {
        leader.outcome(&outcome);
        leader.appended(at(20));
        assert_eq!(leader.advance(secs(50)), at(10));
        assert_eq!(isr_of(&world.wants(&leader, secs(50)).unwrap()), [1]);
        leader.sent(&end);
    }
    let outcome = world.submit(&end);
    assert!(matches!(outcome, PartitionOutcome::Written(_)));
    assert_eq!(world.submit(&add), PartitionOutcome::Rejected, "it cannot land any more");
    leader.outcome(&outcome);
    world.show(&mut leader, 1, secs(50));
    assert_eq!(leader.advance(secs(50)), at(20));
}

#[test]
fn a_doubt_on_a_partition_without_a_record_ends_although_the_topic_has_changed() {
    let mut world = World::new(&[1, 2]);
    let mut leader = world.leader(1, 1, 10, 5);
    let shrink = world.wants(&leader, secs(31)).unwrap();
    assert_eq!(shrink.read.get(), 0);
    leader.sent(&shrink);
    leader.outcome(&unknown());
    // Partitions were added meanwhile: the topic's value is another one, this partition still has no record.
    world.revision += 1;
    let revision = world.revision;
    Arc::make_mut(world.image.topics.get_mut(&topic()).unwrap()).mod_revision = revision;
    assert!(!world.takes(&shrink));
    world.show(&mut leader, 1, secs(31));
    assert!(matches!(world.changes(&mut leader, 1, secs(31)), PartitionOutcome::Written(_)));
    assert_eq!(isr_of(&world.wants(&leader, secs(31)).unwrap()), [1]);
}

#[test]
fn a_doubt_is_ended_although_an_entry_was_refuted_meanwhile() {
    let mut world = World::new(&[1, 2, 3]);
    let mut leader = world.leader(1, 1, 10, 5);
    fetch(&world, &mut leader, 2, 10, secs(20));
    let shrink = world.wants(&leader, secs(31)).unwrap();
    leader.sent(&shrink);
    leader.outcome(&unknown());
    world.restarts(2, false);
    world.show(&mut leader, 1, secs(31));
    assert!(matches!(world.changes(&mut leader, 1, secs(31)), PartitionOutcome::Written(_)));
}

#[test]
fn who_leaves_a_small_isr_is_eligible_until_the_isr_is_large_again() {
    guarded(&[Bug::U2NoElr, Bug::U2NoClear], || {
        let mut world = World::new(&[1, 2, 3]);
        let mut leader = world.leader(1, 2, 10, 5);
        fetch(&world, &mut leader, 2, 10, secs(20));
        world.changes(&mut leader, 2, secs(31));
        assert_eq!((ids(&world.state().isr), ids(&world.state().elr)), (vec![1, 2], vec![]));
        leader.appended(at(20));
        world.changes(&mut leader, 2, secs(51));
        assert_eq!((ids(&world.state().isr), ids(&world.state().elr)), (vec![1], vec![2]));
        fetch(&world, &mut leader, 3, 10, secs(52));
        world.changes(&mut leader, 2, secs(52));
        assert_eq!((ids(&world.state().isr), ids(&world.state().elr)), (vec![1, 3], vec![]));
    });
}

#[test]
fn a_lower_min_isr_commits_nothing_behind_the_back_of_who_is_eligible() {
    guarded(&[Bug::U2NoClear], || {
        let mut world = World::with(&[1, 2], |state| {
            state.elr = state.isr.split_off(1);
        });
        let mut leader = world.leader(1, 2, 10, 5);
        world.show(&mut leader, 1, NOW);
        assert_eq!(leader.advance(NOW), at(5), "2 may still be elected");
        let change = world.wants(&leader, NOW).unwrap();
        assert_eq!((isr_of(&change), elr_of(&change)), (vec![1], vec![]));
        leader.sent(&change);
        assert_eq!(leader.advance(NOW), at(5));
        leader.outcome(&world.submit(&change));
        world.show(&mut leader, 1, NOW);
        assert_eq!(leader.advance(NOW), at(10));
    });
}

#[test]
fn a_higher_min_isr_commits_nothing_until_it_is_met() {
    let (world, mut leader) = two_of_three();
    world.show(&mut leader, 3, NOW);
    leader.appended(at(20));
    fetch(&world, &mut leader, 2, 20, NOW);
    assert_eq!((leader.advance(NOW), leader.has_min_isr()), (at(10), false));
    assert_eq!(world.wants(&leader, NOW), None);
}

// N46.
#[test]
fn a_lifetime_that_is_over_changes_nothing() {
    for again in [false, true] {
        let (mut world, mut leader) = two_of_three();
        fetch(&world, &mut leader, 3, 10, NOW);
        let change = world.wants(&leader, NOW).unwrap();
        world.leaves(1);
        if again {
            world.register(1, true);
        }
        world.show(&mut leader, 1, NOW);
        assert_eq!(world.wants(&leader, NOW), None);
        assert!(!world.takes(&change));
    }
}

#[test]
fn nothing_is_proposed_for_another_record_than_the_one_decided_on() {
    let (mut world, mut leader) = two_of_three();
    fetch(&world, &mut leader, 3, 10, NOW);
    world.write(|_| {});
    assert_eq!(world.wants(&leader, NOW), None, "not observed yet");
    let old = world.clone();
    world.write(|state| state.leader_epoch = LeaderEpoch(9));
    world.show(&mut leader, 1, NOW);
    assert_eq!((leader.epoch().get(), world.wants(&leader, NOW)), (0, None), "another epoch");
    let newer = leader.committed().partition_epoch;
    old.show(&mut leader, 1, NOW);
    assert!(leader.committed().partition_epoch > newer, "a newer state of this epoch is taken");
    let newest = leader.committed().partition_epoch;
    let oldest = World::with(&[1, 2, 3], |_| {});
    leader.observe(oldest.state(), &old.image, rules(1), NOW);
    assert_eq!(leader.committed().partition_epoch, newest, "an older one is not");
}
