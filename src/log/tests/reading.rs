use std::sync::Arc;

use super::support::*;
use crate::config::TopicConfig;
use crate::log::{Log, ReadError, ReadOptions, Step};
use crate::protocol::compression::Codec;
use crate::protocol::records::{BatchBuilder, NewRecord};
use crate::types::LeaderEpoch;

fn filled(fixture: &Fixture, batches: i64) -> Arc<Log> {
    let log = fixture.log(TopicConfig { segment_bytes: 30_000, index_interval_bytes: 500, ..config() });
    for i in 0..batches {
        let text = format!("value {i} {}", "x".repeat((i % 7) as usize * 40));
        append_ok(&log, batch(NOW + i, &[text.as_bytes(), b"second"]));
    }
    log
}

fn options(max_bytes: usize, end: i64) -> ReadOptions {
    ReadOptions { max_bytes, min_one_batch: true, end: at(end), cursor: None }
}

#[test]
fn any_offset_can_be_read_from_with_any_limit_across_segments() {
    let fixture = Fixture::new();
    let log = filled(&fixture, 400);
    assert!(log.segments().unwrap().len() > 2);
    let all = consume(&log, 0, 800, 1 << 20);
    assert_eq!(all.len(), 800);
    for from in (0..800).step_by(37) {
        for max_bytes in [1, 300, 4096, 50_000] {
            assert_eq!(consume(&log, from, 800, max_bytes), all[from as usize..], "{from} {max_bytes}");
        }
    }
}

#[test]
fn a_bound_in_the_log_is_respected_at_batch_boundaries() {
    let fixture = Fixture::new();
    let log = filled(&fixture, 100);
    for end in 0..200 {
        let read = log.read(at(0), options(1 << 20, end)).wait_blocking().unwrap();
        let last = read.chunks.iter().flat_map(crate::protocol::batch::split).last();
        let read_end = last.map_or(0, |item| item.unwrap().0.next_offset());
        assert_eq!(read_end, end / 2 * 2);
    }
}

#[test]
fn a_batch_larger_than_the_limit_is_given_whole_or_not_at_all() {
    let fixture = Fixture::new();
    let log = filled(&fixture, 10);
    let whole = log.read(at(0), options(1, 20)).wait_blocking().unwrap();
    assert!(whole.size_bytes > 61);
    assert!(whole.cursor.is_some());
    let none =
        log.read(at(0), ReadOptions { min_one_batch: false, ..options(1, 20) }).wait_blocking().unwrap();
    assert_eq!((none.size_bytes, none.chunks.len()), (0, 0));
}

#[test]
fn offsets_outside_the_log_are_out_of_range_and_the_end_is_empty() {
    let fixture = Fixture::new();
    let log = filled(&fixture, 3);
    let error = log.read(at(7), options(100, 7)).wait_blocking().unwrap_err();
    assert!(matches!(error, ReadError::OffsetOutOfRange { offset: 7, .. }), "{error}");
    assert_eq!(log.read(at(6), options(100, 6)).wait_blocking().unwrap().size_bytes, 0);
    let empty = fixture.log_of("empty", 0, config());
    assert_eq!(empty.read(at(0), options(100, 0)).wait_blocking().unwrap().size_bytes, 0);
}

#[test]
fn a_cursor_that_does_not_fit_is_ignored() {
    let fixture = Fixture::new();
    let log = filled(&fixture, 50);
    let first = log.read(at(0), options(500, 100)).wait_blocking().unwrap();
    let wrong = ReadOptions { cursor: first.cursor, ..options(500, 100) };
    let other = log.read(at(40), wrong).wait_blocking().unwrap();
    let without = log.read(at(40), options(500, 100)).wait_blocking().unwrap();
    assert_eq!(other.chunks, without.chunks);
}

#[test]
fn what_a_reader_holds_outlives_the_deletion_of_its_segment() {
    let fixture = Fixture::new();
    let log = filled(&fixture, 400);
    log.update_high_watermark(log.log_end_offset());
    let held = log.read(at(0), options(1 << 20, 800)).wait_blocking().unwrap();
    let copy: Vec<_> = held.chunks.iter().map(|chunk| chunk.to_vec()).collect();
    log.delete_records_before(at(700)).wait_blocking().unwrap();
    fixture.clock.advance(std::time::Duration::from_secs(61));
    fixture.dirs().housekeep();
    assert!(!fixture.file("00000000000000000000.log").exists());
    assert!(!fixture.file("00000000000000000000.log.deleted").exists());
    assert_eq!(held.chunks.iter().map(|chunk| chunk.to_vec()).collect::<Vec<_>>(), copy);
    let error = log.read(at(0), options(1 << 20, 800)).wait_blocking().unwrap_err();
    assert!(matches!(error, ReadError::OffsetOutOfRange { .. }));
}

