//! The registry against what Apache Kafka 4.3.1 prints of its own definitions (`tests/fixtures/config`).

use super::*;
use crate::config::key::{Importance, Kind};
use crate::config::merge::default_of;
use crate::config::value;

const KAFKA: &str = include_str!("../../../tests/fixtures/config/kafka-4.3.1-keys.tsv");
const PROBES: &str = include_str!("../../../tests/fixtures/config/kafka-4.3.1-probes.txt");

/// Where ketcd deliberately differs: scope, key, what differs, why.
const DIFFERENCES: &[(&str, &str, &str, &str)] = &[
    ("broker", "log.dir", "default", "data must survive a reboot, which /tmp does not"),
    ("broker", "listeners", "update", "listeners are opened at start"),
    ("broker", "listener.security.protocol.map", "update", "listeners are opened at start"),
    ("broker", "max.connections", "update", "read at start"),
    ("broker", "max.connections.per.ip", "update", "read at start"),
    ("broker", "num.replica.fetchers", "update", "read at start"),
    ("broker", "num.recovery.threads.per.data.dir", "update", "read at start"),
    ("broker", "producer.id.expiration.ms", "update", "read at start"),
    ("broker", "controller.quorum.voters", "values", "accepted without effect, so not looked into"),
    (
        "broker",
        "controller.quorum.bootstrap.servers",
        "values",
        "accepted without effect, so not looked into",
    ),
];

struct KafkaKey<'a> {
    scope: &'a str,
    name: &'a str,
    fields: Vec<&'a str>,
}

fn kafka_keys() -> Vec<KafkaKey<'static>> {
    let lines = KAFKA.lines().filter(|line| !line.starts_with('#'));
    let keys: Vec<_> = lines
        .map(|line| {
            let fields: Vec<&str> = line.split('\t').collect();
            KafkaKey { scope: fields[0], name: fields[1], fields }
        })
        .collect();
    assert_eq!(keys.len(), 394);
    keys
}

fn ours(key: &KafkaKey<'_>) -> &'static Key {
    let scope = if key.scope == "topic" { &TOPIC_KEYS } else { &BROKER_KEYS };
    scope.get(key.name).unwrap_or_else(|| panic!("{} {} is not in the registry", key.scope, key.name))
}

#[test]
fn every_key_of_kafka_is_known_with_its_type_default_rule_and_update_mode() {
    let mut differences = Vec::new();
    for kafka in kafka_keys() {
        let key = ours(&kafka);
        let mut compare = |what: &'static str, kafkas: &str, mine: &str| {
            if kafkas != mine {
                differences.push((
                    kafka.scope,
                    kafka.name,
                    what,
                    format!("Kafka {kafkas:?}, ketcd {mine:?}"),
                ));
            }
        };
        compare("type", kafka.fields[2], &key.kind.name().to_uppercase());
        let default = if kafka.fields[3] == "<required>" { "null" } else { kafka.fields[3] };
        compare("default", default, key.default.unwrap_or("null"));
        let importance = match key.importance {
            Importance::High => "HIGH",
            Importance::Medium => "MEDIUM",
            Importance::Low => "LOW",
        };
        compare("importance", kafka.fields[4], importance);
        compare("visibility", kafka.fields[5], if key.internal { "internal" } else { "public" });
        let update = match key.update {
            Update::ReadOnly => "read-only",
            Update::PerBroker => "per-broker",
            Update::ClusterWide => "cluster-wide",
            Update::Topic => "topic",
            Update::Group => "group",
        };
        compare("update", kafka.fields[6], update);
        let twins: Vec<String> = key
            .twins
            .iter()
            .map(|twin| match twin.factor {
                1 => twin.name.to_owned(),
                factor => format!("{}*{factor}", twin.name),
            })
            .collect();
        let twins = if twins.is_empty() { "-".to_owned() } else { twins.join(",") };
        compare("twins", kafka.fields[7], &twins);
        if key.kind != Kind::Class {
            let accepted: String = PROBES
                .lines()
                .map(|probe| if value::parse(key, probe).is_ok() { '+' } else { '.' })
                .collect();
            compare("values", kafka.fields[8], &accepted);
        }
    }
    let deliberate = |(scope, name, what, _): &(&str, &str, &str, String)| {
        DIFFERENCES
            .iter()
            .any(|difference| (difference.0, difference.1, difference.2) == (*scope, *name, *what))
    };
    let unexpected: Vec<_> = differences.iter().filter(|difference| !deliberate(difference)).collect();
    assert!(unexpected.is_empty(), "{unexpected:#?}");
    for (scope, name, what, why) in DIFFERENCES {
        let there = differences.iter().any(|d| (d.0, d.1, d.2) == (*scope, *name, *what));
        assert!(there, "{scope} {name} {what} does not differ any more ({why})");
    }
}

