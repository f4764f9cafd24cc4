//! Kafka Connect from its Maven artifacts: a source and a sink copy a file through a topic.
//!
//! Distributed workers form a group of protocol type `connect` and keep configurations, offsets and states in three
//! compacted topics.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::family::{missing, peers};
use crate::fixture::{Cluster, shared};
use crate::skip::skip;

const DEADLINE: Duration = Duration::from_secs(120);
const LISTENING: &str = "REST server listening at http://127.0.0.1:";
const LOGGING: &str = "rootLogger.level=INFO
rootLogger.appenderRefs=out
rootLogger.appenderRef.out.ref=out
appenders=out
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%p %c{1} %m%n
";

/// A worker process; killed when dropped.
struct Worker {
    child: Child,
    printed: Arc<Mutex<String>>,
}

impl Worker {
    fn start(class: &str, directory: &Path, files: &[PathBuf]) -> Self {
        let logging = directory.join("log4j2.properties");
        std::fs::write(&logging, LOGGING).unwrap();
        let mut child = Command::new("java")
            .args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"])
            .arg(format!("-Dlog4j2.configurationFile=file:{}", logging.display()))
            .args(["-cp", &format!("{}/kafka/lib/*", peers().display()), class])
            .args(files)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let printed = Arc::new(Mutex::new(String::new()));
        let (stdout, kept) = (child.stdout.take().unwrap(), Arc::clone(&printed));
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                writeln!(kept.lock().unwrap_or_else(PoisonError::into_inner), "{line}").unwrap();
            }
        });
        Self { child, printed }
    }

    fn printed(&self) -> String {
        self.printed.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What is wrong, where something is: warnings and errors, and the last lines.
    fn complaints(&self) -> String {
        let printed = self.printed();
        let lines: Vec<&str> = printed.lines().collect();
        let bad = lines.iter().filter(|line| line.starts_with("ERROR") || line.starts_with("WARN"));
        let last = &lines[lines.len().saturating_sub(15)..];
        bad.take(30).chain(last).fold(String::new(), |text, line| text + line + "\n")
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + DEADLINE;
        while !done(self) {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "the worker ended with {ended:?}:\n{}", self.complaints());
            assert!(Instant::now() < deadline, "not {what}:\n{}", self.complaints());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// SIGTERM, and the end of the process.
    fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let deadline = Instant::now() + DEADLINE;
        while self.child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the worker does not stop:\n{}", self.complaints());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// One request to the worker; its status and body.
    fn http(&self, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
        let printed = self.printed();
        let port = printed.split(LISTENING).nth(1).and_then(|rest| rest.split('/').next());
        let port: u16 = port.expect("it listens").parse().expect("a port");
        let mut socket = TcpStream::connect(("127.0.0.1", port))?;
        socket.set_read_timeout(Some(DEADLINE))?;
        write!(
            socket,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n\
             Content-Length: {}\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        Ok((status, body.to_owned()))
    }

    /// Repeats a PUT until the worker is far enough to take it.
    fn put(&mut self, path: &str, body: &Value) {
        let body = body.to_string();
        self.until(path, |worker| {
            let answer = worker.http("PUT", path, &body);
            answer.is_ok_and(|(status, _)| (200..300).contains(&status))
        });
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

/// The files of one case, and its topic.
struct Copying {
    directory: TempDir,
    cluster: &'static Cluster,
    topic: String,
    lines: Vec<String>,
}

impl Copying {
    fn here(name: &str) -> Option<Self> {
        if let Some(why) = missing("java", Some("kafka/.installed")) {
            skip(&why);
            return None;
        }
        let cluster = shared();
        let topic = format!("connect-{name}-{}", std::process::id());
        cluster.create_topic(cluster.creator(), &topic, 1, &json!({}));
        let directory = tempfile::tempdir().unwrap();
        Some(Self { directory, cluster, topic, lines: Vec::new() })
    }

    fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn worker_file(&self, more: &str) -> PathBuf {
        let file = self.file("worker.properties");
        let text = format!(
            "bootstrap.servers={}\nlisteners=http://127.0.0.1:0\nplugin.discovery=only_scan\noffset.flush.interval.ms=1000\n\
             key.converter=org.apache.kafka.connect.storage.StringConverter\n\
             value.converter=org.apache.kafka.connect.storage.StringConverter\n{more}",
            self.cluster.bootstrap()
        );
        std::fs::write(&file, text).unwrap();
        file
    }

    fn source(&self) -> Value {
        json!({"connector.class": "FileStreamSource", "tasks.max": "1", "file": self.file("from"), "topic": self.topic})
    }

    fn sink(&self) -> Value {
        json!({"connector.class": "FileStreamSink", "tasks.max": "1", "file": self.file("to"), "topics": self.topic})
    }

    /// Appends lines to the file that is copied.
    fn more(&mut self, count: usize) {
        let mut file = std::fs::File::options().create(true).append(true).open(self.file("from")).unwrap();
        for _ in 0..count {
            let line = format!("line {}", self.lines.len());
            writeln!(file, "{line}").unwrap();
            self.lines.push(line);
        }
    }

    fn expect_copied(&self, worker: &mut Worker) {
        let copied = || std::fs::read_to_string(self.file("to")).unwrap_or_default();
        worker.until("copied", |_| copied().lines().count() >= self.lines.len());
        assert!(copied().lines().eq(&self.lines), "every line, once, in order:\n{}", copied());
    }
}

#[test]
fn a_standalone_worker_copies_a_file_through_a_topic() {
    let Some(mut copying) = Copying::here("standalone") else { return };
    copying.more(500);
    let offsets = copying.file("offsets");
    let worker = copying.worker_file(&format!("offset.storage.file.filename={}\n", offsets.display()));
    let mut files = vec![worker];
    for (name, settings) in [("source", copying.source()), ("sink", copying.sink())] {
        let file = copying.file(&format!("{name}.properties"));
        let settings = settings.as_object().unwrap().iter();
        let text = settings.fold(format!("name={name}\n"), |text, (key, value)| {
            text + key + "=" + value.as_str().unwrap() + "\n"
        });
        std::fs::write(&file, text).unwrap();
        files.push(file);
    }
    let mut worker =
        Worker::start("org.apache.kafka.connect.cli.ConnectStandalone", copying.directory.path(), &files);
    copying.expect_copied(&mut worker);
    copying.more(200);
    copying.expect_copied(&mut worker);
    worker.stop();
}

#[test]
fn a_distributed_worker_goes_on_where_another_stopped() {
    let Some(mut copying) = Copying::here("distributed") else { return };
    copying.more(500);
    let group = format!("{}-workers", copying.topic);
    let internal = ["config", "offset", "status"]
        .map(|kind| format!("{kind}.storage.topic={group}-{kind}\n{kind}.storage.replication.factor=1\n"));
    let file = copying.worker_file(&format!("group.id={group}\n{}", internal.concat()));
    let class = "org.apache.kafka.connect.cli.ConnectDistributed";
    let mut worker = Worker::start(class, copying.directory.path(), std::slice::from_ref(&file));
    worker.until("listening", |worker| worker.printed().contains(LISTENING));
    worker.put("/connectors/source/config", &copying.source());
    worker.put("/connectors/sink/config", &copying.sink());
    copying.expect_copied(&mut worker);
    worker.stop();

    // The next one has nothing but what is in the topics: connectors, positions in the file, committed offsets.
    copying.more(200);
    let mut worker = Worker::start(class, copying.directory.path(), std::slice::from_ref(&file));
    copying.expect_copied(&mut worker);
    worker.stop();
    let creator = copying.cluster.creator();
    for kind in ["config", "offset", "status"] {
        let describe = json!({"do": "describe_configs", "topic": format!("{group}-{kind}")});
        assert_eq!(copying.cluster.ask(creator, &describe)["configs"]["cleanup.policy"], "compact");
    }
}
