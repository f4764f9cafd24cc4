//! Where a value comes from.

use std::fmt;

/// How ketcd was started: decides the defaults that lie under everything a user sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// `ketcd dev`: one node, embedded metadata, small internal topics.
    Dev,
    /// `ketcd broker`: Kafka's defaults.
    Broker,
}

impl Mode {
    /// What the mode sets, as key and value, over the built-in defaults.
    #[must_use]
    pub const fn bundle(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Broker => &[],
            Self::Dev => &[
                ("cluster.name", "dev"),
                ("etcd.endpoints", "embedded"),
                ("etcd.embedded.listen", "127.0.0.1:9292"),
                ("listeners", "PLAINTEXT://127.0.0.1:9092"),
                ("log.dirs", "./ketcd-data"),
                ("offsets.topic.num.partitions", "3"),
                ("offsets.topic.replication.factor", "1"),
                ("transaction.state.log.num.partitions", "3"),
                ("transaction.state.log.replication.factor", "1"),
                ("transaction.state.log.min.isr", "1"),
                ("share.coordinator.state.topic.num.partitions", "3"),
                ("share.coordinator.state.topic.replication.factor", "1"),
                ("share.coordinator.state.topic.min.isr", "1"),
                ("group.initial.rebalance.delay.ms", "0"),
            ],
        }
    }
}

/// Where a value comes from. Ordered by precedence, lowest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The key's default.
    Default,
    /// What [`Mode::bundle`] sets.
    Mode,
    /// A line of a configuration file.
    File {
        /// The file as it was named.
        path: String,
        /// The line, from 1.
        line: usize,
    },
    /// An environment variable.
    Env {
        /// Its name.
        name: String,
    },
    /// A flag of the command line, as written.
    Flag {
        /// `--port`, or `--set key=value`.
        flag: String,
    },
    /// Worked out from other values or from the machine; says from what.
    Derived {
        /// For example `POD_INDEX`.
        from: String,
    },
    /// The dynamic configuration of all brokers.
    DynamicDefault,
    /// The dynamic configuration of one broker.
    DynamicBroker,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Mode => f.write_str("ketcd dev"),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Env { name } => f.write_str(name),
            Self::Flag { flag } => f.write_str(flag),
            Self::Derived { from } => write!(f, "from {from}"),
            Self::DynamicDefault => f.write_str("dynamic, all brokers"),
            Self::DynamicBroker => f.write_str("dynamic, this broker"),
        }
    }
}

impl Origin {
    /// The origin as the place line of a report.
    #[must_use]
    pub fn place(&self) -> String {
        match self {
            Self::Env { name } => format!("environment variable {name}"),
            Self::Flag { flag } => format!("command line: {flag}"),
            other => other.to_string(),
        }
    }
}
