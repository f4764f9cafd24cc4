//! The registry: what it advertises is what works. Every API answers a real request at every version that it serves.

use bytes::{Buf, Bytes};
use ketcd::handlers::REGISTRY;
use ketcd::protocol::apis;
use ketcd::protocol::peer::messages::{
    AlterConfigsRequest, AlterPartitionReassignmentsRequest, ApiVersionsRequest,
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, CreatePartitionsRequest,
    CreateTopicsRequest, DeleteGroupsRequest, DeleteRecordsRequest, DeleteTopicsRequest, DescribeAclsRequest,
    DescribeClusterRequest, DescribeConfigsRequest, DescribeGroupsRequest, DescribeLogDirsRequest,
    DescribeProducersRequest, DescribeTopicPartitionsRequest, ElectLeadersRequest, FetchRequest,
    FindCoordinatorRequest, HeartbeatRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest,
    JoinGroupRequest, LeaveGroupRequest, ListConfigResourcesRequest, ListGroupsRequest, ListOffsetsRequest,
    ListPartitionReassignmentsRequest, MetadataRequest, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest, OffsetForLeaderEpochRequest, ProduceRequest, ResponseHeader, SyncGroupRequest,
    UnregisterBrokerRequest,
};
use ketcd::protocol::peer::{Decodable, HeaderVersion, Peer, Request};
use uuid::Uuid;

use crate::fixture::{self, Topic, build, fresh_name, now_ms, peer, produce, topic};
use crate::sample::{self, Subject};
use crate::wire;
use ketcd::protocol::records::BatchBuilder;

const UNKNOWN_MEMBER_ID: i16 = 25;
const GROUP_ID_NOT_FOUND: i16 = 69;
const ELECTION_NOT_NEEDED: i16 = 84;
const BROKER_ID_NOT_REGISTERED: i16 = 102;
const MEMBER_ID_REQUIRED: i16 = 79;

#[test]
fn keys_are_unique_and_sorted_and_ranges_can_be_decoded() {
    assert!(REGISTRY.is_sorted_by(|a, b| a.key < b.key));
    for endpoint in REGISTRY {
        let decodable = apis::decodable_versions(endpoint.key).expect("a known api");
        assert!(decodable.contains(&endpoint.min) && decodable.contains(&endpoint.max), "{}", endpoint.name);
        assert!(endpoint.advertised_min <= endpoint.min && endpoint.min <= endpoint.max, "{}", endpoint.name);
        assert_eq!(apis::api(endpoint.key).unwrap().name, endpoint.name);
    }
    let lowered: Vec<_> =
        REGISTRY.iter().filter(|it| it.advertised_min != it.min).map(|it| it.name).collect();
    assert_eq!(lowered, ["Produce"], "only Produce is advertised below what is served");
}

/// A topic with three records of an idempotent producer.
async fn subject(peer: &mut Peer) -> Subject {
    let topic = topic(peer, "registry").await;
    let now = now_ms();
    let batch = build(BatchBuilder::new().producer(4711, 3, 0), &[(now, "a"), (now, "b"), (now, "c")]);
    assert_eq!(produce(peer, &topic.name, 0, batch).await.error_code, 0);
    let new_name = fresh_name("registry-new");
    let old_name = fixture::topic(peer, "registry-old").await.name;
    Subject { topic, new_name, old_name, changes: true }
}

/// The body of an answer, its header checked.
fn body<R: Request>(version: i16, correlation_id: i32, mut answer: Bytes) -> R::Response {
    let header = ResponseHeader::decode(&mut answer, R::Response::header_version(version)).unwrap();
    assert_eq!(header.correlation_id, correlation_id);
    let response = R::Response::decode(&mut answer, version).unwrap();
    assert!(!answer.has_remaining(), "bytes after the answer");
    response
}

#[tokio::test]
async fn every_api_answers_a_real_request_at_every_version() {
    fixture::groups_are_served(fixture::shared()).await;
    let mut peer = peer().await;
    let mut socket = wire::open(fixture::shared()).await;
    for endpoint in REGISTRY {
        for version in endpoint.min..=endpoint.max {
            let subject = subject(&mut peer).await;
            let correlation_id = i32::from(endpoint.key) << 8 | i32::from(version);
            let frame = sample::frame(endpoint.key, version, correlation_id, &subject);
            let answer = wire::exchange(&mut socket, &frame).await;
            let wire::Outcome::Answered(answer) = answer else {
                panic!("{} v{version}: the connection was closed", endpoint.name);
            };
            check(endpoint.key, version, correlation_id, answer, &subject);
        }
    }
}

