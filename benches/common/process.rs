//! A broker in a process of its own, and how marks of it are printed.

#![allow(dead_code, reason = "each bench uses a part of this")]

use std::ffi::OsString;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use ketcd::protocol::peer::messages::TopicName;
use ketcd::protocol::peer::messages::create_topics_request::{CreatableTopic, CreateTopicsRequest};
use ketcd::protocol::peer::{Peer, StrBytes};

/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A running broker: ketcd, or what `KETCD_BENCH_BROKER` names (`tests/setup/kafka-node.sh`: Apache Kafka). `KETCD_BENCH_ARGS` are its
/// further arguments, e.g. `--set group.initial.rebalance.delay.ms=3000`.
pub struct Broker {
    child: Child,
    pub address: String,
}

impl Broker {
    /// Starts it and waits until it says where it listens.
    pub fn start(data: &Path) -> Self {
        let program = std::env::var_os("KETCD_BENCH_BROKER");
        let program = program.unwrap_or_else(|| OsString::from(env!("CARGO_BIN_EXE_ketcd")));
        let mut child = Command::new(program)
            .args(["dev", "--port", "0", "--log-level", "error", "--data"])
            .arg(data)
            .args(std::env::var("KETCD_BENCH_ARGS").unwrap_or_default().split_whitespace())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the broker starts");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let line = stdout.lines().map(|line| line.expect("text")).find(|line| line.contains("kafka "));
        let line = line.expect("the broker says where it listens");
        let address = line.split_whitespace().nth(1).expect("an address").to_owned();
        Self { child, address }
    }

    pub async fn peer(&self) -> Peer {
        Peer::connect(&self.address, "bench", PATIENCE).await.expect("the broker answers")
    }

    /// Memory of its own, in KiB: without pages of files.
    pub fn anonymous_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it lives");
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("Linux tells it");
        line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number")
    }

    /// Seconds of CPU that it has used, to a hundredth.
    pub fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it lives");
        let after_name = stat.rsplit_once(')').expect("Linux tells it").1;
        let ticks = |field: &str| field.parse::<f64>().expect("a number");
        let mut fields = after_name.split_whitespace().skip(11);
        let used = ticks(fields.next().expect("user time")) + ticks(fields.next().expect("system time"));
        used / 100.0
    }

    pub fn stop(mut self) {
        let pid = self.child.id().to_string();
        Command::new("kill").arg(&pid).status().expect("kill runs");
        self.child.wait().expect("it ends");
    }
}

/// Makes a topic.
pub async fn create(peer: &mut Peer, topic: &str, partitions: i32) {
    let topic = CreatableTopic::default()
        .with_name(TopicName(StrBytes::from_string(topic.to_owned())))
        .with_num_partitions(partitions)
        .with_replication_factor(1);
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(60_000);
    let response = peer.call_within(&request, 7, PATIENCE).await.expect("an answer");
    assert_eq!(response.topics.first().map(|topic| topic.error_code), Some(0), "created");
}

/// A mark: its name and what each run measured.
pub struct Mark {
    pub name: &'static str,
    pub unit: &'static str,
    pub runs: Vec<f64>,
}

impl Mark {
    /// One line: the median, the least and the most.
    pub fn print(mut self) {
        self.runs.sort_by(f64::total_cmp);
        let (least, most) = (self.runs.first().expect("a run"), self.runs.last().expect("a run"));
        let median = self.runs.get(self.runs.len() / 2).expect("a run");
        println!("{:<66} {median:>10.2} {} ({least:.2} to {most:.2})", self.name, self.unit);
    }
}

/// In milliseconds.
pub fn ms(elapsed: Duration) -> f64 {
    elapsed.as_secs_f64() * 1000.0
}
