//! The admin port of the real broker: health, version, and numbers that Prometheus can read.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use ketcd::protocol::error::ErrorCode;

use crate::kafka::{self, Producer};
use crate::node::Node;

/// Families that must be there on a broker that served a produce and a fetch.
const EXPECTED: &[&str] = &[
    "ketcd_build_info",
    "ketcd_broker_partitions",
    "ketcd_broker_produced_bytes_total",
    "ketcd_broker_fetched_bytes_total",
    "ketcd_controller_active",
    "ketcd_log_size_bytes",
    "ketcd_log_offline_directories",
    "ketcd_log_directory_free_bytes",
    "ketcd_metadata_reachable",
    "ketcd_metadata_outage_seconds_total",
    "ketcd_server_connections_open",
    "ketcd_server_request_duration_seconds_bucket",
    "ketcd_server_request_errors_total",
    "ketcd_sys_blocked_calls_total",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_port_answers_with_health_version_and_well_formed_metrics() {
    let data = tempfile::tempdir().unwrap();
    let node = Node::dev(data.path(), &[]).started();
    for path in ["/livez", "/readyz", "/startupz", "/healthz"] {
        assert_eq!(node.admin(path).0, 200, "{path}");
        let (_, verbose) = node.admin(&format!("{path}?verbose"));
        assert!(verbose.contains("[+]"), "{path}: {verbose}");
    }
    let (_, ready) = node.admin("/readyz?verbose");
    assert!(ready.contains("[+]etcd ok: reachable"), "{ready}");
    let (status, version) = node.admin("/version");
    assert_eq!(status, 200);
    let version: serde_json::Value = serde_json::from_str(&version).unwrap();
    assert_eq!(version["version"], env!("CARGO_PKG_VERSION"));
    assert!(version.to_string().contains("luster"), "with the cluster's id: {version}");
    assert_eq!(node.admin("/nothing").0, 404);

    let bootstrap = node.bootstrap();
    kafka::created(&bootstrap, "t", 3, &[]).await;
    let mut producer = Producer::new(&bootstrap, "t", 0, 100).await;
    producer.send(10).await;
    assert_eq!(kafka::read_all(&bootstrap, "t", 0, 0).await.len(), 10);
    // An error answer, so that the errors have a series.
    let mut peer = kafka::connect(&bootstrap).await.unwrap();
    let error = kafka::fetch(&mut peer, "t", 9, 0, Duration::ZERO).await.unwrap().unwrap_err();
    assert_eq!(error, ErrorCode::UnknownTopicOrPartition);

    let (status, text) = node.admin("/metrics");
    assert_eq!(status, 200);
    let families = parse(&text);
    for name in EXPECTED {
        assert!(families.contains(*name), "{name} is missing in\n{text}");
    }
    assert!(node.metric("ketcd_broker_partitions") == 3.0, "{text}");
    assert!(node.metric("ketcd_metadata_reachable") == 1.0);
    assert!(node.metric("ketcd_controller_active") == 1.0);
    assert!(node.metric("ketcd_sys_blocked_calls_total") == 0.0);
    assert!(node.metric("ketcd_broker_produced_records_total") == 10.0);
}

/// Reads Prometheus' text format strictly: the sample names, after a check of every line.
fn parse(text: &str) -> BTreeSet<String> {
    let mut types = BTreeMap::new();
    let mut helped = BTreeSet::new();
    let mut series = BTreeSet::new();
    let mut samples = BTreeSet::new();
    let mut family = String::new();
    let mut closed = BTreeSet::new();
    assert!(text.ends_with('\n'), "the last line ends");
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a help text");
            assert!(helped.insert(name.to_owned()), "two help lines of {name}");
            assert!(!help.trim().is_empty(), "{name} has no help");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a type");
            assert!(["counter", "gauge", "histogram", "summary", "untyped"].contains(&kind), "{line}");
            assert!(types.insert(name.to_owned(), kind.to_owned()).is_none(), "{name} has two types");
            assert!(name.starts_with("ketcd_") || name.starts_with("process_"), "{name}");
            assert!(kind != "counter" || name.ends_with("_total"), "a counter ends in _total: {name}");
        } else if !line.is_empty() && !line.starts_with('#') {
            let (key, value) = line.rsplit_once(' ').expect("a name and a value");
            assert!(value.parse::<f64>().is_ok() || value == "+Inf" || value == "NaN", "{line}");
            assert!(series.insert(key.to_owned()), "the series {key} is there twice");
            let name = key.split('{').next().unwrap();
            assert!(
                name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_'),
                "the name {name}"
            );
            if key.len() > name.len() {
                assert!(
                    key.ends_with('}') && labels_are_well_formed(&key[name.len() + 1..key.len() - 1]),
                    "{line}"
                );
            }
            let stem = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            let own = stem.filter(|stem| types.contains_key(*stem)).unwrap_or(name);
            assert!(types.contains_key(own), "{name} has no type line before it");
            assert!(helped.contains(own), "{name} has no help line before it");
            if own != family {
                assert!(closed.insert(own.to_owned()), "the samples of {own} are not together");
                family = own.to_owned();
            }
            samples.insert(name.to_owned());
        }
    }
    samples
}

fn labels_are_well_formed(labels: &str) -> bool {
    let mut rest = labels;
    loop {
        let Some((name, after)) = rest.split_once("=\"") else { return false };
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return false;
        }
        let mut escaped = false;
        let end = after.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let Some(end) = end else { return false };
        match after[end + 1..].strip_prefix(',') {
            Some(next) => rest = next,
            None => return after[end + 1..].is_empty(),
        }
    }
}
