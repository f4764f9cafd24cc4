//! `ketcd cluster`: the truth on one screen, and what is done to whole brokers.

mod drain;
mod look;
mod unregister;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::client::ConnectArgs;
use super::exit::{CliError, Outcome};
use super::output::{self, Format, OutputArgs, Table, count};
use super::topic::list::is_under_replicated;
use crate::protocol::error::ErrorCode;
use crate::protocol::peer::messages::MetadataResponse;
use crate::protocol::peer::messages::metadata_response::MetadataResponsePartition;
use look::Seen;

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
    /// Healthy, or every reason why not; exit code 1 if the cluster is not healthy
    Health(ViewArgs),
    /// Have a broker hand all its leaderships over, and wait until it has
    Drain(drain::DrainArgs),
    /// Forget a broker that is away for good
    Unregister(unregister::UnregisterArgs),
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
    under_min_isr_partitions: usize,
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
    /// It is known, and not registered: it is away.
    fenced: bool,
}

/// Partitions named for each problem.
const NAMED_MAX: usize = 5;

/// Runs the command.
///
/// # Errors
/// What to tell the user; also that the cluster is not healthy.
pub async fn run(args: ClusterArgs) -> Outcome {
    match args.view {
        None => {
            let report = report(&look::look(&args.connect).await?);
            match args.output.format {
                Format::Json => output::json(&report),
                Format::Plain => brokers_table(&report).print(Format::Plain),
                format => output::text(&screen(&report, format)),
            }
        }
        Some(View::Brokers(view)) => {
            let report = report(&look::look(&view.connect).await?);
            match view.output.format {
                Format::Json => output::json(&report.brokers),
                format => brokers_table(&report).print(format),
            }
        }
        Some(View::Health(view)) => {
            let report = report(&look::look(&view.connect).await?);
            match view.output.format {
                Format::Json => output::json(&report)?,
                _ => output::text(&health(&report))?,
            }
            if report.healthy { Ok(()) } else { Err(unhealthy()) }
        }
        Some(View::Drain(args)) => drain::run(args).await,
        Some(View::Unregister(args)) => unregister::run(args).await,
    }
}

/// What is wrong is on stdout already.
fn unhealthy() -> CliError {
    CliError { quiet: true, ..CliError::failure("the cluster is not healthy") }
}

fn report(seen: &Seen) -> Report {
    let metadata = &seen.metadata;
    let partitions: Vec<_> = metadata.topics.iter().flat_map(|topic| &topic.partitions).collect();
    let mut brokers: Vec<Broker> = metadata
        .brokers
        .iter()
        .map(|broker| Broker {
            id: broker.node_id.0,
            host: broker.host.to_string(),
            port: broker.port,
            rack: broker.rack.as_ref().map(|rack| rack.to_string()),
            leaders: 0,
            replicas: 0,
            size_bytes: seen.sizes.get(&broker.node_id.0).copied(),
            reachable: !seen.silent.contains(&broker.node_id.0),
            fenced: false,
        })
        .collect();
    brokers.extend(missing(seen));
    brokers.sort_by_key(|broker| broker.id);
    for broker in &mut brokers {
        broker.leaders = partitions.iter().filter(|one| one.leader_id.0 == broker.id).count();
        broker.replicas =
            partitions.iter().filter(|one| one.replica_nodes.iter().any(|id| id.0 == broker.id)).count();
    }
    let leaderless = places(metadata, |_, partition| partition.leader_id.0 < 0);
    let few = places(metadata, |topic, partition| {
        let asked = seen.min_isr.get(topic).copied().unwrap_or(0);
        partition.isr_nodes.len() < asked.min(partition.replica_nodes.len())
    });
    let behind =
        places(metadata, |_, partition| is_under_replicated(&partition.replica_nodes, &partition.isr_nodes));
    let mut problems = Vec::new();
    if metadata.controller_id.0 < 0 {
        problems.push("no controller is elected".to_owned());
    }
    for broker in &brokers {
        let (id, host, port) = (broker.id, &broker.host, broker.port);
        match (broker.fenced, broker.reachable) {
            (true, _) if host.is_empty() => {
                problems.push(format!("broker {id} is away: it has replicas and is not registered"));
            }
            (true, _) => problems.push(format!("broker {id} is away: it was last seen at {host}:{port}")),
            (false, false) => problems.push(format!("broker {id} cannot be reached at {host}:{port}")),
            (false, true) => {}
        }
    }
    for (places, what) in [
        (&leaderless, "without a leader"),
        (&few, "under min.insync.replicas"),
        (&behind, "under-replicated"),
    ] {
        if !places.is_empty() {
            problems.push(format!("{} {what}: {}", count(places.len(), "partition"), some(places)));
        }
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
        leaderless_partitions: leaderless.len(),
        under_min_isr_partitions: few.len(),
        under_replicated_partitions: behind.len(),
    }
}

/// Brokers that should be there: those that the cluster tells of as fenced, and those that have replicas.
fn missing(seen: &Seen) -> Vec<Broker> {
    let live: BTreeSet<i32> = seen.metadata.brokers.iter().map(|broker| broker.node_id.0).collect();
    let partitions = seen.metadata.topics.iter().flat_map(|topic| &topic.partitions);
    let mut away: BTreeMap<i32, (String, i32)> = partitions
        .flat_map(|partition| &partition.replica_nodes)
        .map(|id| (id.0, (String::new(), 0)))
        .collect();
    away.extend(seen.fenced.iter().map(|(id, address)| (*id, address.clone())));
    let away = away.into_iter().filter(|(id, _)| !live.contains(id));
    let broker = |(id, (host, port))| Broker {
        id,
        host,
        port,
        rack: None,
        leaders: 0,
        replicas: 0,
        size_bytes: None,
        reachable: false,
        fenced: true,
    };
    away.map(broker).collect()
}

