//! Requests about groups that are far too large: answered or refused in bounded memory, and nobody else notices.

use std::time::Duration;

use ketcd::protocol::peer::encode_frame;
use ketcd::protocol::peer::messages::{
    DeleteGroupsRequest, DescribeGroupsRequest, GroupId, OffsetFetchRequest,
    offset_fetch_request::OffsetFetchRequestGroup,
};
use tokio::io::AsyncWriteExt;
use tokio::task::JoinSet;

use crate::fixture::{DEADLINE, OwnBroker, connect, fresh_name, groups_are_served, shared, text, topic};
use crate::member::{Classic, MEMBER_ID_REQUIRED, commit, commit_request, committed};
use crate::wire::{self, Outcome};

const INVALID_COMMIT_OFFSET_SIZE: i16 = 28;
const GROUP_MAX_SIZE_REACHED: i16 = 81;

/// A member of another group joins, commits and leaves.
async fn others_are_served(topic: &str) {
    let served = async {
        let mut member = Classic::new(shared(), &fresh_name("other"), 9).await;
        member.lead_alone("all").await;
        assert_eq!(member.commit(topic, 0, 1).await, 0);
        assert_eq!(member.leave().await, 0);
    };
    tokio::time::timeout(DEADLINE, served).await.expect("another group is served meanwhile");
}

#[tokio::test]
async fn a_commit_of_very_many_partitions_is_refused_partition_by_partition() {
    groups_are_served(shared()).await;
    let mut peer = connect(shared()).await;
    let topic = topic(&mut peer, "huge-commit").await.name;
    let group = fresh_name("huge-commit");
    let id = GroupId(text(&group));
    // None of them exists but the first.
    let all: Vec<_> = (0..500_000).map(|index| (index, 1)).collect();
    let answer = peer.call_at(&commit_request(&id, &topic, &all), 8).await.unwrap();
    let partitions = &answer.topics[0].partitions;
    assert_eq!((partitions.len(), partitions[0].error_code), (500_000, 0));
    assert!(partitions[1..].iter().all(|one| one.error_code == 3));
    assert_eq!(committed(&mut peer, &group, &topic, 0).await, 1);
    // The same one very often: more than the log takes at once.
    let same: Vec<_> = (0..700_000).map(|offset| (0, offset)).collect();
    let answer = peer.call_at(&commit_request(&id, &topic, &same), 8).await.unwrap();
    assert!(answer.topics[0].partitions.iter().all(|one| one.error_code == INVALID_COMMIT_OFFSET_SIZE));
    assert_eq!(committed(&mut peer, &group, &topic, 0).await, 1, "nothing of it was taken");
    // More than may be decoded at all.
    let beyond: Vec<_> = (0..1_100_000).map(|index| (index, 1)).collect();
    let frame = encode_frame(&commit_request(&id, &topic, &beyond), 8, 1, "tests").unwrap();
    assert_eq!(wire::exchange(&mut wire::open(shared()).await, &frame).await, Outcome::Closed);
    assert_eq!(commit(&mut peer, &group, &topic, 0, 2).await, 0);
    others_are_served(&topic).await;
}

#[tokio::test]
async fn requests_that_name_very_many_groups_are_answered_in_their_order() {
    groups_are_served(shared()).await;
    let mut peer = connect(shared()).await;
    let topic = topic(&mut peer, "many-groups").await.name;
    let real = fresh_name("many-groups");
    assert_eq!(commit(&mut peer, &real, &topic, 0, 9).await, 0);
    let mut names: Vec<_> = (0..20_000).map(|n| GroupId(text(&format!("no-such-{n}")))).collect();
    names.push(GroupId(text(&real)));

    let request = DescribeGroupsRequest::default().with_groups(names.clone());
    let answer = peer.call_at(&request, 6).await.unwrap();
    let told: Vec<_> = answer.groups.iter().map(|one| one.group_id.clone()).collect();
    assert!(told == names, "as asked");
    assert_eq!(answer.groups.iter().filter(|one| one.error_code == 0).count(), 1);

    let all =
        |name: &GroupId| OffsetFetchRequestGroup::default().with_group_id(name.clone()).with_topics(None);
    let request = OffsetFetchRequest::default().with_groups(names.iter().map(all).collect());
    let answer = peer.call_at(&request, 9).await.unwrap();
    let told: Vec<_> = answer.groups.iter().map(|one| one.group_id.clone()).collect();
    assert!(told == names, "as asked");
    assert_eq!(answer.groups.last().unwrap().topics[0].partitions[0].committed_offset, 9);

    let request = DeleteGroupsRequest::default().with_groups_names(names.clone());
    let answer = peer.call_at(&request, 2).await.unwrap();
    let deleted = answer.results.iter().filter(|one| one.error_code == 0).count();
    assert_eq!((answer.results.len(), deleted), (names.len(), 1));
    others_are_served(&topic).await;
}

