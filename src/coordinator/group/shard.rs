//! One shard: every group of one partition of `__consumer_offsets`, and the one way in.

use std::collections::BTreeMap;

use super::classic::{ClassicGroup, protocols_bytes, refused_outright};
use super::command::{
    Answer, Command, ConsumerHeartbeatAnswer, DescribedConsumerGroup, DescribedGroup, GroupKind, GroupState,
    JoinAnswer, LeaveAnswer, ListedGroup, Name, OffsetCommit, OffsetDelete, OffsetDeleteAnswer, OffsetFetch,
    OffsetFetchAnswer, SyncAnswer,
};
use super::consumer::ConsumerGroup;
use super::offsets::{Aging, FORGOTTEN_PER_TURN_MAX, Offsets};
use super::records::{NAME_BYTES_MAX, Record};
use super::settings::GroupSettings;
use super::timers::{TimerKey, Timers};
use super::turn::{Context, Now, Ticket, Turn};
use crate::metadata::image::ClusterImage;
use crate::protocol::error::ErrorCode;
use crate::types::Millis;

/// A group of either kind.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // what a group takes is in its members; a box would only be one more step to each
pub enum Group {
    /// Clients assign; also groups of nothing but offsets.
    Classic(ClassicGroup),
    /// The server assigns (KIP-848).
    Consumer(ConsumerGroup),
}

/// When one turn was not enough to forget all that is due, the next one is taken after this time: others come in between.
const SOON_MS: Millis = 1;

/// The groups of one partition of `__consumer_offsets`.
#[derive(Debug, Default)]
pub struct GroupShard {
    groups: BTreeMap<Name, Group>,
    offsets: Offsets,
    timers: Timers,
}

impl GroupShard {
    /// Takes over one record of the log, oldest first, before [`GroupShard::loaded`].
    pub fn replay(&mut self, record: Record) {
        match record {
            Record::OffsetCommit { group, topic, partition, value } => {
                self.offsets.replay(&group, &topic, partition, value);
            }
            Record::Group { group, value: Some(value) } => {
                self.groups.insert(group.clone(), Group::Classic(ClassicGroup::replayed(group, value)));
            }
            Record::Group { group, value: None } => {
                if matches!(self.groups.get(&group), Some(Group::Classic(_))) {
                    self.groups.remove(&group);
                }
            }
            record => ConsumerGroup::replay(&mut self.groups, record),
        }
    }

    /// Everything is replayed: sessions begin, groups of nothing but offsets come to be. From now on steps are taken.
    pub fn loaded(&mut self, now: Now, settings: &GroupSettings, image: &ClusterImage) -> Turn {
        for group in self.offsets.groups() {
            self.groups
                .entry(group.clone())
                .or_insert_with(|| Group::Classic(ClassicGroup::new(group.clone(), now)));
        }
        let mut turn = Turn::default();
        let mut context = Context { now, settings, image, timers: &mut self.timers, turn: &mut turn };
        let check_ms = if self.offsets.forget_deleted_topics(&mut context) {
            SOON_MS
        } else {
            settings.offsets_retention_check_interval_ms
        };
        context.timers.set(TimerKey::Expiry, now.elapsed_ms + check_ms);
        for group in self.groups.values_mut() {
            match group {
                Group::Classic(group) => group.loaded(&mut context),
                Group::Consumer(group) => group.loaded(&mut context),
            }
        }
        turn
    }

    /// The next deadline, on the clock of [`Now::elapsed_ms`].
    #[must_use]
    pub fn next_deadline(&self) -> Option<Millis> {
        self.timers.next()
    }

