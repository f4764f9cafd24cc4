//! One file per Kafka API, one line per API in [`REGISTRY`]; the map from our errors to Kafka's codes.
//!
//! Handlers keep no state between requests: fetch sessions, partitions and metadata live in `broker/` and below; but a connection
//! remembers what its idempotent producers were refused ([`refused_batches`]). A handler takes
//! one decoded request and says how its answer comes ([`Handled`]): at once, later, or never. It never blocks and never waits on
//! etcd while it holds its connection's turn.
//!
//! Read first: [`endpoint`], then one handler, e.g. [`describe_cluster`].

pub mod endpoint;
pub mod errors;
pub mod refused_batches;
pub mod reply;
pub mod service;
mod wire;

mod alter_configs;
mod alter_partition_reassignments;
mod alteration;
mod api_versions;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_acls;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_log_dirs;
mod describe_producers;
mod describe_topic_partitions;
mod elect_leaders;
mod fetch;
mod find_coordinator;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod sync_group;
mod unregister_broker;
mod wire_groups;

pub use endpoint::{Api, Endpoint, Handled, RawApi, RequestContext, endpoint, raw_endpoint};
pub use reply::{CloseReason, Connection, Reply, Response, Service};
pub use service::BrokerService;

/// Every API that is served, sorted by key. ApiVersions, dispatch, metrics and the compatibility page read it: what is not here is
/// not advertised.
pub static REGISTRY: &[Endpoint] = &[
    raw_endpoint::<produce::Produce>(),
    raw_endpoint::<fetch::Fetch>(),
    endpoint::<list_offsets::ListOffsets>(),
    endpoint::<metadata::Metadata>(),
    endpoint::<offset_commit::OffsetCommit>(),
    endpoint::<offset_fetch::OffsetFetch>(),
    endpoint::<find_coordinator::FindCoordinator>(),
    endpoint::<join_group::JoinGroup>(),
    endpoint::<heartbeat::Heartbeat>(),
    endpoint::<leave_group::LeaveGroup>(),
    endpoint::<sync_group::SyncGroup>(),
    endpoint::<describe_groups::DescribeGroups>(),
    endpoint::<list_groups::ListGroups>(),
    endpoint::<api_versions::ApiVersions>(),
    endpoint::<create_topics::CreateTopics>(),
    endpoint::<delete_topics::DeleteTopics>(),
    endpoint::<delete_records::DeleteRecords>(),
    endpoint::<init_producer_id::InitProducerId>(),
    endpoint::<offset_for_leader_epoch::OffsetForLeaderEpoch>(),
    endpoint::<describe_acls::DescribeAcls>(),
    endpoint::<describe_configs::DescribeConfigs>(),
    endpoint::<alter_configs::AlterConfigs>(),
    endpoint::<describe_log_dirs::DescribeLogDirs>(),
    endpoint::<create_partitions::CreatePartitions>(),
    endpoint::<delete_groups::DeleteGroups>(),
    endpoint::<elect_leaders::ElectLeaders>(),
    endpoint::<incremental_alter_configs::IncrementalAlterConfigs>(),
    endpoint::<alter_partition_reassignments::AlterPartitionReassignments>(),
    endpoint::<list_partition_reassignments::ListPartitionReassignments>(),
    endpoint::<offset_delete::OffsetDelete>(),
    endpoint::<describe_cluster::DescribeCluster>(),
    endpoint::<describe_producers::DescribeProducers>(),
    endpoint::<unregister_broker::UnregisterBroker>(),
    endpoint::<consumer_group_heartbeat::ConsumerGroupHeartbeat>(),
    endpoint::<consumer_group_describe::ConsumerGroupDescribe>(),
    endpoint::<list_config_resources::ListConfigResources>(),
    endpoint::<describe_topic_partitions::DescribeTopicPartitions>(),
];

/// The registry line of an API key.
#[must_use]
pub fn find(key: i16) -> Option<&'static Endpoint> {
    REGISTRY.binary_search_by_key(&key, |endpoint| endpoint.key).ok().and_then(|place| REGISTRY.get(place))
}
