//! Apache Kafka's own tools on our groups and on our `__consumer_offsets`.

use std::path::Path;

use serde_json::json;

use super::flavour::Flavour;
use super::member::{Member, all_consumed, all_of, committed, produce, settled};
use crate::broker::files_below;
use crate::family::Family;
use crate::fixture::{Cluster, shared};
use crate::kafka_tools::{Tools, assert_contains};
use crate::skip::skip;

const GROUPS: &str = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand";
const CONSOLE: &str = "org.apache.kafka.tools.consumer.ConsoleConsumer";
const CLASSIC: Flavour = Flavour { family: Family::Java, modern: false, strategy: Some("range") };
const MODERN: Flavour = Flavour { family: Family::Java, modern: true, strategy: None };

/// A member of a group of its own that has committed ten records of each of two partitions.
fn group_of<'a>(cluster: &'a Cluster, flavour: Flavour, topic: &str) -> Member<'a> {
    let mut joining = flavour.joining(topic, topic);
    joining["commit"] = json!("none");
    cluster.create_topic(cluster.creator(), topic, 2, &json!({}));
    produce(cluster, flavour, topic, 2, 10);
    let mut member = Member::join(cluster, flavour, &joining);
    settled(&mut [&mut member], &all_of(topic, 2));
    all_consumed(&mut [&mut member], &[], &all_of(topic, 2), 10);
    member.commit();
    member
}

#[test]
fn the_group_tool_describes_resets_and_deletes() {
    if let Some(why) = Family::Java.missing() {
        return skip(&why);
    }
    let cluster = shared();
    for flavour in [CLASSIC, MODERN] {
        let Some(mut tools) = Tools::here() else { return };
        let topic = flavour.own("tool");
        let mut member = group_of(cluster, flavour, &topic);
        produce(cluster, flavour, &topic, 2, 5);
        let mut run = |more: &[&str]| tools.run(GROUPS, &[&["--bootstrap-server", "@"], more].concat());
        let group = ["--group", &topic];
        let mut about = |more: &[&str]| run(&[&group, more].concat());

        let described = about(&["--describe"]);
        // GROUP TOPIC PARTITION CURRENT-OFFSET LOG-END-OFFSET LAG CONSUMER-ID ...
        let words: Vec<Vec<&str>> =
            described.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).collect();
        for partition in ["0", "1"] {
            let wanted = [&*topic, &*topic, partition, "10", "15", "5"];
            assert!(words.iter().any(|line| line.starts_with(&wanted)), "{wanted:?} is not in:\n{described}");
        }
        assert_contains(&about(&["--describe", "--state"]), &["Stable", &topic]);
        assert_contains(&about(&["--describe", "--members", "--verbose"]), &[&format!("{topic}:0,1")]);
        let kind = if flavour.modern { "Consumer" } else { "Classic" };
        let listed = tools.run(GROUPS, &["--bootstrap-server", "@", "--list", "--state", "Stable"]);
        assert!(listed.lines().any(|line| line.starts_with(&topic) && line.contains("Stable")), "{listed}");
        let listed = tools.run(GROUPS, &["--bootstrap-server", "@", "--list", "--type", kind]);
        assert!(listed.lines().any(|line| line.starts_with(&topic) && line.contains(kind)), "{listed}");
        let listed = tools.run("GroupsCommand", &["--bootstrap-server", "@", "--list"]);
        let line = listed.lines().find(|line| line.starts_with(&topic)).unwrap_or_default();
        assert_contains(line, &[kind, "consumer"]);

        let mut about =
            |more: &[&str]| tools.run(GROUPS, &[&["--bootstrap-server", "@"], &group[..], more].concat());
        let reset = ["--reset-offsets", "--topic", &topic, "--to-offset", "3"];
        // Not while a member is there: the tool says so, changes nothing and ends well.
        assert_contains(&about(&[&reset[..], &["--execute"]].concat()), &["inactive"]);
        assert!(committed(cluster, flavour, &topic, &topic).into_values().eq([10; 2]));
        member.leave();
        about(&[&reset[..], &["--dry-run"]].concat());
        assert!(committed(cluster, flavour, &topic, &topic).into_values().eq([10; 2]), "a dry run");
        about(&[&reset[..], &["--execute"]].concat());
        assert!(committed(cluster, flavour, &topic, &topic).into_values().eq([3; 2]));
        about(&["--delete-offsets", "--topic", &format!("{topic}:1")]);
        assert_eq!(committed(cluster, flavour, &topic, &topic), [(0, 3)].into());
        assert_contains(&about(&["--delete"]), &["successful"]);
        let listed = tools.run(GROUPS, &["--bootstrap-server", "@", "--list"]);
        assert!(!listed.contains(&topic), "{listed}");
    }
}