#[tokio::test]
async fn every_api_answers_at_every_version_for_topics_that_do_not_exist() {
    fixture::groups_are_served(fixture::shared()).await;
    let nothing = Topic { name: "nothing-there".to_owned(), id: Uuid::from_u128(77) };
    let mut socket = wire::open(fixture::shared()).await;
    for endpoint in REGISTRY {
        for version in endpoint.min..=endpoint.max {
            let subject = Subject {
                topic: nothing.clone(),
                new_name: "not valid/".to_owned(),
                old_name: "nothing-there".to_owned(),
                changes: true,
            };
            // Metadata would create it.
            let subject = if endpoint.key == 3 {
                Subject { topic: Topic { name: "not valid/".to_owned(), id: Uuid::nil() }, ..subject }
            } else {
                subject
            };
            let frame = sample::frame(endpoint.key, version, 5, &subject);
            let wire::Outcome::Answered(answer) = wire::exchange(&mut socket, &frame).await else {
                panic!("{} v{version}: the connection was closed", endpoint.name);
            };
            let code = error_code(endpoint.key, version, answer);
            let expected: &[i16] = match endpoint.key {
                // No error to give: nothing about a topic is asked.
                10 | 16 | 18 | 22 | 35 | 46 | 60 | 74 => &[0],
                // No offset is committed, or topics may come.
                9 | 68 => &[0],
                11 if version >= 4 => &[MEMBER_ID_REQUIRED],
                11 => &[0],
                12..=14 => &[UNKNOWN_MEMBER_ID],
                15 if version < 6 => &[0],
                15 | 42 | 47 | 69 => &[GROUP_ID_NOT_FOUND],
                0 | 1 if version >= 13 => &[100],
                3 | 19 => &[17],
                29 => &[54],
                64 => &[BROKER_ID_NOT_REGISTERED],
                _ => &[3],
            };
            assert!(expected.contains(&code), "{} v{version}: {code}", endpoint.name);
        }
    }
}

/// The first error code in an answer that is about one thing.
fn error_code(key: i16, version: i16, answer: Bytes) -> i16 {
    let v = version;
    match key {
        0 => body::<ProduceRequest>(v, 5, answer).responses[0].partition_responses[0].error_code,
        1 => body::<FetchRequest>(v, 5, answer).responses[0].partitions[0].error_code,
        2 => body::<ListOffsetsRequest>(v, 5, answer).topics[0].partitions[0].error_code,
        3 => body::<MetadataRequest>(v, 5, answer).topics[0].error_code,
        8 => body::<OffsetCommitRequest>(v, 5, answer).topics[0].partitions[0].error_code,
        9 if v < 8 => body::<OffsetFetchRequest>(v, 5, answer).topics[0].partitions[0].error_code,
        9 => body::<OffsetFetchRequest>(v, 5, answer).groups[0].topics[0].partitions[0].error_code,
        10 if v < 4 => body::<FindCoordinatorRequest>(v, 5, answer).error_code,
        10 => body::<FindCoordinatorRequest>(v, 5, answer).coordinators[0].error_code,
        11 => body::<JoinGroupRequest>(v, 5, answer).error_code,
        12 => body::<HeartbeatRequest>(v, 5, answer).error_code,
        13 if v < 3 => body::<LeaveGroupRequest>(v, 5, answer).error_code,
        13 => body::<LeaveGroupRequest>(v, 5, answer).members[0].error_code,
        14 => body::<SyncGroupRequest>(v, 5, answer).error_code,
        15 => body::<DescribeGroupsRequest>(v, 5, answer).groups[0].error_code,
        16 => body::<ListGroupsRequest>(v, 5, answer).error_code,
        18 => body::<ApiVersionsRequest>(v, 5, answer).error_code,
        19 => body::<CreateTopicsRequest>(v, 5, answer).topics[0].error_code,
        20 => body::<DeleteTopicsRequest>(v, 5, answer).responses[0].error_code,
        21 => body::<DeleteRecordsRequest>(v, 5, answer).topics[0].partitions[0].error_code,
        22 => body::<InitProducerIdRequest>(v, 5, answer).error_code,
        23 => body::<OffsetForLeaderEpochRequest>(v, 5, answer).topics[0].partitions[0].error_code,
        29 => body::<DescribeAclsRequest>(v, 5, answer).error_code,
        32 => body::<DescribeConfigsRequest>(v, 5, answer).results[0].error_code,
        33 => body::<AlterConfigsRequest>(v, 5, answer).responses[0].error_code,
        35 => body::<DescribeLogDirsRequest>(v, 5, answer).results[0].error_code,
        37 => body::<CreatePartitionsRequest>(v, 5, answer).results[0].error_code,
        42 => body::<DeleteGroupsRequest>(v, 5, answer).results[0].error_code,
        43 => {
            let answer = body::<ElectLeadersRequest>(v, 5, answer);
            answer.replica_election_results[0].partition_result[0].error_code
        }
        44 => body::<IncrementalAlterConfigsRequest>(v, 5, answer).responses[0].error_code,
        45 => body::<AlterPartitionReassignmentsRequest>(v, 5, answer).responses[0].partitions[0].error_code,
        46 => body::<ListPartitionReassignmentsRequest>(v, 5, answer).error_code,
        47 => body::<OffsetDeleteRequest>(v, 5, answer).error_code,
        60 => body::<DescribeClusterRequest>(v, 5, answer).error_code,
        61 => body::<DescribeProducersRequest>(v, 5, answer).topics[0].partitions[0].error_code,
        64 => body::<UnregisterBrokerRequest>(v, 5, answer).error_code,
        68 => body::<ConsumerGroupHeartbeatRequest>(v, 5, answer).error_code,
        69 => body::<ConsumerGroupDescribeRequest>(v, 5, answer).groups[0].error_code,
        74 => body::<ListConfigResourcesRequest>(v, 5, answer).error_code,
        75 => body::<DescribeTopicPartitionsRequest>(v, 5, answer).topics[0].error_code,
        other => panic!("no reader for api {other}"),
    }
}

