//! What the codec crate does with the body of each API.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as m;
use kafka_protocol::protocol::{Decodable, Encodable, Request};
use ketcd::protocol::fetch_request::FetchRequest;
use ketcd::protocol::produce_body::ProduceRequest;
use uuid::Uuid;

/// A body decoded and encoded again.
pub struct RoundTrip {
    /// Bytes that the decoder left.
    pub left: usize,
    pub encoded: Vec<u8>,
}

struct Codec {
    key: i16,
    round_trip: fn(i16, &Bytes) -> Result<RoundTrip, String>,
    decode: fn(i16, &Bytes) -> bool,
}

const fn codec<R: Request>() -> Codec {
    Codec { key: R::KEY, round_trip: round_trip_of::<R>, decode: decode_of::<R> }
}

fn round_trip_of<R: Decodable + Encodable>(version: i16, body: &Bytes) -> Result<RoundTrip, String> {
    let mut body = body.clone();
    let request = R::decode(&mut body, version).map_err(|error| format!("decode: {error}"))?;
    let mut encoded = BytesMut::new();
    request.encode(&mut encoded, version).map_err(|error| format!("encode: {error}"))?;
    Ok(RoundTrip { left: body.len(), encoded: encoded.to_vec() })
}

fn decode_of<R: Decodable>(version: i16, body: &Bytes) -> bool {
    R::decode(&mut body.clone(), version).is_ok()
}

fn of(key: i16) -> &'static Codec {
    CODECS.iter().find(|codec| codec.key == key).expect("every API has its line")
}

pub fn keys() -> Vec<i16> {
    CODECS.iter().map(|codec| codec.key).collect()
}

pub fn round_trip(key: i16, version: i16, body: &[u8]) -> Result<RoundTrip, String> {
    (of(key).round_trip)(version, &Bytes::copy_from_slice(body))
}

pub fn decode(key: i16, version: i16, body: &Bytes) -> bool {
    (of(key).decode)(version, body)
}

/// Asserts that our decoder of Produce or Fetch finds what the crate finds.
pub fn compare_with_ours(key: i16, version: i16, body: &Bytes) {
    match key {
        0 => compare_produce(version, body),
        1 => compare_fetch(version, body),
        _ => panic!("no decoder of ours for key {key}"),
    }
}

fn compare_produce(version: i16, body: &Bytes) {
    let theirs = m::ProduceRequest::decode(&mut body.clone(), version).unwrap();
    let ours = ProduceRequest::decode(body, version).unwrap();
    assert_eq!(ours.transactional_id, theirs.transactional_id.map(|id| id.0));
    assert_eq!((ours.acks, ours.timeout_ms), (theirs.acks, theirs.timeout_ms));
    assert_eq!(ours.topics.len(), theirs.topic_data.len());
    for (ours, theirs) in ours.topics.iter().zip(theirs.topic_data) {
        assert_eq!((&ours.name, ours.id), (&theirs.name.0, theirs.topic_id));
        let ours: Vec<_> = ours.partitions.iter().map(|it| (it.index, it.records.clone())).collect();
        let theirs: Vec<_> = theirs.partition_data.into_iter().map(|it| (it.index, it.records)).collect();
        assert_eq!(ours, theirs);
    }
}

fn compare_fetch(version: i16, body: &Bytes) {
    let theirs = m::FetchRequest::decode(&mut body.clone(), version).unwrap();
    let ours = FetchRequest::decode(body, version).unwrap();
    assert_eq!(ours.cluster_id, theirs.cluster_id);
    let replica = if version >= 15 { theirs.replica_state.replica_id } else { theirs.replica_id };
    assert_eq!((ours.replica_id, ours.replica_epoch), (replica.0, theirs.replica_state.replica_epoch));
    assert_eq!(
        (ours.max_wait_ms, ours.min_bytes, ours.max_bytes),
        (theirs.max_wait_ms, theirs.min_bytes, theirs.max_bytes)
    );
    assert_eq!(ours.isolation_level, theirs.isolation_level);
    assert_eq!((ours.session_id, ours.session_epoch), (theirs.session_id, theirs.session_epoch));
    assert_eq!(ours.rack_id, theirs.rack_id);
    assert_eq!(ours.topics.len(), theirs.topics.len());
    for (ours, theirs) in ours.topics.iter().zip(&theirs.topics) {
        assert_eq!((&ours.name, ours.id), (&theirs.topic.0, theirs.topic_id));
        assert_eq!(ours.partitions.len(), theirs.partitions.len());
        for (ours, theirs) in ours.partitions.iter().zip(&theirs.partitions) {
            assert_eq!(
                (ours.index, ours.fetch_offset, ours.max_bytes),
                (theirs.partition, theirs.fetch_offset, theirs.partition_max_bytes)
            );
            assert_eq!(
                (ours.current_leader_epoch, ours.last_fetched_epoch),
                (theirs.current_leader_epoch, theirs.last_fetched_epoch)
            );
            assert_eq!(
                (ours.log_start_offset, ours.high_watermark),
                (theirs.log_start_offset, theirs.high_watermark)
            );
            assert_eq!(ours.replica_directory_id, theirs.replica_directory_id);
        }
    }
    let ours: Vec<(&str, Uuid, &[i32])> =
        ours.forgotten_topics.iter().map(|it| (&*it.name, it.id, it.partitions.as_slice())).collect();
    let theirs: Vec<(&str, Uuid, &[i32])> = theirs
        .forgotten_topics_data
        .iter()
        .map(|it| (&*it.topic.0, it.topic_id, it.partitions.as_slice()))
        .collect();
    assert_eq!(ours, theirs);
}

