//! Classic members of a consumer group: while a group migrates, they go on with JoinGroup, SyncGroup, Heartbeat and LeaveGroup.
//!
//! To such a member the group looks like a classic one that somebody else leads. Its generation is its member epoch. When its target
//! changes its heartbeats are answered with REBALANCE_IN_PROGRESS; it joins again, says in its metadata what it still owns, takes the
//! step that the heartbeat of a consumer member would take ([`super::reconcile`]), and learns its assignment by its sync. Nobody waits for
//! anybody else.

use super::ConsumerGroup;
use super::admit::Refused;
use super::member::{Member, MemberState, sorted_names};
use super::migrate::{Becoming, by_name};
use crate::coordinator::group::classic::{CONSUMER, ClassicGroup};
use crate::coordinator::group::command::{
    Answer, Heartbeat, JoinAnswer, JoinGroup, LeaveAnswer, LeaveGroup, Leaver, Name, PartitionsById,
    SyncAnswer, SyncGroup,
};
use crate::coordinator::group::records::{ClassicMemberValue, ConsumerMemberValue};
use crate::coordinator::group::settings::MigrationPolicy;
use crate::coordinator::group::turn::{Context, Ticket};
use crate::metadata::image::ClusterImage;
use crate::protocol::consumer_protocol::{self, Subscription};
use crate::protocol::error::ErrorCode;

impl ConsumerGroup {
    /// JoinGroup of a classic member. An empty group becomes a classic one.
    pub fn join(&mut self, context: &mut Context<'_>, request: JoinGroup, ticket: Ticket) {
        if self.members.is_empty() {
            self.join_empty(context, request, ticket);
            return;
        }
        let member = request.member.clone();
        let answer = self.try_join(context, request);
        let answer = answer.unwrap_or_else(|error| JoinAnswer::refused(error, member));
        context.answer(ticket, Answer::Join(answer));
    }

    fn join_empty(&mut self, context: &mut Context<'_>, request: JoinGroup, ticket: Ticket) {
        let error = if !request.member.is_empty() {
            ErrorCode::UnknownMemberId
        } else if request.protocol_type.is_empty() || request.protocols.is_empty() {
            ErrorCode::InconsistentGroupProtocol
        } else {
            self.write_tombstones(context);
            let mut classic = ClassicGroup::new(self.group.clone(), context.now);
            classic.join(context, request, ticket);
            self.becoming = Some(Becoming::Replaced(Box::new(classic)));
            return;
        };
        context.answer(ticket, Answer::Join(JoinAnswer::refused(error, request.member)));
    }

    fn try_join(&mut self, context: &mut Context<'_>, request: JoinGroup) -> Result<JoinAnswer, ErrorCode> {
        let has_no_id = request.member.is_empty();
        let id = if has_no_id { request.fresh_member.clone() } else { request.member.clone() };
        self.check_join(context, &request, &id)?;
        if has_no_id && request.instance.is_none() && request.must_know_member {
            return Ok(JoinAnswer::refused(ErrorCode::MemberIdRequired, id));
        }
        let known = match &request.instance {
            Some(instance) if has_no_id => self.static_member(instance),
            Some(instance) => {
                let owner = self.check_instance(self.static_member(instance), &id, instance);
                Some(owner.map_err(|refused| refused.error)?)
            }
            None => None,
        };
        let Some(preferred) = request.protocols.first().cloned() else {
            return Err(ErrorCode::InconsistentGroupProtocol);
        };
        let subscription = consumer_protocol::subscription(&preferred.metadata);
        let subscription = subscription.map_err(|_| ErrorCode::UnknownServerError)?;
        // Kafka takes anybody under any id. Who was removed and still has partitions, which others got since, must lose them first (rule
        // G3); whoever really begins has none.
        if !has_no_id && !self.members.contains_key(&id) && !subscription.owned.is_empty() {
            return Err(ErrorCode::UnknownMemberId);
        }
        let downgrade = known.is_some_and(|known| self.can_downgrade_with(context, known));

        if has_no_id && let Some(instance) = &request.instance {
            self.replace_static(context, instance, &id);
        }
        let owned = by_topic_id(context.image, &subscription);
        let metadata = self.metadata_of(&id, request, subscription);
        let is_news = self.members.get(&id).is_none_or(|known| known.metadata != metadata);
        let changed = is_news && self.set_metadata(context, &id, metadata, None);
        self.follow_topics(context, changed);
        self.disarm_classic(context, &id);
        if downgrade {
            let is_stale = self.assignment_epoch < self.epoch;
            if !is_stale {
                self.reconcile(context, &id, changed, Some(&owned));
            }
            // Kafka looks at the first alone; who waits for a partition would not learn that it is free.
            let rebalance = is_stale || self.index.settled < self.members.len();
            self.becoming = Some(Becoming::Classic { without: Vec::new(), rebalance });
        } else {
            self.maybe_assign(context);
            self.reconcile(context, &id, changed, Some(&owned));
            self.arm_session(context, &id);
            self.arm_classic(context, &id);
        }
        Ok(JoinAnswer {
            generation: self.members.get(&id).map_or(0, |member| member.current.epoch),
            protocol_type: Some(CONSUMER.into()),
            protocol: Some(preferred.name),
            member: id,
            ..JoinAnswer::default()
        })
    }

