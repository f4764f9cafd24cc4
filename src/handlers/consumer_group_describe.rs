//! ConsumerGroupDescribe (key 69), v0-1. Groups of KIP-848 with members, assignments and targets. v1+: which protocol a member speaks
//! (KIP-1099).

use std::ops::RangeInclusive;

use kafka_protocol::messages::consumer_group_describe_response::{
    Assignment, DescribedGroup as WireGroup, Member, TopicPartitions,
};
use kafka_protocol::messages::{ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, GroupId};

use super::endpoint::{Api, Handled, RequestContext};
use super::wire::text;
use super::wire_groups::{each, in_turn, is_valid_group, operations, some_text, topic_name};
use crate::broker::Broker;
use crate::coordinator::group::command::{DescribedConsumer, DescribedConsumerGroup, Name};
use crate::protocol::error::ErrorCode;
use crate::types::TopicId;

const MEMBER_CLASSIC: i8 = 0;
const MEMBER_CONSUMER: i8 = 1;

pub struct ConsumerGroupDescribe;

impl Api for ConsumerGroupDescribe {
    type Request = ConsumerGroupDescribeRequest;
    const NAME: &'static str = "ConsumerGroupDescribe";
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    fn handle(
        context: &RequestContext,
        request: ConsumerGroupDescribeRequest,
    ) -> Handled<ConsumerGroupDescribeResponse> {
        let broker = context.broker.clone();
        let with_operations = request.include_authorized_operations;
        let groups = each(request.group_ids, move |group| {
            let broker = broker.clone();
            async move {
                let described = described(&broker, group).await;
                let operations = operations(with_operations, described.error_code);
                described.with_authorized_operations(operations)
            }
        });
        in_turn(async move { ConsumerGroupDescribeResponse::default().with_groups(groups.await) })
    }
}

async fn described(broker: &Broker, id: GroupId) -> WireGroup {
    let told = if !broker.broker_config().groups.consumer_protocol_enabled {
        Err(ErrorCode::UnsupportedVersion)
    } else if is_valid_group(&id) {
        broker.groups().describe_consumer(&id).await
    } else {
        Err(ErrorCode::InvalidGroupId)
    };
    let group = WireGroup::default().with_group_id(id);
    match told {
        Ok(told) if told.error == ErrorCode::None => describe(group, told),
        Ok(told) => group.with_error_code(told.error.code()).with_error_message(told.message.map(text)),
        Err(error) => group.with_error_code(error.code()),
    }
}

fn describe(group: WireGroup, told: DescribedConsumerGroup) -> WireGroup {
    group
        .with_group_state(text(told.state.name()))
        .with_group_epoch(told.epoch)
        .with_assignment_epoch(told.assignment_epoch)
        .with_assignor_name(text(&told.assignor))
        .with_members(told.members.into_iter().map(member).collect())
}

fn member(told: DescribedConsumer) -> Member {
    Member::default()
        .with_member_id(text(&told.member))
        .with_instance_id(some_text(told.instance.as_ref()))
        .with_rack_id(some_text(told.rack.as_ref()))
        .with_member_epoch(told.epoch)
        .with_client_id(text(&told.client_id))
        .with_client_host(text(&told.client_host))
        .with_subscribed_topic_names(told.topic_names.iter().map(|topic| topic_name(topic)).collect())
        .with_subscribed_topic_regex(some_text(told.topic_regex.as_ref()))
        .with_assignment(assignment(told.assignment))
        .with_target_assignment(assignment(told.target))
        .with_member_type(if told.classic { MEMBER_CLASSIC } else { MEMBER_CONSUMER })
}

fn assignment(topics: Vec<(TopicId, Name, Vec<i32>)>) -> Assignment {
    let topics = topics.into_iter().map(|(id, name, partitions)| {
        TopicPartitions::default()
            .with_topic_id(id.uuid())
            .with_topic_name(topic_name(&name))
            .with_partitions(partitions)
    });
    Assignment::default().with_topic_partitions(topics.collect())
}
