//! Apache Kafka's own command line tools, run one after another in one process, also on the files of ketcd.

use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::json;

use crate::agent::Agent;
use crate::broker::files_below;
use crate::family::{missing, peers};
use crate::fixture::{Cluster, shared};
use crate::skip::skip;

const TOOLS: &str = "org.apache.kafka.tools.";

/// The JVM that runs the tools, one at a time; started by the first case.
static JVM: Mutex<Option<Agent>> = Mutex::new(None);

/// Kafka's tools, and the broker to use them on.
pub struct Tools {
    jvm: MutexGuard<'static, Option<Agent>>,
    cluster: &'static Cluster,
    /// Another broker to use the tools on.
    other: Option<String>,
}

impl Tools {
    /// The tools and the shared broker; `None` after a skip.
    pub fn here() -> Option<Self> {
        if let Some(why) = missing("java", Some("kafka/.installed")) {
            skip(&why);
            return None;
        }
        let cluster = shared();
        let mut jvm = JVM.lock().unwrap_or_else(PoisonError::into_inner);
        jvm.get_or_insert_with(|| {
            let mut command = Command::new("java");
            command.args([
                "-Xmx512m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1",
                "-Dlog4j2.level=ERROR",
                "-cp",
            ]);
            command.arg(format!("{0}/kafka/classes:{0}/kafka/lib/*", peers().display())).arg("Tools");
            Agent::start("Kafka's tools", &mut command)
        });
        Some(Self { jvm, cluster, other: None })
    }

    /// The tools, on the broker at `bootstrap`.
    pub fn on(bootstrap: String) -> Option<Self> {
        let tools = Self::here()?;
        Some(Self { other: Some(bootstrap), ..tools })
    }

    /// What `tool` prints with `arguments`, `@` standing for the bootstrap address. It must succeed.
    pub fn run(&mut self, tool: &str, arguments: &[&str]) -> String {
        let name = if tool.contains('.') { tool.to_owned() } else { format!("{TOOLS}{tool}") };
        let bootstrap = self.other.as_deref().unwrap_or_else(|| self.cluster.bootstrap());
        let arguments: Vec<&str> = arguments.iter().map(|a| if *a == "@" { bootstrap } else { a }).collect();
        let command = json!({"do": "run", "tool": name, "arguments": arguments});
        let jvm = self.jvm.as_mut().expect("started");
        let Some(answer) = jvm.ask(&command) else {
            let errors = jvm.errors();
            *self.jvm = None;
            panic!("{tool} {arguments:?} does not come back\n{errors}");
        };
        let printed = answer["printed"].as_str().expect("text").to_owned();
        assert_eq!(answer["status"], 0, "{tool} {arguments:?} printed:\n{printed}");
        printed
    }
}

/// Fails with everything printed unless each of `parts` is in it.
pub fn assert_contains(printed: &str, parts: &[&str]) {
    for part in parts {
        assert!(printed.contains(part), "{part:?} is not in:\n{printed}");
    }
}

#[test]
fn topic_command_creates_describes_alters_and_deletes() {
    let Some(mut tools) = Tools::here() else { return };
    let topic = ["--bootstrap-server", "@", "--topic", "tool-topic"];
    let mut command = |more: &[&str]| tools.run("TopicCommand", &[&topic, more].concat());
    let created = command(&["--create", "--partitions", "2", "--config", "segment.bytes=1048576"]);
    assert_contains(&created, &["Created topic tool-topic."]);
    assert_contains(&command(&["--list"]), &["tool-topic"]);
    let described = command(&["--describe"]);
    assert_contains(
        &described,
        &["PartitionCount: 2", "ReplicationFactor: 1", "segment.bytes=1048576", "Partition: 1"],
    );
    command(&["--alter", "--partitions", "3"]);
    assert_contains(&command(&["--describe"]), &["PartitionCount: 3"]);
    command(&["--delete"]);
}

