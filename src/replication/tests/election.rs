use super::super::world::{World, entry, guarded, id, ids};
use super::*;
use crate::metadata::PartitionOutcome;
use crate::metadata::image::PartitionImage;

/// What a ballot would write: ids of the ISR and the ELR.
fn members_of(ballot: &Ballot) -> (Vec<i32>, Vec<i32>) {
    let value = &ballot.change.value.value;
    (ids(&value.isr), ids(&value.elr))
}

/// Replicas 1, 2, 3, led by 1, whose session has ended.
fn without_leader(edit: impl FnOnce(&mut PartitionImage)) -> World {
    let mut world = World::with(&[1, 2, 3], edit);
    world.leaves(1);
    world
}

#[test]
fn nobody_campaigns_while_the_leader_lives() {
    let world = World::new(&[1, 2, 3]);
    assert!((1..=3).all(|broker| world.ballot(broker, 1).is_none()));
}

// N46.
#[test]
fn a_leader_that_registered_anew_must_campaign_too() {
    let mut world = World::new(&[1, 2]);
    let me = world.restarts(1, true);
    assert!(is_vacant(&world.image, world.state()));
    let ballot = world.ballot(1, 1).unwrap();
    assert_eq!((ballot.grounds, ballot.rank), (Grounds::InSync, 0));
    assert!(matches!(world.submit(&ballot.change), PartitionOutcome::Written(_)));
    assert_eq!((world.state().leader, world.state().leader_epoch.get()), (Some(me), 1));
    // Its entry of before stays: nothing was lost since.
    assert_eq!(ids(&world.state().isr), [1, 2]);
}

#[test]
fn a_single_replica_leads_in_every_lifetime_without_a_ballot() {
    for intact in [true, false] {
        let mut world = World::new(&[1]);
        world.restarts(1, intact);
        assert_eq!(world.ballot(1, 1), None);
        // The assignment grows: from now on somebody else could lead.
        world.write(|state| state.replicas.push(id(2)));
        let grounds = if intact { Grounds::InSync } else { Grounds::LastKnownLeader };
        assert_eq!(world.ballot(1, 1).unwrap().grounds, grounds);
    }
}

#[test]
fn the_first_valid_ballot_wins_and_ends_the_others() {
    let mut world = without_leader(|_| {});
    let (second, third) = (world.ballot(2, 1).unwrap(), world.ballot(3, 1).unwrap());
    assert_eq!((second.rank, third.rank), (0, 1), "assignment order decides who tries first");
    assert_eq!((second.grounds, members_of(&second)), (Grounds::InSync, (vec![2, 3], vec![])));
    assert!(matches!(world.submit(&third.change), PartitionOutcome::Written(_)));
    assert_eq!(world.submit(&second.change), PartitionOutcome::Rejected);
    assert_eq!((world.state().leader, world.state().leader_epoch.get()), (Some(world.me(3)), 1));
}

#[test]
fn a_ballot_does_not_pass_if_the_leader_lives_after_all() {
    let mut world = World::with(&[1, 2, 3], |_| {});
    let mut stale = world.clone();
    stale.image.brokers.remove(&id(1));
    let ballot = stale.ballot(2, 1).unwrap();
    assert!(!world.takes(&ballot.change));
    world.leaves(1);
    assert!(world.takes(&ballot.change));
}

#[test]
fn a_ballot_is_of_one_lifetime() {
    let mut world = without_leader(|_| {});
    let ballot = world.ballot(2, 1).unwrap();
    world.restarts(2, true);
    assert!(!world.takes(&ballot.change));
}

// N44.
#[test]
fn a_ballot_on_a_stale_image_keeps_no_entry_that_is_refuted() {
    guarded(&[Bug::E10NoIntact], || {
        let mut world = without_leader(|_| {});
        let (small, large) = (world.ballot(2, 1).unwrap(), world.ballot(2, 3).unwrap());
        assert_eq!(members_of(&large), (vec![2, 3], vec![1]));
        let mut other = world.clone();
        other.restarts(3, false);
        assert!(!other.takes(&small.change));
        world.register(1, false);
        assert!(world.takes(&small.change));
        assert!(!world.takes(&large.change), "nor an eligible one");
    });
}

