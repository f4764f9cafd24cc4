//! What a classic group says to those who commit, fetch, delete, forget and describe.

use super::{CONSUMER, ClassicGroup, Phase};
use crate::coordinator::group::command::{DescribedGroup, DescribedMember, Name, OffsetCommit, OffsetFetch};
use crate::coordinator::group::offsets::Aging;
use crate::coordinator::group::turn::Context;
use crate::protocol::error::ErrorCode;

impl ClassicGroup {
    /// Whether the commit may be written; a member's commit also shows that it lives (rule G1; Kafka's `validateOffsetCommit`).
    ///
    /// # Errors
    /// Kafka's code for every partition of the commit.
    pub fn check_commit(
        &mut self,
        context: &mut Context<'_>,
        request: &OffsetCommit,
    ) -> Result<(), ErrorCode> {
        if request.generation < 0 && self.phase == Phase::Empty {
            // An administrator, or a consumer that assigns itself: welcome as long as nobody else is there.
            return Ok(());
        }
        if request.generation < 0 && request.member.is_empty() && request.instance.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        match self.check_member(&request.member, request.instance.as_deref()) {
            ErrorCode::None => {}
            error => return Err(error),
        }
        if request.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        if matches!(self.phase, Phase::Completing { .. }) {
            // It has joined the generation, so it is no zombie: it syncs first, and commits then.
            return Err(ErrorCode::RebalanceInProgress);
        }
        self.arm_session(context, &request.member);
        Ok(())
    }

    /// Whether the offsets may be told to who asks: to everybody. Member and epoch of the request mean nothing to a classic group.
    #[must_use]
    pub const fn check_fetch(&self, _request: &OffsetFetch) -> ErrorCode {
        ErrorCode::None
    }

    /// Whether offsets of the group may be deleted at all: what the members of a group that are no consumers read is not known.
    #[must_use]
    pub fn check_offset_delete(&self) -> ErrorCode {
        if self.phase == Phase::Empty || self.has_consumers() {
            ErrorCode::None
        } else {
            ErrorCode::NonEmptyGroup
        }
    }

    fn has_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// Whether a member reads `topic`; true for any topic if the metadata of consumers cannot be read.
    #[must_use]
    pub fn reads(&self, topic: &str) -> bool {
        self.topics.as_ref().map_or_else(|| self.has_consumers(), |topics| topics.contains(topic))
    }

    /// From when the group's offsets age (KIP-211; Kafka's `offsetExpirationCondition`).
    #[must_use]
    pub fn aging(&self) -> Aging {
        match (&self.protocol_type, &self.phase) {
            // Nobody ever joined: a consumer that assigns itself, and that shows only by commits that it lives.
            (None, _) => Aging::SinceCommit,
            (Some(_), Phase::Empty) => self.since.map_or(Aging::SinceCommit, Aging::Since),
            (Some(_), Phase::Stable { .. }) if self.has_consumers() && self.topics.is_some() => {
                Aging::SinceCommit
            }
            (Some(_), _) => Aging::InUse,
        }
    }

    /// For DescribeGroups. Protocol and metadata are told of a stable group only.
    #[must_use]
    pub fn described(&self) -> DescribedGroup {
        let chosen = self.protocol.as_deref().filter(|_| matches!(self.phase, Phase::Stable { .. }));
        let members = self.members.iter().map(|(id, member)| DescribedMember {
            member: id.clone(),
            instance: member.instance.clone(),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            metadata: member.metadata(chosen),
            assignment: member.assignment.clone(),
        });
        DescribedGroup {
            error: ErrorCode::None,
            message: None,
            group: self.group.clone(),
            state: self.state(),
            protocol_type: self.protocol_type(),
            protocol: chosen.map(Name::from).unwrap_or_default(),
            members: members.collect(),
        }
    }
}
