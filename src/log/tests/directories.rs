use std::fs;
use std::sync::Arc;

use super::support::*;
use crate::log::{LogDirs, OpenError};
use crate::types::{BrokerId, LeaderEpoch};

#[test]
fn a_directory_that_is_in_use_is_refused() {
    let fixture = Fixture::new();
    assert!(matches!(LogDirs::open(fixture.options()), Err(OpenError::Locked { .. })));
}

#[test]
fn another_brokers_directory_is_refused() {
    let mut fixture = Fixture::new();
    fixture.close();
    let mut options = fixture.options();
    options.node_id = BrokerId(2);
    assert!(matches!(LogDirs::open(options), Err(OpenError::Mismatch { key: "node.id", .. })));
}

#[test]
fn the_files_of_a_directory_are_kafkas() {
    let mut fixture = Fixture::new();
    let log = fixture.log(config());
    log.begin_epoch(LeaderEpoch(0));
    append_ok(&log, batch(NOW, &[b"v"]));
    log.update_high_watermark(at(1));
    drop(log);
    fixture.close();
    let text = |name: &str| fs::read_to_string(fixture.path().join(name)).unwrap();
    let meta = text("meta.properties");
    for line in ["version=1", "node.id=1", "cluster.id=cluster"] {
        assert!(meta.lines().any(|found| found == line), "{line} in {meta}");
    }
    assert_eq!(text("recovery-point-offset-checkpoint"), "0\n1\nt 0 1\n");
    assert_eq!(text("replication-offset-checkpoint"), "0\n1\nt 0 1\n");
    assert_eq!(text("t-0/leader-epoch-checkpoint"), "0\n1\n0 0\n");
    assert_eq!(text("t-0/partition.metadata"), format!("version: 0\ntopic_id: {}", topic_id(1)));
    assert_eq!(text(".kafka_cleanshutdown"), "{\"version\":0,\"brokerEpoch\":5}");
    let segment = fs::read(fixture.file("00000000000000000000.log")).unwrap();
    assert_eq!(segment.len(), batch(NOW, &[b"v"]).len(), "no zeros of preallocation are left");
    assert_eq!(fs::read(fixture.file("00000000000000000000.timeindex")).unwrap().len(), 12);
}

#[test]
fn a_log_of_another_topic_id_is_moved_aside() {
    let mut fixture = Fixture::new();
    for clean in [true, false] {
        let log = fixture.log(config());
        append_ok(&log, batch(NOW, &[b"old"]));
        drop(log);
        if clean {
            fixture.close();
        } else {
            fixture.crash();
        }
        fixture.open();
        let dirs = fixture.dirs();
        let log = dirs.open_log(&partition_of("t", 0), topic_id(2), Arc::new(config())).unwrap();
        assert_eq!(log.log_end_offset(), at(0));
        append_ok(&log, batch(NOW, &[b"new"]));
        assert_eq!(values(&log), [b"new"]);
        dirs.delete_log(&log).wait_blocking().unwrap();
    }
}

#[test]
fn a_deleted_partition_frees_its_name_at_once_and_its_offsets_are_forgotten() {
    let mut fixture = Fixture::new();
    let log = fixture.log(config());
    for _ in 0..5 {
        append_ok(&log, batch(NOW, &[b"old"]));
    }
    log.flush().wait_blocking().unwrap();
    fixture.dirs().housekeep();
    fixture.dirs().delete_log(&log).wait_blocking().unwrap();
    assert!(append(&log, batch(NOW, &[b"late"])).is_err());
    let again = fixture.log(config());
    append_ok(&again, batch(NOW, &[b"new"]));
    drop((log, again));
    fixture.crash();
    fixture.open();
    let again = fixture.log(config());
    again.ready().wait_blocking().unwrap();
    assert_eq!(values(&again), [b"new"]);
    fixture.dirs().housekeep();
    let left: Vec<_> = fs::read_dir(fixture.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with("-delete"))
        .collect();
    assert_eq!(left, [] as [&str; 0]);
}

#[test]
fn new_logs_go_to_the_directory_with_the_fewest() {
    let mut fixture = Fixture::new();
    fixture.close();
    let mut options = fixture.options();
    options.dirs.push(fixture.root.path().join("second"));
    let dirs = LogDirs::open(options).unwrap();
    for partition in 0..6 {
        let log = dirs.open_log(&partition_of("t", partition), topic_id(1), Arc::new(config())).unwrap();
        append_ok(&log, batch(NOW, &[b"v"]));
    }
    let count = |path: &std::path::Path| {
        fs::read_dir(path).unwrap().filter(|e| e.as_ref().unwrap().file_type().unwrap().is_dir()).count()
    };
    assert_eq!(count(&fixture.path()), 3);
    assert_eq!(count(&fixture.root.path().join("second")), 3);
    assert_eq!(dirs.partitions_on_disk().len(), 6);
    assert_eq!(dirs.directories().len(), 2);
}

#[test]
fn logs_that_nobody_opened_stay_clean_over_several_clean_stops() {
    let mut fixture = Fixture::new();
    let log = fixture.log(config());
    append_ok(&log, batch(NOW, &[b"v"]));
    drop(log);
    fixture.close();
    for _ in 0..2 {
        fixture.open();
        assert!(fixture.dirs().was_clean());
        let on_disk = fixture.dirs().partitions_on_disk();
        assert_eq!((on_disk.len(), on_disk[0].topic_id), (1, Some(topic_id(1))));
        fixture.close();
    }
    fixture.open();
    let log = fixture.log(config());
    assert!(log.is_recovered());
    assert_eq!(values(&log), [b"v"]);
}
