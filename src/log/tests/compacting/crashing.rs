//! A crash at every step of a cleaning (rule S11, scenario N39).

use super::*;

/// A log of several segments, in which a cleaning leaves segments merged, emptied and untouched.
fn fill(log: &Arc<Log>) {
    let value = |round: usize| format!("{round:060}");
    for round in 0..6 {
        for key in 0..3 {
            put(log, &[(&format!("{key}"), Some(&value(round)))]);
        }
        put(log, &[(&format!("only-{round}"), Some(&value(round)))]);
        if round == 3 {
            put(log, &[("only-1", None)]);
        }
    }
    roll(log);
    put(log, &[("0", Some("newest"))]);
    log.update_high_watermark(log.log_end_offset());
}

fn newest(records: &[Kept]) -> std::collections::BTreeMap<Vec<u8>, Option<Vec<u8>>> {
    records.iter().map(|kept| (kept.key.clone().unwrap(), kept.value.clone())).collect()
}

#[test]
fn a_crash_at_any_step_leaves_a_log_that_can_be_read_and_cleaned() {
    let reference = Fixture::new();
    let log = reference.log(compacted());
    fill(&log);
    let original = survivors(&log);
    clean(&reference);
    let cleaned = survivors(&log);
    assert!(cleaned.len() < original.len());
    let mut crashes = 0;
    for steps in 0.. {
        let mut fixture = Fixture::new();
        let log = fixture.log(compacted());
        fill(&log);
        log.flush().wait_blocking().unwrap();
        fixture.dirs().faults(0).unwrap().set_steps_left(Some(steps));
        let result = fixture.dirs().clean_dirtiest();
        drop(log);
        fixture.crash();
        fixture.open();
        let log = fixture.log(compacted());
        log.ready().wait_blocking().unwrap();
        log.update_high_watermark(log.log_end_offset());
        assert_eq!(log.log_end_offset(), at(26), "after {steps} steps");
        let found = survivors(&log);
        assert_eq!(newest(&found), newest(&original), "after {steps} steps");
        assert!(found.iter().all(|kept| original.contains(kept)), "after {steps} steps");
        assert!(cleaned.iter().all(|kept| found.contains(kept)), "after {steps} steps");
        let names = files(&fixture);
        let is_left = |name: &String| name.ends_with(".cleaned") || name.ends_with(".swap");
        assert!(!names.iter().any(is_left), "after {steps} steps: {names:?}");
        let bytes: u64 = log.segments().unwrap().iter().map(|segment| u64::from(segment.size_bytes())).sum();
        assert_eq!(log.size_bytes(), bytes);
        // The cleaning is made up for; what is left is what a cleaning without a crash leaves.
        while fixture.dirs().clean_dirtiest().unwrap().is_some() {}
        assert_eq!(survivors(&log), cleaned, "after {steps} steps");
        for offset in 0..26 {
            let options = ReadOptions { max_bytes: 1, min_one_batch: true, end: at(26), cursor: None };
            let read = log.read(at(offset), options).wait_blocking().unwrap();
            let (header, _) = batch::split(&read.chunks[0]).next().unwrap().unwrap();
            assert!(header.last_offset() >= offset, "the index leads there");
        }
        if result.is_ok() {
            break;
        }
        crashes += 1;
    }
    assert!(crashes > 30, "{crashes} steps");
}

#[test]
fn the_gaps_of_a_cleaned_log_are_no_damage_after_its_policy_changed() {
    let mut fixture = Fixture::new();
    let log = fixture.log(compacted());
    fill(&log);
    clean(&fixture);
    let cleaned = survivors(&log);
    drop(log);
    fixture.crash();
    // All is scanned: nothing is known of what is synced.
    for path in
        [fixture.path().join("recovery-point-offset-checkpoint"), fixture.file("leader-epoch-checkpoint")]
    {
        assert!(std::fs::remove_file(&path).is_ok() || !path.exists());
    }
    fixture.open();
    let log = fixture.log(TopicConfig {
        cleanup_compact: false,
        cleanup_delete: true,
        retention_ms: None,
        ..compacted()
    });
    log.ready().wait_blocking().unwrap();
    assert_eq!(survivors(&log), cleaned);
}

#[test]
fn a_cut_log_is_dirty_from_the_cut_on() {
    let fixture = Fixture::new();
    let log = fixture.log(compacted());
    fill(&log);
    clean(&fixture);
    assert_eq!(checkpoint(&fixture), "0\n1\nt 0 25\n");
    log.truncate_to(at(23)).wait_blocking().unwrap();
    assert_eq!(checkpoint(&fixture), "0\n1\nt 0 23\n");
}

#[test]
fn a_topic_of_the_same_name_begins_dirty() {
    let fixture = Fixture::new();
    let log = fixture.log(compacted());
    fill(&log);
    clean(&fixture);
    fixture.dirs().delete_log(&log).wait_blocking().unwrap();
    assert_eq!(checkpoint(&fixture), "0\n0\n");
}
