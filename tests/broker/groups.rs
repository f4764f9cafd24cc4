//! Classic groups over real connections: what the coordinator does is proven by its transcripts; here it is seen from the wire.

use std::time::Duration;

use ketcd::protocol::peer::messages::leave_group_request::MemberIdentity;
use ketcd::protocol::peer::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, GroupId, JoinGroupRequest, LeaveGroupRequest,
    ListGroupsRequest,
};
use ketcd::protocol::peer::{Peer, encode_frame};
use tempfile::TempDir;

use crate::fixture::{
    DEADLINE, OwnBroker, connect, eventually, fresh_name, groups_are_served, shared, text, topic,
};
use crate::member::{Classic, UNKNOWN_MEMBER_ID, commit, committed};
use crate::wire;

const ILLEGAL_GENERATION: i16 = 22;
const INCONSISTENT_GROUP_PROTOCOL: i16 = 23;
const INVALID_GROUP_ID: i16 = 24;
const INVALID_SESSION_TIMEOUT: i16 = 26;
const REBALANCE_IN_PROGRESS: i16 = 27;
const NON_EMPTY_GROUP: i16 = 68;
const GROUP_ID_NOT_FOUND: i16 = 69;
const FENCED_INSTANCE_ID: i16 = 82;

async fn ready() -> Peer {
    groups_are_served(shared()).await;
    connect(shared()).await
}

async fn state_of(peer: &mut Peer, group: &str) -> String {
    let request = DescribeGroupsRequest::default().with_groups(vec![GroupId(text(group))]);
    peer.call_at(&request, 5).await.unwrap().groups[0].group_state.to_string()
}

#[tokio::test]
async fn a_member_joins_syncs_lives_commits_and_leaves_at_every_version() {
    let mut peer = ready().await;
    let topic = topic(&mut peer, "whole-life").await.name;
    for version in 0..=9 {
        let group = fresh_name("whole-life");
        let mut member = Classic::new(shared(), &group, version).await;
        let joined = member.join().await;
        assert_eq!((joined.error_code, joined.generation_id), (0, 1), "v{version}");
        assert!(joined.member_id.starts_with("tests-"), "{:?}", joined.member_id);
        assert_eq!(joined.protocol_type.as_deref(), (version >= 7).then_some("consumer"));
        let id = member.member.clone();
        let synced = member.sync(&[(&id, "all of it")]).await;
        assert_eq!((synced.error_code, synced.assignment.as_ref()), (0, b"all of it".as_ref()));
        assert_eq!(member.heartbeat().await, 0);
        assert_eq!(state_of(&mut peer, &group).await, "Stable");
        assert_eq!(member.commit(&topic, 0, i64::from(version) + 10).await, 0);
        assert_eq!(committed(&mut peer, &group, &topic, 0).await, i64::from(version) + 10);
        member.generation += 1;
        assert_eq!(member.heartbeat().await, ILLEGAL_GENERATION);
        assert_eq!(member.commit(&topic, 0, 1).await, ILLEGAL_GENERATION);
        member.generation -= 1;
        assert_eq!(member.leave().await, 0);
        assert_eq!(member.heartbeat().await, UNKNOWN_MEMBER_ID);
        assert_eq!(state_of(&mut peer, &group).await, "Empty");
        assert_eq!(committed(&mut peer, &group, &topic, 0).await, i64::from(version) + 10);
    }
}

#[tokio::test]
async fn a_lone_member_of_a_dev_broker_does_not_wait_for_others() {
    ready().await;
    let mut member = Classic::new(shared(), &fresh_name("quick"), 9).await;
    let begun = std::time::Instant::now();
    member.lead_alone("all").await;
    let kafkas_initial_delay = Duration::from_secs(3);
    assert!(begun.elapsed() < kafkas_initial_delay, "{:?}", begun.elapsed());
}

