//! A log that takes what a leader has: gaps, cuts, new beginnings (rules F4, F5, F8, S5).

use std::sync::Arc;

use bytes::Bytes;

use super::support::*;
use crate::config::TopicConfig;
use crate::log::{AppendError, Log, ReadError};
use crate::protocol::compression::Codec;
use crate::protocol::records::BatchBuilder;
use crate::types::LeaderEpoch;

const EPOCH: LeaderEpoch = LeaderEpoch(0);

/// A batch as it stands at a leader.
fn at_leader(base: i64, epoch: i32, values: &[&[u8]]) -> Bytes {
    build(BatchBuilder::new().base_offset(base).leader_epoch(epoch), NOW, values)
}

fn follow(log: &Arc<Log>, base: i64, values: &[&[u8]]) {
    log.append_as_follower(at_leader(base, 0, values), EPOCH).wait_blocking().unwrap();
}

fn reopened(fixture: &mut Fixture, config: TopicConfig) -> Arc<Log> {
    fixture.open();
    let log = fixture.log(config);
    log.ready().wait_blocking().unwrap();
    log
}

fn offsets(log: &Arc<Log>) -> Vec<i64> {
    let end = log.log_end_offset().get();
    consume(log, log.log_start_offset().get(), end, 1 << 20).iter().map(|record| record.offset).collect()
}

fn small() -> TopicConfig {
    TopicConfig { segment_bytes: 400, index_interval_bytes: 100, ..config() }
}

#[test]
fn offsets_that_compaction_left_out_at_the_leader_are_left_out_here() {
    for config in [config(), small()] {
        let mut fixture = Fixture::new();
        let log = fixture.log(config.clone());
        for base in [3, 4, 10, 25, 26, 90, 91] {
            follow(&log, base, &[b"a"]);
        }
        assert_eq!(offsets(&log), [3, 4, 10, 25, 26, 90, 91]);
        assert_eq!(log.log_end_offset(), at(92));
        log.flush().wait_blocking().unwrap();
        drop(log);
        // A gap is no damage, though this log was never cleaned, and its topic need not be compacted any more.
        fixture.crash();
        std::fs::remove_file(fixture.file("leader-epoch-checkpoint")).unwrap();
        let log = reopened(&mut fixture, config.clone());
        assert_eq!(offsets(&log), [3, 4, 10, 25, 26, 90, 91]);
        let error = log.append_as_follower(at_leader(91, 0, &[b"b"]), EPOCH).wait_blocking().unwrap_err();
        assert!(matches!(error, AppendError::NotContiguous { .. }), "{error}");
        follow(&log, 92, &[b"b"]);
    }
}

#[test]
fn a_cut_into_a_gap_ends_the_log_where_it_says() {
    for (config, clean) in [(config(), false), (small(), false), (config(), true), (small(), true)] {
        for to in [1, 7, 12, 30, 60, 89] {
            let mut fixture = Fixture::new();
            let log = fixture.log(config.clone());
            for base in [3, 4, 10, 25, 26, 90, 91] {
                follow(&log, base, &[b"a"]);
            }
            log.flush().wait_blocking().unwrap();
            log.truncate_to(at(to)).wait_blocking().unwrap();
            let left: Vec<i64> = [3, 4, 10, 25, 26].into_iter().filter(|offset| *offset < to).collect();
            assert_eq!((log.log_end_offset(), offsets(&log)), (at(to), left.clone()), "{to}");
            assert!(log.high_watermark() <= at(to) && log.recovery_point() <= at(to));
            log.flush().wait_blocking().unwrap();
            drop(log);
            if clean {
                fixture.close();
            } else {
                fixture.crash();
            }
            let log = reopened(&mut fixture, config.clone());
            assert_eq!((log.log_end_offset(), offsets(&log)), (at(to), left.clone()), "{to}");
            // The offsets of the gap are not given to others.
            assert_eq!(append_ok(&log, batch(NOW, &[b"v"])).first_offset, at(to));
            assert_eq!(offsets(&log).len(), left.len() + 1);
        }
    }
}

