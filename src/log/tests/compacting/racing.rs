//! Readers, truncation, deletion and stopping beside a cleaning.

use std::sync::atomic::{AtomicBool, Ordering};

use super::*;
use crate::config::CleanerConfig;

fn read(log: &Arc<Log>, from: i64, cursor: Option<crate::log::ReadCursor>) -> crate::log::Read {
    let options = ReadOptions { max_bytes: 200, min_one_batch: true, end: log.log_end_offset(), cursor };
    log.read(at(from), options).wait_blocking().unwrap()
}

/// Closes the log's files, as for one that is idle.
fn close(log: &Arc<Log>) {
    log.close_files().wait_blocking().unwrap();
    // The answer comes a moment before the log is put back.
    while log.active_base().is_none() {
        std::thread::yield_now();
    }
}

#[test]
fn a_cursor_from_before_a_cleaning_is_not_believed_after_it() {
    let fixture = Fixture::new();
    let log = fixture.log(compacted());
    for value in 0..6 {
        put(&log, &[("k", Some(&format!("{value:020}"))), (&format!("{value}"), Some("x"))]);
    }
    roll(&log);
    let first = read(&log, 0, None);
    let held = first.chunks[0].clone();
    let bytes = held.to_vec();
    let (header, _) = batch::split(&held).last().unwrap().unwrap();
    clean(&fixture);
    assert_eq!(held, bytes, "what a reader holds stays");
    let next = read(&log, header.next_offset(), first.cursor);
    let (header_after, _) = batch::split(&next.chunks[0]).next().unwrap().unwrap();
    assert_eq!(header_after.base_offset, header.next_offset());
    // Also not after the log was closed and opened in between.
    let cursor = next.cursor;
    log.close_files().wait_blocking().unwrap();
    put(&log, &[("k", Some("new"))]);
    roll(&log);
    clean(&fixture);
    let from = header_after.next_offset();
    let again = read(&log, from, cursor);
    let (header_again, _) = batch::split(&again.chunks[0]).next().unwrap().unwrap();
    assert!(header_again.base_offset >= from);
}

#[test]
fn readers_see_every_key_while_the_log_is_written_and_cleaned_over_and_over() {
    let fixture = Fixture::new();
    let log = fixture.log(TopicConfig { file_delete_delay_ms: 0, ..compacted() });
    for key in 0..5 {
        put(&log, &[(&format!("stays-{key}"), Some("x"))]);
    }
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut looks = 0;
                while !done.load(Ordering::Relaxed) || looks == 0 {
                    let found = texts(&log);
                    for key in 0..5 {
                        let expected = format!("{key} stays-{key}=x");
                        assert_eq!(found.iter().filter(|text| **text == expected).count(), 1, "{found:?}");
                    }
                    let time = log.offset_for_timestamp(NOW, log.log_end_offset()).wait_blocking().unwrap();
                    assert_eq!(time.unwrap().offset, at(0));
                    looks += 1;
                }
            });
        }
        for round in 0..60 {
            put(&log, &[("k", Some(&format!("{round:0300}"))), ("l", Some("x"))]);
            roll(&log);
            while fixture.dirs().clean_dirtiest().unwrap().is_some() {}
            fixture.dirs().housekeep();
        }
        done.store(true, Ordering::Relaxed);
    });
    assert_eq!(texts(&log).len(), 7);
}

