use std::time::Duration;

use super::*;
use crate::config::CleanerConfig;
use crate::log::AppendError;
use crate::types::Millis;

#[test]
fn the_newest_record_of_every_key_stays_at_its_offset_with_every_codec() {
    for codec in ALL_CODECS {
        let fixture = Fixture::new();
        let log = fixture.log(compacted());
        let with = |pairs: &[Pair<'_>]| {
            append_ok(&log, keyed(BatchBuilder::new().codec(codec, None), NOW, pairs));
        };
        with(&[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))]);
        with(&[("a", Some("2")), ("d", Some("1"))]);
        with(&[("b", Some("2"))]);
        roll(&log);
        with(&[("c", Some("2"))]);
        let cleaned = clean(&fixture);
        assert_eq!((cleaned.end_offset, cleaned.keys), (6, 4));
        assert_eq!(texts(&log), ["2 c=1", "3 a=2", "4 d=1", "5 b=2", "6 c=2"], "{codec:?}");
        let headers: Vec<_> = batches(&log).iter().map(|(header, _)| *header).collect();
        assert!(headers.iter().all(|header| header.codec() == Some(codec)));
        let ranges: Vec<_> =
            headers.iter().map(|h| (h.base_offset, h.last_offset(), h.record_count)).collect();
        assert_eq!(ranges, [(0, 2, 1), (3, 4, 2), (5, 5, 1), (6, 6, 1)], "batches keep their ranges");
        assert_eq!(checkpoint(&fixture), "0\n1\nt 0 6\n");
        assert_eq!(fixture.dirs().clean_dirtiest().unwrap(), None, "nothing is dirty any more");
        roll(&log);
        clean(&fixture);
        assert_eq!(texts(&log), ["3 a=2", "4 d=1", "5 b=2", "6 c=2"]);
    }
}

#[test]
fn a_batch_of_which_all_stays_is_copied_byte_for_byte() {
    let fixture = Fixture::new();
    let log = fixture.log(compacted());
    append_ok(
        &log,
        keyed(BatchBuilder::new().codec(Codec::Zstd, Some(19)), NOW, &[("a", Some("1")), ("b", Some("1"))]),
    );
    put(&log, &[("c", Some("1"))]);
    put(&log, &[("c", Some("2"))]);
    roll(&log);
    let before = batches(&log);
    clean(&fixture);
    let after = batches(&log);
    assert_eq!(after.len(), 2);
    assert_eq!((&after[0], &after[1]), (&before[0], &before[2]));
}

#[test]
fn a_segment_from_which_nothing_goes_is_left_alone() {
    let fixture = Fixture::new();
    let log = fixture.log(compacted());
    put(&log, &[("a", Some("1")), ("b", Some("1"))]);
    roll(&log);
    let segment = log.segments().unwrap()[0].clone();
    let cleaned = clean(&fixture);
    assert_eq!(cleaned.end_offset, 2);
    assert!(Arc::ptr_eq(&segment, &log.segments().unwrap()[0]));
    assert!(!files(&fixture).iter().any(|name| name.ends_with(".cleaned")), "{:?}", files(&fixture));
}

#[test]
fn a_tombstone_stays_until_its_horizon_and_consumers_see_its_own_timestamp() {
    let fixture = Fixture::new();
    let log = fixture.log(compacted());
    put(&log, &[("a", Some("1")), ("b", Some("1"))]);
    append_ok(&log, keyed(plain(), NOW + 5, &[("a", None), ("b", Some("2"))]));
    roll(&log);
    clean(&fixture);
    assert_eq!(texts(&log), ["2 a=-", "3 b=2"]);
    let (header, bytes) = batches(&log).remove(0);
    assert_eq!(header.delete_horizon_ms(), Some(NOW + 10_000));
    assert_eq!(header.max_timestamp, NOW + 5);
    assert!(records_of(&header, &bytes).iter().all(|record| record.timestamp == NOW + 5));

    // The horizon is set once.
    fixture.clock.advance(Duration::from_millis(9_999));
    put(&log, &[("c", Some("1"))]);
    roll(&log);
    clean(&fixture);
    assert_eq!(texts(&log), ["2 a=-", "3 b=2", "4 c=1"]);
    assert_eq!(batches(&log)[0].0.delete_horizon_ms(), Some(NOW + 10_000));

    fixture.clock.advance(Duration::from_millis(1));
    put(&log, &[("c", Some("2"))]);
    roll(&log);
    clean(&fixture);
    assert_eq!(texts(&log), ["3 b=2", "5 c=2"]);
    assert_eq!(survivors(&log)[0].timestamp, NOW + 5);
}

