//! Keys of the transaction coordinator.

use super::{Section, later};
use crate::config::key::Key;

pub(super) const SECTIONS: &[Section] = &[Section {
    title: "Transactions",
    tier: later::TRANSACTIONS,
    keys: &[
        Key::int("transaction.max.timeout.ms", "900000", "Longest timeout that a transaction may ask for.")
            .at_least(1)
            .high(),
        Key::int(
            "transactional.id.expiration.ms",
            "604800000",
            "A transactional id without use for this long is forgotten.",
        )
        .at_least(1)
        .high(),
        Key::int("transaction.state.log.num.partitions", "50", "Partitions of the transaction state topic.")
            .at_least(1)
            .high(),
        Key::short(
            "transaction.state.log.replication.factor",
            "3",
            "Replicas of the transaction state topic.",
        )
        .at_least(1)
        .high(),
        Key::int(
            "transaction.state.log.min.isr",
            "2",
            "In-sync replicas that a write to the transaction state topic needs.",
        )
        .at_least(1)
        .high(),
        Key::int(
            "transaction.state.log.segment.bytes",
            "104857600",
            "Segment size of the transaction state topic.",
        )
        .at_least(1)
        .high(),
        Key::int(
            "transaction.state.log.load.buffer.size",
            "5242880",
            "Bytes read at a time when a transaction coordinator loads.",
        )
        .at_least(1)
        .high(),
        Key::int(
            "transaction.abort.timed.out.transaction.cleanup.interval.ms",
            "10000",
            "Time between two looks for transactions that timed out.",
        )
        .at_least(1)
        .low(),
        Key::int(
            "transaction.remove.expired.transaction.cleanup.interval.ms",
            "3600000",
            "Time between two looks for transactional ids to forget.",
        )
        .at_least(1)
        .low(),
        Key::boolean(
            "transaction.partition.verification.enable",
            "true",
            "Check that a partition belongs to the transaction before a write.",
        )
        .low()
        .cluster_wide(),
        Key::boolean(
            "transaction.two.phase.commit.enable",
            "false",
            "Allow transactions that another system commits.",
        )
        .low(),
        Key::int(
            "add.partitions.to.txn.retry.backoff.ms",
            "20",
            "Pause before a partition is added to a transaction again.",
        )
        .at_least(1)
        .high(),
        Key::int("add.partitions.to.txn.retry.backoff.max.ms", "100", "Upper end of that pause.")
            .at_least(0)
            .high(),
    ],
}];