#[test]
fn what_is_not_kafkas_is_either_ours_or_retired() {
    let kafka = kafka_keys();
    let known = |scope: &str, name: &str| kafka.iter().any(|key| key.scope == scope && key.name == name);
    // Keys of Kafka that its broker definitions do not hold: dynamic quotas, and those of its own authorizer.
    let elsewhere = [
        "leader.replication.throttled.rate",
        "follower.replication.throttled.rate",
        "replica.alter.log.dirs.io.max.bytes.per.second",
        "super.users",
        "allow.everyone.if.no.acl.found",
    ];
    for (title, key) in &BROKER_KEYS.listed {
        let explained = key.tier == Tier::Ours
            || elsewhere.contains(&key.name)
            || matches!(*title, "Constants" | "Keys of older Kafka releases" | "Several brokers");
        assert!(known("broker", key.name) != explained, "{}", key.name);
    }
    for (_, key) in &TOPIC_KEYS.listed {
        assert!(known("topic", key.name) != (key.tier == Tier::Ours), "{}", key.name);
    }
}

#[test]
fn every_key_is_declared_once_and_its_default_keeps_its_own_rule() {
    for scope in [&*BROKER_KEYS, &*TOPIC_KEYS, &*GROUP_KEYS] {
        assert_eq!(scope.listed.len(), scope.iter().count(), "a key is declared twice");
        for key in scope.iter() {
            assert!(key.doc.ends_with('.') && key.doc.len() > 10, "{}", key.name);
            if let Some(default) = key.default {
                let value = value::parse(key, default);
                assert!(value.is_ok() || default.is_empty(), "{}: {value:?}", key.name);
            }
            for other in key.see {
                assert!(BROKER_KEYS.get(other).is_some() || TOPIC_KEYS.get(other).is_some(), "{other}");
            }
            for twin in key.twins {
                assert!(BROKER_KEYS.get(twin.name).is_some(), "{}", twin.name);
            }
        }
    }
}

#[test]
fn the_finest_set_or_last_twin_default_is_the_topic_keys_default() {
    for key in TOPIC_KEYS.iter().chain(GROUP_KEYS.iter()).filter(|key| !key.twins.is_empty()) {
        let from_twins = key.twins.iter().find_map(|twin| {
            let value = default_of(BROKER_KEYS.get(twin.name)?)?;
            Some(crate::config::topic_values::converted(value, *twin))
        });
        assert_eq!(from_twins, default_of(key), "{}", key.name);
    }
}

#[test]
fn a_misspelt_key_finds_the_one_that_was_meant() {
    for (wrong, right) in [
        ("num.partition", "num.partitions"),
        ("log.retention.mss", "log.retention.ms"),
        ("advertised.listener", "advertised.listeners"),
        ("etcd.endpoint", "etcd.endpoints"),
        ("lgo.dirs", "log.dirs"),
    ] {
        assert_eq!(BROKER_KEYS.nearest(wrong), Some(right));
    }
    assert_eq!(BROKER_KEYS.nearest("something.else.entirely"), None);
}