#[test]
fn a_key_written_again_after_its_tombstone_lives() {
    let fixture = Fixture::new();
    let log = fixture.log(compacted());
    put(&log, &[("a", Some("1"))]);
    put(&log, &[("a", None)]);
    put(&log, &[("a", Some("2"))]);
    roll(&log);
    clean(&fixture);
    assert_eq!(texts(&log), ["2 a=2"]);
}

#[test]
fn the_last_batch_of_a_producer_stays_so_that_its_sequence_does() {
    let mut fixture = Fixture::new();
    let log = fixture.log(compacted());
    let send = |log: &Arc<Log>, producer: i64, sequence: i32, value: &str| {
        append_with(log, keyed(plain().producer(producer, 0, sequence), NOW, &[("k", Some(value))]))
    };
    send(&log, 7, 0, "1").unwrap();
    send(&log, 7, 1, "2").unwrap();
    send(&log, 8, 0, "3").unwrap();
    put(&log, &[("k", Some("4"))]);
    roll(&log);
    clean(&fixture);
    assert_eq!(texts(&log), ["3 k=4"]);
    let empty: Vec<_> = batches(&log)
        .iter()
        .map(|(h, _)| (h.base_offset, h.producer_id, h.record_count, h.base_sequence))
        .collect();
    assert_eq!(empty, [(1, 7, 0, 1), (2, 8, 0, 0), (3, -1, 1, -1)]);
    // Without any snapshot the state comes from the log alone.
    fixture.crash();
    for name in files(&fixture).iter().filter(|name| name.ends_with(".snapshot")) {
        std::fs::remove_file(fixture.file(name)).unwrap();
    }
    fixture.open();
    let log = fixture.log(compacted());
    assert!(send(&log, 7, 1, "2").unwrap().duplicate);
    assert!(matches!(send(&log, 7, 3, "5"), Err(AppendError::OutOfOrderSequence { expected: 2, .. })));
    send(&log, 7, 2, "5").unwrap();
    roll(&log);
    clean(&fixture);
    let ids: Vec<_> = batches(&log).iter().map(|(h, _)| (h.base_offset, h.producer_id)).collect();
    assert_eq!(ids, [(2, 8), (4, 7)], "an empty batch goes when it is not the last any more");
}

#[test]
fn the_last_offset_before_the_active_segment_is_kept() {
    let fixture = Fixture::new();
    let log = fixture.log(compacted());
    put(&log, &[("a", Some("1"))]);
    put(&log, &[("a", None)]);
    roll(&log);
    clean(&fixture);
    fixture.clock.advance(Duration::from_secs(11));
    put(&log, &[("b", Some("1"))]);
    roll(&log);
    put(&log, &[("b", Some("2"))]);
    put(&log, &[("b", Some("3"))]);
    // The dirty part ends with a record that a newer one replaces only above it.
    clean(&fixture);
    assert_eq!(texts(&log), ["2 b=1", "3 b=2", "4 b=3"]);
    roll(&log);
    append_raw(&log, plain(), &[("b", None)]);
    roll(&log);
    clean(&fixture);
    fixture.clock.advance(Duration::from_secs(11));
    append_raw(&log, plain().producer(1, 0, 0), &[("x", Some("1"))]);
    roll(&log);
    clean(&fixture);
    assert_eq!(texts(&log), ["6 x=1"]);
    assert_eq!(log.log_start_offset(), at(0), "compaction never moves the start");
}

