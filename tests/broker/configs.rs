//! DescribeConfigs, IncrementalAlterConfigs, AlterConfigs.

use std::collections::BTreeMap;

use ketcd::protocol::peer::Peer;
use ketcd::protocol::peer::messages::alter_configs_request::{
    AlterConfigsResource as WholeResource, AlterableConfig as WholeConfig,
};
use ketcd::protocol::peer::messages::describe_configs_request::DescribeConfigsResource;
use ketcd::protocol::peer::messages::describe_configs_response::{
    DescribeConfigsResourceResult, DescribeConfigsResult,
};
use ketcd::protocol::peer::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use ketcd::protocol::peer::messages::{
    AlterConfigsRequest, DescribeConfigsRequest, IncrementalAlterConfigsRequest,
};
use tempfile::TempDir;

use crate::fixture::{OwnBroker, connect, peer, text, topic, topic_with};

pub const TOPIC: i8 = 2;
pub const BROKER: i8 = 4;

const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

const NONE: i16 = 0;
const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_TOPIC_EXCEPTION: i16 = 17;
const INVALID_CONFIG: i16 = 40;
const INVALID_REQUEST: i16 = 42;

/// Sources of values (`DescribeConfigsResponse.ConfigSource`).
const FROM_TOPIC: i8 = 1;
const FROM_BROKER: i8 = 2;
const FROM_CLUSTER: i8 = 3;
const FROM_DEFAULT: i8 = 5;

async fn describe(peer: &mut Peer, kind: i8, name: &str, keys: Option<&[&str]>) -> DescribeConfigsResult {
    let resource = DescribeConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configuration_keys(keys.map(|keys| keys.iter().map(|key| text(key)).collect()));
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true)
        .with_include_documentation(true);
    peer.call_at(&request, 4).await.unwrap().results.remove(0)
}

async fn one(peer: &mut Peer, kind: i8, name: &str, key: &str) -> DescribeConfigsResourceResult {
    let mut result = describe(peer, kind, name, Some(&[key])).await;
    assert_eq!((result.error_code, result.configs.len()), (0, 1), "{result:?}");
    result.configs.remove(0)
}

/// Changes one key; gives the error code, and checks that an error has a message and success none.
pub async fn alter(peer: &mut Peer, kind: i8, name: &str, key: &str, op: i8, value: Option<&str>) -> i16 {
    alter_all(peer, kind, name, &[(key, op, value)], false).await
}

/// Key, operation, value.
type Change<'a> = (&'a str, i8, Option<&'a str>);

