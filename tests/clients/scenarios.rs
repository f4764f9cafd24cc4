//! What must be true for every client: one function for each, told which client it is about.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};

use crate::broker::Broker;
use crate::family::Family;
use crate::fixture::{Cluster, with};
use crate::records::{FIRST_TIMESTAMP, Record, RecordSet, decode};
use crate::skip::skip;
use crate::stored;

pub const CODECS: [&str; 5] = ["none", "gzip", "snappy", "lz4", "zstd"];
/// acks and idempotence that go together; -1 is `all`.
const ACKNOWLEDGEMENTS: [(i64, bool); 4] = [(-1, true), (-1, false), (1, false), (0, false)];

const TOPIC_ALREADY_EXISTS: i64 = 36;
const UNKNOWN_TOPIC_OR_PARTITION: i64 = 3;
const INVALID_PARTITIONS: i64 = 37;

/// Settings of topics whose records have old timestamps: time must not delete them.
fn kept_forever() -> Value {
    json!({"retention.ms": "-1"})
}

pub fn administers_topics(family: Family) {
    let Some(cluster) = with(family) else { return };
    let topic = format!("{}-administered", family.name());
    let about = |what: &str| json!({"do": what, "topic": topic});
    let ask = |command: Value| cluster.ask(family, &command);

    let settings = json!({"retention.ms": "86400000", "max.message.bytes": "2000000"});
    let create = json!({"do": "create_topic", "topic": topic, "partitions": 2, "configs": settings});
    ask(create.clone());
    assert_eq!(cluster.refused(family, &create), TOPIC_ALREADY_EXISTS);

    let listed = |answer: &Value| answer["topics"].as_array().is_some_and(|t| t.contains(&json!(topic)));
    cluster.until(family, &json!({"do": "list_topics"}), listed);
    let described = cluster.until(family, &about("describe_topic"), |answer| answer["partitions"] == 2);
    let leaders = described["leaders"].as_array().expect("leaders");
    assert!(leaders.iter().all(|leader| leader.as_i64().is_some_and(|id| id >= 0)), "{described}");

    let configs = cluster.until(family, &about("describe_configs"), |answer| answer.get("configs").is_some());
    assert_eq!(configs["configs"]["retention.ms"], "86400000");
    assert_eq!(configs["configs"]["max.message.bytes"], "2000000");
    assert_eq!(configs["configs"]["cleanup.policy"], "delete");
    ask(json!({"do": "alter_configs", "topic": topic, "configs": {"retention.ms": "3600000"}}));
    let configs = cluster
        .until(family, &about("describe_configs"), |answer| answer["configs"]["retention.ms"] == "3600000");
    // AlterConfigs replaces all settings of the topic, IncrementalAlterConfigs only those named.
    let expected = if family.alters_incrementally() { "2000000" } else { "1048588" };
    assert_eq!(configs["configs"]["max.message.bytes"], expected);

    ask(json!({"do": "create_partitions", "topic": topic, "total": 4}));
    cluster.until(family, &about("describe_topic"), |answer| answer["partitions"] == 4);
    let fewer = json!({"do": "create_partitions", "topic": topic, "total": 3});
    assert_eq!(cluster.refused(family, &fewer), INVALID_PARTITIONS);

    ask(about("delete_topic"));
    cluster.until(family, &json!({"do": "list_topics"}), |answer| !listed(answer));
    assert_eq!(cluster.refused(family, &about("delete_topic")), UNKNOWN_TOPIC_OR_PARTITION);
}

