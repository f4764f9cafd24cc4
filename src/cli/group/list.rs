//! `ketcd group list`: ListGroups of every broker.

use serde::Serialize;

use super::coordinator::Groups;
use crate::cli::client::{ConnectArgs, text};
use crate::cli::exit::Outcome;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::protocol::peer::messages::ListGroupsRequest;

/// Options of `ketcd group list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ketcd group list
  ketcd group list --state Stable --state Empty --type consumer
  ketcd group list -o json | jq -r '.[].group'

States: Empty, PreparingRebalance, CompletingRebalance, Stable, Assigning, Reconciling, Dead.
Types: classic, consumer (KIP-848).")]
pub struct ListArgs {
    /// Only groups in this state (repeatable)
    #[arg(long, value_name = "STATE")]
    state: Vec<String>,
    /// Only groups of this type (repeatable)
    #[arg(long = "type", value_name = "TYPE")]
    kind: Vec<String>,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// One group, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Row {
    group: String,
    #[serde(rename = "type")]
    kind: String,
    state: String,
    protocol_type: String,
    coordinator: i32,
}

/// Runs the command.
///
/// # Errors
/// What to tell the user.
pub async fn run(args: ListArgs) -> Outcome {
    let mut groups = Groups::connect(&args.connect).await?;
    let request = |version| {
        let mut request = ListGroupsRequest::default();
        if version >= 4 {
            request = request.with_states_filter(args.state.iter().map(|s| text(s)).collect());
        }
        if version >= 5 {
            request = request.with_types_filter(args.kind.iter().map(|t| text(t)).collect());
        }
        request
    };
    let mut rows: Vec<Row> = Vec::new();
    for (coordinator, answer) in groups.ask_all(request, |answer| answer.error_code).await? {
        rows.extend(answer.groups.into_iter().map(|group| Row {
            group: group.group_id.to_string(),
            kind: group.group_type.to_string(),
            state: group.group_state.to_string(),
            protocol_type: group.protocol_type.to_string(),
            coordinator,
        }));
    }
    // Old brokers do not filter.
    let wanted = |filter: &[String], value: &str| {
        filter.is_empty() || filter.iter().any(|one| one.eq_ignore_ascii_case(value))
    };
    rows.retain(|row| wanted(&args.state, &row.state) && wanted(&args.kind, &row.kind));
    rows.sort_by(|a, b| a.group.cmp(&b.group));
    if args.output.format == Format::Json {
        return output::json(&rows);
    }
    if rows.is_empty() && args.output.format != Format::Plain {
        eprintln!("no groups");
        return Ok(());
    }
    let mut table = Table::new(&["GROUP", "TYPE", "STATE", "PROTOCOL"]).wide(&["COORDINATOR"]);
    for row in &rows {
        table.row(&[&row.group, &row.kind, &row.state, &row.protocol_type, &row.coordinator]);
    }
    table.print(args.output.format)
}