/// Names of the partitions that are `so`.
fn places(metadata: &MetadataResponse, so: impl Fn(&str, &MetadataResponsePartition) -> bool) -> Vec<String> {
    let mut places = Vec::new();
    for topic in &metadata.topics {
        let name = topic.name.as_ref().map(|name| name.to_string()).unwrap_or_default();
        let found = topic.partitions.iter().filter(|partition| so(&name, partition));
        places.extend(found.map(|partition| format!("{name}-{}", partition.partition_index)));
    }
    places
}

/// The first of many names.
fn some(places: &[String]) -> String {
    let shown = places.iter().take(NAMED_MAX).cloned().collect::<Vec<_>>().join(", ");
    match places.len().saturating_sub(NAMED_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn sentence(report: &Report) -> String {
    let mut line = format!(
        "cluster {}  {}  {}  {}  {}  {} under-replicated",
        report.cluster_id.as_deref().unwrap_or("-"),
        if report.healthy { "healthy" } else { "NOT HEALTHY" },
        count(report.brokers.iter().filter(|broker| !broker.fenced).count(), "broker"),
        count(report.topics, "topic"),
        count(report.partitions, "partition"),
        report.under_replicated_partitions,
    );
    if report.under_min_isr_partitions > 0 {
        line += &format!("  {} under min ISR", report.under_min_isr_partitions);
    }
    if report.leaderless_partitions > 0 {
        line += &format!("  {} without leader", report.leaderless_partitions);
    }
    line
}

/// The sentence and every problem.
fn health(report: &Report) -> String {
    let problems = report.problems.iter().map(|problem| format!("  ! {problem}\n"));
    sentence(report) + "\n" + &problems.collect::<String>()
}

fn screen(report: &Report, format: Format) -> String {
    health(report) + &brokers_table(report).render(format)
}

const fn state(broker: &Broker) -> &'static str {
    match (broker.fenced, broker.reachable) {
        (true, _) => "away",
        (false, true) => "ok",
        (false, false) => "unreachable",
    }
}

fn brokers_table(report: &Report) -> Table {
    let mut table =
        Table::new(&["ID", "ADDRESS", "RACK", "LEADERS", "DISK", "STATE"]).wide(&["REPLICAS", "CONTROLLER"]);
    for broker in &report.brokers {
        let address =
            if broker.host.is_empty() { String::new() } else { format!("{}:{}", broker.host, broker.port) };
        table.row(&[
            &broker.id,
            &address,
            &broker.rack.as_deref().unwrap_or_default(),
            &broker.leaders,
            &broker.size_bytes.map(output::bytes).unwrap_or_default(),
            &state(broker),
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
    use crate::protocol::peer::messages::metadata_response::{MetadataResponseBroker, MetadataResponseTopic};
    use crate::protocol::peer::messages::{BrokerId, TopicName};

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
            .with_topics(vec![
                MetadataResponseTopic::default()
                    .with_name(Some(TopicName(StrBytes::from_static_str("t"))))
                    .with_partitions(vec![partition]),
            ])
    }

    fn seen(metadata: MetadataResponse) -> Seen {
        Seen { metadata, ..Seen::default() }
    }

    #[test]
    fn the_screen_of_a_healthy_cluster_is_one_sentence_and_a_table() {
        let sizes = BTreeMap::from([(0, 1_258_291)]);
        let report = report(&Seen { sizes, ..seen(metadata(0, &[0])) });
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
        let mut metadata = metadata(-1, &[]);
        metadata.controller_id = BrokerId(-1);
        metadata.topics[0].partitions[0].replica_nodes.push(BrokerId(7));
        let report = report(&Seen {
            silent: BTreeSet::from([0]),
            fenced: BTreeMap::from([(8, ("old".to_owned(), 9092))]),
            min_isr: BTreeMap::from([("t".to_owned(), 2)]),
            ..seen(metadata)
        });
        assert!(!report.healthy);
        assert_eq!(
            health(&report),
            "\
cluster dev-7f3a  NOT HEALTHY  1 broker  1 topic  1 partition  1 under-replicated  1 under min ISR  1 without leader
  ! no controller is elected
  ! broker 0 cannot be reached at localhost:9092
  ! broker 7 is away: it has replicas and is not registered
  ! broker 8 is away: it was last seen at old:9092
  ! 1 partition without a leader: t-0
  ! 1 partition under min.insync.replicas: t-0
  ! 1 partition under-replicated: t-0
"
        );
        let told = serde_json::to_value(&report).unwrap();
        assert_eq!((&told["healthy"], &told["controller"]), (&false.into(), &serde_json::Value::Null));
        assert_eq!(told["brokers"][1]["fenced"], true);
        assert_eq!(told["under_min_isr_partitions"], 1);
    }

    #[test]
    fn of_many_partitions_some_are_named() {
        let names: Vec<String> = (0..7).map(|n| format!("t-{n}")).collect();
        assert_eq!(some(&names), "t-0, t-1, t-2, t-3, t-4 and 2 more");
    }
}
