//! SyncGroup (key 14), v0-5. A member waits for its assignment; the leader of the generation brings everybody's.
//!
//! - v3+: static members (KIP-345). v5+: the member says which kind and protocol it believes in, and must.

use std::ops::RangeInclusive;

use kafka_protocol::messages::{SyncGroupRequest, SyncGroupResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::wire_groups::{in_turn, is_valid_group, name, some_name, some_text};
use crate::coordinator::group::command::{SyncAnswer, SyncGroup as Sync};
use crate::protocol::error::ErrorCode;

pub struct SyncGroup;

impl Api for SyncGroup {
    type Request = SyncGroupRequest;
    const NAME: &'static str = "SyncGroup";
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    fn handle(context: &RequestContext, request: SyncGroupRequest) -> Handled<SyncGroupResponse> {
        if context.version >= 5 && (request.protocol_type.is_none() || request.protocol_name.is_none()) {
            return Handled::Now(answer(refused(ErrorCode::InconsistentGroupProtocol)));
        }
        if !is_valid_group(&request.group_id) {
            return Handled::Now(answer(refused(ErrorCode::InvalidGroupId)));
        }
        let sync = Sync {
            group: name(&request.group_id),
            generation: request.generation_id,
            member: name(&request.member_id),
            instance: some_name(request.group_instance_id.as_ref()),
            protocol_type: some_name(request.protocol_type.as_ref()),
            protocol: some_name(request.protocol_name.as_ref()),
            assignments: request
                .assignments
                .into_iter()
                .map(|one| (name(&one.member_id), one.assignment))
                .collect(),
        };
        let groups = context.broker.groups().clone();
        in_turn(async move {
            let group = sync.group.clone();
            answer(groups.ask(&group, sync).await.unwrap_or_else(refused))
        })
    }
}

fn refused(error: ErrorCode) -> SyncAnswer {
    SyncAnswer { error, ..SyncAnswer::default() }
}

fn answer(synced: SyncAnswer) -> SyncGroupResponse {
    SyncGroupResponse::default()
        .with_error_code(synced.error.code())
        .with_protocol_type(some_text(synced.protocol_type.as_ref()))
        .with_protocol_name(some_text(synced.protocol.as_ref()))
        .with_assignment(synced.assignment)
}