#[test]
fn what_is_not_committed_or_is_still_written_to_is_not_cleaned() {
    let fixture = Fixture::new();
    let log = fixture.log(compacted());
    for value in ["1", "2", "3"] {
        put(&log, &[("k", Some(value))]);
        roll(&log);
    }
    put(&log, &[("k", Some("4"))]);
    log.update_high_watermark(at(0));
    assert_eq!(fixture.dirs().clean_dirtiest().unwrap(), None);
    log.update_high_watermark(at(2));
    assert_eq!(clean(&fixture).end_offset, 2);
    assert_eq!(texts(&log), ["1 k=2", "2 k=3", "3 k=4"]);
    assert_eq!(fixture.dirs().clean_dirtiest().unwrap(), None);
}

#[test]
fn records_without_keys_are_refused_and_old_ones_go() {
    let fixture = Fixture::new();
    let log = fixture.log(TopicConfig { cleanup_compact: false, ..compacted() });
    let keyless = |codec: Codec| {
        let mut builder = BatchBuilder::new().codec(codec, None);
        builder.push(NewRecord { timestamp: NOW, key: Some(b"k"), value: Some(b"v"), headers: &[] }).unwrap();
        builder.push(NewRecord { timestamp: NOW, key: None, value: Some(b"v"), headers: &[] }).unwrap();
        builder.build()
    };
    append_ok(&log, keyless(Codec::None));
    append_ok(&log, keyless(Codec::Lz4));
    log.update_config(Arc::new(compacted()));
    for codec in ALL_CODECS {
        let refused = append_with(&log, keyless(codec)).unwrap_err();
        assert!(matches!(refused, AppendError::InvalidRecord { index: Some(1), .. }), "{codec:?}: {refused}");
    }
    roll(&log);
    clean(&fixture);
    assert_eq!(texts(&log), ["2 k=v"]);
}

#[test]
fn a_log_with_more_keys_than_the_map_holds_is_cleaned_in_rounds() {
    let mut fixture = Fixture::new();
    // Nine keys at a time.
    fixture.options.cleaner =
        CleanerConfig { enable: false, dedupe_buffer_bytes: 240, ..CleanerConfig::default() };
    fixture.open_anew();
    let log = fixture.log(compacted());
    for round in 0..2 {
        for key in 0..30 {
            put(&log, &[(&format!("key-{key}"), Some(&format!("{round}")))]);
        }
    }
    roll(&log);
    let mut rounds = 0;
    while let Some(cleaned) = fixture.dirs().clean_dirtiest().unwrap() {
        assert!(cleaned.keys <= 9);
        rounds += 1;
    }
    assert!(rounds >= 6, "{rounds}");
    let expected: Vec<String> = (0..30).map(|key| format!("{} key-{key}=1", 30 + key)).collect();
    assert_eq!(texts(&log), expected);
}

#[test]
fn a_batch_with_more_keys_than_the_map_holds_makes_the_log_uncleanable() {
    let mut fixture = Fixture::new();
    fixture.options.cleaner =
        CleanerConfig { enable: false, dedupe_buffer_bytes: 48, ..CleanerConfig::default() };
    fixture.open_anew();
    let log = fixture.log(compacted());
    put(&log, &[("a", Some("1")), ("b", Some("1")), ("c", Some("1"))]);
    roll(&log);
    let error = fixture.dirs().clean_dirtiest().unwrap_err();
    assert!(error.contains("log.cleaner.dedupe.buffer.size"), "{error}");
    assert_eq!(fixture.dirs().clean_dirtiest().unwrap(), None);
    assert_eq!(texts(&log).len(), 3);
}

#[test]
fn lags_hold_cleaning_back_and_ask_for_it() {
    let fixture = Fixture::new();
    let lags = TopicConfig {
        min_compaction_lag_ms: 1000,
        max_compaction_lag_ms: 5000,
        min_cleanable_dirty_ratio: 1.0,
        ..compacted()
    };
    let log = fixture.log(lags);
    let write = |timestamp: Millis, value: &str| {
        append_ok(&log, keyed(plain(), timestamp, &[("k", Some(value))]));
        roll(&log);
    };
    write(NOW, "1");
    write(NOW + 10, "2");
    let look = || fixture.dirs().clean_dirtiest().unwrap();
    assert_eq!(look(), None, "too young");
    fixture.clock.advance(Duration::from_millis(1005));
    assert_eq!(look(), None, "old enough, but the ratio asks for more than all");
    fixture.clock.advance(Duration::from_millis(3996));
    write(NOW + 5000, "3");
    assert_eq!(look().unwrap().end_offset, 2, "overdue, and the youngest is too young");
    assert_eq!(texts(&log), ["1 k=2", "2 k=3"]);
}

