//! `ketcd topic alter`: CreatePartitions and IncrementalAlterConfigs.

use serde::Serialize;

use super::{configs, key_value};
use crate::cli::client::{Cluster, ConnectArgs, topic_name};
use crate::cli::exit::{CliError, Outcome};
use crate::cli::output::{self, Format, OutputArgs, count};
use crate::protocol::error::ErrorCode;
use crate::protocol::peer::messages::CreatePartitionsRequest;
use crate::protocol::peer::messages::create_partitions_request::CreatePartitionsTopic;

/// Options of `ketcd topic alter`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ketcd topic alter orders -p 24
  ketcd topic alter orders -c retention.ms=3600000 -c min.insync.replicas=2
  ketcd topic alter orders --delete-config retention.ms")]
#[group(id = "change", required = true, multiple = true, args = ["partitions", "set", "unset"])]
pub struct AlterArgs {
    /// Name of the topic
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// New number of partitions, more than now
    #[arg(short = 'p', long, value_name = "N")]
    partitions: Option<i32>,
    /// Set a configuration (repeatable)
    #[arg(short = 'c', long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
    set: Vec<(String, String)>,
    /// Unset a configuration: the broker's value counts again (repeatable)
    #[arg(long = "delete-config", value_name = "KEY")]
    unset: Vec<String>,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// What was changed, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Altered {
    name: String,
    partitions: Option<i32>,
    configs_set: Vec<String>,
    configs_deleted: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// What to tell the user.
pub async fn run(args: AlterArgs) -> Outcome {
    let mut cluster = Cluster::connect(&args.connect).await?;
    if !args.set.is_empty() || !args.unset.is_empty() {
        configs::alter(&mut cluster, &args.topic, &args.set, &args.unset).await?;
    }
    if let Some(total) = args.partitions {
        add_partitions(&mut cluster, &args.topic, total).await?;
    }
    let altered = Altered {
        name: args.topic,
        partitions: args.partitions,
        configs_set: args.set.into_iter().map(|(key, _)| key).collect(),
        configs_deleted: args.unset,
    };
    match args.output.format {
        Format::Json => output::json(&altered),
        _ => output::text(&sentence(&altered)),
    }
}

async fn add_partitions(cluster: &mut Cluster, topic: &str, total: i32) -> Outcome {
    let request = CreatePartitionsRequest::default()
        .with_topics(vec![
            CreatePartitionsTopic::default()
                .with_name(topic_name(topic))
                .with_count(total)
                .with_assignments(None),
        ])
        .with_timeout_ms(cluster.timeout_ms());
    let answer = cluster.ask(&request).await?;
    match answer.results.iter().find(|result| result.error_code != ErrorCode::None.code()) {
        Some(refused) => {
            let what = format!("topic {topic:?} did not get {total} partitions");
            Err(CliError::from_code(&what, refused.error_code, refused.error_message.as_deref())
                .at(cluster.address()))
        }
        None => Ok(()),
    }
}

fn sentence(altered: &Altered) -> String {
    let partitions = altered.partitions.and_then(|n| usize::try_from(n).ok());
    let parts = [
        partitions.map(|n| count(n, "partition")),
        (!altered.configs_set.is_empty()).then(|| format!("set {}", altered.configs_set.join(", "))),
        (!altered.configs_deleted.is_empty())
            .then(|| format!("unset {}", altered.configs_deleted.join(", "))),
    ];
    format!("altered {}: {}\n", altered.name, parts.into_iter().flatten().collect::<Vec<_>>().join("; "))
}
