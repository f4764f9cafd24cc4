//! The command line: its top level, and the options of the commands that run a broker.

use clap::{Parser, Subcommand};

use super::cluster::ClusterArgs;
use super::config::ConfigCommand;
use super::group::GroupCommand;
use super::log::LogCommand;
use super::meta::MetaCommand;
use super::perf::PerfCommand;
use super::topic::TopicCommand;
use super::version::VersionArgs;
use super::why::WhyArgs;

/// The first screen: at most 24 lines of 80 columns (a test holds it to that, and to naming every command).
const FIRST_SCREEN: &str = "\
{name} {version}: a Kafka broker whose cluster metadata lives in etcd

Usage: {usage}

Run a broker
  dev      one broker with its own metadata store, for development
  broker   a broker of a cluster
Use a cluster: any Kafka broker will do
  topic    create, list, describe, alter, delete, produce, consume, trim
  group    list, describe, lag, seek, delete
  cluster  brokers and health on one screen; drain, unregister
  perf     measure a broker: produce, consume, e2e
Look inside
  config   configuration keys: list, explain, check, show
  log      segment files: dump, verify
  meta     metadata in etcd: get, watch
  why      a partition: who leads it, who is in sync, who changed it and why
  version  what this program is
Options: -h, --help (with a command: its options and examples); -V, --version
Try: ketcd dev, and in another terminal: ketcd topic create hello -p 3
     echo hi | ketcd topic produce hello; ketcd topic consume hello --from start
Exit: 0 done, 1 failed, 2 usage, 69 unreachable, 70 bug, 75 try later, 78 config
";

/// The whole command line.
#[derive(Debug, Parser)]
#[command(
    name = "ketcd",
    version,
    help_template = FIRST_SCREEN,
    override_usage = "ketcd <COMMAND> [OPTIONS]",
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    max_term_width = 100
)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run one broker with its own metadata store, for development
    Dev(DevArgs),
    /// Run a broker of a cluster
    Broker(BrokerArgs),
    /// Topics and their records
    #[command(subcommand)]
    Topic(TopicCommand),
    /// Consumer groups and their offsets
    #[command(subcommand)]
    Group(GroupCommand),
    /// Brokers and health on one screen
    Cluster(ClusterArgs),
    /// Measure a broker with pre-encoded batches
    #[command(subcommand)]
    Perf(PerfCommand),
    /// Configuration keys: list, explain, check, show
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Segment files, without a broker
    #[command(subcommand)]
    Log(LogCommand),
    /// Metadata in etcd, decoded
    #[command(subcommand)]
    Meta(MetaCommand),
    /// Who leads a partition, who is in sync, who changed it last and why
    Why(WhyArgs),
    /// What this program is
    Version(VersionArgs),
}

/// Options of `ketcd dev`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  ketcd dev
  ketcd dev --port 19092 --ephemeral
  ketcd dev --nodes 3
  ketcd dev --data /tmp/k --set auto.create.topics.enable=false --set log.retention.hours=1")]
pub struct DevArgs {
    /// Port for Kafka clients; admin takes P+100, the metadata store P+200; 0 lets the system choose all three [default: 9092]
    #[arg(short = 'p', long, value_name = "P", env = "KETCD_PORT")]
    pub port: Option<u16>,
    /// Directory of the data; reused if it is there [default: ./ketcd-data]
    #[arg(long, value_name = "DIR", env = "KETCD_DATA")]
    pub data: Option<std::path::PathBuf>,
    /// Run a cluster of N nodes, each a process of its own, on ports P, P+1, ...; data in ./ketcd-cluster unless --data says else
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=i64::from(super::nodes::NODES_MAX)))]
    pub nodes: Option<u8>,
    /// Keep nothing: the data is gone when the broker stops
    #[arg(long, conflicts_with = "data")]
    pub ephemeral: bool,
    /// Set a configuration key (repeatable; see `ketcd config list`)
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = super::topic::key_value)]
    pub set: Vec<(String, String)>,
    /// What to log: error, warn, info, debug, trace, or tracing directives
    #[arg(long, value_name = "LEVEL", env = "KETCD_LOG_LEVEL")]
    pub log_level: Option<String>,
}

/// Options of `ketcd broker`.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "\
Examples:
  ketcd broker --config /etc/ketcd/ketcd.toml
  ketcd broker --config server.properties --set etcd.endpoints=http://etcd-0:2379,http://etcd-1:2379
  KETCD_NODE_ID=3 KETCD_ETCD_ENDPOINTS=http://etcd:2379 ketcd broker")]
pub struct BrokerArgs {
    /// Configuration file: Kafka's server.properties, or TOML
    #[arg(short = 'c', long, value_name = "FILE", env = "KETCD_CONFIG")]
    pub config: Option<std::path::PathBuf>,
    /// Set a configuration key (repeatable; wins over file and environment)
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = super::topic::key_value)]
    pub set: Vec<(String, String)>,
    /// What to log: error, warn, info, debug, trace, or tracing directives
    #[arg(long, value_name = "LEVEL", env = "KETCD_LOG_LEVEL")]
    pub log_level: Option<String>,
}
