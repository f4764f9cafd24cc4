//! Shapes of requests: Producing, fetching, and finding out where and what. Data, from the message definitions of Apache Kafka 4.3.1.

use super::shape::{
    ALL, BOOL, Field, INT8, INT16, INT32, INT32S, INT64, RECORDS, STRING, UUID, a_struct, f, only, since,
    structs, until,
};

/// Key 0, v3-13.
#[rustfmt::skip]
pub(in crate::protocol) static PRODUCE: &[Field] = &[
    f("TransactionalId", since(3), STRING).nullable(since(3)),
    f("Acks", ALL, INT16),
    f("TimeoutMs", ALL, INT32),
    f("TopicData", ALL, structs(&[
        f("Name", until(12), STRING),
        f("TopicId", since(13), UUID),
        f("PartitionData", ALL, structs(&[
            f("Index", ALL, INT32),
            f("Records", ALL, RECORDS).nullable(ALL),
        ])),
    ])),
];

/// Key 1, v4-18.
#[rustfmt::skip]
pub(in crate::protocol) static FETCH: &[Field] = &[
    f("ClusterId", since(12), STRING).nullable(since(12)).tag(0),
    f("ReplicaId", until(14), INT32),
    f("ReplicaState", since(15), a_struct(&[
        f("ReplicaId", since(15), INT32),
        f("ReplicaEpoch", since(15), INT64),
    ])).tag(1),
    f("MaxWaitMs", ALL, INT32),
    f("MinBytes", ALL, INT32),
    f("MaxBytes", since(3), INT32),
    f("IsolationLevel", since(4), INT8),
    f("SessionId", since(7), INT32),
    f("SessionEpoch", since(7), INT32),
    f("Topics", ALL, structs(&[
        f("Topic", until(12), STRING),
        f("TopicId", since(13), UUID),
        f("Partitions", ALL, structs(&[
            f("Partition", ALL, INT32),
            f("CurrentLeaderEpoch", since(9), INT32),
            f("FetchOffset", ALL, INT64),
            f("LastFetchedEpoch", since(12), INT32),
            f("LogStartOffset", since(5), INT64),
            f("PartitionMaxBytes", ALL, INT32),
            f("ReplicaDirectoryId", since(17), UUID).tag(0),
            f("HighWatermark", since(18), INT64).tag(1),
        ])),
    ])),
    f("ForgottenTopicsData", since(7), structs(&[
        f("Topic", only(7, 12), STRING),
        f("TopicId", since(13), UUID),
        f("Partitions", since(7), INT32S),
    ])),
    f("RackId", since(11), STRING),
];

/// Key 2, v1-11.
#[rustfmt::skip]
pub(in crate::protocol) static LIST_OFFSETS: &[Field] = &[
    f("ReplicaId", ALL, INT32),
    f("IsolationLevel", since(2), INT8),
    f("Topics", ALL, structs(&[
        f("Name", ALL, STRING),
        f("Partitions", ALL, structs(&[
            f("PartitionIndex", ALL, INT32),
            f("CurrentLeaderEpoch", since(4), INT32),
            f("Timestamp", ALL, INT64),
        ])),
    ])),
    f("TimeoutMs", since(10), INT32),
];

/// Key 3, v0-13.
#[rustfmt::skip]
pub(in crate::protocol) static METADATA: &[Field] = &[
    f("Topics", ALL, structs(&[
        f("TopicId", since(10), UUID),
        f("Name", ALL, STRING).nullable(since(10)),
    ])).nullable(since(1)),
    f("AllowAutoTopicCreation", since(4), BOOL),
    f("IncludeClusterAuthorizedOperations", only(8, 10), BOOL),
    f("IncludeTopicAuthorizedOperations", since(8), BOOL),
];

/// Key 18, v0-4.
#[rustfmt::skip]
pub(in crate::protocol) static API_VERSIONS: &[Field] = &[
    f("ClientSoftwareName", since(3), STRING),
    f("ClientSoftwareVersion", since(3), STRING),
];

/// Key 21, v0-2.
#[rustfmt::skip]
pub(in crate::protocol) static DELETE_RECORDS: &[Field] = &[
    f("Topics", ALL, structs(&[
        f("Name", ALL, STRING),
        f("Partitions", ALL, structs(&[
            f("PartitionIndex", ALL, INT32),
            f("Offset", ALL, INT64),
        ])),
    ])),
    f("TimeoutMs", ALL, INT32),
];

/// Key 22, v0-6.
#[rustfmt::skip]
pub(in crate::protocol) static INIT_PRODUCER_ID: &[Field] = &[
    f("TransactionalId", ALL, STRING).nullable(ALL),
    f("TransactionTimeoutMs", ALL, INT32),
    f("ProducerId", since(3), INT64),
    f("ProducerEpoch", since(3), INT16),
    f("Enable2Pc", since(6), BOOL),
    f("KeepPreparedTxn", since(6), BOOL),
];

/// Key 23, v2-4.
#[rustfmt::skip]
pub(in crate::protocol) static OFFSET_FOR_LEADER_EPOCH: &[Field] = &[
    f("ReplicaId", since(3), INT32),
    f("Topics", ALL, structs(&[
        f("Topic", ALL, STRING),
        f("Partitions", ALL, structs(&[
            f("Partition", ALL, INT32),
            f("CurrentLeaderEpoch", since(2), INT32),
            f("LeaderEpoch", ALL, INT32),
        ])),
    ])),
];

/// Key 60, v0-2.
#[rustfmt::skip]
pub(in crate::protocol) static DESCRIBE_CLUSTER: &[Field] = &[
    f("IncludeClusterAuthorizedOperations", ALL, BOOL),
    f("EndpointType", since(1), INT8),
    f("IncludeFencedBrokers", since(2), BOOL),
];

/// Key 61, v0.
#[rustfmt::skip]
pub(in crate::protocol) static DESCRIBE_PRODUCERS: &[Field] = &[
    f("Topics", ALL, structs(&[
        f("Name", ALL, STRING),
        f("PartitionIndexes", ALL, INT32S),
    ])),
];

/// Key 75, v0.
#[rustfmt::skip]
pub(in crate::protocol) static DESCRIBE_TOPIC_PARTITIONS: &[Field] = &[
    f("Topics", ALL, structs(&[
        f("Name", ALL, STRING),
    ])),
    f("ResponsePartitionLimit", ALL, INT32),
    f("Cursor", ALL, a_struct(&[
        f("TopicName", ALL, STRING),
        f("PartitionIndex", ALL, INT32),
    ])).nullable(ALL),
];
