//! Compaction as clients and Apache Kafka's own tools see it. With `KETCD_TEST_BROKER` it checks that Apache Kafka keeps the same.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::broker::files_below;
use crate::family::Family;
use crate::fixture::{Cluster, with};
use crate::kafka_tools::Tools;
use crate::records::{Record, RecordSet};

/// A cleaner looks every fifteen seconds, and there is more than one topic.
const CLEAN_DEADLINE: Duration = Duration::from_secs(90);

/// Records of a few keys, some of them tombstones; each ten are far enough from those before for another segment. The last
/// one is in the active segment, which is not cleaned.
fn records() -> Vec<Record> {
    let mut records: Vec<Record> = (0u8..60)
        .map(|number| Record {
            key: Some(vec![b'k', b'a' + number % 11 * 7 % 11]),
            value: (number % 13 != 5).then(|| vec![b'0' + number % 10; 200]),
            headers: vec![("h".to_owned(), Some(vec![number])), ("h".to_owned(), None)],
            timestamp: Some(1_700_000_000_000 + i64::from(number / 10) * 100_000 + i64::from(number)),
        })
        .collect();
    let last = Record { timestamp: Some(1_700_010_000_000), ..records[0].clone() };
    records.push(last);
    records
}

/// The offsets that stay: the newest of every key, and the active segment.
fn kept(records: &[Record]) -> Vec<usize> {
    let active = records.len() - 1;
    let newest: BTreeMap<_, _> =
        records.iter().enumerate().take(active).map(|(at, record)| (&record.key, at)).collect();
    let mut kept: Vec<usize> = newest.into_values().chain([active]).collect();
    kept.sort_unstable();
    kept
}

fn wait_until_clean(cluster: &Cluster, topic: &str, records: &[Record]) {
    let expected: Vec<Value> = kept(records)
        .into_iter()
        .map(|at| {
            let mut seen = records[at].as_seen_by(Family::Java);
            seen["offset"] = json!(at);
            seen
        })
        .collect();
    let consume =
        json!({"do": "consume", "topic": topic, "partition": 0, "from": 0, "count": expected.len()});
    let deadline = Instant::now() + CLEAN_DEADLINE;
    loop {
        let mut answer = cluster.ask(Family::Java, &consume);
        let seen = answer["records"].as_array_mut().expect("records");
        for record in seen.iter_mut() {
            record.as_object_mut().expect("an object").remove("timestamp_type");
        }
        if *seen == expected {
            return;
        }
        assert!(Instant::now() < deadline, "{topic} still has {seen:#?}\nexpected {expected:#?}");
        std::thread::sleep(Duration::from_millis(300));
    }
}

#[test]
fn a_compacted_topic_keeps_what_kafka_keeps_and_kafkas_tools_read_it() {
    let Some(cluster) = with(Family::Java) else { return };
    let records = records();
    // One request, and so one batch, for each of them.
    let sets: Vec<RecordSet> = records
        .chunks(10)
        .enumerate()
        .map(|(number, chunk)| RecordSet::new(&format!("compacted-{number}.json"), chunk.to_vec()))
        .collect();
    let topics: Vec<(String, &str)> = ["none", "gzip", "snappy", "lz4", "zstd"]
        .into_iter()
        .map(|codec| (format!("compacted-{codec}"), codec))
        .collect();
    for (topic, codec) in &topics {
        let configs =
            json!({"cleanup.policy": "compact", "segment.ms": "50000", "min.cleanable.dirty.ratio": "0.01"});
        cluster.create_topic(Family::Java, topic, 1, &configs);
        for set in &sets {
            let produce = json!({
                "do": "produce", "topic": topic, "partition": 0, "file": set.file,
                "codec": codec, "acks": -1, "idempotence": true,
            });
            cluster.ask(Family::Java, &produce);
        }
    }
    for (topic, _) in &topics {
        wait_until_clean(cluster, topic, &records);
    }
    let Some(data) = cluster.data() else { return };
    let Some(mut tools) = Tools::here() else { return };
    for (topic, codec) in &topics {
        let directory = format!("{topic}-0");
        let mut logs = files_below(data, ".log");
        logs.retain(|path| path.parent().and_then(Path::file_name).is_some_and(|name| *name == *directory));
        // The active segment ends in zeros, which the tool takes for records.
        logs.pop();
        let of_topic = |extension: &str| {
            let files: Vec<_> =
                logs.iter().map(|log| log.with_extension(extension).display().to_string()).collect();
            assert!(!files.is_empty(), "no sealed segment of {topic}");
            files.join(",")
        };
        let dump = tools.run("DumpLogSegments", &["--deep-iteration", "--files", &of_topic("log")]);
        assert!(!dump.contains("isvalid: false"), "{dump}");
        assert!(dump.contains(&format!("compresscodec: {codec}")), "{dump}");
        assert!(dump.contains("deleteHorizonMs: OptionalLong["), "tombstones have a horizon: {dump}");
        let offsets: Vec<usize> = dump
            .lines()
            .filter_map(|line| line.strip_prefix("| offset: ")?.split(' ').next()?.parse().ok())
            .collect();
        let mut expected = kept(&records);
        expected.pop();
        assert_eq!(offsets, expected, "{dump}");
        let indexes = format!("{},{}", of_topic("timeindex"), of_topic("index"));
        let sane = tools.run("DumpLogSegments", &["--index-sanity-check", "--files", &indexes]);
        assert!(!sane.contains("Found"), "{sane}");
    }
}