/// Waits until the member is told to join again.
async fn told_to_rejoin(member: &mut Classic) {
    eventually("the member is told to join again", async || {
        let error = member.heartbeat().await;
        assert!([0, REBALANCE_IN_PROGRESS].contains(&error), "{error}");
        (error == REBALANCE_IN_PROGRESS).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_second_member_makes_a_new_generation_in_which_the_leader_assigns_to_both() {
    ready().await;
    let group = fresh_name("two");
    let mut first = Classic::new(shared(), &group, 9).await;
    first.lead_alone("everything").await;
    let mut second = Classic::new(shared(), &group, 9).await;
    let parked = tokio::spawn(async move {
        let joined = second.join().await;
        (second, joined)
    });
    told_to_rejoin(&mut first).await;
    assert!(!parked.is_finished(), "the second waits for the first");
    let joined = first.join().await;
    let (mut second, seconds) = parked.await.unwrap();
    assert_eq!((joined.error_code, joined.generation_id, joined.members.len()), (0, 2, 2));
    assert_eq!((seconds.error_code, seconds.generation_id, seconds.members.len()), (0, 2, 0));
    assert_eq!((&joined.leader, &seconds.leader), (&first.member, &first.member));
    let (a, b) = (first.member.clone(), second.member.clone());
    let waiting = tokio::spawn(async move {
        let synced = second.sync(&[]).await;
        (second, synced)
    });
    let synced = first.sync(&[(&a, "left"), (&b, "right")]).await;
    let (mut second, seconds) = waiting.await.unwrap();
    assert_eq!((synced.error_code, synced.assignment.as_ref()), (0, b"left".as_ref()));
    assert_eq!((seconds.error_code, seconds.assignment.as_ref()), (0, b"right".as_ref()));
    assert_eq!((first.heartbeat().await, second.heartbeat().await), (0, 0));
    // One leaves: the other is told.
    assert_eq!(first.leave().await, 0);
    told_to_rejoin(&mut second).await;
    second.lead_alone("everything").await;
    assert_eq!(second.generation, 3);
}

#[tokio::test]
async fn a_member_whose_connection_closed_while_its_join_was_parked_is_forgotten_after_its_session() {
    let data = TempDir::new().unwrap();
    let broker = OwnBroker::start(data.path(), &["group.min.session.timeout.ms=500"]).await;
    groups_are_served(&broker.address).await;
    let mut first = Classic::new(&broker.address, "parked", 3).await;
    first.lead_alone("all").await;
    let mut gone = Classic::new(&broker.address, "parked", 3).await;
    gone.session_timeout_ms = 500;
    let frame = encode_frame(&gone.join_request(), 3, 1, "gone").unwrap();
    let mut socket = wire::open(&broker.address).await;
    tokio::io::AsyncWriteExt::write_all(&mut socket, &frame).await.unwrap();
    told_to_rejoin(&mut first).await;
    drop(socket);
    // The two make a generation, or the first is alone already; in the end it is.
    eventually("the first is alone", async || {
        let joined = first.join().await;
        assert_eq!(joined.error_code, 0);
        if joined.members.len() == 1 {
            return Some(());
        }
        let all: Vec<_> = joined.members.iter().map(|one| (&one.member_id, "part")).collect();
        let synced = first.sync(&all).await;
        assert!([0, REBALANCE_IN_PROGRESS].contains(&synced.error_code));
        told_to_rejoin(&mut first).await;
        None
    })
    .await;
    let member = first.member.clone();
    assert_eq!(first.sync(&[(&member, "all")]).await.error_code, 0);
    assert_eq!(first.heartbeat().await, 0);
    broker.stop().await;
}

#[tokio::test]
async fn a_parked_join_ends_when_the_broker_stops() {
    let data = TempDir::new().unwrap();
    let broker = OwnBroker::start(data.path(), &[]).await;
    groups_are_served(&broker.address).await;
    let mut first = Classic::new(&broker.address, "stopping", 3).await;
    first.lead_alone("all").await;
    let mut second = Classic::new(&broker.address, "stopping", 3).await;
    let parked = tokio::spawn(async move { second.peer.call_at(&second.join_request(), 3).await });
    told_to_rejoin(&mut first).await;
    let begun = std::time::Instant::now();
    broker.stop().await;
    // Either it is told to look for the coordinator again, or its connection is closed.
    if let Ok(answer) = tokio::time::timeout(DEADLINE, parked).await.expect("the join ends").unwrap() {
        assert!([15, 16, REBALANCE_IN_PROGRESS].contains(&answer.error_code), "{answer:?}");
    }
    assert!(begun.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_static_member_that_comes_back_keeps_its_place_and_fences_its_former_self() {
    ready().await;
    let group = fresh_name("static");
    let mut before = Classic::new(shared(), &group, 9).await;
    before.instance = Some(text("instance-1"));
    before.lead_alone("mine").await;
    assert!(before.member.starts_with("instance-1-"), "{:?}", before.member);
    let mut after = Classic::new(shared(), &group, 9).await;
    after.instance = Some(text("instance-1"));
    let joined = after.join().await;
    assert_eq!((joined.error_code, joined.generation_id), (0, 1), "nothing is rebalanced: {joined:?}");
    assert_ne!(after.member, before.member);
    assert!(joined.skip_assignment, "the leader need not assign again");
    let synced = after.sync(&[]).await;
    assert_eq!((synced.error_code, synced.assignment.as_ref()), (0, b"mine".as_ref()));
    assert_eq!(before.heartbeat().await, FENCED_INSTANCE_ID);
    assert_eq!(after.heartbeat().await, 0);
    // An administrator removes it by its instance id.
    let removed = MemberIdentity::default().with_group_instance_id(Some(text("instance-1")));
    let unknown = MemberIdentity::default().with_group_instance_id(Some(text("nobody")));
    let request = LeaveGroupRequest::default()
        .with_group_id(GroupId(text(&group)))
        .with_members(vec![removed, unknown]);
    let answer = after.peer.call_at(&request, 5).await.unwrap();
    let told: Vec<_> = answer.members.iter().map(|one| one.error_code).collect();
    assert_eq!((answer.error_code, told), (0, vec![0, UNKNOWN_MEMBER_ID]));
    assert_ne!(after.heartbeat().await, 0);
}

#[tokio::test]
async fn what_no_group_can_be_asked_is_refused() {
    let mut peer = ready().await;
    let mut member = Classic::new(shared(), "", 9).await;
    assert_eq!(member.join().await.error_code, INVALID_GROUP_ID);
    assert_eq!(member.sync(&[]).await.error_code, INVALID_GROUP_ID);
    assert_eq!(member.heartbeat().await, INVALID_GROUP_ID);
    let leave = LeaveGroupRequest::default();
    assert_eq!(peer.call_at(&leave, 5).await.unwrap().error_code, INVALID_GROUP_ID);
    assert_eq!(peer.call_at(&leave, 2).await.unwrap().error_code, INVALID_GROUP_ID);

    let mut member = Classic::new(shared(), &fresh_name("refused"), 9).await;
    for timeout in [0, 5_999, 1_800_001, i32::MAX, -1] {
        member.session_timeout_ms = timeout;
        assert_eq!(member.join().await.error_code, INVALID_SESSION_TIMEOUT, "{timeout} ms");
    }
    member.session_timeout_ms = 6_000;
    let no_protocols: JoinGroupRequest = member.join_request().with_protocols(Vec::new());
    let answer = peer.call_at(&no_protocols, 9).await.unwrap();
    assert_eq!(answer.error_code, INCONSISTENT_GROUP_PROTOCOL);
    member.lead_alone("all").await;
    let mut other = Classic::new(shared(), &member.group, 9).await;
    let request = other.join_request().with_protocol_type(text("connect"));
    assert_eq!(other.peer.call_at(&request, 9).await.unwrap().error_code, INCONSISTENT_GROUP_PROTOCOL);
    // From v5 on a sync must say what it believes in.
    let sync = ketcd::protocol::peer::messages::SyncGroupRequest::default()
        .with_group_id(member.group.clone())
        .with_member_id(member.member.clone())
        .with_generation_id(1);
    assert_eq!(peer.call_at(&sync, 5).await.unwrap().error_code, INCONSISTENT_GROUP_PROTOCOL);
    assert_eq!(peer.call_at(&sync, 4).await.unwrap().error_code, 0);
}

#[tokio::test]
async fn groups_are_listed_by_state_and_type_in_any_case() {
    let mut peer = ready().await;
    let topic = topic(&mut peer, "listed").await.name;
    let (stable, empty) = (fresh_name("listed-stable"), fresh_name("listed-empty"));
    let mut member = Classic::new(shared(), &stable, 9).await;
    member.lead_alone("all").await;
    assert_eq!(commit(&mut peer, &empty, &topic, 0, 1).await, 0);
    for (states, types, expected) in [
        (&[][..], &[][..], (true, true)),
        (&["Stable"], &[], (true, false)),
        (&["sTABLE"], &[], (true, false)),
        (&["empty", "dead"], &[], (false, true)),
        (&["Stable", "Empty"], &["CLASSIC"], (true, true)),
        (&[], &["consumer"], (false, false)),
        (&[], &["no-such-type"], (false, false)),
        (&["no-such-state"], &[], (false, false)),
    ] {
        let request = ListGroupsRequest::default()
            .with_states_filter(states.iter().map(|word| text(word)).collect())
            .with_types_filter(types.iter().map(|word| text(word)).collect());
        let answer = peer.call_at(&request, 5).await.unwrap();
        let has = |name: &str| answer.groups.iter().any(|group| group.group_id.as_str() == name);
        assert_eq!((answer.error_code, (has(&stable), has(&empty))), (0, expected), "{states:?} {types:?}");
    }
    let all = peer.call_at(&ListGroupsRequest::default(), 5).await.unwrap();
    let line = all.groups.iter().find(|group| group.group_id.as_str() == stable).unwrap();
    assert_eq!((line.protocol_type.as_str(), line.group_state.as_str()), ("consumer", "Stable"));
    assert_eq!(line.group_type.as_str(), "classic");
}

#[tokio::test]
async fn a_group_is_described_with_its_members() {
    let mut peer = ready().await;
    let group = fresh_name("described");
    let mut member = Classic::new(shared(), &group, 9).await;
    member.instance = Some(text("instance"));
    member.lead_alone("all").await;
    for version in 0..=6 {
        let request = DescribeGroupsRequest::default()
            .with_groups(vec![GroupId(text(&group)), GroupId(text("not-there"))])
            .with_include_authorized_operations(version >= 3);
        let answer = peer.call_at(&request, version).await.unwrap();
        let (told, missing) = (&answer.groups[0], &answer.groups[1]);
        assert_eq!(
            (told.error_code, told.group_id.as_str(), told.group_state.as_str()),
            (0, &*group, "Stable")
        );
        assert_eq!((told.protocol_type.as_str(), told.protocol_data.as_str()), ("consumer", "range"));
        // READ, DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS.
        let operations = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;
        assert_eq!(told.authorized_operations, if version >= 3 { operations } else { i32::MIN });
        let one = &told.members[0];
        assert_eq!((&one.member_id, one.client_id.as_str()), (&member.member, "tests"));
        assert_eq!(one.client_host.as_str(), "/127.0.0.1");
        assert_eq!(one.group_instance_id.as_deref(), (version >= 4).then_some("instance"));
        assert_eq!(
            (&one.member_metadata, one.member_assignment.as_ref()),
            (&member.metadata, b"all".as_ref())
        );
        assert_eq!(missing.error_code, if version >= 6 { GROUP_ID_NOT_FOUND } else { 0 });
        assert_eq!(missing.group_state.as_str(), "Dead");
    }
}

#[tokio::test]
async fn only_a_group_without_members_is_deleted_and_its_offsets_go_with_it() {
    let mut peer = ready().await;
    let topic = topic(&mut peer, "deleted-group").await.name;
    let group = fresh_name("deleted");
    let mut member = Classic::new(shared(), &group, 9).await;
    member.lead_alone("all").await;
    assert_eq!(member.commit(&topic, 0, 5).await, 0);
    let name = GroupId(text(&group));
    let request = DeleteGroupsRequest::default().with_groups_names(vec![
        name.clone(),
        GroupId(text("not-there")),
        name.clone(),
    ]);
    let errors = async |peer: &mut Peer| {
        let answer = peer.call_at(&request, 2).await.unwrap();
        answer.results.iter().map(|one| one.error_code).collect::<Vec<_>>()
    };
    assert_eq!(errors(&mut peer).await, [NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND]);
    assert_eq!(member.leave().await, 0);
    assert_eq!(errors(&mut peer).await, [0, GROUP_ID_NOT_FOUND]);
    assert_eq!(committed(&mut peer, &group, &topic, 0).await, -1);
    assert_eq!(errors(&mut peer).await, [GROUP_ID_NOT_FOUND, GROUP_ID_NOT_FOUND]);
}

#[tokio::test]
async fn a_restart_of_the_broker_keeps_the_group_and_its_offsets() {
    let data = TempDir::new().unwrap();
    let broker = OwnBroker::start(data.path(), &[]).await;
    groups_are_served(&broker.address).await;
    let mut peer = connect(&broker.address).await;
    let topic = topic(&mut peer, "kept").await.name;
    let mut member = Classic::new(&broker.address, "kept", 9).await;
    member.lead_alone("my share").await;
    for offset in 1..=100 {
        assert_eq!(member.commit(&topic, 0, offset).await, 0);
    }
    let (id, generation) = (member.member.clone(), member.generation);
    broker.stop().await;

    let broker = OwnBroker::start(data.path(), &[]).await;
    groups_are_served(&broker.address).await;
    let mut peer = connect(&broker.address).await;
    assert_eq!(committed(&mut peer, "kept", &topic, 0).await, 100);
    assert_eq!(state_of(&mut peer, "kept").await, "Stable");
    let mut member = Classic::new(&broker.address, "kept", 9).await;
    (member.member, member.generation) = (id, generation);
    assert_eq!(member.heartbeat().await, 0, "it goes on where it was");
    let synced = member.sync(&[]).await;
    assert_eq!((synced.error_code, synced.assignment.as_ref()), (0, b"my share".as_ref()));
    assert_eq!(member.commit(&topic, 0, 101).await, 0);
    assert_eq!(committed(&mut peer, "kept", &topic, 0).await, 101);
    broker.stop().await;
}
