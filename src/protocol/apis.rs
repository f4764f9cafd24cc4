//! Every API that a Kafka 4 broker has for its clients, and which versions of it can be decoded here. Data, one line each: keys, names,
//! ranges and flexible versions are those of Apache Kafka 4.3.1's message definitions; the last versions that are decoded are
//! those of the crate `kafka-protocol` 0.18, each proven by a round trip (`guard_tests`).
//!
//! Which of them are served is the registry's business (`handlers/`).

use std::ops::RangeInclusive;

use super::guard::shape::Field;
use super::guard::{
    shapes_admin, shapes_data, shapes_groups, shapes_security, shapes_share, shapes_transactions,
};

/// What is known of one API.
#[derive(Debug, Clone, Copy)]
pub struct Api {
    /// The number in request headers.
    pub key: i16,
    /// Kafka's name, such as `Produce`.
    pub name: &'static str,
    /// Lowest version that Kafka 4 keeps.
    pub version_min: i16,
    /// Highest version that is decoded here.
    pub version_max: i16,
    /// Highest version of Kafka 4.3.1.
    pub kafka_version_max: i16,
    /// First version with compact lengths and tagged fields (KIP-482), which also has the flexible headers.
    pub flexible_from: i16,
    /// The fields of its requests.
    pub(super) shape: &'static [Field],
}

impl Api {
    /// Whether requests of this version can be decoded.
    #[must_use]
    #[inline]
    pub const fn decodes(&self, version: i16) -> bool {
        self.version_min <= version && version <= self.version_max
    }

    /// The fields of its requests, for tools and tests.
    #[must_use]
    pub const fn shape(&self) -> &'static [Field] {
        self.shape
    }
}

/// No version of the API is flexible.
const NEVER: i16 = i16::MAX;

/// The API of a key; `None` if no client may ask for it.
#[must_use]
pub fn api(key: i16) -> Option<&'static Api> {
    let place = *PLACES.get(usize::try_from(key).ok()?)?;
    APIS.get(usize::from(place))
}

/// Where each key stands in [`APIS`]; past its end for a key that is not there.
static PLACES: [u8; 128] = places();

#[allow(clippy::indexing_slicing, clippy::cast_possible_truncation, clippy::cast_sign_loss)] // the compiler runs it
const fn places() -> [u8; 128] {
    let mut places = [u8::MAX; 128];
    let mut place = 0;
    while place < APIS.len() {
        places[APIS[place].key as usize] = place as u8;
        place += 1;
    }
    places
}

/// The versions of the API that can be decoded; `None` for a key that is not known.
#[must_use]
pub fn decodable_versions(key: i16) -> Option<RangeInclusive<i16>> {
    api(key).map(|api| api.version_min..=api.version_max)
}

/// Whether the version has compact lengths, tagged fields and flexible headers; `None` for a key that is not known. Versions past
/// the last that is known count as flexible if the last one is.
#[must_use]
pub fn is_flexible(key: i16, version: i16) -> Option<bool> {
    api(key).map(|api| version >= api.flexible_from)
}

const fn row(
    key: i16,
    name: &'static str,
    kept: (i16, i16),
    version_max: i16,
    flexible_from: i16,
    shape: &'static [Field],
) -> Api {
    let (version_min, kafka_version_max) = kept;
    Api { key, name, version_min, version_max, kafka_version_max, flexible_from, shape }
}