    /// Takes one step. The answer to `ticket` is in this turn or in a later one.
    pub fn step(
        &mut self,
        now: Now,
        settings: &GroupSettings,
        image: &ClusterImage,
        ticket: Ticket,
        command: Command,
    ) -> Turn {
        let mut turn = Turn::default();
        let mut context = Context { now, settings, image, timers: &mut self.timers, turn: &mut turn };
        let context = &mut context;
        let groups = &mut self.groups;
        let offsets = &mut self.offsets;
        match command {
            Command::Join(request) => {
                if cannot_be_written(&request.fresh_member) {
                    let refused = JoinAnswer::refused(ErrorCode::InvalidRequest, Name::default());
                    context.answer(ticket, Answer::Join(refused));
                    return turn;
                }
                if let Some(error) = refused_outright(context.settings, &request) {
                    let answer = JoinAnswer::refused(error, Name::default());
                    context.answer(ticket, Answer::Join(answer));
                    return turn;
                }
                let group = request.group.clone();
                match groups.get_mut(&group) {
                    Some(Group::Classic(group)) => group.join(context, request, ticket),
                    Some(Group::Consumer(_))
                        if protocols_bytes(&request.protocols) > context.settings.group_bytes_max =>
                    {
                        let refused = JoinAnswer::refused(ErrorCode::GroupMaxSizeReached, Name::default());
                        context.answer(ticket, Answer::Join(refused));
                    }
                    Some(Group::Consumer(group)) => group.join(context, request, ticket),
                    None if request.member.is_empty() => {
                        let mut new = ClassicGroup::new(group.clone(), now);
                        new.join(context, request, ticket);
                        if !new.never_was() {
                            groups.insert(group.clone(), Group::Classic(new));
                        }
                    }
                    None => context.answer(
                        ticket,
                        Answer::Join(JoinAnswer::refused(ErrorCode::UnknownMemberId, request.member)),
                    ),
                }
                settle(groups, &group, context);
            }
            Command::Sync(request) => {
                let group = request.group.clone();
                match groups.get_mut(&group) {
                    Some(Group::Classic(group)) => group.sync(context, request, ticket),
                    Some(Group::Consumer(group)) => group.sync(context, request, ticket),
                    None => {
                        let answer = SyncAnswer { error: ErrorCode::UnknownMemberId, ..Default::default() };
                        context.answer(ticket, Answer::Sync(answer));
                    }
                }
                settle(groups, &group, context);
            }
            Command::Heartbeat(request) => match groups.get_mut(&request.group) {
                Some(Group::Classic(group)) => group.heartbeat(context, &request, ticket),
                Some(Group::Consumer(group)) => group.heartbeat_classic(context, &request, ticket),
                None => context.answer(ticket, Answer::Heartbeat(ErrorCode::UnknownMemberId)),
            },
            Command::Leave(request) => {
                let group = request.group.clone();
                match groups.get_mut(&group) {
                    Some(Group::Classic(group)) => group.leave(context, request, ticket),
                    Some(Group::Consumer(group)) => group.leave(context, request, ticket),
                    None => {
                        let members =
                            request.members.into_iter().map(|m| (m, ErrorCode::UnknownMemberId)).collect();
                        context
                            .answer(ticket, Answer::Leave(LeaveAnswer { error: ErrorCode::None, members }));
                    }
                }
                settle(groups, &group, context);
            }
            Command::ConsumerHeartbeat(request) => {
                let refused =
                    if cannot_be_written(&request.member) || cannot_be_written(&request.fresh_member) {
                        Some(ErrorCode::InvalidRequest)
                    } else {
                        let topics = request.topic_names.iter().flatten();
                        let subscription: usize = topics.map(|topic| topic.len()).sum();
                        // A member is one record, which must fit into the log.
                        (subscription > context.settings.group_bytes_max)
                            .then_some(ErrorCode::GroupMaxSizeReached)
                    };
                if let Some(error) = refused {
                    let answer = ConsumerHeartbeatAnswer { error, ..ConsumerHeartbeatAnswer::default() };
                    context.answer(ticket, Answer::ConsumerHeartbeat(answer));
                    return turn;
                }
                let group = request.group.clone();
                ConsumerGroup::heartbeat(groups, context, request, ticket);
                settle(groups, &group, context);
            }
            Command::CommitOffsets(request) => {
                let answer = commit(groups, offsets, context, &request);
                context.answer(ticket, Answer::CommitOffsets(answer));
            }
            Command::FetchOffsets(request) => {
                let answer = fetch(groups, offsets, context, &request);
                context.answer(ticket, Answer::FetchOffsets(answer));
            }
            Command::DeleteOffsets(request) => {
                let answer = delete_offsets(groups, offsets, context, &request);
                context.answer(ticket, Answer::DeleteOffsets(answer));
            }
            Command::List => {
                let listed = groups.iter().map(|(name, group)| group.listed(name)).collect();
                context.answer(ticket, Answer::List(listed));
            }
            Command::DescribeClassic(name) => {
                let described = match groups.get(&name) {
                    Some(Group::Classic(group)) => group.described(),
                    Some(Group::Consumer(_)) => not_classic(name),
                    None => DescribedGroup::not_found(name),
                };
                context.answer(ticket, Answer::DescribeClassic(described));
            }
            Command::DescribeConsumer(name) => {
                let described = match groups.get(&name) {
                    Some(Group::Consumer(group)) => group.described(context),
                    Some(Group::Classic(_)) => not_consumer(name),
                    None => DescribedConsumerGroup::not_found(name),
                };
                context.answer(ticket, Answer::DescribeConsumer(described));
            }
            Command::DeleteGroup(name) => {
                let error = delete_group(groups, offsets, context, &name);
                context.answer(ticket, Answer::DeleteGroup(error));
            }
        }
        turn
    }

