use std::fs;
use std::sync::Arc;

use super::support::*;
use crate::config::TopicConfig;
use crate::log::{Log, LogDirs, OpenError};
use crate::types::LeaderEpoch;

fn rolling() -> TopicConfig {
    TopicConfig { segment_bytes: 3000, index_interval_bytes: 300, ..config() }
}

fn fill(log: &Arc<Log>) {
    for i in 0..60 {
        append_ok(log, idempotent(1, 0, i, 1));
        append_ok(log, batch(NOW + i64::from(i), &[&[b'z'; 100]]));
    }
}

/// Damages every file that `chosen` picks, in a way that `damage` says, and gives how many there were.
fn damage(fixture: &Fixture, chosen: impl Fn(&str) -> bool, damage: impl Fn(&mut Vec<u8>)) -> usize {
    let mut count = 0;
    for directory in [fixture.path(), fixture.path().join("t-0")] {
        for entry in fs::read_dir(directory).unwrap() {
            let entry = entry.unwrap();
            if entry.file_type().unwrap().is_file() && chosen(&entry.file_name().into_string().unwrap()) {
                let mut bytes = fs::read(entry.path()).unwrap();
                damage(&mut bytes);
                fs::write(entry.path(), bytes).unwrap();
                count += 1;
            }
        }
    }
    count
}

#[allow(clippy::ptr_arg)] // one of several ways to damage a file
fn garble(bytes: &mut Vec<u8>) {
    for (i, byte) in bytes.iter_mut().enumerate() {
        *byte = byte.wrapping_add(101).wrapping_add(i as u8);
    }
}

fn check_all(fixture: &Fixture, expected: &[Consumed]) {
    let log = fixture.log(rolling());
    log.ready().wait_blocking().unwrap();
    assert_eq!(consume(&log, 0, 120, 1000), expected);
    assert_eq!(consume(&log, 77, 120, 1000), expected[77..]);
    let found = log.offset_for_timestamp(NOW + 30, at(120)).wait_blocking().unwrap().unwrap();
    assert_eq!(found.offset, at(61));
    assert!(append_ok(&log, idempotent(1, 0, 59, 1)).duplicate);
    assert!(!append_ok(&log, idempotent(1, 0, 60, 1)).duplicate);
    assert_eq!(log.end_offset_for_epoch(LeaderEpoch(0)), Some((LeaderEpoch(0), at(121))));
}

#[test]
fn every_file_beside_the_segments_can_be_damaged_or_missing_without_loss() {
    let kinds = [
        ".index",
        ".timeindex",
        ".snapshot",
        "leader-epoch-checkpoint",
        "partition.metadata",
        "recovery-point-offset-checkpoint",
        "log-start-offset-checkpoint",
        "replication-offset-checkpoint",
        ".kafka_cleanshutdown",
        "ketcd-log-ends",
        "ketcd-run",
        "ketcd-canary",
    ];
    let ways: [fn(&mut Vec<u8>); 3] =
        [garble, |bytes| bytes.clear(), |bytes| bytes.truncate(bytes.len() / 2 + 1)];
    for clean in [true, false] {
        for kind in kinds {
            for (way, damaged) in ways.iter().enumerate() {
                let mut fixture = Fixture::new();
                let log = fixture.log(rolling());
                fill(&log);
                let expected = consume(&log, 0, 120, 1 << 20);
                let other = fixture.log_of("other", 0, config());
                append_ok(&other, batch(NOW, &[b"deleted"]));
                other.update_high_watermark(at(1));
                other.delete_records_before(at(1)).wait_blocking().unwrap();
                drop(other);
                fixture.dirs().registered().unwrap();
                log.flush().wait_blocking().unwrap();
                fixture.dirs().housekeep();
                drop(log);
                if clean {
                    fixture.close();
                } else {
                    fixture.crash();
                }
                let found = damage(&fixture, |name| name.ends_with(kind), damaged);
                let only_when_clean = [".kafka_cleanshutdown", "ketcd-log-ends"].contains(&kind);
                assert!(found > 0 || (only_when_clean && !clean), "{kind} is there to be damaged");
                fixture.open();
                if clean && only_when_clean {
                    assert!(!fixture.dirs().was_clean(), "{kind} way {way}");
                }
                check_all(&fixture, &expected);
            }
        }
    }
}

#[test]
fn missing_indexes_and_snapshots_are_rebuilt() {
    for clean in [true, false] {
        let mut fixture = Fixture::new();
        let log = fixture.log(rolling());
        fill(&log);
        let expected = consume(&log, 0, 120, 1 << 20);
        drop(log);
        if clean {
            fixture.close();
        } else {
            fixture.crash();
        }
        for entry in fs::read_dir(fixture.path().join("t-0")).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|kind| kind != "log") {
                fs::remove_file(path).unwrap();
            }
        }
        fixture.open();
        check_all(&fixture, &expected);
    }
}

#[test]
fn a_segment_full_of_noise_is_an_answer_and_no_panic() {
    let mut fixture = Fixture::new();
    let log = fixture.log(rolling());
    fill(&log);
    drop(log);
    fixture.close();
    damage(&fixture, |name| name.ends_with(".log"), garble);
    fixture.open();
    let log = fixture.log(rolling());
    let end = log.log_end_offset();
    let options = crate::log::ReadOptions { max_bytes: 1000, min_one_batch: true, end, cursor: None };
    assert!(log.read(at(0), options).wait_blocking().is_err());
    assert!(log.offset_for_timestamp(NOW, end).wait_blocking().is_err());
    assert!(append(&log, batch(NOW, &[b"v"])).is_err());
}

#[test]
fn meta_properties_of_another_broker_or_cluster_or_none_at_all_are_refused_in_words() {
    let mut fixture = Fixture::new();
    fixture.crash();
    let meta = fixture.path().join("meta.properties");
    let text = fs::read_to_string(&meta).unwrap();
    let open = |change: &str| {
        fs::write(&meta, change).unwrap();
        LogDirs::open(fixture.options()).unwrap_err()
    };
    assert!(matches!(
        open(&text.replace("node.id=1", "node.id=2")),
        OpenError::Mismatch { key: "node.id", .. }
    ));
    assert!(matches!(
        open(&text.replace("cluster.id=cluster", "cluster.id=other")),
        OpenError::Mismatch { key: "cluster.id", .. }
    ));
    assert!(matches!(open("noise"), OpenError::BadMetaProperties { .. }));
    assert!(matches!(open(""), OpenError::BadMetaProperties { .. }));
    fs::write(&meta, text).unwrap();
    LogDirs::open(fixture.options()).unwrap();
}