#[test]
fn a_log_that_is_deleted_or_cut_during_its_cleaning_is_given_up() {
    let mut fixture = Fixture::new();
    // So slow that the other thing comes first.
    let slow =
        CleanerConfig { enable: false, io_max_bytes_per_second: 2_000_000.0, ..CleanerConfig::default() };
    fixture.options.cleaner = slow;
    fixture.open_anew();
    let config = TopicConfig { segment_bytes: 400_000, ..compacted() };
    for deletes in [false, true] {
        let log = fixture.log(config.clone());
        for value in 0..20 {
            put(&log, &[("k", Some(&format!("{value:060000}")))]);
        }
        roll(&log);
        let dirs = fixture.dirs().clone();
        let cleaning = std::thread::spawn(move || dirs.clean_dirtiest());
        let created = || files(&fixture).iter().any(|name| name.ends_with(".cleaned"));
        while !created() && !cleaning.is_finished() {
            std::thread::yield_now();
        }
        if deletes {
            fixture.dirs().delete_log(&log).wait_blocking().unwrap();
        } else {
            log.truncate_to(at(0)).wait_blocking().unwrap();
        }
        let error = cleaning.join().unwrap().unwrap_err();
        assert!(error.contains("changed"), "{error}");
        if !deletes {
            assert!(!created());
            put(&log, &[("k", Some("new"))]);
            assert_eq!(texts(&log), ["0 k=new"]);
            fixture.dirs().delete_log(&log).wait_blocking().unwrap();
        }
    }
}

#[test]
fn a_stop_ends_a_running_cleaning_at_once_and_the_log_is_whole() {
    let mut fixture = Fixture::new();
    fixture.options.cleaner =
        CleanerConfig { io_max_bytes_per_second: 1000.0, backoff_ms: 1, ..CleanerConfig::default() };
    fixture.open_anew();
    let config = TopicConfig { segment_bytes: 2_000_000, ..compacted() };
    let log = fixture.log(config.clone());
    for value in 0..15 {
        put(&log, &[("k", Some(&format!("{value:060000}")))]);
    }
    roll(&log);
    // A thousand bytes a second: it would take half an hour.
    let busy = || fixture.dirs().shared.cleaner.is_busy();
    while !busy() {
        std::thread::yield_now();
    }
    let expected = texts(&log);
    drop(log);
    fixture.close();
    fixture.options.cleaner = CleanerConfig { enable: false, ..CleanerConfig::default() };
    fixture.open();
    let log = fixture.log(config);
    assert_eq!(texts(&log), expected);
    assert!(!files(&fixture).iter().any(|name| name.ends_with(".cleaned")));
    clean(&fixture);
    assert_eq!(texts(&log).len(), 1);
}

#[test]
fn the_cleaners_own_thread_finds_what_is_dirty_and_its_number_may_change() {
    let mut fixture = Fixture::new();
    fixture.options.cleaner = CleanerConfig { threads: 0, backoff_ms: 1, ..CleanerConfig::default() };
    fixture.open_anew();
    let log = fixture.log(compacted());
    for value in ["1", "2", "3"] {
        put(&log, &[("k", Some(value))]);
        roll(&log);
    }
    for threads in [1, 3, 1] {
        fixture.dirs().configure_cleaner(CleanerConfig {
            threads,
            backoff_ms: 1,
            ..CleanerConfig::default()
        });
        put(&log, &[("k", Some("4"))]);
        roll(&log);
        let end = log.log_end_offset().get();
        while checkpoint(&fixture) != format!("0\n1\nt 0 {end}\n") {
            std::thread::yield_now();
        }
        assert_eq!(texts(&log).len(), 1);
    }
}

#[test]
fn an_idle_log_is_opened_for_cleaning_only_when_there_may_be_something_to_clean() {
    let fixture = Fixture::new();
    let log = fixture.log(TopicConfig { min_cleanable_dirty_ratio: 0.9, ..compacted() });
    put(&log, &[("a", Some("1"))]);
    log.update_high_watermark(at(1));
    close(&log);
    assert_eq!(fixture.dirs().clean_dirtiest().unwrap(), None);
    assert!(!log.is_open(), "only the active segment has records");
    roll(&log);
    clean(&fixture);
    put(&log, &[("b", Some("1"))]);
    roll(&log);
    close(&log);
    assert_eq!(fixture.dirs().clean_dirtiest().unwrap(), None);
    assert!(log.is_open(), "the ratio is not known without a look");
    close(&log);
    assert_eq!(fixture.dirs().clean_dirtiest().unwrap(), None);
    assert!(!log.is_open(), "and nothing changed since");
}
