//! What is asked of the cluster for one screen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::cli::client::{Cluster, ConnectArgs, text};
use crate::cli::exit::Outcome;
use crate::cli::topic::list::is_under_replicated;
use crate::protocol::peer::messages::describe_configs_request::DescribeConfigsResource;
use crate::protocol::peer::messages::{
    DescribeClusterRequest, DescribeConfigsRequest, DescribeLogDirsRequest, MetadataResponse,
};

/// `ConfigResource.Type.TOPIC` on the wire.
const TOPIC_RESOURCE: i8 = 2;
/// Topics whose configuration is asked for at once.
const TOPICS_AT_ONCE: usize = 1_000;
/// The version of DescribeCluster that tells of fenced brokers (KIP-1073).
const WITH_FENCED: i16 = 2;

/// How often, and how long apart, a cluster without a controller is asked again.
const CONTROLLER_LOOKS: usize = 10;
const CONTROLLER_PAUSE: Duration = Duration::from_millis(100);

/// What the brokers said.
#[derive(Debug, Default)]
pub struct Seen {
    /// Brokers, topics, partitions.
    pub metadata: MetadataResponse,
    /// Bytes of each broker's log directories, of those that say.
    pub sizes: BTreeMap<i32, u64>,
    /// Brokers that do not answer.
    pub silent: BTreeSet<i32>,
    /// Brokers that are known and not registered, and where they were.
    pub fenced: BTreeMap<i32, (String, i32)>,
    /// `min.insync.replicas` of the topics of which replicas are not in sync.
    pub min_isr: BTreeMap<String, usize>,
}

/// Asks every broker.
///
/// # Errors
/// If no broker answers.
pub async fn look(connect: &ConnectArgs) -> Outcome<Seen> {
    let mut cluster = Cluster::connect(connect).await?;
    let mut seen = Seen { metadata: cluster.refresh(None).await?.clone(), ..Seen::default() };
    // A cluster that has just been started, or lost its controller, elects one in a moment.
    for _ in 0..CONTROLLER_LOOKS {
        if seen.metadata.controller_id.0 >= 0 {
            break;
        }
        tokio::time::sleep(CONTROLLER_PAUSE).await;
        seen.metadata = cluster.refresh(None).await?.clone();
    }
    seen.fenced = fenced(&mut cluster).await?;
    seen.min_isr = min_isr(&mut cluster, &seen.metadata).await?;
    let ids: Vec<i32> = seen.metadata.brokers.iter().map(|broker| broker.node_id.0).collect();
    for id in ids {
        let answer = match cluster.broker(id).await {
            Ok(peer) if peer.serves::<DescribeLogDirsRequest>() => {
                peer.call(&DescribeLogDirsRequest::default().with_topics(None)).await
            }
            Ok(_) => continue,
            Err(_) => {
                seen.silent.insert(id);
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
            seen.sizes.insert(id, u64::try_from(size).unwrap_or_default());
        }
    }
    Ok(seen)
}

/// Empty if the broker's version of the API does not tell.
async fn fenced(cluster: &mut Cluster) -> Outcome<BTreeMap<i32, (String, i32)>> {
    let peer = cluster.any();
    if !peer.version_of::<DescribeClusterRequest>().is_ok_and(|version| version >= WITH_FENCED) {
        return Ok(BTreeMap::new());
    }
    let request = DescribeClusterRequest::default().with_endpoint_type(1).with_include_fenced_brokers(true);
    let answer = peer.call_at(&request, WITH_FENCED).await?;
    let fenced = answer.brokers.iter().filter(|broker| broker.is_fenced);
    Ok(fenced.map(|broker| (broker.broker_id.0, (broker.host.to_string(), broker.port))).collect())
}

async fn min_isr(cluster: &mut Cluster, metadata: &MetadataResponse) -> Outcome<BTreeMap<String, usize>> {
    let behind = metadata.topics.iter().filter(|topic| {
        topic.partitions.iter().any(|one| is_under_replicated(&one.replica_nodes, &one.isr_nodes))
    });
    let names: Vec<String> =
        behind.filter_map(|topic| topic.name.as_ref()).map(|name| name.to_string()).collect();
    let mut found = BTreeMap::new();
    for names in names.chunks(TOPICS_AT_ONCE) {
        let resource = |name: &String| {
            DescribeConfigsResource::default()
                .with_resource_type(TOPIC_RESOURCE)
                .with_resource_name(text(name))
                .with_configuration_keys(Some(vec![text("min.insync.replicas")]))
        };
        let request = DescribeConfigsRequest::default().with_resources(names.iter().map(resource).collect());
        for result in cluster.ask(&request).await?.results {
            let value = result.configs.iter().find_map(|config| config.value.as_ref()?.parse().ok());
            found.extend(value.map(|value| (result.resource_name.to_string(), value)));
        }
    }
    Ok(found)
}
