use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use super::support::*;
use crate::config::TopicConfig;
use crate::log::{AppendOptions, Log, LogDirs, LogDirsOptions, Unusable};
use crate::types::{BrokerId, LeaderEpoch};

const LOG: &str = "00000000000000000000.log";

fn append_many(log: &Arc<Log>, count: i64) {
    for i in 0..count {
        append_ok(log, batch(NOW + i, &[format!("value {i}").as_bytes()]));
    }
}

/// Opens the fixture's log again and waits until it is recovered.
fn reopened(fixture: &mut Fixture, config: TopicConfig) -> Arc<Log> {
    fixture.open();
    let log = fixture.log(config);
    log.ready().wait_blocking().unwrap();
    log
}

#[test]
fn after_a_crash_everything_that_was_appended_is_there() {
    let mut fixture = Fixture::new();
    let rolling = TopicConfig { segment_bytes: 2000, index_interval_bytes: 200, ..config() };
    let log = fixture.log(rolling.clone());
    append_many(&log, 100);
    log.begin_epoch(LeaderEpoch(2));
    log.append(batch(NOW, &[b"last"]), LeaderEpoch(2), AppendOptions::default()).wait_blocking().unwrap();
    let before = consume(&log, 0, 101, 1 << 20);
    drop(log);
    fixture.crash();
    let log = reopened(&mut fixture, rolling);
    assert!(!fixture.dirs().was_clean());
    assert_eq!(log.log_end_offset(), at(101));
    assert_eq!(consume(&log, 0, 101, 700), before);
    assert_eq!(log.end_offset_for_epoch(LeaderEpoch(0)), Some((LeaderEpoch(0), at(100))));
    assert!(append(&log, batch(NOW, &[b"more"])).is_err(), "epoch 2 is remembered");
}

#[test]
fn a_torn_tail_is_cut_at_the_first_bad_batch() {
    for cut in [2usize, 30, 61, 75] {
        let mut fixture = Fixture::new();
        let log = fixture.log(config());
        append_many(&log, 10);
        let size = log.size_bytes();
        drop(log);
        fixture.crash();
        let file = OpenOptions::new().write(true).open(fixture.file(LOG)).unwrap();
        // The last batch loses its end, as if its pages had not been written.
        file.write_all_at(&vec![0; cut], size - cut as u64).unwrap();
        let log = reopened(&mut fixture, config());
        assert_eq!(log.log_end_offset(), at(9), "{cut}");
        assert_eq!(append_ok(&log, batch(NOW, &[b"again"])).first_offset, at(9));
        assert_eq!(values(&log)[9], b"again");
    }
}

#[test]
fn a_batch_after_a_gap_of_zeros_is_not_data() {
    let mut fixture = Fixture::new();
    let log = fixture.log(config());
    append_many(&log, 9);
    let nine = log.size_bytes();
    append_many(&log, 1);
    let ten = log.size_bytes();
    append_many(&log, 1);
    drop(log);
    fixture.crash();
    let file = OpenOptions::new().write(true).open(fixture.file(LOG)).unwrap();
    file.write_all_at(&vec![0; (ten - nine) as usize], nine).unwrap();
    let log = reopened(&mut fixture, config());
    assert_eq!(log.log_end_offset(), at(9));
    append_ok(&log, batch(NOW, &[b"new"]));
    drop(log);
    fixture.crash();
    let log = reopened(&mut fixture, config());
    assert_eq!(log.log_end_offset(), at(10), "the old batch after the gap does not come back");
    assert_eq!(values(&log)[9], b"new");
}

#[test]
fn a_bad_batch_below_the_recovery_point_is_not_cut_and_carried_on() {
    let mut fixture = Fixture::new();
    let log = fixture.log(config());
    append_many(&log, 10);
    log.flush().wait_blocking().unwrap();
    fixture.dirs().housekeep();
    append_many(&log, 5);
    drop(log);
    fixture.crash();
    let file = OpenOptions::new().write(true).open(fixture.file(LOG)).unwrap();
    file.write_all_at(&[0xff; 20], 80).unwrap();
    let before = fs::read(fixture.file(LOG)).unwrap();
    fixture.open();
    let log = fixture.log(config());
    let error = log.ready().wait_blocking().unwrap_err();
    assert!(matches!(error, Unusable::Corrupt { .. }), "{error}");
    assert!(append(&log, batch(NOW, &[b"v"])).is_err());
    assert_eq!(fs::read(fixture.file(LOG)).unwrap(), before, "the file is left for inspection");
}