#[test]
fn sealed_segments_beyond_the_budget_are_closed_and_opened_again() {
    let mut fixture = Fixture::new();
    fixture.crash();
    fixture.options.sealed_segments_open_max = 2;
    fixture.open();
    let log = filled(&fixture, 1000);
    log.flush().wait_blocking().unwrap();
    let all = consume(&log, 0, 2000, 1 << 20);
    assert_eq!(all.len(), 2000);
    for from in [1500, 10, 900, 1999, 300] {
        assert_eq!(consume(&log, from, 2000, 5000), all[from as usize..]);
    }
    let segments = log.segments().unwrap();
    let open = segments.iter().filter(|segment| segment.with_index(|_| ()).is_some()).count();
    assert!(open < segments.len(), "{open} of {} are open", segments.len());
}

#[test]
fn the_first_record_at_or_after_a_time_is_found_in_every_codec() {
    let fixture = Fixture::new();
    for (number, codec) in ALL_CODECS.into_iter().enumerate() {
        let log = fixture.log_of(
            "time",
            number as i32,
            TopicConfig { segment_bytes: 4000, index_interval_bytes: 200, ..config() },
        );
        // Three records a batch, ten milliseconds apart, every seventh batch late.
        for i in 0..100i64 {
            let base = if i % 7 == 6 { NOW - 500 } else { NOW + i * 30 };
            let mut builder = BatchBuilder::new().codec(codec, None);
            for record in 0..3 {
                let timestamp = base + record * 10;
                builder
                    .push(NewRecord { timestamp, key: None, value: Some(&[b'v'; 50]), headers: &[] })
                    .unwrap();
            }
            append_ok(&log, builder.build());
        }
        let all = consume(&log, 0, 300, 1 << 20);
        for target in (NOW - 510..NOW + 3100).step_by(13) {
            let expected = all.iter().find(|record| record.timestamp >= target);
            let found = log.offset_for_timestamp(target, at(300)).wait_blocking().unwrap();
            assert_eq!(
                found.map(|found| (found.offset.get(), found.timestamp)),
                expected.map(|record| (record.offset, record.timestamp)),
                "{codec:?} {target}"
            );
        }
        let max = log.max_timestamp_offset(at(300)).wait_blocking().unwrap().unwrap();
        assert_eq!(max.timestamp, all.iter().map(|record| record.timestamp).max().unwrap());
        assert_eq!(max.leader_epoch, Some(LeaderEpoch(0)));
        assert_eq!(log.offset_for_timestamp(NOW, at(0)).wait_blocking().unwrap(), None);
    }
    assert_eq!(ALL_CODECS[0], Codec::None);
}

#[test]
fn pages_that_are_not_in_memory_are_brought_in_by_a_storage_thread() {
    let mut fixture = Fixture::new();
    let log = filled(&fixture, 300);
    let all = consume(&log, 0, 600, 1 << 20);
    drop(log);
    fixture.close();
    let path = fixture.file("00000000000000000000.log");
    let file = std::fs::File::open(path).unwrap();
    file.sync_all().unwrap();
    rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
    fixture.open();
    let log = fixture.log(TopicConfig { segment_bytes: 30_000, index_interval_bytes: 500, ..config() });
    log.producers().wait_blocking().unwrap();
    // The first read opens the segment, and finds its pages absent or not as the system likes.
    let _guard = crate::sys::forbid_blocking();
    let step = log.read(at(0), options(1 << 20, 600));
    assert!(matches!(step, Step::Pending(_)));
    assert!(step.wait_blocking().unwrap().size_bytes > 20_000);
    assert_eq!(consume(&log, 0, 600, 1 << 20), all);
    assert!(matches!(log.read(at(0), options(4096, 600)), Step::Ready(Ok(_))), "now they are there");
}
