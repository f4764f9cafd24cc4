//! Laws of the assignors, on groups made up by proptest and on a few told by hand.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

/// A group that owns its data; a spec borrows from it.
#[derive(Debug, Clone, Default)]
struct Group {
    members: BTreeMap<Name, Member>,
    /// Partitions by topic, with a replica's rack for each.
    topics: BTreeMap<TopicId, Vec<Option<&'static str>>>,
    current: Assignment,
}

#[derive(Debug, Clone, Default)]
struct Member {
    instance: Option<Name>,
    rack: Option<&'static str>,
    subscribed: Arc<BTreeSet<TopicId>>,
}

const RACKS: [&str; 3] = ["a", "b", "c"];

fn topic(n: usize) -> TopicId {
    TopicId::new(Uuid::from_u128(n as u128 + 1)).unwrap()
}

fn name(n: usize) -> Name {
    format!("m{n:03}").into()
}

impl Group {
    /// Members that all subscribe topics of these sizes.
    fn alike(members: usize, sizes: &[usize]) -> Self {
        let topics: BTreeMap<_, _> =
            sizes.iter().enumerate().map(|(n, size)| (topic(n), vec![None; *size])).collect();
        let subscribed: Arc<BTreeSet<TopicId>> = Arc::new(topics.keys().copied().collect());
        let member = Member { subscribed, ..Member::default() };
        Self {
            members: (0..members).map(|n| (name(n), member.clone())).collect(),
            topics,
            current: Assignment::new(),
        }
    }

    fn assign(&self, assignor: &str) -> Assignment {
        let topics = self.topics.iter().map(|(id, racks)| {
            let known = racks.iter().any(Option::is_some);
            let racks_of = racks.iter().map(|rack| rack.iter().copied().collect()).collect();
            let partitions = i32::try_from(racks.len()).unwrap();
            (*id, TopicSpec { partitions, racks: if known { racks_of } else { Vec::new() } })
        });
        let members = self.members.iter().map(|(id, member)| {
            let spec = MemberSpec {
                instance: member.instance.as_deref(),
                rack: member.rack,
                subscribed: member.subscribed.clone(),
                current: self.current.get(id).unwrap_or(&NOTHING),
            };
            (id.clone(), spec)
        });
        assign(assignor, &GroupSpec { members: members.collect(), topics: topics.collect() }).unwrap()
    }

    fn settle(mut self, assignor: &str) -> Self {
        self.current = self.assign(assignor);
        self
    }

    fn subscribers(&self, topic: TopicId) -> usize {
        self.members.values().filter(|m| m.subscribed.contains(&topic)).count()
    }

    fn partitions(&self) -> usize {
        let read = self.topics.iter().filter(|(id, _)| self.subscribers(**id) > 0);
        read.map(|(_, racks)| racks.len()).sum()
    }

    fn near(&self, assignment: &Assignment) -> usize {
        pairs(assignment)
            .into_iter()
            .filter(|(member, topic, partition)| {
                let rack = self.topics[topic][usize::try_from(*partition).unwrap()];
                rack.is_some() && rack == self.members[member].rack
            })
            .count()
    }
}

fn pairs(assignment: &Assignment) -> BTreeSet<(Name, TopicId, i32)> {
    let of_member = |(member, owned): (&Name, &Partitions)| {
        let member = member.clone();
        let owned: Vec<_> = owned.iter().flat_map(|(t, ps)| ps.iter().map(|p| (*t, *p))).collect();
        owned.into_iter().map(move |(t, p)| (member.clone(), t, p))
    };
    assignment.iter().flat_map(of_member).collect()
}

fn load(owned: &Partitions) -> usize {
    owned.values().map(BTreeSet::len).sum()
}

fn loads(assignment: &Assignment) -> Vec<usize> {
    assignment.values().map(load).collect()
}

fn invariant_one_owner_that_subscribes(group: &Group, assignment: &Assignment) {
    assert!(assignment.keys().eq(group.members.keys()), "every member appears, and nobody else");
    let mut seen = BTreeSet::new();
    for (member, topic, partition) in pairs(assignment) {
        assert!(group.members[&member].subscribed.contains(&topic), "{member} does not read {topic}");
        assert!(usize::try_from(partition).unwrap() < group.topics[&topic].len());
        assert!(seen.insert((topic, partition)), "{topic}-{partition} has two owners");
    }
    assert_eq!(seen.len(), group.partitions(), "every partition has an owner");
    assert!(assignment.values().flat_map(BTreeMap::values).all(|p| !p.is_empty()), "no empty topic");
}

fn invariant_level(assignment: &Assignment) {
    let loads = loads(assignment);
    let spread = loads.iter().max().unwrap_or(&0) - loads.iter().min().unwrap_or(&0);
    assert!(spread <= 1, "{loads:?}");
}

/// No partition could move to a subscriber that has at least two less.
fn invariant_no_better_single_move(group: &Group, assignment: &Assignment) {
    for (owner, topic, _) in pairs(assignment) {
        for (id, _) in group.members.iter().filter(|(_, m)| m.subscribed.contains(&topic)) {
            let (most, least) = (load(&assignment[&owner]), load(&assignment[id]));
            assert!(most < least + 2, "{owner} has {most}, {id} only {least}, and both read {topic}");
        }
    }
}

