//! The network commands on a running broker, one for each test.

use std::io::{BufRead as _, BufReader};

use serde_json::{Value, json};

use crate::program::{Broker, ketcd, run};

/// A topic of this test run: the broker may be one that goes on.
fn name(what: &str) -> String {
    format!("cli-{what}-{}", std::process::id())
}

fn lines(out: &str) -> Vec<Value> {
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_topic_lives_from_create_to_delete() {
    let broker = Broker::start();
    let topic = name("life");
    let created =
        broker.run(&["topic", "create", &topic, "-p", "2", "-c", "retention.ms=1000", "-o", "json"]).json();
    assert_eq!(created[0]["name"], topic);
    assert_eq!(created[0]["partitions"], 2);
    assert_eq!(created[0]["created"], true);
    let again = broker.run(&["topic", "create", &topic]);
    assert_eq!(again.code, 1, "{again:?}");
    assert!(again.stderr.contains("TOPIC_ALREADY_EXISTS") && again.stderr.contains("help: "), "{again:?}");
    let allowed = broker.run(&["topic", "create", &topic, "--if-not-exists", "-o", "json"]).json();
    assert_eq!(allowed[0]["created"], false);
    let listed = broker.run(&["topic", "list", "-o", "json"]).json();
    assert!(listed.as_array().unwrap().iter().any(|row| row["name"] == topic.as_str()), "{listed}");
    broker
        .run(&[
            "topic",
            "alter",
            &topic,
            "-p",
            "3",
            "-c",
            "segment.bytes=1048576",
            "--delete-config",
            "retention.ms",
        ])
        .ok();
    let described = broker.run(&["topic", "describe", &topic, "-o", "json"]).json();
    assert_eq!(described[0]["partitions"].as_array().unwrap().len(), 3);
    assert_eq!(described[0]["configs"], json!({"segment.bytes": "1048576"}));
    let partition = &described[0]["partitions"][0];
    assert_eq!((&partition["start_offset"], &partition["end_offset"]), (&json!(0), &json!(0)));
    broker.run(&["topic", "delete", &topic, "--yes"]).ok();
    let gone = broker.run(&["topic", "describe", &topic]);
    assert_eq!(gone.code, 1, "{gone:?}");
    assert_eq!(
        gone.stderr,
        format!(
            "error: topic {topic:?} does not exist\n  --> {}\nhelp: create it: ketcd topic create {topic}\n      \
             see what there is: ketcd topic list\n",
            broker.address
        )
    );
    broker.run(&["topic", "delete", &topic, "--yes", "--if-exists"]).ok();
}

#[test]
fn records_come_back_as_they_were_sent_with_every_codec() {
    let broker = Broker::start();
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = name(codec);
        broker.run(&["topic", "create", &topic, "-p", "1"]).ok();
        let sent = [
            "topic", "produce", &topic, "-k", ":", "-Z", "-z", codec, "-H", "a=1", "-H", "a=2", "-o", "json",
        ];
        let produced = broker.run_with(&sent, "k:v\n:only value\nonly key:\n").json();
        assert_eq!(
            produced,
            json!({"topic": topic, "records": 3, "partitions": [{"partition": 0, "records": 3, "first_offset": 0, "last_offset": 2}]})
        );
        let read = broker.run(&["topic", "consume", &topic, "--from", "start", "-e", "-o", "json"]).ok();
        let read = lines(&read);
        let pairs: Vec<_> =
            read.iter().map(|record| (record["key"].clone(), record["value"].clone())).collect();
        assert_eq!(
            pairs,
            [(json!("k"), json!("v")), (Value::Null, json!("only value")), (json!("only key"), Value::Null)]
        );
        assert_eq!(read[0]["headers"], json!([{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]));
        assert_eq!(read[2]["offset"], 2);
    }
}

#[test]
fn consuming_begins_and_ends_where_it_is_told() {
    let broker = Broker::start();
    let topic = name("where");
    broker.run(&["topic", "create", &topic, "-p", "1"]).ok();
    let numbers: String = (0..5000).map(|n| format!("{n}\n")).collect();
    broker.run_with(&["topic", "produce", &topic, "--idempotent", "--batch-bytes", "2000"], &numbers).ok();
    let consume = |args: &[&str]| {
        let all: Vec<&str> = ["topic", "consume", &topic].into_iter().chain(args.iter().copied()).collect();
        broker.run(&all).ok()
    };
    assert_eq!(consume(&["--from", "start", "-e"]), numbers);
    assert_eq!(consume(&["--from", "4998", "-e"]), "4998\n4999\n");
    assert_eq!(consume(&["--from", "-1", "-e", "-f", "%o=%s;"]), "4999=4999;");
    assert_eq!(consume(&["--from", "start", "-n", "2"]), "0\n1\n");
    assert_eq!(consume(&["--from", "end", "-e"]), "");
    assert_eq!(consume(&["--from", "1h", "-e"]), numbers);
    let beyond = broker.run(&["topic", "consume", &topic, "--from", "99999", "--partition", "0"]);
    assert_eq!(beyond.code, 1, "{beyond:?}");
    let partition = broker.run(&["topic", "consume", &topic, "--partition", "7"]);
    assert!(partition.code == 1 && partition.stderr.contains("its partitions are 0 to 0"), "{partition:?}");
    let trimmed = broker.run(&["topic", "trim", &topic, "--before", "4000", "--yes", "-o", "json"]).json();
    assert_eq!(trimmed, json!([{"partition": 0, "start_offset": 4000}]));
    assert_eq!(consume(&["--from", "start", "-n", "1"]), "4000\n");
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let broker = Broker::start();
    let topic = name("pipe");
    broker.run(&["topic", "create", &topic, "-p", "1"]).ok();
    let numbers: String = (0..200_000).map(|n| format!("{n}\n")).collect();
    broker.run_with(&["topic", "produce", &topic], &numbers).ok();
    let mut child = ketcd()
        .args(["topic", "consume", &topic, "--from", "start", "-e", "-b", &broker.address])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

#[test]
fn the_cluster_is_one_screen_and_healthy() {
    let broker = Broker::start();
    let screen = broker.run(&["cluster"]).ok();
    assert!(screen.starts_with("cluster ") && screen.contains("  healthy  1 broker  "), "{screen}");
    assert!(screen.contains("ID  ADDRESS"), "{screen}");
    let report = broker.run(&["cluster", "-o", "json"]).json();
    assert_eq!(report["healthy"], true);
    assert_eq!(report["brokers"][0]["reachable"], true);
    assert!(report["brokers"][0]["size_bytes"].is_u64(), "{report}");
    assert!(report["cluster_id"].is_string(), "{report}");
    broker.run(&["cluster", "health"]).ok();
}

#[test]
fn a_broker_is_drained_taken_back_and_forgotten_only_when_it_is_away() {
    let broker = Broker::start();
    let topic = name("drain");
    broker.run(&["topic", "create", &topic, "-p", "2"]).ok();
    let drained = broker.run(&["cluster", "drain", "0", "-o", "json"]).json();
    assert_eq!((&drained["draining"], &drained["waiting"]), (&json!(true), &json!(0)), "{drained}");
    assert!(drained["leaders"].as_u64() >= Some(2), "nobody else has a copy: {drained}");
    let undone = broker.run(&["cluster", "drain", "0", "--undo"]).ok();
    assert!(undone.starts_with("broker 0 takes leaderships again"), "{undone}");
    let nobody = broker.run(&["cluster", "drain", "7"]);
    assert!(nobody.code == 1 && nobody.stderr.contains("broker 7 is not in the cluster"), "{nobody:?}");
    let alive = broker.run(&["cluster", "unregister", "0"]);
    assert!(alive.code == 1 && alive.stderr.contains("stop it first"), "{alive:?}");
    let unknown = broker.run(&["cluster", "unregister", "7"]);
    assert!(unknown.code == 1 && unknown.stderr.contains("BROKER_ID_NOT_REGISTERED"), "{unknown:?}");
}

#[test]
fn why_tells_who_leads_a_partition_and_what_was_done_to_it() {
    let broker = Broker::start();
    let Some(etcd) = broker.etcd.as_deref() else { return };
    let topic = name("why");
    broker.run(&["topic", "create", &topic, "-p", "1"]).ok();
    let why = |partition: &str| run(&["why", &format!("{topic}-{partition}"), "--etcd", etcd, "-o", "json"]);
    let report = why("0").json();
    assert_eq!((&report["leader"], &report["led"]), (&json!(0), &json!(true)), "{report}");
    assert_eq!(report["why"], "as the topic was created");
    let replica = &report["replicas"][0];
    assert_eq!((&replica["member"], &replica["standing"]), (&json!("isr"), &json!("counts")), "{report}");
    let missing = why("1");
    assert!(missing.code == 1 && missing.stderr.contains("has 1 partition"), "{missing:?}");
    let unnamed = run(&["why", "nothing", "--etcd", etcd]);
    assert!(unnamed.code == 2 && unnamed.stderr.contains("TOPIC-NUMBER"), "{unnamed:?}");
}

#[test]
fn perf_measures_what_it_says() {
    let broker = Broker::start();
    let topic = name("perf");
    let quick = ["--topic", &topic, "--warmup", "100ms", "-o", "json"];
    let perf = |args: &[&str]| {
        let all: Vec<&str> = ["perf"].into_iter().chain(args.iter().copied()).chain(quick).collect();
        broker.run(&all).json()
    };
    let produced = perf(&["produce", "--batch-bytes", "16384", "--records", "2000", "--connections", "2"]);
    assert!(produced["records"].as_u64().unwrap() >= 2000, "{produced}");
    assert_eq!(produced["settings"]["acks"], 1);
    assert!(produced["latency_us"]["p50"].as_f64().unwrap() > 0.0, "{produced}");
    let consumed = perf(&["consume", "--check-crc", "--duration", "300ms"]);
    assert!(consumed["bytes"].as_u64().unwrap() > 0, "{consumed}");
    let e2e = name("e2e");
    let measured = broker
        .run(&[
            "perf",
            "e2e",
            "--topic",
            &e2e,
            "--rate",
            "200",
            "--duration",
            "1s",
            "--warmup",
            "100ms",
            "--delete",
            "-o",
            "json",
        ])
        .json();
    assert!(measured["end_to_end_us"]["count"].as_u64().unwrap() > 50, "{measured}");
}

#[test]
fn metadata_and_who_changed_it_are_shown_and_watched() {
    let broker = Broker::start();
    let Some(etcd) = broker.etcd.as_deref() else { return };
    let before = run(&["meta", "get", "--etcd", etcd, "-o", "json"]).json();
    let revision =
        before.as_array().unwrap().iter().map(|entry| entry["mod_revision"].as_i64().unwrap()).max();
    let mut watch = ketcd()
        .args(["meta", "watch", "--etcd", etcd, "--from", &revision.unwrap().to_string(), "-o", "json"])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let topic = name("meta");
    broker.run(&["topic", "create", &topic]).ok();
    let shown = run(&["meta", "get", &topic, "--etcd", etcd]).ok();
    assert!(shown.starts_with("KEY") && shown.contains(&format!("topics/name/{topic}")), "{shown}");
    let mut lines = BufReader::new(watch.stdout.take().unwrap()).lines();
    let change = lines.find(|line| line.as_ref().unwrap().contains(&topic)).unwrap().unwrap();
    let change: Value = serde_json::from_str(&change).unwrap();
    assert!(change["mod_revision"].as_i64() > revision, "{change}");
    let audited = format!("created topic {topic} with 1 partitions");
    let entry = lines.find(|line| line.as_ref().unwrap().contains(&audited)).unwrap().unwrap();
    let entry: Value = serde_json::from_str(&entry).unwrap();
    assert!(entry["key"].as_str().unwrap().contains("/audit/"), "{entry}");
    assert!(entry.to_string().contains("ketcd-cli@127.0.0.1"), "{entry}");
    watch.kill().unwrap();
    watch.wait().unwrap();
}

#[test]
fn the_files_of_a_running_broker_verify() {
    let broker = Broker::start();
    let Some(data) = broker.data() else { return };
    let topic = name("files");
    broker
        .run(&[
            "topic",
            "create",
            &topic,
            "-p",
            "1",
            "-c",
            "segment.bytes=1048576",
            "-c",
            "index.interval.bytes=4096",
        ])
        .ok();
    let values: String = (0..30_000).map(|n| format!("{n:0100}\n")).collect();
    broker.run_with(&["topic", "produce", &topic, "--batch-bytes", "16384", "--idempotent"], &values).ok();
    let verdicts = run(&["log", "verify", data.to_str().unwrap(), "--records", "-o", "json"]).json();
    let ours: Vec<&Value> = verdicts
        .as_array()
        .unwrap()
        .iter()
        .filter(|v| v["file"].as_str().unwrap().starts_with(&topic))
        .collect();
    assert!(ours.len() >= 3, "{verdicts}");
    assert_eq!(ours.iter().map(|v| v["records"].as_u64().unwrap()).sum::<u64>(), 30_000);
    assert!(ours[0]["index_entries"].as_u64().unwrap() > 10, "{verdicts}");
    assert!(ours[0]["time_index_entries"].as_u64().unwrap() > 0, "{verdicts}");
}

#[test]
fn a_consumer_goes_on_where_it_was_when_the_broker_is_killed_and_comes_back() {
    let Some(broker) = Broker::with_data() else { return };
    let topic = name("restart");
    broker.run(&["topic", "create", &topic, "-p", "1"]).ok();
    broker.run_with(&["topic", "produce", &topic], "1\n2\n").ok();
    let mut consumer = ketcd()
        .args(["topic", "consume", &topic, "--from", "start", "-n", "4", "--timeout", "20s"])
        .args(["-b", &broker.address])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(consumer.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!((lines.next(), lines.next()), (Some("1".to_owned()), Some("2".to_owned())));
    let broker = broker.kill_and_restart();
    broker.run_with(&["topic", "produce", &topic, "--timeout", "20s"], "3\n4\n").ok();
    assert_eq!(lines.collect::<Vec<_>>(), ["3", "4"]);
    assert_eq!(consumer.wait().unwrap().code(), Some(0));
}
