//! Keys of the group coordinator.

use super::{Section, later};
use crate::config::key::{Check, Key, Tier};

pub(super) const SECTIONS: &[Section] = &[
    Section {
        title: "Consumer groups",
        tier: Tier::Effective,
        keys: &[
            Key::int(
                "group.initial.rebalance.delay.ms",
                "3000",
                "How long the first rebalance of an empty group waits for more members.",
            ),
            Key::int(
                "group.min.session.timeout.ms",
                "6000",
                "Shortest session timeout that a member may ask for.",
            ),
            Key::int(
                "group.max.session.timeout.ms",
                "1800000",
                "Longest session timeout that a member may ask for.",
            ),
            Key::int("group.max.size", "2147483647", "Most members of a group.").at_least(1),
            Key::list(
                "group.coordinator.rebalance.protocols",
                "classic,consumer,streams",
                "Group protocols that are on.",
            )
            .check(Check::ListOf(&["consumer", "classic", "share", "streams"], false)),
            Key::int(
                "group.consumer.session.timeout.ms",
                "45000",
                "Session timeout of members of a consumer-protocol group.",
            )
            .at_least(1),
            Key::int("group.consumer.min.session.timeout.ms", "45000", "Its lower bound for single groups.")
                .at_least(1),
            Key::int("group.consumer.max.session.timeout.ms", "60000", "Its upper bound for single groups.")
                .at_least(1),
            Key::int(
                "group.consumer.heartbeat.interval.ms",
                "5000",
                "Heartbeat interval given to members of a consumer-protocol group.",
            )
            .at_least(1),
            Key::int(
                "group.consumer.min.heartbeat.interval.ms",
                "5000",
                "Its lower bound for single groups.",
            )
            .at_least(1),
            Key::int(
                "group.consumer.max.heartbeat.interval.ms",
                "15000",
                "Its upper bound for single groups.",
            )
            .at_least(1),
            Key::int("group.consumer.max.size", "2147483647", "Most members of a consumer-protocol group.")
                .at_least(1),
            Key::list(
                "group.consumer.assignors",
                "uniform,range",
                "Server-side assignors, the first is the default.",
            )
            .non_empty(),
            Key::string(
                "group.consumer.migration.policy",
                "bidirectional",
                "Which way groups may change between the two protocols.",
            )
            .check(Check::OneOfAnyCase(&["DISABLED", "DOWNGRADE", "UPGRADE", "BIDIRECTIONAL"])),
            Key::int(
                "group.consumer.assignment.interval.ms",
                "1000",
                "Least time between two assignments of a group.",
            )
            .at_least(0)
            .cluster_wide(),
            Key::int("group.consumer.min.assignment.interval.ms", "0", "Its lower bound for single groups.")
                .at_least(0),
            Key::int(
                "group.consumer.max.assignment.interval.ms",
                "15000",
                "Its upper bound for single groups.",
            )
            .at_least(0),
            Key::int(
                "group.consumer.regex.refresh.interval.ms",
                "600000",
                "Time between two evaluations of subscribed patterns.",
            )
            .at_least(10000)
            .internal(),
            Key::int("offset.metadata.max.bytes", "4096", "Longest metadata text of a committed offset.")
                .high(),
            Key::int(
                "offsets.load.buffer.size",
                "5242880",
                "Bytes read at a time when a coordinator loads offsets.",
            )
            .at_least(1)
            .high(),
            Key::int("offsets.retention.minutes", "10080", "How long offsets of an empty group are kept.")
                .at_least(1)
                .high(),
            Key::long(
                "offsets.retention.check.interval.ms",
                "600000",
                "Time between two looks for offsets to forget.",
            )
            .at_least(1)
            .high(),
            Key::int("offsets.topic.num.partitions", "50", "Partitions of the topic of committed offsets.")
                .at_least(1)
                .high(),
            Key::short(
                "offsets.topic.replication.factor",
                "3",
                "Replicas of the topic of committed offsets.",
            )
            .at_least(1)
            .high(),
            Key::int(
                "offsets.topic.segment.bytes",
                "104857600",
                "Segment size of the topic of committed offsets.",
            )
            .at_least(1)
            .high(),
            Key::int(
                "offsets.topic.compression.codec",
                "0",
                "Compression of the topic of committed offsets, by number.",
            )
            .high(),
        ],
    },
    Section {
        title: "Threads and buffers of the group coordinator",
        tier: Tier::NoEffect("the coordinator works on the threads that ask, and writes at once"),
        keys: &[
            Key::int("group.coordinator.threads", "4", "Threads of the group coordinator.")
                .at_least(1)
                .high(),
            Key::int(
                "group.coordinator.background.threads",
                "2",
                "Threads for the coordinator's background work.",
            )
            .at_least(1)
            .high(),
            Key::int("group.coordinator.append.linger.ms", "-1", "How long the coordinator gathers writes.")
                .at_least(-1),
            Key::int(
                "group.coordinator.cached.buffer.max.bytes",
                "1048588",
                "Largest write buffer that the coordinator keeps.",
            )
            .at_least(524288)
            .cluster_wide(),
        ],
    },
    Section {
        title: "Replicated commits",
        tier: Tier::Effective,
        keys: &[Key::int(
            "offsets.commit.timeout.ms",
            "5000",
            "How long a commit may wait for its replicas.",
        )
        .at_least(1)
        .high()],
    },
    Section {
        title: "Streams groups",
        tier: later::STREAMS_GROUPS,
        keys: &[
            Key::int(
                "group.streams.session.timeout.ms",
                "45000",
                "Session timeout of members of a streams group.",
            )
            .at_least(1),
            Key::int("group.streams.min.session.timeout.ms", "45000", "Its lower bound for single groups.")
                .at_least(1),
            Key::int("group.streams.max.session.timeout.ms", "60000", "Its upper bound for single groups.")
                .at_least(1),
            Key::int(
                "group.streams.heartbeat.interval.ms",
                "5000",
                "Heartbeat interval given to members of a streams group.",
            )
            .at_least(1),
            Key::int("group.streams.min.heartbeat.interval.ms", "5000", "Its lower bound for single groups.")
                .at_least(1),
            Key::int(
                "group.streams.max.heartbeat.interval.ms",
                "15000",
                "Its upper bound for single groups.",
            )
            .at_least(1),
            Key::int("group.streams.max.size", "2147483647", "Most members of a streams group.").at_least(1),
            Key::int("group.streams.num.standby.replicas", "0", "Standby replicas per task.").at_least(0),
            Key::int("group.streams.max.standby.replicas", "2", "Its upper bound for single groups.")
                .at_least(0),
            Key::int(
                "group.streams.initial.rebalance.delay.ms",
                "3000",
                "How long the first rebalance of an empty group waits.",
            )
            .at_least(0),
            Key::int(
                "group.streams.assignment.interval.ms",
                "1000",
                "Least time between two assignments of a group.",
            )
            .at_least(0)
            .cluster_wide(),
            Key::int("group.streams.min.assignment.interval.ms", "0", "Its lower bound for single groups.")
                .at_least(0),
            Key::int(
                "group.streams.max.assignment.interval.ms",
                "15000",
                "Its upper bound for single groups.",
            )
            .at_least(0),
        ],
    },
];
