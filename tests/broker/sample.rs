//! A valid request of every API at every version, about a topic with data; and what its answer must hold.

use bytes::Bytes;
use ketcd::protocol::peer::messages::alter_configs_request::{
    AlterConfigsResource as WholeResource, AlterableConfig as WholeConfig,
};
use ketcd::protocol::peer::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use ketcd::protocol::peer::messages::create_partitions_request::CreatePartitionsTopic;
use ketcd::protocol::peer::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use ketcd::protocol::peer::messages::delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic};
use ketcd::protocol::peer::messages::delete_topics_request::DeleteTopicState;
use ketcd::protocol::peer::messages::describe_configs_request::DescribeConfigsResource;
use ketcd::protocol::peer::messages::describe_log_dirs_request::DescribableLogDirTopic;
use ketcd::protocol::peer::messages::fetch_request::{FetchPartition, FetchTopic};
use ketcd::protocol::peer::messages::incremental_alter_configs_request::{
    AlterConfigsResource, AlterableConfig,
};
use ketcd::protocol::peer::messages::join_group_request::JoinGroupRequestProtocol;
use ketcd::protocol::peer::messages::leave_group_request::MemberIdentity;
use ketcd::protocol::peer::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use ketcd::protocol::peer::messages::list_partition_reassignments_request::ListPartitionReassignmentsTopics;
use ketcd::protocol::peer::messages::metadata_request::MetadataRequestTopic;
use ketcd::protocol::peer::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ketcd::protocol::peer::messages::offset_delete_request::{
    OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use ketcd::protocol::peer::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
};
use ketcd::protocol::peer::messages::offset_for_leader_epoch_request::{
    OffsetForLeaderPartition, OffsetForLeaderTopic,
};
use ketcd::protocol::peer::messages::produce_request::{PartitionProduceData, TopicProduceData};
use ketcd::protocol::peer::messages::sync_group_request::SyncGroupRequestAssignment;
use ketcd::protocol::peer::messages::{
    AlterConfigsRequest, AlterPartitionReassignmentsRequest, ApiVersionsRequest,
    ConsumerGroupDescribeRequest, ConsumerGroupHeartbeatRequest, CreatePartitionsRequest,
    CreateTopicsRequest, DeleteGroupsRequest, DeleteRecordsRequest, DeleteTopicsRequest, DescribeAclsRequest,
    DescribeClusterRequest, DescribeConfigsRequest, DescribeGroupsRequest, DescribeLogDirsRequest,
    DescribeProducersRequest, DescribeTopicPartitionsRequest, ElectLeadersRequest, FetchRequest,
    FindCoordinatorRequest, GroupId, HeartbeatRequest, IncrementalAlterConfigsRequest, InitProducerIdRequest,
    JoinGroupRequest, LeaveGroupRequest, ListConfigResourcesRequest, ListGroupsRequest, ListOffsetsRequest,
    ListPartitionReassignmentsRequest, MetadataRequest, OffsetCommitRequest, OffsetDeleteRequest,
    OffsetFetchRequest, OffsetForLeaderEpochRequest, ProduceRequest, SyncGroupRequest,
    UnregisterBrokerRequest, describe_producers_request, describe_topic_partitions_request,
    elect_leaders_request,
};
use ketcd::protocol::peer::{Request, StrBytes, encode_frame};

use crate::fixture::{Topic, batch, fresh_name, named, text};

/// What requests are about.
pub struct Subject {
    /// A topic of one partition with records.
    pub topic: Topic,
    /// The name of a topic to make, where that is asked for.
    pub new_name: String,
    /// The name of a topic to delete.
    pub old_name: String,
    /// Off: requests that would change metadata only check.
    pub changes: bool,
}