#[test]
fn config_command_describes_and_alters_topics_and_brokers() {
    let Some(mut tools) = Tools::here() else { return };
    tools.run("TopicCommand", &["--bootstrap-server", "@", "--create", "--topic", "tool-config"]);
    let topic = ["--bootstrap-server", "@", "--entity-type", "topics", "--entity-name", "tool-config"];
    let mut command = |more: &[&str]| tools.run("kafka.admin.ConfigCommand", &[&topic, more].concat());
    assert_contains(
        &command(&["--alter", "--add-config", "retention.ms=7200000"]),
        &["Completed updating config"],
    );
    assert_contains(&command(&["--describe"]), &["retention.ms=7200000", "DYNAMIC_TOPIC_CONFIG"]);
    assert_contains(&command(&["--describe", "--all"]), &["max.message.bytes=1048588", "DEFAULT_CONFIG"]);
    assert_contains(
        &command(&["--alter", "--delete-config", "retention.ms"]),
        &["Completed updating config"],
    );
    let described = command(&["--describe"]);
    assert!(!described.contains("retention.ms=7200000"), "{described}");
    let nodes = tools.run("BrokerApiVersionsCommand", &["--bootstrap-server", "@"]);
    let id =
        nodes.split("(id: ").nth(1).and_then(|rest| rest.split(' ').next()).expect("a broker id").to_owned();
    let broker =
        ["--bootstrap-server", "@", "--entity-type", "brokers", "--entity-name", &id, "--describe", "--all"];
    assert_contains(
        &tools.run("kafka.admin.ConfigCommand", &broker),
        &["log.dirs", "auto.create.topics.enable"],
    );
}

#[test]
fn the_tools_see_what_a_producer_wrote_and_the_files_are_kafkas() {
    let Some(mut tools) = Tools::here() else { return };
    let topic = "tool-perf";
    let create = ["--bootstrap-server", "@", "--create", "--topic", topic, "--partitions", "1"];
    tools.run("TopicCommand", &[&create[..], &["--config", "segment.bytes=1048576"]].concat());
    let producer =
        ["--bootstrap-server", "@", "--topic", topic, "--command-property", "compression.type=lz4"];
    let load = ["--num-records", "40000", "--record-size", "100", "--throughput", "-1"];
    let printed = tools.run("ProducerPerformance", &[&producer[..], &load].concat());
    assert_contains(&printed, &["40000 records sent"]);
    let ends = tools.run("GetOffsetShell", &["--bootstrap-server", "@", "--topic", topic]);
    assert_contains(&ends, &["tool-perf:0:40000"]);
    let begins =
        tools.run("GetOffsetShell", &["--bootstrap-server", "@", "--topic", topic, "--time", "earliest"]);
    assert_contains(&begins, &["tool-perf:0:0"]);
    let directories =
        tools.run("LogDirsCommand", &["--bootstrap-server", "@", "--describe", "--topic-list", topic]);
    assert_contains(&directories, &["\"partition\":\"tool-perf-0\"", "\"error\":null"]);
    assert!(!directories.contains("\"size\":0,"), "{directories}");

    let Some(data) = tools.cluster.data() else { return };
    let of_topic = |suffix: &str| {
        let mut files = files_below(data, suffix);
        files
            .retain(|path| path.parent().and_then(Path::file_name).is_some_and(|name| name == "tool-perf-0"));
        assert!(!files.is_empty(), "no {suffix} file of {topic}");
        files.iter().map(|path| path.to_string_lossy().into_owned()).collect::<Vec<_>>()
    };
    // The segment that is being written ends in zeros, which the tool takes for records; so does its time index.
    let mut logs = of_topic(".log");
    logs.pop();
    let dump = tools.run("DumpLogSegments", &["--deep-iteration", "--files", &logs.join(",")]);
    assert_contains(&dump, &["baseOffset: 0 ", "compresscodec: lz4", "| offset: 20000 "]);
    assert!(!dump.contains("isvalid: false"), "{dump}");
    let mut indexes = of_topic(".timeindex");
    indexes.pop();
    assert!(!indexes.is_empty(), "more than one segment");
    indexes.extend(of_topic(".index"));
    let sane = tools.run("DumpLogSegments", &["--index-sanity-check", "--files", &indexes.join(",")]);
    assert!(!sane.contains("Found"), "{sane}");
}

#[test]
fn client_compatibility_test_passes() {
    let Some(mut tools) = Tools::here() else { return };
    tools.run("TopicCommand", &["--bootstrap-server", "@", "--create", "--topic", "tool-compatibility"]);
    let mut arguments =
        vec!["--bootstrap-server", "@", "--topic", "tool-compatibility", "--num-cluster-nodes", "1"];
    for feature in [
        "--offsets-for-times-supported",
        "--cluster-id-supported",
        "--create-topics-supported",
        "--describe-acls-supported",
        "--describe-configs-supported",
        "--idempotent-producer-supported",
    ] {
        arguments.extend([feature, "true"]);
    }
    arguments.extend(["--expect-record-too-large-exception", "false"]);
    tools.run("ClientCompatibilityTest", &arguments);
}
