//! Keys of the node itself: its number, its place, its life, its threads.

use super::Section;
use crate::config::key::{Key, Tier};

pub(super) const SECTIONS: &[Section] = &[
    Section {
        title: "Node, placement and life",
        tier: Tier::Effective,
        keys: &[
            Key::int(
                "node.id",
                "",
                "The number of this broker in the cluster. Unset, ketcd chooses: the number kept in \
the data directory, else the pod's ordinal on Kubernetes, else the first free one.",
            )
            .unset()
            .at_least(0)
            .high()
            .see(&["etcd.endpoints"]),
            Key::int("broker.id", "-1", "Older name of node.id.").high(),
            Key::string(
                "broker.rack",
                "",
                "The rack or zone of this broker, given to clients and used to spread replicas. May \
hold a template such as {zone}.",
            )
            .unset(),
            Key::boolean(
                "controlled.shutdown.enable",
                "true",
                "Hand leadership to other replicas before stopping.",
            ),
            Key::int(
                "initial.broker.registration.timeout.ms",
                "60000",
                "How long a starting broker waits for etcd before it gives up.",
            ),
        ],
    },
    Section {
        title: "Node, placement and life",
        tier: Tier::NoEffect("a broker lives as long as its session with etcd: see etcd.session.ttl"),
        keys: &[
            Key::int("broker.heartbeat.interval.ms", "2000", "Time between heartbeats to the controller."),
            Key::int(
                "broker.session.timeout.ms",
                "9000",
                "Time without a heartbeat after which the controller fences a broker.",
            ),
        ],
    },
    Section {
        title: "Node, placement and life",
        tier: Tier::NoEffect("ketcd sizes its threads itself: see data.threads and storage.threads"),
        keys: &[
            Key::int("num.network.threads", "3", "Threads that read and write sockets.")
                .at_least(1)
                .high()
                .cluster_wide()
                .see(&["data.threads"]),
            Key::int("num.io.threads", "8", "Threads that work on requests.")
                .at_least(1)
                .high()
                .cluster_wide()
                .see(&["data.threads"]),
            Key::int("background.threads", "10", "Threads for background work.")
                .at_least(1)
                .high()
                .cluster_wide(),
        ],
    },
    Section {
        title: "Node, placement and life",
        tier: Tier::NoEffect("ketcd has no such plug-in point or internal limit"),
        keys: &[
            Key::int("request.timeout.ms", "30000", "How long a broker waits for the answer of another.")
                .high(),
            Key::long(
                "server.max.startup.time.ms",
                "9223372036854775807",
                "How long a start may take before the process gives up.",
            )
            .at_least(0)
            .internal(),
            Key::list(
                "config.providers",
                "",
                "Names of providers that resolve placeholders in values. ketcd always resolves \
${env:NAME}, ${file:PATH}, ${file:PATH:KEY} and ${directory:DIR:FILE}.",
            )
            .low()
            .cluster_wide(),
            Key::list("early.start.listeners", "", "Listeners opened before the broker has caught up.")
                .unset()
                .high(),
            Key::boolean(
                "unstable.api.versions.enable",
                "false",
                "Offer API versions that are still in development.",
            )
            .high()
            .internal(),
            Key::boolean(
                "unstable.feature.versions.enable",
                "false",
                "Allow feature levels that are still in development.",
            )
            .high()
            .internal(),
        ],
    },
];