#[test]
fn an_empty_log_takes_a_batch_that_began_before_it() {
    let mut fixture = Fixture::new();
    let log = fixture.log(config());
    follow(&log, 0, &[b"old"]);
    log.flush().wait_blocking().unwrap();
    log.restart_at(at(12)).wait_blocking().unwrap();
    let whole = at_leader(10, 0, &[b"a", b"b", b"c", b"d"]);
    log.append_as_follower(whole, EPOCH).wait_blocking().unwrap();
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (at(12), at(14)));
    assert_eq!(offsets(&log), [12, 13], "what was deleted at the leader is not read");
    // Only into an empty log, and only if the log begins inside of it.
    let again = log.append_as_follower(at_leader(13, 0, &[b"x", b"y"]), EPOCH).wait_blocking();
    assert!(matches!(again, Err(AppendError::NotContiguous { .. })));
    drop(log);
    fixture.crash();
    let log = reopened(&mut fixture, config());
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (at(12), at(14)));
    assert_eq!(offsets(&log), [12, 13]);
}

#[test]
fn a_log_that_begins_anew_forgets_everything() {
    for to in [0, 5, 39, 40, 1000] {
        let mut fixture = Fixture::new();
        let log = fixture.log(small());
        for i in 0..20 {
            append_ok(&log, idempotent(1, 0, i * 2, 2));
        }
        log.update_high_watermark(at(40));
        log.restart_at(at(to)).wait_blocking().unwrap();
        let all = (log.log_start_offset(), log.high_watermark(), log.log_end_offset());
        assert_eq!(all, (at(to), at(to), at(to)));
        assert_eq!((log.latest_epoch(), log.size_bytes()), (None, 0));
        assert!(log.producers().wait_blocking().unwrap().is_empty());
        follow(&log, to, &[b"first"]);
        drop(log);
        fixture.crash();
        let log = reopened(&mut fixture, small());
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (at(to), at(to + 1)));
        assert_eq!(values(&log), [b"first"]);
        assert_eq!(log.end_offset_for_epoch(EPOCH), Some((EPOCH, at(to + 1))));
    }
}

/// What a crash after `steps` steps of `work` leaves, and whether there were more.
fn crashed(steps: u64, work: impl Fn(&Arc<Log>) -> bool) -> (Fixture, Arc<Log>, bool) {
    let mut fixture = Fixture::new();
    let log = fixture.log(small());
    for i in 0..10 {
        log.begin_epoch(LeaderEpoch(i));
        let options = crate::log::AppendOptions::default();
        log.append(idempotent(1, 0, i * 2, 2), LeaderEpoch(i), options).wait_blocking().unwrap();
    }
    log.update_high_watermark(at(20));
    log.flush().wait_blocking().unwrap();
    fixture.dirs().housekeep();
    fixture.dirs().faults(0).unwrap().set_steps_left(Some(steps));
    let is_done = work(&log);
    drop(log);
    fixture.crash();
    let log = reopened(&mut fixture, small());
    (fixture, log, is_done)
}

fn is_sound(log: &Arc<Log>, steps: u64) {
    let (start, end) = (log.log_start_offset(), log.log_end_offset());
    assert!(start <= log.high_watermark() && log.high_watermark() <= end, "after {steps} steps");
    // Epochs are those of the records that are there.
    for record in consume(log, start.get(), end.get(), 1 << 20) {
        assert_eq!(
            log.epoch_of(at(record.offset)),
            Some(LeaderEpoch(record.leader_epoch)),
            "after {steps} steps"
        );
    }
    if start == end {
        assert_eq!(log.latest_epoch(), None, "after {steps} steps: an empty log has had no epoch");
    }
}