#[test]
fn a_compacted_topic_rolls_no_later_than_its_maximum_lag() {
    let fixture = Fixture::new();
    let log = fixture.log(TopicConfig { max_compaction_lag_ms: 1000, ..compacted() });
    for timestamp in [NOW, NOW + 1000, NOW + 1001] {
        append_ok(&log, keyed(plain(), timestamp, &[("k", Some("v"))]));
    }
    let bases: Vec<_> = log.segments().unwrap().iter().map(|segment| segment.base_offset()).collect();
    assert_eq!(bases, [0, 2]);
}

#[test]
fn compact_and_delete_together_keep_the_newest_of_what_is_young() {
    let fixture = Fixture::new();
    let both = TopicConfig { cleanup_delete: true, retention_ms: Some(10_000), ..compacted() };
    let log = fixture.log(both);
    for (time, value) in [(0, "1"), (0, "2"), (9_000, "3"), (9_000, "4")] {
        append_ok(&log, keyed(plain(), NOW + time, &[("k", Some(value)), (value, Some("x"))]));
        roll(&log);
    }
    clean(&fixture);
    // Small as they are, the segments became one: its age is that of its youngest record.
    assert_eq!(texts(&log), ["1 1=x", "3 2=x", "5 3=x", "6 k=4", "7 4=x"]);
    assert_eq!(log.apply_retention(NOW + 15_000).wait_blocking().unwrap(), 0);
    assert_eq!(log.apply_retention(NOW + 19_001).wait_blocking().unwrap(), 1);
    assert_eq!((log.log_start_offset(), log.size_bytes()), (at(8), 0));
    put(&log, &[("k", Some("5"))]);
    roll(&log);
    clean(&fixture);
    assert_eq!(texts(&log), ["8 k=5"]);
    assert_eq!(checkpoint(&fixture), "0\n1\nt 0 9\n");
}

#[test]
fn an_emptied_segment_does_not_hold_retention_up() {
    let fixture = Fixture::new();
    let both =
        TopicConfig { cleanup_delete: true, retention_ms: Some(10_000), segment_bytes: 160, ..compacted() };
    let log = fixture.log(both);
    for value in ["1", "2", "3", "4"] {
        append_ok(&log, keyed(plain(), NOW, &[("k", Some(value))]));
        append_ok(&log, keyed(plain(), NOW, &[("k", Some(value))]));
    }
    roll(&log);
    clean(&fixture);
    assert!(log.segments().unwrap().iter().rev().skip(1).any(|segment| segment.size_bytes() == 0));
    assert_eq!(texts(&log), ["7 k=4"]);
    log.apply_retention(NOW + 10_001).wait_blocking().unwrap();
    assert_eq!(log.log_start_offset(), at(8));
}

#[test]
fn segments_are_merged_up_to_the_size_of_one_and_their_indexes_fit() {
    let mut fixture = Fixture::new();
    let log = fixture.log(compacted());
    for round in 0..20 {
        for key in 0..10 {
            append_ok(
                &log,
                keyed(plain(), NOW + round * 10 + key, &[(&format!("{key}"), Some(&format!("{round:030}")))]),
            );
        }
    }
    roll(&log);
    let before = log.segments().unwrap().len();
    clean(&fixture);
    // Groups are made by what segments were: the next cleaning sees how small they are now.
    assert_eq!(log.segments().unwrap().len(), before);
    put(&log, &[("9", Some("last"))]);
    roll(&log);
    clean(&fixture);
    let segments = log.segments().unwrap();
    assert!(segments.len() < 4, "{before} {}", segments.len());
    assert!(segments.iter().all(|segment| segment.size_bytes() <= 1000));
    let on_disk: u64 = segments.iter().map(|segment| u64::from(segment.size_bytes())).sum();
    assert_eq!(log.size_bytes(), on_disk);
    let expected = texts(&log);
    assert_eq!(expected.len(), 10);
    for offset in 0..199 {
        let options = ReadOptions { max_bytes: 100, min_one_batch: true, end: at(201), cursor: None };
        let read = log.read(at(offset), options).wait_blocking().unwrap();
        let (header, _) = batch::split(&read.chunks[0]).next().unwrap().unwrap();
        assert_eq!(header.base_offset, offset.max(190), "the next record at or after {offset}");
    }
    let found = log.offset_for_timestamp(NOW + 195, at(200)).wait_blocking().unwrap().unwrap();
    assert_eq!((found.offset, found.timestamp), (at(195), NOW + 195));
    drop(segments);
    drop(log);
    fixture.close();
    fixture.open();
    let log = fixture.log(compacted());
    assert_eq!(texts(&log), expected);
}

