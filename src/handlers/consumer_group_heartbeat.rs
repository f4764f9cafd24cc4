//! ConsumerGroupHeartbeat (key 68), v0-1. A member of a KIP-848 group joins, lives, reconciles and leaves, all by this one request.
//!
//! - v0: the coordinator names a new member. v1+: the member names itself (KIP-1082), and may subscribe by a pattern.
//! - Null fields say "as before". What is malformed is INVALID_REQUEST with a message.

use std::ops::RangeInclusive;

use kafka_protocol::messages::consumer_group_heartbeat_response::{Assignment, TopicPartitions};
use kafka_protocol::messages::{ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::wire::text;
use super::wire_groups::{client_host, client_id, in_turn, name, some_name, some_text};
use crate::coordinator::group::command::{ConsumerHeartbeat, ConsumerHeartbeatAnswer, PartitionsById};
use crate::types::ids::encode_uuid;
use crate::types::{TopicId, random};

pub struct ConsumerGroupHeartbeat;

impl Api for ConsumerGroupHeartbeat {
    type Request = ConsumerGroupHeartbeatRequest;
    const NAME: &'static str = "ConsumerGroupHeartbeat";
    const VERSIONS: RangeInclusive<i16> = 0..=1;

    fn handle(
        context: &RequestContext,
        request: ConsumerGroupHeartbeatRequest,
    ) -> Handled<ConsumerGroupHeartbeatResponse> {
        let beat = of(context, request);
        let groups = context.broker.groups().clone();
        in_turn(async move {
            let group = beat.group.clone();
            let refused = |error| ConsumerHeartbeatAnswer { error, ..ConsumerHeartbeatAnswer::default() };
            answer(groups.ask(&group, beat).await.unwrap_or_else(refused))
        })
    }
}

fn of(context: &RequestContext, request: ConsumerGroupHeartbeatRequest) -> ConsumerHeartbeat {
    let names = request.subscribed_topic_names;
    let owned = request.topic_partitions.map(|topics| {
        let topic = |id, partitions| (TopicId::new(id).unwrap_or(TopicId::ZERO), partitions);
        topics.into_iter().map(|one| topic(one.topic_id, one.partitions)).collect::<PartitionsById>()
    });
    ConsumerHeartbeat {
        group: name(&request.group_id),
        member: name(&request.member_id),
        epoch: request.member_epoch,
        instance: some_name(request.instance_id.as_ref()),
        rack: some_name(request.rack_id.as_ref()),
        rebalance_timeout_ms: request.rebalance_timeout_ms,
        topic_names: names.map(|names| names.iter().map(|topic| name(topic)).collect()),
        topic_regex: some_name(request.subscribed_topic_regex.as_ref()),
        server_assignor: some_name(request.server_assignor.as_ref()),
        owned,
        client_id: client_id(context),
        client_host: client_host(context),
        fresh_member: if context.version == 0 { name(&encode_uuid(random::uuid())) } else { name("") },
    }
}

fn answer(told: ConsumerHeartbeatAnswer) -> ConsumerGroupHeartbeatResponse {
    let assignment = told.assignment.map(|topics| {
        let topics = topics.into_iter().map(|(id, partitions)| {
            TopicPartitions::default().with_topic_id(id.uuid()).with_partitions(partitions)
        });
        Assignment::default().with_topic_partitions(topics.collect())
    });
    ConsumerGroupHeartbeatResponse::default()
        .with_error_code(told.error.code())
        .with_error_message(told.message.map(text))
        .with_member_id(some_text(told.member.as_ref()))
        .with_member_epoch(told.epoch)
        .with_heartbeat_interval_ms(told.heartbeat_interval_ms)
        .with_assignment(assignment)
}
