//! Shapes of requests: Transactions. Data, from the message definitions of Apache Kafka 4.3.1.

use super::shape::{
    ALL, BOOL, Field, INT8, INT16, INT32, INT32S, INT64, INT64S, STRING, STRINGS, f, since, structs, until,
};

/// Key 24, v0-5.
#[rustfmt::skip]
pub(in crate::protocol) static ADD_PARTITIONS_TO_TXN: &[Field] = &[
    f("Transactions", since(4), structs(&[
        f("TransactionalId", since(4), STRING),
        f("ProducerId", since(4), INT64),
        f("ProducerEpoch", since(4), INT16),
        f("VerifyOnly", since(4), BOOL),
        f("Topics", since(4), structs(&[
            f("Name", ALL, STRING),
            f("Partitions", ALL, INT32S),
        ])),
    ])),
    f("V3AndBelowTransactionalId", until(3), STRING),
    f("V3AndBelowProducerId", until(3), INT64),
    f("V3AndBelowProducerEpoch", until(3), INT16),
    f("V3AndBelowTopics", until(3), structs(&[
        f("Name", ALL, STRING),
        f("Partitions", ALL, INT32S),
    ])),
];

/// Key 25, v0-4.
#[rustfmt::skip]
pub(in crate::protocol) static ADD_OFFSETS_TO_TXN: &[Field] = &[
    f("TransactionalId", ALL, STRING),
    f("ProducerId", ALL, INT64),
    f("ProducerEpoch", ALL, INT16),
    f("GroupId", ALL, STRING),
];

/// Key 26, v0-5.
#[rustfmt::skip]
pub(in crate::protocol) static END_TXN: &[Field] = &[
    f("TransactionalId", ALL, STRING),
    f("ProducerId", ALL, INT64),
    f("ProducerEpoch", ALL, INT16),
    f("Committed", ALL, BOOL),
];

/// Key 27, v1-2.
#[rustfmt::skip]
pub(in crate::protocol) static WRITE_TXN_MARKERS: &[Field] = &[
    f("Markers", ALL, structs(&[
        f("ProducerId", ALL, INT64),
        f("ProducerEpoch", ALL, INT16),
        f("TransactionResult", ALL, BOOL),
        f("Topics", ALL, structs(&[
            f("Name", ALL, STRING),
            f("PartitionIndexes", ALL, INT32S),
        ])),
        f("CoordinatorEpoch", ALL, INT32),
        f("TransactionVersion", since(2), INT8),
    ])),
];

/// Key 28, v0-5.
#[rustfmt::skip]
pub(in crate::protocol) static TXN_OFFSET_COMMIT: &[Field] = &[
    f("TransactionalId", ALL, STRING),
    f("GroupId", ALL, STRING),
    f("ProducerId", ALL, INT64),
    f("ProducerEpoch", ALL, INT16),
    f("GenerationId", since(3), INT32),
    f("MemberId", since(3), STRING),
    f("GroupInstanceId", since(3), STRING).nullable(since(3)),
    f("Topics", ALL, structs(&[
        f("Name", ALL, STRING),
        f("Partitions", ALL, structs(&[
            f("PartitionIndex", ALL, INT32),
            f("CommittedOffset", ALL, INT64),
            f("CommittedLeaderEpoch", since(2), INT32),
            f("CommittedMetadata", ALL, STRING).nullable(ALL),
        ])),
    ])),
];

/// Key 65, v0.
#[rustfmt::skip]
pub(in crate::protocol) static DESCRIBE_TRANSACTIONS: &[Field] = &[
    f("TransactionalIds", ALL, STRINGS),
];

/// Key 66, v0-2.
#[rustfmt::skip]
pub(in crate::protocol) static LIST_TRANSACTIONS: &[Field] = &[
    f("StateFilters", ALL, STRINGS),
    f("ProducerIdFilters", ALL, INT64S),
    f("DurationFilter", since(1), INT64),
    f("TransactionalIdPattern", since(2), STRING).nullable(since(2)),
];