/// In a topic of its own: a producer may ask for a topic that it wrote to once more, and so make it again after it
/// was deleted.
pub fn deletes_records_before_an_offset(family: Family) {
    let Some(cluster) = with(family) else { return };
    let topic = format!("{}-shortened", family.name());
    let ask = |command: Value| cluster.ask(family, &command);
    cluster.create_topic(family, &topic, 4, &json!({}));
    ask(json!({"do": "produce_numbers", "topic": topic, "partitions": 4, "count": 40}));
    let deleted = ask(json!({"do": "delete_records", "topic": topic, "partition": 1, "before": 6}));
    assert_eq!(deleted["low_watermark"], 6);
    let offsets = ask(json!({"do": "offsets", "topic": topic, "partition": 1}));
    assert_eq!((&offsets["begin"], &offsets["end"]), (&json!(6), &json!(10)));
    let offsets = ask(json!({"do": "offsets", "topic": topic, "partition": 2}));
    assert_eq!((&offsets["begin"], &offsets["end"]), (&json!(0), &json!(10)));
}

pub fn writes_and_reads_with_default_settings(family: Family) {
    let Some(cluster) = with(family) else { return };
    let topic = format!("{}-default", family.name());
    writes_and_reads(cluster, family, &topic, None);
    if let Some(data) = cluster.data() {
        let batches = stored::batches(data, &topic, 0);
        let expected = family.idempotent_by_default();
        assert!(batches.iter().all(|batch| batch.idempotent == expected), "{batches:?}");
    }
}

pub fn writes_and_reads_with_idempotence(family: Family) {
    let Some(cluster) = with(family) else { return };
    let topic = format!("{}-idempotent", family.name());
    writes_and_reads(cluster, family, &topic, Some(true));
    if let Some(data) = cluster.data() {
        let batches = stored::batches(data, &topic, 0);
        assert!(!batches.is_empty() && batches.iter().all(|batch| batch.idempotent), "{batches:?}");
    }
}

fn writes_and_reads(cluster: &Cluster, family: Family, topic: &str, idempotence: Option<bool>) {
    cluster.create_topic(family, topic, 1, &kept_forever());
    let set = RecordSet::standard(family);
    write(cluster, family, topic, set, &json!({"codec": null, "acks": null, "idempotence": idempotence}));
    let written: Vec<Record> = set.records.iter().map(|record| record.as_written_by(family)).collect();
    expect_records(cluster, family, cluster.reader(family), topic, &written);
    let ends = cluster.ask(family, &json!({"do": "offsets", "topic": topic, "partition": 0}));
    assert_eq!((&ends["begin"], &ends["end"]), (&json!(0), &json!(set.records.len())));
    // Reading can begin anywhere.
    let reader = cluster.reader(family);
    let from = set.records.len() - 1;
    let last = json!({"do": "consume", "topic": topic, "partition": 0, "from": from, "count": 1});
    let last = cluster.ask(reader, &last);
    assert_eq!(last["records"][0]["offset"], from);
    assert_eq!(last["records"][0]["value"], written[from].as_seen_by(reader)["value"]);
}

/// Writes `set` to partition 0; the offsets that the client learnt, where it did, follow one another.
fn write(cluster: &Cluster, family: Family, topic: &str, set: &RecordSet, settings: &Value) {
    let mut produce = json!({"do": "produce", "topic": topic, "partition": 0, "file": set.file});
    for (name, value) in settings.as_object().expect("settings") {
        produce[name] = value.clone();
    }
    let answer = cluster.ask(family, &produce);
    let offsets: Vec<i64> =
        answer["offsets"].as_array().expect("offsets").iter().filter_map(Value::as_i64).collect();
    assert_eq!(offsets.len(), set.records.len());
    let known = offsets.iter().all(|offset| *offset >= 0) && settings["acks"] != 0;
    if known {
        assert!(offsets.windows(2).all(|pair| pair[1] == pair[0] + 1), "{offsets:?}");
    }
}

