//! Broker keys of the log on disk.

use super::Section;
use crate::config::key::{Check, Key, Tier, Unit};

pub(super) const SECTIONS: &[Section] = &[
    Section {
        title: "The log on disk",
        tier: Tier::Effective,
        keys: &[
            Key::list("log.dirs", "", "Data directories. Partitions are spread over them.")
                .unset()
                .non_empty()
                .high()
                .see(&["log.dir"]),
            Key::list("log.dir", "/var/lib/ketcd", "The one data directory, where log.dirs is unset.")
                .non_empty()
                .high()
                .see(&["log.dirs"]),
            Key::int("log.segment.bytes", "1073741824", "Size at which a segment file is rolled.")
                .at_least(1048576)
                .high()
                .cluster_wide(),
            Key::long("log.roll.ms", "", "Age at which a segment is rolled.").unset().high().cluster_wide(),
            Key::int(
                "log.roll.hours",
                "168",
                "Age at which a segment is rolled, where log.roll.ms is unset.",
            )
            .at_least(1)
            .high(),
            Key::long(
                "log.roll.jitter.ms",
                "",
                "Most time taken off the roll age at random, so that segments do not roll together.",
            )
            .unset()
            .high()
            .cluster_wide(),
            Key::int("log.roll.jitter.hours", "0", "As log.roll.jitter.ms, where that is unset.")
                .at_least(0)
                .high(),
            Key::long("log.retention.ms", "", "Age at which records may be deleted; -1 keeps them.")
                .unset()
                .high()
                .cluster_wide()
                .see(&["log.retention.bytes"]),
            Key::int(
                "log.retention.minutes",
                "",
                "Age at which records may be deleted, where log.retention.ms is unset.",
            )
            .unset()
            .high(),
            Key::int(
                "log.retention.hours",
                "168",
                "Age at which records may be deleted, where the two finer keys are unset.",
            )
            .high()
            .see(&["log.retention.ms", "log.retention.bytes"]),
            Key::long(
                "log.retention.bytes",
                "-1",
                "Size of a partition above which old segments are deleted; -1 means no limit.",
            )
            .high()
            .cluster_wide(),
            Key::long(
                "log.retention.check.interval.ms",
                "300000",
                "Time between two looks for segments to delete.",
            )
            .at_least(1),
            Key::list(
                "log.cleanup.policy",
                "delete",
                "What happens to old segments: delete, compact, or both.",
            )
            .check(Check::ListOf(&["compact", "delete"], true))
            .cluster_wide(),
            Key::int("log.index.size.max.bytes", "10485760", "Largest offset or time index of a segment.")
                .at_least(4)
                .cluster_wide(),
            Key::int("log.index.interval.bytes", "4096", "Bytes of records between two index entries.")
                .at_least(0)
                .cluster_wide(),
            Key::boolean("log.preallocate", "false", "Give a new segment its full size at once.")
                .cluster_wide(),
            Key::long(
                "log.segment.delete.delay.ms",
                "60000",
                "Time between taking a segment out of use and removing its file.",
            )
            .at_least(0)
            .high()
            .cluster_wide(),
            Key::long(
                "log.flush.interval.messages",
                "9223372036854775807",
                "Records after which a partition is forced to disk.",
            )
            .at_least(1)
            .high()
            .cluster_wide(),
            Key::long(
                "log.flush.interval.ms",
                "",
                "Longest time that a record may wait to be forced to disk. Unset: \
log.flush.scheduler.interval.ms.",
            )
            .unset()
            .high()
            .cluster_wide()
            .see(&["log.flush.scheduler.interval.ms"]),
            Key::int(
                "producer.id.expiration.ms",
                "86400000",
                "A producer without a write for this long is forgotten.",
            )
            .at_least(1)
            .low(),
        ],
    },
    Section {
        title: "The log on disk",
        tier: Tier::NoEffect("ketcd looks every second for what is due"),
        keys: &[Key::long(
            "log.flush.scheduler.interval.ms",
            "9223372036854775807",
            "Time between two looks for partitions to force to disk.",
        )
        .high()],
    },
    Section {
        title: "The log on disk",
        tier: Tier::NoEffect("the storage threads recover logs: see storage.threads"),
        keys: &[Key::int(
            "num.recovery.threads.per.data.dir",
            "2",
            "Threads per data directory that check logs after an unclean stop.",
        )
        .at_least(1)
        .high()],
    },
    Section {
        title: "The log on disk",
        tier: Tier::Effective,
        keys: &[
            Key::boolean("log.cleaner.enable", "true", "Run the log cleaner."),
            Key::int("log.cleaner.threads", "1", "Threads of the log cleaner.").at_least(0).cluster_wide(),
            Key::double(
                "log.cleaner.io.max.bytes.per.second",
                "1.7976931348623157E308",
                "Most bytes a second that the cleaner reads and writes.",
            )
            .cluster_wide(),
            Key::long("log.cleaner.dedupe.buffer.size", "134217728", "Memory for the cleaner's map of keys.")
                .cluster_wide()
                .unit(Unit::Bytes),
            Key::int("log.cleaner.io.buffer.size", "524288", "Memory for the cleaner's buffers.")
                .at_least(0)
                .cluster_wide()
                .unit(Unit::Bytes),
            Key::double("log.cleaner.io.buffer.load.factor", "0.9", "How full the cleaner's map may get.")
                .cluster_wide(),
            Key::long("log.cleaner.backoff.ms", "15000", "Pause of the cleaner when nothing is to do.")
                .at_least(0)
                .cluster_wide(),
            Key::double(
                "log.cleaner.min.cleanable.ratio",
                "0.5",
                "Share of uncompacted bytes from which a log is compacted.",
            )
            .check(Check::Fraction(0.0, 1.0))
            .cluster_wide(),
            Key::long(
                "log.cleaner.delete.retention.ms",
                "86400000",
                "How long a delete marker stays in a compacted log.",
            )
            .at_least(0)
            .cluster_wide(),
            Key::long(
                "log.cleaner.min.compaction.lag.ms",
                "0",
                "Least age of a record before it may be compacted.",
            )
            .at_least(0)
            .cluster_wide(),
            Key::long(
                "log.cleaner.max.compaction.lag.ms",
                "9223372036854775807",
                "Most time that a record may stay uncompacted.",
            )
            .at_least(1)
            .cluster_wide(),
        ],
    },
    Section {
        title: "The log on disk",
        tier: Tier::Effective,
        keys: &[
            Key::boolean(
                "unclean.leader.election.enable",
                "false",
                "Let a replica that is not in sync become leader, which may lose records.",
            )
            .high()
            .cluster_wide(),
            Key::boolean(
                "auto.leader.rebalance.enable",
                "true",
                "Move leadership back to preferred replicas by itself.",
            )
            .high(),
            Key::long(
                "leader.imbalance.check.interval.seconds",
                "300",
                "Time between two looks for leaders that are not the preferred replica.",
            )
            .at_least(1)
            .high(),
            Key::long(
                "replica.high.watermark.checkpoint.interval.ms",
                "5000",
                "Time between writes of the high-watermark checkpoint.",
            )
            .high(),
        ],
    },
    Section {
        title: "The log on disk",
        tier: Tier::NoEffect("replicas stand for election as soon as they may, not at intervals"),
        keys: &[Key::long(
            "unclean.leader.election.interval.ms",
            "300000",
            "Time between two looks for partitions that need an unclean election.",
        )
        .at_least(1)
        .internal()],
    },
    Section {
        title: "The log on disk",
        tier: Tier::NoEffect("data directories cannot be cordoned yet"),
        keys: &[
            Key::list("cordoned.log.dirs", "", "Data directories that get no new partition.").per_broker()
        ],
    },
    Section {
        title: "The log on disk",
        tier: Tier::NoEffect("ketcd writes its checkpoints every second"),
        keys: &[
            Key::int(
                "log.flush.offset.checkpoint.interval.ms",
                "60000",
                "Time between writes of the recovery-point checkpoint.",
            )
            .at_least(0)
            .high(),
            Key::int(
                "log.flush.start.offset.checkpoint.interval.ms",
                "60000",
                "Time between writes of the log-start checkpoint.",
            )
            .at_least(0)
            .high(),
        ],
    },
    Section {
        title: "The log on disk",
        tier: Tier::NoEffect("ketcd has no such timer"),
        keys: &[
            Key::long(
                "log.initial.task.delay.ms",
                "30000",
                "Delay of the log's background tasks after a start.",
            )
            .at_least(0)
            .low()
            .internal(),
            Key::long(
                "log.dir.failure.timeout.ms",
                "30000",
                "How long a broker may run with a failed directory that the controller does not know of.",
            )
            .at_least(1)
            .low(),
            Key::int(
                "producer.id.expiration.check.interval.ms",
                "600000",
                "Time between two looks for producers to forget.",
            )
            .at_least(1)
            .low()
            .internal(),
        ],
    },
];