    /// Whether a classic member may be in this group at all.
    fn check_join(&self, context: &Context<'_>, request: &JoinGroup, id: &Name) -> Result<(), ErrorCode> {
        if context.settings.consumer_migration_policy == MigrationPolicy::Disabled {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        self.check_size(context, id).map_err(|refused| refused.error)?;
        let supported = |name: &Name| self.index.classic_protocols.get(name).copied().unwrap_or_default();
        let has_common = request.protocols.iter().any(|p| supported(&p.name) == self.index.classic);
        if &*request.protocol_type == CONSUMER && has_common {
            Ok(())
        } else {
            Err(ErrorCode::InconsistentGroupProtocol)
        }
    }

    fn metadata_of(&self, id: &Name, request: JoinGroup, subscription: Subscription) -> ConsumerMemberValue {
        let before = match self.members.get(id) {
            Some(known) => known.metadata.clone(),
            None => Member::new(id.clone()).metadata,
        };
        ConsumerMemberValue {
            instance: request.instance.or(before.instance),
            rack: subscription.rack.filter(|rack| !rack.is_empty()).or(before.rack),
            client_id: request.client_id,
            client_host: request.client_host,
            topic_names: sorted_names(subscription.topics),
            topic_regex: Some(Name::default()),
            rebalance_timeout_ms: match request.rebalance_timeout_ms {
                -1 => before.rebalance_timeout_ms,
                timeout_ms => timeout_ms,
            },
            server_assignor: before.server_assignor,
            classic: Some(ClassicMemberValue {
                session_timeout_ms: request.session_timeout_ms,
                protocols: request.protocols,
            }),
        }
    }

    /// SyncGroup of a classic member. Answered at once with what the member is assigned so far.
    pub fn sync(&mut self, context: &mut Context<'_>, request: SyncGroup, ticket: Ticket) {
        let answer = match self.try_sync(context, &request) {
            Ok(assignment) => SyncAnswer {
                error: ErrorCode::None,
                protocol_type: request.protocol_type,
                protocol: request.protocol,
                assignment,
            },
            Err(error) => SyncAnswer { error, ..SyncAnswer::default() },
        };
        context.answer(ticket, Answer::Sync(answer));
    }

    fn try_sync(&self, context: &mut Context<'_>, request: &SyncGroup) -> Result<bytes::Bytes, ErrorCode> {
        let member = self.classic_member(&request.member, request.instance.as_ref(), request.generation)?;
        let preferred = member.metadata.classic.as_ref().and_then(|classic| classic.protocols.first());
        let preferred = preferred.ok_or(ErrorCode::UnknownMemberId)?;
        let differs = |said: &Option<Name>, known: &str| said.as_deref().is_some_and(|said| said != known);
        if differs(&request.protocol_type, CONSUMER) || differs(&request.protocol, &preferred.name) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        let current = &member.current;
        if self.assignment_epoch > current.epoch && current.state != MemberState::Unrevoked {
            self.arm_classic_once(context, &member.id);
            return Err(ErrorCode::RebalanceInProgress);
        }
        self.disarm_classic(context, &member.id);
        self.arm_session(context, &member.id);
        let version = consumer_protocol::version(&preferred.metadata).unwrap_or(0);
        let assigned = current.assigned.iter().map(|(topic, partitions)| (topic, partitions.keys()));
        Ok(consumer_protocol::encode_assignment(version, &by_name(context.image, assigned)))
    }

    /// Heartbeat of a classic member: REBALANCE_IN_PROGRESS if it can take a step towards its target.
    pub fn heartbeat_classic(&mut self, context: &mut Context<'_>, request: &Heartbeat, ticket: Ticket) {
        let answer = self.try_heartbeat(context, request).err().unwrap_or(ErrorCode::None);
        context.answer(ticket, Answer::Heartbeat(answer));
    }

    fn try_heartbeat(&mut self, context: &mut Context<'_>, request: &Heartbeat) -> Result<(), ErrorCode> {
        let instance = request.instance.as_ref();
        let id = self.classic_member(&request.member, instance, request.generation)?.id.clone();
        self.arm_session(context, &id);
        if self.is_stale {
            self.follow_topics(context, false);
            self.maybe_assign(context);
        }
        let Some(member) = self.members.get(&id) else { return Err(ErrorCode::UnknownMemberId) };
        let can_go_on = match member.current.state {
            _ if member.current.epoch < self.assignment_epoch => true,
            MemberState::Unrevoked => true,
            MemberState::Unreleased => !self.waits_for_others(member),
            MemberState::Stable | MemberState::Unknown => false,
        };
        if can_go_on {
            self.arm_classic_once(context, &id);
            return Err(ErrorCode::RebalanceInProgress);
        }
        Ok(())
    }

    /// LeaveGroup, of classic members, or by an administrator for any.
    pub fn leave(&mut self, context: &mut Context<'_>, request: LeaveGroup, ticket: Ticket) {
        let mut gone = Vec::new();
        let mut members = Vec::new();
        for leaver in request.members {
            let error = match self.leaver(&leaver) {
                Ok(id) => {
                    gone.push(id.clone());
                    ErrorCode::None
                }
                Err(refused) => refused.error,
            };
            members.push((leaver, error));
        }
        gone.sort_unstable();
        gone.dedup();
        self.remove_members(context, gone);
        context.answer(ticket, Answer::Leave(LeaveAnswer { error: ErrorCode::None, members }));
    }

    fn leaver(&self, leaver: &Leaver) -> Result<&Name, Refused> {
        let known = match &leaver.instance {
            None => self.members.get(&leaver.member).ok_or_else(|| self.unknown(&leaver.member))?,
            Some(instance) => {
                let owner = self.static_member(instance);
                let member = match owner {
                    Some(owner) if leaver.member.is_empty() => &owner.id,
                    _ => &leaver.member,
                };
                self.check_instance(owner, member, instance)?
            }
        };
        Ok(&known.id)
    }

    /// The classic member of a request, at its generation.
    fn classic_member(
        &self,
        id: &Name,
        instance: Option<&Name>,
        generation: i32,
    ) -> Result<&Member, ErrorCode> {
        let member = match instance {
            None => self.members.get(id).ok_or(ErrorCode::UnknownMemberId)?,
            Some(instance) => {
                let owner = self.check_instance(self.static_member(instance), id, instance);
                owner.map_err(|refused| refused.error)?
            }
        };
        if !member.is_classic() {
            return Err(ErrorCode::UnknownMemberId);
        }
        if member.current.epoch != generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        Ok(member)
    }
}

/// What a member says that it owns, by topic id. Topics that do not exist any more are left out.
fn by_topic_id(image: &ClusterImage, subscription: &Subscription) -> PartitionsById {
    let owned = subscription.owned.iter();
    owned.filter_map(|(topic, partitions)| Some((image.topic(topic)?.id, partitions.clone()))).collect()
}
