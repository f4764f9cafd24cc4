//! The client families: how each is started, and what it cannot do by its nature.

use std::path::{Path, PathBuf};
use std::process::Command;

/// A client of its own origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Family {
    /// librdkafka 2.0 of Debian, the oldest protocol versions in this matrix.
    Kcat,
    /// librdkafka, current.
    ConfluentKafka,
    KafkaPython,
    Aiokafka,
    /// Consumes only in groups, so it writes and administers here.
    Kafkajs,
    /// Apache Kafka's own.
    Java,
    FranzGo,
}

use Family::{Aiokafka, ConfluentKafka, FranzGo, Java, KafkaPython, Kafkajs, Kcat};

impl Family {
    pub const ALL: [Self; 7] = [Kcat, ConfluentKafka, KafkaPython, Aiokafka, Kafkajs, Java, FranzGo];

    pub fn name(self) -> &'static str {
        match self {
            Kcat => "kcat",
            ConfluentKafka => "confluent-kafka",
            KafkaPython => "kafka-python",
            Aiokafka => "aiokafka",
            Kafkajs => "kafkajs",
            Java => "java",
            FranzGo => "franz-go",
        }
    }

    /// Why this client cannot be run here, if it cannot.
    pub fn missing(self) -> Option<String> {
        let (tool, installed) = match self {
            Kcat => ("kcat", None),
            ConfluentKafka | KafkaPython | Aiokafka => ("python3", Some("python/.installed")),
            Kafkajs => ("node", Some("node/.installed")),
            Java => ("java", Some("java/.installed")),
            FranzGo => ("go", Some("go/agent")),
        };
        missing(tool, installed)
    }

    /// The program of this family, told where the broker is.
    pub fn command(self, bootstrap: &str) -> Command {
        let programs = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
        let python = |program: &str| {
            let mut command = Command::new(peers().join("python/bin/python"));
            command.arg("-B").arg(programs.join("python").join(program));
            command
        };
        let mut command = match self {
            Kcat => unreachable!("kcat has no program beside itself"),
            ConfluentKafka => python("client_confluent.py"),
            KafkaPython => python("client_kafka_python.py"),
            Aiokafka => python("client_aiokafka.py"),
            Kafkajs => {
                let mut command = Command::new("node");
                command.env("NODE_PATH", peers().join("node/node_modules"));
                command.env("KAFKAJS_NO_PARTITIONER_WARNING", "1");
                command.arg(programs.join("node/agent.cjs"));
                command
            }
            Java => {
                let mut command = Command::new("java");
                command.args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
                command.arg(format!("{0}/java/classes:{0}/java/lib/*", peers().display()));
                command.arg("Agent");
                command
            }
            FranzGo => Command::new(peers().join("go/agent")),
        };
        command.arg(bootstrap);
        command
    }

    /// Reads records of a partition without a group.
    pub fn consumes(self) -> bool {
        self != Kafkajs
    }

    /// Makes topics, changes their settings, deletes records.
    pub fn administers(self) -> bool {
        self != Kcat
    }

    /// Changes settings one by one (IncrementalAlterConfigs); the others replace all of them (AlterConfigs).
    pub fn alters_incrementally(self) -> bool {
        !matches!(self, Aiokafka | Kafkajs)
    }

    /// Whether a producer with default settings is idempotent.
    pub fn idempotent_by_default(self) -> bool {
        matches!(self, KafkaPython | Java | FranzGo)
    }
}

/// Where `tests/setup/` installs what the tests need.
pub fn peers() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    from("KETCD_PEERS").unwrap_or_else(|| {
        let home = || from("HOME").expect("HOME is set").join(".cache");
        from("XDG_CACHE_HOME").unwrap_or_else(home).join("ketcd-peers")
    })
}

/// Why `tool`, with `installed` below [`peers`], cannot be used.
pub fn missing(tool: &str, installed: Option<&str>) -> Option<String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    if !std::env::split_paths(&path).any(|directory| directory.join(tool).is_file()) {
        return Some(format!("no {tool} here"));
    }
    let installed = peers().join(installed?);
    (!installed.exists()).then(|| format!("{} is not there: run `make peers`", installed.display()))
}