/// One line for each API, in the order of keys.
static CODECS: &[Codec] = &[
    codec::<m::ProduceRequest>(),
    codec::<m::FetchRequest>(),
    codec::<m::ListOffsetsRequest>(),
    codec::<m::MetadataRequest>(),
    codec::<m::OffsetCommitRequest>(),
    codec::<m::OffsetFetchRequest>(),
    codec::<m::FindCoordinatorRequest>(),
    codec::<m::JoinGroupRequest>(),
    codec::<m::HeartbeatRequest>(),
    codec::<m::LeaveGroupRequest>(),
    codec::<m::SyncGroupRequest>(),
    codec::<m::DescribeGroupsRequest>(),
    codec::<m::ListGroupsRequest>(),
    codec::<m::SaslHandshakeRequest>(),
    codec::<m::ApiVersionsRequest>(),
    codec::<m::CreateTopicsRequest>(),
    codec::<m::DeleteTopicsRequest>(),
    codec::<m::DeleteRecordsRequest>(),
    codec::<m::InitProducerIdRequest>(),
    codec::<m::OffsetForLeaderEpochRequest>(),
    codec::<m::AddPartitionsToTxnRequest>(),
    codec::<m::AddOffsetsToTxnRequest>(),
    codec::<m::EndTxnRequest>(),
    codec::<m::WriteTxnMarkersRequest>(),
    codec::<m::TxnOffsetCommitRequest>(),
    codec::<m::DescribeAclsRequest>(),
    codec::<m::CreateAclsRequest>(),
    codec::<m::DeleteAclsRequest>(),
    codec::<m::DescribeConfigsRequest>(),
    codec::<m::AlterConfigsRequest>(),
    codec::<m::AlterReplicaLogDirsRequest>(),
    codec::<m::DescribeLogDirsRequest>(),
    codec::<m::SaslAuthenticateRequest>(),
    codec::<m::CreatePartitionsRequest>(),
    codec::<m::CreateDelegationTokenRequest>(),
    codec::<m::RenewDelegationTokenRequest>(),
    codec::<m::ExpireDelegationTokenRequest>(),
    codec::<m::DescribeDelegationTokenRequest>(),
    codec::<m::DeleteGroupsRequest>(),
    codec::<m::ElectLeadersRequest>(),
    codec::<m::IncrementalAlterConfigsRequest>(),
    codec::<m::AlterPartitionReassignmentsRequest>(),
    codec::<m::ListPartitionReassignmentsRequest>(),
    codec::<m::OffsetDeleteRequest>(),
    codec::<m::DescribeClientQuotasRequest>(),
    codec::<m::AlterClientQuotasRequest>(),
    codec::<m::DescribeUserScramCredentialsRequest>(),
    codec::<m::AlterUserScramCredentialsRequest>(),
    codec::<m::DescribeQuorumRequest>(),
    codec::<m::UpdateFeaturesRequest>(),
    codec::<m::DescribeClusterRequest>(),
    codec::<m::DescribeProducersRequest>(),
    codec::<m::UnregisterBrokerRequest>(),
    codec::<m::DescribeTransactionsRequest>(),
    codec::<m::ListTransactionsRequest>(),
    codec::<m::ConsumerGroupHeartbeatRequest>(),
    codec::<m::ConsumerGroupDescribeRequest>(),
    codec::<m::GetTelemetrySubscriptionsRequest>(),
    codec::<m::PushTelemetryRequest>(),
    codec::<m::ListConfigResourcesRequest>(),
    codec::<m::DescribeTopicPartitionsRequest>(),
    codec::<m::ShareGroupHeartbeatRequest>(),
    codec::<m::ShareGroupDescribeRequest>(),
    codec::<m::ShareFetchRequest>(),
    codec::<m::ShareAcknowledgeRequest>(),
    codec::<m::InitializeShareGroupStateRequest>(),
    codec::<m::ReadShareGroupStateRequest>(),
    codec::<m::WriteShareGroupStateRequest>(),
    codec::<m::DeleteShareGroupStateRequest>(),
    codec::<m::ReadShareGroupStateSummaryRequest>(),
    codec::<m::DescribeShareGroupOffsetsRequest>(),
    codec::<m::AlterShareGroupOffsetsRequest>(),
    codec::<m::DeleteShareGroupOffsetsRequest>(),
];