#[tokio::test]
async fn joins_that_flood_one_group_do_not_stop_the_others() {
    groups_are_served(shared()).await;
    let mut peer = connect(shared()).await;
    let topic = topic(&mut peer, "flood").await.name;
    let mut first = Classic::new(shared(), &fresh_name("flood"), 3).await;
    first.lead_alone("all").await;
    // Members without an id, before the version that makes them ask for one: each is a new member, and all wait for the first.
    let mut sockets = Vec::new();
    for connection in 0..20 {
        let mut socket = wire::open(shared()).await;
        let mut frames = Vec::new();
        for n in 0..100 {
            frames
                .extend(encode_frame(&first.join_request().with_member_id(text("")), 3, n, "flood").unwrap());
        }
        // What the broker does not read of one connection, it does not read.
        let _ = tokio::time::timeout(Duration::from_secs(5), socket.write_all(&frames)).await;
        sockets.push((connection, socket));
        others_are_served(&topic).await;
    }
    drop(sockets);
    others_are_served(&topic).await;
}

/// A group is one record, which must fit into a segment of its log: the group is full before.
#[tokio::test]
async fn members_with_huge_metadata_fill_their_own_group_only() {
    const MEMBERS: usize = 8;
    let data = tempfile::Builder::new().prefix("ketcd-broker-test-").tempdir().unwrap();
    let broker = OwnBroker::start(data.path(), &["offsets.topic.segment.bytes=1048576"]).await;
    groups_are_served(&broker.address).await;
    let mut peer = connect(&broker.address).await;
    let topic = topic(&mut peer, "huge-members").await.name;
    let mut other = Classic::new(&broker.address, "other", 9).await;
    other.lead_alone("all").await;
    let mut joins = JoinSet::new();
    for _ in 0..MEMBERS {
        let mut member = Classic::new(&broker.address, "huge", 3).await;
        member.metadata = vec![0; 100_000].into();
        joins.spawn(async move { member.join().await.error_code });
    }
    // Half a segment holds five of them; who is in waits for the others to join again.
    let mut refused = 0;
    while refused < MEMBERS - 5 {
        let joined = tokio::time::timeout(DEADLINE, joins.join_next()).await.expect("refused at once");
        match joined.unwrap().unwrap() {
            0 => {}
            error => {
                assert_eq!(error, GROUP_MAX_SIZE_REACHED);
                refused += 1;
            }
        }
        assert_eq!(other.heartbeat().await, 0, "another group does not notice");
        assert_eq!(other.commit(&topic, 0, 1).await, 0);
    }
    joins.abort_all();
    drop(joins);
    broker.stop().await;
}

/// An id that is given out is remembered until it is used or its session is over: such ids count as members of the group.
#[tokio::test]
async fn fifty_thousand_who_ask_for_a_member_id_are_bounded_by_the_size_of_the_group() {
    const ASKING: usize = 50_000;
    const CONNECTIONS: usize = 10;
    const MEMBERS_MAX: usize = 1000;
    let data = tempfile::Builder::new().prefix("ketcd-broker-test-").tempdir().unwrap();
    let broker = OwnBroker::start(data.path(), &["group.max.size=1000"]).await;
    groups_are_served(&broker.address).await;
    let mut peer = connect(&broker.address).await;
    let topic = topic(&mut peer, "crowd").await.name;
    let mut other = Classic::new(&broker.address, "other", 9).await;
    other.lead_alone("all").await;
    let mut crowd = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let mut member = Classic::new(&broker.address, "crowd", 9).await;
        crowd.spawn(async move {
            let mut given = 0;
            for _ in 0..ASKING / CONNECTIONS {
                let request = member.join_request().with_member_id(text(""));
                match member.peer.call_at(&request, 9).await.unwrap().error_code {
                    MEMBER_ID_REQUIRED => given += 1,
                    error => assert_eq!(error, GROUP_MAX_SIZE_REACHED),
                }
            }
            given
        });
    }
    let mut given = 0;
    while let Some(asked) = crowd.join_next().await {
        given += asked.unwrap();
        assert_eq!(other.heartbeat().await, 0, "another group does not notice");
        assert_eq!(other.commit(&topic, 0, 1).await, 0);
    }
    assert_eq!(given, MEMBERS_MAX);
    broker.stop().await;
}
