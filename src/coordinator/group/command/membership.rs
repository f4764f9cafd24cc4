//! Joining, staying and leaving: the classic protocol and KIP-848.

use bytes::Bytes;

use super::{Name, PartitionsById};
use crate::protocol::error::ErrorCode;

/// A member asks to be in the next generation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JoinGroup {
    /// The group.
    pub group: Name,
    /// Its id, empty if it has none yet.
    pub member: Name,
    /// `group.instance.id` of a static member (KIP-345).
    pub instance: Option<Name>,
    /// `client.id`.
    pub client_id: Name,
    /// Where it connects from, as Kafka writes it: `/127.0.0.1`.
    pub client_host: Name,
    /// Kind of the group: `consumer`, `connect`, `sr`, or anything; opaque.
    pub protocol_type: Name,
    /// What it can do, the preferred first, each with opaque metadata.
    pub protocols: Vec<Protocol>,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// How long a rebalance waits for it to join again.
    pub rebalance_timeout_ms: i32,
    /// Why it joins (KIP-800).
    pub reason: Option<Name>,
    /// The id that it gets if it needs one: `<client.id or instance>-<uuid>`. Given from outside: the core has no randomness.
    pub fresh_member: Name,
    /// v4+: a dynamic member without an id is told its id first and joins again (KIP-394).
    pub must_know_member: bool,
    /// v9+: a leader may be told to leave the assignment as it is (KIP-814).
    pub can_skip_assignment: bool,
}

/// One protocol of a joining member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Protocol {
    /// E.g. `range`, `cooperative-sticky`.
    pub name: Name,
    /// Opaque; for protocol type `consumer` a `ConsumerProtocolSubscription`.
    pub metadata: Bytes,
}

/// To a join.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JoinAnswer {
    /// NONE, or why not.
    pub error: ErrorCode,
    /// The generation joined; -1 with an error.
    pub generation: i32,
    /// Kind of the group.
    pub protocol_type: Option<Name>,
    /// The protocol chosen.
    pub protocol: Option<Name>,
    /// The member that assigns.
    pub leader: Name,
    /// The leader need not assign (KIP-814).
    pub skip_assignment: bool,
    /// The id of the member that asked, also with MEMBER_ID_REQUIRED.
    pub member: Name,
    /// For the leader: everybody with the metadata of the chosen protocol.
    pub members: Vec<JoinedMember>,
}

impl JoinAnswer {
    /// Refuses `member` with `error`.
    #[must_use]
    pub fn refused(error: ErrorCode, member: Name) -> Self {
        Self { error, generation: -1, member, ..Self::default() }
    }
}

/// A member as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JoinedMember {
    /// Its id.
    pub member: Name,
    /// Its instance id.
    pub instance: Option<Name>,
    /// Its metadata of the chosen protocol.
    pub metadata: Bytes,
}

/// A member waits for its assignment; the leader brings everybody's.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SyncGroup {
    /// The group.
    pub group: Name,
    /// The generation that it joined.
    pub generation: i32,
    /// Its id.
    pub member: Name,
    /// Its instance id.
    pub instance: Option<Name>,
    /// v5+: what it believes of the group.
    pub protocol_type: Option<Name>,
    /// v5+: the protocol it believes chosen.
    pub protocol: Option<Name>,
    /// From the leader: member and opaque assignment.
    pub assignments: Vec<(Name, Bytes)>,
}

/// To a sync.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SyncAnswer {
    /// NONE, or why not.
    pub error: ErrorCode,
    /// Kind of the group.
    pub protocol_type: Option<Name>,
    /// The protocol chosen.
    pub protocol: Option<Name>,
    /// The member's assignment, opaque.
    pub assignment: Bytes,
}

/// A member of a classic generation says that it lives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heartbeat {
    /// The group.
    pub group: Name,
    /// The generation.
    pub generation: i32,
    /// Its id.
    pub member: Name,
    /// Its instance id.
    pub instance: Option<Name>,
}

/// Members leave, or are removed by an administrator.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeaveGroup {
    /// The group.
    pub group: Name,
    /// Who leaves.
    pub members: Vec<Leaver>,
}

/// One who leaves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leaver {
    /// Its id; empty if only the instance id is known.
    pub member: Name,
    /// Its instance id.
    pub instance: Option<Name>,
    /// Why (KIP-800).
    pub reason: Option<Name>,
}

/// To a leave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeaveAnswer {
    /// NONE, or why none of them left.
    pub error: ErrorCode,
    /// In the order asked.
    pub members: Vec<(Leaver, ErrorCode)>,
}

/// ConsumerGroupHeartbeat: `None` says "as before".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsumerHeartbeat {
    /// The group.
    pub group: Name,
    /// Its id; with v0 and epoch 0 empty.
    pub member: Name,
    /// Its epoch; 0 joins, -1 leaves, -2 leaves for a while (static members).
    pub epoch: i32,
    /// `group.instance.id`.
    pub instance: Option<Name>,
    /// `client.rack`.
    pub rack: Option<Name>,
    /// `max.poll.interval.ms`; -1 says as before.
    pub rebalance_timeout_ms: i32,
    /// Topics subscribed by name.
    pub topic_names: Option<Vec<Name>>,
    /// Topics subscribed by pattern (RE2); empty unsubscribes.
    pub topic_regex: Option<Name>,
    /// `group.remote.assignor`.
    pub server_assignor: Option<Name>,
    /// What it owns now.
    pub owned: Option<PartitionsById>,
    /// `client.id`.
    pub client_id: Name,
    /// As in [`JoinGroup::client_host`].
    pub client_host: Name,
    /// The id that it gets if it brings none (v0).
    pub fresh_member: Name,
}

/// To a consumer heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsumerHeartbeatAnswer {
    /// NONE, or why not.
    pub error: ErrorCode,
    /// What is wrong, in words.
    pub message: Option<String>,
    /// The member's id.
    pub member: Option<Name>,
    /// Its epoch from now on.
    pub epoch: i32,
    /// When it should be heard next.
    pub heartbeat_interval_ms: i32,
    /// What it should own, if it does not know that yet.
    pub assignment: Option<PartitionsById>,
}
