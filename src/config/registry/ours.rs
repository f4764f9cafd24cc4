//! ketcd's own keys.

use super::Section;
use crate::config::key::{Check, Key, Tier, Unit};

pub(super) const SECTIONS: &[Section] = &[
    Section {
        title: "Cluster and etcd",
        tier: Tier::Ours,
        keys: &[
            Key::string(
                "cluster.name",
                "ketcd",
                "Name of the cluster: brokers with the same name and the same etcd are one cluster.",
            )
            .non_empty()
            .high(),
            Key::string(
                "cluster.id",
                "",
                "Kafka's cluster id for a cluster that is new, 22 characters of base64. Unset: a \
random one.",
            )
            .unset(),
            Key::list(
                "etcd.endpoints",
                "",
                "Addresses of the etcd servers that hold the cluster's metadata, or `embedded` for a \
store inside this process.",
            )
            .unset()
            .non_empty()
            .high()
            .see(&["etcd.prefix", "etcd.embedded.listen"]),
            Key::string(
                "etcd.prefix",
                "",
                "Prefix of the cluster's keys in etcd. Unset: /ketcd/ and cluster.name.",
            )
            .unset()
            .see(&["cluster.name"]),
            Key::string("etcd.user", "", "User for etcd. Unset: no authentication.").unset(),
            Key::password(
                "etcd.password",
                "Password for etcd. Better given as a file: KETCD_ETCD_PASSWORD_FILE, or ${file:PATH}.",
            ),
            Key::string(
                "etcd.tls.ca",
                "",
                "PEM file with the certificates that sign those of the etcd servers.",
            )
            .unset(),
            Key::string("etcd.tls.cert", "", "PEM file with this broker's client certificate for etcd.")
                .unset()
                .see(&["etcd.tls.key"]),
            Key::string("etcd.tls.key", "", "PEM file with the private key of etcd.tls.cert.")
                .unset()
                .see(&["etcd.tls.cert"]),
            Key::boolean("etcd.insecure", "false", "Allow a password to be sent to etcd without TLS."),
            Key::int(
                "etcd.session.ttl",
                "9000",
                "A broker that etcd does not hear from for this long counts as gone.",
            )
            .check(Check::Between(2000, 300_000))
            .unit(Unit::Millis)
            .high(),
            Key::boolean(
                "etcd.accept.rollback",
                "false",
                "Go on although etcd went back in time: it was restored from a backup, or wiped, on purpose.",
            ),
            Key::boolean(
                "etcd.allow.kubernetes",
                "false",
                "Use an etcd that holds a Kubernetes control plane. Both then share its quota and its latency.",
            ),
            Key::string(
                "etcd.embedded.listen",
                "127.0.0.1:0",
                "Address of the embedded store, where etcd.endpoints is embedded. Port 0 lets the \
system choose.",
            )
            .non_empty(),
        ],
    },
    Section {
        title: "Several brokers",
        tier: Tier::NoEffect(
            "ketcd does not compact etcd's history yet: start etcd with --auto-compaction-retention",
        ),
        keys: &[Key::boolean(
            "etcd.dedicated",
            "false",
            "The etcd servers belong to ketcd alone: its controller compacts their history.",
        )],
    },
    Section {
        title: "Several brokers",
        tier: Tier::Ours,
        keys: &[
            Key::string(
                "etcd.outage.acks1",
                "reject",
                "What becomes of writes with acks 0 or 1 to replicated partitions when etcd is away \
for longer than the session: reject them, or serve them at the risk of losing them.",
            )
            .one_of(&["reject", "serve"]),
            Key::string(
                "stale.reads",
                "allow",
                "What a broker does with fetches when it may have lost its leadership: allow reads of \
what was committed, or reject them.",
            )
            .one_of(&["allow", "reject"]),
        ],
    },
    Section {
        title: "Several brokers",
        tier: Tier::Ours,
        keys: &[Key::boolean(
            "ketcd.draining",
            "false",
            "The broker hands its leaderships over and takes no new ones, until this is false again.",
        )
        .per_broker()],
    },
    Section {
        title: "Threads",
        tier: Tier::Ours,
        keys: &[
            Key::int(
                "data.threads",
                "0",
                "Threads that serve connections, each with a runtime of its own. 0 means one per core.",
            )
            .check(Check::Between(0, 1024)),
            Key::int(
                "storage.threads",
                "0",
                "Threads that do what may wait for a disk. 0 lets ketcd choose.",
            )
            .check(Check::Between(0, 1024)),
        ],
    },
    Section {
        title: "Admin port and logging",
        tier: Tier::Ours,
        keys: &[
            Key::string(
                "admin.listen",
                "127.0.0.1:9192",
                "Address of the admin port: health, metrics, version. Empty: none. Port 0 lets the \
system choose.",
            ),
            Key::string("log.format", "pretty", "Form of log lines.").one_of(&["pretty", "logfmt", "json"]),
            Key::string(
                "log.level",
                "info",
                "What is logged: error, warn, info, debug, trace, or a filter such as \
info,ketcd::log=debug.",
            )
            .non_empty(),
        ],
    },
    Section {
        title: "Development",
        tier: Tier::Ours,
        keys: &[Key::boolean(
            "dev.ephemeral",
            "false",
            "Keep nothing: data and metadata live in memory or in a directory that is removed at \
the end.",
        )],
    },
];

pub(super) const TOPIC_SECTIONS: &[Section] = &[Section {
    title: "Topic keys of ketcd",
    tier: Tier::Ours,
    keys: &[Key::string(
        "ketcd.flush",
        "none",
        "When a write counts as stored: none, once it is in the page cache (as Kafka); ack, \
once it is forced to disk.",
    )
    .one_of(&["none", "ack"])
    .see(&["flush.messages", "flush.ms"])],
}];
