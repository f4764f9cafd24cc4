//! Committed offsets: OffsetCommit, OffsetFetch and OffsetDelete from the wire.

use ketcd::protocol::peer::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ketcd::protocol::peer::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ketcd::protocol::peer::messages::{GroupId, OffsetDeleteRequest, OffsetFetchRequest};
use ketcd::protocol::peer::{Peer, encode_frame};

use crate::fixture::{connect, fresh_name, groups_are_served, named, shared, text, topic, topic_with};
use crate::member::{Classic, commit, commit_request, committed, subscription};
use crate::wire;

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const OFFSET_METADATA_TOO_LARGE: i16 = 12;
const INVALID_GROUP_ID: i16 = 24;
const GROUP_ID_NOT_FOUND: i16 = 69;
const GROUP_SUBSCRIBED_TO_TOPIC: i16 = 86;

async fn ready() -> Peer {
    groups_are_served(shared()).await;
    connect(shared()).await
}

fn id(group: &str) -> GroupId {
    GroupId(text(group))
}

#[tokio::test]
async fn what_is_committed_at_any_version_is_fetched_at_any_version() {
    let mut peer = ready().await;
    let topic = topic_with(&mut peer, "versions", 2, &[]).await.name;
    for commit_version in 2..=9 {
        let group = fresh_name("versions");
        let mut request = commit_request(&id(&group), &topic, &[(1, 40 + i64::from(commit_version))]);
        if commit_version >= 6 {
            request.topics[0].partitions[0].committed_leader_epoch = 3;
        }
        if commit_version <= 4 {
            request.retention_time_ms = 3_600_000;
        }
        let answer = peer.call_at(&request, commit_version).await.unwrap();
        assert_eq!(answer.topics[0].partitions[0].error_code, 0);
        for version in 1..=9 {
            let (offset, epoch, metadata) = fetch_one(&mut peer, version, &group, &topic, 1).await;
            assert_eq!((offset, metadata.as_str()), (40 + i64::from(commit_version), "note"), "v{version}");
            assert_eq!(epoch, if commit_version >= 6 && version >= 5 { 3 } else { -1 }, "v{version}");
            let (offset, epoch, metadata) = fetch_one(&mut peer, version, &group, &topic, 0).await;
            assert_eq!((offset, epoch, metadata.as_str()), (-1, -1, ""), "nothing is committed for 0");
        }
    }
}

async fn fetch_one(
    peer: &mut Peer,
    version: i16,
    group: &str,
    topic: &str,
    index: i32,
) -> (i64, i32, String) {
    if version < 8 {
        let asked =
            OffsetFetchRequestTopic::default().with_name(named(topic)).with_partition_indexes(vec![index]);
        let request = OffsetFetchRequest::default().with_group_id(id(group)).with_topics(Some(vec![asked]));
        let answer = peer.call_at(&request, version).await.unwrap();
        let told = &answer.topics[0].partitions[0];
        assert_eq!((answer.error_code, told.error_code, told.partition_index), (0, 0, index));
        let metadata = told.metadata.as_ref().unwrap().to_string();
        return (told.committed_offset, told.committed_leader_epoch, metadata);
    }
    let asked =
        OffsetFetchRequestTopics::default().with_name(named(topic)).with_partition_indexes(vec![index]);
    let asked = OffsetFetchRequestGroup::default().with_group_id(id(group)).with_topics(Some(vec![asked]));
    let request = OffsetFetchRequest::default().with_groups(vec![asked]);
    let answer = peer.call_at(&request, version).await.unwrap();
    let told = &answer.groups[0].topics[0].partitions[0];
    assert_eq!((answer.groups[0].error_code, told.error_code), (0, 0));
    (told.committed_offset, told.committed_leader_epoch, told.metadata.as_ref().unwrap().to_string())
}

