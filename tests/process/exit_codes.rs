//! A start that cannot succeed says why, all of it, and exits with the code of `operations.md`.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use crate::node::{Node, ketcd};

const LIMIT: Duration = Duration::from_secs(30);

#[test]
fn a_taken_port_names_the_process_that_has_it() {
    let data = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let data = data.path().to_str().unwrap();
    let (code, text) = ketcd(&["dev", "--port", &port.to_string(), "--data", data]);
    assert_eq!(code, Some(78), "{text}");
    assert!(text.contains(&format!("port {port}")), "{text}");
    assert!(text.contains(&std::process::id().to_string()), "names this process: {text}");
    assert!(text.contains("--port"), "a cure: {text}");
}

#[test]
fn a_taken_admin_port_is_an_error_of_the_start_too() {
    let data = tempfile::tempdir().unwrap();
    let mut node = Node::dev(data.path(), &[]);
    let _taken = TcpListener::bind(("127.0.0.1", node.port() + 100)).unwrap();
    node.spawn();
    let status = node.wait(LIMIT);
    assert_eq!(status.code(), Some(78), "{}", node.output());
    assert!(node.output().contains(&(node.port() + 100).to_string()), "{}", node.output());
}

#[test]
fn a_taken_port_of_the_embedded_store_is_an_error_of_the_start_too() {
    let data = tempfile::tempdir().unwrap();
    let mut node = Node::dev(data.path(), &[]);
    let _taken = TcpListener::bind(("127.0.0.1", node.port() + 200)).unwrap();
    node.spawn();
    let status = node.wait(LIMIT);
    assert_eq!(status.code(), Some(78), "{}", node.output());
    assert!(node.output().contains(&(node.port() + 200).to_string()), "{}", node.output());
}

#[test]
fn all_wrong_keys_are_listed_in_one_run() {
    let data = tempfile::tempdir().unwrap();
    let (code, text) = ketcd(&[
        "dev",
        "--port",
        "0",
        "--data",
        data.path().to_str().unwrap(),
        "--set",
        "log.segment.bytes=many",
        "--set",
        "num.partitons=3",
        "--set",
        "message.max.bytes=-7",
    ]);
    assert_eq!(code, Some(78), "{text}");
    for expected in ["log.segment.bytes", "many", "num.partitons", "num.partitions", "message.max.bytes"] {
        assert!(text.contains(expected), "{expected} is missing: {text}");
    }
    assert!(!data.path().join("meta.properties").exists(), "nothing was started");
}

#[test]
fn a_broker_without_etcd_endpoints_says_so() {
    let (code, text) = ketcd(&["broker", "--set", "listeners=PLAINTEXT://127.0.0.1:0"]);
    assert_eq!(code, Some(78), "{text}");
    assert!(text.contains("etcd.endpoints"), "{text}");
}

#[test]
fn a_locked_data_directory_is_refused_and_left_alone() {
    let data = tempfile::tempdir().unwrap();
    let first = Node::dev(data.path(), &[]).started();
    let mut second = Node::dev(data.path(), &[]);
    second.spawn();
    let begun = Instant::now();
    let status = second.wait(LIMIT);
    assert_eq!(status.code(), Some(78), "{}", second.output());
    assert!(second.output().contains(data.path().to_str().unwrap()), "{}", second.output());
    assert!(second.output().contains("--data"), "a cure: {}", second.output());
    assert!(begun.elapsed() < Duration::from_secs(10), "it does not wait for the other one");
    assert_eq!(first.admin("/readyz").0, 200, "the first one goes on");
}