async fn alter_all(
    peer: &mut Peer,
    kind: i8,
    name: &str,
    changes: &[Change<'_>],
    validate_only: bool,
) -> i16 {
    let configs = changes.iter().map(|(key, op, value)| {
        AlterableConfig::default().with_name(text(key)).with_config_operation(*op).with_value(value.map(text))
    });
    let resource = AlterConfigsResource::default()
        .with_resource_type(kind)
        .with_resource_name(text(name))
        .with_configs(configs.collect());
    let request = IncrementalAlterConfigsRequest::default()
        .with_resources(vec![resource])
        .with_validate_only(validate_only);
    let answer = peer.call_at(&request, 1).await.unwrap();
    let told = &answer.responses[0];
    assert_eq!((told.resource_type, told.resource_name.as_str()), (kind, name));
    assert_eq!(told.error_message.as_ref().is_some_and(|it| it.len() > 10), told.error_code != 0, "{told:?}");
    told.error_code
}

#[tokio::test]
async fn a_topics_configuration_is_described_with_source_type_and_words() {
    let mut peer = peer().await;
    let topic = topic_with(&mut peer, "described", 1, &[("retention.ms", "5000000")]).await.name;
    let all = describe(&mut peer, TOPIC, &topic, None).await;
    let by_name: BTreeMap<_, _> = all.configs.iter().map(|it| (it.name.as_str(), it)).collect();
    assert!(by_name.len() >= 25, "{:?}", by_name.keys());
    let retention = by_name["retention.ms"];
    assert_eq!(
        (retention.value.as_deref(), retention.config_source, retention.config_type),
        (Some("5000000"), FROM_TOPIC, 5)
    );
    let synonyms: Vec<_> = retention.synonyms.iter().map(|it| (it.name.as_str(), it.source)).collect();
    assert_eq!(synonyms[0], ("retention.ms", FROM_TOPIC));
    assert!(synonyms.len() >= 2 && synonyms.last().unwrap().1 == FROM_DEFAULT, "{synonyms:?}");
    let policy = by_name["cleanup.policy"];
    assert_eq!(
        (policy.value.as_deref(), policy.config_source, policy.config_type),
        (Some("delete"), FROM_DEFAULT, 7)
    );
    for config in &all.configs {
        assert!(config.documentation.as_ref().is_some_and(|it| it.len() > 10), "{}", config.name.as_str());
        assert!(!config.read_only && !config.is_sensitive, "{}", config.name.as_str());
    }
    let few = describe(&mut peer, TOPIC, &topic, Some(&["segment.ms", "no.such.key"])).await;
    assert_eq!(few.configs.iter().map(|it| it.name.as_str()).collect::<Vec<_>>(), ["segment.ms"]);
}

#[tokio::test]
async fn the_brokers_configuration_is_described() {
    let mut peer = peer().await;
    let all = describe(&mut peer, BROKER, "0", None).await;
    assert_eq!(all.error_code, 0);
    let by_name: BTreeMap<_, _> = all.configs.iter().map(|it| (it.name.as_str(), it)).collect();
    for key in [
        "num.partitions",
        "default.replication.factor",
        "auto.create.topics.enable",
        "delete.topic.enable",
        "log.retention.ms",
        "node.id",
        "listeners",
        "log.dirs",
    ] {
        assert!(by_name.contains_key(key), "{key} is missing");
    }
    assert_eq!(by_name["num.partitions"].value.as_deref(), Some("1"));
    assert!(by_name["log.dirs"].read_only);
    assert!(!by_name["message.max.bytes"].read_only);
}

#[tokio::test]
async fn resources_that_are_not_there_are_refused() {
    let mut peer = peer().await;
    let cases = [
        (TOPIC, "no-such-topic", UNKNOWN_TOPIC_OR_PARTITION),
        (TOPIC, "a/b", INVALID_TOPIC_EXCEPTION),
        (TOPIC, "", INVALID_TOPIC_EXCEPTION),
        (BROKER, "7", INVALID_REQUEST),
        (BROKER, "zero", INVALID_REQUEST),
        (BROKER, "-1", INVALID_REQUEST),
        (0, "x", INVALID_REQUEST),
        (99, "x", INVALID_REQUEST),
        (-1, "x", INVALID_REQUEST),
    ];
    for (kind, name, code) in cases {
        let described = describe(&mut peer, kind, name, None).await;
        assert_eq!((described.error_code, described.configs.len()), (code, 0), "{kind} {name:?}");
        assert!(described.error_message.is_some());
        assert_eq!(
            alter(&mut peer, kind, name, "retention.ms", SET, Some("1000")).await,
            code,
            "{kind} {name:?}"
        );
    }
}

#[tokio::test]
async fn single_keys_are_set_appended_subtracted_and_deleted() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "alter").await.name;
    let steps = [
        ("cleanup.policy", APPEND, Some("compact"), "delete,compact", FROM_TOPIC),
        ("cleanup.policy", SUBTRACT, Some("delete"), "compact", FROM_TOPIC),
        ("cleanup.policy", SET, Some("delete"), "delete", FROM_TOPIC),
        ("cleanup.policy", DELETE, None, "delete", FROM_DEFAULT),
        ("retention.ms", SET, Some("-1"), "-1", FROM_TOPIC),
        ("retention.ms", DELETE, None, "604800000", FROM_DEFAULT),
    ];
    for (key, op, value, expected, source) in steps {
        assert_eq!(alter(&mut peer, TOPIC, &topic, key, op, value).await, NONE, "{key} {op}");
        let now = one(&mut peer, TOPIC, &topic, key).await;
        assert_eq!((now.value.as_deref(), now.config_source), (Some(expected), source), "{key} {op}");
    }
}

#[tokio::test]
async fn wrong_changes_are_refused_and_change_nothing() {
    let mut peer = peer().await;
    let topic = topic_with(&mut peer, "wrong", 1, &[("retention.ms", "5000000")]).await.name;
    let cases: &[(&[Change<'_>], i16)] = &[
        (&[("no.such.key", SET, Some("1"))], INVALID_CONFIG),
        (&[("retention.ms", SET, Some("soon"))], INVALID_CONFIG),
        (&[("retention.ms", SET, Some(""))], INVALID_CONFIG),
        (&[("segment.bytes", SET, Some("99999999999"))], INVALID_CONFIG),
        (&[("min.insync.replicas", SET, Some("0"))], INVALID_CONFIG),
        (&[("retention.ms", APPEND, Some("1"))], INVALID_CONFIG),
        (&[("retention.ms", SET, None)], INVALID_REQUEST),
        (&[("retention.ms", 9, Some("1"))], INVALID_REQUEST),
        (&[("retention.ms", SET, Some("1000")), ("retention.ms", DELETE, None)], INVALID_REQUEST),
        (&[("retention.ms", SET, Some("1000")), ("segment.ms", SET, Some("x"))], INVALID_CONFIG),
    ];
    for (changes, code) in cases {
        for validate_only in [true, false] {
            assert_eq!(
                alter_all(&mut peer, TOPIC, &topic, changes, validate_only).await,
                *code,
                "{changes:?}"
            );
        }
    }
    assert_eq!(one(&mut peer, TOPIC, &topic, "retention.ms").await.value.as_deref(), Some("5000000"));
}

#[tokio::test]
async fn a_change_that_is_only_checked_changes_nothing() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "check").await.name;
    let change = [("retention.ms", SET, Some("1000"))];
    assert_eq!(alter_all(&mut peer, TOPIC, &topic, &change, true).await, NONE);
    assert_eq!(one(&mut peer, TOPIC, &topic, "retention.ms").await.config_source, FROM_DEFAULT);
}

