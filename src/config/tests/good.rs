//! Configurations that load, and what comes out of them.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::{files, load_file, options};
use crate::config::*;
use crate::types::BrokerId;

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn with_set(mode: Mode, set: &[&str]) -> Config {
    let mut options = options(mode);
    options.set = set.iter().map(|text| (*text).to_owned()).collect();
    load(&options).unwrap()
}

fn from_env(mode: Mode, env: &[(&str, &str)]) -> Config {
    let mut options = options(mode);
    options.env = map(env);
    load(&options).unwrap()
}

#[test]
fn dev_needs_no_configuration_at_all() {
    let config = load(&options(Mode::Dev)).unwrap();
    let broker = config.broker();
    assert_eq!(broker.etcd.endpoints, EtcdEndpoints::Embedded { listen: "127.0.0.1:9292".parse().unwrap() });
    assert_eq!(broker.etcd.prefix, "/ketcd/dev");
    assert_eq!(broker.etcd.session_ttl, Duration::from_secs(9));
    assert_eq!(broker.listeners.len(), 1);
    assert_eq!(
        broker.advertised_listeners,
        [AdvertisedListener { name: "PLAINTEXT".into(), host: "127.0.0.1".into(), port: 9092 }]
    );
    assert_eq!(broker.log_dirs, [PathBuf::from("./ketcd-data")]);
    assert_eq!(broker.node_id, None);
    assert_eq!(broker.queued_max_request_bytes, 256 << 20, "a quarter of the memory limit");
    assert_eq!(broker.admin_listen, Some(SocketAddr::from(([127, 0, 0, 1], 9192))));
    assert!(config.warnings().is_empty() && config.without_effect().is_empty());
}

#[test]
fn each_source_wins_over_the_one_before_and_all_origins_are_kept() {
    let mut all = options(Mode::Dev);
    all.env = map(&[("KAFKA_NUM_PARTITIONS", "3"), ("KETCD_NUM_PARTITIONS", "4")]);
    all.flags = vec![Flag { flag: "--partitions 5".into(), key: "num.partitions".into(), value: "5".into() }];
    all.set = vec!["num.partitions=6".into()];
    let config = load_file(all, "server.properties", "# mine\nnum.partitions=2\n").unwrap();
    assert_eq!(config.broker().num_partitions, 6);
    let origins: Vec<String> = config
        .settings()
        .layers("num.partitions")
        .map(|setting| format!("{} {}", setting.value.to_text(), setting.origin))
        .collect();
    assert_eq!(
        origins,
        [
            "6 --set num.partitions",
            "5 --partitions 5",
            "4 KETCD_NUM_PARTITIONS",
            "3 KAFKA_NUM_PARTITIONS",
            "2 server.properties:2"
        ]
    );
}

#[test]
fn toml_tables_and_dotted_and_quoted_names_say_the_same() {
    let text = r#"
etcd.endpoints = ["http://a:2379", "b:2379"]
"max.connections.per.ip" = 7
[max]
connections = 9
[log]
dirs = ["/a", "/b"]
retention.ms = "7d"
[log.segment]
bytes = "64MiB"
[connections.max]
idle.ms = "10m"
"#;
    let config = load_file(options(Mode::Broker), "ketcd.toml", text).unwrap();
    let broker = config.broker();
    assert_eq!(broker.log_dirs, [PathBuf::from("/a"), PathBuf::from("/b")]);
    assert_eq!((broker.max_connections, broker.max_connections_per_ip), (9, 7));
    assert_eq!(broker.connections_max_idle, Some(Duration::from_secs(600)));
    assert_eq!(
        broker.etcd.endpoints,
        EtcdEndpoints::Servers(vec!["http://a:2379".into(), "http://b:2379".into()])
    );
    let topic = config.topic_config(&BTreeMap::new(), &Dynamic::default());
    assert_eq!((topic.retention_ms, topic.segment_bytes), (Some(604_800_000), 64 << 20));
    assert_eq!(config.settings().origin("log.segment.bytes").to_string(), "ketcd.toml:10");
}

