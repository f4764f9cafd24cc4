//! Whether a heartbeat may be taken: everything that can refuse it is looked at before anything changes.

use super::ConsumerGroup;
use super::member::{LEAVE, LEAVE_FOR_A_WHILE, Member, MemberState, Owned};
use crate::coordinator::group::command::{ConsumerHeartbeat, ConsumerHeartbeatAnswer, Name, PartitionsById};
use crate::coordinator::group::regex::TopicPattern;
use crate::coordinator::group::settings::GroupSettings;
use crate::coordinator::group::turn::Context;
use crate::protocol::error::ErrorCode;

/// A request is refused, and why in words.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) error: ErrorCode,
    pub(super) message: String,
}

impl Refused {
    pub(super) fn new(error: ErrorCode, message: impl Into<String>) -> Self {
        Self { error, message: message.into() }
    }

    pub(super) fn into_answer(self) -> ConsumerHeartbeatAnswer {
        ConsumerHeartbeatAnswer {
            error: self.error,
            message: Some(self.message),
            ..ConsumerHeartbeatAnswer::default()
        }
    }
}

/// A heartbeat that is taken.
#[derive(Debug)]
pub(super) struct Admitted {
    /// The member's id.
    pub(super) member: Name,
    /// If it brings a pattern that the group does not have yet: the topics that match.
    pub(super) matched: Option<Vec<Name>>,
}

/// Whether the request makes sense in itself (Kafka's `throwIfConsumerGroupHeartbeatRequestIsInvalid`).
pub(super) fn validate(settings: &GroupSettings, request: &ConsumerHeartbeat) -> Result<(), Refused> {
    let blank = |text: &str| text.trim().is_empty();
    let invalid = |message: &str| Err(Refused::new(ErrorCode::InvalidRequest, message));
    if !settings.consumer_protocol_enabled {
        let error = ErrorCode::UnsupportedVersion;
        return Err(Refused::new(error, error.message()));
    }
    // Version 0 may leave the id to the coordinator; of later versions no fresh one is offered.
    let must_have_id = request.epoch > 0 || request.epoch == LEAVE || request.fresh_member.is_empty();
    if blank(&request.member) && must_have_id {
        return invalid("MemberId can't be empty.");
    }
    if blank(&request.group) {
        return invalid("GroupId can't be empty.");
    }
    if request.instance.as_deref().is_some_and(blank) {
        return invalid("InstanceId can't be empty.");
    }
    if request.rack.as_deref().is_some_and(blank) {
        return invalid("RackId can't be empty.");
    }
    if request.epoch == 0 {
        if request.rebalance_timeout_ms == -1 {
            return invalid("RebalanceTimeoutMs must be provided in first request.");
        }
        if request.owned.as_ref().is_none_or(|owned| !owned.is_empty()) {
            return invalid("TopicPartitions must be empty when (re-)joining.");
        }
        if request.topic_names.is_none() && request.topic_regex.is_none() {
            return invalid(
                "Either SubscribedTopicNames or SubscribedTopicRegex must be non-null when (re-)joining.",
            );
        }
    } else if request.epoch == LEAVE_FOR_A_WHILE && request.instance.is_none() {
        return invalid("InstanceId can't be null.");
    } else if request.epoch < LEAVE_FOR_A_WHILE {
        return invalid("MemberEpoch is invalid.");
    }
    if let Some(assignor) = &request.server_assignor
        && !settings.consumer_assignors.contains(assignor)
    {
        let supported = settings.consumer_assignors.iter().map(AsRef::as_ref).collect::<Vec<_>>().join(",");
        let message =
            format!("ServerAssignor {assignor} is not supported. Supported assignors: {supported}.");
        return Err(Refused::new(ErrorCode::UnsupportedAssignor, message));
    }
    Ok(())
}

impl ConsumerGroup {
    /// Whether a valid join or heartbeat is taken.
    pub(super) fn admit(
        &self,
        context: &Context<'_>,
        request: &ConsumerHeartbeat,
    ) -> Result<Admitted, Refused> {
        self.check_size(context, &request.member)?;
        let joins = request.epoch == 0;
        let id = if request.member.is_empty() { &request.fresh_member } else { &request.member };
        let known = match &request.instance {
            None => match self.members.get(id) {
                None if !joins => return Err(self.unknown(id)),
                known => known,
            },
            Some(instance) => match self.static_member(instance) {
                None if joins => None,
                Some(owner) if joins => {
                    if !owner.is_classic() && owner.current.epoch != LEAVE_FOR_A_WHILE {
                        return Err(unreleased(id, instance, owner));
                    }
                    Some(owner)
                }
                owner => Some(self.check_instance(owner, id, instance)?),
            },
        };
        if let Some(known) = known {
            check_epoch(known, request)?;
        }
        let matched = self.new_matches(context, request, known)?;
        Ok(Admitted { member: id.clone(), matched })
    }

