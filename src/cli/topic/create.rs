//! `ketcd topic create`: CreateTopics.

use serde::Serialize;

use super::{first_error, key_value};
use crate::cli::client::{Cluster, ConnectArgs, text, topic_name};
use crate::cli::exit::{CliError, Outcome};
use crate::cli::output::{self, Format, OutputArgs, Table, count};
use crate::protocol::error::ErrorCode;
use crate::protocol::peer::messages::CreateTopicsRequest;
use crate::protocol::peer::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use crate::protocol::peer::messages::create_topics_response::CreatableTopicResult;
use crate::types::ids::encode_uuid;

/// Options of `ketcd topic create`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ketcd topic create orders -p 12
  ketcd topic create orders -p 12 -r 3 -c retention.ms=86400000 -c compression.type=zstd
  ketcd topic create a b c --if-not-exists")]
pub struct CreateArgs {
    /// Names of the topics
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<String>,
    /// Partitions; -1 takes the broker's num.partitions
    #[arg(short = 'p', long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    partitions: i32,
    /// Replicas of each partition; -1 takes the broker's default.replication.factor
    #[arg(
        short = 'r',
        long = "replication-factor",
        value_name = "N",
        default_value_t = -1,
        allow_negative_numbers = true
    )]
    replication_factor: i16,
    /// A topic configuration (repeatable)
    #[arg(short = 'c', long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
    configs: Vec<(String, String)>,
    /// A topic that exists is no error
    #[arg(long)]
    if_not_exists: bool,
    /// Only check whether it would work
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// One created topic, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Created {
    name: String,
    id: Option<String>,
    partitions: Option<i32>,
    replication_factor: Option<i16>,
    created: bool,
}

/// Runs the command.
///
/// # Errors
/// What to tell the user.
pub async fn run(args: CreateArgs) -> Outcome {
    let mut cluster = Cluster::connect(&args.connect).await?;
    let configs: Vec<_> = args
        .configs
        .iter()
        .map(|(key, value)| {
            CreatableTopicConfig::default().with_name(text(key)).with_value(Some(text(value)))
        })
        .collect();
    let topics = args.topics.iter().map(|name| {
        CreatableTopic::default()
            .with_name(topic_name(name))
            .with_num_partitions(args.partitions)
            .with_replication_factor(args.replication_factor)
            .with_configs(configs.clone())
    });
    let request = CreateTopicsRequest::default()
        .with_topics(topics.collect())
        .with_timeout_ms(cluster.timeout_ms())
        .with_validate_only(args.dry_run);
    let answer = cluster.ask(&request).await?;
    let mut errors = Vec::new();
    let mut created = Vec::new();
    for topic in &answer.topics {
        let exists = topic.error_code == ErrorCode::TopicAlreadyExists.code();
        if topic.error_code == ErrorCode::None.code() || exists && args.if_not_exists {
            created.push(report(topic, !exists && !args.dry_run));
        } else {
            let what = format!("topic {:?} was not created", topic.name.as_str());
            errors.push(
                CliError::from_code(&what, topic.error_code, topic.error_message.as_deref())
                    .at(cluster.address()),
            );
        }
    }
    show(&created, args.dry_run, args.output.format)?;
    first_error(errors)
}

fn report(topic: &CreatableTopicResult, created: bool) -> Created {
    Created {
        name: topic.name.to_string(),
        id: (!topic.topic_id.is_nil()).then(|| encode_uuid(topic.topic_id)),
        partitions: (topic.num_partitions >= 0).then_some(topic.num_partitions),
        replication_factor: (topic.replication_factor >= 0).then_some(topic.replication_factor),
        created,
    }
}

fn show(created: &[Created], dry_run: bool, format: Format) -> Outcome {
    match format {
        Format::Json => output::json(created),
        Format::Plain => {
            let mut table = Table::new(&["NAME"]);
            created.iter().for_each(|topic| table.row(&[&topic.name]));
            table.print(format)
        }
        Format::Table | Format::Wide => {
            output::text(&created.iter().map(|topic| sentence(topic, dry_run) + "\n").collect::<String>())
        }
    }
}

fn sentence(topic: &Created, dry_run: bool) -> String {
    let verb = match (topic.created, dry_run) {
        (true, _) => "created",
        (false, true) => "would create",
        (false, false) => "exists already:",
    };
    let partitions = topic.partitions.and_then(|n| usize::try_from(n).ok());
    let shape = partitions.map(|n| format!("  {}", count(n, "partition"))).unwrap_or_default();
    let replicas = topic.replication_factor.map(|n| format!("  replication factor {n}")).unwrap_or_default();
    format!("{verb} {}{shape}{replicas}", topic.name)
}