    /// Acts on every deadline that is due.
    pub fn tick(&mut self, now: Now, settings: &GroupSettings, image: &ClusterImage) -> Turn {
        let mut turn = Turn::default();
        while let Some(key) = self.timers.pop_due(now.elapsed_ms) {
            let mut context = Context { now, settings, image, timers: &mut self.timers, turn: &mut turn };
            let context = &mut context;
            match &key {
                TimerKey::Expiry => {
                    let more = self.offsets.forget_deleted_topics(context)
                        || expire(&mut self.groups, &mut self.offsets, context);
                    let wait_ms = if more { SOON_MS } else { settings.offsets_retention_check_interval_ms };
                    context.timers.set(TimerKey::Expiry, now.elapsed_ms + wait_ms);
                }
                TimerKey::Join(name)
                | TimerKey::Sync(name)
                | TimerKey::Session(name, _)
                | TimerKey::PendingMember(name, _)
                | TimerKey::ConsumerSession(name, _)
                | TimerKey::ConsumerRebalance(name, _)
                | TimerKey::Assignment(name)
                | TimerKey::ConsumerClassic(name, _) => {
                    let name = name.clone();
                    match self.groups.get_mut(&name) {
                        Some(Group::Classic(group)) => group.on_timer(context, &key),
                        Some(Group::Consumer(group)) => group.on_timer(context, &key),
                        None => {}
                    }
                    settle(&mut self.groups, &name, context);
                }
            }
        }
        turn
    }

    /// The image changed: topics were made, grown or deleted.
    pub fn image_changed(&mut self, now: Now, settings: &GroupSettings, image: &ClusterImage) -> Turn {
        let mut turn = Turn::default();
        let mut context = Context { now, settings, image, timers: &mut self.timers, turn: &mut turn };
        if self.offsets.forget_deleted_topics(&mut context) {
            context.timers.set(TimerKey::Expiry, now.elapsed_ms + SOON_MS);
        }
        for group in self.groups.values_mut() {
            if let Group::Consumer(group) = group {
                group.image_changed(&mut context);
            }
        }
        turn
    }

    /// What it holds, for tests.
    #[cfg(test)]
    pub(super) const fn groups(&self) -> &BTreeMap<Name, Group> {
        &self.groups
    }

    /// Its deadlines, for tests.
    #[cfg(test)]
    pub(super) const fn timers(&self) -> &Timers {
        &self.timers
    }

    /// Every group, for the metrics.
    pub fn listed(&self) -> impl Iterator<Item = ListedGroup> + '_ {
        self.groups.iter().map(|(name, group)| group.listed(name))
    }

    /// The committed offsets of all groups, for the lag metrics.
    #[must_use]
    pub const fn offsets(&self) -> &Offsets {
        &self.offsets
    }
}

impl Group {
    /// Its line of ListGroups.
    #[must_use]
    pub fn listed(&self, name: &Name) -> ListedGroup {
        match self {
            Self::Classic(group) => ListedGroup {
                group: name.clone(),
                protocol_type: group.protocol_type(),
                state: group.state(),
                kind: GroupKind::Classic,
            },
            Self::Consumer(group) => ListedGroup {
                group: name.clone(),
                protocol_type: "consumer".into(),
                state: group.state(),
                kind: GroupKind::Consumer,
            },
        }
    }

    /// Its state.
    #[must_use]
    pub fn state(&self) -> GroupState {
        match self {
            Self::Classic(group) => group.state(),
            Self::Consumer(group) => group.state(),
        }
    }

    fn aging(&self) -> Aging {
        match self {
            Self::Classic(group) => group.aging(),
            Self::Consumer(_) => Aging::SinceCommit,
        }
    }

    fn write_tombstones(&mut self, context: &mut Context<'_>) {
        match self {
            Self::Classic(group) => group.write_tombstones(context),
            Self::Consumer(group) => group.write_tombstones(context),
        }
    }

    /// Whether a member reads `topic`, so that its offsets are in use.
    #[must_use]
    pub fn reads(&self, topic: &str) -> bool {
        match self {
            Self::Classic(group) => group.reads(topic),
            Self::Consumer(group) => group.reads(topic),
        }
    }
}

/// Whether a member's id is too long for the key of a record. The guard lets no such text in, but an id that is put together of a client
/// id and more may be.
fn cannot_be_written(member: &Name) -> bool {
    member.len() > NAME_BYTES_MAX
}

/// A group of the new protocol whose last members all speak the classic one becomes a classic group.
fn settle(groups: &mut BTreeMap<Name, Group>, name: &Name, context: &mut Context<'_>) {
    if let Some(Group::Consumer(group)) = groups.get_mut(name)
        && let Some(classic) = group.downgraded(context)
    {
        groups.insert(name.clone(), Group::Classic(classic));
    }
}

