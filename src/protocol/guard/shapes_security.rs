//! Shapes of requests: Authentication, ACLs, tokens, SCRAM. Data, from the message definitions of Apache Kafka 4.3.1.

use super::shape::{ALL, BYTES, Field, INT8, INT32, INT64, STRING, f, since, structs};

/// Key 17, v0-1.
#[rustfmt::skip]
pub(in crate::protocol) static SASL_HANDSHAKE: &[Field] = &[
    f("Mechanism", ALL, STRING),
];

/// Key 29, v1-3.
#[rustfmt::skip]
pub(in crate::protocol) static DESCRIBE_ACLS: &[Field] = &[
    f("ResourceTypeFilter", ALL, INT8),
    f("ResourceNameFilter", ALL, STRING).nullable(ALL),
    f("PatternTypeFilter", since(1), INT8),
    f("PrincipalFilter", ALL, STRING).nullable(ALL),
    f("HostFilter", ALL, STRING).nullable(ALL),
    f("Operation", ALL, INT8),
    f("PermissionType", ALL, INT8),
];

/// Key 30, v1-3.
#[rustfmt::skip]
pub(in crate::protocol) static CREATE_ACLS: &[Field] = &[
    f("Creations", ALL, structs(&[
        f("ResourceType", ALL, INT8),
        f("ResourceName", ALL, STRING),
        f("ResourcePatternType", since(1), INT8),
        f("Principal", ALL, STRING),
        f("Host", ALL, STRING),
        f("Operation", ALL, INT8),
        f("PermissionType", ALL, INT8),
    ])),
];

/// Key 31, v1-3.
#[rustfmt::skip]
pub(in crate::protocol) static DELETE_ACLS: &[Field] = &[
    f("Filters", ALL, structs(&[
        f("ResourceTypeFilter", ALL, INT8),
        f("ResourceNameFilter", ALL, STRING).nullable(ALL),
        f("PatternTypeFilter", since(1), INT8),
        f("PrincipalFilter", ALL, STRING).nullable(ALL),
        f("HostFilter", ALL, STRING).nullable(ALL),
        f("Operation", ALL, INT8),
        f("PermissionType", ALL, INT8),
    ])),
];

/// Key 36, v0-2.
#[rustfmt::skip]
pub(in crate::protocol) static SASL_AUTHENTICATE: &[Field] = &[
    f("AuthBytes", ALL, BYTES),
];

/// Key 38, v1-3.
#[rustfmt::skip]
pub(in crate::protocol) static CREATE_DELEGATION_TOKEN: &[Field] = &[
    f("OwnerPrincipalType", since(3), STRING).nullable(since(3)),
    f("OwnerPrincipalName", since(3), STRING).nullable(since(3)),
    f("Renewers", ALL, structs(&[
        f("PrincipalType", ALL, STRING),
        f("PrincipalName", ALL, STRING),
    ])),
    f("MaxLifetimeMs", ALL, INT64),
];

/// Key 39, v1-2.
#[rustfmt::skip]
pub(in crate::protocol) static RENEW_DELEGATION_TOKEN: &[Field] = &[
    f("Hmac", ALL, BYTES),
    f("RenewPeriodMs", ALL, INT64),
];

/// Key 40, v1-2.
#[rustfmt::skip]
pub(in crate::protocol) static EXPIRE_DELEGATION_TOKEN: &[Field] = &[
    f("Hmac", ALL, BYTES),
    f("ExpiryTimePeriodMs", ALL, INT64),
];

/// Key 41, v1-3.
#[rustfmt::skip]
pub(in crate::protocol) static DESCRIBE_DELEGATION_TOKEN: &[Field] = &[
    f("Owners", ALL, structs(&[
        f("PrincipalType", ALL, STRING),
        f("PrincipalName", ALL, STRING),
    ])).nullable(ALL),
];

/// Key 50, v0.
#[rustfmt::skip]
pub(in crate::protocol) static DESCRIBE_USER_SCRAM_CREDENTIALS: &[Field] = &[
    f("Users", ALL, structs(&[
        f("Name", ALL, STRING),
    ])).nullable(ALL),
];

/// Key 51, v0.
#[rustfmt::skip]
pub(in crate::protocol) static ALTER_USER_SCRAM_CREDENTIALS: &[Field] = &[
    f("Deletions", ALL, structs(&[
        f("Name", ALL, STRING),
        f("Mechanism", ALL, INT8),
    ])),
    f("Upsertions", ALL, structs(&[
        f("Name", ALL, STRING),
        f("Mechanism", ALL, INT8),
        f("Iterations", ALL, INT32),
        f("Salt", ALL, BYTES),
        f("SaltedPassword", ALL, BYTES),
    ])),
];
