//! Keys that Kafka 4 no longer has but configuration files still do, and constants that tools still read.

use super::Section;
use crate::config::key::{Key, Tier};

/// The `inter.broker.protocol.version` that tools may read: the release whose API versions ketcd offers.
pub(in crate::config) const PROTOCOL_VERSION: &str = "4.1-IV1";

pub(super) const SECTIONS: &[Section] = &[
    Section {
        title: "Constants",
        tier: Tier::Refused(
            "ketcd always speaks the protocol of Kafka 4.1 and has no protocol to roll back to: \
remove the key",
        ),
        keys: &[Key::string(
            "inter.broker.protocol.version",
            PROTOCOL_VERSION,
            "The Kafka release whose protocol this broker offers. Cannot be changed.",
        )],
    },
    Section {
        title: "Keys of older Kafka releases",
        tier: Tier::NoEffect("Kafka 4 has no such key"),
        keys: &[
            Key::boolean("auto.include.jmx.reporter", "true", "Export metrics by JMX."),
            Key::boolean("broker.id.generation.enable", "true", "Let the cluster choose broker ids."),
            Key::string("control.plane.listener.name", "", "A listener for the controller alone.").unset(),
            Key::int("controlled.shutdown.max.retries", "3", "Tries of a controlled shutdown."),
            Key::long("controlled.shutdown.retry.backoff.ms", "5000", "Pause between those tries."),
            Key::boolean(
                "eligible.leader.replicas.enable",
                "false",
                "Remember replicas that may lead after the last in-sync one is lost.",
            ),
            Key::boolean("group.coordinator.new.enable", "false", "Use the newer group coordinator."),
            Key::int(
                "leader.imbalance.per.broker.percentage",
                "10",
                "Share of non-preferred leaders that starts a rebalance.",
            ),
            Key::boolean("log.message.downconversion.enable", "true", "Convert records for old consumers."),
            Key::string("log.message.format.version", "3.0-IV1", "Record format on disk."),
            Key::long(
                "log.message.timestamp.difference.max.ms",
                "9223372036854775807",
                "How far a timestamp may be from now.",
            ),
            Key::short("offsets.commit.required.acks", "-1", "Acknowledgements that a commit needs."),
            Key::password("password.encoder.secret", "Secret for passwords kept in ZooKeeper."),
            Key::int(
                "reserved.broker.max.id",
                "1000",
                "Largest broker id that is not chosen by the cluster.",
            ),
            Key::boolean("share.coordinator.enable", "false", "Run a share coordinator."),
            Key::boolean("group.share.enable", "false", "Offer share groups."),
            Key::string("zookeeper.connect", "", "Addresses of ZooKeeper.").unset(),
            Key::int(
                "zookeeper.connection.timeout.ms",
                "18000",
                "How long a connection to ZooKeeper may take.",
            ),
            Key::int("zookeeper.max.in.flight.requests", "10", "Requests to ZooKeeper at a time."),
            Key::boolean("zookeeper.metadata.migration.enable", "false", "Move metadata out of ZooKeeper."),
            Key::int("zookeeper.session.timeout.ms", "18000", "Session timeout in ZooKeeper."),
            Key::boolean("zookeeper.set.acl", "false", "Guard entries in ZooKeeper."),
        ],
    },
];