#[test]
fn the_environment_of_testcontainers_loads_without_opening_the_controller_listener() {
    let config = from_env(
        Mode::Dev,
        &[
            ("CLUSTER_ID", "4L6g3nShT-eMCtK--X86sw"),
            ("KAFKA_LISTENERS", "PLAINTEXT://:9092,BROKER://:9093,CONTROLLER://:9094"),
            ("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://localhost:32768,BROKER://3f2a:9093"),
            (
                "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
                "BROKER:PLAINTEXT,PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            ),
            ("KAFKA_INTER_BROKER_LISTENER_NAME", "BROKER"),
            ("KAFKA_PROCESS_ROLES", "broker,controller"),
            ("KAFKA_CONTROLLER_LISTENER_NAMES", "CONTROLLER"),
            ("KAFKA_CONTROLLER_QUORUM_VOTERS", "1@localhost:9094"),
            ("KAFKA_NODE_ID", "1"),
            ("KAFKA_BROKER_ID", "1"),
            ("KAFKA_OFFSETS_TOPIC_REPLICATION_FACTOR", "1"),
            ("KAFKA_OFFSETS_TOPIC_NUM_PARTITIONS", "1"),
            ("KAFKA_TRANSACTION_STATE_LOG_REPLICATION_FACTOR", "1"),
            ("KAFKA_TRANSACTION_STATE_LOG_MIN_ISR", "1"),
            ("KAFKA_LOG_FLUSH_INTERVAL_MESSAGES", "9223372036854775807"),
            ("KAFKA_GROUP_INITIAL_REBALANCE_DELAY_MS", "0"),
            ("KAFKA_HEAP_OPTS", "-Xmx1G"),
            ("PATH", "/bin"),
        ],
    );
    let broker = config.broker();
    let names: Vec<&str> = broker.listeners.iter().map(|listener| listener.name.as_str()).collect();
    assert_eq!(names, ["PLAINTEXT", "BROKER"]);
    assert_eq!(broker.advertised_listeners[0].port, 32768);
    assert_eq!(broker.node_id, Some(BrokerId(1)));
    assert_eq!(broker.cluster_id.as_deref(), Some("4L6g3nShT-eMCtK--X86sw"));
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
    let ignored = config.without_effect();
    let quorum = &ignored["ketcd keeps its metadata in etcd: see etcd.endpoints"];
    assert_eq!(*quorum, ["controller.listener.names", "controller.quorum.voters", "process.roles"]);
}

#[test]
fn advertised_listeners_alone_open_their_ports_on_every_address_as_in_kafkas_image() {
    let config = from_env(Mode::Dev, &[("KAFKA_ADVERTISED_LISTENERS", "PLAINTEXT://kafka:29092")]);
    let listener = &config.broker().listeners[0];
    assert_eq!((listener.host.as_str(), listener.port), ("0.0.0.0", 29092));
}

#[test]
fn bitnamis_prefix_counts_and_variables_of_kubernetes_do_not() {
    let config = from_env(
        Mode::Dev,
        &[
            ("KAFKA_CFG_NUM_PARTITIONS", "5"),
            ("KAFKA_PORT", "tcp://10.0.0.1:9092"),
            ("KAFKA_PORT_9092_TCP_ADDR", "10.0.0.1"),
            ("KAFKA_SERVICE_HOST", "10.0.0.1"),
            ("KETCD_SERVICE_PORT_KAFKA", "9092"),
            ("KETCD_PORT_9092_TCP", "tcp://10.0.0.1:9092"),
            ("KETCD_TEST_SOMETHING", "1"),
        ],
    );
    assert_eq!(config.broker().num_partitions, 5);
    assert!(config.warnings().is_empty(), "{:?}", config.warnings());
}

#[test]
fn secrets_and_placeholders_are_read_from_files_and_the_environment() {
    let mut options = options(Mode::Broker);
    options.env = map(&[("KETCD_ETCD_PASSWORD_FILE", "/run/secret"), ("ETCD_USER", "ketcd")]);
    options.set = vec![
        "etcd.endpoints=https://etcd:2379".into(),
        "etcd.user=${env:ETCD_USER}".into(),
        "broker.rack=${file:/etc/place.properties:rack}".into(),
        "cluster.name=${directory:/etc/ketcd:name}-${plain}".into(),
    ];
    options.read = files(&[
        ("/run/secret", "hunter2\n"),
        ("/etc/place.properties", "rack = r7\n"),
        ("/etc/ketcd/name", "orders\n"),
    ]);
    let config = load(&options).unwrap();
    assert_eq!(config.broker().etcd.credentials, Some(("ketcd".into(), "hunter2".into())));
    assert_eq!(config.broker().rack.as_deref(), Some("r7"));
    assert_eq!(config.broker().etcd.prefix, "/ketcd/orders-${plain}");
}

#[test]
fn a_pod_gets_its_number_from_its_ordinal() {
    let env = [("HOSTNAME", "kafka-2"), ("KUBERNETES_SERVICE_HOST", "10.0.0.1")];
    assert_eq!(from_env(Mode::Dev, &env).broker().node_id, Some(BrokerId(2)));
    assert_eq!(from_env(Mode::Dev, &[("HOSTNAME", "kafka-2")]).broker().node_id, None);
    assert_eq!(from_env(Mode::Dev, &[("POD_INDEX", "7")]).broker().node_id, Some(BrokerId(7)));
    let set = [("POD_INDEX", "7"), ("KETCD_NODE_ID", "1{ordinal}")];
    assert_eq!(from_env(Mode::Dev, &set).broker().node_id, Some(BrokerId(17)));
}

#[test]
fn a_topics_own_value_wins_over_the_brokers_over_all_brokers_over_the_file_over_the_default() {
    let config = with_set(Mode::Dev, &["log.retention.ms=4"]);
    let none = BTreeMap::new();
    let (broker, cluster) = (map(&[("log.retention.ms", "2")]), map(&[("log.retention.ms", "3")]));
    let retention = |overrides: &[(&str, &str)], dynamic: Dynamic<'_>| {
        config.topic_config(&map(overrides), &dynamic).retention_ms
    };
    let both = Dynamic { broker: Some(&broker), cluster: Some(&cluster) };
    assert_eq!(retention(&[("retention.ms", "1")], both), Some(1));
    assert_eq!(retention(&[], both), Some(2));
    assert_eq!(retention(&[], Dynamic { broker: Some(&none), cluster: Some(&cluster) }), Some(3));
    assert_eq!(retention(&[], Dynamic::default()), Some(4));
    assert_eq!(retention(&[("retention.ms", "-1")], both), None);
    let plain = with_set(Mode::Dev, &[]);
    assert_eq!(plain.topic_config(&none, &Dynamic::default()).retention_ms, Some(604_800_000));
}

