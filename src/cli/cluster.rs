//! `ketcd cluster`: the truth on one screen.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::client::{Cluster, ConnectArgs};
use super::exit::{CliError, Outcome};
use super::output::{self, Format, OutputArgs, Table, count};
use super::topic::list::is_under_replicated;
use crate::protocol::error::ErrorCode;
use crate::protocol::peer::messages::{DescribeLogDirsRequest, MetadataResponse};

/// Options of `ketcd cluster`.
#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "\
Examples:
  ketcd cluster
  ketcd cluster -b kafka-0:9092 -o json
  ketcd cluster health && echo fine"
)]
pub struct ClusterArgs {
    #[command(subcommand)]
    view: Option<View>,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

#[derive(Debug, clap::Subcommand)]
enum View {
    /// The brokers only
    Brokers(ViewArgs),
    /// One sentence with reasons; exit code 1 if the cluster is not healthy
    Health(ViewArgs),
}

#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ketcd cluster brokers -o wide
  ketcd cluster health -o json")]
struct ViewArgs {
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// The cluster, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Report {
    cluster_id: Option<String>,
    controller: Option<i32>,
    healthy: bool,
    problems: Vec<String>,
    brokers: Vec<Broker>,
    topics: usize,
    partitions: usize,
    leaderless_partitions: usize,
    under_replicated_partitions: usize,
}

#[derive(Debug, Serialize)]
struct Broker {
    id: i32,
    host: String,
    port: i32,
    rack: Option<String>,
    leaders: usize,
    replicas: usize,
    /// Bytes of all partitions in its log directories; none if it does not say.
    size_bytes: Option<u64>,
    reachable: bool,
}

/// Runs the command.
///
/// # Errors
/// What to tell the user; also that the cluster is not healthy.
pub async fn run(args: ClusterArgs) -> Outcome {
    match args.view {
        None => {
            let report = look(&args.connect).await?;
            match args.output.format {
                Format::Json => output::json(&report),
                Format::Plain => brokers_table(&report).print(Format::Plain),
                format => output::text(&screen(&report, format)),
            }
        }
        Some(View::Brokers(view)) => {
            let report = look(&view.connect).await?;
            match view.output.format {
                Format::Json => output::json(&report.brokers),
                format => brokers_table(&report).print(format),
            }
        }
        Some(View::Health(view)) => {
            let report = look(&view.connect).await?;
            match view.output.format {
                Format::Json => output::json(&report)?,
                _ => output::text(&format!("{}\n", sentence(&report)))?,
            }
            if report.healthy { Ok(()) } else { Err(unhealthy(&report)) }
        }
    }
}

fn unhealthy(report: &Report) -> CliError {
    let error = CliError::failure("the cluster is not healthy");
    report.problems.iter().fold(error, |error, problem| error.help(problem.clone()))
}

async fn look(connect: &ConnectArgs) -> Outcome<Report> {
    let mut cluster = Cluster::connect(connect).await?;
    let metadata = cluster.refresh(None).await?.clone();
    let mut sizes = BTreeMap::new();
    let mut silent = BTreeSet::new();
    for broker in &metadata.brokers {
        let id = broker.node_id.0;
        let answer = match cluster.broker(id).await {
            Ok(peer) if peer.serves::<DescribeLogDirsRequest>() => {
                peer.call(&DescribeLogDirsRequest::default().with_topics(None)).await
            }
            Ok(_) => continue,
            Err(_) => {
                silent.insert(id);
                continue;
            }
        };
        let partitions = answer.iter().flat_map(|answer| &answer.results).filter(|dir| dir.error_code == 0);
        let size: i64 = partitions
            .flat_map(|dir| &dir.topics)
            .flat_map(|topic| &topic.partitions)
            .map(|partition| partition.partition_size)
            .sum();
        if answer.is_ok() {
            sizes.insert(id, u64::try_from(size).unwrap_or_default());
        }
    }
    Ok(report(&metadata, &sizes, &silent))
}

fn report(metadata: &MetadataResponse, sizes: &BTreeMap<i32, u64>, silent: &BTreeSet<i32>) -> Report {
    let partitions: Vec<_> = metadata.topics.iter().flat_map(|topic| &topic.partitions).collect();
    let leaderless = partitions.iter().filter(|partition| partition.leader_id.0 < 0).count();
    let behind = partitions
        .iter()
        .filter(|partition| is_under_replicated(&partition.replica_nodes, &partition.isr_nodes))
        .count();
    let brokers: Vec<Broker> = metadata
        .brokers
        .iter()
        .map(|broker| Broker {
            id: broker.node_id.0,
            host: broker.host.to_string(),
            port: broker.port,
            rack: broker.rack.as_ref().map(|rack| rack.to_string()),
            leaders: partitions.iter().filter(|partition| partition.leader_id == broker.node_id).count(),
            replicas: partitions
                .iter()
                .filter(|partition| partition.replica_nodes.contains(&broker.node_id))
                .count(),
            size_bytes: sizes.get(&broker.node_id.0).copied(),
            reachable: !silent.contains(&broker.node_id.0),
        })
        .collect();
    let mut problems = Vec::new();
    for broker in brokers.iter().filter(|broker| !broker.reachable) {
        problems.push(format!("broker {} cannot be reached at {}:{}", broker.id, broker.host, broker.port));
    }
    if leaderless > 0 {
        problems.push(format!("{} without a leader", count(leaderless, "partition")));
    }
    if behind > 0 {
        problems.push(format!("{} under-replicated", count(behind, "partition")));
    }
    for topic in metadata.topics.iter().filter(|topic| topic.error_code != 0) {
        let name = topic.name.as_ref().map(|name| name.to_string()).unwrap_or_default();
        let code = ErrorCode::from_code(topic.error_code).map_or("an unknown error", ErrorCode::name);
        problems.push(format!("topic {name}: {code}"));
    }
    Report {
        cluster_id: metadata.cluster_id.as_ref().map(|id| id.to_string()),
        controller: Some(metadata.controller_id.0).filter(|id| *id >= 0),
        healthy: problems.is_empty(),
        problems,
        brokers,
        topics: metadata.topics.len(),
        partitions: partitions.len(),
        leaderless_partitions: leaderless,
        under_replicated_partitions: behind,
    }
}

fn sentence(report: &Report) -> String {
    let mut line = format!(
        "cluster {}  {}  {}  {}  {}  {} under-replicated",
        report.cluster_id.as_deref().unwrap_or("-"),
        if report.healthy { "healthy" } else { "NOT HEALTHY" },
        count(report.brokers.len(), "broker"),
        count(report.topics, "topic"),
        count(report.partitions, "partition"),
        report.under_replicated_partitions,
    );
    if report.leaderless_partitions > 0 {
        line += &format!("  {} without leader", report.leaderless_partitions);
    }
    line
}

fn screen(report: &Report, format: Format) -> String {
    let mut screen = sentence(report) + "\n";
    for problem in &report.problems {
        screen += &format!("  ! {problem}\n");
    }
    screen + &brokers_table(report).render(format)
}

fn brokers_table(report: &Report) -> Table {
    let mut table =
        Table::new(&["ID", "ADDRESS", "RACK", "LEADERS", "DISK", "STATE"]).wide(&["REPLICAS", "CONTROLLER"]);
    for broker in &report.brokers {
        let address = format!("{}:{}", broker.host, broker.port);
        table.row(&[
            &broker.id,
            &address,
            &broker.rack.as_deref().unwrap_or_default(),
            &broker.leaders,
            &broker.size_bytes.map(output::bytes).unwrap_or_default(),
            &if broker.reachable { "ok" } else { "unreachable" },
            &broker.replicas,
            &if report.controller == Some(broker.id) { "yes" } else { "" },
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::peer::StrBytes;
    use crate::protocol::peer::messages::BrokerId;
    use crate::protocol::peer::messages::metadata_response::{
        MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
    };

    fn metadata(leader: i32, isr: &[i32]) -> MetadataResponse {
        let partition = MetadataResponsePartition::default()
            .with_leader_id(BrokerId(leader))
            .with_replica_nodes(vec![BrokerId(0)])
            .with_isr_nodes(isr.iter().map(|id| BrokerId(*id)).collect());
        MetadataResponse::default()
            .with_cluster_id(Some(StrBytes::from_static_str("dev-7f3a")))
            .with_controller_id(BrokerId(0))
            .with_brokers(vec![
                MetadataResponseBroker::default()
                    .with_node_id(BrokerId(0))
                    .with_host(StrBytes::from_static_str("localhost"))
                    .with_port(9092),
            ])
            .with_topics(vec![MetadataResponseTopic::default().with_partitions(vec![partition])])
    }

    #[test]
    fn the_screen_of_a_healthy_cluster_is_one_sentence_and_a_table() {
        let report = report(&metadata(0, &[0]), &BTreeMap::from([(0, 1_258_291)]), &BTreeSet::new());
        assert_eq!(
            screen(&report, Format::Table),
            "\
cluster dev-7f3a  healthy  1 broker  1 topic  1 partition  0 under-replicated
ID  ADDRESS         RACK  LEADERS  DISK     STATE
0   localhost:9092  -     1        1.2 MiB  ok
"
        );
    }

    #[test]
    fn every_reason_for_bad_health_is_told() {
        let report = report(&metadata(-1, &[]), &BTreeMap::new(), &BTreeSet::from([0]));
        assert!(!report.healthy);
        assert_eq!(
            report.problems,
            [
                "broker 0 cannot be reached at localhost:9092",
                "1 partition without a leader",
                "1 partition under-replicated"
            ]
        );
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            r#"{"cluster_id":"dev-7f3a","controller":0,"healthy":false,"problems":["broker 0 cannot be reached at localhost:9092","1 partition without a leader","1 partition under-replicated"],"brokers":[{"id":0,"host":"localhost","port":9092,"rack":null,"leaders":0,"replicas":1,"size_bytes":null,"reachable":false}],"topics":1,"partitions":1,"leaderless_partitions":1,"under_replicated_partitions":1}"#
        );
    }
}