#[tokio::test]
async fn the_old_request_replaces_the_whole_configuration() {
    let mut peer = peer().await;
    let topic = topic_with(&mut peer, "whole", 1, &[("retention.ms", "5000000")]).await.name;
    for version in 0..=2 {
        let value = (1_000_000 + i32::from(version)).to_string();
        let config = WholeConfig::default().with_name(text("segment.ms")).with_value(Some(text(&value)));
        let resource = WholeResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(&topic))
            .with_configs(vec![config]);
        for validate_only in [true, false] {
            let request = AlterConfigsRequest::default()
                .with_resources(vec![resource.clone()])
                .with_validate_only(validate_only);
            assert_eq!(peer.call_at(&request, version).await.unwrap().responses[0].error_code, 0);
            let now = one(&mut peer, TOPIC, &topic, "segment.ms").await;
            assert_eq!(now.value.as_deref() == Some(&value), !validate_only);
        }
        assert_eq!(one(&mut peer, TOPIC, &topic, "retention.ms").await.config_source, FROM_DEFAULT);
    }
}

#[tokio::test]
async fn broker_and_cluster_values_are_told_by_their_source() {
    let data = TempDir::new().unwrap();
    let broker = OwnBroker::start(data.path(), &["dev.ephemeral=true"]).await;
    let mut peer = connect(&broker.address).await;
    let topic = topic(&mut peer, "sources").await.name;
    let key = "log.retention.ms";
    assert_eq!(alter(&mut peer, BROKER, "", key, SET, Some("7000000")).await, NONE);
    let told = one(&mut peer, BROKER, "0", key).await;
    assert_eq!((told.value.as_deref(), told.config_source), (Some("7000000"), FROM_CLUSTER));
    assert_eq!(one(&mut peer, TOPIC, &topic, "retention.ms").await.value.as_deref(), Some("7000000"));
    assert_eq!(alter(&mut peer, BROKER, "0", key, SET, Some("8000000")).await, NONE);
    let told = one(&mut peer, BROKER, "0", key).await;
    assert_eq!((told.value.as_deref(), told.config_source), (Some("8000000"), FROM_BROKER));
    let whole = describe(&mut peer, BROKER, "", None).await;
    let whole: Vec<_> = whole.configs.iter().map(|it| (it.name.as_str(), it.value.as_deref())).collect();
    assert_eq!(whole, [(key, Some("7000000"))]);
    assert_eq!(alter(&mut peer, BROKER, "0", key, DELETE, None).await, NONE);
    assert_eq!(one(&mut peer, BROKER, "0", key).await.value.as_deref(), Some("7000000"));
    // KAFKA-13609: what a broker refuses is INVALID_REQUEST there, not INVALID_CONFIG.
    for (key, value) in
        [("node.id", "5"), ("listeners", "PLAINTEXT://:1"), (key, "soon"), ("no.such.key", "1")]
    {
        assert_eq!(alter(&mut peer, BROKER, "0", key, SET, Some(value)).await, INVALID_REQUEST, "{key}");
    }
    broker.stop().await;
}

#[tokio::test]
async fn a_resource_twice_in_one_request_is_refused() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "twice").await.name;
    let resources = ["1000", "2000"].map(|value| {
        let config = AlterableConfig::default().with_name(text("retention.ms")).with_value(Some(text(value)));
        AlterConfigsResource::default()
            .with_resource_type(TOPIC)
            .with_resource_name(text(&topic))
            .with_configs(vec![config])
    });
    let request = IncrementalAlterConfigsRequest::default().with_resources(resources.to_vec());
    let answer = peer.call_at(&request, 1).await.unwrap();
    assert!(answer.responses.iter().all(|it| it.error_code == INVALID_REQUEST), "{answer:?}");
    assert_eq!(one(&mut peer, TOPIC, &topic, "retention.ms").await.config_source, FROM_DEFAULT);
}