/// How many partitions have another owner than before, or one for the first time.
fn moved(before: &Assignment, after: &Assignment) -> usize {
    pairs(after).difference(&pairs(before)).count()
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(0..12_usize, 0..6)
}

prop_compose! {
    fn mixed_group()(
        sizes in sizes(),
        subscriptions in prop::collection::vec((0..64_u8, 0..4_usize), 1..9),
        racks in prop::collection::vec(0..4_usize, 72),
    ) -> Group {
        let mut group = Group::alike(0, &sizes);
        let mut racks = racks.into_iter();
        for partition in group.topics.values_mut().flatten() {
            *partition = RACKS.get(racks.next().unwrap()).copied();
        }
        for (n, (bits, rack)) in subscriptions.into_iter().enumerate() {
            let read = group.topics.keys().enumerate().filter(|(i, _)| bits & (1 << i) != 0);
            let subscribed = Arc::new(read.map(|(_, id)| *id).collect());
            let rack = RACKS.get(rack).copied();
            group.members.insert(name(n), Member { instance: None, rack, subscribed });
        }
        group
    }
}

prop_compose! {
    /// Anything may be written in a log: partitions that are gone, of topics not read, with two owners.
    fn odd_current()(
        claims in prop::collection::vec((0..10_usize, 0..8_usize, -2..14_i32), 0..60),
    ) -> Assignment {
        let mut current = Assignment::new();
        for (member, id, partition) in claims {
            current.entry(name(member)).or_default().entry(topic(id)).or_default().insert(partition);
        }
        current
    }
}

proptest! {
    #[test]
    fn any_group_is_assigned_whole_and_the_same_each_time(mut group in mixed_group(), odd in odd_current()) {
        group.current = odd;
        for assignor in ["uniform", "range"] {
            let assignment = group.assign(assignor);
            invariant_one_owner_that_subscribes(&group, &assignment);
            prop_assert_eq!(&assignment, &group.assign(assignor));
            let settled = group.clone().settle(assignor);
            prop_assert_eq!(&assignment, &settled.assign(assignor), "a second run changes nothing");
        }
        invariant_no_better_single_move(&group, &group.assign("uniform"));
    }

    #[test]
    fn members_alike_are_level_and_stay_so_when_one_joins_or_leaves(
        members in 1..9_usize, sizes in sizes(), racks in any::<bool>(), leaver in any::<prop::sample::Index>(),
    ) {
        let mut group = Group::alike(members, &sizes);
        if racks {
            group.members.values_mut().zip(RACKS.iter().cycle()).for_each(|(m, r)| m.rack = Some(r));
            let partitions = group.topics.values_mut().flatten();
            partitions.zip(RACKS.iter().cycle()).for_each(|(p, r)| *p = Some(r));
        }
        let group = group.settle("uniform");
        invariant_level(&group.current);

        let mut joined = group.clone();
        let like = group.members.values().next().unwrap().clone();
        joined.members.insert("joiner".into(), like);
        let joined = joined.settle("uniform");
        invariant_one_owner_that_subscribes(&joined, &joined.current);
        invariant_level(&joined.current);
        prop_assert_eq!(moved(&group.current, &joined.current), load(&joined.current["joiner"]));

        let mut left = group.clone();
        let leaver = name(leaver.index(members));
        left.members.remove(&leaver);
        if members > 1 {
            let left = left.settle("uniform");
            invariant_one_owner_that_subscribes(&left, &left.current);
            invariant_level(&left.current);
            prop_assert_eq!(moved(&group.current, &left.current), load(&group.current[&leaver]));
        }
    }

    #[test]
    fn no_more_moves_than_must_from_any_start(members in 1..9_usize, sizes in sizes(), odd in odd_current()) {
        let mut group = Group::alike(members, &sizes);
        group.current = odd;
        let assignment = group.assign("uniform");
        invariant_level(&assignment);
        // What a member may keep at best: its valid claims up to its share. Of two claims to a partition the first counts; the
        // other one is no possession, also where chance gives its member the partition that the first had to give up.
        let (least, extra) = (group.partitions() / members, group.partitions() % members);
        let (mut claimed, mut possessed) = (BTreeSet::new(), BTreeSet::new());
        let mut valid = vec![0; members];
        for (member, topic, partition) in pairs(&group.current) {
            let exists = group.topics.get(&topic).is_some_and(|t| (0..t.len() as i32).contains(&partition));
            let index = (0..members).find(|n| name(*n) == member);
            if let Some(index) = index.filter(|_| exists && claimed.insert((topic, partition))) {
                valid[index] += 1;
                possessed.insert((member, topic, partition));
            }
        }
        let above = valid.iter().filter(|n| **n > least).count();
        let keepable: usize = valid.iter().map(|n| (*n).min(least)).sum::<usize>() + above.min(extra);
        let moved = pairs(&assignment).difference(&possessed).count();
        prop_assert_eq!(moved, group.partitions() - keepable);
    }

    #[test]
    fn a_range_is_what_the_classic_formula_gives(members in 1..9_usize, sizes in sizes()) {
        let group = Group::alike(members, &sizes);
        let assignment = group.assign("range");
        for (id, partitions) in &group.topics {
            let (each, extra) = (partitions.len() / members, partitions.len() % members);
            for n in 0..members {
                let start = each * n + n.min(extra);
                let length = each + usize::from(n < extra);
                let expected: BTreeSet<_> = (start..start + length).map(|p| p as i32).collect();
                let got = assignment[&name(n)].get(id).cloned().unwrap_or_default();
                prop_assert_eq!(got, expected);
            }
        }
    }
}