#[test]
fn a_lifetime_that_the_image_does_not_show_does_not_campaign() {
    guarded(&[Bug::B3TooEarly], || {
        let world = without_leader(|_| {});
        assert_eq!(world.ballot_of(entry(2, 99), 1, false), None);
        assert_eq!(world.ballot_of(entry(9, 99), 1, true), None, "nor does a stranger");
    });
}

#[test]
fn who_is_no_replica_does_not_campaign() {
    let mut world = without_leader(|_| {});
    world.write(|state| state.replicas = vec![id(1), id(2)]);
    assert_eq!(world.ballot(3, 1), None);
    assert_eq!(members_of(&world.ballot(2, 1).unwrap()), (vec![2], vec![]));
}

#[test]
fn a_topic_that_is_being_deleted_elects_nobody() {
    let mut world = without_leader(|_| {});
    let topic = std::sync::Arc::make_mut(world.image.topics.values_mut().next().unwrap());
    topic.deleting = true;
    assert_eq!(world.ballot(2, 1), None);
}

#[test]
fn a_record_that_cannot_be_read_elects_nobody() {
    let world = without_leader(|state| {
        state.leader = None;
        state.isr.clear();
    });
    assert_eq!(world.ballot_of(world.me(2), 1, true), None);
}

// N12.
#[test]
fn an_eligible_replica_leads_when_nobody_in_sync_does() {
    guarded(&[Bug::U1LastKnownFirst], || {
        // 1 and 2 were in sync, 3 left when they became too few.
        let mut world = World::with(&[1, 2, 3], |state| state.elr = state.isr.split_off(2));
        world.restarts(1, false);
        world.restarts(2, false);
        assert_eq!(world.ballot(1, 3), None, "the last known leader lost something, 3 has everything");
        assert_eq!(world.ballot(2, 3), None);
        let ballot = world.ballot(3, 3).unwrap();
        assert_eq!((ballot.grounds, ballot.rank), (Grounds::Eligible, 0));
        assert_eq!(members_of(&ballot), (vec![3], vec![]));
        assert!(matches!(world.submit(&ballot.change), PartitionOutcome::Written(_)));
        assert!(!world.state().recovering);
    });
}

#[test]
fn an_eligible_replica_comes_after_who_is_in_sync() {
    let mut world = World::with(&[4, 1, 2, 3], |state| {
        state.elr = vec![state.isr[3], state.isr[2]];
        state.isr.truncate(2);
    });
    world.leaves(4);
    let rank = |broker| world.ballot(broker, 3).map(|ballot| (ballot.grounds, ballot.rank));
    assert_eq!(rank(1), Some((Grounds::InSync, 0)));
    assert_eq!(rank(2), Some((Grounds::Eligible, 1)));
    assert_eq!(rank(3), Some((Grounds::Eligible, 2)));
    assert_eq!(members_of(&world.ballot(2, 3).unwrap()), (vec![1, 2], vec![4, 3]));
}

#[test]
fn a_member_that_is_away_is_eligible_if_the_isr_is_too_small_without_it() {
    guarded(&[Bug::U2NoElr], || {
        let world = without_leader(|state| state.isr.truncate(2));
        assert_eq!(members_of(&world.ballot(2, 1).unwrap()), (vec![2], vec![]));
        assert_eq!(members_of(&world.ballot(2, 2).unwrap()), (vec![2], vec![1]));
    });
}

// N42.
#[test]
fn a_member_that_may_come_back_intact_blocks_the_last_known_leader() {
    guarded(&[Bug::U1UnknownIgnored], || {
        let mut world = World::new(&[1, 2]);
        world.leaves(2);
        world.restarts(1, false);
        assert_eq!(world.ballot(1, 2), None);
        let back = world.register(2, true);
        assert_eq!(world.ballot(1, 2), None);
        let ballot = world.ballot_of(back, 2, false).unwrap();
        assert_eq!((ballot.grounds, members_of(&ballot)), (Grounds::InSync, (vec![2], vec![])));
    });
}