fn check(key: i16, v: i16, id: i32, answer: Bytes, subject: &Subject) {
    let name = subject.topic.name.as_str();
    match key {
        8..=16 | 42 | 47 | 68 | 69 => check_groups(key, v, id, answer, subject),
        0 => {
            let answer = body::<ProduceRequest>(v, id, answer);
            let topic = &answer.responses[0];
            if v >= 13 {
                assert_eq!(topic.topic_id, subject.topic.id);
            } else {
                assert_eq!(topic.name.as_str(), name);
            }
            let partition = &topic.partition_responses[0];
            assert_eq!((partition.error_code, partition.base_offset), (0, 3), "v{v}");
            assert_eq!(partition.log_start_offset, if v >= 5 { 0 } else { -1 });
        }
        1 => check_fetch(v, &body::<FetchRequest>(v, id, answer), subject),
        2 => {
            let answer = body::<ListOffsetsRequest>(v, id, answer);
            assert_eq!(answer.topics[0].name.as_str(), name);
            let found = &answer.topics[0].partitions[0];
            assert_eq!((found.error_code, found.offset), (0, 0));
            assert!(found.timestamp > 1_600_000_000_000);
            assert_eq!(found.leader_epoch, if v >= 4 { 0 } else { -1 });
        }
        3 => check_metadata(v, &body::<MetadataRequest>(v, id, answer), subject),
        18 => {
            let answer = body::<ApiVersionsRequest>(v, id, answer);
            assert_eq!((answer.error_code, answer.api_keys.len()), (0, REGISTRY.len()));
        }
        19 => {
            let answer = body::<CreateTopicsRequest>(v, id, answer);
            let made = &answer.topics[0];
            assert_eq!((made.name.as_str(), made.error_code), (subject.new_name.as_str(), 0), "{made:?}");
            assert_eq!(made.topic_id.is_nil(), v < 7);
            if v >= 5 {
                assert_eq!((made.num_partitions, made.replication_factor), (2, 1));
                let configs = made.configs.as_ref().unwrap();
                let retention = configs.iter().find(|it| it.name.as_str() == "retention.ms").unwrap();
                assert_eq!((retention.value.as_deref(), retention.config_source), (Some("1000000"), 1));
            }
        }
        20 => {
            let answer = body::<DeleteTopicsRequest>(v, id, answer);
            let deleted = &answer.responses[0];
            assert_eq!(
                (deleted.name.as_ref().unwrap().as_str(), deleted.error_code),
                (subject.old_name.as_str(), 0)
            );
            assert_eq!(deleted.topic_id.is_nil(), v < 6);
        }
        21 => {
            let answer = body::<DeleteRecordsRequest>(v, id, answer);
            let deleted = &answer.topics[0].partitions[0];
            assert_eq!((deleted.error_code, deleted.low_watermark), (0, 0));
        }
        22 => {
            let answer = body::<InitProducerIdRequest>(v, id, answer);
            assert_eq!((answer.error_code, answer.producer_epoch), (0, 0));
            assert!(answer.producer_id.0 >= 0);
        }
        23 => {
            let answer = body::<OffsetForLeaderEpochRequest>(v, id, answer);
            let end = &answer.topics[0].partitions[0];
            assert_eq!((end.error_code, end.leader_epoch, end.end_offset), (0, 0, 3));
        }
        29 => {
            let answer = body::<DescribeAclsRequest>(v, id, answer);
            assert_eq!(answer.error_code, 54);
            assert!(answer.error_message.is_some() && answer.resources.is_empty());
        }
        32 => check_configs(v, &body::<DescribeConfigsRequest>(v, id, answer), subject),
        33 => {
            let answer = body::<AlterConfigsRequest>(v, id, answer);
            let altered = &answer.responses[0];
            assert_eq!((altered.error_code, altered.resource_type), (0, 2), "{altered:?}");
            assert_eq!(altered.resource_name.as_str(), name);
        }
        35 => {
            let answer = body::<DescribeLogDirsRequest>(v, id, answer);
            let directory = &answer.results[0];
            assert_eq!((answer.error_code, directory.error_code), (0, 0));
            assert!(directory.log_dir.as_str().starts_with('/'));
            assert_eq!(directory.topics[0].name.as_str(), name);
            assert!(directory.topics[0].partitions[0].partition_size > 61);
            assert_eq!(directory.total_bytes > 0, v >= 4);
        }
        37 => {
            let answer = body::<CreatePartitionsRequest>(v, id, answer);
            assert_eq!((answer.results[0].name.as_str(), answer.results[0].error_code), (name, 0));
        }
        43 | 45 | 46 | 64 => check_replicas(key, v, id, answer, name),
        44 => {
            let answer = body::<IncrementalAlterConfigsRequest>(v, id, answer);
            assert_eq!(answer.responses[0].error_code, 0, "{:?}", answer.responses[0]);
        }
        60 => {
            let answer = body::<DescribeClusterRequest>(v, id, answer);
            assert_eq!((answer.error_code, answer.brokers.len()), (0, 1));
            assert_eq!((answer.brokers[0].broker_id.0, answer.controller_id.0), (0, 0));
            assert!(answer.brokers[0].port > 0 && !answer.cluster_id.is_empty());
            assert!(answer.cluster_authorized_operations > 0);
        }
        61 => {
            let answer = body::<DescribeProducersRequest>(v, id, answer);
            let producer = &answer.topics[0].partitions[0].active_producers[0];
            let told = (producer.producer_id.0, producer.producer_epoch, producer.last_sequence);
            assert_eq!(told, (4711, 3, 2));
            assert_eq!((producer.coordinator_epoch, producer.current_txn_start_offset), (-1, -1));
        }
        74 => {
            let answer = body::<ListConfigResourcesRequest>(v, id, answer);
            let has_topic = answer.config_resources.iter().any(|it| it.resource_name.as_str() == name);
            assert_eq!((answer.error_code, has_topic), (0, v >= 1));
        }
        75 => {
            let answer = body::<DescribeTopicPartitionsRequest>(v, id, answer);
            let topic = &answer.topics[0];
            assert_eq!((topic.error_code, topic.topic_id), (0, subject.topic.id));
            assert_eq!((topic.partitions[0].leader_id.0, topic.partitions[0].isr_nodes.len()), (0, 1));
            assert!(answer.next_cursor.is_none());
        }
        other => panic!("api {other} is served, and nothing checks its answer: write it"),
    }
}

