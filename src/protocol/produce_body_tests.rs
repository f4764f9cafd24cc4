//! The answer to Produce against the crate's own encoder, for every version, over random trees. (The request is compared in
//! `tests/guard_hostile.rs`, whose bodies come from the guard's table.)

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::produce_response as theirs;
use kafka_protocol::messages::{BrokerId, ProduceResponse as TheirResponse, TopicName};
use kafka_protocol::protocol::{Encodable, StrBytes};
use proptest::prelude::*;
use uuid::Uuid;

use super::error::ErrorCode;
use super::produce_body::{
    CurrentLeader, NodeEndpoint, PartitionAnswer, ProduceRequest, ProduceResponse, RecordErrorAnswer,
    TopicAnswer,
};

/// The same tree as the crate has it.
fn in_the_crates_words(ours: &ProduceResponse, version: i16) -> TheirResponse {
    let topics = ours.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|it| {
            let errors = it.record_errors.iter().map(|error| {
                theirs::BatchIndexAndErrorMessage::default()
                    .with_batch_index(error.batch_index)
                    .with_batch_index_error_message(error.message.clone())
            });
            let leader = it.current_leader.map_or_else(theirs::LeaderIdAndEpoch::default, |leader| {
                theirs::LeaderIdAndEpoch::default()
                    .with_leader_id(BrokerId(leader.leader_id))
                    .with_leader_epoch(leader.leader_epoch)
            });
            theirs::PartitionProduceResponse::default()
                .with_index(it.index)
                .with_error_code(it.error.code())
                .with_base_offset(it.base_offset)
                .with_log_append_time_ms(it.log_append_time_ms)
                .with_log_start_offset(it.log_start_offset)
                .with_record_errors(errors.collect())
                .with_error_message(it.error_message.clone())
                .with_current_leader(leader)
        });
        theirs::TopicProduceResponse::default()
            .with_name(TopicName(topic.name.clone()))
            .with_topic_id(topic.id)
            .with_partition_responses(partitions.collect())
    });
    let endpoints = ours.node_endpoints.iter().map(|it| {
        theirs::NodeEndpoint::default()
            .with_node_id(BrokerId(it.node_id))
            .with_host(it.host.clone())
            .with_port(it.port)
            .with_rack(it.rack.clone())
    });
    TheirResponse::default()
        .with_responses(topics.collect())
        .with_throttle_time_ms(ours.throttle_time_ms)
        .with_node_endpoints(if version >= 10 { endpoints.collect() } else { vec![] })
}

fn text() -> impl Strategy<Value = StrBytes> {
    prop_oneof![Just(String::new()), "[a-z]{1,12}", "[a-z]{120,260}"].prop_map(StrBytes::from_string)
}

fn small() -> impl Strategy<Value = i32> {
    prop_oneof![Just(-1i32), any::<i32>()]
}

prop_compose! {
    fn partition()(
        index in any::<i32>(), error in -1i16..134, offsets in any::<(i64, i64, i64)>(),
        record_errors in proptest::collection::vec((any::<i32>(), proptest::option::of(text())), 0..3),
        error_message in proptest::option::of(text()), leader in proptest::option::of((small(), small())),
    ) -> PartitionAnswer {
        PartitionAnswer {
            index,
            error: ErrorCode::from_code(error).unwrap(),
            base_offset: offsets.0,
            log_append_time_ms: offsets.1,
            log_start_offset: offsets.2,
            record_errors: record_errors.into_iter()
                .map(|(batch_index, message)| RecordErrorAnswer { batch_index, message }).collect(),
            error_message,
            current_leader: leader.map(|(leader_id, leader_epoch)| CurrentLeader { leader_id, leader_epoch }),
        }
    }
}

prop_compose! {
    fn topic()(name in text(), id in any::<u128>(), partitions in proptest::collection::vec(partition(), 0..4)) -> TopicAnswer {
        TopicAnswer { name, id: Uuid::from_u128(id), partitions }
    }
}

prop_compose! {
    fn endpoint()(node_id in any::<i32>(), host in text(), port in any::<i32>(), rack in proptest::option::of(text())) -> NodeEndpoint {
        NodeEndpoint { node_id, host, port, rack }
    }
}

prop_compose! {
    fn response()(
        throttle_time_ms in any::<i32>(), topics in proptest::collection::vec(topic(), 0..4),
        node_endpoints in proptest::collection::vec(endpoint(), 0..3),
    ) -> ProduceResponse {
        ProduceResponse { topics, throttle_time_ms, node_endpoints }
    }
}

proptest! {
    #[test]
    fn every_version_is_byte_for_byte_what_the_crate_writes(response in response()) {
        for version in 3..=13 {
            let mut expected = BytesMut::new();
            in_the_crates_words(&response, version).encode(&mut expected, version).unwrap();
            let body = response.encode(version);
            prop_assert_eq!(&body[..], &expected[..], "version {}", version);

            let head = if version >= 9 { vec![0, 0, 0, 77, 0] } else { vec![0, 0, 0, 77] };
            let length = u32::try_from(head.len() + body.len()).unwrap();
            let frame = [length.to_be_bytes().to_vec(), head, body.to_vec()].concat();
            prop_assert_eq!(response.encode_frame(version, 77), frame);
        }
    }

    #[test]
    fn no_bytes_make_the_request_decoder_panic(noise in proptest::collection::vec(any::<u8>(), 0..300), version in 3i16..14) {
        let _ = ProduceRequest::decode(&Bytes::from(noise), version);
    }
}

#[test]
fn records_of_a_request_are_slices_of_its_frame() {
    let body = Bytes::from(
        [
            &[0xff, 0xff, 0, 1, 0, 0, 0, 9, 0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 1][..],
            &[0, 0, 0, 5, 0, 0, 0, 3, 7, 8, 9],
        ]
        .concat(),
    );
    let request = ProduceRequest::decode(&body, 3).unwrap();
    assert_eq!((request.transactional_id, request.acks, request.timeout_ms), (None, 1, 9));
    let partition = &request.topics[0].partitions[0];
    assert_eq!((&*request.topics[0].name, partition.index), ("t", 5));
    assert_eq!(partition.records.as_ref().unwrap().as_ptr(), body[body.len() - 3..].as_ptr());
}

#[test]
fn a_message_too_long_for_the_wire_is_cut_at_a_character() {
    let mut partition = PartitionAnswer::failed(0, ErrorCode::InvalidRecord);
    partition.error_message = Some(StrBytes::from_string("é".repeat(20_000)));
    let topic = TopicAnswer { partitions: vec![partition], ..TopicAnswer::default() };
    let response = ProduceResponse { topics: vec![topic], ..ProduceResponse::default() };
    let body = response.encode(8);
    assert_eq!(body.len(), 4 + 2 + 4 + 4 + 2 + 24 + 4 + 2 + 32_766 + 4);
}