#[tokio::test]
async fn partitions_that_do_not_exist_are_refused_one_by_one_and_the_others_committed() {
    let mut peer = ready().await;
    let topic = topic_with(&mut peer, "mixed", 2, &[]).await.name;
    let group = fresh_name("mixed");
    let mut request = commit_request(&id(&group), &topic, &[(7, 1), (1, 11), (-1, 2), (0, 10), (2, 3)]);
    let unknown = commit_request(&id(&group), "no-such-topic", &[(0, 1)]).topics.remove(0);
    request.topics.insert(0, unknown);
    let answer = peer.call_at(&request, 9).await.unwrap();
    let told: Vec<_> = answer
        .topics
        .iter()
        .flat_map(|topic| topic.partitions.iter().map(|one| (one.partition_index, one.error_code)))
        .collect();
    let no = UNKNOWN_TOPIC_OR_PARTITION;
    assert_eq!(told, [(0, no), (7, no), (1, 0), (-1, no), (0, 0), (2, no)]);
    assert_eq!(committed(&mut peer, &group, &topic, 0).await, 10);
    assert_eq!(committed(&mut peer, &group, &topic, 1).await, 11);
    // Nobody knows the topic: it has no offset, and that is no error.
    assert_eq!(committed(&mut peer, &group, "no-such-topic", 0).await, -1);
}

#[tokio::test]
async fn metadata_that_is_too_long_is_refused_for_its_partition() {
    let mut peer = ready().await;
    let topic = topic_with(&mut peer, "long-note", 2, &[]).await.name;
    let group = fresh_name("long-note");
    let mut request = commit_request(&id(&group), &topic, &[(0, 1), (1, 1)]);
    request.topics[0].partitions[0].committed_metadata = Some(text(&"x".repeat(4097)));
    request.topics[0].partitions[1].committed_metadata = Some(text(&"x".repeat(4096)));
    let answer = peer.call_at(&request, 8).await.unwrap();
    let told: Vec<_> = answer.topics[0].partitions.iter().map(|one| one.error_code).collect();
    assert_eq!(told, [OFFSET_METADATA_TOO_LARGE, 0]);
    let without = commit_request(&id(&group), &topic, &[(0, 2)]);
    let mut without = without;
    without.topics[0].partitions[0].committed_metadata = None;
    assert_eq!(peer.call_at(&without, 8).await.unwrap().topics[0].partitions[0].error_code, 0);
    assert_eq!(fetch_one(&mut peer, 9, &group, &topic, 0).await.2, "", "no metadata is empty metadata");
}

#[tokio::test]
async fn offsets_may_be_kept_under_the_empty_group() {
    let mut peer = ready().await;
    let topic = topic(&mut peer, "no-group").await.name;
    assert_eq!(commit(&mut peer, "", &topic, 0, 77).await, 0);
    assert_eq!(committed(&mut peer, "", &topic, 0).await, 77);
}

#[tokio::test]
async fn null_topics_ask_for_everything_that_is_committed_by_many_groups_at_once() {
    let mut peer = ready().await;
    let first = topic_with(&mut peer, "all-a", 2, &[]).await.name;
    let second = topic(&mut peer, "all-b").await.name;
    let (group, other) = (fresh_name("all"), fresh_name("all-other"));
    for (topic, partition, offset) in [(&first, 0, 1), (&first, 1, 2), (&second, 0, 3)] {
        assert_eq!(commit(&mut peer, &group, topic, partition, offset).await, 0);
    }
    let everything = |topics: Vec<(String, Vec<(i32, i64)>)>| {
        let mut topics = topics;
        topics.sort();
        assert_eq!(topics, [(first.clone(), vec![(0, 1), (1, 2)]), (second.clone(), vec![(0, 3)])]);
    };
    for version in 2..=7 {
        let request = OffsetFetchRequest::default().with_group_id(id(&group)).with_topics(None);
        let answer = peer.call_at(&request, version).await.unwrap();
        let told = answer.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|one| (one.partition_index, one.committed_offset));
            (topic.name.to_string(), partitions.collect())
        });
        everything(told.collect());
    }
    for version in 8..=9 {
        let all = OffsetFetchRequestGroup::default().with_group_id(id(&group)).with_topics(None);
        let none = OffsetFetchRequestGroup::default().with_group_id(id(&other)).with_topics(None);
        let request = OffsetFetchRequest::default().with_groups(vec![none.clone(), all, none]);
        let answer = peer.call_at(&request, version).await.unwrap();
        let names: Vec<_> = answer.groups.iter().map(|one| one.group_id.as_str()).collect();
        assert_eq!(names, [&*other, &*group, &*other], "as asked");
        assert!(answer.groups[0].topics.is_empty() && answer.groups[2].topics.is_empty());
        let told = answer.groups[1].topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|one| (one.partition_index, one.committed_offset));
            (topic.name.to_string(), partitions.collect())
        });
        everything(told.collect());
    }
}