#[test]
fn a_crash_at_any_step_of_a_new_beginning_leaves_the_old_log_a_part_of_it_or_the_new_one() {
    for to in [7, 500] {
        for steps in 0.. {
            let (_fixture, log, is_done) =
                crashed(steps, |log| log.restart_at(at(to)).wait_blocking().is_ok());
            is_sound(&log, steps);
            let end = log.log_end_offset();
            assert!(end <= at(20) || end == at(to), "after {steps} steps: {end}");
            if is_done {
                assert_eq!((log.log_start_offset(), end), (at(to), at(to)));
                assert!(steps > 10, "{steps} steps");
                break;
            }
            // Whatever is left, the next attempt gets there.
            log.restart_at(at(to)).wait_blocking().unwrap();
            assert_eq!((log.log_start_offset(), log.log_end_offset()), (at(to), at(to)));
        }
    }
}

#[test]
fn a_crash_at_any_step_of_a_cut_leaves_a_log_that_can_be_cut_again() {
    for steps in 0.. {
        let (_fixture, log, is_done) = crashed(steps, |log| log.truncate_to(at(9)).wait_blocking().is_ok());
        is_sound(&log, steps);
        let end = log.log_end_offset();
        assert!(end >= at(8) && end <= at(20), "after {steps} steps: {end}");
        if is_done {
            assert_eq!(end, at(8));
            assert!(steps > 5, "{steps} steps");
            break;
        }
        log.truncate_to(at(9)).wait_blocking().unwrap();
        assert_eq!((log.log_end_offset(), log.latest_epoch()), (at(8), Some(LeaderEpoch(3))));
    }
}

#[test]
fn batches_larger_than_a_segment_and_compressed_ones_are_taken_as_they_are() {
    let fixture = Fixture::new();
    let log = fixture.log(TopicConfig { max_message_bytes: 100, ..small() });
    let large = vec![7; 5000];
    let mut next = 0;
    for codec in Codec::ALL {
        let builder = BatchBuilder::new().codec(codec, None).base_offset(next).leader_epoch(0);
        let bytes = build(builder, NOW, &[&large, b"small"]);
        log.append_as_follower(bytes.clone(), EPOCH).wait_blocking().unwrap();
        let options = crate::log::ReadOptions {
            max_bytes: 1 << 20,
            min_one_batch: true,
            end: log.log_end_offset(),
            cursor: None,
        };
        let read = log.read(at(next), options).wait_blocking().unwrap();
        assert_eq!(read.chunks[0], bytes, "{codec:?}");
        next += 2;
    }
}

#[test]
fn of_batches_of_which_one_is_bad_those_before_it_are_taken() {
    let fixture = Fixture::new();
    // With the files closed, and with them open.
    for (name, first) in [("closed", 0), ("open", 1)] {
        let log = fixture.log_of(name, 0, config());
        if first > 0 {
            follow(&log, 0, &[b"before"]);
        }
        let batches: Vec<Bytes> = (first..first + 3).map(|base| at_leader(base, 0, &[b"v"])).collect();
        let mut bytes = batches.concat();
        let bad = bytes.len() - batches[2].len() - 1;
        bytes[bad] ^= 1;
        let error = log.append_as_follower(bytes.into(), EPOCH).wait_blocking().unwrap_err();
        assert!(matches!(error, AppendError::Corrupt(_)), "{error}");
        assert_eq!(log.log_end_offset(), at(first + 1));
    }
}

#[test]
fn with_flush_ack_a_followers_end_counts_when_it_is_synced() {
    let fixture = Fixture::new();
    let log = fixture.log(TopicConfig { flush_ack: true, ..config() });
    for base in 0..3 {
        follow(&log, base, &[b"v"]);
        assert_eq!((log.recovery_point(), log.counting_end()), (at(base + 1), at(base + 1)));
    }
    let lazy = fixture.log_of("lazy", 0, config());
    follow(&lazy, 0, &[b"v"]);
    assert_eq!((lazy.recovery_point(), lazy.counting_end()), (at(0), at(1)));
    lazy.update_config(Arc::new(TopicConfig { flush_ack: true, ..config() }));
    assert_eq!(lazy.counting_end(), at(0));
}

