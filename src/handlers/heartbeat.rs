//! Heartbeat (key 12), v0-4. A member of a classic generation says that it lives. v3+: static members (KIP-345).

use std::ops::RangeInclusive;

use kafka_protocol::messages::{HeartbeatRequest, HeartbeatResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::wire_groups::{in_turn, is_valid_group, name, some_name};
use crate::coordinator::group::command::Heartbeat as Beat;
use crate::protocol::error::ErrorCode;

pub struct Heartbeat;

impl Api for Heartbeat {
    type Request = HeartbeatRequest;
    const NAME: &'static str = "Heartbeat";
    const VERSIONS: RangeInclusive<i16> = 0..=4;

    fn handle(context: &RequestContext, request: HeartbeatRequest) -> Handled<HeartbeatResponse> {
        if !is_valid_group(&request.group_id) {
            return Handled::Now(answer(ErrorCode::InvalidGroupId));
        }
        let beat = Beat {
            group: name(&request.group_id),
            generation: request.generation_id,
            member: name(&request.member_id),
            instance: some_name(request.group_instance_id.as_ref()),
        };
        let groups = context.broker.groups().clone();
        in_turn(async move {
            let group = beat.group.clone();
            answer(match groups.ask(&group, beat).await {
                Ok(error) => error,
                // Sessions begin anew when the group is loaded, so there is nothing that the member should do (as Kafka).
                Err(ErrorCode::CoordinatorLoadInProgress) => ErrorCode::None,
                Err(error) => error,
            })
        })
    }
}

fn answer(error: ErrorCode) -> HeartbeatResponse {
    HeartbeatResponse::default().with_error_code(error.code())
}
