//! Keys of share groups.

use super::{Section, later};
use crate::config::key::Key;

pub(super) const SECTIONS: &[Section] = &[Section {
    title: "Share groups",
    tier: later::SHARE_GROUPS,
    keys: &[
        Key::int("group.share.session.timeout.ms", "45000", "Session timeout of members of a share group.")
            .at_least(1),
        Key::int("group.share.min.session.timeout.ms", "45000", "Its lower bound for single groups.")
            .at_least(1),
        Key::int("group.share.max.session.timeout.ms", "60000", "Its upper bound for single groups.")
            .at_least(1),
        Key::int(
            "group.share.heartbeat.interval.ms",
            "5000",
            "Heartbeat interval given to members of a share group.",
        )
        .at_least(1),
        Key::int("group.share.min.heartbeat.interval.ms", "5000", "Its lower bound for single groups.")
            .at_least(1),
        Key::int("group.share.max.heartbeat.interval.ms", "15000", "Its upper bound for single groups.")
            .at_least(1),
        Key::int("group.share.max.size", "200", "Most members of a share group.").between(1, 1000),
        Key::int("group.share.max.share.sessions", "2000", "Most share sessions of a broker.").at_least(1),
        Key::list("group.share.assignors", "simple", "Assignors of share groups.").non_empty(),
        Key::int(
            "group.share.assignment.interval.ms",
            "1000",
            "Least time between two assignments of a group.",
        )
        .at_least(0)
        .cluster_wide(),
        Key::int("group.share.min.assignment.interval.ms", "0", "Its lower bound for single groups.")
            .at_least(0),
        Key::int("group.share.max.assignment.interval.ms", "15000", "Its upper bound for single groups.")
            .at_least(0),
        Key::int("group.share.delivery.count.limit", "5", "Deliveries after which a record is given up.")
            .between(2, 10),
        Key::int("group.share.min.delivery.count.limit", "2", "Its lower bound for single groups.")
            .between(2, 5),
        Key::int("group.share.max.delivery.count.limit", "10", "Its upper bound for single groups.")
            .between(5, 25),
        Key::int("group.share.record.lock.duration.ms", "30000", "How long a delivered record stays locked.")
            .between(1000, 3600000),
        Key::int("group.share.min.record.lock.duration.ms", "15000", "Its lower bound for single groups.")
            .between(1000, 30000),
        Key::int("group.share.max.record.lock.duration.ms", "60000", "Its upper bound for single groups.")
            .between(30000, 3600000),
        Key::int("group.share.partition.max.record.locks", "2000", "Most locked records of a partition.")
            .between(100, 10000),
        Key::int("group.share.min.partition.max.record.locks", "100", "Its lower bound for single groups.")
            .between(100, 2000),
        Key::int("group.share.max.partition.max.record.locks", "4000", "Its upper bound for single groups.")
            .between(2000, 10000),
        Key::int(
            "group.share.initialize.retry.interval.ms",
            "30000",
            "Pause before the state of a share partition is initialised again.",
        )
        .at_least(1)
        .low()
        .internal(),
        Key::string(
            "group.share.persister.class.name",
            "org.apache.kafka.server.share.persister.DefaultStatePersister",
            "The class that keeps the state of share groups.",
        )
        .internal(),
        Key::int(
            "share.coordinator.append.linger.ms",
            "-1",
            "How long the share coordinator gathers writes.",
        )
        .at_least(-1),
        Key::int(
            "share.coordinator.cached.buffer.max.bytes",
            "1048588",
            "Largest write buffer that the share coordinator keeps.",
        )
        .at_least(524288)
        .cluster_wide(),
        Key::int(
            "share.coordinator.cold.partition.snapshot.interval.ms",
            "300000",
            "Time between snapshots of share partitions without traffic.",
        )
        .at_least(1)
        .low()
        .internal(),
        Key::int(
            "share.coordinator.load.buffer.size",
            "5242880",
            "Bytes read at a time when a share coordinator loads.",
        )
        .at_least(1)
        .high(),
        Key::int(
            "share.coordinator.snapshot.update.records.per.snapshot",
            "500",
            "Updates between two snapshots of a share partition.",
        )
        .between(0, 500),
        Key::int(
            "share.coordinator.state.topic.compression.codec",
            "0",
            "Compression of the share state topic, by number.",
        )
        .high(),
        Key::short(
            "share.coordinator.state.topic.min.isr",
            "2",
            "In-sync replicas that a write to the share state topic needs.",
        )
        .at_least(1)
        .high(),
        Key::int(
            "share.coordinator.state.topic.num.partitions",
            "50",
            "Partitions of the share state topic.",
        )
        .at_least(1)
        .high(),
        Key::int(
            "share.coordinator.state.topic.prune.interval.ms",
            "300000",
            "Time between two cuts of the share state topic.",
        )
        .at_least(1)
        .low()
        .internal(),
        Key::short(
            "share.coordinator.state.topic.replication.factor",
            "3",
            "Replicas of the share state topic.",
        )
        .at_least(1)
        .high(),
        Key::int(
            "share.coordinator.state.topic.segment.bytes",
            "104857600",
            "Segment size of the share state topic.",
        )
        .at_least(1)
        .high(),
        Key::int("share.coordinator.threads", "1", "Threads of the share coordinator.").at_least(1),
        Key::int(
            "share.coordinator.write.timeout.ms",
            "5000",
            "How long a write of the share coordinator may wait.",
        )
        .at_least(1)
        .high(),
    ],
}];