fn check_replicas(key: i16, v: i16, id: i32, answer: Bytes, name: &str) {
    match key {
        43 => {
            let answer = body::<ElectLeadersRequest>(v, id, answer);
            let topic = &answer.replica_election_results[0];
            let partition = &topic.partition_result[0];
            assert_eq!((answer.error_code, topic.topic.as_str()), (0, name));
            assert_eq!((partition.partition_id, partition.error_code), (0, ELECTION_NOT_NEEDED));
            assert!(partition.error_message.is_some());
        }
        45 => {
            let answer = body::<AlterPartitionReassignmentsRequest>(v, id, answer);
            let topic = &answer.responses[0];
            assert_eq!((answer.error_code, topic.name.as_str()), (0, name));
            assert_eq!((topic.partitions[0].partition_index, topic.partitions[0].error_code), (0, 0));
            assert_eq!(answer.allow_replication_factor_change, v < 1);
        }
        46 => {
            let answer = body::<ListPartitionReassignmentsRequest>(v, id, answer);
            assert_eq!((answer.error_code, answer.topics.len()), (0, 0));
        }
        64 => {
            let answer = body::<UnregisterBrokerRequest>(v, id, answer);
            assert_eq!(answer.error_code, BROKER_ID_NOT_REGISTERED);
            assert!(answer.error_message.is_some());
        }
        other => panic!("api {other} is not about replicas"),
    }
}