/// A whole frame of a valid request.
pub fn frame(key: i16, version: i16, correlation_id: i32, subject: &Subject) -> Bytes {
    let maker = Maker { version, correlation_id, subject };
    match key {
        0 => maker.frame(&maker.produce()),
        1 => maker.frame(&maker.fetch()),
        2 => maker.frame(&maker.list_offsets()),
        3 => maker.frame(&maker.metadata()),
        8 => maker.frame(&maker.offset_commit()),
        9 => maker.frame(&maker.offset_fetch()),
        10 => maker.frame(&maker.find_coordinator()),
        11 => maker.frame(&maker.join_group()),
        12 => maker.frame(&maker.heartbeat()),
        13 => maker.frame(&maker.leave_group()),
        14 => maker.frame(&maker.sync_group()),
        15 => maker.frame(&maker.describe_groups()),
        16 => maker.frame(&maker.list_groups()),
        18 => maker.frame(&maker.api_versions()),
        19 => maker.frame(&maker.create_topics()),
        20 => maker.frame(&maker.delete_topics()),
        21 => maker.frame(&maker.delete_records()),
        22 => maker.frame(&maker.init_producer_id()),
        23 => maker.frame(&maker.offset_for_leader_epoch()),
        29 => maker.frame(&maker.describe_acls()),
        32 => maker.frame(&maker.describe_configs()),
        33 => maker.frame(&maker.alter_configs()),
        35 => maker.frame(&maker.describe_log_dirs()),
        37 => maker.frame(&maker.create_partitions()),
        42 => maker.frame(&maker.delete_groups()),
        43 => maker.frame(&maker.elect_leaders()),
        44 => maker.frame(&maker.incremental_alter_configs()),
        45 => maker.frame(&maker.alter_partition_reassignments()),
        46 => maker.frame(&maker.list_partition_reassignments()),
        47 => maker.frame(&maker.offset_delete()),
        60 => maker.frame(&maker.describe_cluster()),
        61 => maker.frame(&maker.describe_producers()),
        64 => maker.frame(&maker.unregister_broker()),
        68 => maker.frame(&maker.consumer_group_heartbeat()),
        69 => maker.frame(&maker.consumer_group_describe()),
        74 => maker.frame(&maker.list_config_resources()),
        75 => maker.frame(&maker.describe_topic_partitions()),
        other => panic!("api {other} is served, and there is no sample request of it: write one"),
    }
}

struct Maker<'a> {
    version: i16,
    correlation_id: i32,
    subject: &'a Subject,
}

