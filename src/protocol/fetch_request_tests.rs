//! Our Fetch requests against the crate's decoder, and ours, for every version, over random trees.

use bytes::{Buf, Bytes};
use kafka_protocol::messages::{FetchRequest as TheirRequest, RequestHeader};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use proptest::prelude::*;
use uuid::Uuid;

use super::fetch_request::{FetchPartition, FetchRequest, FetchTopic, ForgottenTopic};

fn text() -> impl Strategy<Value = StrBytes> {
    prop_oneof![Just(String::new()), "[a-z]{1,12}", "[a-z]{120,260}"].prop_map(StrBytes::from_string)
}

prop_compose! {
    fn partition()(
        index in any::<i32>(), epochs in (any::<i32>(), any::<i32>()), offsets in (any::<i64>(), any::<i64>()),
        max_bytes in any::<i32>(), directory in prop_oneof![Just(0u128), any::<u128>()],
        high_watermark in prop_oneof![Just(i64::MAX), any::<i64>()],
    ) -> FetchPartition {
        FetchPartition {
            index,
            current_leader_epoch: epochs.0,
            fetch_offset: offsets.0,
            last_fetched_epoch: epochs.1,
            log_start_offset: offsets.1,
            max_bytes,
            replica_directory_id: Uuid::from_u128(directory),
            high_watermark,
        }
    }
}

prop_compose! {
    fn topic()(name in text(), id in any::<u128>(), partitions in prop::collection::vec(partition(), 0..4)) -> FetchTopic {
        FetchTopic { name, id: Uuid::from_u128(id), partitions: partitions.into() }
    }
}

prop_compose! {
    fn forgotten()(name in text(), id in any::<u128>(), partitions in prop::collection::vec(any::<i32>(), 0..4)) -> ForgottenTopic {
        ForgottenTopic { name, id: Uuid::from_u128(id), partitions }
    }
}

prop_compose! {
    fn request()(
        cluster_id in prop::option::of(text()), replica in prop_oneof![Just((-1, -1)), any::<(i32, i64)>()],
        limits in any::<(i32, i32, i32, i8)>(), session in any::<(i32, i32)>(),
        topics in prop::collection::vec(topic(), 0..4), forgotten_topics in prop::collection::vec(forgotten(), 0..3),
        rack_id in text(),
    ) -> FetchRequest {
        FetchRequest {
            cluster_id,
            replica_id: replica.0,
            replica_epoch: replica.1,
            max_wait_ms: limits.0,
            min_bytes: limits.1,
            max_bytes: limits.2,
            isolation_level: limits.3,
            session_id: session.0,
            session_epoch: session.1,
            topics: topics.into(),
            forgotten_topics,
            rack_id,
        }
    }
}

/// The request as a receiver of `version` can know it.
fn as_of(mut request: FetchRequest, version: i16) -> FetchRequest {
    let has = |from: i16| version >= from;
    if !has(7) {
        (request.session_id, request.session_epoch) = (0, -1);
        request.forgotten_topics.clear();
    }
    if !has(11) {
        request.rack_id = StrBytes::default();
    }
    if !has(12) {
        request.cluster_id = None;
    }
    if !has(15) {
        request.replica_epoch = -1;
    }
    for topic in &mut request.topics {
        (topic.name, topic.id) = name_of(version, &topic.name, topic.id);
        for partition in &mut topic.partitions {
            if !has(5) {
                partition.log_start_offset = -1;
            }
            if !has(9) {
                partition.current_leader_epoch = -1;
            }
            if !has(12) {
                partition.last_fetched_epoch = -1;
            }
            if !has(17) {
                partition.replica_directory_id = Uuid::nil();
            }
            if !has(18) {
                partition.high_watermark = i64::MAX;
            }
        }
    }
    for topic in &mut request.forgotten_topics {
        (topic.name, topic.id) = name_of(version, &topic.name, topic.id);
    }
    request
}

fn name_of(version: i16, name: &StrBytes, id: Uuid) -> (StrBytes, Uuid) {
    if version >= 13 { (StrBytes::default(), id) } else { (name.clone(), Uuid::nil()) }
}

proptest! {
    #[test]
    fn every_version_is_read_as_it_was_meant(request in request()) {
        for version in 4..=18 {
            let frame = request.encode_frame(version, 77, "broker-1");
            let mut rest = frame.clone();
            prop_assert_eq!(rest.get_u32() as usize, frame.len() - 4);
            let (header, body) = super::header::parse(&rest).unwrap();
            prop_assert_eq!((header.api_key, header.api_version, header.correlation_id), (1, version, 77));
            prop_assert_eq!(header.client_id.as_deref(), Some("broker-1"));
            let read = FetchRequest::decode(&body, version).unwrap();
            prop_assert_eq!(read, as_of(request.clone(), version), "version {}", version);

            // The crate reads all of it, and writes the same bytes again.
            let mut theirs: Bytes = rest.clone();
            RequestHeader::decode(&mut theirs, if version >= 12 { 2 } else { 1 }).unwrap();
            let read = TheirRequest::decode(&mut theirs, version).unwrap();
            prop_assert!(theirs.is_empty());
            let mut again = bytes::BytesMut::new();
            read.encode(&mut again, version).unwrap();
            prop_assert_eq!(again.freeze(), body, "version {}", version);
        }
    }
}
