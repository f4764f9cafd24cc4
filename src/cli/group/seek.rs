//! `ketcd group seek`: commits other offsets for a group that nobody is in.

use super::committed::{Offsets, commit, committed};
use super::coordinator::Groups;
use super::members::{Group, describe};
use super::plan::{Destination, Move};
use crate::cli::client::ConnectArgs;
use crate::cli::exit::{CliError, Outcome};
use crate::cli::output::{self, Format, OutputArgs, Table, count};
use crate::cli::topic::delete::confirm;

/// Options of `ketcd group seek`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ketcd group seek billing --topic orders --to-earliest --dry-run
  ketcd group seek billing --topic orders --partition 0 --shift-by -10 --yes
  ketcd group seek billing --all-topics --to-datetime 2026-01-31T12:00:00Z --yes
  ketcd group seek billing --topic orders --by-duration 90m

An offset outside of the log is moved to its nearer end. The group must have no members.")]
pub struct SeekArgs {
    /// Name of the group
    #[arg(value_name = "GROUP")]
    group: String,
    /// In this topic (repeatable)
    #[arg(long, value_name = "TOPIC", required_unless_present = "all_topics")]
    topic: Vec<String>,
    /// In every partition that the group has an offset for
    #[arg(long, conflicts_with_all = ["topic", "partition"])]
    all_topics: bool,
    /// Only this partition (repeatable)
    #[arg(long, value_name = "N")]
    partition: Vec<i32>,
    #[command(flatten)]
    destination: Destination,
    /// Show what would change, change nothing
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

/// Runs the command.
///
/// # Errors
/// What to tell the user.
pub async fn run(args: SeekArgs) -> Outcome {
    if !args.dry_run {
        confirm(args.yes, &format!("move the committed offsets of group {}", args.group))?;
    }
    let mut groups = Groups::connect(&args.connect).await?;
    if let Some(group) = describe(&mut groups, &args.group).await? {
        refuse_if_active(&group, "moved")?;
    }
    let before = committed(&mut groups, &args.group).await?;
    let moves = plan(&mut groups, &args, &before).await?;
    if !args.dry_run {
        let mut after = Offsets::new();
        for one in &moves {
            after.entry(one.topic.clone()).or_default().insert(one.partition, one.after);
        }
        commit(&mut groups, &args.group, &after).await?;
    }
    print(&moves, args.output.format)?;
    if args.dry_run {
        eprintln!("dry run: {} would be committed; nothing was changed", count(moves.len(), "offset"));
    }
    Ok(())
}

async fn plan(groups: &mut Groups, args: &SeekArgs, before: &Offsets) -> Outcome<Vec<Move>> {
    if args.all_topics && before.is_empty() {
        return Err(CliError::failure(format!("group {:?} has no committed offsets", args.group))
            .help("name the topics: --topic TOPIC"));
    }
    let none = Default::default();
    let mut moves = Vec::new();
    if args.all_topics {
        for (topic, committed) in before {
            let partitions: Vec<i32> = committed.keys().copied().collect();
            let cluster = &mut groups.cluster;
            moves.extend(args.destination.moves(cluster, topic, &partitions, committed).await?);
        }
    } else {
        for topic in &args.topic {
            let committed = before.get(topic).unwrap_or(&none);
            let cluster = &mut groups.cluster;
            moves.extend(args.destination.moves(cluster, topic, &args.partition, committed).await?);
        }
    }
    Ok(moves)
}

/// The members of a group that has some would not know, and commit over it.
///
/// # Errors
/// If it has members.
pub fn refuse_if_active(group: &Group, done: &str) -> Outcome {
    if !group.is_active() {
        return Ok(());
    }
    let (name, state) = (&group.group, &group.state);
    let members = count(group.members.len(), "member");
    Err(CliError::failure(format!("group {name:?} is active ({state}, {members}): nothing was {done}"))
        .help("stop its consumers first; a member that died is gone when its session timeout has passed")
        .help(format!("who they are: ketcd group describe {name}")))
}

fn print(moves: &[Move], format: Format) -> Outcome {
    if format == Format::Json {
        return output::json(moves);
    }
    let mut table = Table::new(&["TOPIC", "PARTITION", "BEFORE", "AFTER"]).wide(&["START", "END"]);
    for one in moves {
        let before = one.before.map(|offset| offset.to_string()).unwrap_or_default();
        table.row(&[&one.topic, &one.partition, &before, &one.after, &one.start, &one.end]);
    }
    table.print(format)
}
