//! Records written by Apache Kafka 4.3.1's own classes (`tests/fixtures/golden/kafka-4.3.1/GroupRecords.java`).

use bytes::Bytes;
use uuid::Uuid;

use super::*;

const RECORDS: &str = include_str!("../../../../tests/fixtures/golden/kafka-4.3.1/group_records.txt");

struct Golden {
    name: &'static str,
    key: Bytes,
    value: Option<Bytes>,
}

fn golden() -> Vec<Golden> {
    let bytes = |hex: &str| -> Bytes {
        (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
    };
    let lines = RECORDS.lines().filter(|line| !line.starts_with('#'));
    let parsed = lines.map(|line| {
        let fields: Vec<&str> = line.split(' ').collect();
        Golden { name: fields[0], key: bytes(fields[1]), value: (fields[2] != "-").then(|| bytes(fields[2])) }
    });
    parsed.collect()
}

fn id(digit: u8) -> TopicId {
    TopicId::new(Uuid::from_bytes([digit * 0x11; 16])).unwrap()
}

/// What was put into a record, by its name.
fn expected(name: &str) -> Record {
    let gone = name.ends_with("-gone");
    match name {
        "offset-legacy" => offset("old", 0, "m", 9, 3),
        "offset-written" | "offset-written-expiring" | "offset-written-gone" => {
            let mut record = offset("g", 1, "x", 10, 100);
            if let Record::OffsetCommit { topic, value: record, .. } = &mut record {
                *topic = "t".into();
                let value = record.as_mut().unwrap();
                match name {
                    "offset-written" => (value.leader_epoch, value.topic_id) = (3, id(2)),
                    "offset-written-expiring" => value.expire_timestamp = 200,
                    _ => *record = None,
                }
            }
            record
        }
        "tagged-offset" => {
            let mut record = offset("g", 1, "", 1, 2);
            if let Record::OffsetCommit { topic, value: Some(value), .. } = &mut record {
                *topic = "t".into();
                value.topic_id = id(1);
            }
            record
        }
        "offset-v4-no-id" => offset("gruppe-ä", 7, "", 0, 1),
        _ if name.starts_with("offset-") => {
            let mut record = offset("gruppe-ä", 7, "note ✓", 42, 1_700_000_000_001);
            if let Record::OffsetCommit { value: record, .. } = &mut record {
                let value = record.as_mut().unwrap();
                match name {
                    "offset-v1" => value.expire_timestamp = 1_700_000_900_001,
                    "offset-v3" => value.leader_epoch = 5,
                    "offset-v4" => (value.leader_epoch, value.topic_id) = (5, id(1)),
                    "offset-gone" => *record = None,
                    _ => {}
                }
            }
            record
        }
        _ if name.starts_with("group-") => {
            Record::Group { group: "classic".into(), value: (!gone).then(|| group(name)) }
        }
        "consumer-group" | "consumer-group-no-hash" | "consumer-group-gone" | "tagged-consumer-group" => {
            let metadata_hash = match name {
                "consumer-group" => -77,
                "tagged-consumer-group" => 5,
                _ => 0,
            };
            let value = ConsumerGroupValue { epoch: 12, metadata_hash };
            Record::ConsumerGroup { group: "new".into(), value: (!gone).then_some(value) }
        }
        "consumer-partition-metadata-gone" => Record::ConsumerGroupPartitionMetadata { group: "new".into() },
        _ if name.starts_with("consumer-member") => Record::ConsumerMember {
            group: "new".into(),
            member: "m1".into(),
            value: (!gone).then(|| member(name)),
        },
        _ if name.starts_with("target-epoch") => {
            let timestamp = if name == "target-epoch" { 1_700_000_000_003 } else { 0 };
            let value = TargetAssignmentEpochValue { epoch: 11, timestamp };
            Record::TargetAssignmentEpoch { group: "new".into(), value: (!gone).then_some(value) }
        }
        _ if name.starts_with("target-member") => Record::TargetAssignmentMember {
            group: "new".into(),
            member: "m1".into(),
            value: (!gone).then(|| vec![(id(1), vec![0, 1, 200]), (id(2), vec![])]),
        },
        _ if name.starts_with("current") => {
            let owned = |topic, partitions: &[i32], epochs: &[i32]| OwnedPartitions {
                topic,
                partitions: partitions.to_vec(),
                assignment_epochs: epochs.to_vec(),
            };
            let value = CurrentAssignmentValue {
                epoch: 11,
                previous_epoch: 10,
                state: 1,
                assigned: vec![owned(id(1), &[0, 1], &[9, 11]), owned(id(2), &[5], &[])],
                pending_revocation: vec![owned(id(2), &[6], &[3])],
            };
            Record::CurrentAssignment {
                group: "new".into(),
                member: "m1".into(),
                value: (!gone).then_some(value),
            }
        }
        _ if name.starts_with("regex") => {
            let value = RegularExpressionValue {
                topics: vec!["a1".into(), "a2".into()],
                version: 77,
                timestamp: 1_700_000_000_004,
            };
            Record::RegularExpression {
                group: "new".into(),
                regex: "a.*".into(),
                value: (!gone).then_some(value),
            }
        }
        _ => panic!("nothing is expected of {name}"),
    }
}

fn offset(group: &str, partition: i32, metadata: &str, offset: i64, commit_timestamp: i64) -> Record {
    let value = OffsetCommitValue {
        offset,
        leader_epoch: -1,
        metadata: metadata.into(),
        commit_timestamp,
        expire_timestamp: -1,
        topic_id: TopicId::ZERO,
    };
    Record::OffsetCommit { group: group.into(), topic: "orders".into(), partition, value: Some(value) }
}

fn group(name: &str) -> GroupValue {
    if name == "group-v3-empty" {
        return GroupValue {
            protocol_type: "".into(),
            generation: 4,
            protocol: None,
            leader: None,
            current_state_timestamp: 5,
            members: vec![],
        };
    }
    let version: i32 = name.trim_start_matches("group-v").parse().unwrap();
    let member = |index: u8| GroupMemberValue {
        member: format!("member-{index}").into(),
        instance: (version >= 3 && index == 0).then(|| "static-0".into()),
        client_id: format!("client-{index}").into(),
        client_host: "/127.0.0.1".into(),
        rebalance_timeout_ms: i32::from(index) + if version >= 1 { 300_000 } else { 45_000 },
        session_timeout_ms: 45_000 + i32::from(index),
        subscription: Bytes::copy_from_slice(&[0, 1, index]),
        assignment: if index == 0 { Bytes::from_static(&[9, 8, 7]) } else { Bytes::new() },
    };
    GroupValue {
        protocol_type: "consumer".into(),
        generation: 3,
        protocol: Some("range".into()),
        leader: Some("member-0".into()),
        current_state_timestamp: if version >= 2 { 1_700_000_000_002 } else { -1 },
        members: vec![member(0), member(1)],
    }
}

fn member(name: &str) -> ConsumerMemberValue {
    match name {
        "consumer-member" => ConsumerMemberValue {
            instance: Some("i".into()),
            rack: Some("r".into()),
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            topic_names: vec!["a".into(), "b".into()],
            topic_regex: Some("a.*".into()),
            rebalance_timeout_ms: 60_000,
            server_assignor: Some("range".into()),
            classic: None,
        },
        "consumer-member-least" => ConsumerMemberValue { rebalance_timeout_ms: -1, ..Default::default() },
        _ => ConsumerMemberValue {
            client_id: "c".into(),
            client_host: "/h".into(),
            topic_names: vec!["a".into()],
            topic_regex: Some("".into()),
            rebalance_timeout_ms: 5,
            classic: Some(ClassicMemberValue {
                session_timeout_ms: 45_000,
                protocols: vec![
                    Protocol { name: "range".into(), metadata: Bytes::from(vec![0; 200]) },
                    Protocol { name: "sticky".into(), metadata: Bytes::from_static(&[1]) },
                ],
            }),
            ..Default::default()
        },
    }
}

#[test]
fn every_record_that_kafka_writes_is_read() {
    for Golden { name, key, value } in golden() {
        let read = Record::decode(&key, value.as_deref()).unwrap();
        let expected = (!name.starts_with("skip-")).then(|| expected(name));
        assert_eq!(read, expected, "{name}");
    }
}

/// Versions that Kafka reads and does not write.
const OLD: &[&str] =
    &["offset-v0", "offset-v2", "offset-v3", "offset-legacy", "group-v0", "group-v1", "group-v2", "group-v4"];

#[test]
fn records_are_written_as_kafka_writes_them() {
    let mut written = 0;
    for Golden { name, key, value } in golden() {
        let later = name.starts_with("skip-") || name.starts_with("tagged-");
        if later || OLD.contains(&name) {
            continue;
        }
        assert_eq!(expected(name).encode(), (key, value), "{name}");
        written += 1;
    }
    assert_eq!(written, 27, "each kind with value and as tombstone");
}

#[test]
fn a_record_that_ends_too_early_is_an_error_that_says_where() {
    for Golden { name, key, value } in golden() {
        if name.starts_with("skip-") {
            continue;
        }
        for end in 0..key.len() {
            let error = Record::decode(&key[..end], value.as_deref()).unwrap_err();
            assert!(error.at <= end, "{name}: key cut at {end}: {error}");
        }
        let Some(value) = value else { continue };
        for end in 0..value.len() {
            let error = Record::decode(&key, Some(&value[..end])).unwrap_err();
            assert!(error.at <= end, "{name}: value cut at {end}: {error}");
        }
    }
}

#[test]
fn a_record_with_any_byte_changed_is_read_or_refused() {
    for Golden { key, value, .. } in golden() {
        for at in 0..key.len() {
            for byte in [0, 0x7f, 0x80, 0xff] {
                let mut key = key.to_vec();
                key[at] = byte;
                drop(Record::decode(&key, value.as_deref()));
            }
        }
        for at in 0..value.as_ref().map_or(0, Bytes::len) {
            for byte in [0, 0x7f, 0x80, 0xff] {
                let mut value = value.as_deref().unwrap().to_vec();
                value[at] = byte;
                drop(Record::decode(&key, Some(&value)));
            }
        }
    }
}