    /// A group that is full takes only heartbeats of its members.
    pub(super) fn check_size(&self, context: &Context<'_>, member: &Name) -> Result<(), Refused> {
        let max = context.settings.consumer_max_size;
        if self.members.len() < max || self.members.contains_key(member) {
            return Ok(());
        }
        let message = format!("The consumer group has reached its maximum capacity of {max} members.");
        Err(Refused::new(ErrorCode::GroupMaxSizeReached, message))
    }

    /// The member with `instance`.
    pub(super) fn static_member(&self, instance: &str) -> Option<&Member> {
        self.members.get(self.index.statics.get(instance)?)
    }

    /// `owner` of the instance id must be `member`.
    pub(super) fn check_instance<'a>(
        &self,
        owner: Option<&'a Member>,
        member: &str,
        instance: &str,
    ) -> Result<&'a Member, Refused> {
        let Some(owner) = owner else {
            let message = format!("Instance id {instance} is unknown.");
            return Err(Refused::new(ErrorCode::UnknownMemberId, message));
        };
        if &*owner.id != member {
            let message = format!(
                "Static member {member} with instance id {instance} was fenced by member {}.",
                owner.id
            );
            return Err(Refused::new(ErrorCode::FencedInstanceId, message));
        }
        Ok(owner)
    }

    /// `member` is not here.
    pub(super) fn unknown(&self, member: &str) -> Refused {
        let message = format!("Member {member} is not a member of group {}.", self.group);
        Refused::new(ErrorCode::UnknownMemberId, message)
    }

    /// Resolves the request's pattern if nobody subscribes it yet.
    fn new_matches(
        &self,
        context: &Context<'_>,
        request: &ConsumerHeartbeat,
        known: Option<&Member>,
    ) -> Result<Option<Vec<Name>>, Refused> {
        let Some(pattern) = request.topic_regex.as_ref().filter(|pattern| !pattern.is_empty()) else {
            return Ok(None);
        };
        if known.and_then(Member::pattern) == Some(pattern) || self.matches.contains_key(pattern) {
            return Ok(None);
        }
        let invalid = |message: String| Refused::new(ErrorCode::InvalidRegularExpression, message);
        let compiled = TopicPattern::new(pattern).map_err(|error| invalid(error.to_string()))?;
        compiled.resolve(context.image).map(Some).map_err(|error| invalid(error.to_string()))
    }
}

fn unreleased(member: &str, instance: &str, owner: &Member) -> Refused {
    let message = format!(
        "Static member {member} with instance id {instance} cannot join the group because the instance id is owned by {} member.",
        owner.id
    );
    Refused::new(ErrorCode::UnreleasedInstanceId, message)
}

/// The epoch must be the member's, or the one before if the answer that told the new one was lost: the member then owns nothing but what
/// it was assigned. 0 begins anew.
fn check_epoch(member: &Member, request: &ConsumerHeartbeat) -> Result<(), Refused> {
    let current = &member.current;
    let fenced = |how: &str| {
        let message = format!(
            "The consumer group member has a {how} member epoch ({}) than the one known by the group coordinator ({}). \
             The member must abandon all its partitions and rejoin.",
            request.epoch, current.epoch
        );
        Err(Refused::new(ErrorCode::FencedMemberEpoch, message))
    };
    if request.epoch != 0 && request.epoch > current.epoch {
        return fenced("greater");
    }
    if request.epoch != 0
        && request.epoch < current.epoch
        && (request.epoch != current.previous_epoch || !is_subset(request.owned.as_ref(), &current.assigned))
    {
        return fenced("smaller");
    }
    if current.state == MemberState::Unknown && request.owned.as_ref().is_none_or(|owned| !owned.is_empty()) {
        let message = "The consumer group member is in a unknown state. The member must abandon all its partitions and rejoin.";
        return Err(Refused::new(ErrorCode::FencedMemberEpoch, message));
    }
    Ok(())
}

/// Whether all of `owned` is assigned; false if the member did not say what it owns.
fn is_subset(owned: Option<&PartitionsById>, assigned: &Owned) -> bool {
    owned.is_some_and(|owned| {
        owned.iter().all(|(topic, partitions)| {
            assigned.get(topic).is_some_and(|assigned| partitions.iter().all(|p| assigned.contains_key(p)))
        })
    })
}