#[test]
fn an_eligible_replica_that_may_come_back_blocks_the_last_known_leader_too() {
    guarded(&[Bug::U1UnknownIgnored], || {
        let mut world = World::with(&[1, 2], |state| state.elr = state.isr.split_off(1));
        world.leaves(2);
        world.restarts(1, false);
        assert_eq!(world.ballot(1, 2), None);
    });
}

// N11.
#[test]
fn the_last_known_leader_leads_when_everybody_has_lost_something() {
    let mut world = World::new(&[1, 2, 3]);
    for broker in 1..=3 {
        world.restarts(broker, false);
    }
    assert_eq!((world.ballot(2, 2), world.ballot(3, 2)), (None, None));
    let ballot = world.ballot(1, 2).unwrap();
    assert_eq!((ballot.grounds, members_of(&ballot)), (Grounds::LastKnownLeader, (vec![1], vec![])));
    // It compares that they all have, by their entries.
    let mut other = world.clone();
    other.image.intact.remove(&id(2));
    assert!(!other.takes(&ballot.change));
    assert!(matches!(world.submit(&ballot.change), PartitionOutcome::Written(_)));
    assert_eq!((world.state().recovering, world.state().isr.as_slice()), (true, &[world.me(1)][..]));
}

#[test]
fn who_led_before_there_was_no_leader_is_the_last_known_leader() {
    let mut world = World::with(&[1, 2], |state| {
        state.leader = None;
        state.last_known_leader = Some(id(2));
    });
    world.restarts(1, false);
    world.restarts(2, false);
    assert_eq!(world.ballot(1, 1), None);
    let ballot = world.ballot(2, 1).unwrap();
    assert_eq!(ballot.grounds, Grounds::LastKnownLeader);
    assert_eq!(ballot.change.value.value.last_known_leader, None);
}

#[test]
fn a_recovery_outlives_a_clean_election() {
    let mut world = World::with(&[1, 2], |state| {
        state.isr.truncate(1);
        state.recovering = true;
    });
    world.restarts(1, true);
    let ballot = world.ballot(1, 1).unwrap();
    assert_eq!((ballot.grounds, ballot.change.value.value.recovering), (Grounds::InSync, true));
}

#[test]
fn an_unclean_election_needs_leave_and_nobody_better() {
    let mut world = World::with(&[1, 2, 3], |state| state.isr.truncate(1));
    world.leaves(1);
    assert_eq!(world.ballot(2, 1), None);
    let ballot = world.ballot_of(world.me(3), 1, true).unwrap();
    assert_eq!((ballot.grounds, ballot.rank), (Grounds::Unclean, 1));
    assert_eq!((members_of(&ballot), ballot.change.value.value.recovering), ((vec![3], vec![]), true));
    // 1 is back, intact: whatever it is about to do.
    world.register(1, true);
    for (draining, stopping) in [(false, false), (true, false), (false, true)] {
        world.flags(1, draining, stopping);
        assert_eq!(world.ballot_of(world.me(3), 1, true), None);
    }
}

#[test]
fn a_broker_that_stops_does_not_campaign() {
    let mut world = without_leader(|_| {});
    world.flags(2, false, true);
    assert_eq!(world.ballot(2, 1), None);
    assert_eq!(world.ballot(3, 1).unwrap().rank, 0, "and nobody waits for it");
}

#[test]
fn a_broker_that_drains_campaigns_only_where_nobody_else_can() {
    let mut world = without_leader(|_| {});
    world.flags(2, true, false);
    assert_eq!(world.ballot(2, 1), None);
    assert_eq!(world.ballot(3, 1).unwrap().rank, 0, "and nobody waits for it");
    world.leaves(3);
    assert_eq!(world.ballot(2, 1).unwrap().grounds, Grounds::InSync);
}

#[test]
fn a_leadership_is_handed_to_the_most_preferred_replica_in_sync() {
    let mut world = World::with(&[1, 2, 3], |_| {});
    assert_eq!(successor(&world.image, world.state(), id(1)), Some(id(2)));
    world.flags(2, true, false);
    assert_eq!(successor(&world.image, world.state(), id(1)), Some(id(3)));
    world.leaves(3);
    assert_eq!(successor(&world.image, world.state(), id(1)), None);
}

