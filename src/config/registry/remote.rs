//! Keys of tiered storage.

use super::Section;
use crate::config::key::{Check, Key, Tier};

pub(super) const SECTIONS: &[Section] = &[Section {
    title: "Tiered storage",
    tier: Tier::Refused("tiered storage is not there yet: records stay on local disks. Remove the key"),
    keys: &[
        Key::boolean(
            "remote.log.storage.system.enable",
            "false",
            "Allow topics to move old segments to remote storage.",
        ),
        Key::string("remote.log.storage.manager.class.name", "", "The class that stores segments remotely.")
            .unset()
            .non_empty(),
        Key::string("remote.log.storage.manager.class.path", "", "Where that class is loaded from.").unset(),
        Key::string(
            "remote.log.storage.manager.impl.prefix",
            "rsm.config.",
            "Prefix of that class's own keys.",
        )
        .non_empty(),
        Key::string(
            "remote.log.metadata.manager.class.name",
            "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager",
            "The class that keeps the metadata of remote segments.",
        )
        .non_empty(),
        Key::string("remote.log.metadata.manager.class.path", "", "Where that class is loaded from.").unset(),
        Key::string(
            "remote.log.metadata.manager.impl.prefix",
            "rlmm.config.",
            "Prefix of that class's own keys.",
        )
        .non_empty(),
        Key::string("remote.log.metadata.manager.listener.name", "", "The listener that class uses.")
            .unset()
            .non_empty(),
        Key::int(
            "remote.log.metadata.custom.metadata.max.bytes",
            "128",
            "Most metadata that a storage class may add to a segment.",
        )
        .at_least(0)
        .low(),
        Key::long(
            "remote.log.index.file.cache.total.size.bytes",
            "1073741824",
            "Disk space for cached indexes of remote segments.",
        )
        .at_least(1)
        .low()
        .cluster_wide(),
        Key::long("remote.log.index.file.cache.ttl.ms", "900000", "Life of a cached index without use.")
            .at_least(-1)
            .low()
            .internal(),
        Key::int("remote.log.manager.thread.pool.size", "2", "Threads of the remote log manager.")
            .at_least(1),
        Key::int("remote.log.manager.copier.thread.pool.size", "10", "Threads that copy segments.")
            .at_least(1)
            .cluster_wide(),
        Key::int(
            "remote.log.manager.expiration.thread.pool.size",
            "10",
            "Threads that delete remote segments.",
        )
        .at_least(1)
        .cluster_wide(),
        Key::int(
            "remote.log.manager.follower.thread.pool.size",
            "2",
            "Threads for followers of remote partitions.",
        )
        .at_least(1)
        .cluster_wide(),
        Key::long(
            "remote.log.manager.task.interval.ms",
            "30000",
            "Time between two rounds of the remote log manager.",
        )
        .at_least(1)
        .low(),
        Key::long("remote.log.manager.task.retry.backoff.ms", "500", "Pause after a failed round.")
            .at_least(1)
            .low()
            .internal(),
        Key::long("remote.log.manager.task.retry.backoff.max.ms", "30000", "Upper end of that pause.")
            .at_least(1)
            .low()
            .internal(),
        Key::double("remote.log.manager.task.retry.jitter", "0.2", "Random share of that pause.")
            .check(Check::Fraction(0.0, 0.5))
            .low()
            .internal(),
        Key::long(
            "remote.log.manager.copy.max.bytes.per.second",
            "9223372036854775807",
            "Most bytes a second that are copied out.",
        )
        .at_least(1)
        .cluster_wide(),
        Key::int("remote.log.manager.copy.quota.window.num", "11", "Samples of that quota.").at_least(1),
        Key::int(
            "remote.log.manager.copy.quota.window.size.seconds",
            "1",
            "Length of a sample of that quota.",
        )
        .at_least(1),
        Key::long(
            "remote.log.manager.fetch.max.bytes.per.second",
            "9223372036854775807",
            "Most bytes a second that are read back.",
        )
        .at_least(1)
        .cluster_wide(),
        Key::int("remote.log.manager.fetch.quota.window.num", "11", "Samples of that quota.").at_least(1),
        Key::int(
            "remote.log.manager.fetch.quota.window.size.seconds",
            "1",
            "Length of a sample of that quota.",
        )
        .at_least(1),
        Key::int("remote.log.reader.threads", "10", "Threads that read remote segments.")
            .at_least(1)
            .cluster_wide(),
        Key::int("remote.log.reader.max.pending.tasks", "100", "Reads that may wait.").at_least(1),
        Key::int("remote.fetch.max.wait.ms", "500", "How long a fetch may wait for remote data.")
            .at_least(1)
            .cluster_wide(),
        Key::long(
            "remote.list.offsets.request.timeout.ms",
            "30000",
            "How long ListOffsets may wait for remote data.",
        )
        .at_least(1)
        .cluster_wide(),
        Key::long(
            "log.local.retention.ms",
            "-2",
            "How long records stay on local disk when a topic is tiered; -2 means log.retention.ms.",
        )
        .at_least(-2)
        .cluster_wide(),
        Key::long(
            "log.local.retention.bytes",
            "-2",
            "How many bytes stay on local disk when a topic is tiered; -2 means log.retention.bytes.",
        )
        .at_least(-2)
        .cluster_wide(),
    ],
}];
