//! ConsumerGroupHeartbeat: a member joins, lives, changes what it subscribes, follows its target.

use std::collections::BTreeMap;

use super::ConsumerGroup;
use super::admit::{Admitted, Refused, validate};
use super::member::{LEAVE, LEAVE_FOR_A_WHILE, Member, by_id, owned_by_id, sorted_names};
use super::migrate;
use crate::coordinator::group::command::{Answer, ConsumerHeartbeat, ConsumerHeartbeatAnswer, Name};
use crate::coordinator::group::records::{ConsumerMemberValue, Record};
use crate::coordinator::group::shard::Group;
use crate::coordinator::group::turn::{Context, Ticket};
use crate::protocol::error::ErrorCode;

impl ConsumerGroup {
    /// ConsumerGroupHeartbeat. The group may not exist yet, or be a classic one that is empty or can be upgraded.
    ///
    /// # Cost
    /// O(log members) when nothing changes. A change costs O(what the member subscribes and owns), and O(the group) when it leads to a new
    /// target.
    pub fn heartbeat(
        groups: &mut BTreeMap<Name, Group>,
        context: &mut Context<'_>,
        request: ConsumerHeartbeat,
        ticket: Ticket,
    ) {
        let answer = match request.epoch {
            LEAVE | LEAVE_FOR_A_WHILE => leave(groups, context, &request),
            _ => alive(groups, context, &request),
        };
        let answer = answer.unwrap_or_else(Refused::into_answer);
        context.answer(ticket, Answer::ConsumerHeartbeat(answer));
    }

    /// Takes an admitted heartbeat.
    fn take(
        &mut self,
        context: &mut Context<'_>,
        request: &ConsumerHeartbeat,
        admitted: Admitted,
    ) -> ConsumerHeartbeatAnswer {
        let Admitted { member: id, matched } = admitted;
        if request.epoch == 0
            && let Some(instance) = &request.instance
        {
            self.replace_static(context, instance, &id);
        }
        let changed_metadata = changed(self.members.get(&id), request);
        let subscription_changed =
            changed_metadata.is_some_and(|metadata| self.set_metadata(context, &id, metadata, matched));
        self.follow_topics(context, subscription_changed);
        self.maybe_assign(context);
        let assignment_changed = self.reconcile(context, &id, subscription_changed, request.owned.as_ref());
        self.arm_session(context, &id);
        self.answer(context, request, &id, assignment_changed)
    }

    /// The assignment goes with the answer if the member cannot know it: it joins, sends all of its state again, or the assignment changed.
    fn answer(
        &self,
        context: &Context<'_>,
        request: &ConsumerHeartbeat,
        id: &Name,
        assignment_changed: bool,
    ) -> ConsumerHeartbeatAnswer {
        let is_full = request.rebalance_timeout_ms != -1
            && (request.topic_names.is_some() || request.topic_regex.is_some())
            && request.owned.is_some();
        let current = self.members.get(id).map(|member| &member.current);
        let assignment = current
            .filter(|_| request.epoch == 0 || is_full || assignment_changed)
            .map(|current| owned_by_id(&current.assigned));
        ConsumerHeartbeatAnswer {
            error: ErrorCode::None,
            message: None,
            member: Some(id.clone()),
            epoch: current.map_or(0, |current| current.epoch),
            heartbeat_interval_ms: self.heartbeat_interval_ms(context, id),
            assignment,
        }
    }

    /// A static member is back under another id, or in the other protocol: it takes over what the one before had.
    pub(super) fn replace_static(&mut self, context: &mut Context<'_>, instance: &str, id: &Name) {
        let Some(before) = self.static_member(instance).cloned() else { return };
        let target = self.targets.get(&before.id).cloned().unwrap_or_default();
        self.write_member_tombstones(context, &before.id);
        self.disarm(context, &before.id);
        let mut current = before.current;
        (current.epoch, current.previous_epoch) = (0, 0);
        let (group, member) = (self.group.clone(), id.clone());
        self.write(context, Record::ConsumerMember { group, member, value: Some(before.metadata) });
        let (group, member) = (self.group.clone(), id.clone());
        self.write(context, Record::TargetAssignmentMember { group, member, value: Some(by_id(&target)) });
        let (group, member) = (self.group.clone(), id.clone());
        self.write(context, Record::CurrentAssignment { group, member, value: Some(current.value()) });
    }
}

