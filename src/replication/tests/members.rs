use super::super::world::{World, entry, guarded, ids, topic};
use super::*;

#[test]
fn a_min_isr_is_at_least_one_and_at_most_all_replicas() {
    let effective = |asked| effective_min_isr(asked, 3);
    assert_eq!((effective(0), effective(1), effective(2), effective(3), effective(4)), (1, 1, 2, 3, 3));
    assert_eq!(effective_min_isr(2, 0), 1);
}

#[test]
fn an_isr_is_as_large_as_its_entries_that_are_not_refuted() {
    guarded(&[Bug::U2RefutedCounts], || {
        let mut world = World::new(&[1, 2, 3, 4]);
        world.leaves(2);
        world.restarts(3, false);
        world.restarts(4, true);
        assert_eq!(isr_size(&world.image, &world.state().isr), 3);
    });
    let world = World::new(&[1]);
    assert_eq!(isr_size(&world.image, &[entry(1, 0)]), 0, "assigned to a broker that was not there");
}

#[test]
fn who_leaves_a_small_isr_becomes_eligible_beside_who_was() {
    guarded(&[Bug::U2NoElr], || {
        let mut world = World::with(&[1, 2, 3, 4, 5], |state| {
            state.elr = state.isr.split_off(3);
        });
        world.restarts(5, false);
        let before = world.state();
        assert_eq!(ids(&next_elr(&world.image, before, &before.isr[..1], 2)), [2, 3, 4], "5 lost something");
        assert_eq!(next_elr(&world.image, before, &before.isr[..2], 2), []);
        let with_four = [before.isr[0], before.elr[0]];
        assert_eq!(ids(&next_elr(&world.image, before, &with_four, 3)), [2, 3], "4 is in sync again");
    });
}

#[test]
fn a_large_isr_leaves_nobody_eligible() {
    guarded(&[Bug::U2NoClear], || {
        let world = World::with(&[1, 2, 3], |state| state.elr = state.isr.split_off(2));
        assert_eq!(next_elr(&world.image, world.state(), &world.state().isr, 2), []);
    });
}

#[test]
fn who_is_no_replica_is_not_eligible() {
    let mut world = World::with(&[1, 2], |_| {});
    world.write(|state| state.replicas.truncate(1));
    assert_eq!(next_elr(&world.image, world.state(), &[], 1), [world.me(1)]);
}

#[test]
fn a_change_keeps_fields_of_later_versions() {
    let mut world = World::with(&[1, 2], |_| {});
    let unknown = serde_json::Map::from_iter([("later".to_owned(), 7.into())]);
    world.image.partition_extras.insert((topic(), 0), std::sync::Arc::new(unknown.clone()));
    let change = change(&world.image, topic(), 0, vec![], |value| value.why = "x".to_owned()).unwrap();
    assert_eq!((change.value.unknown, change.value.value.why.as_str()), (unknown, "x"));
    assert_eq!(change.read, world.state().partition_epoch);
    assert_eq!(super::change(&world.image, topic(), 1, vec![], |_| {}), None, "no such partition");
}
