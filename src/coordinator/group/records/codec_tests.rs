//! What is written is read back; what cannot be true is refused with its place.

use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn name() -> impl Strategy<Value = Name> {
    prop_oneof![Just(String::new()), "[a-z.*_-]{1,9}", "\\PC{0,80}"].prop_map(Name::from)
}

fn id() -> impl Strategy<Value = TopicId> {
    any::<[u8; 16]>().prop_map(|bytes| TopicId::new(Uuid::from_bytes(bytes)).unwrap_or(TopicId::ZERO))
}

fn bytes() -> impl Strategy<Value = Bytes> {
    prop::collection::vec(any::<u8>(), 0..300).prop_map(Bytes::from)
}

fn several<T: std::fmt::Debug>(one: impl Strategy<Value = T>) -> impl Strategy<Value = Vec<T>> {
    prop::collection::vec(one, 0..4)
}

fn offset_value() -> impl Strategy<Value = OffsetCommitValue> {
    let expires = prop::option::of(0..i64::MAX);
    (any::<i64>(), any::<i32>(), name(), any::<i64>(), expires, id()).prop_map(
        |(offset, leader_epoch, metadata, commit_timestamp, expires, topic_id)| OffsetCommitValue {
            offset,
            // The version that knows an expire timestamp knows neither of the two.
            leader_epoch: if expires.is_none() { leader_epoch } else { -1 },
            metadata,
            commit_timestamp,
            expire_timestamp: expires.unwrap_or(-1),
            topic_id: if expires.is_none() { topic_id } else { TopicId::ZERO },
        },
    )
}

fn group_value() -> impl Strategy<Value = GroupValue> {
    let timeouts = (0..i32::MAX, any::<i32>());
    let member = (name(), prop::option::of(name()), name(), name(), timeouts, bytes(), bytes()).prop_map(
        |(member, instance, client_id, client_host, timeouts, subscription, assignment)| GroupMemberValue {
            member,
            instance,
            client_id,
            client_host,
            rebalance_timeout_ms: timeouts.0,
            session_timeout_ms: timeouts.1,
            subscription,
            assignment,
        },
    );
    let named = prop::option::of(name());
    (name(), any::<i32>(), named, prop::option::of(name()), any::<i64>(), several(member)).prop_map(
        |(protocol_type, generation, protocol, leader, current_state_timestamp, members)| GroupValue {
            protocol_type,
            generation,
            protocol,
            leader,
            current_state_timestamp,
            members,
        },
    )
}

fn member_value() -> impl Strategy<Value = ConsumerMemberValue> {
    let protocol = (name(), bytes()).prop_map(|(name, metadata)| Protocol { name, metadata });
    let classic = (any::<i32>(), several(protocol))
        .prop_map(|(session_timeout_ms, protocols)| ClassicMemberValue { session_timeout_ms, protocols });
    let names = (prop::option::of(name()), prop::option::of(name()), name(), name());
    let subscription = (several(name()), prop::option::of(name()), prop::option::of(name()));
    (names, subscription, any::<i32>(), prop::option::of(classic)).prop_map(
        |(names, subscription, rebalance_timeout_ms, classic)| ConsumerMemberValue {
            instance: names.0,
            rack: names.1,
            client_id: names.2,
            client_host: names.3,
            topic_names: subscription.0,
            topic_regex: subscription.1,
            rebalance_timeout_ms,
            server_assignor: subscription.2,
            classic,
        },
    )
}

fn owned() -> impl Strategy<Value = OwnedPartitions> {
    (id(), several(any::<(i32, i32)>()), any::<bool>()).prop_map(|(topic, pairs, with_epochs)| {
        let (partitions, epochs): (Vec<i32>, Vec<i32>) = pairs.into_iter().unzip();
        OwnedPartitions { topic, partitions, assignment_epochs: if with_epochs { epochs } else { vec![] } }
    })
}