fn check_groups(key: i16, v: i16, id: i32, answer: Bytes, subject: &Subject) {
    let name = subject.topic.name.as_str();
    match key {
        8 => {
            let answer = body::<OffsetCommitRequest>(v, id, answer);
            assert_eq!(answer.topics[0].name.as_str(), name);
            assert_eq!(answer.topics[0].partitions[0].error_code, 0);
        }
        9 if v < 8 => {
            let answer = body::<OffsetFetchRequest>(v, id, answer);
            let partition = &answer.topics[0].partitions[0];
            assert_eq!((answer.error_code, answer.topics[0].name.as_str()), (0, name));
            assert_eq!((partition.error_code, partition.committed_offset), (0, -1));
            assert_eq!(partition.metadata.as_deref(), Some(""));
        }
        9 => {
            let answer = body::<OffsetFetchRequest>(v, id, answer);
            let group = &answer.groups[0];
            assert_eq!((group.error_code, group.group_id.as_str()), (0, name));
            let partition = &group.topics[0].partitions[0];
            assert_eq!((partition.committed_offset, partition.committed_leader_epoch), (-1, -1));
        }
        10 if v < 4 => {
            let answer = body::<FindCoordinatorRequest>(v, id, answer);
            assert_eq!((answer.error_code, answer.node_id.0), (0, 0));
            assert!(answer.port > 0);
        }
        10 => {
            let answer = body::<FindCoordinatorRequest>(v, id, answer);
            let found = &answer.coordinators[0];
            assert_eq!((found.error_code, found.node_id.0, found.key.as_str()), (0, 0, name));
            assert!(found.port > 0);
        }
        11 if v < 4 => {
            let answer = body::<JoinGroupRequest>(v, id, answer);
            assert_eq!((answer.error_code, answer.generation_id), (0, 1));
            assert_eq!(answer.protocol_name.as_deref(), Some("range"));
            assert!(answer.member_id.starts_with("sample-"));
            assert_eq!((&answer.leader, answer.members.len()), (&answer.member_id, 1));
            assert_eq!(answer.members[0].metadata.as_ref(), b"m");
        }
        11 => {
            let answer = body::<JoinGroupRequest>(v, id, answer);
            assert_eq!((answer.error_code, answer.generation_id), (MEMBER_ID_REQUIRED, -1));
            assert!(answer.member_id.starts_with("sample-"));
            assert_eq!(answer.protocol_name.as_deref(), if v < 7 { Some("") } else { None });
        }
        12 => assert_eq!(body::<HeartbeatRequest>(v, id, answer).error_code, UNKNOWN_MEMBER_ID),
        13 => {
            let answer = body::<LeaveGroupRequest>(v, id, answer);
            let error = if v < 3 { answer.error_code } else { answer.members[0].error_code };
            assert_eq!((error, answer.error_code == 0), (UNKNOWN_MEMBER_ID, v >= 3));
        }
        14 => assert_eq!(body::<SyncGroupRequest>(v, id, answer).error_code, UNKNOWN_MEMBER_ID),
        15 => {
            let answer = body::<DescribeGroupsRequest>(v, id, answer);
            let group = &answer.groups[0];
            assert_eq!((group.group_id.as_str(), group.group_state.as_str()), (name, "Dead"));
            assert_eq!(group.error_code, if v < 6 { 0 } else { GROUP_ID_NOT_FOUND });
            assert_eq!(group.error_message.is_some(), v >= 6);
            assert_eq!(group.authorized_operations > 0, (3..6).contains(&v));
        }
        16 => assert_eq!(body::<ListGroupsRequest>(v, id, answer).error_code, 0),
        42 => {
            let answer = body::<DeleteGroupsRequest>(v, id, answer);
            assert_eq!(
                (answer.results[0].group_id.as_str(), answer.results[0].error_code),
                (name, GROUP_ID_NOT_FOUND)
            );
        }
        47 => assert_eq!(body::<OffsetDeleteRequest>(v, id, answer).error_code, GROUP_ID_NOT_FOUND),
        68 => {
            let answer = body::<ConsumerGroupHeartbeatRequest>(v, id, answer);
            assert_eq!(answer.error_code, 0, "{answer:?}");
            assert!(answer.member_epoch > 0 && answer.heartbeat_interval_ms > 0);
            let member = answer.member_id.unwrap();
            assert_eq!(member.as_str() == "named-by-itself", v >= 1);
            assert!(member.len() >= 15);
        }
        69 => {
            let answer = body::<ConsumerGroupDescribeRequest>(v, id, answer);
            let group = &answer.groups[0];
            assert_eq!((group.group_id.as_str(), group.error_code), (name, GROUP_ID_NOT_FOUND));
            assert!(group.error_message.is_some());
        }
        other => panic!("api {other} is not about groups"),
    }
}

