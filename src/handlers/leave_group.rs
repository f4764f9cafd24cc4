//! LeaveGroup (key 13), v0-5. A member leaves, or an administrator removes members.
//!
//! - v0-2: one member; its error is the answer's. v3+: many, also by instance id (KIP-345). v5+: reasons (KIP-800).

use std::ops::RangeInclusive;

use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::wire::text;
use super::wire_groups::{in_turn, is_valid_group, name, some_name, some_text};
use crate::coordinator::group::command::{LeaveAnswer, LeaveGroup as Leave, Leaver};
use crate::protocol::error::ErrorCode;

pub struct LeaveGroup;

impl Api for LeaveGroup {
    type Request = LeaveGroupRequest;
    const NAME: &'static str = "LeaveGroup";
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    fn handle(context: &RequestContext, request: LeaveGroupRequest) -> Handled<LeaveGroupResponse> {
        let version = context.version;
        if !is_valid_group(&request.group_id) {
            return Handled::Now(answer(version, refused(ErrorCode::InvalidGroupId)));
        }
        let members = if version < 3 {
            vec![Leaver { member: name(&request.member_id), ..Leaver::default() }]
        } else {
            let leaver = |member: &str, instance, reason| Leaver { member: name(member), instance, reason };
            let members = request.members.iter().map(|one| {
                let instance = some_name(one.group_instance_id.as_ref());
                leaver(&one.member_id, instance, some_name(one.reason.as_ref()))
            });
            members.collect()
        };
        let leave = Leave { group: name(&request.group_id), members };
        let groups = context.broker.groups().clone();
        in_turn(async move {
            let group = leave.group.clone();
            answer(version, groups.ask(&group, leave).await.unwrap_or_else(refused))
        })
    }
}

fn refused(error: ErrorCode) -> LeaveAnswer {
    LeaveAnswer { error, members: Vec::new() }
}

fn answer(version: i16, left: LeaveAnswer) -> LeaveGroupResponse {
    if version < 3 {
        let of_member = left.members.first().map_or(ErrorCode::None, |(_, error)| *error);
        let error = if left.error == ErrorCode::None { of_member } else { left.error };
        return LeaveGroupResponse::default().with_error_code(error.code());
    }
    let members = left.members.into_iter().map(|(leaver, error)| {
        MemberResponse::default()
            .with_member_id(text(&leaver.member))
            .with_group_instance_id(some_text(leaver.instance.as_ref()))
            .with_error_code(error.code())
    });
    LeaveGroupResponse::default().with_error_code(left.error.code()).with_members(members.collect())
}
