//! Groups of the new protocol (KIP-848) from the wire, their configuration, and the feature that announces them.

use std::collections::BTreeMap;

use ketcd::protocol::peer::Peer;
use ketcd::protocol::peer::messages::describe_configs_request::DescribeConfigsResource;
use ketcd::protocol::peer::messages::describe_configs_response::DescribeConfigsResult;
use ketcd::protocol::peer::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use ketcd::protocol::peer::messages::{
    ApiVersionsRequest, ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, DescribeConfigsRequest,
    GroupId, IncrementalAlterConfigsRequest, ListConfigResourcesRequest,
};
use tempfile::TempDir;

use crate::fixture::{
    OwnBroker, connect, eventually, fresh_name, groups_are_served, shared, text, topic_with,
};
use crate::member::{Modern, UNKNOWN_MEMBER_ID, commit, commit_request, committed};

const INVALID_GROUP_ID: i16 = 24;
const INVALID_CONFIG: i16 = 40;
const INVALID_REQUEST: i16 = 42;
const UNSUPPORTED_VERSION: i16 = 35;
const GROUP_ID_NOT_FOUND: i16 = 69;
const FENCED_MEMBER_EPOCH: i16 = 110;
const STALE_MEMBER_EPOCH: i16 = 113;

async fn ready() -> Peer {
    groups_are_served(shared()).await;
    connect(shared()).await
}

async fn describe(peer: &mut Peer, version: i16, group: &str) -> ConsumerGroupDescribeResponse {
    let request = ConsumerGroupDescribeRequest::default()
        .with_group_ids(vec![GroupId(text(group))])
        .with_include_authorized_operations(true);
    peer.call_at(&request, version).await.unwrap()
}

/// Lets members beat until together they own `count` partitions, each once, and the group is stable.
async fn settle(peer: &mut Peer, members: &mut [&mut Modern], count: i32) {
    let group = members[0].group.to_string();
    eventually("the group settles", async || {
        for member in members.iter_mut() {
            let answer = member.heartbeat().await;
            assert_eq!(answer.error_code, 0, "{answer:?}");
        }
        let mut all: Vec<i32> = members.iter().flat_map(|member| member.partitions()).collect();
        all.sort_unstable();
        let described = describe(peer, 1, &group).await;
        let stable = described.groups[0].group_state.as_str() == "Stable";
        let same = members.iter().all(|member| member.epoch == described.groups[0].group_epoch);
        (stable && same && all == (0..count).collect::<Vec<_>>()).then_some(())
    })
    .await;
}

#[tokio::test]
async fn two_members_share_the_partitions_and_who_stays_gets_them_all_back() {
    let mut peer = ready().await;
    let topic = topic_with(&mut peer, "shared-out", 6, &[]).await;
    let group = fresh_name("modern");
    let mut first = Modern::new(shared(), &group, &[&topic.name]).await;
    settle(&mut peer, &mut [&mut first], 6).await;
    let mut second = Modern::new(shared(), &group, &[&topic.name]).await;
    settle(&mut peer, &mut [&mut first, &mut second], 6).await;
    assert_eq!((first.partitions().len(), second.partitions().len()), (3, 3));

    for version in 0..=1 {
        let answer = describe(&mut peer, version, &group).await;
        let told = &answer.groups[0];
        assert_eq!((told.error_code, told.group_state.as_str()), (0, "Stable"));
        assert_eq!((told.group_epoch, told.assignment_epoch), (first.epoch, first.epoch));
        assert!(["uniform", "range"].contains(&told.assignor_name.as_str()));
        assert!(told.authorized_operations > 0);
        let members: BTreeMap<_, _> =
            told.members.iter().map(|member| (member.member_id.to_string(), member)).collect();
        assert_eq!(members.len(), 2);
        for mine in [&first, &second] {
            let member = members[mine.member.as_str()];
            assert_eq!((member.member_epoch, member.client_id.as_str()), (mine.epoch, "tests"));
            assert_eq!(member.client_host.as_str(), "/127.0.0.1");
            assert_eq!(member.subscribed_topic_names[0].as_str(), topic.name);
            assert_eq!(member.member_type, if version >= 1 { 1 } else { -1 });
            for assignment in [&member.assignment, &member.target_assignment] {
                let told = &assignment.topic_partitions[0];
                assert_eq!((told.topic_id, told.topic_name.as_str()), (topic.id, &*topic.name));
                assert_eq!(told.partitions, mine.partitions());
            }
        }
    }

    // The member's own commits, and those of one that is behind.
    let mut request = commit_request(&second.group, &topic.name, &[(0, 5)]);
    request.member_id = second.member.clone();
    request.generation_id_or_member_epoch = second.epoch;
    assert_eq!(peer.call_at(&request, 9).await.unwrap().topics[0].partitions[0].error_code, 0);
    request.generation_id_or_member_epoch = second.epoch - 1;
    let behind = peer.call_at(&request, 9).await.unwrap().topics[0].partitions[0].error_code;
    assert!([0, STALE_MEMBER_EPOCH].contains(&behind), "{behind}");
    request.generation_id_or_member_epoch = second.epoch + 1;
    let ahead = peer.call_at(&request, 9).await.unwrap().topics[0].partitions[0].error_code;
    assert_eq!(ahead, STALE_MEMBER_EPOCH);
    assert_ne!(commit(&mut peer, &group, &topic.name, 0, 6).await, 0, "nobody commits beside the members");
    assert_eq!(committed(&mut peer, &group, &topic.name, 0).await, 5);

    let known = second.epoch;
    second.epoch = known + 5;
    assert_eq!(second.heartbeat().await.error_code, FENCED_MEMBER_EPOCH);
    second.epoch = -1;
    let left = second.heartbeat().await;
    assert_eq!((left.error_code, left.member_epoch), (0, -1));
    second.epoch = known;
    assert_eq!(second.heartbeat().await.error_code, UNKNOWN_MEMBER_ID);
    settle(&mut peer, &mut [&mut first], 6).await;
}

