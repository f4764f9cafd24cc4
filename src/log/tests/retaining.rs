use std::time::Duration;

use super::support::*;
use crate::config::TopicConfig;
use crate::log::ReadError;

#[test]
fn segments_roll_by_size_and_have_kafkas_names() {
    let fixture = Fixture::new();
    let log = fixture.log(TopicConfig { segment_bytes: 1000, index_interval_bytes: 100, ..config() });
    for _ in 0..10 {
        append_ok(&log, batch(NOW, &[&[0; 300]]));
    }
    let names = |suffix: &str| {
        let mut names: Vec<_> = std::fs::read_dir(fixture.path().join("t-0"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(suffix))
            .collect();
        names.sort();
        names
    };
    assert_eq!(names(".log")[..2], ["00000000000000000000.log", "00000000000000000002.log"]);
    assert_eq!(names(".log").len(), 5);
    assert_eq!(names(".index").len(), 4, "the active segment's index is in memory");
    assert_eq!(names(".snapshot").len(), 4);
    let first = std::fs::metadata(fixture.file("00000000000000000000.log")).unwrap().len();
    assert!(first > 600 && first <= 1000, "trimmed to its end: {first}");
}

#[test]
fn segments_roll_by_time_between_their_first_and_next_record() {
    let fixture = Fixture::new();
    let log = fixture.log(TopicConfig { segment_ms: 1000, ..config() });
    for timestamp in [NOW, NOW + 1000, NOW + 1001, NOW + 1500, NOW + 2002] {
        append_ok(&log, batch(timestamp, &[b"v"]));
    }
    let bases: Vec<_> = log.segments().unwrap().iter().map(|segment| segment.base_offset()).collect();
    assert_eq!(bases, [0, 2, 4]);
}

#[test]
fn retention_by_time_deletes_old_segments_and_even_the_active_one() {
    let fixture = Fixture::new();
    let log = fixture.log(TopicConfig { segment_bytes: 1000, retention_ms: Some(10_000), ..config() });
    for i in 0..10 {
        append_ok(&log, batch(NOW + i * 1000, &[&[0; 300]]));
    }
    assert_eq!(log.apply_retention(NOW + 15_000).wait_blocking().unwrap(), 0, "nothing is committed");
    log.update_high_watermark(at(10));
    assert_eq!(log.apply_retention(NOW + 15_000).wait_blocking().unwrap(), 2);
    assert_eq!(log.log_start_offset(), at(4));
    assert_eq!(log.apply_retention(NOW + 60_000).wait_blocking().unwrap(), 3);
    assert_eq!((log.log_start_offset(), log.log_end_offset(), log.size_bytes()), (at(10), at(10), 0));
    assert_eq!(append_ok(&log, batch(NOW, &[b"next"])).first_offset, at(10));
}

#[test]
fn retention_by_size_keeps_at_least_what_was_asked_for() {
    let fixture = Fixture::new();
    let log = fixture.log(TopicConfig { segment_bytes: 1000, retention_bytes: Some(1500), ..config() });
    for _ in 0..20 {
        append_ok(&log, batch(NOW, &[&[0; 300]]));
    }
    log.update_high_watermark(at(20));
    log.apply_retention(NOW).wait_blocking().unwrap();
    let size = log.size_bytes();
    assert!((1500..2300).contains(&size), "{size}");
    let on_disk: u64 = log.segments().unwrap().iter().map(|segment| u64::from(segment.size_bytes())).sum();
    assert_eq!(size, on_disk);
}

#[test]
fn delete_records_moves_the_start_and_survives_a_crash() {
    let mut fixture = Fixture::new();
    let rolling = TopicConfig { segment_bytes: 1000, ..config() };
    let log = fixture.log(rolling.clone());
    for _ in 0..10 {
        append_ok(&log, batch(NOW, &[&[0; 300]]));
    }
    log.update_high_watermark(at(8));
    let error = log.delete_records_before(at(9)).wait_blocking().unwrap_err();
    assert!(matches!(error, ReadError::OffsetOutOfRange { .. }), "{error}");
    assert_eq!(log.delete_records_before(at(5)).wait_blocking().unwrap(), at(5));
    assert_eq!(log.delete_records_before(at(3)).wait_blocking().unwrap(), at(5), "never back");
    assert_eq!(log.first_segment_offset(), Some(at(4)));
    drop(log);
    fixture.crash();
    fixture.open();
    let log = fixture.log(rolling);
    log.ready().wait_blocking().unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (at(5), at(10)));
    assert_eq!(consume(&log, 5, 10, 1 << 20).len(), 5);
}

#[test]
fn housekeeping_applies_retention_and_removes_files_after_their_delay() {
    let fixture = Fixture::new();
    let log = fixture.log(TopicConfig { segment_bytes: 1000, retention_ms: Some(1000), ..config() });
    for _ in 0..6 {
        append_ok(&log, batch(NOW, &[&[0; 300]]));
    }
    log.update_high_watermark(at(6));
    fixture.clock.advance(Duration::from_secs(5));
    fixture.dirs().housekeep();
    log.flush().wait_blocking().unwrap();
    assert_eq!(log.producers().wait_blocking().unwrap(), []);
    assert_eq!(log.log_start_offset(), at(6));
    assert!(fixture.file("00000000000000000000.log.deleted").exists());
    fixture.clock.advance(Duration::from_secs(61));
    fixture.dirs().housekeep();
    assert!(!fixture.file("00000000000000000000.log.deleted").exists());
}

#[test]
fn an_idle_log_lets_its_files_go_and_opens_them_again() {
    let fixture = Fixture::new();
    let log = fixture.log(config());
    append_ok(&log, idempotent(3, 0, 0, 2));
    fixture.clock.advance(Duration::from_secs(601));
    fixture.dirs().housekeep();
    let _ = log.flush().wait_blocking();
    while log.is_open() {
        std::thread::yield_now();
    }
    assert_eq!(log.recovery_point(), at(2));
    assert_eq!(append_ok(&log, idempotent(3, 0, 2, 1)).first_offset, at(2));
    assert!(append_ok(&log, idempotent(3, 0, 0, 2)).duplicate);
    assert_eq!(values(&log).len(), 3);
}

#[test]
fn retention_leaves_closed_logs_closed_until_their_records_are_old() {
    let mut fixture = Fixture::new();
    let log = fixture.log(TopicConfig { retention_ms: Some(100_000), ..config() });
    append_ok(&log, batch(NOW, &[b"v"]));
    log.update_high_watermark(at(1));
    drop(log);
    fixture.close();
    fixture.open();
    let log = fixture.log(TopicConfig { retention_ms: Some(100_000), ..config() });
    fixture.clock.advance(Duration::from_secs(100));
    fixture.dirs().housekeep();
    assert_eq!(log.apply_retention(0).wait_blocking().unwrap(), 0);
    assert_eq!(log.log_start_offset(), at(0));
    fixture.close();
    fixture.open();
    let log = fixture.log(TopicConfig { retention_ms: Some(100_000), ..config() });
    fixture.dirs().housekeep();
    assert!(!log.is_open(), "young: nobody needs to look");
    fixture.clock.advance(Duration::from_secs(1));
    fixture.dirs().housekeep();
    log.flush().wait_blocking().unwrap();
    let _ = log.producers().wait_blocking();
    assert_eq!(log.log_start_offset(), at(1));
}
