//! Broker keys that new topics start from.

use super::Section;
use crate::config::key::{Check, Key, Tier};

pub(super) const SECTIONS: &[Section] = &[Section {
    title: "Topics",
    tier: Tier::Effective,
    keys: &[
        Key::int("num.partitions", "1", "Partitions of a topic that is created without a count.").at_least(1),
        Key::int("default.replication.factor", "1", "Replicas of a topic that is created without a count.")
            .see(&["min.insync.replicas"]),
        Key::int("min.insync.replicas", "1", "Replicas that must hold a record before acks=all succeeds.")
            .at_least(1)
            .high()
            .cluster_wide()
            .see(&["default.replication.factor"]),
        Key::boolean(
            "auto.create.topics.enable",
            "true",
            "Create a topic when a client that may do so first names it.",
        )
        .high()
        .see(&["num.partitions", "default.replication.factor"]),
        Key::boolean("delete.topic.enable", "true", "Allow topics to be deleted.").high(),
        Key::int(
            "message.max.bytes",
            "1048588",
            "Largest record batch that is accepted, compressed, with its header.",
        )
        .at_least(0)
        .high()
        .cluster_wide(),
        Key::string(
            "compression.type",
            "producer",
            "What batches are stored as: producer keeps what the producer chose.",
        )
        .one_of(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"])
        .high()
        .cluster_wide(),
        Key::int("compression.gzip.level", "-1", "Level where compression.type is gzip; -1 is its default.")
            .check(Check::BetweenOr(1, 9, -1))
            .cluster_wide(),
        Key::int("compression.lz4.level", "9", "Level where compression.type is lz4.")
            .between(1, 17)
            .cluster_wide(),
        Key::int("compression.zstd.level", "3", "Level where compression.type is zstd.")
            .between(-131072, 22)
            .cluster_wide(),
        Key::string(
            "log.message.timestamp.type",
            "CreateTime",
            "CreateTime keeps the producer's timestamps; LogAppendTime puts the broker's.",
        )
        .one_of(&["CreateTime", "LogAppendTime"])
        .cluster_wide(),
        Key::long(
            "log.message.timestamp.before.max.ms",
            "9223372036854775807",
            "How far a record's timestamp may lie in the past.",
        )
        .at_least(0)
        .cluster_wide(),
        Key::long(
            "log.message.timestamp.after.max.ms",
            "3600000",
            "How far a record's timestamp may lie in the future.",
        )
        .at_least(0)
        .cluster_wide(),
    ],
}];
