//! The steps of one member, as KIP-848 tells them.

use std::collections::BTreeSet;

use super::world::topic_id;
use crate::coordinator::group::assignor::Partitions;
use crate::coordinator::group::command::PartitionsById;
use crate::coordinator::group::consumer::member::{Current, MemberState, Owned};
use crate::coordinator::group::consumer::reconcile::Reconciliation;

fn partitions(indexes: &[i32]) -> Partitions {
    if indexes.is_empty() {
        return Partitions::new();
    }
    [(topic_id("t"), indexes.iter().copied().collect())].into()
}

fn owned(indexes: &[(i32, i32)]) -> Owned {
    if indexes.is_empty() {
        Owned::new()
    } else {
        [(topic_id("t"), indexes.iter().copied().collect())].into()
    }
}

fn says(indexes: &[i32]) -> PartitionsById {
    vec![(topic_id("t"), indexes.to_vec())]
}

fn at(epoch: i32, state: MemberState, assigned: &[(i32, i32)], pending: &[(i32, i32)]) -> Current {
    Current { epoch, previous_epoch: epoch - 1, state, assigned: owned(assigned), pending: owned(pending) }
}

struct Step<'a> {
    epoch: i32,
    target: &'a [i32],
    taken: &'a [i32],
    owned: Option<PartitionsById>,
    unsubscribed: bool,
}

impl Step<'_> {
    fn of(&self, current: &Current) -> Current {
        let subscribed = if self.unsubscribed { BTreeSet::new() } else { [topic_id("t")].into() };
        let reconciliation = Reconciliation {
            target_epoch: self.epoch,
            target: &partitions(self.target),
            subscribed: &subscribed,
            subscription_changed: self.unsubscribed,
            owned: self.owned.as_ref(),
            taken: |_, partition| self.taken.contains(&partition),
        };
        reconciliation.step(current)
    }
}

fn step<'a>(epoch: i32, target: &'a [i32], taken: &'a [i32], owned: Option<&[i32]>) -> Step<'a> {
    Step { epoch, target, taken, owned: owned.map(says), unsubscribed: false }
}

#[test]
fn a_member_gets_what_is_free_at_once() {
    let next = step(6, &[0, 1, 2], &[], None).of(&at(5, MemberState::Stable, &[(0, 3)], &[]));
    assert_eq!(next.epoch, 6);
    assert_eq!(next.previous_epoch, 5);
    assert_eq!(next.state, MemberState::Stable);
    assert_eq!(next.assigned, owned(&[(0, 3), (1, 6), (2, 6)]), "what it had keeps its epoch");
}

#[test]
fn a_member_gives_up_before_it_gets_and_stays_at_its_epoch_meanwhile() {
    let before = at(5, MemberState::Stable, &[(0, 3), (1, 5)], &[]);
    let revoking = step(6, &[1, 2], &[], None).of(&before);
    assert_eq!(revoking.epoch, 5);
    assert_eq!(revoking.state, MemberState::Unrevoked);
    assert_eq!(revoking.assigned, owned(&[(1, 5)]), "nothing new yet");
    assert_eq!(revoking.pending, owned(&[(0, 3)]));

    let silent = step(6, &[1, 2], &[], None).of(&revoking);
    assert_eq!(silent, revoking, "who says nothing may still own it");
    let reads_on = step(6, &[1, 2], &[], Some(&[0, 1])).of(&revoking);
    assert_eq!(reads_on, revoking);

    let done = step(6, &[1, 2], &[], Some(&[1])).of(&revoking);
    assert_eq!((done.epoch, done.previous_epoch, done.state), (6, 5, MemberState::Stable));
    assert_eq!(done.assigned, owned(&[(1, 5), (2, 6)]));
    assert_eq!(done.pending, owned(&[]));
}

#[test]
fn a_member_waits_for_what_others_own_and_has_the_rest() {
    let waiting = step(6, &[0, 1, 2], &[1, 2], None).of(&at(5, MemberState::Stable, &[], &[]));
    assert_eq!((waiting.epoch, waiting.state), (6, MemberState::Unreleased));
    assert_eq!(waiting.assigned, owned(&[(0, 6)]));
    let some = step(6, &[0, 1, 2], &[2], None).of(&waiting);
    assert_eq!(some.state, MemberState::Unreleased);
    assert_eq!(some.assigned, owned(&[(0, 6), (1, 6)]));
    let all = step(6, &[0, 1, 2], &[], None).of(&some);
    assert_eq!((all.epoch, all.state), (6, MemberState::Stable));
    assert_eq!(all.assigned, owned(&[(0, 6), (1, 6), (2, 6)]));
}

#[test]
fn a_newer_target_is_followed_from_every_state() {
    let unrevoked = at(5, MemberState::Unrevoked, &[(1, 5)], &[(0, 3)]);
    let back = step(7, &[0, 1], &[], Some(&[1])).of(&unrevoked);
    assert_eq!((back.epoch, back.state), (7, MemberState::Stable));
    assert_eq!(back.assigned, owned(&[(0, 7), (1, 5)]), "given up and got again, at the new epoch");
    let unreleased = at(6, MemberState::Unreleased, &[(0, 6)], &[]);
    let revokes = step(7, &[3], &[], Some(&[0])).of(&unreleased);
    assert_eq!((revokes.epoch, revokes.state), (6, MemberState::Unrevoked));
    assert_eq!(revokes.pending, owned(&[(0, 6)]));
}

#[test]
fn a_topic_that_is_not_subscribed_any_more_is_given_up_before_there_is_a_new_target() {
    let stable = at(5, MemberState::Stable, &[(0, 3)], &[]);
    let unsubscribes = Step { epoch: 5, target: &[0], taken: &[], owned: None, unsubscribed: true };
    let next = unsubscribes.of(&stable);
    assert_eq!((next.epoch, next.state), (5, MemberState::Unrevoked));
    assert_eq!((next.assigned, next.pending), (owned(&[]), owned(&[(0, 3)])));
    let already = Step { owned: Some(says(&[])), ..unsubscribes };
    let next = already.of(&stable);
    assert_eq!((next.state, next.assigned), (MemberState::Stable, owned(&[])));
}

#[test]
fn a_stable_member_at_its_target_does_not_move() {
    let stable = at(5, MemberState::Stable, &[(0, 3)], &[]);
    assert_eq!(step(5, &[0], &[], Some(&[0])).of(&stable), stable);
}
