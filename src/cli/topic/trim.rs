//! `ketcd topic trim`: DeleteRecords.

use std::collections::BTreeMap;

use serde::Serialize;

use super::delete::confirm;
use super::start::Start;
use crate::cli::client::{Cluster, ConnectArgs, by_leader, topic_name};
use crate::cli::exit::{CliError, Outcome};
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::protocol::error::ErrorCode;
use crate::protocol::peer::messages::DeleteRecordsRequest;
use crate::protocol::peer::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};

/// Options of `ketcd topic trim`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ketcd topic trim orders --before end --yes          empty the topic, keep the topic
  ketcd topic trim orders --before 7d --yes           drop what is older than seven days
  ketcd topic trim orders --partition 0 --before 1200 --yes")]
pub struct TrimArgs {
    /// Name of the topic
    #[arg(value_name = "TOPIC")]
    topic: String,
    /// The first offset to keep: OFFSET, end, -N (keep the last N), @MILLIS, RFC 3339 time, or an age such as 7d
    #[arg(long, value_name = "WHERE", allow_hyphen_values = true)]
    before: Start,
    /// Only this partition (repeatable)
    #[arg(long, value_name = "N")]
    partition: Vec<i32>,
    /// Do not ask
    #[arg(short = 'y', long)]
    yes: bool,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// One partition, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Trimmed {
    partition: i32,
    start_offset: i64,
}

/// Runs the command.
///
/// # Errors
/// What to tell the user.
pub async fn run(args: TrimArgs) -> Outcome {
    confirm(args.yes, &format!("delete the first records of {}", args.topic))?;
    let mut cluster = Cluster::connect(&args.connect).await?;
    let topic = cluster.topic(&args.topic).await?;
    let starts: BTreeMap<i32, i64> = args.before.resolve(&mut cluster, &topic, &args.partition).await?;
    let mut trimmed = Vec::new();
    for (leader, partitions) in by_leader(&topic) {
        let wanted: Vec<_> = partitions
            .iter()
            .filter_map(|partition| {
                let offset = *starts.get(&partition.partition_index)?;
                Some(
                    DeleteRecordsPartition::default()
                        .with_partition_index(partition.partition_index)
                        .with_offset(offset),
                )
            })
            .collect();
        if wanted.is_empty() {
            continue;
        }
        let request =
            DeleteRecordsRequest::default().with_timeout_ms(cluster.timeout_ms()).with_topics(vec![
                DeleteRecordsTopic::default().with_name(topic_name(&args.topic)).with_partitions(wanted),
            ]);
        let answer = cluster.broker(leader).await?.call(&request).await?;
        for result in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            if result.error_code != ErrorCode::None.code() {
                let what = format!("{}-{} was not trimmed", args.topic, result.partition_index);
                return Err(CliError::from_code(&what, result.error_code, None).at(cluster.address()));
            }
            trimmed.push(Trimmed { partition: result.partition_index, start_offset: result.low_watermark });
        }
    }
    trimmed.sort_by_key(|partition| partition.partition);
    if args.output.format == Format::Json {
        return output::json(&trimmed);
    }
    let mut table = Table::new(&["PARTITION", "START"]);
    trimmed.iter().for_each(|partition| table.row(&[&partition.partition, &partition.start_offset]));
    table.print(args.output.format)
}