#[tokio::test]
async fn commits_of_one_connection_are_taken_in_their_order() {
    let mut peer = ready().await;
    let topic = topic(&mut peer, "in-order").await.name;
    let group = fresh_name("in-order");
    let mut socket = wire::open(shared()).await;
    let mut frames = Vec::new();
    for offset in 1..=500 {
        let request = commit_request(&id(&group), &topic, &[(0, offset)]);
        frames.extend_from_slice(&encode_frame(&request, 8, offset as i32, "tests").unwrap());
    }
    tokio::io::AsyncWriteExt::write_all(&mut socket, &frames).await.unwrap();
    for correlation_id in 1..=500i32 {
        let answer = wire::receive(&mut socket).await.answer();
        assert_eq!(answer[..4], correlation_id.to_be_bytes());
    }
    assert_eq!(committed(&mut peer, &group, &topic, 0).await, 500);
}

async fn delete(peer: &mut Peer, group: &str, topics: &[(&str, &[i32])]) -> (i16, Vec<i16>) {
    let topics = topics.iter().map(|(topic, indexes)| {
        let indexes =
            indexes.iter().map(|index| OffsetDeleteRequestPartition::default().with_partition_index(*index));
        OffsetDeleteRequestTopic::default().with_name(named(topic)).with_partitions(indexes.collect())
    });
    let request = OffsetDeleteRequest::default().with_group_id(id(group)).with_topics(topics.collect());
    let answer = peer.call_at(&request, 0).await.unwrap();
    let told = answer.topics.iter().flat_map(|topic| topic.partitions.iter().map(|one| one.error_code));
    (answer.error_code, told.collect())
}

#[tokio::test]
async fn offsets_of_a_topic_that_a_member_reads_are_not_deleted() {
    let mut peer = ready().await;
    let read = topic_with(&mut peer, "read", 2, &[]).await.name;
    let unread = topic_with(&mut peer, "unread", 2, &[]).await.name;
    let group = fresh_name("offset-delete");
    let mut member = Classic::new(shared(), &group, 9).await;
    member.metadata = subscription(&read);
    member.lead_alone("all").await;
    for topic in [&read, &unread] {
        for partition in 0..2 {
            assert_eq!(member.commit(topic, partition, 9).await, 0);
        }
    }
    let deleted =
        delete(&mut peer, &group, &[(&read, &[0]), (&unread, &[1, 5]), ("no-such-topic", &[0])]).await;
    let no = UNKNOWN_TOPIC_OR_PARTITION;
    assert_eq!(deleted, (0, vec![GROUP_SUBSCRIBED_TO_TOPIC, 0, no, no]));
    assert_eq!(committed(&mut peer, &group, &read, 0).await, 9);
    assert_eq!(committed(&mut peer, &group, &unread, 0).await, 9);
    assert_eq!(committed(&mut peer, &group, &unread, 1).await, -1);
    assert_eq!(member.leave().await, 0);
    assert_eq!(delete(&mut peer, &group, &[(&read, &[0, 1])]).await, (0, vec![0, 0]));
    assert_eq!(committed(&mut peer, &group, &read, 1).await, -1);
    assert_eq!(delete(&mut peer, "not-there", &[(&read, &[0])]).await, (GROUP_ID_NOT_FOUND, vec![]));
    assert_eq!(delete(&mut peer, "", &[(&read, &[0])]).await, (INVALID_GROUP_ID, vec![]));
}
