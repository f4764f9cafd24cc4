//! What the shard itself answers, beside its groups: Kafka's errors for what it does not know, groups of nothing but offsets, and what
//! must stay true whatever comes ([`laws`]).

mod laws;
mod world;

use self::world::{World, commit_of, member_commit};
use super::*;
use crate::coordinator::group::command::{
    ConsumerHeartbeat, FetchedOffset, Heartbeat, LeaveGroup, Leaver, SyncGroup,
};
use crate::coordinator::group::offsets::FORGOTTEN_PER_TURN_MAX;

const DAY_MS: Millis = 86_400_000;

#[test]
fn a_group_that_nobody_knows_has_no_members_and_no_offsets() {
    let mut world = World::default();
    let heartbeat = Heartbeat { group: "g".into(), generation: 1, member: "m".into(), instance: None };
    assert_eq!(world.ask(heartbeat), ErrorCode::UnknownMemberId);
    let sync = SyncGroup { group: "g".into(), generation: 1, member: "m".into(), ..SyncGroup::default() };
    assert_eq!(world.ask(sync).error, ErrorCode::UnknownMemberId);
    let leaver = Leaver { member: "m".into(), ..Leaver::default() };
    let left = world.ask(LeaveGroup { group: "g".into(), members: vec![leaver.clone()] });
    assert_eq!((left.error, left.members), (ErrorCode::None, vec![(leaver, ErrorCode::UnknownMemberId)]));
    assert_eq!(world.joins("g", "m").error, ErrorCode::UnknownMemberId);
    assert_eq!(world.delete_group("g"), ErrorCode::GroupIdNotFound);
    let topics = vec![("t".into(), vec![0])];
    let delete = OffsetDelete { group: "g".into(), topics };
    assert_eq!(world.ask(delete).error, ErrorCode::GroupIdNotFound);
    let Answer::DescribeClassic(described) = world.command(Command::DescribeClassic("g".into())) else {
        panic!()
    };
    assert_eq!((described.error, described.state), (ErrorCode::GroupIdNotFound, GroupState::Dead));
    assert_eq!(world.listed(), []);
    assert_eq!(world.log.len(), 0, "nothing was written of it");
}

#[test]
fn offsets_of_a_group_that_nobody_knows_are_minus_one_whoever_asks() {
    let mut world = World::default();
    for (member, epoch) in [(None, -1), (Some("m".into()), 3)] {
        let topics = Some(vec![("t".into(), vec![7])]);
        let fetch = OffsetFetch { group: "g".into(), member, epoch, topics, require_stable: true };
        let all = OffsetFetch { topics: None, ..fetch.clone() };
        let none = FetchedOffset { index: 7, offset: -1, leader_epoch: -1, ..FetchedOffset::default() };
        let answer = OffsetFetchAnswer { error: ErrorCode::None, topics: vec![("t".into(), vec![none])] };
        assert_eq!(world.ask(fetch), answer);
        assert_eq!(world.ask(all), OffsetFetchAnswer::default());
    }
}

#[test]
fn a_member_of_a_group_that_nobody_knows_commits_nothing() {
    let mut world = World::default();
    let commit = member_commit("g", "m", 1, 5);
    assert_eq!(world.commit(commit.clone()), ErrorCode::GroupIdNotFound);
    let of_v8 = OffsetCommit { knows_stale_epoch: false, ..commit };
    assert_eq!(world.commit(of_v8), ErrorCode::IllegalGeneration);
    assert_eq!(world.listed(), []);
}

