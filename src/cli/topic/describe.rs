//! `ketcd topic describe`: Metadata, ListOffsets and DescribeConfigs in one view.

use std::collections::BTreeMap;

use serde::Serialize;

use super::configs;
use super::list::is_under_replicated;
use crate::cli::client::{Cluster, ConnectArgs};
use crate::cli::exit::Outcome;
use crate::cli::offsets::{At, offsets};
use crate::cli::output::{self, Format, OutputArgs, Table, count, list};
use crate::protocol::peer::messages::BrokerId;
use crate::types::ids::encode_uuid;

/// Options of `ketcd topic describe`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ketcd topic describe orders
  ketcd topic describe orders --all-configs
  ketcd topic describe orders -o json | jq '.[0].partitions[].end_offset'")]
pub struct DescribeArgs {
    /// Names of the topics
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<String>,
    /// Show every configuration, not only those that the topic sets
    #[arg(long)]
    all_configs: bool,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// One topic, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Topic {
    name: String,
    id: Option<String>,
    internal: bool,
    replication_factor: usize,
    partitions: Vec<Partition>,
    configs: BTreeMap<String, Option<String>>,
}

#[derive(Debug, Serialize)]
struct Partition {
    partition: i32,
    leader: Option<i32>,
    leader_epoch: Option<i32>,
    replicas: Vec<i32>,
    isr: Vec<i32>,
    offline_replicas: Vec<i32>,
    start_offset: Option<i64>,
    end_offset: Option<i64>,
}

/// Runs the command.
///
/// # Errors
/// What to tell the user.
pub async fn run(args: DescribeArgs) -> Outcome {
    let mut cluster = Cluster::connect(&args.connect).await?;
    let mut topics = Vec::new();
    for name in &args.topics {
        topics.push(look(&mut cluster, name, args.all_configs).await?);
    }
    match args.output.format {
        Format::Json => output::json(&topics),
        Format::Plain => partitions_table(topics.iter()).print(Format::Plain),
        format => {
            output::text(&topics.iter().map(|topic| page(topic, format)).collect::<Vec<_>>().join("\n"))
        }
    }
}

async fn look(cluster: &mut Cluster, name: &str, all_configs: bool) -> Outcome<Topic> {
    let topic = cluster.topic(name).await?;
    let starts = offsets(cluster, &topic, At::Start).await?;
    let ends = offsets(cluster, &topic, At::End).await?;
    let configs = configs::describe(cluster, name).await?;
    let ids = |brokers: &[BrokerId]| brokers.iter().map(|broker| broker.0).collect::<Vec<_>>();
    let mut partitions: Vec<Partition> = topic
        .partitions
        .iter()
        .map(|partition| Partition {
            partition: partition.partition_index,
            leader: Some(partition.leader_id.0).filter(|id| *id >= 0),
            leader_epoch: Some(partition.leader_epoch).filter(|epoch| *epoch >= 0),
            replicas: ids(&partition.replica_nodes),
            isr: ids(&partition.isr_nodes),
            offline_replicas: ids(&partition.offline_replicas),
            start_offset: starts.get(&partition.partition_index).copied().flatten(),
            end_offset: ends.get(&partition.partition_index).copied().flatten(),
        })
        .collect();
    partitions.sort_by_key(|partition| partition.partition);
    Ok(Topic {
        name: name.to_owned(),
        id: (!topic.topic_id.is_nil()).then(|| encode_uuid(topic.topic_id)),
        internal: topic.is_internal,
        replication_factor: partitions.iter().map(|p| p.replicas.len()).max().unwrap_or_default(),
        partitions,
        configs: configs
            .into_iter()
            .filter(|(_, config)| all_configs || config.overridden)
            .map(|(key, config)| (key, config.value))
            .collect(),
    })
}

fn page(topic: &Topic, format: Format) -> String {
    let behind = topic.partitions.iter().filter(|p| is_under_replicated(&p.replicas, &p.isr)).count();
    let mut page = format!(
        "topic {}  id {}  {}  replication factor {}  {behind} under-replicated\n",
        topic.name,
        topic.id.as_deref().unwrap_or("-"),
        count(topic.partitions.len(), "partition"),
        topic.replication_factor,
    );
    page += &partitions_table(std::iter::once(topic)).render(format);
    if !topic.configs.is_empty() {
        page += "\n";
        let mut table = Table::new(&["CONFIG", "VALUE"]);
        for (key, value) in &topic.configs {
            table.row(&[key, &value.as_deref().unwrap_or("(hidden)")]);
        }
        page += &table.render(format);
    }
    page
}

fn partitions_table<'a>(topics: impl Iterator<Item = &'a Topic>) -> Table {
    let mut table = Table::new(&["PARTITION", "LEADER", "REPLICAS", "ISR", "START", "END", "RECORDS"])
        .wide(&["EPOCH", "OFFLINE"]);
    let or_none = |number: Option<i64>| number.map(|n| n.to_string()).unwrap_or_default();
    for partition in topics.flat_map(|topic| &topic.partitions) {
        let records = partition.end_offset.zip(partition.start_offset).map(|(end, start)| end - start);
        table.row(&[
            &partition.partition,
            &or_none(partition.leader.map(i64::from)),
            &list(&partition.replicas),
            &list(&partition.isr),
            &or_none(partition.start_offset),
            &or_none(partition.end_offset),
            &or_none(records),
            &or_none(partition.leader_epoch.map(i64::from)),
            &list(&partition.offline_replicas),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic() -> Topic {
        Topic {
            name: "orders".to_owned(),
            id: Some("ASNFZ4mrze_-3LqYdlQyEA".to_owned()),
            internal: false,
            replication_factor: 2,
            partitions: vec![Partition {
                partition: 0,
                leader: Some(1),
                leader_epoch: Some(4),
                replicas: vec![1, 2],
                isr: vec![1],
                offline_replicas: vec![],
                start_offset: Some(3),
                end_offset: Some(10),
            }],
            configs: BTreeMap::from([("retention.ms".to_owned(), Some("1000".to_owned()))]),
        }
    }

    #[test]
    fn a_topics_page_shows_partitions_and_configs() {
        assert_eq!(
            page(&topic(), Format::Table),
            "\
topic orders  id ASNFZ4mrze_-3LqYdlQyEA  1 partition  replication factor 2  1 under-replicated
PARTITION  LEADER  REPLICAS  ISR  START  END  RECORDS
0          1       1,2       1    3      10   7

CONFIG        VALUE
retention.ms  1000
"
        );
    }

    #[test]
    fn the_json_of_a_topic_keeps_its_shape() {
        assert_eq!(
            serde_json::to_string(&[topic()]).unwrap(),
            r#"[{"name":"orders","id":"ASNFZ4mrze_-3LqYdlQyEA","internal":false,"replication_factor":2,"partitions":[{"partition":0,"leader":1,"leader_epoch":4,"replicas":[1,2],"isr":[1],"offline_replicas":[],"start_offset":3,"end_offset":10}],"configs":{"retention.ms":"1000"}}]"#
        );
    }
}