/// Sorted by key. The columns: key, name, versions of Kafka 4.3.1, last version that is decoded, first flexible version, shape.
#[rustfmt::skip]
pub static APIS: &[Api] = &[
    row(0, "Produce", (3, 13), 13, 9, shapes_data::PRODUCE),
    row(1, "Fetch", (4, 18), 18, 12, shapes_data::FETCH),
    row(2, "ListOffsets", (1, 11), 10, 6, shapes_data::LIST_OFFSETS),
    row(3, "Metadata", (0, 13), 13, 9, shapes_data::METADATA),
    row(8, "OffsetCommit", (2, 10), 9, 8, shapes_groups::OFFSET_COMMIT),
    row(9, "OffsetFetch", (1, 10), 9, 6, shapes_groups::OFFSET_FETCH),
    row(10, "FindCoordinator", (0, 6), 6, 3, shapes_groups::FIND_COORDINATOR),
    row(11, "JoinGroup", (0, 9), 9, 6, shapes_groups::JOIN_GROUP),
    row(12, "Heartbeat", (0, 4), 4, 4, shapes_groups::HEARTBEAT),
    row(13, "LeaveGroup", (0, 5), 5, 4, shapes_groups::LEAVE_GROUP),
    row(14, "SyncGroup", (0, 5), 5, 4, shapes_groups::SYNC_GROUP),
    row(15, "DescribeGroups", (0, 6), 6, 5, shapes_groups::DESCRIBE_GROUPS),
    row(16, "ListGroups", (0, 5), 5, 3, shapes_groups::LIST_GROUPS),
    row(17, "SaslHandshake", (0, 1), 1, NEVER, shapes_security::SASL_HANDSHAKE),
    row(18, "ApiVersions", (0, 4), 4, 3, shapes_data::API_VERSIONS),
    row(19, "CreateTopics", (2, 7), 7, 5, shapes_admin::CREATE_TOPICS),
    row(20, "DeleteTopics", (1, 6), 6, 4, shapes_admin::DELETE_TOPICS),
    row(21, "DeleteRecords", (0, 2), 2, 2, shapes_data::DELETE_RECORDS),
    row(22, "InitProducerId", (0, 6), 5, 2, shapes_data::INIT_PRODUCER_ID),
    row(23, "OffsetForLeaderEpoch", (2, 4), 4, 4, shapes_data::OFFSET_FOR_LEADER_EPOCH),
    row(24, "AddPartitionsToTxn", (0, 5), 5, 3, shapes_transactions::ADD_PARTITIONS_TO_TXN),
    row(25, "AddOffsetsToTxn", (0, 4), 4, 3, shapes_transactions::ADD_OFFSETS_TO_TXN),
    row(26, "EndTxn", (0, 5), 5, 3, shapes_transactions::END_TXN),
    row(27, "WriteTxnMarkers", (1, 2), 1, 1, shapes_transactions::WRITE_TXN_MARKERS),
    row(28, "TxnOffsetCommit", (0, 5), 5, 3, shapes_transactions::TXN_OFFSET_COMMIT),
    row(29, "DescribeAcls", (1, 3), 3, 2, shapes_security::DESCRIBE_ACLS),
    row(30, "CreateAcls", (1, 3), 3, 2, shapes_security::CREATE_ACLS),
    row(31, "DeleteAcls", (1, 3), 3, 2, shapes_security::DELETE_ACLS),
    row(32, "DescribeConfigs", (1, 4), 4, 4, shapes_admin::DESCRIBE_CONFIGS),
    row(33, "AlterConfigs", (0, 2), 2, 2, shapes_admin::ALTER_CONFIGS),
    row(34, "AlterReplicaLogDirs", (1, 2), 2, 2, shapes_admin::ALTER_REPLICA_LOG_DIRS),
    row(35, "DescribeLogDirs", (1, 5), 4, 2, shapes_admin::DESCRIBE_LOG_DIRS),
    row(36, "SaslAuthenticate", (0, 2), 2, 2, shapes_security::SASL_AUTHENTICATE),
    row(37, "CreatePartitions", (0, 3), 3, 2, shapes_admin::CREATE_PARTITIONS),
    row(38, "CreateDelegationToken", (1, 3), 3, 2, shapes_security::CREATE_DELEGATION_TOKEN),
    row(39, "RenewDelegationToken", (1, 2), 2, 2, shapes_security::RENEW_DELEGATION_TOKEN),
    row(40, "ExpireDelegationToken", (1, 2), 2, 2, shapes_security::EXPIRE_DELEGATION_TOKEN),
    row(41, "DescribeDelegationToken", (1, 3), 3, 2, shapes_security::DESCRIBE_DELEGATION_TOKEN),
    row(42, "DeleteGroups", (0, 2), 2, 2, shapes_groups::DELETE_GROUPS),
    row(43, "ElectLeaders", (0, 2), 2, 2, shapes_admin::ELECT_LEADERS),
    row(44, "IncrementalAlterConfigs", (0, 1), 1, 1, shapes_admin::INCREMENTAL_ALTER_CONFIGS),
    row(45, "AlterPartitionReassignments", (0, 1), 1, 0, shapes_admin::ALTER_PARTITION_REASSIGNMENTS),
    row(46, "ListPartitionReassignments", (0, 0), 0, 0, shapes_admin::LIST_PARTITION_REASSIGNMENTS),
    row(47, "OffsetDelete", (0, 0), 0, NEVER, shapes_groups::OFFSET_DELETE),
    row(48, "DescribeClientQuotas", (0, 1), 1, 1, shapes_admin::DESCRIBE_CLIENT_QUOTAS),
    row(49, "AlterClientQuotas", (0, 1), 1, 1, shapes_admin::ALTER_CLIENT_QUOTAS),
    row(50, "DescribeUserScramCredentials", (0, 0), 0, 0, shapes_security::DESCRIBE_USER_SCRAM_CREDENTIALS),
    row(51, "AlterUserScramCredentials", (0, 0), 0, 0, shapes_security::ALTER_USER_SCRAM_CREDENTIALS),
    row(55, "DescribeQuorum", (0, 2), 2, 0, shapes_admin::DESCRIBE_QUORUM),
    row(57, "UpdateFeatures", (0, 2), 2, 0, shapes_admin::UPDATE_FEATURES),
    row(60, "DescribeCluster", (0, 2), 2, 0, shapes_data::DESCRIBE_CLUSTER),
    row(61, "DescribeProducers", (0, 0), 0, 0, shapes_data::DESCRIBE_PRODUCERS),
    row(64, "UnregisterBroker", (0, 0), 0, 0, shapes_admin::UNREGISTER_BROKER),
    row(65, "DescribeTransactions", (0, 0), 0, 0, shapes_transactions::DESCRIBE_TRANSACTIONS),
    row(66, "ListTransactions", (0, 2), 2, 0, shapes_transactions::LIST_TRANSACTIONS),
    row(68, "ConsumerGroupHeartbeat", (0, 1), 1, 0, shapes_groups::CONSUMER_GROUP_HEARTBEAT),
    row(69, "ConsumerGroupDescribe", (0, 1), 1, 0, shapes_groups::CONSUMER_GROUP_DESCRIBE),
    row(71, "GetTelemetrySubscriptions", (0, 0), 0, 0, shapes_admin::GET_TELEMETRY_SUBSCRIPTIONS),
    row(72, "PushTelemetry", (0, 0), 0, 0, shapes_admin::PUSH_TELEMETRY),
    row(74, "ListConfigResources", (0, 1), 1, 0, shapes_admin::LIST_CONFIG_RESOURCES),
    row(75, "DescribeTopicPartitions", (0, 0), 0, 0, shapes_data::DESCRIBE_TOPIC_PARTITIONS),
    row(76, "ShareGroupHeartbeat", (1, 1), 1, 0, shapes_share::SHARE_GROUP_HEARTBEAT),
    row(77, "ShareGroupDescribe", (1, 1), 1, 0, shapes_share::SHARE_GROUP_DESCRIBE),
    row(78, "ShareFetch", (1, 2), 1, 0, shapes_share::SHARE_FETCH),
    row(79, "ShareAcknowledge", (1, 2), 1, 0, shapes_share::SHARE_ACKNOWLEDGE),
    row(83, "InitializeShareGroupState", (0, 0), 0, 0, shapes_share::INITIALIZE_SHARE_GROUP_STATE),
    row(84, "ReadShareGroupState", (0, 0), 0, 0, shapes_share::READ_SHARE_GROUP_STATE),
    row(85, "WriteShareGroupState", (0, 1), 0, 0, shapes_share::WRITE_SHARE_GROUP_STATE),
    row(86, "DeleteShareGroupState", (0, 0), 0, 0, shapes_share::DELETE_SHARE_GROUP_STATE),
    row(87, "ReadShareGroupStateSummary", (0, 1), 0, 0, shapes_share::READ_SHARE_GROUP_STATE_SUMMARY),
    row(90, "DescribeShareGroupOffsets", (0, 1), 0, 0, shapes_share::DESCRIBE_SHARE_GROUP_OFFSETS),
    row(91, "AlterShareGroupOffsets", (0, 0), 0, 0, shapes_share::ALTER_SHARE_GROUP_OFFSETS),
    row(92, "DeleteShareGroupOffsets", (0, 0), 0, 0, shapes_share::DELETE_SHARE_GROUP_OFFSETS),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_their_ranges_are_ranges() {
        assert!(APIS.is_sorted_by(|a, b| a.key < b.key));
        for api in APIS {
            assert!(
                api.version_min <= api.version_max && api.version_max <= api.kafka_version_max,
                "{api:?}"
            );
        }
    }

    #[test]
    fn what_is_not_on_the_wire_is_not_known() {
        assert_eq!(api(0).map(|api| api.name), Some("Produce"));
        assert_eq!(decodable_versions(8), Some(2..=9));
        for key in [-1, 4, 7, 52, 88, 94, i16::MAX] {
            assert!(api(key).is_none());
            assert_eq!(is_flexible(key, 0), None);
        }
        assert_eq!((is_flexible(1, 11), is_flexible(1, 12)), (Some(false), Some(true)));
        assert_eq!(is_flexible(17, 1), Some(false));
    }
}
