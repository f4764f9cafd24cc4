//! Shapes of requests: Topics, configs, partitions, quotas, features, telemetry. Data, from the message definitions of Apache Kafka 4.3.1.

use super::shape::{
    ALL, BOOL, BYTES, FLOAT64, Field, INT8, INT8S, INT16, INT32, INT32S, STRING, STRINGS, UUID, f, since,
    structs, until,
};

/// Key 19, v2-7.
#[rustfmt::skip]
pub(in crate::protocol) static CREATE_TOPICS: &[Field] = &[
    f("Topics", ALL, structs(&[
        f("Name", ALL, STRING),
        f("NumPartitions", ALL, INT32),
        f("ReplicationFactor", ALL, INT16),
        f("Assignments", ALL, structs(&[
            f("PartitionIndex", ALL, INT32),
            f("BrokerIds", ALL, INT32S),
        ])),
        f("Configs", ALL, structs(&[
            f("Name", ALL, STRING),
            f("Value", ALL, STRING).nullable(ALL),
        ])),
    ])),
    f("timeoutMs", ALL, INT32),
    f("validateOnly", since(1), BOOL),
];

/// Key 20, v1-6.
#[rustfmt::skip]
pub(in crate::protocol) static DELETE_TOPICS: &[Field] = &[
    f("Topics", since(6), structs(&[
        f("Name", since(6), STRING).nullable(since(6)),
        f("TopicId", since(6), UUID),
    ])),
    f("TopicNames", until(5), STRINGS),
    f("TimeoutMs", ALL, INT32),
];

/// Key 32, v1-4.
#[rustfmt::skip]
pub(in crate::protocol) static DESCRIBE_CONFIGS: &[Field] = &[
    f("Resources", ALL, structs(&[
        f("ResourceType", ALL, INT8),
        f("ResourceName", ALL, STRING),
        f("ConfigurationKeys", ALL, STRINGS).nullable(ALL),
    ])),
    f("IncludeSynonyms", since(1), BOOL),
    f("IncludeDocumentation", since(3), BOOL),
];

/// Key 33, v0-2.
#[rustfmt::skip]
pub(in crate::protocol) static ALTER_CONFIGS: &[Field] = &[
    f("Resources", ALL, structs(&[
        f("ResourceType", ALL, INT8),
        f("ResourceName", ALL, STRING),
        f("Configs", ALL, structs(&[
            f("Name", ALL, STRING),
            f("Value", ALL, STRING).nullable(ALL),
        ])),
    ])),
    f("ValidateOnly", ALL, BOOL),
];

/// Key 34, v1-2.
#[rustfmt::skip]
pub(in crate::protocol) static ALTER_REPLICA_LOG_DIRS: &[Field] = &[
    f("Dirs", ALL, structs(&[
        f("Path", ALL, STRING),
        f("Topics", ALL, structs(&[
            f("Name", ALL, STRING),
            f("Partitions", ALL, INT32S),
        ])),
    ])),
];

/// Key 35, v1-5.
#[rustfmt::skip]
pub(in crate::protocol) static DESCRIBE_LOG_DIRS: &[Field] = &[
    f("Topics", ALL, structs(&[
        f("Topic", ALL, STRING),
        f("Partitions", ALL, INT32S),
    ])).nullable(ALL),
];

/// Key 37, v0-3.
#[rustfmt::skip]
pub(in crate::protocol) static CREATE_PARTITIONS: &[Field] = &[
    f("Topics", ALL, structs(&[
        f("Name", ALL, STRING),
        f("Count", ALL, INT32),
        f("Assignments", ALL, structs(&[
            f("BrokerIds", ALL, INT32S),
        ])).nullable(ALL),
    ])),
    f("TimeoutMs", ALL, INT32),
    f("ValidateOnly", ALL, BOOL),
];

/// Key 43, v0-2.
#[rustfmt::skip]
pub(in crate::protocol) static ELECT_LEADERS: &[Field] = &[
    f("ElectionType", since(1), INT8),
    f("TopicPartitions", ALL, structs(&[
        f("Topic", ALL, STRING),
        f("Partitions", ALL, INT32S),
    ])).nullable(ALL),
    f("TimeoutMs", ALL, INT32),
];