/// Partition 0 of `topic` holds exactly `written`, from offset 0, as `reader` sees it.
fn expect_records(cluster: &Cluster, writer: Family, reader: Family, topic: &str, written: &[Record]) {
    let consume = json!({"do": "consume", "topic": topic, "partition": 0, "from": 0, "count": written.len()});
    let answer = cluster.ask(reader, &consume);
    let seen = answer["records"].as_array().expect("records");
    assert_eq!(seen.len(), written.len());
    for (number, (seen, written)) in seen.iter().zip(written).enumerate() {
        let mut seen = seen.clone();
        let who = format!("record {number} from {} by {}", writer.name(), reader.name());
        assert_eq!(seen["offset"], number, "{who}");
        seen.as_object_mut().expect("an object").remove("offset");
        if let Some(kind) = seen.as_object_mut().expect("an object").remove("timestamp_type") {
            assert_eq!(kind, 0, "{who}: CreateTime");
        }
        let mut expected = written.as_seen_by(reader);
        if written.timestamp.is_none() {
            let timestamp = seen["timestamp"].as_i64().expect("a timestamp");
            assert!((now_ms() - timestamp).abs() < 600_000, "{who}: timestamp {timestamp} is not now");
            expected["timestamp"] = seen["timestamp"].clone();
        }
        assert_eq!(seen, expected, "{who}");
    }
}

pub fn writes_every_codec_with_every_acknowledgement(family: Family) {
    let Some(cluster) = with(family) else { return };
    let set = RecordSet::small();
    for codec in CODECS {
        let topic = format!("{}-acks-{codec}", family.name());
        cluster.create_topic(family, &topic, 1, &json!({}));
        let mut expected = Vec::new();
        for (acks, idempotence) in ACKNOWLEDGEMENTS {
            write(
                cluster,
                family,
                &topic,
                set,
                &json!({"codec": codec, "acks": acks, "idempotence": idempotence}),
            );
            expected.extend(set.records.iter().cloned());
            // acks=0 tells nothing: its records are there when they are there.
            let ends = json!({"do": "offsets", "topic": topic, "partition": 0});
            cluster.until(family, &ends, |answer| answer["end"] == expected.len());
        }
        expect_records(cluster, family, cluster.reader(family), &topic, &expected);
        if let Some(data) = cluster.data() {
            let batches = stored::batches(data, &topic, 0);
            assert!(
                !batches.is_empty() && batches.iter().all(|batch| batch.codec == codec),
                "{codec}: {batches:?}"
            );
        }
    }
}

/// Each client writes the standard records once in every codec; the topics are shared by all readers. False when
/// the client failed at it before, in another reader's case.
fn written_by(cluster: &Cluster, writer: Family) -> bool {
    static WRITTEN: Mutex<BTreeMap<Family, bool>> = Mutex::new(BTreeMap::new());
    let mut written = WRITTEN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(complete) = written.get(&writer) {
        return *complete;
    }
    written.insert(writer, false);
    for codec in CODECS {
        let topic = written_topic(writer, codec);
        let settings = json!({"codec": codec, "acks": -1, "idempotence": true});
        cluster.create_topic(writer, &topic, 1, &kept_forever());
        write(cluster, writer, &topic, RecordSet::standard(writer), &settings);
        if let Some(data) = cluster.data() {
            let batches = stored::batches(data, &topic, 0);
            // A client may send what a codec does not make smaller as it is.
            assert!(batches.iter().any(|batch| batch.codec == codec), "{codec}: {batches:?}");
        }
    }
    written.insert(writer, true);
    true
}

fn written_topic(writer: Family, codec: &str) -> String {
    format!("{}-wrote-{codec}", writer.name())
}

pub fn reads_what_every_client_wrote(reader: Family) {
    let Some(cluster) = with(reader) else { return };
    let mut unwritten = Vec::new();
    for writer in Family::ALL {
        if let Some(why) = writer.missing() {
            skip(&format!("as written by {}: {why}", writer.name()));
            continue;
        }
        if !written_by(cluster, writer) {
            unwritten.push(writer);
            continue;
        }
        let records = &RecordSet::standard(writer).records;
        let written: Vec<Record> = records.iter().map(|record| record.as_written_by(writer)).collect();
        for codec in CODECS {
            expect_records(cluster, writer, reader, &written_topic(writer, codec), &written);
        }
    }
    assert!(unwritten.is_empty(), "these could not write: {unwritten:?}");
}

