//! Shapes of requests: Share groups (KIP-932). Data, from the message definitions of Apache Kafka 4.3.1.

use super::shape::{
    ALL, BOOL, Field, INT8, INT8S, INT16, INT32, INT32S, INT64, STRING, STRINGS, UUID, f, since, structs,
    until,
};

/// Key 76, v1.
#[rustfmt::skip]
pub(in crate::protocol) static SHARE_GROUP_HEARTBEAT: &[Field] = &[
    f("GroupId", ALL, STRING),
    f("MemberId", ALL, STRING),
    f("MemberEpoch", ALL, INT32),
    f("RackId", ALL, STRING).nullable(ALL),
    f("SubscribedTopicNames", ALL, STRINGS).nullable(ALL),
];

/// Key 77, v1.
#[rustfmt::skip]
pub(in crate::protocol) static SHARE_GROUP_DESCRIBE: &[Field] = &[
    f("GroupIds", ALL, STRINGS),
    f("IncludeAuthorizedOperations", ALL, BOOL),
];

/// Key 78, v1-2.
#[rustfmt::skip]
pub(in crate::protocol) static SHARE_FETCH: &[Field] = &[
    f("GroupId", ALL, STRING).nullable(ALL),
    f("MemberId", ALL, STRING).nullable(ALL),
    f("ShareSessionEpoch", ALL, INT32),
    f("MaxWaitMs", ALL, INT32),
    f("MinBytes", ALL, INT32),
    f("MaxBytes", ALL, INT32),
    f("MaxRecords", since(1), INT32),
    f("BatchSize", since(1), INT32),
    f("ShareAcquireMode", since(2), INT8),
    f("IsRenewAck", since(2), BOOL),
    f("Topics", ALL, structs(&[
        f("TopicId", ALL, UUID),
        f("Partitions", ALL, structs(&[
            f("PartitionIndex", ALL, INT32),
            f("PartitionMaxBytes", until(0), INT32),
            f("AcknowledgementBatches", ALL, structs(&[
                f("FirstOffset", ALL, INT64),
                f("LastOffset", ALL, INT64),
                f("AcknowledgeTypes", ALL, INT8S),
            ])),
        ])),
    ])),
    f("ForgottenTopicsData", ALL, structs(&[
        f("TopicId", ALL, UUID),
        f("Partitions", ALL, INT32S),
    ])),
];

/// Key 79, v1-2.
#[rustfmt::skip]
pub(in crate::protocol) static SHARE_ACKNOWLEDGE: &[Field] = &[
    f("GroupId", ALL, STRING).nullable(ALL),
    f("MemberId", ALL, STRING).nullable(ALL),
    f("ShareSessionEpoch", ALL, INT32),
    f("IsRenewAck", since(2), BOOL),
    f("Topics", ALL, structs(&[
        f("TopicId", ALL, UUID),
        f("Partitions", ALL, structs(&[
            f("PartitionIndex", ALL, INT32),
            f("AcknowledgementBatches", ALL, structs(&[
                f("FirstOffset", ALL, INT64),
                f("LastOffset", ALL, INT64),
                f("AcknowledgeTypes", ALL, INT8S),
            ])),
        ])),
    ])),
];

/// Key 83, v0.
#[rustfmt::skip]
pub(in crate::protocol) static INITIALIZE_SHARE_GROUP_STATE: &[Field] = &[
    f("GroupId", ALL, STRING),
    f("Topics", ALL, structs(&[
        f("TopicId", ALL, UUID),
        f("Partitions", ALL, structs(&[
            f("Partition", ALL, INT32),
            f("StateEpoch", ALL, INT32),
            f("StartOffset", ALL, INT64),
        ])),
    ])),
];

/// Key 84, v0.
#[rustfmt::skip]
pub(in crate::protocol) static READ_SHARE_GROUP_STATE: &[Field] = &[
    f("GroupId", ALL, STRING),
    f("Topics", ALL, structs(&[
        f("TopicId", ALL, UUID),
        f("Partitions", ALL, structs(&[
            f("Partition", ALL, INT32),
            f("LeaderEpoch", ALL, INT32),
        ])),
    ])),
];

/// Key 85, v0-1.
#[rustfmt::skip]
pub(in crate::protocol) static WRITE_SHARE_GROUP_STATE: &[Field] = &[
    f("GroupId", ALL, STRING),
    f("Topics", ALL, structs(&[
        f("TopicId", ALL, UUID),
        f("Partitions", ALL, structs(&[
            f("Partition", ALL, INT32),
            f("StateEpoch", ALL, INT32),
            f("LeaderEpoch", ALL, INT32),
            f("StartOffset", ALL, INT64),
            f("DeliveryCompleteCount", since(1), INT32),
            f("StateBatches", ALL, structs(&[
                f("FirstOffset", ALL, INT64),
                f("LastOffset", ALL, INT64),
                f("DeliveryState", ALL, INT8),
                f("DeliveryCount", ALL, INT16),
            ])),
        ])),
    ])),
];

/// Key 86, v0.
#[rustfmt::skip]
pub(in crate::protocol) static DELETE_SHARE_GROUP_STATE: &[Field] = &[
    f("GroupId", ALL, STRING),
    f("Topics", ALL, structs(&[
        f("TopicId", ALL, UUID),
        f("Partitions", ALL, structs(&[
            f("Partition", ALL, INT32),
        ])),
    ])),
];

/// Key 87, v0-1.
#[rustfmt::skip]
pub(in crate::protocol) static READ_SHARE_GROUP_STATE_SUMMARY: &[Field] = &[
    f("GroupId", ALL, STRING),
    f("Topics", ALL, structs(&[
        f("TopicId", ALL, UUID),
        f("Partitions", ALL, structs(&[
            f("Partition", ALL, INT32),
            f("LeaderEpoch", ALL, INT32),
        ])),
    ])),
];

/// Key 90, v0-1.
#[rustfmt::skip]
pub(in crate::protocol) static DESCRIBE_SHARE_GROUP_OFFSETS: &[Field] = &[
    f("Groups", ALL, structs(&[
        f("GroupId", ALL, STRING),
        f("Topics", ALL, structs(&[
            f("TopicName", ALL, STRING),
            f("Partitions", ALL, INT32S),
        ])).nullable(ALL),
    ])),
];

/// Key 91, v0.
#[rustfmt::skip]
pub(in crate::protocol) static ALTER_SHARE_GROUP_OFFSETS: &[Field] = &[
    f("GroupId", ALL, STRING),
    f("Topics", ALL, structs(&[
        f("TopicName", ALL, STRING),
        f("Partitions", ALL, structs(&[
            f("PartitionIndex", ALL, INT32),
            f("StartOffset", ALL, INT64),
        ])),
    ])),
];

/// Key 92, v0.
#[rustfmt::skip]
pub(in crate::protocol) static DELETE_SHARE_GROUP_OFFSETS: &[Field] = &[
    f("GroupId", ALL, STRING),
    f("Topics", ALL, structs(&[
        f("TopicName", ALL, STRING),
    ])),
];