/// Key 44, v0-1.
#[rustfmt::skip]
pub(in crate::protocol) static INCREMENTAL_ALTER_CONFIGS: &[Field] = &[
    f("Resources", ALL, structs(&[
        f("ResourceType", ALL, INT8),
        f("ResourceName", ALL, STRING),
        f("Configs", ALL, structs(&[
            f("Name", ALL, STRING),
            f("ConfigOperation", ALL, INT8),
            f("Value", ALL, STRING).nullable(ALL),
        ])),
    ])),
    f("ValidateOnly", ALL, BOOL),
];

/// Key 45, v0-1.
#[rustfmt::skip]
pub(in crate::protocol) static ALTER_PARTITION_REASSIGNMENTS: &[Field] = &[
    f("TimeoutMs", ALL, INT32),
    f("AllowReplicationFactorChange", since(1), BOOL),
    f("Topics", ALL, structs(&[
        f("Name", ALL, STRING),
        f("Partitions", ALL, structs(&[
            f("PartitionIndex", ALL, INT32),
            f("Replicas", ALL, INT32S).nullable(ALL),
        ])),
    ])),
];

/// Key 46, v0.
#[rustfmt::skip]
pub(in crate::protocol) static LIST_PARTITION_REASSIGNMENTS: &[Field] = &[
    f("TimeoutMs", ALL, INT32),
    f("Topics", ALL, structs(&[
        f("Name", ALL, STRING),
        f("PartitionIndexes", ALL, INT32S),
    ])).nullable(ALL),
];

/// Key 48, v0-1.
#[rustfmt::skip]
pub(in crate::protocol) static DESCRIBE_CLIENT_QUOTAS: &[Field] = &[
    f("Components", ALL, structs(&[
        f("EntityType", ALL, STRING),
        f("MatchType", ALL, INT8),
        f("Match", ALL, STRING).nullable(ALL),
    ])),
    f("Strict", ALL, BOOL),
];

/// Key 49, v0-1.
#[rustfmt::skip]
pub(in crate::protocol) static ALTER_CLIENT_QUOTAS: &[Field] = &[
    f("Entries", ALL, structs(&[
        f("Entity", ALL, structs(&[
            f("EntityType", ALL, STRING),
            f("EntityName", ALL, STRING).nullable(ALL),
        ])),
        f("Ops", ALL, structs(&[
            f("Key", ALL, STRING),
            f("Value", ALL, FLOAT64),
            f("Remove", ALL, BOOL),
        ])),
    ])),
    f("ValidateOnly", ALL, BOOL),
];

/// Key 55, v0-2.
#[rustfmt::skip]
pub(in crate::protocol) static DESCRIBE_QUORUM: &[Field] = &[
    f("Topics", ALL, structs(&[
        f("TopicName", ALL, STRING),
        f("Partitions", ALL, structs(&[
            f("PartitionIndex", ALL, INT32),
        ])),
    ])),
];

/// Key 57, v0-2.
#[rustfmt::skip]
pub(in crate::protocol) static UPDATE_FEATURES: &[Field] = &[
    f("timeoutMs", ALL, INT32),
    f("FeatureUpdates", ALL, structs(&[
        f("Feature", ALL, STRING),
        f("MaxVersionLevel", ALL, INT16),
        f("AllowDowngrade", until(0), BOOL),
        f("UpgradeType", since(1), INT8),
    ])),
    f("ValidateOnly", since(1), BOOL),
];

/// Key 64, v0.
#[rustfmt::skip]
pub(in crate::protocol) static UNREGISTER_BROKER: &[Field] = &[
    f("BrokerId", ALL, INT32),
];

/// Key 71, v0.
#[rustfmt::skip]
pub(in crate::protocol) static GET_TELEMETRY_SUBSCRIPTIONS: &[Field] = &[
    f("ClientInstanceId", ALL, UUID),
];

/// Key 72, v0.
#[rustfmt::skip]
pub(in crate::protocol) static PUSH_TELEMETRY: &[Field] = &[
    f("ClientInstanceId", ALL, UUID),
    f("SubscriptionId", ALL, INT32),
    f("Terminating", ALL, BOOL),
    f("CompressionType", ALL, INT8),
    f("Metrics", ALL, BYTES),
];

/// Key 74, v0-1.
#[rustfmt::skip]
pub(in crate::protocol) static LIST_CONFIG_RESOURCES: &[Field] = &[
    f("ResourceTypes", since(1), INT8S),
];