pub fn the_broker_sets_timestamps_where_the_topic_says_so(family: Family) {
    let Some(cluster) = with(family) else { return };
    let topic = format!("{}-append-time", family.name());
    cluster.create_topic(family, &topic, 1, &json!({"message.timestamp.type": "LogAppendTime"}));
    let set = RecordSet::standard(family);
    let before = now_ms();
    write(cluster, family, &topic, set, &json!({"codec": "lz4", "acks": -1, "idempotence": null}));
    let after = now_ms();
    let reader = cluster.reader(family);
    let consume =
        json!({"do": "consume", "topic": topic, "partition": 0, "from": 0, "count": set.records.len()});
    for (seen, written) in
        cluster.ask(reader, &consume)["records"].as_array().expect("records").iter().zip(&set.records)
    {
        let timestamp = seen["timestamp"].as_i64().expect("a timestamp");
        assert!((before..=after).contains(&timestamp), "{timestamp} is not in {before}..={after}");
        if let Some(kind) = seen.get("timestamp_type") {
            assert_eq!(*kind, 1, "LogAppendTime");
        }
        let expected = written.as_written_by(family).as_seen_by(reader);
        assert_eq!((&seen["key"], &seen["value"]), (&expected["key"], &expected["value"]));
    }
}

pub fn finds_offsets_by_time(family: Family) {
    let Some(cluster) = with(family) else { return };
    let topic = format!("{}-times", family.name());
    // kcat cannot set timestamps.
    let writer = if family == Family::Kcat { cluster.creator() } else { family };
    cluster.create_topic(writer, &topic, 1, &kept_forever());
    let set = RecordSet::standard(writer);
    write(cluster, writer, &topic, set, &json!({"codec": "gzip", "acks": -1, "idempotence": null}));
    let at = |timestamp: i64| {
        let command =
            json!({"do": "offset_for_time", "topic": topic, "partition": 0, "timestamp": timestamp});
        cluster.ask(family, &command)["offset"].clone()
    };
    assert_eq!(at(0), 0);
    assert_eq!(at(FIRST_TIMESTAMP), 0);
    assert_eq!(at(FIRST_TIMESTAMP + 1), 1);
    assert_eq!(at(FIRST_TIMESTAMP + 3500), 4);
    // Number 5 is as early as number 2: the first record that is late enough is number 6.
    assert_eq!(at(FIRST_TIMESTAMP + 4001), 6);
    let last = i64::try_from(set.records.len() - 1).expect("a small number");
    assert_eq!(at(FIRST_TIMESTAMP + last * 1000), last);
    // After the last record there is none: kafkajs answers with the end of the log itself.
    let none = if family == Family::Kafkajs { json!(set.records.len()) } else { Value::Null };
    assert_eq!(at(FIRST_TIMESTAMP + last * 1000 + 1), none);
}

pub fn keeps_the_order_of_thousands_of_records_in_three_partitions(family: Family) {
    const COUNT: usize = 6000;
    let Some(cluster) = with(family) else { return };
    let topic = format!("{}-order", family.name());
    cluster.create_topic(family, &topic, 3, &json!({}));
    cluster.ask(family, &json!({"do": "produce_numbers", "topic": topic, "partitions": 3, "count": COUNT}));
    for partition in 0..3 {
        let expected: Vec<usize> = (partition..COUNT).step_by(3).collect();
        let read = numbers(cluster, cluster.reader(family), &topic, partition, expected.len());
        assert!(read == expected, "partition {partition}: {}", first_difference(&read, &expected));
    }
}

fn numbers(cluster: &Cluster, reader: Family, topic: &str, partition: usize, count: usize) -> Vec<usize> {
    let consume = json!({"do": "consume", "topic": topic, "partition": partition, "from": 0, "count": count});
    let answer = cluster.ask(reader, &consume);
    let number = |record: &Value| {
        let value = decode(&record["value"]).expect("a value");
        String::from_utf8(value).expect("text").parse().expect("a number")
    };
    answer["records"].as_array().expect("records").iter().map(number).collect()
}

