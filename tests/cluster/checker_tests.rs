//! The checker against histories made by hand: a good one passes, and each kind of bad one is called by its name.

use crate::checker::{Class, FINAL, check};
use crate::history::{Entry, Op, Run, State, runs};

/// Two batches of one producer, acknowledged; a reader and the final read see both.
fn good() -> Vec<Entry> {
    let mut entries = Vec::new();
    entries.extend([
        line("a", Op::Producer { producer: 1, idempotent: true }),
        send(State::Invoke, 0, 10, None),
        send(State::Ok, 0, 10, Some(0)),
        send(State::Invoke, 10, 5, None),
        send(State::Ok, 10, 5, Some(10)),
    ]);
    for client in ["reader", FINAL] {
        entries.push(line(client, Op::Assign { partition: 0, offset: Some(0) }));
        entries.push(poll(client, &[(0, 1, 0, 10)]));
        entries.push(poll(client, &[(10, 1, 10, 5)]));
    }
    entries
}

fn line(client: &str, op: Op) -> Entry {
    Entry { at: 0, client: client.to_owned(), op }
}

fn send(state: State, first: i64, count: i64, offset: Option<i64>) -> Entry {
    line("a", Op::Send { state, partition: 0, producer: 1, first, count, offset, why: None })
}

fn poll(client: &str, runs: &[(i64, i64, i64, i64)]) -> Entry {
    let runs =
        runs.iter().map(|&(offset, producer, first, count)| Run { offset, producer, first, count }).collect();
    line(client, Op::Poll { partition: 0, runs })
}

/// The one class that is wrong with `entries`.
#[track_caller]
fn only(entries: &[Entry], class: Class) {
    let report = check(entries);
    assert_eq!(report.violations.keys().copied().collect::<Vec<_>>(), [class], "{report}");
}

#[test]
fn a_good_history_is_good() {
    let report = check(&good());
    assert!(report.violations.is_empty(), "{report}");
    assert_eq!((report.acked_ops, report.acked_records, report.lost()), (2, 15, 0));
    assert_eq!((report.polled_records, report.final_records), (15, 15));
}

#[test]
fn a_record_that_is_gone_at_the_end_is_a_lost_write() {
    let mut entries = good();
    entries.pop();
    only(&entries, Class::LostWrite);
    assert_eq!(check(&entries).lost(), 5);
}

#[test]
fn a_record_that_was_acknowledged_without_its_offset_must_be_there_too() {
    let mut entries = good();
    entries[4] = send(State::Ok, 10, 5, None);
    assert!(check(&entries).violations.is_empty());
    entries.pop();
    only(&entries, Class::LostWrite);
    assert_eq!(check(&entries).lost(), 5);
}

#[test]
fn a_record_of_a_failed_send_is_g1a() {
    let mut entries = good();
    entries.extend([
        send(State::Invoke, 15, 1, None),
        send(State::Fail, 15, 1, None),
        poll("reader", &[(15, 1, 15, 1)]),
        poll(FINAL, &[(15, 1, 15, 1)]),
    ]);
    only(&entries, Class::G1a);
    // Nobody knows what became of it: it may be read.
    entries[12] = send(State::Unknown, 15, 1, None);
    assert!(check(&entries).violations.is_empty());
}

#[test]
fn a_record_that_nobody_sent_is_g1a() {
    let mut entries = good();
    entries.extend([poll("reader", &[(15, 7, 0, 1)]), poll(FINAL, &[(15, 7, 0, 1)])]);
    only(&entries, Class::G1a);
}

#[test]
fn two_values_at_one_offset_are_inconsistent() {
    let mut entries = good();
    entries.extend([
        send(State::Invoke, 15, 2, None),
        send(State::Unknown, 15, 2, None),
        poll("reader", &[(15, 1, 15, 1)]),
        poll(FINAL, &[(15, 1, 16, 1)]),
    ]);
    only(&entries, Class::InconsistentOffsets);
}

#[test]
fn an_ack_that_names_another_offset_is_inconsistent() {
    let mut entries = good();
    entries[4] = send(State::Ok, 10, 5, Some(11));
    let report = check(&entries);
    assert_eq!(report.count(Class::InconsistentOffsets), 5, "{report}");
}

#[test]
fn a_value_at_two_offsets_is_a_duplicate() {
    let mut entries = good();
    entries.extend([poll("reader", &[(15, 1, 14, 1)]), poll(FINAL, &[(15, 1, 14, 1)])]);
    only(&entries, Class::Duplicate);
}

