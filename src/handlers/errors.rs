//! Our errors to Kafka's codes: one exhaustive match per error, so that a new variant does not compile before it has a code.

use crate::broker::configs::ConfigChangeError;
use crate::broker::elections::ElectError;
use crate::broker::fetch::FetchError;
use crate::broker::groups::NoCoordinator;
use crate::broker::reassignments::ReassignError;
use crate::broker::sessions::SessionError;
use crate::broker::topics::TopicError;
use crate::config::AlterError;
use crate::controller::placement::PlacementError;
use crate::log::{AppendError, ReadError};
use crate::metadata::MetadataError;
use crate::protocol::error::ErrorCode;
use crate::replication::PartitionError;
use crate::replication::reassignment::Refusal;

/// Appends and reads of a partition.
pub const fn of_partition(error: &PartitionError) -> ErrorCode {
    match error {
        PartitionError::NotLeader { .. } => ErrorCode::NotLeaderOrFollower,
        PartitionError::FencedLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
        PartitionError::UnknownLeaderEpoch { .. } => ErrorCode::UnknownLeaderEpoch,
        PartitionError::NotEnoughReplicas { .. } => ErrorCode::NotEnoughReplicas,
        PartitionError::NotEnoughReplicasAfterAppend { .. } => ErrorCode::NotEnoughReplicasAfterAppend,
        PartitionError::TimedOut { .. } => ErrorCode::RequestTimedOut,
        // As Kafka answers a replica that it does not know, or an earlier lifetime of one (rule L9).
        PartitionError::NotFollowing { .. } | PartitionError::Follower(_) => ErrorCode::NotLeaderOrFollower,
        PartitionError::Append(error) => of_append(error),
        PartitionError::Read(error) => of_read(error),
    }
}

/// What the log says of an append.
pub const fn of_append(error: &AppendError) -> ErrorCode {
    match error {
        AppendError::Corrupt(_) | AppendError::BadCompression { .. } => ErrorCode::CorruptMessage,
        AppendError::UnsupportedMagic { .. } => ErrorCode::UnsupportedForMessageFormat,
        AppendError::InvalidRecord { .. } => ErrorCode::InvalidRecord,
        AppendError::InvalidTimestamp { .. } => ErrorCode::InvalidTimestamp,
        AppendError::TooLarge { .. } => ErrorCode::MessageTooLarge,
        AppendError::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
        AppendError::OutOfOrderSequence { .. } => ErrorCode::OutOfOrderSequenceNumber,
        AppendError::InvalidProducerEpoch { .. } => ErrorCode::InvalidProducerEpoch,
        AppendError::StaleLeaderEpoch { .. } => ErrorCode::NotLeaderOrFollower,
        AppendError::NotContiguous { .. } => ErrorCode::CorruptMessage,
        AppendError::Unusable(_) => ErrorCode::KafkaStorageError,
    }
}

/// What the log says of a read.
pub const fn of_read(error: &ReadError) -> ErrorCode {
    match error {
        ReadError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        ReadError::Damaged { .. } | ReadError::Unusable(_) => ErrorCode::KafkaStorageError,
    }
}

/// One partition of a fetch.
pub const fn of_fetch(error: &FetchError) -> ErrorCode {
    match error {
        FetchError::UnknownTopicOrPartition => ErrorCode::UnknownTopicOrPartition,
        FetchError::UnknownTopicId => ErrorCode::UnknownTopicId,
        FetchError::OffsetOutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        FetchError::Partition(error) => of_partition(error),
    }
}

/// A fetch session that cannot go on.
pub const fn of_session(error: SessionError) -> ErrorCode {
    match error {
        SessionError::NotFound(_) => ErrorCode::FetchSessionIdNotFound,
        SessionError::InvalidEpoch { .. } => ErrorCode::InvalidFetchSessionEpoch,
        SessionError::TopicIds => ErrorCode::FetchSessionTopicIdError,
    }
}

/// A topic that was not made, changed or deleted.
pub const fn of_topic(error: &TopicError) -> ErrorCode {
    match error {
        TopicError::InvalidName(_) | TopicError::Collision { .. } => ErrorCode::InvalidTopicException,
        TopicError::Exists(_) => ErrorCode::TopicAlreadyExists,
        TopicError::NotFound(_) => ErrorCode::UnknownTopicOrPartition,
        TopicError::Placement(error) => of_placement(error),
        TopicError::InvalidAssignment(_) => ErrorCode::InvalidReplicaAssignment,
        TopicError::InvalidPartitions(_) => ErrorCode::InvalidPartitions,
        TopicError::InvalidConfig(error) => of_alter(error),
        TopicError::InvalidRequest(_) => ErrorCode::InvalidRequest,
        TopicError::DeletionDisabled => ErrorCode::TopicDeletionDisabled,
        TopicError::Metadata(error) => of_metadata(error),
    }
}

