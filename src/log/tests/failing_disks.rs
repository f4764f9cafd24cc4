use std::process::Command;
use std::sync::Arc;

use super::support::*;
use crate::config::TopicConfig;
use crate::log::{AppendError, LogDirs, Unusable};

#[test]
fn a_full_disk_refuses_appends_keeps_reads_and_recovers_without_a_restart() {
    let fixture = Fixture::new();
    let log = fixture.log(config());
    append_ok(&log, batch(NOW, &[b"before"]));
    let faults = fixture.dirs().faults(0).unwrap();
    faults.set_space_left(Some(100_000));
    let mut written = 1;
    let error = loop {
        match append(&log, batch(NOW, &[&[5; 9000]])) {
            Ok(_) => written += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, AppendError::Unusable(Unusable::DiskFull { .. })), "{error}");
    assert!(written > 5, "what has space is written: {written}");
    assert_eq!(values(&log).len(), written);
    let other = fixture.log_of("other", 0, config());
    assert!(matches!(
        append(&other, batch(NOW, &[&[5; 9000]])),
        Err(AppendError::Unusable(Unusable::DiskFull { .. }))
    ));
    fixture.dirs().housekeep();
    faults.set_space_left(None);
    assert_eq!(append_ok(&log, batch(NOW, &[&[6; 9000]])).first_offset.get(), written as i64);
    append_ok(&other, batch(NOW, &[b"v"]));
    assert_eq!(values(&log).len(), written + 1);
}

#[test]
fn an_error_of_one_log_says_what_failed_and_where_and_leaves_the_others_alone() {
    let fixture = Fixture::new();
    std::fs::write(fixture.path().join("t-0"), b"a file where a directory should be").unwrap();
    let log = fixture.log(config());
    let error = append(&log, batch(NOW, &[b"v"])).unwrap_err();
    assert!(matches!(error, AppendError::Unusable(Unusable::Io(_))), "{error}");
    let (told, home) = (error.to_string(), fixture.path());
    assert!(told.contains("open of a log in ") && told.contains(home.to_str().unwrap()), "{told}");
    append_ok(&fixture.log_of("other", 0, config()), batch(NOW, &[b"v"]));
}

#[test]
fn a_full_disk_in_the_middle_of_a_roll_leaves_the_log_as_it_was() {
    let fixture = Fixture::new();
    let log = fixture.log(TopicConfig { segment_bytes: 5000, ..config() });
    for _ in 0..4 {
        append_ok(&log, batch(NOW, &[&[1; 1000]]));
    }
    let faults = fixture.dirs().faults(0).unwrap();
    faults.set_space_left(Some(0));
    for _ in 0..3 {
        assert!(append(&log, batch(NOW, &[&[2; 1000]])).is_err());
    }
    faults.set_space_left(None);
    append_ok(&log, batch(NOW, &[&[3; 1000]]));
    assert_eq!(values(&log).len(), 5);
}

#[test]
fn the_first_failed_sync_ends_the_directory_for_good_and_is_on_record() {
    let mut fixture = Fixture::new();
    fixture.dirs().registered().unwrap();
    let log = fixture.log(TopicConfig { flush_ack: true, ..config() });
    append_ok(&log, batch(NOW, &[b"good"]));
    let faults = fixture.dirs().faults(0).unwrap();
    faults.set_fail_syncs(true);
    let error = append(&log, batch(NOW, &[b"bad"])).unwrap_err();
    assert!(matches!(error, AppendError::Unusable(Unusable::Offline { .. })), "{error}");
    faults.set_fail_syncs(false);
    let again = append(&log, batch(NOW, &[b"again"])).unwrap_err();
    assert!(matches!(again, AppendError::Unusable(Unusable::Offline { .. })), "never retried: {again}");
    assert_eq!(log.recovery_point(), at(1));
    assert!(fixture.dirs().directories()[0].failed.is_some());
    // A session that is registered anew does not wipe the record out.
    fixture.dirs().registered().unwrap();
    drop(log);
    fixture.close();
    assert!(!fixture.path().join(".kafka_cleanshutdown").exists());
    fixture.open();
    assert!(fixture.dirs().data_may_be_lost());
}

#[test]
fn a_dead_disk_is_noticed_without_any_append() {
    let fixture = Fixture::new();
    fixture.dirs().faults(0).unwrap().set_fail_syncs(true);
    fixture.dirs().housekeep();
    assert!(fixture.dirs().directories()[0].failed.is_some());
}

/// A real file system of 1 MiB, where the machine lets us mount one.
#[test]
fn a_real_small_file_system_fills_up_without_sigbus() {
    let mut fixture = Fixture::new();
    fixture.crash();
    let small = fixture.root.path().join("small");
    std::fs::create_dir(&small).unwrap();
    let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(&small).status();
    if !mounted.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no right to mount a file system");
        return;
    }
    let mut options = fixture.options();
    options.dirs = vec![small.clone()];
    options.options.reserve_bytes = 100_000;
    let dirs = LogDirs::open(options).unwrap();
    let log = dirs.open_log(&partition_of("t", 0), topic_id(1), Arc::new(config())).unwrap();
    let mut written = 0;
    while append(&log, batch(NOW, &[&[written as u8; 10_000]])).is_ok() {
        written += 1;
        assert!(written < 200, "the disk is never full");
    }
    assert!(written > 50, "{written}");
    let read = values(&log);
    assert_eq!(read.len(), written);
    assert!(read.iter().enumerate().all(|(i, value)| value.iter().all(|byte| *byte == i as u8)));
    log.update_high_watermark(log.log_end_offset());
    drop((log, dirs));
    let unmounted = Command::new("umount").arg("-l").arg(&small).status().unwrap();
    assert!(unmounted.success());
}