#[test]
fn a_commit_without_a_member_makes_a_group_of_nothing_but_offsets() {
    let mut world = World::default();
    // Old consumers may have no group id at all.
    for group in ["g", ""] {
        assert_eq!(world.commit(commit_of(group, 5)), ErrorCode::None);
        assert_eq!(world.committed(group), 5);
    }
    let listed = |group: &str| ListedGroup {
        group: group.into(),
        protocol_type: Name::default(),
        state: GroupState::Empty,
        kind: GroupKind::Classic,
    };
    assert_eq!(world.listed(), [listed(""), listed("g")]);
    world.reload();
    assert_eq!(world.listed(), [listed(""), listed("g")]);
    assert_eq!(world.committed("g"), 5);
    assert_eq!(world.delete_group("g"), ErrorCode::None);
    assert_eq!((world.committed("g"), world.listed()), (-1, vec![listed("")]));
    world.reload();
    assert_eq!((world.committed("g"), world.listed()), (-1, vec![listed("")]));
}

#[test]
fn a_commit_of_which_nothing_is_kept_makes_no_group() {
    let mut world = World::default();
    let mut commit = commit_of("g", 5);
    commit.topics[0].partitions[0].metadata = "x".repeat(4097).into();
    assert_eq!(world.commit(commit), ErrorCode::OffsetMetadataTooLarge);
    let nothing = OffsetCommit { topics: Vec::new(), ..commit_of("g", 5) };
    assert_eq!(world.ask(nothing), []);
    assert_eq!(world.listed(), []);
}

#[test]
fn who_is_no_member_commits_nothing_to_a_group_that_has_some() {
    let mut world = World::default();
    let (member, generation) = world.lone_member("g");
    assert_eq!(world.commit(commit_of("g", 5)), ErrorCode::UnknownMemberId);
    assert_eq!(world.commit(member_commit("g", "stranger", generation, 5)), ErrorCode::UnknownMemberId);
    assert_eq!(world.commit(member_commit("g", &member, generation - 1, 5)), ErrorCode::IllegalGeneration);
    assert_eq!(world.commit(member_commit("g", &member, generation + 1, 5)), ErrorCode::IllegalGeneration);
    assert_eq!(world.committed("g"), -1);
    assert_eq!(world.commit(member_commit("g", &member, generation, 5)), ErrorCode::None);
    assert_eq!(world.committed("g"), 5);
}

/// N34, rule G1: a member that was removed while it was away must not undo what its successor has done.
#[test]
fn the_late_commit_of_a_removed_member_is_refused_after_the_rebalance() {
    let mut world = World::default();
    let (slow, generation) = world.lone_member("g");
    assert_eq!(world.commit(member_commit("g", &slow, generation, 10)), ErrorCode::None);
    world.advance(10_001);
    let (heir, next) = world.lone_member("g");
    assert_ne!((&heir, next), (&slow, generation));
    assert_eq!(world.commit(member_commit("g", &heir, next, 20)), ErrorCode::None);
    assert_eq!(world.commit(member_commit("g", &slow, generation, 11)), ErrorCode::UnknownMemberId);
    assert_eq!(world.commit(member_commit("g", &slow, next, 11)), ErrorCode::UnknownMemberId);
    assert_eq!(world.commit(member_commit("g", &heir, generation, 11)), ErrorCode::IllegalGeneration);
    assert_eq!(world.committed("g"), 20);
    world.reload();
    assert_eq!(world.commit(member_commit("g", &slow, generation, 11)), ErrorCode::UnknownMemberId);
    assert_eq!(world.committed("g"), 20);
}

/// N34 with KIP-848, rules G1 and G3.
#[test]
fn the_late_commit_of_a_fenced_consumer_is_refused() {
    let mut world = World::default();
    let epoch = world.consumer_joins("g", "slow");
    assert_eq!(world.commit(member_commit("g", "slow", epoch, 10)), ErrorCode::None);
    world.advance(45_001);
    let next = world.consumer_joins("g", "heir");
    assert_eq!(world.commit(member_commit("g", "heir", next, 20)), ErrorCode::None);
    assert_eq!(world.commit(member_commit("g", "slow", epoch, 11)), ErrorCode::UnknownMemberId);
    assert_eq!(world.commit(commit_of("g", 11)), ErrorCode::UnknownMemberId);
    assert_eq!(world.committed("g"), 20);
    world.reload();
    assert_eq!(world.commit(member_commit("g", "slow", epoch, 11)), ErrorCode::UnknownMemberId);
}

