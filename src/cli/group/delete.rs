//! `ketcd group delete`: DeleteGroups, or OffsetDelete of some topics.

use serde::Serialize;

use super::committed::committed;
use super::coordinator::{Groups, group_id};
use super::members::describe_existing;
use super::seek::refuse_if_active;
use crate::cli::client::{ConnectArgs, topic_name};
use crate::cli::exit::{CliError, Outcome};
use crate::cli::output::{self, Format, OutputArgs, count};
use crate::cli::topic::delete::confirm;
use crate::cli::topic::first_error;
use crate::protocol::error::ErrorCode;
use crate::protocol::peer::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use crate::protocol::peer::messages::{DeleteGroupsRequest, OffsetDeleteRequest};

/// Options of `ketcd group delete`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ketcd group delete billing --dry-run
  ketcd group delete billing reports --yes
  ketcd group delete billing --topic orders --yes      only its offsets of one topic")]
pub struct DeleteArgs {
    /// Names of the groups
    #[arg(value_name = "GROUP", required = true)]
    groups: Vec<String>,
    /// Only the offsets of this topic, which no member may read (repeatable)
    #[arg(long, value_name = "TOPIC")]
    topic: Vec<String>,
    /// Show what would be deleted, delete nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(short = 'y', long)]
    yes: bool,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// One group, or one topic of it, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Deleted {
    group: String,
    topic: Option<String>,
    offsets: usize,
    deleted: bool,
}

/// Runs the command.
///
/// # Errors
/// What to tell the user.
pub async fn run(args: DeleteArgs) -> Outcome {
    if !args.dry_run {
        let (groups, topics) = (args.groups.join(", "), args.topic.join(", "));
        confirm(
            args.yes,
            &match topics.as_str() {
                "" => format!("delete {groups} and all committed offsets"),
                _ => format!("delete the offsets of {groups} in {topics}"),
            },
        )?;
    }
    let mut groups = Groups::connect(&args.connect).await?;
    let mut deleted = Vec::new();
    let mut errors = Vec::new();
    for group in &args.groups {
        let done = if args.topic.is_empty() {
            delete_group(&mut groups, group, args.dry_run).await.map(|one| vec![one])
        } else {
            delete_offsets(&mut groups, group, &args.topic, args.dry_run).await
        };
        match done {
            Ok(rows) => deleted.extend(rows),
            Err(error) => errors.push(error),
        }
    }
    match args.output.format {
        Format::Json => output::json(&deleted)?,
        _ => output::text(&deleted.iter().map(line).collect::<String>())?,
    }
    first_error(errors)
}

fn line(row: &Deleted) -> String {
    let verb = if row.deleted { "deleted" } else { "would delete" };
    let offsets = count(row.offsets, "offset");
    match &row.topic {
        Some(topic) => format!("{verb} {offsets} of {} in {topic}\n", row.group),
        None => format!("{verb} {} with {offsets}\n", row.group),
    }
}

async fn delete_group(groups: &mut Groups, name: &str, dry_run: bool) -> Outcome<Deleted> {
    let group = describe_existing(groups, name).await?;
    refuse_if_active(&group, "deleted")?;
    let offsets = committed(groups, name).await?.values().map(|partitions| partitions.len()).sum();
    if !dry_run {
        let request = |_| DeleteGroupsRequest::default().with_groups_names(vec![group_id(name)]);
        let answer =
            groups.ask(name, request, |a| a.results.first().map_or(0, |result| result.error_code)).await?;
        let code = answer.results.first().map_or(0, |result| result.error_code);
        if code != ErrorCode::None.code() {
            let what = format!("group {name:?} was not deleted");
            return Err(CliError::from_code(&what, code, None).at(groups.cluster.address()));
        }
    }
    Ok(Deleted { group: name.to_owned(), topic: None, offsets, deleted: !dry_run })
}

async fn delete_offsets(
    groups: &mut Groups,
    name: &str,
    topics: &[String],
    dry_run: bool,
) -> Outcome<Vec<Deleted>> {
    describe_existing(groups, name).await?;
    let mut committed = committed(groups, name).await?;
    committed.retain(|topic, _| topics.contains(topic));
    let request = |_| {
        let topics = committed.iter().map(|(topic, partitions)| {
            let partitions = partitions
                .keys()
                .map(|partition| OffsetDeleteRequestPartition::default().with_partition_index(*partition));
            OffsetDeleteRequestTopic::default()
                .with_name(topic_name(topic))
                .with_partitions(partitions.collect())
        });
        OffsetDeleteRequest::default().with_group_id(group_id(name)).with_topics(topics.collect())
    };
    if !dry_run && !committed.is_empty() {
        let answer = groups.ask(name, request, |answer| answer.error_code).await?;
        let of_partitions = answer.topics.iter().flat_map(|topic| {
            let what =
                move |partition| format!("the offset of {}-{partition} was not deleted", topic.name.as_str());
            topic.partitions.iter().map(move |p| (what(p.partition_index), p.error_code))
        });
        let of_group = (format!("offsets of group {name:?} were not deleted"), answer.error_code);
        let failed = std::iter::once(of_group).chain(of_partitions).find(|(_, code)| *code != 0);
        if let Some((what, code)) = failed {
            return Err(CliError::from_code(&what, code, None).at(groups.cluster.address()));
        }
    }
    let rows = topics.iter().map(|topic| Deleted {
        group: name.to_owned(),
        topic: Some(topic.clone()),
        offsets: committed.get(topic).map_or(0, |partitions| partitions.len()),
        deleted: !dry_run,
    });
    Ok(rows.collect())
}
