//! What users read when a configuration is wrong.

use super::{load_file, options};
use crate::config::*;

/// The report of `text` as the file `name` of a broker.
fn report(name: &str, text: &str) -> String {
    let mut options = options(Mode::Broker);
    options.set = vec!["etcd.endpoints=embedded".into()];
    load_file(options, name, text).unwrap_err().to_string()
}

fn assert_report(name: &str, text: &str, expected: &str) {
    let report = report(name, text);
    assert!(report == expected.trim_start(), "\n--- got\n{report}\n--- expected\n{}", expected.trim_start());
}

#[test]
fn an_address_nobody_can_connect_to_is_not_advertised() {
    assert_report(
        "server.properties",
        "listeners=PLAINTEXT://:9092\n\nadvertised.listeners=PLAINTEXT://0.0.0.0:9092\n",
        r#"
error: advertised.listeners = "PLAINTEXT://0.0.0.0:9092" cannot be advertised
  --> server.properties:3
  clients would be told to connect to 0.0.0.0
help: set the name clients use, e.g. advertised.listeners=PLAINTEXT://kafka-0.example:9092
      on Kubernetes: KETCD_ADVERTISED_LISTENERS='PLAINTEXT://{pod}.{service}:9092'
1 configuration error"#,
    );
}

#[test]
fn all_mistakes_of_a_file_are_told_at_once() {
    assert_report(
        "ketcd.toml",
        r#"
num.partition = 3
[log.retention]
ms = "a week"
[log]
segment.bytes = "1KiB"
[retention]
ms = 5
"#,
        r#"
error: log.retention.ms = "a week" must be a whole number
  --> ketcd.toml:4
help: log.retention.ms is of type long in milliseconds; times such as 7d or 1h are understood
      `ketcd config explain log.retention.ms` says more
error: log.segment.bytes = "1KiB" must be at least 1048576
  --> ketcd.toml:6
help: log.segment.bytes is of type int in bytes; sizes such as 64MiB are understood
      `ketcd config explain log.segment.bytes` says more
error: num.partition is not a key of Kafka or ketcd
  --> ketcd.toml:2
help: did you mean num.partitions?
error: retention.ms is not a key of Kafka or ketcd
  --> ketcd.toml:8
  it is a key of topics
help: the key for all topics is log.retention.ms
4 configuration errors"#,
    );
}

#[test]
fn security_that_is_not_there_is_refused_and_not_ignored() {
    let report = report(
        "server.properties",
        "listeners=SASL_SSL://:9093\nauthorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer\n\
         ssl.keystore.location=/etc/kafka/k.jks\nremote.log.storage.system.enable=true\nlistener.name.sasl_ssl.sasl.enabled.mechanisms=PLAIN\n",
    );
    for headline in [
        "error: listener SASL_SSL://:9093 is to speak SASL_SSL, which ketcd does not speak yet\n  --> server.properties:1\n",
        "error: authorizer.class.name = \"org.apache.kafka.metadata.authorizer.StandardAuthorizer\" is refused\n  --> server.properties:2\n",
        "error: ssl.keystore.location = \"/etc/kafka/k.jks\" is refused\n  --> server.properties:3\n",
        "error: remote.log.storage.system.enable = \"true\" is refused\n  --> server.properties:4\n",
        "error: listener.name.sasl_ssl.sasl.enabled.mechanisms is refused\n  --> server.properties:5\n",
        "5 configuration errors",
    ] {
        assert!(report.contains(headline), "{headline} is not in\n{report}");
    }
}

#[test]
fn listeners_that_contradict_each_other_are_told() {
    let report = report(
        "server.properties",
        "listeners=A://:9092,B://:9092,A://[::1]:1\nadvertised.listeners=C://host:1\ninter.broker.listener.name=D\n",
    );
    for headline in [
        "error: listeners has port 9092 twice: A://:9092 and B://:9092\n",
        "error: listeners names A twice: A://:9092 and A://[::1]:1\n",
        "error: listener B://:9092 has no security protocol\n",
        "error: advertised.listeners = \"C://host:1\" names no listener\n  --> server.properties:2\n",
        "error: inter.broker.listener.name = \"D\" is not an advertised listener\n  --> server.properties:3\n",
    ] {
        assert!(report.contains(headline), "{headline} is not in\n{report}");
    }
}

#[test]
fn what_brokers_speak_among_themselves_is_said_once_and_is_spoken() {
    let report = report(
        "server.properties",
        "security.inter.broker.protocol=SSL\ninter.broker.listener.name=PLAINTEXT\n",
    );
    for headline in [
        "error: security.inter.broker.protocol = \"SSL\" is not spoken among brokers yet\n  --> server.properties:1\n",
        "error: security.inter.broker.protocol and inter.broker.listener.name are both set\n",
    ] {
        assert!(report.contains(headline), "{headline} is not in\n{report}");
    }
}