/// Rule G2: no deadline of before the change of coordinators acts, and sessions begin anew.
#[test]
fn a_new_coordinator_gives_members_a_whole_session() {
    let mut world = World::default();
    let (member, generation) = world.lone_member("g");
    world.advance(9_000);
    world.reload();
    world.advance(9_000);
    assert_eq!(world.commit(member_commit("g", &member, generation, 5)), ErrorCode::None);
    world.advance(10_001);
    assert_eq!(world.commit(member_commit("g", &member, generation, 6)), ErrorCode::UnknownMemberId);
    assert_eq!(world.committed("g"), 5);
}

#[test]
fn a_group_that_expires_is_gone_from_memory_and_from_the_log() {
    let mut world = World::default();
    assert_eq!(world.commit(commit_of("g", 5)), ErrorCode::None);
    world.advance(7 * DAY_MS - 1);
    assert_eq!(world.committed("g"), 5, "kept for seven days");
    world.advance(world.settings.offsets_retention_check_interval_ms);
    assert_eq!((world.committed("g"), world.listed()), (-1, vec![]));
    world.reload();
    assert_eq!((world.committed("g"), world.listed()), (-1, vec![]));
}

#[test]
fn only_empty_groups_can_be_deleted() {
    let mut world = World::default();
    let (member, _) = world.lone_member("g");
    assert_eq!(world.delete_group("g"), ErrorCode::NonEmptyGroup);
    let leaver = Leaver { member, ..Leaver::default() };
    world.ask(LeaveGroup { group: "g".into(), members: vec![leaver] });
    assert_eq!(world.delete_group("g"), ErrorCode::None);
    world.consumer_joins("h", "m");
    assert_eq!(world.delete_group("h"), ErrorCode::NonEmptyGroup);
    world.reload();
    assert_eq!(world.listed().len(), 1);
}

#[test]
fn each_description_knows_its_own_kind_of_group() {
    let mut world = World::default();
    world.commit(commit_of("old", 1));
    world.consumer_joins("new", "m");
    let Answer::DescribeClassic(old) = world.command(Command::DescribeClassic("new".into())) else {
        panic!()
    };
    assert_eq!(old.error, ErrorCode::GroupIdNotFound);
    assert_eq!(old.message.as_deref(), Some("Group new is not a classic group."));
    let Answer::DescribeConsumer(new) = world.command(Command::DescribeConsumer("old".into())) else {
        panic!()
    };
    assert_eq!(new.error, ErrorCode::GroupIdNotFound);
    assert_eq!(new.message.as_deref(), Some("Group old is not a consumer group."));
}

#[test]
fn expiry_that_one_turn_cannot_hold_lets_others_in_between() {
    let mut world = World::default();
    let mut commit = commit_of("g", 1);
    let one = commit.topics[0].partitions[0].clone();
    let many = 0..i32::try_from(FORGOTTEN_PER_TURN_MAX).unwrap() + 5;
    commit.topics[0].partitions = many
        .map(|index| crate::coordinator::group::command::CommitPartition { index, ..one.clone() })
        .collect();
    world.commit(commit);
    world.jump(8 * DAY_MS);
    let turn = world.tick();
    assert_eq!(turn.records.len(), FORGOTTEN_PER_TURN_MAX);
    assert_eq!(world.shard.next_deadline(), Some(world.now.elapsed_ms + SOON_MS));
    world.advance(SOON_MS);
    assert_eq!(world.listed(), []);
}

#[test]
fn names_that_no_record_can_hold_are_refused() {
    let mut world = World::default();
    let heartbeat = ConsumerHeartbeat {
        group: "g".into(),
        member: "m".repeat(40_000).into(),
        topic_names: Some(vec![]),
        owned: Some(vec![]),
        rebalance_timeout_ms: 1000,
        ..ConsumerHeartbeat::default()
    };
    assert_eq!(world.ask(heartbeat).error, ErrorCode::InvalidRequest);
    let mut join = world.join("g", "");
    join.fresh_member = "m".repeat(32_768).into();
    assert_eq!(world.ask(join).error, ErrorCode::InvalidRequest);
    assert_eq!(world.listed(), []);
}

