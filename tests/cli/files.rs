//! `ketcd log` on files of a partition.

use std::path::Path;

use ketcd::protocol::compression::Codec;
use ketcd::protocol::records::{BatchBuilder, NewRecord};
use tempfile::TempDir;

use crate::program::run;

fn batch(base_offset: i64, codec: Codec) -> Vec<u8> {
    let mut builder = BatchBuilder::new().codec(codec, None).base_offset(base_offset).leader_epoch(0);
    for value in ["one", "two"] {
        let record = NewRecord {
            timestamp: 1000,
            key: Some(b"k"),
            value: Some(value.as_bytes()),
            headers: &[(b"h", None)],
        };
        builder.push(record).unwrap();
    }
    builder.build().to_vec()
}

/// A data directory with one partition of two batches.
fn data() -> TempDir {
    let data = TempDir::new().unwrap();
    let partition = data.path().join("orders-0");
    std::fs::create_dir(&partition).unwrap();
    let bytes = [batch(0, Codec::None), batch(2, Codec::Zstd)].concat();
    std::fs::write(partition.join("00000000000000000000.log"), bytes).unwrap();
    data
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn a_dump_shows_batches_and_records() {
    let data = data();
    let out = run(&["log", "dump", text(&data.path().join("orders-0")), "--records"]).ok();
    let lines: Vec<&str> = out.lines().collect();
    assert!(lines[0].starts_with("@0          offsets 0-1  records 2  "), "{out}");
    assert_eq!(lines[1], r#"  | 0 time 1000 key "k" value "one"  headers h=null"#);
    assert!(lines[3].contains("zstd"), "{out}");
    assert_eq!(lines[5], r#"  | 3 time 1000 key "k" value "two"  headers h=null"#);
}

#[test]
fn a_dump_in_json_is_one_document_a_line() {
    let data = data();
    let file = data.path().join("orders-0/00000000000000000000.log");
    let out = run(&["log", "dump", text(&file), "-o", "json", "--records"]).ok();
    let documents: Vec<serde_json::Value> =
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(documents.len(), 6);
    assert_eq!(documents[3]["base_offset"], 2);
    assert_eq!(documents[3]["codec"], "zstd");
    assert_eq!(documents[3]["crc_valid"], true);
    assert_eq!(
        documents[5],
        serde_json::json!({"offset": 3, "timestamp": 1000, "key": "k", "value": "two", "headers": [["h", null]]})
    );
}

#[test]
fn a_good_log_verifies_and_a_bad_one_ends_with_1() {
    let data = data();
    let good = run(&["log", "verify", text(data.path()), "--records", "-o", "json"]).json();
    assert_eq!(good[0]["file"], "orders-0/00000000000000000000.log");
    assert_eq!(good[0]["records"], 4);
    assert_eq!(good[0]["problems"], serde_json::json!([]));
    let file = data.path().join("orders-0/00000000000000000000.log");
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[70] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let bad = run(&["log", "verify", text(data.path())]);
    assert_eq!(bad.code, 1, "{bad:?}");
    assert!(bad.stdout.contains("1 problem"), "{bad:?}");
    assert!(bad.stderr.contains("orders-0/00000000000000000000.log: position 0: batch crc"), "{bad:?}");
}

#[test]
fn a_path_that_is_not_there_ends_with_1_and_is_named() {
    let data = TempDir::new().unwrap();
    let missing = data.path().join("nothing");
    for command in ["dump", "verify"] {
        let ended = run(&["log", command, text(&missing)]);
        assert_eq!(ended.code, 1, "{ended:?}");
        assert!(ended.stderr.contains(&format!("--> {}", missing.display())), "{ended:?}");
        let empty = run(&["log", command, text(data.path())]);
        assert_eq!(empty.code, 1, "{empty:?}");
        assert!(empty.stderr.contains("no .log files there"), "{empty:?}");
    }
}
