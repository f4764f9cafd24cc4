//! Every API that a Kafka 4 broker has for its clients, and which versions of it can be decoded here. Data, one line each: keys, names,
//! ranges and flexible versions are those of Apache Kafka 4.3.1's message definitions; the last versions that are decoded are
//! those of the crate `kafka-protocol` 0.18, each proven by a round trip (`guard_tests`).
//!
//! Which of them are served is the registry's business (`handlers/`).

use std::ops::RangeInclusive;

/// What is known of one API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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
}

/// No version of the API is flexible.
const NEVER: i16 = i16::MAX;

/// The API of a key; `None` if no client may ask for it.
#[must_use]
pub fn api(key: i16) -> Option<&'static Api> {
    let place = APIS.binary_search_by_key(&key, |api| api.key).ok()?;
    APIS.get(place)
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

const fn row(key: i16, name: &'static str, kept: (i16, i16), version_max: i16, flexible_from: i16) -> Api {
    let (version_min, kafka_version_max) = kept;
    Api { key, name, version_min, version_max, kafka_version_max, flexible_from }
}

/// Sorted by key. The columns: key, name, versions of Kafka 4.3.1, last version that is decoded, first flexible version.
#[rustfmt::skip]
pub static APIS: &[Api] = &[
    row(0, "Produce", (3, 13), 13, 9),
    row(1, "Fetch", (4, 18), 18, 12),
    row(2, "ListOffsets", (1, 11), 10, 6),
    row(3, "Metadata", (0, 13), 13, 9),
    row(8, "OffsetCommit", (2, 10), 9, 8),
    row(9, "OffsetFetch", (1, 10), 9, 6),
    row(10, "FindCoordinator", (0, 6), 6, 3),
    row(11, "JoinGroup", (0, 9), 9, 6),
    row(12, "Heartbeat", (0, 4), 4, 4),
    row(13, "LeaveGroup", (0, 5), 5, 4),
    row(14, "SyncGroup", (0, 5), 5, 4),
    row(15, "DescribeGroups", (0, 6), 6, 5),
    row(16, "ListGroups", (0, 5), 5, 3),
    row(17, "SaslHandshake", (0, 1), 1, NEVER),
    row(18, "ApiVersions", (0, 4), 4, 3),
    row(19, "CreateTopics", (2, 7), 7, 5),
    row(20, "DeleteTopics", (1, 6), 6, 4),
    row(21, "DeleteRecords", (0, 2), 2, 2),
    row(22, "InitProducerId", (0, 6), 5, 2),
    row(23, "OffsetForLeaderEpoch", (2, 4), 4, 4),
    row(24, "AddPartitionsToTxn", (0, 5), 5, 3),
    row(25, "AddOffsetsToTxn", (0, 4), 4, 3),
    row(26, "EndTxn", (0, 5), 5, 3),
    row(27, "WriteTxnMarkers", (1, 2), 1, 1),
    row(28, "TxnOffsetCommit", (0, 5), 5, 3),
    row(29, "DescribeAcls", (1, 3), 3, 2),
    row(30, "CreateAcls", (1, 3), 3, 2),
    row(31, "DeleteAcls", (1, 3), 3, 2),
    row(32, "DescribeConfigs", (1, 4), 4, 4),
    row(33, "AlterConfigs", (0, 2), 2, 2),
    row(34, "AlterReplicaLogDirs", (1, 2), 2, 2),
    row(35, "DescribeLogDirs", (1, 5), 4, 2),
    row(36, "SaslAuthenticate", (0, 2), 2, 2),
    row(37, "CreatePartitions", (0, 3), 3, 2),
    row(38, "CreateDelegationToken", (1, 3), 3, 2),
    row(39, "RenewDelegationToken", (1, 2), 2, 2),
    row(40, "ExpireDelegationToken", (1, 2), 2, 2),
    row(41, "DescribeDelegationToken", (1, 3), 3, 2),
    row(42, "DeleteGroups", (0, 2), 2, 2),
    row(43, "ElectLeaders", (0, 2), 2, 2),
    row(44, "IncrementalAlterConfigs", (0, 1), 1, 1),
    row(45, "AlterPartitionReassignments", (0, 1), 1, 0),
    row(46, "ListPartitionReassignments", (0, 0), 0, 0),
    row(47, "OffsetDelete", (0, 0), 0, NEVER),
    row(48, "DescribeClientQuotas", (0, 1), 1, 1),
    row(49, "AlterClientQuotas", (0, 1), 1, 1),
    row(50, "DescribeUserScramCredentials", (0, 0), 0, 0),
    row(51, "AlterUserScramCredentials", (0, 0), 0, 0),
    row(55, "DescribeQuorum", (0, 2), 2, 0),
    row(57, "UpdateFeatures", (0, 2), 2, 0),
    row(60, "DescribeCluster", (0, 2), 2, 0),
    row(61, "DescribeProducers", (0, 0), 0, 0),
    row(64, "UnregisterBroker", (0, 0), 0, 0),
    row(65, "DescribeTransactions", (0, 0), 0, 0),
    row(66, "ListTransactions", (0, 2), 2, 0),
    row(68, "ConsumerGroupHeartbeat", (0, 1), 1, 0),
    row(69, "ConsumerGroupDescribe", (0, 1), 1, 0),
    row(71, "GetTelemetrySubscriptions", (0, 0), 0, 0),
    row(72, "PushTelemetry", (0, 0), 0, 0),
    row(74, "ListConfigResources", (0, 1), 1, 0),
    row(75, "DescribeTopicPartitions", (0, 0), 0, 0),
    row(76, "ShareGroupHeartbeat", (1, 1), 1, 0),
    row(77, "ShareGroupDescribe", (1, 1), 1, 0),
    row(78, "ShareFetch", (1, 2), 1, 0),
    row(79, "ShareAcknowledge", (1, 2), 1, 0),
    row(83, "InitializeShareGroupState", (0, 0), 0, 0),
    row(84, "ReadShareGroupState", (0, 0), 0, 0),
    row(85, "WriteShareGroupState", (0, 1), 0, 0),
    row(86, "DeleteShareGroupState", (0, 0), 0, 0),
    row(87, "ReadShareGroupStateSummary", (0, 1), 0, 0),
    row(90, "DescribeShareGroupOffsets", (0, 1), 0, 0),
    row(91, "AlterShareGroupOffsets", (0, 0), 0, 0),
    row(92, "DeleteShareGroupOffsets", (0, 0), 0, 0),
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
            assert_eq!(api(key), None);
            assert_eq!(is_flexible(key, 0), None);
        }
        assert_eq!((is_flexible(1, 11), is_flexible(1, 12)), (Some(false), Some(true)));
        assert_eq!(is_flexible(17, 1), Some(false));
    }
}