#[test]
fn coarser_twins_count_where_the_finer_ones_are_not_set() {
    let retention = |set: &[&str]| {
        with_set(Mode::Dev, set).topic_config(&BTreeMap::new(), &Dynamic::default()).retention_ms
    };
    assert_eq!(retention(&["log.retention.hours=1"]), Some(3_600_000));
    assert_eq!(retention(&["log.retention.hours=1", "log.retention.minutes=1"]), Some(60_000));
    assert_eq!(retention(&["log.retention.hours=-1"]), None);
}

#[test]
fn the_defaults_of_a_topic_are_kafkas() {
    let topic = with_set(Mode::Dev, &[]).topic_config(&BTreeMap::new(), &Dynamic::default());
    let kafka = TopicConfig {
        cleanup_delete: true,
        cleanup_compact: false,
        compression: CompressionType::Producer,
        compression_gzip_level: -1,
        compression_lz4_level: 9,
        compression_zstd_level: 3,
        delete_retention_ms: 86_400_000,
        file_delete_delay_ms: 60_000,
        flush_messages: None,
        flush_ms: None,
        index_interval_bytes: 4096,
        max_compaction_lag_ms: i64::MAX,
        max_message_bytes: 1_048_588,
        log_append_time: false,
        message_timestamp_before_max_ms: i64::MAX,
        message_timestamp_after_max_ms: 3_600_000,
        min_cleanable_dirty_ratio: 0.5,
        min_compaction_lag_ms: 0,
        min_insync_replicas: 1,
        preallocate: false,
        retention_bytes: None,
        retention_ms: Some(604_800_000),
        segment_bytes: 1 << 30,
        segment_index_bytes: 10_485_760,
        segment_jitter_ms: 0,
        segment_ms: 604_800_000,
        unclean_leader_election_enable: false,
        flush_ack: false,
    };
    assert_eq!(topic, kafka);
}

