//! Keys of listeners, connections and requests.

use super::{Section, later};
use crate::config::key::{Key, Tier};

pub(super) const SECTIONS: &[Section] = &[
    Section {
        title: "Listeners and connections",
        tier: Tier::Effective,
        keys: &[
            Key::list(
                "listeners",
                "PLAINTEXT://:9092",
                "Addresses to listen on, as NAME://host:port. An empty host means every interface; \
port 0 lets the system choose.",
            )
            .non_empty()
            .high()
            .see(&["advertised.listeners", "listener.security.protocol.map"]),
            Key::list(
                "advertised.listeners",
                "",
                "Addresses that clients are told to connect to, as NAME://host:port. Unset: the \
listeners, with this machine's name where a listener has no host. May hold templates \
such as {pod}, {ordinal} and {31092+ordinal}.",
            )
            .unset()
            .non_empty()
            .high()
            .see(&["listeners"]),
            Key::string(
                "listener.security.protocol.map",
                "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT",
                "Security protocol of each listener name, as NAME:PROTOCOL. ketcd speaks PLAINTEXT \
until TLS and SASL come.",
            )
            .low(),
            Key::int(
                "socket.request.max.bytes",
                "104857600",
                "Largest request that is read. A larger one closes its connection.",
            )
            .at_least(1)
            .high(),
            Key::long(
                "queued.max.request.bytes",
                "-1",
                "Memory for requests that are read but not answered, over all connections; no further \
request is read while it is used up. -1 means a quarter of the memory limit.",
            ),
            Key::long(
                "connections.max.idle.ms",
                "600000",
                "A connection without traffic for this long is closed. Negative: never.",
            ),
            Key::int("max.connections", "2147483647", "Most connections at a time on this broker.")
                .at_least(0),
            Key::int("max.connections.per.ip", "2147483647", "Most connections at a time from one address.")
                .at_least(0),
            Key::int("fetch.max.bytes", "57671680", "Most bytes of records in the answer to one fetch.")
                .at_least(1024),
            Key::int(
                "max.incremental.fetch.session.cache.slots",
                "1000",
                "Most incremental fetch sessions kept.",
            )
            .at_least(0),
            Key::int(
                "max.request.partition.size.limit",
                "2000",
                "Most partitions in one answer of DescribeTopicPartitions.",
            )
            .at_least(1),
        ],
    },
    Section {
        title: "Listeners and connections",
        tier: Tier::Effective,
        keys: &[
            Key::string(
                "inter.broker.listener.name",
                "",
                "The listener that brokers use among themselves. Must be one of the advertised listeners.",
            )
            .unset(),
            Key::string(
                "security.inter.broker.protocol",
                "PLAINTEXT",
                "Security protocol among brokers where inter.broker.listener.name is unset.",
            )
            .one_of(&["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]),
        ],
    },
    Section {
        title: "Listeners and connections",
        tier: Tier::NoEffect("ketcd sizes its sockets and queues itself"),
        keys: &[
            Key::int(
                "socket.send.buffer.bytes",
                "102400",
                "Send buffer of a socket; -1 leaves it to the system.",
            )
            .high(),
            Key::int(
                "socket.receive.buffer.bytes",
                "102400",
                "Receive buffer of a socket; -1 leaves it to the system.",
            )
            .high(),
            Key::int("socket.listen.backlog.size", "50", "Connections that may wait to be accepted.")
                .at_least(1),
            Key::int(
                "queued.max.requests",
                "500",
                "Requests that may wait before reading stops. ketcd bounds bytes instead: \
queued.max.request.bytes.",
            )
            .at_least(1)
            .high()
            .see(&["queued.max.request.bytes"]),
            Key::long(
                "socket.connection.setup.timeout.ms",
                "10000",
                "How long a connection to another broker may take to open.",
            ),
            Key::long(
                "socket.connection.setup.timeout.max.ms",
                "30000",
                "Upper end of that time after repeated failures.",
            ),
            Key::int(
                "producer.purgatory.purge.interval.requests",
                "1000",
                "Clean-up interval of waiting produce requests.",
            ),
            Key::int(
                "fetch.purgatory.purge.interval.requests",
                "1000",
                "Clean-up interval of waiting fetch requests.",
            ),
            Key::int(
                "delete.records.purgatory.purge.interval.requests",
                "1",
                "Clean-up interval of waiting DeleteRecords requests.",
            ),
            Key::int(
                "share.fetch.purgatory.purge.interval.requests",
                "1000",
                "Clean-up interval of waiting share fetches.",
            ),
        ],
    },
    Section {
        title: "Listeners and connections",
        tier: later::QUOTAS,
        keys: &[
            Key::int("max.connection.creation.rate", "2147483647", "Most new connections a second.")
                .at_least(0)
                .cluster_wide(),
            Key::string(
                "max.connections.per.ip.overrides",
                "",
                "Other limits for single addresses, as address:count.",
            )
            .cluster_wide(),
        ],
    },
];
