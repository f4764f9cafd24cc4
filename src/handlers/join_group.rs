//! JoinGroup (key 11), v0-9. A member asks to be in the next generation of a classic group; the answer waits for the others.
//!
//! - v0: the rebalance timeout is the session timeout. v4+: a dynamic member is told its id first (KIP-394).
//! - v5+: static members (KIP-345). v8+: a reason (KIP-800). v9+: the leader may leave the assignment as it is (KIP-814).
//! - Kind of the group, protocols and their metadata are opaque (`wire.md` rule 9).

use std::ops::RangeInclusive;

use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::{JoinGroupRequest, JoinGroupResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::wire::text;
use super::wire_groups::{client_host, client_id, fresh_member, in_turn, name, some_name, some_text};
use crate::coordinator::group::command::{JoinAnswer, JoinGroup as Join, Name, Protocol};

pub struct JoinGroup;

impl Api for JoinGroup {
    type Request = JoinGroupRequest;
    const NAME: &'static str = "JoinGroup";
    const VERSIONS: RangeInclusive<i16> = 0..=9;

    fn handle(context: &RequestContext, request: JoinGroupRequest) -> Handled<JoinGroupResponse> {
        let (version, member) = (context.version, name(&request.member_id));
        let join = of(context, request);
        let groups = context.broker.groups().clone();
        in_turn(async move {
            let group = join.group.clone();
            let joined = groups.ask(&group, join).await;
            answer(version, joined.unwrap_or_else(|error| JoinAnswer::refused(error, member)))
        })
    }
}

fn of(context: &RequestContext, request: JoinGroupRequest) -> Join {
    let protocol = |name_: &str, metadata| Protocol { name: name(name_), metadata };
    Join {
        group: name(&request.group_id),
        member: name(&request.member_id),
        instance: some_name(request.group_instance_id.as_ref()),
        client_id: client_id(context),
        client_host: client_host(context),
        protocol_type: name(&request.protocol_type),
        protocols: request.protocols.into_iter().map(|one| protocol(&one.name, one.metadata)).collect(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: if context.version == 0 {
            request.session_timeout_ms
        } else {
            request.rebalance_timeout_ms
        },
        reason: some_name(request.reason.as_ref()),
        fresh_member: fresh_member(context, request.group_instance_id.as_ref()),
        must_know_member: context.version >= 4,
        can_skip_assignment: context.version >= 9,
    }
}

fn answer(version: i16, joined: JoinAnswer) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|one| {
        JoinGroupResponseMember::default()
            .with_member_id(text(&one.member))
            .with_group_instance_id(some_text(one.instance.as_ref()))
            .with_metadata(one.metadata)
    });
    // Null may not be said before v7.
    let protocol = joined.protocol.or_else(|| (version < 7).then(Name::default));
    JoinGroupResponse::default()
        .with_error_code(joined.error.code())
        .with_generation_id(joined.generation)
        .with_protocol_type(some_text(joined.protocol_type.as_ref()))
        .with_protocol_name(some_text(protocol.as_ref()))
        .with_leader(text(&joined.leader))
        .with_skip_assignment(version >= 9 && joined.skip_assignment)
        .with_member_id(text(&joined.member))
        .with_members(members.collect())
}
