//! DescribeGroups (key 15), v0-6. Classic groups with their members.
//!
//! - v3+: authorized operations. v4+: instance ids (KIP-345).
//! - A group that does not exist is GROUP_ID_NOT_FOUND with a message from v6 on (KIP-1043); before, it is `Dead` without an error.

use std::ops::RangeInclusive;

use kafka_protocol::messages::describe_groups_response::{
    DescribedGroup as WireGroup, DescribedGroupMember as WireMember,
};
use kafka_protocol::messages::{DescribeGroupsRequest, DescribeGroupsResponse, GroupId};

use super::endpoint::{Api, Handled, RequestContext};
use super::wire::text;
use super::wire_groups::{each, in_turn, operations, some_text};
use crate::coordinator::group::command::{DescribedGroup, DescribedMember};
use crate::protocol::error::ErrorCode;

pub struct DescribeGroups;

impl Api for DescribeGroups {
    type Request = DescribeGroupsRequest;
    const NAME: &'static str = "DescribeGroups";
    const VERSIONS: RangeInclusive<i16> = 0..=6;

    fn handle(context: &RequestContext, request: DescribeGroupsRequest) -> Handled<DescribeGroupsResponse> {
        let (broker, version) = (context.broker.clone(), context.version);
        let with_operations = version >= 3 && request.include_authorized_operations;
        let groups = each(request.groups, move |group| {
            let broker = broker.clone();
            async move {
                let described = broker.groups().describe_classic(&group).await;
                let described = match described {
                    Ok(described) => describe(version, group, described),
                    Err(error) => WireGroup::default().with_error_code(error.code()).with_group_id(group),
                };
                let operations = operations(with_operations, described.error_code);
                described.with_authorized_operations(operations)
            }
        });
        in_turn(async move { DescribeGroupsResponse::default().with_groups(groups.await) })
    }
}

fn describe(version: i16, id: GroupId, group: DescribedGroup) -> WireGroup {
    let (error, message) = match group.error {
        ErrorCode::GroupIdNotFound if version < 6 => (ErrorCode::None, None),
        error => (error, group.message.filter(|_| version >= 6)),
    };
    WireGroup::default()
        .with_error_code(error.code())
        .with_error_message(message.map(text))
        .with_group_id(id)
        .with_group_state(text(group.state.name()))
        .with_protocol_type(text(&group.protocol_type))
        .with_protocol_data(text(&group.protocol))
        .with_members(group.members.into_iter().map(member).collect())
}

fn member(member: DescribedMember) -> WireMember {
    WireMember::default()
        .with_member_id(text(&member.member))
        .with_group_instance_id(some_text(member.instance.as_ref()))
        .with_client_id(text(&member.client_id))
        .with_client_host(text(&member.client_host))
        .with_member_metadata(member.metadata)
        .with_member_assignment(member.assignment)
}