#[test]
fn the_offsets_topic_is_kafkas() {
    if let Some(why) = Family::Java.missing() {
        return skip(&why);
    }
    let cluster = shared();
    let topics = [CLASSIC, MODERN].map(|flavour| {
        let topic = flavour.own("decoded");
        group_of(cluster, flavour, &topic).leave();
        topic
    });
    let Some(mut tools) = Tools::here() else { return };
    let mut read = |formatter: &str| {
        let formatter = format!("org.apache.kafka.tools.consumer.{formatter}");
        let read = ["--bootstrap-server", "@", "--topic", "__consumer_offsets", "--from-beginning"];
        let how = ["--timeout-ms", "3000", "--formatter", &formatter];
        tools.run(CONSOLE, &[&read[..], &how].concat())
    };
    let offsets = read("OffsetsMessageFormatter");
    let members = read("GroupMetadataMessageFormatter");
    for topic in &topics {
        let commit = format!("\"group\":\"{topic}\",\"topic\":\"{topic}\",\"partition\":1}}");
        assert!(
            offsets.lines().any(|line| line.contains(&commit) && line.contains("\"offset\":10")),
            "{commit}:\n{offsets}"
        );
        // The formatter reads the records of classic groups, with their members.
        let named = members.lines().filter(|line| line.contains(&format!("\"group\":\"{topic}\"")));
        let with_member =
            named.filter(|line| line.contains("\"memberId\"") && line.contains("\"range\"")).count();
        assert_eq!(with_member > 0, topic.contains("classic"), "{topic}:\n{members}");
    }

    let Some(data) = cluster.data() else { return };
    let copies = tempfile::tempdir().expect("a directory");
    let names: Vec<String> =
        files_below(data, ".log").iter().filter_map(|file| whole(file, copies.path())).collect();
    let dump = tools.run("DumpLogSegments", &["--offsets-decoder", "--files", &names.join(",")]);
    for topic in &topics {
        let group = format!("\"group\":\"{topic}\"");
        assert_contains(&dump, &[&format!("{group},\"topic\":\"{topic}\",\"partition\":0}}")]);
    }
    let modern = format!("\"groupId\":\"{}\"", topics[1]);
    assert!(dump.contains(&modern), "the records of the new protocol: {modern} in\n{dump}");
    assert!(!dump.contains("could not") && !dump.contains("unknown key"), "{dump}");
}

/// A copy of a segment of the offsets topic without the zeros that the active one ends with: the tool takes them for
/// records.
fn whole(segment: &Path, copies: &Path) -> Option<String> {
    let directory = segment.parent()?.file_name()?;
    if !directory.to_string_lossy().starts_with("__consumer_offsets-") {
        return None;
    }
    let log = std::fs::read(segment).expect("a segment");
    let mut end = 0;
    while let Some(length) = log.get(end + 8..end + 12) {
        match u32::from_be_bytes(length.try_into().expect("four bytes")) {
            0 => break,
            length => end += 12 + length as usize,
        }
    }
    if end == 0 {
        return None;
    }
    let copy = copies.join(directory);
    std::fs::create_dir_all(&copy).expect("a directory");
    let copy = copy.join(segment.file_name()?);
    std::fs::write(&copy, &log[..end]).expect("a copy");
    Some(copy.to_string_lossy().into_owned())
}
