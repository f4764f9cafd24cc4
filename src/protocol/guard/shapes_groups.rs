//! Shapes of requests: Groups and their offsets. Data, from the message definitions of Apache Kafka 4.3.1.

use super::shape::{
    ALL, BOOL, BYTES, Field, INT8, INT32, INT32S, INT64, STRING, STRINGS, UUID, f, only, since, structs,
    until,
};

/// Key 8, v2-10.
#[rustfmt::skip]
pub(in crate::protocol) static OFFSET_COMMIT: &[Field] = &[
    f("GroupId", ALL, STRING),
    f("GenerationIdOrMemberEpoch", since(1), INT32),
    f("MemberId", since(1), STRING),
    f("GroupInstanceId", since(7), STRING).nullable(since(7)),
    f("RetentionTimeMs", only(2, 4), INT64),
    f("Topics", ALL, structs(&[
        f("Name", until(9), STRING),
        f("TopicId", since(10), UUID),
        f("Partitions", ALL, structs(&[
            f("PartitionIndex", ALL, INT32),
            f("CommittedOffset", ALL, INT64),
            f("CommittedLeaderEpoch", since(6), INT32),
            f("CommittedMetadata", ALL, STRING).nullable(ALL),
        ])),
    ])),
];

/// Key 9, v1-10.
#[rustfmt::skip]
pub(in crate::protocol) static OFFSET_FETCH: &[Field] = &[
    f("GroupId", until(7), STRING),
    f("Topics", until(7), structs(&[
        f("Name", until(7), STRING),
        f("PartitionIndexes", until(7), INT32S),
    ])).nullable(only(2, 7)),
    f("Groups", since(8), structs(&[
        f("GroupId", since(8), STRING),
        f("MemberId", since(9), STRING).nullable(since(9)),
        f("MemberEpoch", since(9), INT32),
        f("Topics", since(8), structs(&[
            f("Name", only(8, 9), STRING),
            f("TopicId", since(10), UUID),
            f("PartitionIndexes", since(8), INT32S),
        ])).nullable(since(8)),
    ])),
    f("RequireStable", since(7), BOOL),
];

/// Key 10, v0-6.
#[rustfmt::skip]
pub(in crate::protocol) static FIND_COORDINATOR: &[Field] = &[
    f("Key", until(3), STRING),
    f("KeyType", since(1), INT8),
    f("CoordinatorKeys", since(4), STRINGS),
];

/// Key 11, v0-9.
#[rustfmt::skip]
pub(in crate::protocol) static JOIN_GROUP: &[Field] = &[
    f("GroupId", ALL, STRING),
    f("SessionTimeoutMs", ALL, INT32),
    f("RebalanceTimeoutMs", since(1), INT32),
    f("MemberId", ALL, STRING),
    f("GroupInstanceId", since(5), STRING).nullable(since(5)),
    f("ProtocolType", ALL, STRING),
    f("Protocols", ALL, structs(&[
        f("Name", ALL, STRING),
        f("Metadata", ALL, BYTES),
    ])),
    f("Reason", since(8), STRING).nullable(since(8)),
];

/// Key 12, v0-4.
#[rustfmt::skip]
pub(in crate::protocol) static HEARTBEAT: &[Field] = &[
    f("GroupId", ALL, STRING),
    f("GenerationId", ALL, INT32),
    f("MemberId", ALL, STRING),
    f("GroupInstanceId", since(3), STRING).nullable(since(3)),
];

/// Key 13, v0-5.
#[rustfmt::skip]
pub(in crate::protocol) static LEAVE_GROUP: &[Field] = &[
    f("GroupId", ALL, STRING),
    f("MemberId", until(2), STRING),
    f("Members", since(3), structs(&[
        f("MemberId", since(3), STRING),
        f("GroupInstanceId", since(3), STRING).nullable(since(3)),
        f("Reason", since(5), STRING).nullable(since(5)),
    ])),
];

/// Key 14, v0-5.
#[rustfmt::skip]
pub(in crate::protocol) static SYNC_GROUP: &[Field] = &[
    f("GroupId", ALL, STRING),
    f("GenerationId", ALL, INT32),
    f("MemberId", ALL, STRING),
    f("GroupInstanceId", since(3), STRING).nullable(since(3)),
    f("ProtocolType", since(5), STRING).nullable(since(5)),
    f("ProtocolName", since(5), STRING).nullable(since(5)),
    f("Assignments", ALL, structs(&[
        f("MemberId", ALL, STRING),
        f("Assignment", ALL, BYTES),
    ])),
];

/// Key 15, v0-6.
#[rustfmt::skip]
pub(in crate::protocol) static DESCRIBE_GROUPS: &[Field] = &[
    f("Groups", ALL, STRINGS),
    f("IncludeAuthorizedOperations", since(3), BOOL),
];

/// Key 16, v0-5.
#[rustfmt::skip]
pub(in crate::protocol) static LIST_GROUPS: &[Field] = &[
    f("StatesFilter", since(4), STRINGS),
    f("TypesFilter", since(5), STRINGS),
];

/// Key 42, v0-2.
#[rustfmt::skip]
pub(in crate::protocol) static DELETE_GROUPS: &[Field] = &[
    f("GroupsNames", ALL, STRINGS),
];

/// Key 47, v0.
#[rustfmt::skip]
pub(in crate::protocol) static OFFSET_DELETE: &[Field] = &[
    f("GroupId", ALL, STRING),
    f("Topics", ALL, structs(&[
        f("Name", ALL, STRING),
        f("Partitions", ALL, structs(&[
            f("PartitionIndex", ALL, INT32),
        ])),
    ])),
];

/// Key 68, v0-1.
#[rustfmt::skip]
pub(in crate::protocol) static CONSUMER_GROUP_HEARTBEAT: &[Field] = &[
    f("GroupId", ALL, STRING),
    f("MemberId", ALL, STRING),
    f("MemberEpoch", ALL, INT32),
    f("InstanceId", ALL, STRING).nullable(ALL),
    f("RackId", ALL, STRING).nullable(ALL),
    f("RebalanceTimeoutMs", ALL, INT32),
    f("SubscribedTopicNames", ALL, STRINGS).nullable(ALL),
    f("SubscribedTopicRegex", since(1), STRING).nullable(since(1)),
    f("ServerAssignor", ALL, STRING).nullable(ALL),
    f("TopicPartitions", ALL, structs(&[
        f("TopicId", ALL, UUID),
        f("Partitions", ALL, INT32S),
    ])).nullable(ALL),
];

/// Key 69, v0-1.
#[rustfmt::skip]
pub(in crate::protocol) static CONSUMER_GROUP_DESCRIBE: &[Field] = &[
    f("GroupIds", ALL, STRINGS),
    f("IncludeAuthorizedOperations", ALL, BOOL),
];
