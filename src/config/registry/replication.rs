//! Keys of replication and of quotas.

use super::{Section, later};
use crate::config::key::{Key, Tier};

pub(super) const SECTIONS: &[Section] = &[
    Section {
        title: "Replication",
        tier: Tier::Effective,
        keys: &[
            Key::int("num.replica.fetchers", "1", "Fetchers per source broker.").at_least(1).high(),
            Key::long(
                "replica.lag.time.max.ms",
                "30000",
                "A follower that has not caught up for this long leaves the in-sync set.",
            )
            .high(),
            Key::int("replica.fetch.min.bytes", "1", "Bytes that a follower waits for.").high(),
            Key::int("replica.fetch.max.bytes", "1048576", "Bytes that a follower asks for per partition.")
                .at_least(0),
            Key::int(
                "replica.fetch.response.max.bytes",
                "10485760",
                "Bytes that a follower asks for per answer.",
            )
            .at_least(0),
            Key::int("replica.fetch.wait.max.ms", "500", "How long a follower's fetch may wait.").high(),
            Key::int("replica.fetch.backoff.ms", "1000", "Pause of a follower after an error.").at_least(0),
            Key::int("replica.socket.timeout.ms", "30000", "Network timeout of a follower.").high(),
        ],
    },
    Section {
        title: "Replication",
        tier: Tier::NoEffect("ketcd sizes its sockets and queues itself"),
        keys: &[Key::int(
            "replica.socket.receive.buffer.bytes",
            "65536",
            "Receive buffer of a follower's socket.",
        )
        .high()],
    },
    Section {
        title: "Replication",
        tier: later::FOLLOWER_READS,
        keys: &[Key::string(
            "replica.selector.class",
            "",
            "How the replica to read from is chosen for a consumer.",
        )
        .unset()],
    },
    Section {
        title: "Replication",
        tier: Tier::NoEffect("partitions are not moved between data directories of one broker yet"),
        keys: &[Key::int(
            "num.replica.alter.log.dirs.threads",
            "",
            "Threads that move partitions between data directories.",
        )
        .unset()
        .high()],
    },
    Section {
        title: "Replication",
        tier: Tier::NoEffect("tiered storage is not there yet"),
        keys: &[Key::boolean(
            "follower.fetch.last.tiered.offset.enable",
            "false",
            "Let an empty follower start at the last tiered offset.",
        )
        .cluster_wide()],
    },
    Section {
        title: "Replication",
        tier: later::QUOTAS,
        keys: &[
            Key::long(
                "leader.replication.throttled.rate",
                "9223372036854775807",
                "Bytes a second that a leader sends to throttled followers.",
            )
            .at_least(0)
            .cluster_wide(),
            Key::long(
                "follower.replication.throttled.rate",
                "9223372036854775807",
                "Bytes a second that a throttled follower fetches.",
            )
            .at_least(0)
            .cluster_wide(),
            Key::long(
                "replica.alter.log.dirs.io.max.bytes.per.second",
                "9223372036854775807",
                "Bytes a second for moves between data directories.",
            )
            .at_least(0)
            .cluster_wide(),
            Key::int("replication.quota.window.num", "11", "Samples of the replication quota.")
                .at_least(1)
                .low(),
            Key::int(
                "replication.quota.window.size.seconds",
                "1",
                "Length of a sample of the replication quota.",
            )
            .at_least(1)
            .low(),
            Key::int(
                "alter.log.dirs.replication.quota.window.num",
                "11",
                "Samples of the quota for moves between directories.",
            )
            .at_least(1)
            .low(),
            Key::int(
                "alter.log.dirs.replication.quota.window.size.seconds",
                "1",
                "Length of a sample of that quota.",
            )
            .at_least(1)
            .low(),
            Key::int("quota.window.num", "11", "Samples of a client quota.").at_least(1).low(),
            Key::int("quota.window.size.seconds", "1", "Length of a sample of a client quota.")
                .at_least(1)
                .low(),
            Key::int("controller.quota.window.num", "11", "Samples of the quota for admin changes.")
                .at_least(1)
                .low(),
            Key::int("controller.quota.window.size.seconds", "1", "Length of a sample of that quota.")
                .at_least(1)
                .low(),
        ],
    },
];