// N10.
#[test]
fn who_stops_hands_over_and_leaves_the_isr() {
    let mut world = World::with(&[1, 2, 3], |_| {});
    world.flags(1, false, true);
    let change = world.hand_over(2, Some(1), 2).unwrap();
    assert_eq!((ids(&change.value.value.isr), ids(&change.value.value.elr)), (vec![2, 3], vec![]));
    let small = world.hand_over(2, Some(1), 3).unwrap();
    assert_eq!((ids(&small.value.value.isr), ids(&small.value.value.elr)), (vec![2, 3], vec![1]));
    assert!(matches!(world.submit(&change), PartitionOutcome::Written(_)));
    assert_eq!((world.state().leader, world.state().leader_epoch.get()), (Some(world.me(2)), 1));
}

#[test]
fn only_a_member_of_the_isr_is_handed_a_leadership() {
    guarded(&[Bug::U4OutsideIsr], || {
        let world = World::with(&[1, 2, 3], |state| state.isr.truncate(2));
        assert_eq!(world.hand_over(3, None, 1), None);
        let mut world = World::with(&[1, 2, 3], |_| {});
        world.restarts(3, false);
        assert_eq!(world.hand_over(3, None, 1), None, "its entry is refuted");
        assert!(world.hand_over(2, None, 1).is_some());
        assert_eq!(world.hand_over(1, None, 1), None, "it leads already");
    });
}

#[test]
fn a_hand_over_compares_its_sender_its_receiver_and_what_it_keeps() {
    guarded(&[Bug::E10NoIntact], || {
        let world = World::with(&[1, 2, 3], |_| {});
        let change = world.hand_over(2, None, 1).unwrap();
        let taken = |disturb: &dyn Fn(&mut World)| {
            let mut other = world.clone();
            disturb(&mut other);
            other.takes(&change)
        };
        assert!(taken(&|_| {}));
        assert!(
            !taken(&|world| {
                world.restarts(1, true);
            }),
            "the leader is another lifetime"
        );
        assert!(
            !taken(&|world| {
                world.restarts(2, true);
            }),
            "so is the receiver"
        );
        assert!(!taken(&|world| world.flags(2, true, false)), "the receiver drains by now");
        assert!(
            taken(&|world| {
                world.restarts(3, true);
            }),
            "harmless"
        );
        assert!(
            !taken(&|world| {
                world.restarts(3, false);
            }),
            "a kept entry is refuted"
        );
        assert!(!taken(&|world| world.write(|_| {})), "another record");
    });
}

#[test]
fn a_hand_over_drops_what_is_refuted_and_keeps_who_is_away() {
    let mut world = World::with(&[1, 2, 3, 4], |_| {});
    world.restarts(3, false);
    world.leaves(4);
    let change = world.hand_over(2, None, 1).unwrap();
    assert_eq!(ids(&change.value.value.isr), [1, 2, 4]);
}

// N13.
#[test]
fn a_registration_that_changed_in_one_step_is_another_lifetime() {
    let mut world = World::with(&[1, 2], |_| {});
    // The delete was never seen: the image goes from one registration to the next.
    world.register(1, false);
    assert!(is_vacant(&world.image, world.state()));
    assert_eq!(world.ballot(1, 1), None);
    assert_eq!(members_of(&world.ballot(2, 1).unwrap()), (vec![2], vec![]));
}

// N24.
#[test]
fn all_brokers_that_vanish_and_come_back_lose_no_candidate() {
    let mut world = World::with(&[1, 2, 3], |state| state.elr = state.isr.split_off(2));
    for broker in 1..=3 {
        world.leaves(broker);
    }
    for broker in [3, 2, 1] {
        world.register(broker, true);
    }
    assert_eq!(world.ballot(1, 3).unwrap().rank, 0);
    assert_eq!(world.ballot(2, 3).unwrap().rank, 1);
    let ballot = world.ballot(3, 3).unwrap();
    assert_eq!((ballot.grounds, members_of(&ballot)), (Grounds::Eligible, (vec![1, 2, 3], vec![])));
}
