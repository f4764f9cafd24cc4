//! The answer to Fetch against the crate's own encoder, for every version, over random trees.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::fetch_response as theirs;
use kafka_protocol::messages::{BrokerId, FetchResponse as TheirResponse, ProducerId, TopicName};
use kafka_protocol::protocol::{Encodable, StrBytes};
use proptest::prelude::*;
use uuid::Uuid;

use super::error::ErrorCode;
use super::fetch_body::{
    AbortedTransaction, CurrentLeader, EpochEndOffset, FetchResponse, FetchedPartition, FetchedTopic,
    NodeEndpoint, SnapshotId,
};

/// The same tree as the crate has it, less what `version` cannot say (the crate refuses to encode that).
fn in_the_crates_words(ours: &FetchResponse, version: i16) -> TheirResponse {
    let topics = ours.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let mut out = theirs::PartitionData::default()
                .with_partition_index(partition.index)
                .with_error_code(partition.error.code())
                .with_high_watermark(partition.high_watermark)
                .with_last_stable_offset(partition.last_stable_offset)
                .with_log_start_offset(partition.log_start_offset)
                .with_records(Some(partition.records.concat().into()))
                .with_aborted_transactions(partition.aborted_transactions.as_ref().map(|all| {
                    all.iter()
                        .map(|it| {
                            theirs::AbortedTransaction::default()
                                .with_producer_id(ProducerId(it.producer_id))
                                .with_first_offset(it.first_offset)
                        })
                        .collect()
                }));
            if version >= 11 {
                out.preferred_read_replica = BrokerId(partition.preferred_read_replica);
            }
            if let Some(it) = partition.diverging_epoch {
                out.diverging_epoch =
                    theirs::EpochEndOffset::default().with_epoch(it.epoch).with_end_offset(it.end_offset);
            }
            if let Some(it) = partition.current_leader {
                out.current_leader = theirs::LeaderIdAndEpoch::default()
                    .with_leader_id(BrokerId(it.leader_id))
                    .with_leader_epoch(it.leader_epoch);
            }
            if let Some(it) = partition.snapshot_id {
                out.snapshot_id =
                    theirs::SnapshotId::default().with_epoch(it.epoch).with_end_offset(it.end_offset);
            }
            out
        });
        theirs::FetchableTopicResponse::default()
            .with_topic(TopicName(topic.name.clone()))
            .with_topic_id(topic.id)
            .with_partitions(partitions.collect())
    });
    let endpoints = ours.node_endpoints.iter().map(|it| {
        theirs::NodeEndpoint::default()
            .with_node_id(BrokerId(it.node_id))
            .with_host(it.host.clone())
            .with_port(it.port)
            .with_rack(it.rack.clone())
    });
    let mut out = TheirResponse::default()
        .with_throttle_time_ms(ours.throttle_time_ms)
        .with_error_code(ours.error.code())
        .with_responses(topics.collect())
        .with_node_endpoints(if version >= 16 { endpoints.collect() } else { vec![] });
    if version >= 7 {
        out.session_id = ours.session_id;
    }
    out
}

fn text() -> impl Strategy<Value = StrBytes> {
    prop_oneof![Just(String::new()), "[a-z]{1,12}", "[a-z]{120,260}"].prop_map(StrBytes::from_string)
}

fn error() -> impl Strategy<Value = ErrorCode> {
    (-1i16..134).prop_map(|code| ErrorCode::from_code(code).unwrap())
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![Just(-1i64), any::<i64>()]
}

fn small() -> impl Strategy<Value = i32> {
    prop_oneof![Just(-1i32), any::<i32>()]
}

fn records() -> impl Strategy<Value = Vec<Bytes>> {
    let piece = prop_oneof![Just(0usize), 1usize..20, 100usize..300, 16_370usize..16_400];
    proptest::collection::vec(piece.prop_map(|size| Bytes::from(vec![size as u8; size])), 0..4)
}

prop_compose! {
    fn partition()(
        index in any::<i32>(), error in error(), offsets in (number(), number(), number()),
        aborted in proptest::option::of(proptest::collection::vec((number(), number()), 0..3)),
        preferred in small(), diverging in proptest::option::of((small(), number())),
        leader in proptest::option::of((small(), small())), snapshot in proptest::option::of((small(), number())),
        records in records(),
    ) -> FetchedPartition {
        FetchedPartition {
            index,
            error,
            high_watermark: offsets.0,
            last_stable_offset: offsets.1,
            log_start_offset: offsets.2,
            aborted_transactions: aborted.map(|all| all.into_iter()
                .map(|(producer_id, first_offset)| AbortedTransaction { producer_id, first_offset }).collect()),
            preferred_read_replica: preferred,
            diverging_epoch: diverging.map(|(epoch, end_offset)| EpochEndOffset { epoch, end_offset }),
            current_leader: leader.map(|(leader_id, leader_epoch)| CurrentLeader { leader_id, leader_epoch }),
            snapshot_id: snapshot.map(|(epoch, end_offset)| SnapshotId { end_offset, epoch }),
            records: records.into(),
        }
    }
}