fn check_fetch(v: i16, answer: &<FetchRequest as Request>::Response, subject: &Subject) {
    let topic = &answer.responses[0];
    if v >= 13 {
        assert_eq!(topic.topic_id, subject.topic.id);
    } else {
        assert_eq!(topic.topic.as_str(), subject.topic.name);
    }
    let partition = &topic.partitions[0];
    assert_eq!((answer.error_code, partition.error_code), (0, 0));
    assert_eq!((partition.high_watermark, partition.last_stable_offset), (3, 3));
    assert_eq!(partition.log_start_offset, if v >= 5 { 0 } else { -1 });
    assert_eq!(wire::values_of(partition.records.as_ref()), ["a", "b", "c"]);
}

fn check_metadata(v: i16, answer: &<MetadataRequest as Request>::Response, subject: &Subject) {
    assert_eq!((answer.brokers.len(), answer.brokers[0].node_id.0), (1, 0));
    assert!(answer.brokers[0].port > 0);
    assert_eq!(answer.cluster_id.is_some(), v >= 2);
    let topic = &answer.topics[0];
    assert_eq!((topic.name.as_ref().unwrap().as_str(), topic.error_code), (subject.topic.name.as_str(), 0));
    assert_eq!(topic.topic_id == subject.topic.id, v >= 10);
    assert_eq!(topic.topic_authorized_operations > 0, v >= 8);
    assert_eq!(answer.cluster_authorized_operations > 0, (8..=10).contains(&v));
    let partition = &topic.partitions[0];
    assert_eq!((partition.error_code, partition.leader_id.0), (0, 0));
    assert_eq!(partition.leader_epoch, if v >= 7 { 0 } else { -1 });
    assert_eq!((partition.replica_nodes.len(), partition.isr_nodes.len()), (1, 1));
}

fn check_configs(v: i16, answer: &<DescribeConfigsRequest as Request>::Response, subject: &Subject) {
    let topic = &answer.results[0];
    assert_eq!((topic.error_code, topic.resource_name.as_str()), (0, subject.topic.name.as_str()));
    let segment = topic.configs.iter().find(|it| it.name.as_str() == "segment.bytes").unwrap();
    assert_eq!(segment.value.as_deref(), Some("1073741824"));
    assert_eq!(segment.config_type, if v >= 3 { 3 } else { 0 });
    assert_eq!(segment.documentation.as_ref().is_some_and(|words| words.len() > 10), v >= 3);
    assert!(!segment.synonyms.is_empty());
    let broker = &answer.results[1];
    assert_eq!((broker.error_code, broker.configs.len()), (0, 1));
    assert_eq!(broker.configs[0].name.as_str(), "num.partitions");
}