#[test]
fn a_producer_whose_records_changed_places_is_reordered() {
    let mut entries = good();
    entries.extend([
        send(State::Invoke, 15, 2, None),
        send(State::Unknown, 15, 2, None),
        poll("reader", &[(15, 1, 16, 1), (16, 1, 15, 1)]),
        poll(FINAL, &[(15, 1, 16, 1), (16, 1, 15, 1)]),
    ]);
    only(&entries, Class::Reordered);
    // One that sends without idempotence promises no order.
    entries[0] = line("a", Op::Producer { producer: 1, idempotent: false });
    assert!(check(&entries).violations.is_empty());
}

#[test]
fn a_reader_that_goes_back_is_nonmonotonic() {
    let mut entries = good();
    entries.push(poll("reader", &[(3, 1, 3, 12)]));
    only(&entries, Class::NonmonotonicPoll);
    // A new assignment may begin anywhere.
    entries.insert(entries.len() - 1, line("reader", Op::Assign { partition: 0, offset: Some(3) }));
    assert!(check(&entries).violations.is_empty());
}

#[test]
fn a_reader_that_leaves_something_out_skips_and_has_not_seen_it() {
    let mut entries = good();
    entries[6] = poll("reader", &[(0, 1, 0, 9)]);
    let report = check(&entries);
    let classes: Vec<_> = report.violations.keys().copied().collect();
    assert_eq!(classes, [Class::PollSkip, Class::Unseen], "{report}");
}

#[test]
fn what_a_reader_never_reached_is_unseen() {
    let mut entries = good();
    entries.remove(7);
    only(&entries, Class::Unseen);
}

#[test]
fn the_members_of_a_group_see_everything_together() {
    let mut entries = good();
    entries.extend([
        line("g/1", Op::Assign { partition: 0, offset: None }),
        poll("g/1", &[(0, 1, 0, 10)]),
        line("g/2", Op::Assign { partition: 0, offset: None }),
        poll("g/2", &[(10, 1, 10, 5)]),
    ]);
    assert!(check(&entries).violations.is_empty());
    entries.pop();
    only(&entries, Class::Unseen);
}

#[test]
fn latest_that_goes_back_is_seen() {
    let mut entries = good();
    entries.extend([15, 14].map(|offset| line("reader", Op::Latest { partition: 0, offset })));
    only(&entries, Class::LatestWentBack);
}

#[test]
fn two_leaders_of_one_epoch_are_seen() {
    let mut entries = good();
    let led = |leader, epoch| line("a", Op::Leader { partition: 0, leader, epoch });
    entries.extend([led(1, 4), led(2, 5), led(-1, 6), led(2, 6), led(1, 4)]);
    assert!(check(&entries).violations.is_empty());
    entries.push(led(1, 5));
    only(&entries, Class::TwoLeaders);
}

#[test]
fn a_groups_offset_that_goes_back_is_seen() {
    let commit = |client, offset| line(client, Op::Commit { state: State::Ok, partition: 0, offset });
    let mut entries = good();
    entries.extend([commit("g/1", 5), commit("g/2", 4)]);
    only(&entries, Class::CommitWentBack);
    let mut entries = good();
    entries.extend([commit("g/1", 5), line("g/admin", Op::Committed { partition: 0, offset: 4 })]);
    only(&entries, Class::CommitWentBack);
}

#[test]
fn an_error_that_a_user_sees_is_a_violation() {
    let mut entries = good();
    entries.push(line("a", Op::Error { why: "OUT_OF_ORDER_SEQUENCE_NUMBER".to_owned() }));
    only(&entries, Class::ClientError);
}

#[test]
fn lines_survive_being_written_and_read() {
    for entry in good() {
        let text = serde_json::to_string(&entry).unwrap();
        let back: Entry = serde_json::from_str(&text).unwrap();
        assert_eq!(serde_json::to_string(&back).unwrap(), text);
    }
    let line = r#"{"at":5,"client":"x","op":"send","state":"ok","partition":1,"producer":2,"first":3,"count":4,"offset":5}"#;
    let entry: Entry = serde_json::from_str(line).unwrap();
    assert_eq!(serde_json::to_string(&entry).unwrap(), line);
}

#[test]
fn records_fold_into_runs() {
    let found = runs([(0, 1, 0), (1, 1, 1), (2, 2, 2), (3, 2, 3), (5, 2, 4)]);
    let expected = [(0, 1, 0, 2), (2, 2, 2, 2), (5, 2, 4, 1)].map(|(offset, producer, first, count)| Run {
        offset,
        producer,
        first,
        count,
    });
    assert_eq!(found, expected);
}