#[test]
fn after_a_clean_stop_no_file_of_the_log_is_touched_until_it_is_used() {
    let mut fixture = Fixture::new();
    let log = fixture.log(config());
    append_many(&log, 10);
    log.update_high_watermark(at(10));
    fixture.close();
    assert!(append(&log, batch(NOW, &[b"late"])).is_err(), "appends after the stop are refused");
    drop(log);
    assert!(fixture.path().join(".kafka_cleanshutdown").exists());
    fixture.open();
    assert!(!fixture.path().join(".kafka_cleanshutdown").exists());
    assert!(fixture.dirs().was_clean());
    assert!(!fixture.dirs().data_may_be_lost());
    let away = fixture.path().join("elsewhere");
    fs::rename(fixture.path().join("t-0"), &away).unwrap();
    let log = fixture.log(config());
    assert!(log.is_recovered());
    assert_eq!((log.log_end_offset(), log.high_watermark()), (at(10), at(10)));
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(0)));
    fs::rename(&away, fixture.path().join("t-0")).unwrap();
    assert_eq!(values(&log).len(), 10);
    assert_eq!(append_ok(&log, batch(NOW, &[b"v"])).first_offset, at(10));
}

#[test]
fn producers_are_remembered_across_clean_stops_and_crashes() {
    let mut fixture = Fixture::new();
    let rolling = TopicConfig { segment_bytes: 500, ..config() };
    let log = fixture.log(rolling.clone());
    for i in 0..20 {
        append_ok(&log, idempotent(1, 0, i, 1));
        append_ok(&log, idempotent(2, 3, i * 2, 2));
    }
    let before = log.producers().wait_blocking().unwrap();
    drop(log);
    fixture.crash();
    let log = reopened(&mut fixture, rolling.clone());
    assert_eq!(log.producers().wait_blocking().unwrap(), before);
    assert!(append_ok(&log, idempotent(1, 0, 19, 1)).duplicate);
    drop(log);
    fixture.close();
    let log = reopened(&mut fixture, rolling);
    assert_eq!(log.producers().wait_blocking().unwrap(), before);
    assert!(append_ok(&log, idempotent(2, 3, 38, 2)).duplicate);
    assert!(!append_ok(&log, idempotent(2, 3, 40, 2)).duplicate);
}

#[test]
fn the_page_cache_survives_a_killed_process_but_a_forged_proof_does_not_count() {
    let mut fixture = Fixture::new();
    assert!(fixture.dirs().data_may_be_lost(), "a new directory proves nothing");
    fixture.dirs().registered().unwrap();
    fixture.crash();
    fixture.open();
    assert!(!fixture.dirs().data_may_be_lost(), "same boot, same device, no error");
    fixture.crash();
    let proof = fixture.path().join("ketcd-run");
    let text = fs::read_to_string(&proof).unwrap();
    fs::write(&proof, text.replace("none seen", "EIO")).unwrap();
    fixture.open();
    assert!(fixture.dirs().data_may_be_lost());
    fixture.crash();
    fixture.open();
    assert!(fixture.dirs().data_may_be_lost(), "still so until the broker has registered (N45)");
}

#[test]
fn a_copy_of_a_directory_proves_nothing_however_fresh_it_is() {
    // N40: the copy has the boot id, the device and the lifetime of its original.
    let mut fixture = Fixture::new();
    fixture.dirs().registered().unwrap();
    let copy = fixture.root.path().join("copy");
    fs::create_dir(&copy).unwrap();
    for file in ["meta.properties", "ketcd-run"] {
        fs::copy(fixture.path().join(file), copy.join(file)).unwrap();
    }
    fixture.crash();
    let dirs = LogDirs::open(LogDirsOptions { dirs: vec![copy], ..fixture.options() }).unwrap();
    assert!(dirs.data_may_be_lost());
    fixture.open();
    assert!(!fixture.dirs().data_may_be_lost(), "the original does");
}