#[test]
fn a_broker_without_etcd_is_told_where_to_put_its_metadata() {
    let errors = load(&options(Mode::Broker)).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "error: etcd.endpoints is not set\n  a broker keeps its metadata in etcd\n\
         help: etcd.endpoints=http://etcd-0:2379,http://etcd-1:2379,http://etcd-2:2379\n      \
         for one node without a server: etcd.endpoints=embedded, or `ketcd dev`\n1 configuration error"
    );
}

#[test]
fn misspelt_variables_are_told_and_secrets_are_not() {
    let mut options = options(Mode::Dev);
    options.env = [
        ("KETCD_NUM_PARTITION", "3"),
        ("KAFKA_NUM_PARTITION", "3"),
        ("KETCD_ETCD_PASSWORD", "hunter2"),
        ("KETCD_ETCD_SESSION_TTL", "1s"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .into();
    let report = load(&options).unwrap_err().to_string();
    for headline in [
        "warning: KAFKA_NUM_PARTITION is not a key of Kafka or ketcd\n  --> environment variable KAFKA_NUM_PARTITION\n\
         help: did you mean KAFKA_NUM_PARTITIONS?\n",
        "error: KETCD_NUM_PARTITION is not a key of Kafka or ketcd\n",
        "error: etcd.session.ttl = \"1s\" must be from 2000 to 300000\n  --> environment variable KETCD_ETCD_SESSION_TTL\n",
        "error: etcd.password is set without etcd.user\n",
        "3 configuration errors",
    ] {
        assert!(report.contains(headline), "{headline} is not in\n{report}");
    }
    assert!(!report.contains("hunter2"));
}

#[test]
fn unknown_keys_of_a_properties_file_are_warnings_as_kafka_ignores_them() {
    let mut options = options(Mode::Dev);
    options.set = vec!["num.partitions".into(), "nothing.like.it=1".into()];
    let report =
        load_file(options, "server.properties", "my.plugin.key=1\nlog.dirs=a\nlog.dirs=b\n").unwrap_err();
    assert_eq!(
        report.to_string(),
        "warning: log.dirs is set twice\n  --> server.properties:3\n  also at server.properties:2; this one counts\n\
         help: remove one of them\n\
         warning: my.plugin.key is not a key of Kafka or ketcd\n  --> server.properties:1\n\
         help: `ketcd config list` shows every key\n\
         error: \"num.partitions\" is not key=value\n  --> command line: --set num.partitions\n\
         help: --set num.partitions=3\n\
         error: nothing.like.it is not a key of Kafka or ketcd\n  --> command line: --set nothing.like.it\n\
         help: `ketcd config list` shows every key\n\
         2 configuration errors"
    );
}

#[test]
fn what_is_not_toml_or_cannot_be_read_is_told_with_its_line() {
    let report = report("ketcd.toml", "log.dirs = /data\nnum.partitions = 3\n");
    assert!(report.starts_with("error: this is not TOML: "), "{report}");
    assert!(report.contains("  --> ketcd.toml:1\n"), "{report}");
    let mut options = options(Mode::Dev);
    options.file = Some("/nowhere.toml".into());
    let errors = load(&options).unwrap_err().to_string();
    assert!(errors.starts_with("error: configuration file \"/nowhere.toml\" cannot be read\n"), "{errors}");
}

#[test]
fn more_in_sync_replicas_than_replicas_is_a_warning() {
    let mut options = options(Mode::Dev);
    options.set = vec!["min.insync.replicas=2".into()];
    let config = load(&options).unwrap();
    assert_eq!(
        config.warnings()[0].to_string(),
        "warning: min.insync.replicas = 2 is more than default.replication.factor = 1\n  \
         --> command line: --set min.insync.replicas\n  \
         topics created without a replication factor could not be written with acks=all\n\
         help: raise default.replication.factor or lower min.insync.replicas"
    );
}

#[test]
fn keys_of_groups_that_contradict_each_other_are_told() {
    let told = |set: &[&str]| {
        let mut options = options(Mode::Dev);
        options.set = set.iter().map(ToString::to_string).collect();
        load(&options).unwrap_err().to_string()
    };
    for (set, words) in [
        (&["group.consumer.session.timeout.ms=70000"][..], "is not between its bounds 45000 and 60000"),
        (
            &["group.consumer.heartbeat.interval.ms=45000", "group.consumer.max.heartbeat.interval.ms=50000"],
            "is not less than group.consumer.session.timeout.ms",
        ),
        (&["group.coordinator.rebalance.protocols=consumer"], "does not have classic"),
        (&["group.consumer.assignors=mine"], "no assignor of this broker"),
        (&["offsets.topic.compression.codec=7"], "is no codec"),
        (&["group.min.session.timeout.ms=9", "group.max.session.timeout.ms=8"], "is more than"),
    ] {
        let told = told(set);
        assert!(told.contains(words), "{set:?}: {told}");
    }
}

#[test]
fn kafkas_own_assignors_may_be_named_by_their_classes() {
    let mut options = options(Mode::Dev);
    let package = "org.apache.kafka.coordinator.group.assignor";
    options.set = vec![format!("group.consumer.assignors={package}.RangeAssignor,uniform")];
    assert_eq!(load(&options).unwrap().broker().groups.consumer_assignors, ["range", "uniform"]);
}