/// Rule G1: who commits is checked in the step that writes.
fn commit(
    groups: &mut BTreeMap<Name, Group>,
    offsets: &mut Offsets,
    context: &mut Context<'_>,
    request: &OffsetCommit,
) -> Vec<(Name, Vec<(i32, ErrorCode)>)> {
    let checked = match groups.get_mut(&request.group) {
        Some(Group::Classic(group)) => group.check_commit(context, request),
        Some(Group::Consumer(group)) => group.check_commit(context, request),
        None if request.generation < 0 => Ok(()),
        None if request.knows_stale_epoch => Err(ErrorCode::GroupIdNotFound),
        None => Err(ErrorCode::IllegalGeneration),
    };
    if let Err(code) = checked {
        return request
            .topics
            .iter()
            .map(|topic| (topic.name.clone(), topic.partitions.iter().map(|p| (p.index, code)).collect()))
            .collect();
    }
    let group = groups.get(&request.group);
    let is_new = group.is_none();
    let answer = offsets.commit(context, request, |topic, partition| match group {
        Some(Group::Consumer(group)) => group.check_partition(request, topic, partition),
        _ => ErrorCode::None,
    });
    // A group of nothing but offsets. Nothing of it is written beside them: it comes back with them.
    if is_new && offsets.has_group(&request.group) {
        let new = ClassicGroup::new(request.group.clone(), context.now);
        groups.insert(request.group.clone(), Group::Classic(new));
    }
    answer
}

/// A group that nobody knows has no offsets, which is no error, whoever asks (`OffsetMetadataManager.fetchOffsets`).
fn fetch(
    groups: &BTreeMap<Name, Group>,
    offsets: &Offsets,
    context: &Context<'_>,
    request: &OffsetFetch,
) -> OffsetFetchAnswer {
    let error = match groups.get(&request.group) {
        Some(Group::Classic(group)) => group.check_fetch(request),
        Some(Group::Consumer(group)) => group.check_fetch(context, request),
        None => ErrorCode::None,
    };
    if error == ErrorCode::None {
        OffsetFetchAnswer { error, topics: offsets.fetch(request) }
    } else {
        OffsetFetchAnswer { error, topics: Vec::new() }
    }
}

fn delete_offsets(
    groups: &BTreeMap<Name, Group>,
    offsets: &mut Offsets,
    context: &mut Context<'_>,
    request: &OffsetDelete,
) -> OffsetDeleteAnswer {
    let group = match groups.get(&request.group) {
        None => return OffsetDeleteAnswer { error: ErrorCode::GroupIdNotFound, topics: Vec::new() },
        Some(Group::Classic(group)) => match group.check_offset_delete() {
            ErrorCode::None => groups.get(&request.group),
            error => return OffsetDeleteAnswer { error, topics: Vec::new() },
        },
        other => other,
    };
    let topics = offsets.delete(context, request, |topic| group.is_some_and(|group| group.reads(topic)));
    OffsetDeleteAnswer { error: ErrorCode::None, topics }
}

fn delete_group(
    groups: &mut BTreeMap<Name, Group>,
    offsets: &mut Offsets,
    context: &mut Context<'_>,
    name: &Name,
) -> ErrorCode {
    let Some(group) = groups.get_mut(name) else { return ErrorCode::GroupIdNotFound };
    if group.state() != GroupState::Empty {
        return ErrorCode::NonEmptyGroup;
    }
    // The group's own tombstones last: as long as they are not in the log, it can be deleted again.
    offsets.delete_group(context, name);
    group.write_tombstones(context);
    groups.remove(name);
    ErrorCode::None
}

/// Forgets offsets that were kept long enough, and groups that have nothing left. Returns whether there is more to forget than one turn
/// may hold.
fn expire(groups: &mut BTreeMap<Name, Group>, offsets: &mut Offsets, context: &mut Context<'_>) -> bool {
    let mut gone = Vec::new();
    let mut is_full = false;
    for (name, group) in groups.iter_mut() {
        let none_left = offsets.expire(context, name, group.aging(), |topic| group.reads(topic));
        if none_left && group.state() == GroupState::Empty {
            group.write_tombstones(context);
            gone.push(name.clone());
        }
        is_full = context.turn.records.len() >= FORGOTTEN_PER_TURN_MAX;
        if is_full {
            break;
        }
    }
    for name in gone {
        groups.remove(&name);
    }
    is_full
}

fn not_classic(name: Name) -> DescribedGroup {
    let message = format!("Group {name} is not a classic group.");
    DescribedGroup { message: Some(message), ..DescribedGroup::not_found(name) }
}

fn not_consumer(name: Name) -> DescribedConsumerGroup {
    let message = format!("Group {name} is not a consumer group.");
    DescribedConsumerGroup { message: Some(message), ..DescribedConsumerGroup::not_found(name) }
}

#[cfg(test)]
mod tests;