#[test]
fn directories_vouch_for_the_last_registration_and_for_starts_that_ended_before_theirs() {
    let mut fixture = Fixture::new();
    let first = fixture.dirs().lifetime();
    assert!(fixture.dirs().vouched_lifetimes().is_empty());
    fixture.dirs().registered().unwrap();
    fixture.crash();
    fixture.open();
    let second = fixture.dirs().lifetime();
    assert_eq!(fixture.dirs().vouched_lifetimes(), [first]);
    // This one may have registered just before it was killed.
    fixture.crash();
    fixture.open();
    let third = fixture.dirs().lifetime();
    assert_eq!(fixture.dirs().vouched_lifetimes(), [first, second]);
    fixture.dirs().registered().unwrap();
    fixture.close();
    fixture.open();
    assert_eq!(fixture.dirs().vouched_lifetimes(), [third], "a clean stop vouches too");
}

#[test]
fn an_automatic_node_id_is_what_the_first_directory_remembers_that_is_not_new() {
    let mut fixture = Fixture::new();
    fixture.crash();
    let new = fixture.root.path().join("new");
    assert_eq!(LogDirs::node_id_on_disk(std::slice::from_ref(&new)).unwrap(), None);
    assert_eq!(LogDirs::node_id_on_disk(&[new, fixture.path()]).unwrap(), Some(BrokerId(1)));
}

#[test]
fn a_roll_that_was_cut_short_is_finished_by_recovery() {
    let mut fixture = Fixture::new();
    let rolling = TopicConfig { segment_bytes: 1000, ..config() };
    let log = fixture.log(rolling.clone());
    for _ in 0..4 {
        append_ok(&log, batch(NOW, &[&[1; 300]]));
    }
    log.flush().wait_blocking().unwrap();
    fixture.dirs().housekeep();
    drop(log);
    fixture.crash();
    // The new file was created, the old one not trimmed yet.
    fs::write(fixture.file("00000000000000000004.log"), b"").unwrap();
    let old = OpenOptions::new().write(true).open(fixture.file("00000000000000000002.log")).unwrap();
    old.set_len(5000).unwrap();
    let log = reopened(&mut fixture, rolling);
    assert_eq!(log.log_end_offset(), at(4));
    assert_eq!(values(&log).len(), 4);
    assert_eq!(append_ok(&log, batch(NOW, &[b"v"])).first_offset, at(4));
    assert_eq!(values(&log).len(), 5);
}

#[test]
fn a_log_can_be_cut_back_to_any_batch_and_goes_on_from_there() {
    let mut fixture = Fixture::new();
    let rolling = TopicConfig { segment_bytes: 1000, index_interval_bytes: 100, ..config() };
    let log = fixture.log(rolling.clone());
    for i in 0..20 {
        log.append(idempotent(1, 0, i * 2, 2), LeaderEpoch(i / 5), AppendOptions::default())
            .wait_blocking()
            .unwrap();
    }
    let all = consume(&log, 0, 40, 1 << 20);
    log.flush().wait_blocking().unwrap();
    for (to, end) in [(40, 40), (39, 38), (22, 22), (21, 20), (3, 2)] {
        log.truncate_to(at(to)).wait_blocking().unwrap();
        assert_eq!(log.log_end_offset(), at(end));
        assert_eq!(consume(&log, 0, end, 300), all[..end as usize]);
        let producers = log.producers().wait_blocking().unwrap();
        assert_eq!(producers[0].last_sequence, Some(end as i32 - 1));
        assert_eq!(log.latest_epoch(), Some(LeaderEpoch((end as i32 - 1) / 10)));
        assert!(log.recovery_point() <= at(end));
    }
    drop(log);
    fixture.crash();
    let log = reopened(&mut fixture, rolling);
    assert_eq!(log.log_end_offset(), at(2));
    assert_eq!(append_ok(&log, idempotent(1, 0, 2, 2)).first_offset, at(2));
    assert_eq!(values(&log).len(), 4);
}
