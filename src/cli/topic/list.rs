//! `ketcd topic list`: Metadata of all topics.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::cli::client::{Cluster, ConnectArgs};
use crate::cli::exit::Outcome;
use crate::cli::output::{self, Format, OutputArgs, Table};
use crate::protocol::peer::messages::metadata_response::MetadataResponseTopic;
use crate::types::ids::encode_uuid;

/// Options of `ketcd topic list`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ketcd topic list
  ketcd topic list --internal -o wide
  ketcd topic list -o json | jq -r '.[].name'")]
pub struct ListArgs {
    /// Show internal topics too
    #[arg(long)]
    internal: bool,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// One topic, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Row {
    name: String,
    id: Option<String>,
    internal: bool,
    partitions: usize,
    replication_factor: usize,
    leaderless_partitions: usize,
    under_replicated_partitions: usize,
}

impl Row {
    fn of(topic: &MetadataResponseTopic) -> Self {
        let partitions = &topic.partitions;
        Self {
            name: topic.name.as_ref().map(|name| name.to_string()).unwrap_or_default(),
            id: (!topic.topic_id.is_nil()).then(|| encode_uuid(topic.topic_id)),
            internal: topic.is_internal,
            partitions: partitions.len(),
            replication_factor: partitions.iter().map(|p| p.replica_nodes.len()).max().unwrap_or_default(),
            leaderless_partitions: partitions.iter().filter(|p| p.leader_id.0 < 0).count(),
            under_replicated_partitions: partitions
                .iter()
                .filter(|p| is_under_replicated(&p.replica_nodes, &p.isr_nodes))
                .count(),
        }
    }
}

/// Whether a replica is not in sync.
#[must_use]
pub fn is_under_replicated<T: Ord>(replicas: &[T], isr: &[T]) -> bool {
    let isr: BTreeSet<_> = isr.iter().collect();
    replicas.iter().any(|replica| !isr.contains(replica))
}

/// Runs the command.
///
/// # Errors
/// What to tell the user.
pub async fn run(args: ListArgs) -> Outcome {
    let mut cluster = Cluster::connect(&args.connect).await?;
    let metadata = cluster.refresh(None).await?;
    let mut rows: Vec<Row> =
        metadata.topics.iter().filter(|topic| args.internal || !topic.is_internal).map(Row::of).collect();
    rows.sort_by(|a, b| a.name.cmp(&b.name));
    if args.output.format == Format::Json {
        return output::json(&rows);
    }
    if rows.is_empty() && args.output.format != Format::Plain {
        eprintln!("no topics yet; create one: ketcd topic create NAME");
        return Ok(());
    }
    let mut table = Table::new(&["NAME", "PARTITIONS", "REPLICAS", "HEALTH"]).wide(&["ID", "INTERNAL"]);
    for row in &rows {
        let health = match (row.leaderless_partitions, row.under_replicated_partitions) {
            (0, 0) => "ok".to_owned(),
            (0, behind) => format!("{behind} under-replicated"),
            (none, _) => format!("{none} without leader"),
        };
        let id = row.id.clone().unwrap_or_default();
        table.row(&[&row.name, &row.partitions, &row.replication_factor, &health, &id, &row.internal]);
    }
    table.print(args.output.format)
}
