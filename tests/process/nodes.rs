//! `ketcd dev --nodes 3`: a parent with the metadata store, and three broker processes that can be killed.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::node::{Node, ketcd};

const SOON: Duration = Duration::from_secs(60);

struct Cluster {
    parent: Node,
}

impl Cluster {
    fn start(data: &Path) -> Self {
        Self { parent: Node::three(Some(data)).started() }
    }

    /// The address of node `id`.
    fn node(&self, id: u16) -> String {
        format!("127.0.0.1:{}", self.parent.port() + id - 1)
    }

    /// The process of node `id`, as the first screen tells.
    fn pid(&self, id: u16) -> Pid {
        let output = self.parent.output();
        let line = output
            .lines()
            .find(|line| line.contains(&format!("node {id} ")) && line.contains("pid"))
            .unwrap();
        let pid = line.split("pid ").nth(1).unwrap().split(' ').next().unwrap();
        Pid::from_raw(pid.parse().unwrap()).unwrap()
    }

    /// The command of the first screen that starts the last node again, without the program.
    fn restart_command(&self) -> Vec<String> {
        let output = self.parent.output();
        let line = output.lines().find(|line| line.contains("ketcd broker --config")).unwrap();
        line.split_whitespace().skip(1).take(3).map(str::to_owned).collect()
    }

    fn brokers(&self) -> usize {
        let (_, text) = ketcd(&["cluster", "-b", &self.node(1), "--timeout", "5s"]);
        (1..=3)
            .filter(|id| text.lines().any(|line| line.contains(&self.node(*id)) && line.ends_with("ok")))
            .count()
    }

    fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + SOON;
        while !holds(self) {
            assert!(Instant::now() < deadline, "never came: {what}\n{}", self.parent.output());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

/// It does not exist, or waits only for somebody to hear of its end.
fn is_gone(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit(") ").next().is_none_or(|rest| rest.is_empty() || rest.starts_with('Z'))
}

#[test]
fn three_nodes_serve_a_replicated_topic_and_go_on_without_one_that_is_killed() {
    let data = tempfile::tempdir().unwrap();
    let mut cluster = Cluster::start(data.path());
    assert_eq!(cluster.brokers(), 3);
    let (first, second) = (cluster.node(1), cluster.node(2));
    let (code, text) = ketcd(&["topic", "create", "t", "-p", "3", "-b", &second]);
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("replication factor 3"), "the nodes' default: {text}");
    produce(&first, "before");

    let third = cluster.pid(3);
    kill_process(third, Signal::KILL).unwrap();
    cluster.until("the parent's word on it", |cluster| {
        cluster.parent.output().contains("node ended with signal 9")
    });
    produce(&first, "while one is away");
    cluster.until("two nodes", |cluster| cluster.brokers() == 2);
    assert!(is_gone(third), "it is not started again by itself");

    let command = cluster.restart_command();
    let command: Vec<&str> = command.iter().map(String::as_str).collect();
    let mut again = Node::with_arguments(&command);
    again.start();
    cluster.until("three nodes", |cluster| cluster.brokers() == 3);
    let (code, text) = ketcd(&["topic", "consume", "t", "--from", "start", "--exit-at-end", "-b", &second]);
    assert_eq!(code, Some(0), "{text}");
    for value in ["before", "while one is away"] {
        assert!(text.contains(value), "{value} is lost: {text}");
    }
    assert_eq!(again.stop().code(), Some(0), "{}", again.output());

    let others = [cluster.pid(1), cluster.pid(2)];
    cluster.parent.signal(Signal::INT);
    assert_eq!(cluster.parent.wait(SOON).code(), Some(0), "{}", cluster.parent.output());
    assert!(others.into_iter().all(is_gone), "children end before their parent");
}

fn produce(bootstrap: &str, value: &str) {
    let deadline = Instant::now() + SOON;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), value).unwrap();
    loop {
        let (code, text) =
            ketcd(&["topic", "produce", "t", "-f", file.path().to_str().unwrap(), "-b", bootstrap]);
        if code == Some(0) {
            return;
        }
        assert!(Instant::now() < deadline, "{text}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn the_nodes_end_with_their_parent_however_it_ends() {
    let data = tempfile::tempdir().unwrap();
    let cluster = Cluster::start(data.path());
    let children = [1, 2, 3].map(|id| cluster.pid(id));
    cluster.parent.signal(Signal::KILL);
    cluster.until("the end of the children", |_| children.into_iter().all(is_gone));
}

#[test]
fn an_ephemeral_cluster_leaves_nothing_behind() {
    let mut node = Node::three(None);
    node.start();
    let output = node.output();
    let place =
        output.split("data   ").nth(1).unwrap().split(" (removed at the end)").next().unwrap().to_owned();
    assert!(Path::new(&place).join("node-2").exists(), "{output}");
    node.signal(Signal::INT);
    assert_eq!(node.wait(SOON).code(), Some(0), "{}", node.output());
    assert!(!Path::new(&place).exists());
}

#[test]
fn one_nodes_directory_is_not_taken_for_a_clusters_nor_the_other_way_round() {
    let data = tempfile::tempdir().unwrap();
    let mut single = Node::dev(data.path(), &[]).started();
    single.stop();
    let path = data.path().to_str().unwrap();
    let (code, text) = ketcd(&["dev", "--nodes", "3", "--data", path]);
    assert_eq!(code, Some(78), "{text}");
    assert!(text.contains("single node") && text.contains("--data"), "{text}");

    let other = tempfile::tempdir().unwrap();
    std::fs::write(other.path().join("node-1.properties"), "").unwrap();
    let (code, text) = ketcd(&["dev", "--data", other.path().to_str().unwrap()]);
    assert_eq!(code, Some(78), "{text}");
    assert!(text.contains("several nodes"), "{text}");
}

#[test]
fn a_node_that_cannot_start_ends_the_others_and_says_why() {
    let data = tempfile::tempdir().unwrap();
    let mut node = Node::three(Some(data.path()));
    let _taken = std::net::TcpListener::bind(("127.0.0.1", node.port() + 1)).unwrap();
    node.spawn();
    assert_eq!(node.wait(SOON).code(), Some(78), "{}", node.output());
    assert!(node.output().contains("node 2 ended with exit code 78"), "{}", node.output());
    assert!(node.output().contains(&format!("port {}", node.port() + 1)), "{}", node.output());
}
