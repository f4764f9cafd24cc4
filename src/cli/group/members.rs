//! A group and its members, whichever of the two protocols it speaks.

use std::collections::BTreeMap;

use serde::Serialize;

use super::assignment;
use super::coordinator::{Groups, group_id};
use crate::cli::exit::{CliError, Outcome};
use crate::protocol::error::ErrorCode;
use crate::protocol::peer::StrBytes;
use crate::protocol::peer::messages::consumer_group_describe_response::{self, Assignment};
use crate::protocol::peer::messages::describe_groups_response;
use crate::protocol::peer::messages::{ConsumerGroupDescribeRequest, DescribeGroupsRequest};

/// Partitions by topic name.
pub type Partitions = BTreeMap<String, Vec<i32>>;

/// A group, as `-o json` prints it.
#[derive(Debug, Clone, Serialize)]
pub struct Group {
    /// Its id.
    pub group: String,
    /// `classic` or `consumer` (KIP-848).
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// Its state, as the broker says it.
    pub state: String,
    /// The broker that coordinates it.
    pub coordinator: Option<i32>,
    /// Kind of a classic group: `consumer`, `connect`, ...
    pub protocol_type: String,
    /// Who assigns: the protocol chosen by a classic group, the assignor of the broker otherwise.
    pub assignor: String,
    /// Its epoch (KIP-848).
    pub epoch: Option<i32>,
    /// The epoch of its target assignment (KIP-848).
    pub assignment_epoch: Option<i32>,
    /// Its members, by id.
    pub members: Vec<Member>,
}

/// A member of it, as `-o json` prints it.
#[derive(Debug, Clone, Serialize)]
pub struct Member {
    /// Its id.
    pub member: String,
    /// `group.instance.id` of a static member.
    pub instance: Option<String>,
    /// `client.id`.
    pub client: String,
    /// Where it connects from.
    pub host: String,
    /// `client.rack` (KIP-848).
    pub rack: Option<String>,
    /// Its epoch (KIP-848).
    pub epoch: Option<i32>,
    /// What it has; `None` if the group's protocol is not one of consumers.
    pub assignment: Option<Partitions>,
    /// What it should have (KIP-848).
    pub target: Option<Partitions>,
}

impl Group {
    /// Whether it has members, so that its offsets are theirs to move.
    #[must_use]
    pub fn is_active(&self) -> bool {
        !self.members.is_empty() || !matches!(self.state.as_str(), "Empty" | "Dead")
    }
}

/// The group of that name, `None` if there is none: first asked for as a consumer group, then as a classic one.
///
/// # Errors
/// If the coordinator cannot be asked, or refuses.
pub async fn describe(groups: &mut Groups, group: &str) -> Outcome<Option<Group>> {
    if groups.cluster.any().serves::<ConsumerGroupDescribeRequest>() {
        let request = |_| ConsumerGroupDescribeRequest::default().with_group_ids(vec![group_id(group)]);
        let answer =
            groups.ask(group, request, |a| first_code(a.groups.iter().map(|g| g.error_code))).await?;
        if let Some(found) = answer.groups.into_iter().next() {
            match ErrorCode::from_code(found.error_code) {
                Some(ErrorCode::None) => return Ok(Some(of_consumer(found, groups.coordinator_of(group)))),
                Some(ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion) => {}
                _ => return Err(refused(group, found.error_code, found.error_message.as_ref())),
            }
        }
    }
    let request = |_| DescribeGroupsRequest::default().with_groups(vec![group_id(group)]);
    let answer = groups.ask(group, request, |a| first_code(a.groups.iter().map(|g| g.error_code))).await?;
    let Some(found) = answer.groups.into_iter().next() else { return Ok(None) };
    match ErrorCode::from_code(found.error_code) {
        // Up to version 5 a group that does not exist is dead.
        Some(ErrorCode::None) if found.group_state.as_str() == "Dead" => Ok(None),
        Some(ErrorCode::None) => Ok(Some(of_classic(found, groups.coordinator_of(group)))),
        Some(ErrorCode::GroupIdNotFound) => Ok(None),
        _ => Err(refused(group, found.error_code, found.error_message.as_ref())),
    }
}

/// As [`describe`] of a group that must exist.
///
/// # Errors
/// Also if it does not.
pub async fn describe_existing(groups: &mut Groups, group: &str) -> Outcome<Group> {
    describe(groups, group).await?.ok_or_else(|| no_such_group(groups, group))
}

/// The group does not exist.
#[must_use]
pub fn no_such_group(groups: &Groups, group: &str) -> CliError {
    CliError::failure(format!("group {group:?} does not exist"))
        .at(groups.cluster.address())
        .help("see what there is: ketcd group list")
}

fn refused(group: &str, code: i16, message: Option<&StrBytes>) -> CliError {
    CliError::from_code(&format!("group {group:?}"), code, message.map(|m| m.as_str()))
}

fn first_code(mut codes: impl Iterator<Item = i16>) -> i16 {
    codes.next().unwrap_or_default()
}

fn of_consumer(found: consumer_group_describe_response::DescribedGroup, coordinator: Option<i32>) -> Group {
    let mut members: Vec<_> = found
        .members
        .into_iter()
        .map(|member| Member {
            member: member.member_id.to_string(),
            instance: member.instance_id.map(|id| id.to_string()),
            client: member.client_id.to_string(),
            host: host(&member.client_host),
            rack: member.rack_id.map(|rack| rack.to_string()),
            epoch: Some(member.member_epoch),
            assignment: Some(partitions(&member.assignment)),
            target: Some(partitions(&member.target_assignment)),
        })
        .collect();
    members.sort_by(|a, b| a.member.cmp(&b.member));
    Group {
        group: found.group_id.to_string(),
        kind: "consumer",
        state: found.group_state.to_string(),
        coordinator,
        protocol_type: "consumer".to_owned(),
        assignor: found.assignor_name.to_string(),
        epoch: Some(found.group_epoch),
        assignment_epoch: Some(found.assignment_epoch),
        members,
    }
}

fn of_classic(found: describe_groups_response::DescribedGroup, coordinator: Option<i32>) -> Group {
    let of_consumers = matches!(found.protocol_type.as_str(), "consumer" | "");
    let mut members: Vec<_> = found
        .members
        .into_iter()
        .map(|member| Member {
            member: member.member_id.to_string(),
            instance: member.group_instance_id.map(|id| id.to_string()),
            client: member.client_id.to_string(),
            host: host(&member.client_host),
            rack: None,
            epoch: None,
            assignment: of_consumers.then(|| assignment::read(&member.member_assignment)).flatten(),
            target: None,
        })
        .collect();
    members.sort_by(|a, b| a.member.cmp(&b.member));
    Group {
        group: found.group_id.to_string(),
        kind: "classic",
        state: found.group_state.to_string(),
        coordinator,
        protocol_type: found.protocol_type.to_string(),
        assignor: found.protocol_data.to_string(),
        epoch: None,
        assignment_epoch: None,
        members,
    }
}

fn partitions(assignment: &Assignment) -> Partitions {
    let mut topics = Partitions::new();
    for topic in &assignment.topic_partitions {
        topics.entry(topic.topic_name.to_string()).or_default().extend(&topic.partitions);
    }
    topics.values_mut().for_each(|partitions| partitions.sort_unstable());
    topics
}

/// Java writes an address with a slash before it.
fn host(host: &str) -> String {
    host.trim_start_matches('/').to_owned()
}