fn record() -> impl Strategy<Value = Record> {
    let current = (any::<(i32, i32, i8)>(), several(owned()), several(owned())).prop_map(
        |((epoch, previous_epoch, state), assigned, pending_revocation)| CurrentAssignmentValue {
            epoch,
            previous_epoch,
            state,
            assigned,
            pending_revocation,
        },
    );
    let regex = (several(name()), any::<(i64, i64)>())
        .prop_map(|(topics, (version, timestamp))| RegularExpressionValue { topics, version, timestamp });
    prop_oneof![
        (name(), name(), any::<i32>(), prop::option::of(offset_value())).prop_map(
            |(group, topic, partition, value)| Record::OffsetCommit { group, topic, partition, value }
        ),
        (name(), prop::option::of(group_value())).prop_map(|(group, value)| Record::Group { group, value }),
        (name(), any::<Option<(i32, i64)>>()).prop_map(|(group, value)| Record::ConsumerGroup {
            group,
            value: value.map(|(epoch, metadata_hash)| ConsumerGroupValue { epoch, metadata_hash }),
        }),
        name().prop_map(|group| Record::ConsumerGroupPartitionMetadata { group }),
        (name(), name(), prop::option::of(member_value()))
            .prop_map(|(group, member, value)| Record::ConsumerMember { group, member, value }),
        (name(), any::<Option<(i32, i64)>>()).prop_map(|(group, value)| Record::TargetAssignmentEpoch {
            group,
            value: value.map(|(epoch, timestamp)| TargetAssignmentEpochValue { epoch, timestamp }),
        }),
        (name(), name(), prop::option::of(several((id(), several(any::<i32>())))))
            .prop_map(|(group, member, value)| Record::TargetAssignmentMember { group, member, value }),
        (name(), name(), prop::option::of(current))
            .prop_map(|(group, member, value)| Record::CurrentAssignment { group, member, value }),
        (name(), name(), prop::option::of(regex))
            .prop_map(|(group, regex, value)| Record::RegularExpression { group, regex, value }),
    ]
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(record in record()) {
        let (key, value) = record.encode();
        prop_assert_eq!(Record::decode(&key, value.as_deref()), Ok(Some(record)));
    }

    #[test]
    fn strange_bytes_are_read_or_refused(kind in 0i16..=16, version in 0i16..=4, rest in prop::collection::vec(any::<u8>(), 0..64)) {
        let key = [&kind.to_be_bytes(), rest.as_slice()].concat();
        let value = [&version.to_be_bytes(), rest.as_slice()].concat();
        drop(Record::decode(&key, Some(&value)));
        let good_key = [&kind.to_be_bytes()[..], &[0, 1, b'g', 0, 1, b't', 0, 0, 0, 0]].concat();
        drop(Record::decode(&good_key, Some(&value)));
    }
}

#[test]
fn a_count_that_its_bytes_cannot_hold_is_refused_before_anything_is_reserved() {
    let (key, _) = Record::Group { group: "g".into(), value: None }.encode();
    // Version 3, protocol type "", generation 0, no protocol, no leader, timestamp 0, 2,147,483,647 members.
    let mut value = vec![0, 3, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff];
    value.extend([0; 8]);
    value.extend([0x7f, 0xff, 0xff, 0xff]);
    let error = Record::decode(&key, Some(&value)).unwrap_err();
    assert_eq!(error.problem, RecordProblem::TooLong);
    assert_eq!(
        error.to_string(),
        "GroupMetadataValue: field members has a length that its bytes do not have at byte 24"
    );
}

#[test]
fn null_where_there_must_be_a_name_is_refused() {
    let error = Record::decode(&[0, 2, 0xff, 0xff], None).unwrap_err();
    assert_eq!(error.to_string(), "GroupMetadataKey: field group is null at byte 4");
}

#[test]
fn a_version_of_the_future_is_skipped() {
    let (key, _) = Record::Group { group: "g".into(), value: None }.encode();
    assert_eq!(Record::decode(&key, Some(&[0, 5, 1, 2, 3])), Ok(None));
    assert_eq!(Record::decode(&key, Some(&[0xff, 0xff])), Ok(None));
}

#[test]
fn epochs_that_do_not_match_their_partitions_are_refused() {
    let owned = OwnedPartitions { partitions: vec![1, 2], assignment_epochs: vec![1], ..Default::default() };
    let value = CurrentAssignmentValue { assigned: vec![owned], ..Default::default() };
    let record = Record::CurrentAssignment { group: "g".into(), member: "m".into(), value: Some(value) };
    let (key, value) = record.encode();
    assert_eq!(Record::decode(&key, value.as_deref()).unwrap_err().problem, RecordProblem::Uneven);
}