#[test]
fn the_log_start_follows_the_leaders_up_to_the_high_watermark() {
    let fixture = Fixture::new();
    let log = fixture.log(config());
    for base in 0..5 {
        follow(&log, base, &[b"v"]);
    }
    log.update_high_watermark(at(3));
    log.raise_log_start(at(5));
    log.settled().wait_blocking().unwrap();
    assert_eq!(log.log_start_offset(), at(3));
    log.raise_log_start(at(1));
    log.settled().wait_blocking().unwrap();
    assert_eq!(log.log_start_offset(), at(3));
}

#[test]
fn nothing_above_the_high_watermark_is_deleted() {
    let fixture = Fixture::new();
    let keys = TopicConfig { retention_ms: Some(1), retention_bytes: Some(1), ..small() };
    let log = fixture.log(keys);
    for base in 0..20 {
        follow(&log, base, &[b"0123456789012345678901234567890123456789"]);
    }
    let later = NOW + 1_000_000;
    assert_eq!(log.apply_retention(later).wait_blocking().unwrap(), 0);
    log.update_high_watermark(at(10));
    assert!(log.apply_retention(later).wait_blocking().unwrap() > 0);
    assert!(log.log_start_offset() > at(0) && log.log_start_offset() <= at(10));
    let refused = log.delete_records_before(at(11)).wait_blocking().unwrap_err();
    assert!(matches!(refused, ReadError::OffsetOutOfRange { .. }), "{refused}");
}

#[test]
fn the_high_watermark_comes_back_from_its_checkpoint_within_the_log() {
    let mut fixture = Fixture::new();
    let log = fixture.log(config());
    for base in 0..5 {
        follow(&log, base, &[b"v"]);
    }
    log.update_high_watermark(at(3));
    fixture.dirs().housekeep();
    let text = std::fs::read_to_string(fixture.path().join("replication-offset-checkpoint")).unwrap();
    assert_eq!(text, "0\n1\nt 0 3\n");
    log.update_high_watermark(at(4));
    drop(log);
    fixture.crash();
    let log = reopened(&mut fixture, config());
    assert_eq!(log.high_watermark(), at(3), "as last written");
    log.update_high_watermark(at(5));
    drop(log);
    fixture.close();
    let log = reopened(&mut fixture, config());
    assert_eq!(log.high_watermark(), at(5), "a clean stop keeps it exactly");
    fixture.dirs().housekeep();
    drop(log);
    fixture.crash();
    // The log lost its end: so does the high watermark.
    let file =
        std::fs::OpenOptions::new().write(true).open(fixture.file("00000000000000000000.log")).unwrap();
    file.set_len(at_leader(0, 0, &[b"v"]).len() as u64 * 2).unwrap();
    let _ = std::fs::remove_file(fixture.path().join("recovery-point-offset-checkpoint"));
    let log = reopened(&mut fixture, config());
    assert_eq!((log.high_watermark(), log.log_end_offset()), (at(2), at(2)));
    let text = std::fs::read_to_string(fixture.path().join("replication-offset-checkpoint")).unwrap();
    assert_eq!(text, "0\n1\nt 0 2\n", "what comes there next is not committed after another crash");
}

/// After an unclean election other records come where committed ones were: those are not committed for that.
#[test]
fn a_cut_takes_back_what_the_disk_remembers_as_committed() {
    for begins_anew in [false, true] {
        let mut fixture = Fixture::new();
        let log = fixture.log(config());
        for base in 0..5 {
            follow(&log, base, &[b"v"]);
        }
        log.update_high_watermark(at(4));
        fixture.dirs().housekeep();
        let cut = if begins_anew { log.restart_at(at(2)) } else { log.truncate_to(at(2)) };
        cut.wait_blocking().unwrap();
        for base in 2..5 {
            let other = at_leader(base, 1, &[b"w"]);
            log.append_as_follower(other, LeaderEpoch(1)).wait_blocking().unwrap();
        }
        log.flush().wait_blocking().unwrap();
        drop(log);
        fixture.crash();
        let log = reopened(&mut fixture, config());
        assert_eq!((log.high_watermark(), log.log_end_offset()), (at(2), at(5)));
    }
}
