//! What groups are to those who list and describe them.

use bytes::Bytes;

use super::Name;
use crate::protocol::error::ErrorCode;
use crate::types::TopicId;

/// Kind of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupKind {
    /// Clients assign: JoinGroup and SyncGroup. Groups with nothing but offsets are of this kind.
    Classic,
    /// The server assigns: KIP-848.
    Consumer,
}

impl GroupKind {
    /// As ListGroups v5 says it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
        }
    }
}

/// State of a group of either kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupState {
    /// No members.
    Empty,
    /// Classic: members are joining.
    PreparingRebalance,
    /// Classic: the leader is assigning.
    CompletingRebalance,
    /// Everybody has what it should have.
    Stable,
    /// Consumer: a new target assignment is due.
    Assigning,
    /// Consumer: members are on their way to the target.
    Reconciling,
    /// Gone.
    Dead,
}

impl GroupState {
    /// As Kafka says it on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Dead => "Dead",
        }
    }
}

/// A line of ListGroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    /// The group.
    pub group: Name,
    /// Its protocol type, empty for a group of nothing but offsets.
    pub protocol_type: Name,
    /// Its state.
    pub state: GroupState,
    /// Its kind.
    pub kind: GroupKind,
}

/// A classic group as DescribeGroups shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedGroup {
    /// NONE, or GROUP_ID_NOT_FOUND.
    pub error: ErrorCode,
    /// What is wrong, in words.
    pub message: Option<String>,
    /// The group.
    pub group: Name,
    /// Its state.
    pub state: GroupState,
    /// Its protocol type.
    pub protocol_type: Name,
    /// The protocol chosen, empty unless stable.
    pub protocol: Name,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

impl DescribedGroup {
    /// There is no such group.
    #[must_use]
    pub fn not_found(group: Name) -> Self {
        Self {
            error: ErrorCode::GroupIdNotFound,
            message: Some(format!("Group {group} not found.")),
            group,
            state: GroupState::Dead,
            protocol_type: Name::default(),
            protocol: Name::default(),
            members: Vec::new(),
        }
    }
}

/// A member in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member: Name,
    /// Its instance id.
    pub instance: Option<Name>,
    /// Its `client.id`.
    pub client_id: Name,
    /// Where it connects from.
    pub client_host: Name,
    /// Its metadata of the chosen protocol, empty unless stable.
    pub metadata: Bytes,
    /// Its assignment, empty unless stable.
    pub assignment: Bytes,
}

/// A group of KIP-848 as ConsumerGroupDescribe shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedConsumerGroup {
    /// NONE, or GROUP_ID_NOT_FOUND.
    pub error: ErrorCode,
    /// What is wrong, in words.
    pub message: Option<String>,
    /// The group.
    pub group: Name,
    /// Its state.
    pub state: GroupState,
    /// Its epoch.
    pub epoch: i32,
    /// The epoch of its target assignment.
    pub assignment_epoch: i32,
    /// The assignor in use.
    pub assignor: Name,
    /// Its members.
    pub members: Vec<DescribedConsumer>,
}

impl DescribedConsumerGroup {
    /// There is no such group.
    #[must_use]
    pub fn not_found(group: Name) -> Self {
        Self {
            error: ErrorCode::GroupIdNotFound,
            message: Some(format!("Group {group} not found.")),
            group,
            state: GroupState::Dead,
            epoch: 0,
            assignment_epoch: 0,
            assignor: Name::default(),
            members: Vec::new(),
        }
    }
}

/// A member in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedConsumer {
    /// Its id.
    pub member: Name,
    /// Its instance id.
    pub instance: Option<Name>,
    /// Its rack.
    pub rack: Option<Name>,
    /// Its epoch.
    pub epoch: i32,
    /// Its `client.id`.
    pub client_id: Name,
    /// Where it connects from.
    pub client_host: Name,
    /// Topics subscribed by name.
    pub topic_names: Vec<Name>,
    /// The pattern subscribed.
    pub topic_regex: Option<Name>,
    /// What it has, with topic names.
    pub assignment: Vec<(TopicId, Name, Vec<i32>)>,
    /// What it should have, with topic names.
    pub target: Vec<(TopicId, Name, Vec<i32>)>,
    /// It speaks the classic protocol in a group of the new one (v1: member type 0, else 1).
    pub classic: bool,
}
