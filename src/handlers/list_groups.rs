//! ListGroups (key 16), v0-5. The groups that this broker coordinates. v4+: only in some states; v5+: only of some types. The case of
//! both filters does not matter, and a word that is none matches nothing.

use std::ops::RangeInclusive;

use kafka_protocol::messages::list_groups_response::ListedGroup as WireGroup;
use kafka_protocol::messages::{ListGroupsRequest, ListGroupsResponse};
use kafka_protocol::protocol::StrBytes;

use super::endpoint::{Api, Handled, RequestContext};
use super::wire::text;
use super::wire_groups::{group_id, in_turn};
use crate::coordinator::group::command::ListedGroup;

pub struct ListGroups;

impl Api for ListGroups {
    type Request = ListGroupsRequest;
    const NAME: &'static str = "ListGroups";
    const VERSIONS: RangeInclusive<i16> = 0..=5;

    fn handle(context: &RequestContext, request: ListGroupsRequest) -> Handled<ListGroupsResponse> {
        let groups = context.broker.groups().clone();
        in_turn(async move {
            let listed = match groups.list().await {
                Ok(listed) => listed,
                Err(error) => return ListGroupsResponse::default().with_error_code(error.code()),
            };
            let wanted = listed.into_iter().filter(|group| is_wanted(&request, group));
            ListGroupsResponse::default().with_groups(wanted.map(|group| line(&group)).collect())
        })
    }
}

fn is_wanted(request: &ListGroupsRequest, group: &ListedGroup) -> bool {
    is_named(&request.states_filter, group.state.name()) && is_named(&request.types_filter, group.kind.name())
}

/// Whether `word` is one of the filter's. An empty filter wants all.
fn is_named(filter: &[StrBytes], word: &str) -> bool {
    filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(word))
}

fn line(group: &ListedGroup) -> WireGroup {
    WireGroup::default()
        .with_group_id(group_id(&group.group))
        .with_protocol_type(text(&group.protocol_type))
        .with_group_state(text(group.state.name()))
        .with_group_type(text(group.kind.name()))
}