#[tokio::test]
async fn a_restart_of_the_broker_keeps_the_members_and_what_they_own() {
    let data = TempDir::new().unwrap();
    let broker = OwnBroker::start(data.path(), &[]).await;
    groups_are_served(&broker.address).await;
    let mut peer = connect(&broker.address).await;
    let topic = topic_with(&mut peer, "kept-modern", 4, &[]).await;
    let mut first = Modern::new(&broker.address, "kept", &[&topic.name]).await;
    let mut second = Modern::new(&broker.address, "kept", &[&topic.name]).await;
    settle(&mut peer, &mut [&mut first, &mut second], 4).await;
    let before = (first.epoch, first.partitions(), second.partitions());
    broker.stop().await;

    let broker = OwnBroker::start(data.path(), &[]).await;
    groups_are_served(&broker.address).await;
    for member in [&mut first, &mut second] {
        member.peer = connect(&broker.address).await;
        let answer = member.heartbeat().await;
        assert_eq!((answer.error_code, answer.member_epoch), (0, before.0), "{answer:?}");
    }
    assert_eq!((first.epoch, first.partitions(), second.partitions()), before);
    broker.stop().await;
}

#[tokio::test]
async fn a_heartbeat_that_cannot_be_meant_is_refused_in_words() {
    ready().await;
    let mut member = Modern::new(shared(), &fresh_name("malformed"), &["some-topic"]).await;
    let good = member.request();
    let mut wrong = vec![
        good.clone().with_member_id(text("")),
        good.clone().with_group_id(GroupId(text(""))),
        good.clone().with_instance_id(Some(text(""))),
        good.clone().with_rack_id(Some(text(""))),
        good.clone().with_rebalance_timeout_ms(-1),
        good.clone().with_topic_partitions(None),
        good.clone().with_subscribed_topic_names(None),
        good.clone().with_member_epoch(-2),
        good.clone().with_member_epoch(-3),
    ];
    for request in wrong.drain(..) {
        let answer = member.peer.call_at(&request, 1).await.unwrap();
        assert_eq!(answer.error_code, INVALID_REQUEST, "{request:?}");
        assert!(answer.error_message.is_some_and(|words| words.len() > 10));
    }
    let unknown = good.clone().with_server_assignor(Some(text("no-such-assignor")));
    assert_eq!(member.peer.call_at(&unknown, 1).await.unwrap().error_code, 112);
    // v0: the coordinator names the member.
    let answer = member.peer.call_at(&good.with_member_id(text("")), 0).await.unwrap();
    assert_eq!(answer.error_code, 0, "{answer:?}");
    assert_eq!(answer.member_id.unwrap().len(), 22, "a UUID as Kafka writes it");
}

#[tokio::test]
async fn a_group_that_is_not_of_the_new_protocol_is_not_described_as_one() {
    let mut peer = ready().await;
    for version in 0..=1 {
        assert_eq!(describe(&mut peer, version, "").await.groups[0].error_code, INVALID_GROUP_ID);
        let missing = describe(&mut peer, version, "not-there").await;
        assert_eq!(missing.groups[0].error_code, GROUP_ID_NOT_FOUND);
        assert_eq!(missing.groups[0].authorized_operations, i32::MIN);
    }
}

#[tokio::test]
async fn the_new_protocol_is_announced_as_a_feature() {
    let mut peer = ready().await;
    for version in 3..=4 {
        let request = ApiVersionsRequest::default()
            .with_client_software_name(text("tests"))
            .with_client_software_version(text("1"));
        let answer = peer.call_at(&request, version).await.unwrap();
        let told = &answer.finalized_features[0];
        assert_eq!(
            (told.name.as_str(), told.min_version_level, told.max_version_level),
            ("group.version", 1, 1)
        );
        assert!(answer.finalized_features_epoch >= 0);
        // A least level of 0 cannot be read by clients that ask in v3.
        let supported: Vec<_> = answer
            .supported_features
            .iter()
            .map(|it| (it.name.as_str(), it.min_version, it.max_version))
            .collect();
        assert_eq!(supported, if version >= 4 { vec![("group.version", 0, 1)] } else { Vec::new() });
    }
}