impl Maker<'_> {
    fn frame<R: Request>(&self, request: &R) -> Bytes {
        encode_frame(request, self.version, self.correlation_id, "sample").unwrap()
    }

    fn name(&self) -> &str {
        &self.subject.topic.name
    }

    fn produce(&self) -> ProduceRequest {
        let data = PartitionProduceData::default().with_index(0).with_records(Some(batch(&["sample"])));
        let topic = TopicProduceData::default().with_partition_data(vec![data]);
        let topic = if self.version >= 13 {
            topic.with_topic_id(self.subject.topic.id)
        } else {
            topic.with_name(named(self.name()))
        };
        ProduceRequest::default().with_acks(-1).with_timeout_ms(5000).with_topic_data(vec![topic])
    }

    fn fetch(&self) -> FetchRequest {
        let partition = FetchPartition::default()
            .with_partition(0)
            .with_current_leader_epoch(if self.version >= 9 { 0 } else { -1 })
            .with_fetch_offset(0)
            .with_partition_max_bytes(1 << 20);
        let topic = FetchTopic::default().with_partitions(vec![partition]);
        let topic = if self.version >= 13 {
            topic.with_topic_id(self.subject.topic.id)
        } else {
            topic.with_topic(named(self.name()))
        };
        let request = FetchRequest::default()
            .with_replica_id((-1).into())
            .with_min_bytes(1)
            .with_max_bytes(1 << 20)
            .with_isolation_level(1)
            .with_topics(vec![topic]);
        if self.version >= 7 { request.with_session_epoch(-1) } else { request }
    }

    fn list_offsets(&self) -> ListOffsetsRequest {
        let partition = ListOffsetsPartition::default()
            .with_partition_index(0)
            .with_current_leader_epoch(if self.version >= 4 { 0 } else { -1 })
            .with_timestamp(0);
        let topic =
            ListOffsetsTopic::default().with_name(named(self.name())).with_partitions(vec![partition]);
        let request = ListOffsetsRequest::default().with_replica_id((-1).into()).with_topics(vec![topic]);
        let request = if self.version >= 10 { request.with_timeout_ms(5000) } else { request };
        if self.version >= 2 { request.with_isolation_level(1) } else { request }
    }

    fn metadata(&self) -> MetadataRequest {
        let topic = MetadataRequestTopic::default().with_name(Some(named(self.name())));
        let request = MetadataRequest::default()
            .with_topics(Some(vec![topic]))
            .with_allow_auto_topic_creation(true)
            .with_include_topic_authorized_operations(self.version >= 8);
        request.with_include_cluster_authorized_operations((8..=10).contains(&self.version))
    }

    fn api_versions(&self) -> ApiVersionsRequest {
        let request = ApiVersionsRequest::default();
        if self.version < 3 {
            return request;
        }
        request.with_client_software_name(text("sample")).with_client_software_version(text("1.0"))
    }

    fn create_topics(&self) -> CreateTopicsRequest {
        let config =
            CreatableTopicConfig::default().with_name(text("retention.ms")).with_value(Some(text("1000000")));
        let topic = CreatableTopic::default()
            .with_name(named(&self.subject.new_name))
            .with_num_partitions(2)
            .with_replication_factor(1)
            .with_configs(vec![config]);
        CreateTopicsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(30_000)
            .with_validate_only(!self.subject.changes)
    }

    fn delete_topics(&self) -> DeleteTopicsRequest {
        let request = DeleteTopicsRequest::default().with_timeout_ms(30_000);
        let name = named(&self.subject.old_name);
        if self.version >= 6 {
            request.with_topics(vec![DeleteTopicState::default().with_name(Some(name))])
        } else {
            request.with_topic_names(vec![name])
        }
    }

    fn delete_records(&self) -> DeleteRecordsRequest {
        let partition = DeleteRecordsPartition::default().with_partition_index(0).with_offset(0);
        let topic =
            DeleteRecordsTopic::default().with_name(named(self.name())).with_partitions(vec![partition]);
        DeleteRecordsRequest::default().with_topics(vec![topic]).with_timeout_ms(5000)
    }

    fn init_producer_id(&self) -> InitProducerIdRequest {
        InitProducerIdRequest::default().with_transactional_id(None).with_transaction_timeout_ms(60_000)
    }

    fn offset_for_leader_epoch(&self) -> OffsetForLeaderEpochRequest {
        let partition = OffsetForLeaderPartition::default()
            .with_partition(0)
            .with_current_leader_epoch(0)
            .with_leader_epoch(0);
        let topic =
            OffsetForLeaderTopic::default().with_topic(named(self.name())).with_partitions(vec![partition]);
        let request = OffsetForLeaderEpochRequest::default().with_topics(vec![topic]);
        if self.version >= 3 { request.with_replica_id((-2).into()) } else { request }
    }

    fn describe_acls(&self) -> DescribeAclsRequest {
        DescribeAclsRequest::default()
            .with_resource_type_filter(2)
            .with_resource_name_filter(Some(text(self.name())))
            .with_pattern_type_filter(3)
            .with_operation(1)
            .with_permission_type(1)
    }

    fn describe_configs(&self) -> DescribeConfigsRequest {
        let topic = DescribeConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text(self.name()))
            .with_configuration_keys(None);
        let broker = DescribeConfigsResource::default()
            .with_resource_type(4)
            .with_resource_name(text("0"))
            .with_configuration_keys(Some(vec![text("num.partitions")]));
        DescribeConfigsRequest::default()
            .with_resources(vec![topic, broker])
            .with_include_synonyms(true)
            .with_include_documentation(self.version >= 3)
    }

    fn alter_configs(&self) -> AlterConfigsRequest {
        let config = WholeConfig::default().with_name(text("retention.ms")).with_value(Some(text("2000000")));
        let resource = WholeResource::default()
            .with_resource_type(2)
            .with_resource_name(text(self.name()))
            .with_configs(vec![config]);
        AlterConfigsRequest::default()
            .with_resources(vec![resource])
            .with_validate_only(!self.subject.changes)
    }

    fn describe_log_dirs(&self) -> DescribeLogDirsRequest {
        let topic = DescribableLogDirTopic::default().with_topic(named(self.name())).with_partitions(vec![0]);
        DescribeLogDirsRequest::default().with_topics(Some(vec![topic]))
    }

    fn create_partitions(&self) -> CreatePartitionsRequest {
        let topic = CreatePartitionsTopic::default()
            .with_name(named(self.name()))
            .with_count(3)
            .with_assignments(None);
        CreatePartitionsRequest::default()
            .with_topics(vec![topic])
            .with_timeout_ms(30_000)
            .with_validate_only(true)
    }

    fn incremental_alter_configs(&self) -> IncrementalAlterConfigsRequest {
        let config = AlterableConfig::default()
            .with_name(text("cleanup.policy"))
            .with_config_operation(2)
            .with_value(Some(text("delete")));
        let resource = AlterConfigsResource::default()
            .with_resource_type(2)
            .with_resource_name(text(self.name()))
            .with_configs(vec![config]);
        IncrementalAlterConfigsRequest::default()
            .with_resources(vec![resource])
            .with_validate_only(!self.subject.changes)
    }

    fn elect_leaders(&self) -> ElectLeadersRequest {
        let topic = elect_leaders_request::TopicPartitions::default()
            .with_topic(named(self.name()))
            .with_partitions(vec![0]);
        let request =
            ElectLeadersRequest::default().with_topic_partitions(Some(vec![topic])).with_timeout_ms(5000);
        if self.version >= 1 { request.with_election_type(1) } else { request }
    }

    fn alter_partition_reassignments(&self) -> AlterPartitionReassignmentsRequest {
        let partition =
            ReassignablePartition::default().with_partition_index(0).with_replicas(Some(vec![0.into()]));
        let topic =
            ReassignableTopic::default().with_name(named(self.name())).with_partitions(vec![partition]);
        let request =
            AlterPartitionReassignmentsRequest::default().with_timeout_ms(5000).with_topics(vec![topic]);
        if self.version >= 1 { request.with_allow_replication_factor_change(false) } else { request }
    }

    fn list_partition_reassignments(&self) -> ListPartitionReassignmentsRequest {
        let topic = ListPartitionReassignmentsTopics::default()
            .with_name(named(self.name()))
            .with_partition_indexes(vec![0]);
        ListPartitionReassignmentsRequest::default().with_timeout_ms(5000).with_topics(Some(vec![topic]))
    }

    fn unregister_broker(&self) -> UnregisterBrokerRequest {
        UnregisterBrokerRequest::default().with_broker_id(4711.into())
    }

    fn describe_cluster(&self) -> DescribeClusterRequest {
        let request = DescribeClusterRequest::default().with_include_cluster_authorized_operations(true);
        if self.version >= 2 { request.with_include_fenced_brokers(true) } else { request }
    }

    fn describe_producers(&self) -> DescribeProducersRequest {
        let topic = describe_producers_request::TopicRequest::default()
            .with_name(named(self.name()))
            .with_partition_indexes(vec![0]);
        DescribeProducersRequest::default().with_topics(vec![topic])
    }

    fn describe_topic_partitions(&self) -> DescribeTopicPartitionsRequest {
        let topic = describe_topic_partitions_request::TopicRequest::default().with_name(named(self.name()));
        DescribeTopicPartitionsRequest::default().with_topics(vec![topic]).with_response_partition_limit(100)
    }

    /// The group of questions that change nothing, or only offsets.
    fn group(&self) -> GroupId {
        GroupId(text(self.name()))
    }

    /// A group of its own for who joins, so that nobody waits for anybody; the member of a group that is not there, where nothing
    /// shall change.
    fn joined_group(&self) -> (GroupId, StrBytes) {
        if self.subject.changes {
            (GroupId(text(&fresh_name("sample-group"))), StrBytes::default())
        } else {
            (GroupId(text("not-there")), text("nobody"))
        }
    }

    fn offset_commit(&self) -> OffsetCommitRequest {
        let partition = OffsetCommitRequestPartition::default()
            .with_partition_index(0)
            .with_committed_offset(2)
            .with_committed_leader_epoch(if self.version >= 6 { 0 } else { -1 })
            .with_committed_metadata(Some(text("note")));
        let topic = OffsetCommitRequestTopic::default()
            .with_name(named(self.name()))
            .with_partitions(vec![partition]);
        let request = OffsetCommitRequest::default()
            .with_group_id(self.group())
            .with_generation_id_or_member_epoch(-1)
            .with_topics(vec![topic]);
        if self.version <= 4 { request.with_retention_time_ms(60_000_000) } else { request }
    }

    fn offset_fetch(&self) -> OffsetFetchRequest {
        let request = OffsetFetchRequest::default().with_require_stable(self.version >= 7);
        if self.version < 8 {
            let topic = OffsetFetchRequestTopic::default()
                .with_name(named(self.name()))
                .with_partition_indexes(vec![0]);
            return request.with_group_id(self.group()).with_topics(Some(vec![topic]));
        }
        let topic =
            OffsetFetchRequestTopics::default().with_name(named(self.name())).with_partition_indexes(vec![0]);
        let group = OffsetFetchRequestGroup::default()
            .with_group_id(self.group())
            .with_member_id(None)
            .with_topics(Some(vec![topic]));
        request.with_groups(vec![group])
    }

    fn find_coordinator(&self) -> FindCoordinatorRequest {
        let request = FindCoordinatorRequest::default();
        if self.version >= 4 {
            request.with_coordinator_keys(vec![text(self.name())])
        } else {
            request.with_key(text(self.name()))
        }
    }

    fn join_group(&self) -> JoinGroupRequest {
        let (group, member) = self.joined_group();
        let protocol = JoinGroupRequestProtocol::default()
            .with_name(text("range"))
            .with_metadata(Bytes::from_static(b"m"));
        let request = JoinGroupRequest::default()
            .with_group_id(group)
            .with_session_timeout_ms(30_000)
            .with_member_id(member)
            .with_protocol_type(text("opaque"))
            .with_protocols(vec![protocol]);
        let request = if self.version >= 1 { request.with_rebalance_timeout_ms(30_000) } else { request };
        if self.version >= 8 { request.with_reason(Some(text("sample"))) } else { request }
    }

    fn heartbeat(&self) -> HeartbeatRequest {
        let request = HeartbeatRequest::default()
            .with_group_id(self.group())
            .with_generation_id(1)
            .with_member_id(text("nobody"));
        if self.version >= 3 { request.with_group_instance_id(None) } else { request }
    }

    fn leave_group(&self) -> LeaveGroupRequest {
        let request = LeaveGroupRequest::default().with_group_id(self.group());
        if self.version < 3 {
            return request.with_member_id(text("nobody"));
        }
        let member = MemberIdentity::default().with_member_id(text("nobody"));
        let member = if self.version >= 5 { member.with_reason(Some(text("sample"))) } else { member };
        request.with_members(vec![member])
    }

    fn sync_group(&self) -> SyncGroupRequest {
        let assignment = SyncGroupRequestAssignment::default()
            .with_member_id(text("nobody"))
            .with_assignment(Bytes::from_static(b"a"));
        let request = SyncGroupRequest::default()
            .with_group_id(self.group())
            .with_generation_id(1)
            .with_member_id(text("nobody"))
            .with_assignments(vec![assignment]);
        if self.version < 5 {
            return request;
        }
        request.with_protocol_type(Some(text("consumer"))).with_protocol_name(Some(text("range")))
    }

    fn describe_groups(&self) -> DescribeGroupsRequest {
        DescribeGroupsRequest::default()
            .with_groups(vec![self.group()])
            .with_include_authorized_operations(self.version >= 3)
    }

    fn list_groups(&self) -> ListGroupsRequest {
        let request = ListGroupsRequest::default();
        let request =
            if self.version >= 4 { request.with_states_filter(vec![text("Stable")]) } else { request };
        if self.version >= 5 { request.with_types_filter(vec![text("classic")]) } else { request }
    }

    fn delete_groups(&self) -> DeleteGroupsRequest {
        DeleteGroupsRequest::default().with_groups_names(vec![self.group()])
    }

    fn offset_delete(&self) -> OffsetDeleteRequest {
        let topic = OffsetDeleteRequestTopic::default()
            .with_name(named(self.name()))
            .with_partitions(vec![OffsetDeleteRequestPartition::default().with_partition_index(0)]);
        OffsetDeleteRequest::default().with_group_id(self.group()).with_topics(vec![topic])
    }

    fn consumer_group_heartbeat(&self) -> ConsumerGroupHeartbeatRequest {
        let (group, member) = self.joined_group();
        // From v1 on members name themselves.
        let member = if self.version >= 1 { text("named-by-itself") } else { member };
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(group)
            .with_member_id(member)
            .with_member_epoch(if self.subject.changes { 0 } else { 7 })
            .with_rebalance_timeout_ms(30_000)
            .with_subscribed_topic_names(Some(vec![named(self.name())]))
            .with_topic_partitions(Some(Vec::new()))
    }

    fn consumer_group_describe(&self) -> ConsumerGroupDescribeRequest {
        ConsumerGroupDescribeRequest::default()
            .with_group_ids(vec![self.group()])
            .with_include_authorized_operations(true)
    }

    fn list_config_resources(&self) -> ListConfigResourcesRequest {
        let request = ListConfigResourcesRequest::default();
        if self.version >= 1 { request.with_resource_types(vec![2, 32]) } else { request }
    }
}
