//! `ketcd config`, and what a broker says that cannot start.

use std::net::TcpListener;

use tempfile::TempDir;

use crate::program::run;

const BAD: &str = "node.id=x\nadvertised.listeners=PLAINTEXT://0.0.0.0:9092\nlog.retention.mss=1\n";

fn bad_file() -> (TempDir, String) {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("server.properties");
    std::fs::write(&path, BAD).unwrap();
    let text = path.to_str().unwrap().to_owned();
    (directory, text)
}

#[test]
fn every_mistake_of_a_file_is_told_in_one_run_and_the_code_is_78() {
    let (_directory, file) = bad_file();
    for args in [&["config", "check", &file][..], &["broker", "--config", &file]] {
        let ended = run(args);
        assert_eq!(ended.code, 78, "{args:?}: {ended:?}");
        for part in [
            "error: node.id = \"x\" must be a whole number",
            &format!("  --> {file}:1"),
            "error: advertised.listeners = \"PLAINTEXT://0.0.0.0:9092\" cannot be advertised",
            &format!("  --> {file}:2"),
            "help: did you mean log.retention.ms?",
        ] {
            assert!(ended.stderr.contains(part), "{args:?}: no {part:?} in {}", ended.stderr);
        }
    }
}

#[test]
fn a_key_is_explained_and_an_unknown_one_is_an_error() {
    let text = run(&["config", "explain", "min.insync.replicas"]).ok();
    assert!(text.starts_with("min.insync.replicas  int  default 1   now 1 (default)\n"), "{text}");
    let json = run(&["config", "explain", "min.insync.replicas", "-o", "json"]).json();
    assert_eq!(json["default"], "1");
    assert_eq!(json["origin"], "default");
    let unknown = run(&["config", "explain", "nope"]);
    assert_eq!(unknown.code, 1, "{unknown:?}");
    assert!(unknown.stderr.contains("help: "), "{unknown:?}");
    let keys = run(&["config", "list", "-o", "json"]).json();
    assert!(keys.as_array().unwrap().iter().any(|key| key["name"] == "log.dirs"), "{keys}");
}

#[test]
fn a_port_that_is_taken_is_named_and_no_other_is_taken_instead() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let ended = run(&["dev", "--ephemeral", "--port", &port]);
    assert!(![0, 2].contains(&ended.code), "{ended:?}");
    assert!(ended.stderr.contains(&port) && ended.stderr.contains("help: "), "{}", ended.stderr);
}