fn row<'a>(rows: &'a [ConfigRow], name: &str) -> &'a ConfigRow {
    rows.iter().find(|row| row.name == name).unwrap_or_else(|| panic!("no row {name}"))
}

#[test]
fn a_described_topic_tells_values_sources_and_synonyms() {
    let config = with_set(Mode::Dev, &["log.retention.hours=2"]);
    let cluster = map(&[("log.segment.bytes", "1048576")]);
    let dynamic = Dynamic { broker: None, cluster: Some(&cluster) };
    let rows = config.describe_topic(&map(&[("cleanup.policy", "compact")]), &dynamic);
    let policy = row(&rows, "cleanup.policy");
    assert_eq!((policy.value.as_deref(), policy.source), (Some("compact"), ConfigSource::Topic));
    assert_eq!((policy.is_default, policy.read_only, policy.kind.code()), (false, false, 7));
    let synonyms: Vec<_> = policy.synonyms.iter().map(|s| (s.name.as_str(), s.source.code())).collect();
    assert_eq!(synonyms, [("cleanup.policy", 1), ("log.cleanup.policy", 5)]);
    let retention = row(&rows, "retention.ms");
    assert_eq!((retention.value.as_deref(), retention.source.code()), (Some("7200000"), 4));
    let segment = row(&rows, "segment.bytes");
    assert_eq!((segment.value.as_deref(), segment.source.code()), (Some("1048576"), 3));
    let flush = row(&rows, "flush.ms");
    assert_eq!((flush.value.as_deref(), flush.is_default), (Some("9223372036854775807"), true));
    assert!(rows.iter().all(|row| row.name != "internal.segment.bytes"));
    assert_eq!(row(&rows, "ketcd.flush").value.as_deref(), Some("none"));
}

#[test]
fn a_described_broker_tells_true_values_and_hides_secrets() {
    let mut options = options(Mode::Dev);
    options.set = vec!["etcd.password=hunter2".into(), "etcd.user=u".into(), "num.partitions=3".into()];
    let config = load(&options).unwrap();
    let broker = map(&[("log.retention.ms", "5")]);
    let rows = config.describe_broker(BrokerId(4), &Dynamic { broker: Some(&broker), cluster: None });
    let password = row(&rows, "etcd.password");
    assert_eq!((password.value.as_deref(), password.sensitive), (None, true));
    assert!(password.synonyms.iter().all(|synonym| synonym.value.is_none()));
    assert!(!format!("{rows:?}").contains("hunter2"));
    for (name, value, source, read_only) in [
        ("num.partitions", "3", 4, true),
        ("node.id", "4", 5, true),
        ("log.retention.ms", "5", 2, false),
        ("inter.broker.protocol.version", "4.1-IV1", 5, true),
        ("log.dirs", "./ketcd-data", 4, true),
        ("advertised.listeners", "PLAINTEXT://127.0.0.1:9092", 5, true),
        ("delete.topic.enable", "true", 5, true),
    ] {
        let row = row(&rows, name);
        assert_eq!(
            (row.value.as_deref(), row.source.code(), row.read_only),
            (Some(value), source, read_only),
            "{name}"
        );
    }
    assert!(rows.iter().all(|row| !row.documentation.is_empty() && row.name != "zookeeper.connect"));
}

