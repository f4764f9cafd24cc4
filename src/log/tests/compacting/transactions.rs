use std::time::Duration;

use super::*;

const TRANSACTIONAL: i16 = 0x10;
const CONTROL: i16 = 0x20;

fn data(log: &Arc<Log>, producer: i64, sequence: i32, pairs: &[Pair<'_>]) -> i64 {
    append_raw(log, plain().producer(producer, 0, sequence).attributes(TRANSACTIONAL), pairs)
}

/// What Kafka's coordinator writes: key version 0 and type, value version 0 and coordinator epoch.
fn marker(log: &Arc<Log>, producer: i64, commits: bool) -> i64 {
    let end = log.log_end_offset().get();
    let mut builder = plain().producer(producer, 0, -1).attributes(TRANSACTIONAL | CONTROL);
    builder = builder.base_offset(end).leader_epoch(0);
    let key = [0, 0, 0, u8::from(commits)];
    let value = [0; 6];
    builder.push(NewRecord { timestamp: NOW, key: Some(&key), value: Some(&value), headers: &[] }).unwrap();
    log.append_as_follower(builder.build(), LeaderEpoch(0)).wait_blocking().unwrap();
    end
}

fn markers(log: &Arc<Log>) -> Vec<i64> {
    batches(log)
        .iter()
        .filter(|(h, _)| h.is_control() && h.record_count > 0)
        .map(|(h, _)| h.base_offset)
        .collect()
}

/// Something new for the cleaner, by nobody's transaction.
fn dirty(log: &Arc<Log>, value: &str) {
    put(log, &[("dirt", Some(value))]);
    roll(log);
}

#[test]
fn aborted_records_go_and_their_marker_follows_after_its_horizon() {
    let fixture = Fixture::new();
    let log = fixture.log(compacted());
    put(&log, &[("a", Some("before"))]);
    data(&log, 5, 0, &[("a", Some("aborted")), ("b", Some("aborted"))]);
    data(&log, 6, 0, &[("c", Some("committed"))]);
    let abort = marker(&log, 5, false);
    let commit = marker(&log, 6, true);
    // Both producers go on, so that nothing stays for their sequences.
    put(&log, &[("d", Some("1"))]);
    append_raw(&log, plain().producer(5, 0, 2), &[("e", Some("1"))]);
    append_raw(&log, plain().producer(6, 0, 1), &[("e", Some("2"))]);
    roll(&log);
    clean(&fixture);
    assert_eq!(texts(&log), ["0 a=before", "3 c=committed", "6 d=1", "8 e=2"]);
    assert_eq!(markers(&log), [abort, commit], "not in the round that removed the records");

    dirty(&log, "1");
    clean(&fixture);
    assert_eq!(markers(&log), [abort, commit], "its horizon begins");
    let horizon = |log: &Arc<Log>| {
        batches(log).iter().find(|(h, _)| h.base_offset == abort).unwrap().0.delete_horizon_ms()
    };
    assert_eq!(horizon(&log), Some(NOW + 10_000));

    fixture.clock.advance(Duration::from_secs(10));
    dirty(&log, "2");
    clean(&fixture);
    assert_eq!(markers(&log), [commit], "a commit stays as long as a record of its transaction");
    assert_eq!(texts(&log), ["0 a=before", "3 c=committed", "6 d=1", "8 e=2", "10 dirt=2"]);

    put(&log, &[("c", Some("newer"))]);
    dirty(&log, "3");
    clean(&fixture);
    dirty(&log, "4");
    clean(&fixture);
    fixture.clock.advance(Duration::from_secs(10));
    dirty(&log, "5");
    clean(&fixture);
    assert!(markers(&log).is_empty(), "{:?}", markers(&log));
}

#[test]
fn an_aborted_record_does_not_push_an_older_one_out() {
    let fixture = Fixture::new();
    let log = fixture.log(compacted());
    put(&log, &[("k", Some("kept"))]);
    roll(&log);
    data(&log, 5, 0, &[("k", Some("aborted"))]);
    roll(&log);
    data(&log, 5, 1, &[("k", None)]);
    roll(&log);
    marker(&log, 5, false);
    data(&log, 5, 2, &[("l", Some("next transaction"))]);
    marker(&log, 5, true);
    roll(&log);
    clean(&fixture);
    assert_eq!(texts(&log), ["0 k=kept", "4 l=next transaction"]);
}

#[test]
fn a_transaction_that_has_not_ended_is_not_cleaned() {
    let fixture = Fixture::new();
    let log = fixture.log(compacted());
    put(&log, &[("k", Some("1"))]);
    put(&log, &[("k", Some("2"))]);
    roll(&log);
    data(&log, 5, 0, &[("k", Some("open"))]);
    roll(&log);
    put(&log, &[("k", Some("3"))]);
    roll(&log);
    assert_eq!(clean(&fixture).end_offset, 2);
    assert_eq!(texts(&log), ["1 k=2", "2 k=open", "3 k=3"]);
    // The marker may stand in the active segment: it decides all the same.
    marker(&log, 5, false);
    log.update_high_watermark(log.log_end_offset());
    assert_eq!(clean(&fixture).end_offset, 4);
    assert_eq!(texts(&log), ["3 k=3"]);
}

#[test]
fn the_last_batch_of_an_aborted_producer_stays_empty() {
    let fixture = Fixture::new();
    let log = fixture.log(compacted());
    data(&log, 5, 0, &[("a", Some("1"))]);
    data(&log, 5, 1, &[("b", Some("1"))]);
    marker(&log, 5, false);
    put(&log, &[("c", Some("1"))]);
    roll(&log);
    clean(&fixture);
    let all: Vec<_> = batches(&log).iter().map(|(h, _)| (h.base_offset, h.record_count)).collect();
    assert_eq!(all, [(1, 0), (2, 1), (3, 1)]);
    assert!(batches(&log)[0].0.is_transactional());
}
