//! Keys of a topic.

use super::{Section, later};
use crate::config::key::{Check, Key, Tier, twin, twin_hours, twin_minutes};

pub(super) const SECTIONS: &[Section] = &[
    Section {
        title: "Topic keys",
        tier: Tier::Effective,
        keys: &[
            Key::list("cleanup.policy", "delete", "What happens to old segments: delete, compact, or both.")
                .check(Check::ListOf(&["compact", "delete"], true))
                .twins(&[twin("log.cleanup.policy")]),
            Key::int(
                "compression.gzip.level",
                "-1",
                "Level where compression.type is gzip; -1 is its default.",
            )
            .check(Check::BetweenOr(1, 9, -1))
            .twins(&[twin("compression.gzip.level")]),
            Key::int("compression.lz4.level", "9", "Level where compression.type is lz4.")
                .between(1, 17)
                .twins(&[twin("compression.lz4.level")]),
            Key::string(
                "compression.type",
                "producer",
                "What batches are stored as: producer keeps what the producer chose.",
            )
            .one_of(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"])
            .twins(&[twin("compression.type")]),
            Key::int("compression.zstd.level", "3", "Level where compression.type is zstd.")
                .between(-131072, 22)
                .twins(&[twin("compression.zstd.level")]),
            Key::long(
                "file.delete.delay.ms",
                "60000",
                "Time between taking a segment out of use and removing its file.",
            )
            .at_least(0)
            .twins(&[twin("log.segment.delete.delay.ms")]),
            Key::long(
                "flush.messages",
                "9223372036854775807",
                "Records after which a partition is forced to disk.",
            )
            .at_least(1)
            .twins(&[twin("log.flush.interval.messages")]),
            Key::long(
                "flush.ms",
                "9223372036854775807",
                "Longest time that a record may wait to be forced to disk.",
            )
            .at_least(0)
            .twins(&[twin("log.flush.interval.ms"), twin("log.flush.scheduler.interval.ms")]),
            Key::int("index.interval.bytes", "4096", "Bytes of records between two index entries.")
                .at_least(0)
                .twins(&[twin("log.index.interval.bytes")]),
            Key::int(
                "max.message.bytes",
                "1048588",
                "Largest record batch that is accepted, compressed, with its header.",
            )
            .at_least(0)
            .twins(&[twin("message.max.bytes")]),
            Key::long(
                "message.timestamp.after.max.ms",
                "3600000",
                "How far a record's timestamp may lie in the future.",
            )
            .at_least(0)
            .twins(&[twin("log.message.timestamp.after.max.ms")]),
            Key::long(
                "message.timestamp.before.max.ms",
                "9223372036854775807",
                "How far a record's timestamp may lie in the past.",
            )
            .at_least(0)
            .twins(&[twin("log.message.timestamp.before.max.ms")]),
            Key::string(
                "message.timestamp.type",
                "CreateTime",
                "CreateTime keeps the producer's timestamps; LogAppendTime puts the broker's.",
            )
            .one_of(&["CreateTime", "LogAppendTime"])
            .twins(&[twin("log.message.timestamp.type")]),
            Key::int(
                "min.insync.replicas",
                "1",
                "Replicas that must hold a record before acks=all succeeds.",
            )
            .at_least(1)
            .twins(&[twin("min.insync.replicas")]),
            Key::boolean("preallocate", "false", "Give a new segment its full size at once.")
                .twins(&[twin("log.preallocate")]),
            Key::long(
                "retention.bytes",
                "-1",
                "Size of a partition above which old segments are deleted; -1 means no limit.",
            )
            .twins(&[twin("log.retention.bytes")]),
            Key::long("retention.ms", "604800000", "Age at which records may be deleted; -1 keeps them.")
                .at_least(-1)
                .twins(&[
                    twin("log.retention.ms"),
                    twin_minutes("log.retention.minutes"),
                    twin_hours("log.retention.hours"),
                ]),
            Key::int("segment.bytes", "1073741824", "Size at which a segment file is rolled.")
                .at_least(1048576)
                .twins(&[twin("log.segment.bytes")]),
            Key::int("segment.index.bytes", "10485760", "Largest offset or time index of a segment.")
                .at_least(4)
                .twins(&[twin("log.index.size.max.bytes")]),
            Key::long(
                "segment.jitter.ms",
                "0",
                "Most time taken off the roll age at random, so that segments do not roll together.",
            )
            .at_least(0)
            .twins(&[twin("log.roll.jitter.ms"), twin_hours("log.roll.jitter.hours")]),
            Key::long("segment.ms", "604800000", "Age at which a segment is rolled.")
                .at_least(1)
                .twins(&[twin("log.roll.ms"), twin_hours("log.roll.hours")]),
            Key::int("internal.segment.bytes", "", "Segment size below the public minimum, for tests.")
                .unset()
                .internal(),
        ],
    },
    Section {
        title: "Topic keys",
        tier: Tier::Effective,
        keys: &[
            Key::long(
                "delete.retention.ms",
                "86400000",
                "How long a delete marker stays in a compacted log.",
            )
            .at_least(0)
            .twins(&[twin("log.cleaner.delete.retention.ms")]),
            Key::long(
                "max.compaction.lag.ms",
                "9223372036854775807",
                "Most time that a record may stay uncompacted.",
            )
            .at_least(1)
            .twins(&[twin("log.cleaner.max.compaction.lag.ms")]),
            Key::double(
                "min.cleanable.dirty.ratio",
                "0.5",
                "Share of uncompacted bytes from which a log is compacted.",
            )
            .check(Check::Fraction(0.0, 1.0))
            .twins(&[twin("log.cleaner.min.cleanable.ratio")]),
            Key::long("min.compaction.lag.ms", "0", "Least age of a record before it may be compacted.")
                .at_least(0)
                .twins(&[twin("log.cleaner.min.compaction.lag.ms")]),
        ],
    },
    Section {
        title: "Topic keys",
        tier: Tier::Effective,
        keys: &[Key::boolean(
            "unclean.leader.election.enable",
            "false",
            "Let a replica that is not in sync become leader, which may lose records.",
        )
        .twins(&[twin("unclean.leader.election.enable")])],
    },
    Section {
        title: "Topic keys",
        tier: later::QUOTAS,
        keys: &[
            Key::list(
                "follower.replication.throttled.replicas",
                "",
                "Replicas whose fetching is throttled, as partition:broker, or *.",
            )
            .check(Check::ThrottledReplicas),
            Key::list(
                "leader.replication.throttled.replicas",
                "",
                "Replicas whose leader is throttled, as partition:broker, or *.",
            )
            .check(Check::ThrottledReplicas),
        ],
    },
    Section {
        title: "Topic keys",
        tier: Tier::Refused("tiered storage is not there yet: records stay on local disks"),
        keys: &[
            Key::boolean(
                "remote.storage.enable",
                "false",
                "Move old segments of this topic to remote storage.",
            ),
            Key::boolean("remote.log.copy.disable", "false", "Stop copying segments of this topic out."),
            Key::boolean(
                "remote.log.delete.on.disable",
                "false",
                "Delete what is remote when tiering is switched off.",
            ),
            Key::long(
                "local.retention.bytes",
                "-2",
                "How many bytes stay on local disk when the topic is tiered; -2 means retention.bytes.",
            )
            .at_least(-2)
            .twins(&[twin("log.local.retention.bytes")]),
            Key::long(
                "local.retention.ms",
                "-2",
                "How long records stay on local disk when the topic is tiered; -2 means retention.ms.",
            )
            .at_least(-2)
            .twins(&[twin("log.local.retention.ms")]),
        ],
    },
];