const fn set<'a>(name: &'a str, value: &'a str) -> Change<'a> {
    Change { name, op: AlterOp::Set, value: Some(value) }
}

#[test]
fn changes_of_a_topic_are_applied_to_what_is_there() {
    let config = with_set(Mode::Dev, &[]);
    let dynamic = Dynamic::default();
    let current = map(&[("retention.ms", "1"), ("gone.with.the.update", "x")]);
    let changes = [
        set("segment.bytes", " 1048576 "),
        Change { name: "retention.ms", op: AlterOp::Delete, value: None },
        Change { name: "cleanup.policy", op: AlterOp::Append, value: Some("compact") },
        Change { name: "gone.with.the.update", op: AlterOp::Delete, value: None },
    ];
    let after = validate_topic_change(&config, &dynamic, &current, &changes).unwrap();
    assert_eq!(after, map(&[("segment.bytes", "1048576"), ("cleanup.policy", "delete,compact")]));
    let subtract = [Change { name: "cleanup.policy", op: AlterOp::Subtract, value: Some("delete") }];
    let after = validate_topic_change(&config, &dynamic, &after, &subtract).unwrap();
    assert_eq!(after["cleanup.policy"], "compact");
}

#[test]
fn changes_that_break_a_rule_say_key_value_and_rule() {
    let config = with_set(Mode::Dev, &[]);
    let topic = |change: Change<'_>| {
        validate_topic_change(&config, &Dynamic::default(), &BTreeMap::new(), &[change]).unwrap_err()
    };
    for (change, text) in [
        (set("retention.mss", "1"), "unknown topic configuration retention.mss; did you mean retention.ms?"),
        (
            set("segment.bytes", "1"),
            "invalid value 1 for configuration segment.bytes: it must be at least 1048576",
        ),
        (
            set("segment.bytes", "1GiB"),
            "invalid value 1GiB for configuration segment.bytes: it must be a whole number",
        ),
        (
            set("cleanup.policy", "shred"),
            "invalid value shred for configuration cleanup.policy: it must be a list of compact, delete, each at most once",
        ),
        (
            Change { name: "retention.ms", op: AlterOp::Append, value: Some("1") },
            "configuration retention.ms is not a list: nothing can be appended to it",
        ),
        (
            set("remote.storage.enable", "true"),
            "configuration remote.storage.enable is refused: tiered storage is not there yet: records stay on local disks",
        ),
        (
            set("max.compaction.lag.ms", "${file:/etc/passwd}"),
            "invalid value ${file:/etc/passwd} for configuration max.compaction.lag.ms: it must be a whole number",
        ),
    ] {
        let error = topic(change);
        assert_eq!(error.to_string(), text);
        assert!(!error.is_invalid_request());
    }
    let none = topic(Change { name: "retention.ms", op: AlterOp::Set, value: None });
    assert!(none.is_invalid_request());
    let lags = [set("min.compaction.lag.ms", "9"), set("max.compaction.lag.ms", "8")];
    let error = validate_topic_change(&config, &Dynamic::default(), &BTreeMap::new(), &lags).unwrap_err();
    assert_eq!(error.to_string(), "min.compaction.lag.ms = 9 is more than max.compaction.lag.ms = 8");
}