const fn of_placement(error: &PlacementError) -> ErrorCode {
    match error {
        PlacementError::InvalidPartitions { .. } => ErrorCode::InvalidPartitions,
        PlacementError::InvalidReplicationFactor { .. } | PlacementError::NotEnoughBrokers { .. } => {
            ErrorCode::InvalidReplicationFactor
        }
    }
}

/// A reassignment that was not begun or cancelled.
pub const fn of_reassign(error: &ReassignError) -> ErrorCode {
    match error {
        ReassignError::NoPartition(..) | ReassignError::Refused(Refusal::NoPartition) => {
            ErrorCode::UnknownTopicOrPartition
        }
        ReassignError::InvalidAssignment(_)
        | ReassignError::Refused(
            Refusal::CatchingUp { .. } | Refusal::TooFewInSync { .. } | Refusal::NoLeader,
        ) => ErrorCode::InvalidReplicaAssignment,
        ReassignError::FactorChanges { .. } => ErrorCode::InvalidReplicationFactor,
        ReassignError::Refused(Refusal::NotInProgress) => ErrorCode::NoReassignmentInProgress,
        ReassignError::Metadata(error) => of_metadata(error),
    }
}

/// An election that did not take place.
pub const fn of_elect(error: &ElectError) -> ErrorCode {
    match error {
        ElectError::NoPartition(..) => ErrorCode::UnknownTopicOrPartition,
        ElectError::NotNeeded => ErrorCode::ElectionNotNeeded,
        ElectError::PreferredNotAvailable(_) => ErrorCode::PreferredLeaderNotAvailable,
        ElectError::NobodyAvailable => ErrorCode::EligibleLeadersNotAvailable,
        ElectError::Metadata(error) => of_metadata(error),
    }
}

/// Nobody coordinates a group now.
pub const fn of_no_coordinator(error: &NoCoordinator) -> ErrorCode {
    match error {
        NoCoordinator::NoTopic(_) | NoCoordinator::NoLeader(_) => ErrorCode::CoordinatorNotAvailable,
    }
}

/// A configuration that was not changed.
pub const fn of_config_change(error: &ConfigChangeError) -> ErrorCode {
    match error {
        ConfigChangeError::NoSuchTopic(_) => ErrorCode::UnknownTopicOrPartition,
        ConfigChangeError::NoSuchBroker(_) => ErrorCode::InvalidRequest,
        ConfigChangeError::Invalid(error) => of_alter(error),
        // KAFKA-13609: Kafka's own, kept for its clients.
        ConfigChangeError::InvalidBroker(_) => ErrorCode::InvalidRequest,
        ConfigChangeError::Metadata(error) => of_metadata(error),
    }
}

const fn of_alter(error: &AlterError) -> ErrorCode {
    if error.is_invalid_request() { ErrorCode::InvalidRequest } else { ErrorCode::InvalidConfig }
}

/// etcd did not take a change. What a client may try again later is a retriable code of Kafka's.
pub const fn of_metadata(error: &MetadataError) -> ErrorCode {
    match error {
        // REQUEST_TIMED_OUT: every client tries again, and none takes it for a sign to look for another controller.
        MetadataError::Unreachable { .. }
        | MetadataError::UnknownOutcome { .. }
        | MetadataError::NotYetVisible { .. }
        | MetadataError::NoSpace => ErrorCode::RequestTimedOut,
        MetadataError::Conflict { .. } | MetadataError::NotController | MetadataError::Closed => {
            ErrorCode::NotController
        }
        MetadataError::BrokerNotLive { .. } => ErrorCode::BrokerNotAvailable,
        MetadataError::AlreadyExists { .. } => ErrorCode::TopicAlreadyExists,
        MetadataError::NotFound { .. } => ErrorCode::UnknownTopicOrPartition,
        MetadataError::Invalid { .. } => ErrorCode::InvalidRequest,
        MetadataError::TooLarge { .. } => ErrorCode::PolicyViolation,
        MetadataError::Refused { .. }
        | MetadataError::Unreadable { .. }
        | MetadataError::DuplicateNodeId { .. }
        | MetadataError::ClusterIdMismatch { .. }
        | MetadataError::RolledBack { .. }
        | MetadataError::EpochRolledBack { .. }
        | MetadataError::SharedWithKubernetes
        | MetadataError::UnsupportedLayout { .. }
        | MetadataError::InvalidOption { .. }
        | MetadataError::StateFile { .. } => ErrorCode::UnknownServerError,
    }
}