#[test]
fn header_keys_that_repeat_are_kept_also_where_timestamps_are_written_anew() {
    let fixture = Fixture::new();
    let log = fixture.log(compacted());
    let headers: &[(&[u8], Option<&[u8]>)] = &[(b"h", Some(b"1")), (b"h", None), (b"h", Some(b"1"))];
    let mut builder = BatchBuilder::new().codec(Codec::Snappy, None);
    for (key, value) in [(b"a", Some(b"1".as_slice())), (b"b", None), (b"a", Some(b"2".as_slice()))] {
        builder.push(NewRecord { timestamp: NOW, key: Some(key), value, headers }).unwrap();
    }
    append_ok(&log, builder.build());
    roll(&log);
    clean(&fixture);
    let (header, bytes) = batches(&log).remove(0);
    assert!(header.delete_horizon_ms().is_some());
    let plain = compression::decompress(Codec::Snappy, &bytes[BATCH_HEADER_BYTES..], 1 << 20).unwrap();
    for record in records::walk(&plain, header.record_count) {
        let found: Vec<_> = record.unwrap().headers().map(|header| (header.key, header.value)).collect();
        assert_eq!(found, headers);
    }
    assert_eq!(texts(&log), ["1 b=-", "2 a=2"]);
}

#[test]
fn a_damaged_log_is_left_alone_and_the_others_are_cleaned() {
    let fixture = Fixture::new();
    let bad = fixture.log(compacted());
    let good = fixture.log_of("u", 0, compacted());
    for log in [&bad, &good] {
        for value in ["1", "2"] {
            put(log, &[("k", Some(value))]);
        }
        roll(log);
    }
    put(&bad, &[("k", Some(&"x".repeat(500)))]);
    roll(&bad);
    let path = fixture.file("00000000000000000000.log");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, &bytes).unwrap();
    let mut results: Vec<_> = (0..2).map(|_| fixture.dirs().clean_dirtiest()).collect();
    results.sort_by_key(Result::is_err);
    assert_eq!(results[0].as_ref().unwrap().as_ref().unwrap().partition, *good.partition());
    assert!(results[1].as_ref().unwrap_err().contains("crc"), "{results:?}");
    assert_eq!(fixture.dirs().clean_dirtiest().unwrap(), None);
    assert_eq!(std::fs::read(&path).unwrap(), bytes, "the damage is as it was");
    assert_eq!(texts(&good), ["1 k=2"]);
}

#[test]
fn a_full_disk_postpones_cleaning() {
    let fixture = Fixture::new();
    let log = fixture.log(compacted());
    for value in ["1", "2"] {
        put(&log, &[("k", Some(value))]);
    }
    roll(&log);
    let faults = fixture.dirs().faults(0).unwrap();
    faults.set_space_left(Some(10));
    let error = fixture.dirs().clean_dirtiest().unwrap_err();
    assert!(error.contains("full"), "{error}");
    assert_eq!(fixture.dirs().clean_dirtiest().unwrap(), None, "not again at once");
    faults.set_space_left(None);
    fixture.clock.advance(Duration::from_secs(16));
    clean(&fixture);
    assert_eq!(texts(&log), ["1 k=2"]);
}
