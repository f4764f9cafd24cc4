//! Apache Kafka's tools for replicas, on three brokers.

use std::time::{Duration, Instant};

use crate::broker::Broker;
use crate::kafka_tools::{Tools, assert_contains};

const REASSIGN: &str = "org.apache.kafka.tools.reassign.ReassignPartitionsCommand";

const DEADLINE: Duration = Duration::from_secs(60);

/// Runs `look` until what it prints holds all of `parts`.
fn until(parts: &[&str], mut look: impl FnMut() -> String) {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let printed = look();
        if parts.iter().all(|part| printed.contains(part)) {
            return;
        }
        assert!(Instant::now() < deadline, "{parts:?} do not come:\n{printed}");
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[test]
fn reassign_partitions_and_leader_election_move_replicas_and_leaders() {
    if std::env::var_os("KETCD_TEST_BROKER").is_some() {
        // Another program has no `--nodes`.
        return;
    }
    let broker = Broker::start_on_fixed_port_with(&["--nodes", "3"]);
    let Some(mut tools) = Tools::on(broker.bootstrap()) else { return };
    let bootstrap = ["--bootstrap-server", "@"];
    let topic = [&bootstrap[..], &["--topic", "tool-moves"]].concat();
    tools.run("TopicCommand", &[&topic[..], &["--create", "--replica-assignment", "1:2"]].concat());
    let described = tools.run("TopicCommand", &[&topic[..], &["--describe"]].concat());
    assert_contains(&described, &["Leader: 1", "Replicas: 1,2"]);

    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("moves.json");
    let file_name = file.to_str().unwrap();
    let moves = |replicas: &str| {
        let partition = format!(r#"{{"topic":"tool-moves","partition":0,"replicas":[{replicas}]}}"#);
        std::fs::write(&file, format!(r#"{{"version":1,"partitions":[{partition}]}}"#)).unwrap();
    };
    let reassign = |tools: &mut Tools, step: &str| {
        let file = ["--reassignment-json-file", file_name, step];
        tools.run(REASSIGN, &[&bootstrap[..], &file].concat())
    };
    moves("3,2");
    let begun = reassign(&mut tools, "--execute");
    assert_contains(&begun, &["Successfully started partition reassignment for tool-moves-0"]);
    until(&["Reassignment of partition tool-moves-0 is completed."], || reassign(&mut tools, "--verify"));
    let described = tools.run("TopicCommand", &[&topic[..], &["--describe"]].concat());
    assert_contains(&described, &["Leader: 3", "Replicas: 3,2"]);
    let listed = tools.run(REASSIGN, &[&bootstrap[..], &["--list"]].concat());
    assert_contains(&listed, &["No partition reassignments found."]);

    // Only the order changes: the leader stays until it is elected.
    moves("2,3");
    reassign(&mut tools, "--execute");
    let election = ["--election-type", "preferred", "--topic", "tool-moves", "--partition", "0"];
    let elect = |tools: &mut Tools| tools.run("LeaderElectionCommand", &[&bootstrap[..], &election].concat());
    assert_contains(&elect(&mut tools), &["Successfully completed leader election (PREFERRED)"]);
    assert_contains(&elect(&mut tools), &["Valid replica already elected for partitions tool-moves-0"]);
    let described = tools.run("TopicCommand", &[&topic[..], &["--describe"]].concat());
    assert_contains(&described, &["Leader: 2", "Replicas: 2,3"]);
    tools.run("TopicCommand", &[&topic[..], &["--delete"]].concat());
}