#[test]
fn a_group_keeps_to_the_brokers_bounds_and_its_session_outlasts_its_heartbeat() {
    let config = with_set(Mode::Dev, &["group.consumer.min.heartbeat.interval.ms=1000"]);
    let (dynamic, nothing) = (Dynamic::default(), BTreeMap::new());
    let change = |name, value| validate_group_change(&config, &dynamic, &nothing, &[set(name, value)]);
    let after = change("consumer.heartbeat.interval.ms", "1000").unwrap();
    assert_eq!(after, map(&[("consumer.heartbeat.interval.ms", "1000")]));
    for (name, value, bound) in [
        ("consumer.heartbeat.interval.ms", "999", "group.consumer.min.heartbeat.interval.ms"),
        ("consumer.session.timeout.ms", "60001", "group.consumer.max.session.timeout.ms"),
        ("consumer.assignment.interval.ms", "15001", "group.consumer.max.assignment.interval.ms"),
    ] {
        let error = change(name, value).unwrap_err();
        assert!(error.to_string().contains(bound) && !error.is_invalid_request(), "{error}");
    }
    let loose = with_set(
        Mode::Dev,
        &["group.consumer.min.session.timeout.ms=1", "group.consumer.min.heartbeat.interval.ms=1"],
    );
    let changes = [set("consumer.session.timeout.ms", "5000")];
    let error = validate_group_change(&loose, &dynamic, &nothing, &changes).unwrap_err();
    assert!(error.to_string().contains("consumer.heartbeat.interval.ms = 5000"), "{error}");
    let rows = config.describe_group(&after, &dynamic);
    let told = row(&rows, "consumer.heartbeat.interval.ms");
    assert_eq!((told.value.as_deref(), told.source), (Some("1000"), ConfigSource::Group));
    assert_eq!(row(&rows, "consumer.session.timeout.ms").source, ConfigSource::Default);
    // A bound that came later takes nothing away: the value can still be deleted.
    let delete = [Change { name: "consumer.heartbeat.interval.ms", op: AlterOp::Delete, value: None }];
    assert_eq!(validate_group_change(&config, &dynamic, &after, &delete), Ok(BTreeMap::new()));
}

#[test]
fn a_broker_changes_at_run_time_only_what_may_change() {
    let config = with_set(Mode::Dev, &[]);
    let change = |scope, change: Change<'_>| {
        validate_broker_change(&config, scope, &BTreeMap::new(), &[change]).map_err(|error| error.to_string())
    };
    assert_eq!(
        change(BrokerScope::All, set("log.retention.ms", "5")).unwrap(),
        map(&[("log.retention.ms", "5")])
    );
    assert_eq!(
        change(BrokerScope::One, set("num.partitions", "5")).unwrap_err(),
        "configuration num.partitions cannot be changed at run time: set it in the broker's file and restart"
    );
    assert_eq!(
        change(BrokerScope::All, set("cordoned.log.dirs", "/a")).unwrap_err(),
        "configuration cordoned.log.dirs cannot be set for all brokers: set it for each"
    );
    assert!(
        change(BrokerScope::One, set("ssl.keystore.location", "/k.jks")).unwrap_err().contains("is refused")
    );
}

#[test]
fn the_log_cleaners_configuration_follows_its_dynamic_keys() {
    let defaults = load(&options(Mode::Dev)).unwrap().cleaner(&Dynamic::default());
    assert_eq!(defaults, CleanerConfig::default());
    let config = with_set(Mode::Dev, &["log.cleaner.threads=2", "log.cleaner.dedupe.buffer.size=1000"]);
    let fixed = config.cleaner(&Dynamic::default());
    assert_eq!((fixed.threads, fixed.dedupe_buffer_bytes), (2, 2 << 20), "a MiB for each thread at least");
    let cluster = map(&[("log.cleaner.backoff.ms", "7"), ("log.cleaner.io.max.bytes.per.second", "1000.5")]);
    let changed = config.cleaner(&Dynamic { broker: None, cluster: Some(&cluster) });
    let expected = CleanerConfig { backoff_ms: 7, io_max_bytes_per_second: 1000.5, ..fixed };
    assert_eq!(changed, expected);
}