async fn set(peer: &mut Peer, group: &str, keys: &[(&str, Option<&str>)]) -> i16 {
    let configs = keys.iter().map(|(key, value)| {
        AlterableConfig::default()
            .with_name(text(key))
            .with_config_operation(if value.is_some() { 0 } else { 1 })
            .with_value(value.map(text))
    });
    let resource = AlterConfigsResource::default()
        .with_resource_type(32)
        .with_resource_name(text(group))
        .with_configs(configs.collect());
    let request = IncrementalAlterConfigsRequest::default().with_resources(vec![resource]);
    peer.call_at(&request, 1).await.unwrap().responses[0].error_code
}

async fn configs(peer: &mut Peer, group: &str) -> DescribeConfigsResult {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(32)
        .with_resource_name(text(group))
        .with_configuration_keys(None);
    let request =
        DescribeConfigsRequest::default().with_resources(vec![resource]).with_include_synonyms(true);
    peer.call_at(&request, 4).await.unwrap().results.remove(0)
}

#[tokio::test]
async fn a_group_has_a_configuration_of_its_own_within_the_brokers_bounds() {
    let mut peer = ready().await;
    let group = fresh_name("configured");
    let value_of = |told: &DescribeConfigsResult, key: &str| {
        let row = told.configs.iter().find(|row| row.name.as_str() == key).unwrap();
        (row.value.as_ref().unwrap().to_string(), row.config_source)
    };
    let told = configs(&mut peer, &group).await;
    assert_eq!((told.error_code, told.configs.len()), (0, 3));
    assert_eq!(value_of(&told, "consumer.heartbeat.interval.ms"), ("5000".to_owned(), 5));
    assert_eq!(value_of(&told, "consumer.session.timeout.ms"), ("45000".to_owned(), 5));

    assert_eq!(set(&mut peer, &group, &[("consumer.heartbeat.interval.ms", Some("7000"))]).await, 0);
    let told = configs(&mut peer, &group).await;
    assert_eq!(value_of(&told, "consumer.heartbeat.interval.ms"), ("7000".to_owned(), 8));
    let row = told.configs.iter().find(|row| row.name.as_str() == "consumer.heartbeat.interval.ms").unwrap();
    let sources: Vec<_> = row.synonyms.iter().map(|one| (one.name.as_str(), one.source)).collect();
    assert_eq!(sources, [("consumer.heartbeat.interval.ms", 8), ("group.consumer.heartbeat.interval.ms", 5)]);
    for (key, value) in [
        ("consumer.heartbeat.interval.ms", "4999"),
        ("consumer.heartbeat.interval.ms", "15001"),
        ("consumer.session.timeout.ms", "44999"),
        ("consumer.session.timeout.ms", "60001"),
        ("consumer.assignment.interval.ms", "15001"),
        ("consumer.session.timeout.ms", "many"),
        ("retention.ms", "1"),
    ] {
        assert_eq!(set(&mut peer, &group, &[(key, Some(value))]).await, INVALID_CONFIG, "{key}={value}");
    }
    assert_eq!(set(&mut peer, "", &[("consumer.session.timeout.ms", Some("50000"))]).await, INVALID_REQUEST);

    // It counts at once.
    let mut member = Modern::new(shared(), &group, &["some-topic"]).await;
    eventually("the member is told the group's own interval", async || {
        assert_eq!(member.heartbeat().await.error_code, 0);
        (member.interval_ms == 7000).then_some(())
    })
    .await;

    let listed = async |peer: &mut Peer| {
        let request = ListConfigResourcesRequest::default().with_resource_types(vec![32]);
        let answer = peer.call_at(&request, 1).await.unwrap();
        assert!(answer.config_resources.iter().all(|one| one.resource_type == 32));
        answer.config_resources.iter().any(|one| one.resource_name.as_str() == group)
    };
    assert!(listed(&mut peer).await);
    assert_eq!(set(&mut peer, &group, &[("consumer.heartbeat.interval.ms", None)]).await, 0);
    assert!(!listed(&mut peer).await);
    assert_eq!(value_of(&configs(&mut peer, &group).await, "consumer.heartbeat.interval.ms").1, 5);
}

#[tokio::test]
async fn resources_with_a_configuration_are_listed_by_type() {
    let mut peer = ready().await;
    let ask = async |peer: &mut Peer, version: i16, types: &[i8]| {
        let request = ListConfigResourcesRequest::default().with_resource_types(types.to_vec());
        peer.call_at(&request, version).await.unwrap()
    };
    assert!(ask(&mut peer, 0, &[]).await.config_resources.is_empty(), "no client metrics");
    let brokers = ask(&mut peer, 1, &[4]).await;
    assert_eq!(brokers.config_resources.len(), 1);
    assert_eq!(brokers.config_resources[0].resource_name.as_str(), "0");
    let all = ask(&mut peer, 1, &[]).await;
    assert!(all.config_resources.iter().any(|one| one.resource_type == 2));
    assert!(all.config_resources.iter().any(|one| one.resource_type == 4));
    for unknown in [0, 1, 3, 64, -1] {
        assert_eq!(ask(&mut peer, 1, &[2, unknown]).await.error_code, UNSUPPORTED_VERSION, "{unknown}");
    }
}