/// A member joins or lives.
fn alive(
    groups: &mut BTreeMap<Name, Group>,
    context: &mut Context<'_>,
    request: &ConsumerHeartbeat,
) -> Result<ConsumerHeartbeatAnswer, Refused> {
    validate(context.settings, request)?;
    let name = &request.group;
    match groups.get_mut(name) {
        Some(Group::Consumer(group)) => {
            let admitted = group.admit(context, request)?;
            Ok(group.take(context, request, admitted))
        }
        None if request.epoch != 0 => Err(not_found(name)),
        None => {
            let mut group = ConsumerGroup::new(name.clone());
            let admitted = group.admit(context, request)?;
            let answer = group.take(context, request, admitted);
            groups.insert(name.clone(), Group::Consumer(group));
            Ok(answer)
        }
        Some(Group::Classic(_)) if request.epoch != 0 => Err(not_consumer(name)),
        Some(entry @ Group::Classic(_)) => {
            let Group::Classic(classic) = entry else { return Err(not_consumer(name)) };
            let upgrade = migrate::Upgrade::of(context, classic)?;
            let admitted = upgrade.group.admit(context, request)?;
            let mut group = upgrade.carry_out(context, classic);
            let answer = group.take(context, request, admitted);
            *entry = Group::Consumer(group);
            Ok(answer)
        }
    }
}

/// A member leaves, for good or (static members) for a while.
fn leave(
    groups: &mut BTreeMap<Name, Group>,
    context: &mut Context<'_>,
    request: &ConsumerHeartbeat,
) -> Result<ConsumerHeartbeatAnswer, Refused> {
    validate(context.settings, request)?;
    let group = match groups.get_mut(&request.group) {
        Some(Group::Consumer(group)) => group,
        Some(Group::Classic(_)) => return Err(not_consumer(&request.group)),
        None => return Err(not_found(&request.group)),
    };
    let member = match &request.instance {
        None => group.members.get(&request.member).ok_or_else(|| group.unknown(&request.member))?,
        Some(instance) => group.check_instance(group.static_member(instance), &request.member, instance)?,
    };
    let id = member.id.clone();
    if request.epoch == LEAVE_FOR_A_WHILE {
        group.leave_for_a_while(context, &id);
    } else {
        group.remove_members(context, vec![id.clone()]);
    }
    Ok(ConsumerHeartbeatAnswer {
        member: Some(id),
        epoch: request.epoch,
        ..ConsumerHeartbeatAnswer::default()
    })
}

fn not_found(group: &str) -> Refused {
    Refused::new(ErrorCode::GroupIdNotFound, format!("Consumer group {group} not found."))
}

fn not_consumer(group: &str) -> Refused {
    Refused::new(ErrorCode::GroupIdNotFound, format!("Group {group} is not a consumer group."))
}

/// What is known of the member with what the request says; `None` if that is no news.
fn changed(known: Option<&Member>, request: &ConsumerHeartbeat) -> Option<ConsumerMemberValue> {
    let topic_names = request.topic_names.clone().map(sorted_names);
    let before = match known {
        Some(member) => {
            let before = &member.metadata;
            let says = |value: &Option<Name>, known: &Option<Name>| value.is_none() || value == known;
            let is_no_news = says(&request.instance, &before.instance)
                && says(&request.rack, &before.rack)
                && [-1, before.rebalance_timeout_ms].contains(&request.rebalance_timeout_ms)
                && topic_names.as_ref().is_none_or(|names| *names == before.topic_names)
                && says(&request.topic_regex, &before.topic_regex)
                && says(&request.server_assignor, &before.server_assignor)
                && request.client_id == before.client_id
                && request.client_host == before.client_host
                && before.classic.is_none();
            if is_no_news {
                return None;
            }
            before.clone()
        }
        None => Member::new(Name::default()).metadata,
    };
    Some(ConsumerMemberValue {
        instance: request.instance.clone().or(before.instance),
        rack: request.rack.clone().or(before.rack),
        client_id: request.client_id.clone(),
        client_host: request.client_host.clone(),
        topic_names: topic_names.unwrap_or(before.topic_names),
        topic_regex: request.topic_regex.clone().or(before.topic_regex),
        rebalance_timeout_ms: match request.rebalance_timeout_ms {
            -1 => before.rebalance_timeout_ms,
            timeout_ms => timeout_ms,
        },
        server_assignor: request.server_assignor.clone().or(before.server_assignor),
        classic: None,
    })
}