fn first_difference(read: &[usize], expected: &[usize]) -> String {
    let at = read.iter().zip(expected).position(|(read, expected)| read != expected);
    format!(
        "{} read, {} expected, first difference at {at:?}: {:?}",
        read.len(),
        expected.len(),
        at.map(|at| read[at])
    )
}

/// A retrying idempotent producer writes on while the broker is killed three times and comes back: everything
/// acknowledged is there once and in order, also after a clean stop.
pub fn loses_and_doubles_nothing_when_the_broker_is_killed(family: Family) {
    const PARTITIONS: usize = 3;
    const KILLS: usize = 3;
    if let Some(why) = family.missing() {
        return skip(&why);
    }
    let broker = Broker::start_on_fixed_port();
    let bootstrap = broker.bootstrap();
    let cluster = Cluster::new(Some(broker), bootstrap);
    let with_broker = |work: &dyn Fn(&mut Broker)| {
        let mut broker = cluster.broker.lock().unwrap_or_else(PoisonError::into_inner);
        work(broker.as_mut().expect("a broker"));
    };
    let topic = "killed";
    cluster.create_topic(family, topic, 3, &json!({}));
    cluster.ask(family, &json!({"do": "stream_start", "topic": topic, "partitions": PARTITIONS}));
    let mut acknowledged = 0;
    for _ in 0..KILLS {
        acknowledged = more_acknowledged(&cluster, family, acknowledged + 1500);
        with_broker(&|broker| {
            broker.kill();
            broker.restart();
        });
    }
    more_acknowledged(&cluster, family, acknowledged + 1500);
    let told = cluster.ask(family, &json!({"do": "stream_stop"}));
    assert_eq!(told["failed"], json!([]), "records that the client gave up: {told}");
    assert_eq!(told["sent"], told["acknowledged"], "records of which nothing was heard");

    // After a clean stop the same is there, for another client too where there is one.
    with_broker(&|broker| {
        let status = broker.stop();
        // A JVM that was stopped by SIGTERM exits with 143.
        let clean = status.success() || std::env::var_os("KETCD_TEST_BROKER").is_some();
        assert!(clean, "the broker's exit status after SIGTERM is {status}\n{}", broker.output());
        broker.restart();
    });
    let others = [Family::FranzGo, Family::KafkaPython];
    let reader = others.into_iter().find(|other| other.missing().is_none()).unwrap_or(family);
    for partition in 0..PARTITIONS {
        let count =
            told["acknowledged"][partition].as_u64().and_then(|n| usize::try_from(n).ok()).expect("a count");
        let ends = json!({"do": "offsets", "topic": topic, "partition": partition});
        let ends = cluster.until(reader, &ends, |answer| answer.get("end").is_some());
        let expected: Vec<usize> = (0..count).collect();
        let stored = ends["end"].as_u64().and_then(|n| usize::try_from(n).ok()).expect("an offset");
        let read = numbers(&cluster, reader, topic, partition, stored);
        assert!(read == expected, "partition {partition}: {}", first_difference(&read, &expected));
    }
}

/// Waits until the stream has more than `wanted` records acknowledged; tells how many.
fn more_acknowledged(cluster: &Cluster, family: Family, wanted: u64) -> u64 {
    let deadline = Instant::now() + Duration::from_secs(90);
    loop {
        let status = cluster.ask(family, &json!({"do": "stream_status"}));
        let counts = status["acknowledged"].as_array().expect("counts");
        let acknowledged: u64 = counts.iter().filter_map(Value::as_u64).sum();
        if acknowledged > wanted {
            return acknowledged;
        }
        assert!(Instant::now() < deadline, "no progress: {status}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_millis()).expect("before the year 292 million")
}
