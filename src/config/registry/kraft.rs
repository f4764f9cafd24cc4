//! Keys of Kafka's own metadata quorum and of the JVM's metrics.

use super::Section;
use crate::config::key::{Check, Key, Tier};

pub(super) const SECTIONS: &[Section] = &[
    Section {
        title: "Kafka's own metadata quorum",
        tier: Tier::NoEffect("ketcd keeps its metadata in etcd: see etcd.endpoints"),
        keys: &[
            Key::list(
                "process.roles",
                "",
                "Roles of a KRaft node. ketcd is always a broker; its controller is elected among brokers.",
            )
            .unset()
            .check(Check::ListOf(&["broker", "controller"], false))
            .high()
            .see(&["etcd.endpoints"]),
            Key::list(
                "controller.listener.names",
                "",
                "Listeners of a KRaft controller. A listener named here is not opened.",
            )
            .unset()
            .non_empty()
            .high(),
            Key::list("controller.quorum.voters", "", "Voters of the metadata quorum.")
                .high()
                .see(&["etcd.endpoints"]),
            Key::list("controller.quorum.bootstrap.servers", "", "Addresses to find the metadata quorum.")
                .high(),
            Key::int("controller.quorum.append.linger.ms", "25", "How long a quorum leader gathers writes.")
                .at_least(0),
            Key::boolean(
                "controller.quorum.auto.join.enable",
                "false",
                "Let a controller join the quorum by itself.",
            )
            .low(),
            Key::int(
                "controller.quorum.election.backoff.max.ms",
                "1000",
                "Longest pause between elections of the quorum.",
            )
            .at_least(0)
            .high(),
            Key::int(
                "controller.quorum.election.timeout.ms",
                "1000",
                "How long a voter waits before it starts an election.",
            )
            .at_least(0)
            .high(),
            Key::int("controller.quorum.fetch.max.bytes", "1048576", "Bytes per fetch of the metadata log.")
                .at_least(1)
                .low(),
            Key::int(
                "controller.quorum.fetch.snapshot.max.bytes",
                "1048576",
                "Bytes per fetch of a metadata snapshot.",
            )
            .at_least(1)
            .low(),
            Key::int(
                "controller.quorum.fetch.timeout.ms",
                "2000",
                "How long a follower of the quorum goes without a fetch.",
            )
            .at_least(0)
            .high(),
            Key::int(
                "controller.quorum.request.timeout.ms",
                "2000",
                "How long a request in the quorum may take.",
            )
            .at_least(0),
            Key::int(
                "controller.quorum.retry.backoff.ms",
                "20",
                "Pause before a request in the quorum is sent again.",
            )
            .at_least(0)
            .low(),
            Key::int("controller.socket.timeout.ms", "30000", "Network timeout towards controllers."),
            Key::long(
                "controller.performance.always.log.threshold.ms",
                "2000",
                "Controller events slower than this are logged.",
            )
            .at_least(0)
            .internal(),
            Key::long(
                "controller.performance.sample.period.ms",
                "60000",
                "Period of the controller's statistics.",
            )
            .at_least(100)
            .internal(),
            Key::string("metadata.log.dir", "", "Directory of the metadata log.").unset().high(),
            Key::long(
                "metadata.log.max.record.bytes.between.snapshots",
                "20971520",
                "Bytes of metadata between two snapshots.",
            )
            .at_least(1)
            .high(),
            Key::long("metadata.log.max.snapshot.interval.ms", "3600000", "Time between two snapshots.")
                .at_least(0)
                .high(),
            Key::int("metadata.log.segment.bytes", "1073741824", "Segment size of the metadata log.")
                .at_least(8388608)
                .high(),
            Key::long("metadata.log.segment.ms", "604800000", "Segment age of the metadata log.").high(),
            Key::int(
                "metadata.max.idle.interval.ms",
                "500",
                "Time between no-op records in the metadata log.",
            )
            .at_least(0)
            .low(),
            Key::long(
                "metadata.max.retention.bytes",
                "104857600",
                "Size of the metadata log above which old parts go.",
            )
            .high(),
            Key::long(
                "metadata.max.retention.ms",
                "604800000",
                "Age at which old parts of the metadata log go.",
            )
            .high(),
            Key::long(
                "internal.metadata.delete.delay.millis",
                "60000",
                "Delay before files of the metadata log are removed.",
            )
            .low()
            .internal(),
            Key::int(
                "internal.metadata.log.segment.bytes",
                "",
                "Segment size of the metadata log, for tests.",
            )
            .unset()
            .low()
            .internal(),
            Key::int(
                "internal.metadata.max.batch.size.in.bytes",
                "8388608",
                "Largest batch in the metadata log.",
            )
            .low()
            .internal(),
        ],
    },
    Section {
        title: "Metrics of the JVM",
        tier: Tier::NoEffect("ketcd serves its metrics at admin.listen, path /metrics"),
        keys: &[
            Key::list(
                "metric.reporters",
                "org.apache.kafka.common.metrics.JmxReporter",
                "Classes that export metrics.",
            )
            .low()
            .cluster_wide(),
            Key::int("metrics.num.samples", "2", "Samples of a metric.").at_least(1).low(),
            Key::long("metrics.sample.window.ms", "30000", "Length of a sample of a metric.")
                .at_least(1)
                .low(),
            Key::string("metrics.recording.level", "INFO", "How detailed metrics are.").low(),
            Key::list("kafka.metrics.reporters", "", "Classes that export older metrics.").low(),
            Key::int(
                "kafka.metrics.polling.interval.secs",
                "10",
                "Time between two readings for those classes.",
            )
            .at_least(1)
            .low(),
            Key::int("telemetry.max.bytes", "1048576", "Largest push of metrics from a client.")
                .at_least(1)
                .low(),
        ],
    },
];