/// The bound is `group_bytes_max`: what a group may not hold could not be written either.
#[test]
fn a_group_of_huge_members_is_full_before_its_record_is_too_large() {
    let mut world = World::default();
    world.settings.group_bytes_max = 1 << 20;
    let (member, generation) = world.lone_member("other");
    let mut joined = 0;
    for _ in 0..20 {
        let mut join = world.join("huge", "");
        join.protocols[0].metadata = vec![0; 100_000].into();
        if world.asks(Command::Join(join)).is_none() {
            joined += 1;
        }
        let commit = member_commit("other", &member, generation, joined);
        assert_eq!(world.commit(commit), ErrorCode::None, "another group does not notice");
    }
    assert_eq!(joined, 10, "members of 100 kB in 1 MiB");
    while world.answers.is_empty() {
        world.next_deadline();
    }
    let leads = |answer: &Answer| match answer {
        Answer::Join(joined) if joined.leader == joined.member => Some(joined.clone()),
        _ => None,
    };
    let leader = world.answers.values().find_map(leads).unwrap();
    assert_eq!(leader.members.len(), 10);
    let sync = SyncGroup {
        group: "huge".into(),
        generation: leader.generation,
        member: leader.member,
        ..SyncGroup::default()
    };
    assert_eq!(world.ask(sync).error, ErrorCode::None);
    let sizes = world.log.iter().map(|(_, value)| value.as_ref().map_or(0, bytes::Bytes::len));
    assert!((1_000_000..=1 << 20).contains(&sizes.max().unwrap()));
}

#[test]
fn a_member_that_no_record_can_hold_is_refused_in_a_group_of_the_new_protocol() {
    let mut world = World::default();
    world.settings.group_bytes_max = 1 << 20;
    let names = (0..20_000).map(|n| format!("{n:060}").into()).collect();
    let heartbeat = ConsumerHeartbeat { topic_names: Some(names), ..world::heartbeat("g", "m", 0) };
    assert_eq!(world.ask(heartbeat).error, ErrorCode::GroupMaxSizeReached);
    assert_eq!(world.listed(), []);
    world.consumer_joins("g", "m");
    let mut join = world.join("g", "");
    join.protocols[0].metadata = vec![0; 2 << 20].into();
    assert_eq!(world.ask(join).error, ErrorCode::GroupMaxSizeReached);
    assert_eq!(world.commit(commit_of("g", 1)), ErrorCode::UnknownMemberId, "the group lives");
}

#[test]
fn ids_that_are_never_used_fill_the_group_and_not_the_memory() {
    let mut world = World::default();
    world.settings.group_bytes_max = 100_000;
    let mut given = 0;
    for _ in 0..5000 {
        let mut join = world.join("g", "");
        join.must_know_member = true;
        match world.ask(join).error {
            ErrorCode::MemberIdRequired => given += 1,
            error => assert_eq!(error, ErrorCode::GroupMaxSizeReached),
        }
    }
    assert!(given < 400, "{given}");
}

#[test]
fn an_assignment_that_no_record_can_hold_is_refused() {
    let mut world = World::default();
    world.settings.group_bytes_max = 1 << 20;
    let joined = world.joins_until_answered("g");
    let sync = SyncGroup {
        group: "g".into(),
        generation: joined.generation,
        member: joined.member.clone(),
        assignments: vec![(joined.member.clone(), vec![0; 2 << 20].into())],
        ..SyncGroup::default()
    };
    assert_eq!(world.ask(sync.clone()).error, ErrorCode::UnknownServerError);
    let less = SyncGroup { assignments: vec![(joined.member, vec![0; 1 << 19].into())], ..sync };
    assert_eq!(world.ask(less).error, ErrorCode::None);
}
