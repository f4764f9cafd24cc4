//! A member of a classic group (Kafka's `ClassicGroupMember`).

use bytes::Bytes;

use crate::coordinator::group::command::{JoinGroup, Name, Protocol};
use crate::coordinator::group::records::GroupMemberValue;
use crate::coordinator::group::turn::Ticket;

/// The request of a member that is not answered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(in crate::coordinator::group) enum Waiting {
    /// It asked nothing.
    #[default]
    No,
    /// A JoinGroup: only while the group prepares a rebalance.
    Join(Ticket),
    /// A SyncGroup: only while the leader assigns.
    Sync(Ticket),
}

/// A member. Its id is its key in [`super::ClassicGroup::members`].
#[derive(Debug, Clone, PartialEq, Default)]
pub(in crate::coordinator::group) struct Member {
    /// `group.instance.id` of a static member.
    pub(in crate::coordinator::group) instance: Option<Name>,
    /// `client.id`.
    pub(in crate::coordinator::group) client_id: Name,
    /// Where it connects from.
    pub(in crate::coordinator::group) client_host: Name,
    /// How long a rebalance waits for it, in milliseconds.
    pub(in crate::coordinator::group) rebalance_timeout_ms: i32,
    /// How long it may be silent, in milliseconds.
    pub(in crate::coordinator::group) session_timeout_ms: i32,
    /// What it can do, the preferred first.
    pub(in crate::coordinator::group) protocols: Vec<Protocol>,
    /// Its assignment of the present generation, opaque.
    pub(in crate::coordinator::group) assignment: Bytes,
    /// Its parked request.
    pub(in crate::coordinator::group) waiting: Waiting,
    /// It has never been told a generation. Its client cannot send heartbeats yet, so it is given up only after
    /// [`super::NEW_MEMBER_JOIN_TIMEOUT_MS`], also while its join is parked.
    pub(in crate::coordinator::group) is_new: bool,
}

impl Member {
    /// As it asks to join.
    pub(super) fn joining(request: JoinGroup, ticket: Ticket) -> Self {
        Self {
            instance: request.instance,
            client_id: request.client_id,
            client_host: request.client_host,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            session_timeout_ms: request.session_timeout_ms,
            protocols: request.protocols,
            assignment: Bytes::new(),
            waiting: Waiting::Join(ticket),
            is_new: true,
        }
    }

    /// As the log says. Of its protocols only the chosen one is known.
    pub(super) fn replayed(value: GroupMemberValue, protocol: Option<&Name>) -> Self {
        let known = |name: &Name| Protocol { name: name.clone(), metadata: value.subscription.clone() };
        Self {
            protocols: protocol.map(known).into_iter().collect(),
            instance: value.instance,
            client_id: value.client_id,
            client_host: value.client_host,
            // Values of version 0 have no rebalance timeout.
            rebalance_timeout_ms: if value.rebalance_timeout_ms < 0 {
                value.session_timeout_ms
            } else {
                value.rebalance_timeout_ms
            },
            session_timeout_ms: value.session_timeout_ms,
            assignment: value.assignment,
            waiting: Waiting::No,
            is_new: false,
        }
    }

    /// As it is written.
    pub(super) fn value(&self, member: &Name, protocol: Option<&str>) -> GroupMemberValue {
        GroupMemberValue {
            member: member.clone(),
            instance: self.instance.clone(),
            client_id: self.client_id.clone(),
            client_host: self.client_host.clone(),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            session_timeout_ms: self.session_timeout_ms,
            subscription: self.metadata(protocol),
            assignment: self.assignment.clone(),
        }
    }

    /// It has an instance id (KIP-345).
    pub(in crate::coordinator::group) const fn is_static(&self) -> bool {
        self.instance.is_some()
    }

    /// Its JoinGroup is parked.
    pub(in crate::coordinator::group) const fn awaits_join(&self) -> bool {
        matches!(self.waiting, Waiting::Join(_))
    }

    /// Its metadata of `protocol`; empty if it does not have that protocol.
    pub(in crate::coordinator::group) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        self.protocols
            .iter()
            .find(|known| Some(&*known.name) == protocol)
            .map(|known| known.metadata.clone())
            .unwrap_or_default()
    }

    /// The end of its session matters: it is silent, and not because it waits for an answer of ours.
    pub(super) fn is_silent(&self) -> bool {
        self.is_new || self.waiting == Waiting::No
    }
}
