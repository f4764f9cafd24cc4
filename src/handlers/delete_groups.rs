//! DeleteGroups (key 42), v0-2. Groups without members, and their offsets, are forgotten. A group named twice is deleted once.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::{DeleteGroupsRequest, DeleteGroupsResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::wire_groups::{each, in_turn};
use crate::protocol::error::ErrorCode;

pub struct DeleteGroups;

impl Api for DeleteGroups {
    type Request = DeleteGroupsRequest;
    const NAME: &'static str = "DeleteGroups";
    const VERSIONS: RangeInclusive<i16> = 0..=2;

    fn handle(context: &RequestContext, request: DeleteGroupsRequest) -> Handled<DeleteGroupsResponse> {
        let broker = context.broker.clone();
        let mut seen = BTreeSet::new();
        let once: Vec<_> =
            request.groups_names.into_iter().filter(|group| seen.insert(group.clone())).collect();
        let results = each(once, move |group| {
            let broker = broker.clone();
            async move {
                let error = broker.groups().delete_group(&group).await.err().unwrap_or(ErrorCode::None);
                DeletableGroupResult::default().with_group_id(group).with_error_code(error.code())
            }
        });
        in_turn(async move { DeleteGroupsResponse::default().with_results(results.await) })
    }
}