prop_compose! {
    fn topic()(name in text(), id in any::<u128>(), partitions in proptest::collection::vec(partition(), 0..4)) -> FetchedTopic {
        FetchedTopic { name, id: Uuid::from_u128(id), partitions }
    }
}

prop_compose! {
    fn endpoint()(node_id in any::<i32>(), host in text(), port in any::<i32>(), rack in proptest::option::of(text())) -> NodeEndpoint {
        NodeEndpoint { node_id, host, port, rack }
    }
}

prop_compose! {
    fn response()(
        throttle_time_ms in any::<i32>(), error in error(), session_id in any::<i32>(),
        topics in proptest::collection::vec(topic(), 0..4), node_endpoints in proptest::collection::vec(endpoint(), 0..3),
    ) -> FetchResponse {
        FetchResponse { throttle_time_ms, error, session_id, topics, node_endpoints }
    }
}

proptest! {
    #[test]
    fn every_version_is_byte_for_byte_what_the_crate_writes(response in response()) {
        for version in 4..=18 {
            let mut expected = BytesMut::new();
            in_the_crates_words(&response, version).encode(&mut expected, version).unwrap();
            let body = response.encode(version).concat();
            prop_assert_eq!(&body, &expected.to_vec(), "version {}", version);
            let read = FetchResponse::decode(&expected.freeze(), version).unwrap();
            prop_assert_eq!(read.encode(version).concat(), body.clone(), "version {}", version);

            let frame = response.encode_frame(version, 77).concat();
            let head = if version >= 12 { vec![0, 0, 0, 77, 0] } else { vec![0, 0, 0, 77] };
            let length = u32::try_from(head.len() + body.len()).unwrap();
            prop_assert_eq!(frame, [length.to_be_bytes().to_vec(), head, body].concat());
        }
    }
}

proptest! {
    #[test]
    fn a_cut_or_garbled_answer_is_refused_or_read_but_never_a_panic(
        response in response(), version in 4i16..=18, cut in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let whole = response.encode(version).concat();
        let at = cut.index(whole.len());
        let _ = FetchResponse::decode(&Bytes::from(whole[..at].to_vec()), version);
        let mut garbled = whole;
        garbled[at] = byte;
        let _ = FetchResponse::decode(&Bytes::from(garbled), version);
    }
}

#[test]
fn records_that_are_read_are_slices_of_the_frame() {
    let mut partition = FetchedPartition::new(3);
    partition.records.push(Bytes::from(vec![7u8; 1000]));
    partition.diverging_epoch = Some(EpochEndOffset { epoch: 4, end_offset: 99 });
    let topic =
        FetchedTopic { id: Uuid::from_u128(1), partitions: vec![partition], ..FetchedTopic::default() };
    let response = FetchResponse { topics: vec![topic], session_id: 5, ..FetchResponse::default() };
    let frame = Bytes::from(response.encode(18).concat());
    let read = FetchResponse::decode(&frame, 18).unwrap();
    assert_eq!(read, response);
    let records = &read.topics[0].partitions[0].records[0];
    assert!(frame.as_ptr_range().contains(&records.as_ptr()));
}

#[test]
fn a_count_that_the_frame_cannot_hold_is_refused() {
    let mut body = FetchResponse::default().encode(18).concat();
    body.truncate(10);
    body.extend([0xff, 0xff, 0xff, 0xff, 0x0f]);
    assert!(FetchResponse::decode(&Bytes::from(body), 18).is_err());
}

#[test]
fn records_are_lent_not_copied() {
    let records = Bytes::from(vec![7u8; 1000]);
    let mut partition = FetchedPartition::new(0);
    partition.records.push(records.clone());
    let topic = FetchedTopic { partitions: vec![partition], ..FetchedTopic::default() };
    let response = FetchResponse { topics: vec![topic], ..FetchResponse::default() };
    let chunks = response.encode(12);
    assert_eq!(chunks.len(), 3);
    assert_eq!(chunks[1].as_ptr(), records.as_ptr());
}