#[test]
fn an_unknown_assignor_is_an_error() {
    let error = assign("sticky", &GroupSpec::default()).unwrap_err();
    assert_eq!(error.to_string(), "no assignor is named \"sticky\"");
    assert_eq!(assign("uniform", &GroupSpec::default()), Ok(Assignment::new()));
}

#[test]
fn topics_of_equal_size_are_cut_alike_by_range() {
    let group = Group::alike(3, &[7, 7]);
    for owned in group.assign("range").values() {
        assert_eq!(owned[&topic(0)], owned[&topic(1)]);
    }
}

#[test]
fn a_static_member_keeps_its_range_under_a_new_id() {
    let mut group = Group::alike(3, &[9]);
    for (n, member) in group.members.values_mut().enumerate() {
        member.instance = Some(format!("instance-{n}").into());
    }
    let before = group.assign("range");
    let back = group.members.remove(&name(0)).unwrap();
    group.members.insert("z-came-back".into(), back);
    let after = group.assign("range");
    assert_eq!(before[&name(0)], after["z-came-back"]);
    assert_eq!(before[&name(1)], after[&name(1)]);
}

#[test]
fn static_members_come_first_in_a_range() {
    let mut group = Group::alike(2, &[3]);
    group.members.get_mut(&name(1)).unwrap().instance = Some("i".into());
    let assignment = group.assign("range");
    assert_eq!(assignment[&name(1)][&topic(0)], BTreeSet::from([0, 1]));
    assert_eq!(assignment[&name(0)][&topic(0)], BTreeSet::from([2]));
}

#[test]
fn a_joiner_gets_some_of_every_topic() {
    let mut group = Group::alike(1, &[10, 10]).settle("uniform");
    let like = group.members[&name(0)].clone();
    group.members.insert(name(1), like);
    let assignment = group.assign("uniform");
    assert_eq!(assignment[&name(1)][&topic(0)].len(), 5);
    assert_eq!(assignment[&name(1)][&topic(1)].len(), 5);
}

#[test]
fn a_new_group_reads_near_where_that_is_free() {
    let mut group = Group::alike(3, &[9, 9]);
    for (member, rack) in group.members.values_mut().zip(RACKS) {
        member.rack = Some(rack);
    }
    for (n, rack) in group.topics.values_mut().flatten().enumerate() {
        *rack = Some(RACKS[n / 3 % 3]);
    }
    assert_eq!(group.near(&group.assign("uniform")), 18);

    let other = group.topics.keys().next().copied().unwrap();
    let mut mixed = group.clone();
    mixed.members.insert(name(3), Member { subscribed: Arc::new([other].into()), ..Member::default() });
    let assignment = mixed.assign("uniform");
    invariant_no_better_single_move(&mixed, &assignment);
    assert!(mixed.near(&assignment) >= 12, "{}", mixed.near(&assignment));
}

#[test]
fn nearness_moves_nothing_that_has_an_owner() {
    let mut group = Group::alike(3, &[9]).settle("uniform");
    for (member, rack) in group.members.values_mut().zip(RACKS) {
        member.rack = Some(rack);
    }
    for (n, rack) in group.topics.values_mut().flatten().enumerate() {
        *rack = Some(RACKS[(n + 1) % 3]);
    }
    assert_eq!(group.near(&group.current), 0);
    assert_eq!(group.assign("uniform"), group.current);
}

#[test]
fn a_member_gives_up_what_is_far_first() {
    let mut group = Group::alike(1, &[10]);
    group.members.get_mut(&name(0)).unwrap().rack = Some("a");
    for (n, rack) in group.topics.values_mut().flatten().enumerate() {
        *rack = Some(if n < 5 { "b" } else { "a" });
    }
    let mut group = group.settle("uniform");
    let like = Member { rack: Some("b"), ..group.members[&name(0)].clone() };
    group.members.insert(name(1), like);
    assert_eq!(group.near(&group.assign("uniform")), 10);
}

#[test]
fn members_of_different_topics_are_levelled_through_the_topic_they_share() {
    let mut group = Group::alike(2, &[6, 4]);
    group.members.get_mut(&name(1)).unwrap().subscribed = Arc::new([topic(1)].into());
    let assignment = group.assign("uniform");
    assert_eq!(loads(&assignment), [6, 4]);
    assert_eq!(assignment[&name(1)][&topic(1)].len(), 4);
}
