//! A group changes its kind while its members go on (KIP-848, "online migration").
//!
//! **Upgrade**: a member of the new protocol joins a classic group of consumers. The classic members are taken over with what they
//! subscribe and what they were assigned, at their generation as epoch; requests that they have parked are answered with
//! REBALANCE_IN_PROGRESS, and from then on the group tells them when to join again ([`super::classic_member`]).
//!
//! **Downgrade**: the last member of the new protocol leaves, dies, or (a static one) comes back as a classic member. The others become
//! the members of a classic group, with what they own, and rebalance.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::ConsumerGroup;
use super::admit::Refused;
use super::index::{Counts, count};
use super::member::{Current, Member, MemberState, Owned, by_id, sorted_names};
use crate::coordinator::group::assignor::Partitions;
use crate::coordinator::group::classic::{self, CONSUMER, ClassicGroup, Waiting};
use crate::coordinator::group::command::{GroupState, Name, PartitionsByName};
use crate::coordinator::group::records::{
    ClassicMemberValue, ConsumerGroupValue, ConsumerMemberValue, Record, TargetAssignmentEpochValue,
};
use crate::coordinator::group::settings::MigrationPolicy;
use crate::coordinator::group::turn::Context;
use crate::metadata::image::ClusterImage;
use crate::protocol::consumer_protocol::{self, Malformed};
use crate::protocol::error::ErrorCode;
use crate::types::TopicId;

/// What a group becomes at the end of the step.
#[derive(Debug)]
pub(super) enum Becoming {
    /// A classic group of its members.
    Classic {
        /// But for these.
        without: Vec<Name>,
        /// They must join again.
        rebalance: bool,
    },
    /// It was empty and a classic member joined: the classic group is there, and this one's end is written.
    Replaced(Box<ClassicGroup>),
}

/// A classic group as a consumer group, not carried out yet.
pub(super) struct Upgrade {
    /// The group.
    pub(super) group: ConsumerGroup,
    /// What must be written to have it.
    records: Vec<Record>,
}

/// Why members of a classic group cannot be taken over.
enum Obstacle {
    Malformed,
    CustomAssignor,
}

impl From<Malformed> for Obstacle {
    fn from(_: Malformed) -> Self {
        Self::Malformed
    }
}

impl Upgrade {
    /// What `classic` becomes if a member of the new protocol joins it. An empty group is just replaced.
    pub(super) fn of(context: &Context<'_>, classic: &ClassicGroup) -> Result<Self, Refused> {
        let mut upgrade = Self { group: ConsumerGroup::new(classic.group.clone()), records: Vec::new() };
        if classic.members.is_empty() {
            return Ok(upgrade);
        }
        let refused = |why: &str| {
            let message =
                format!("Cannot upgrade classic group {} to consumer group because {why}.", classic.group);
            Err(Refused::new(ErrorCode::GroupIdNotFound, message))
        };
        let policy = context.settings.consumer_migration_policy;
        if !matches!(policy, MigrationPolicy::Upgrade | MigrationPolicy::Bidirectional) {
            return refused("online upgrade is disabled");
        }
        if &*classic.protocol_type() != CONSUMER {
            return refused("the group does not use the consumer embedded protocol");
        }
        if classic.members.len() > context.settings.consumer_max_size {
            return refused("the group size exceeds the consumer group maximum size");
        }
        match upgrade.take_over(context.image, classic) {
            Ok(()) => Ok(upgrade),
            Err(Obstacle::Malformed) => refused("the embedded consumer protocol is malformed"),
            Err(Obstacle::CustomAssignor) => refused(
                "an unsupported custom assignor is in use. Please refer to the documentation or switch to a default assignor before \
                 re-attempting the upgrade",
            ),
        }
    }

    /// Ends `classic`: its requests are answered, its deadlines dropped, its record deleted. Returns the group in its place.
    pub(super) fn carry_out(self, context: &mut Context<'_>, classic: &mut ClassicGroup) -> ConsumerGroup {
        let Self { mut group, records } = self;
        let is_settled = match classic.state() {
            GroupState::Empty => true,
            GroupState::Stable => !classic.members.values().any(|member| member.assignment.is_empty()),
            _ => false,
        };
        classic.abandon(context, ErrorCode::RebalanceInProgress);
        classic.write_tombstones(context);
        for record in records {
            context.write(record);
        }
        for member in group.members.keys() {
            group.arm_session(context, member);
        }
        // That needs a target also if who joins subscribes nothing new (a static member that is back): a rebalance was under way, or a
        // topic has grown and the leader of the classic group, which had to look, did not know yet.
        if !is_settled || !group.gives_all_away(context.image) {
            group.bump_epoch(context, group.metadata_hash);
        }
        group
    }

    fn write(&mut self, record: Record) {
        self.group.apply(&record);
        self.records.push(record);
    }

    fn take_over(&mut self, image: &ClusterImage, classic: &ClassicGroup) -> Result<(), Obstacle> {
        let group = || classic.group.clone();
        let epoch = classic.generation;
        let mut members = Vec::new();
        for (member, known) in &classic.members {
            members.push((member.clone(), TakenOver::of(image, known, classic.protocol.as_deref())?));
        }
        // Assignments are opaque to a classic group: they may give a partition to two members. Here it has one owner (rule G3).
        let mut owned = BTreeSet::new();
        members.iter_mut().for_each(|(_, member)| keep_free(&mut member.assigned, &mut owned));
        members.iter_mut().for_each(|(_, member)| keep_free(&mut member.claimed, &mut owned));
        for (member, taken) in &members {
            let value = Some(taken.metadata.clone());
            self.write(Record::ConsumerMember { group: group(), member: member.clone(), value });
        }
        let value = ConsumerGroupValue { epoch, metadata_hash: self.group.hash_topics(image) };
        self.write(Record::ConsumerGroup { group: group(), value: Some(value) });
        for (member, taken) in &members {
            let value = Some(by_id(&taken.assigned));
            self.write(Record::TargetAssignmentMember { group: group(), member: member.clone(), value });
        }
        let value = TargetAssignmentEpochValue { epoch, timestamp: 0 };
        self.write(Record::TargetAssignmentEpoch { group: group(), value: Some(value) });
        for (member, taken) in members {
            let current = taken.current(epoch);
            self.write(Record::CurrentAssignment { group: group(), member, value: Some(current.value()) });
        }
        Ok(())
    }
}

/// A classic member in the words of a consumer group.
struct TakenOver {
    metadata: ConsumerMemberValue,
    /// What its leader assigned to it.
    assigned: Partitions,
    /// What it said that it owned when it joined (cooperative members only).
    claimed: Partitions,
}

impl TakenOver {
    fn of(image: &ClusterImage, member: &classic::Member, protocol: Option<&str>) -> Result<Self, Obstacle> {
        // Before its first generation a group has chosen no protocol yet.
        let first = || member.protocols.first().map(|protocol| protocol.metadata.clone()).unwrap_or_default();
        let metadata = if protocol.is_some() { member.metadata(protocol) } else { first() };
        let subscription = consumer_protocol::subscription(&metadata)?;
        let claimed = by_topic_id(image, subscription.owned);
        let assigned = match &*member.assignment {
            // In the middle of a rebalance: it has what it says.
            [] => claimed.clone(),
            assignment => {
                let (assigned, has_user_data) = consumer_protocol::assignment(assignment)?;
                if has_user_data {
                    return Err(Obstacle::CustomAssignor);
                }
                by_topic_id(image, assigned)
            }
        };
        let metadata = ConsumerMemberValue {
            instance: member.instance.clone(),
            rack: subscription.rack.filter(|rack| !rack.is_empty()),
            client_id: member.client_id.clone(),
            client_host: member.client_host.clone(),
            topic_names: sorted_names(subscription.topics),
            topic_regex: Some(Name::default()),
            rebalance_timeout_ms: member.rebalance_timeout_ms,
            server_assignor: None,
            classic: Some(ClassicMemberValue {
                session_timeout_ms: member.session_timeout_ms,
                protocols: member.protocols.clone(),
            }),
        };
        Ok(Self { metadata, assigned, claimed })
    }

    /// What it claims beyond its assignment it may not have given up yet, so nobody else may have it before it has joined again. Kafka
    /// looks at the assignment alone and may give such a partition to somebody at once.
    fn current(self, epoch: i32) -> Current {
        let at_epoch = |partitions: Partitions| -> Owned {
            let of = |(topic, indexes): (_, BTreeSet<i32>)| {
                (topic, indexes.into_iter().map(|index| (index, epoch)).collect())
            };
            partitions.into_iter().map(of).collect()
        };
        let pending = at_epoch(self.claimed);
        let state = if pending.is_empty() { MemberState::Stable } else { MemberState::Unrevoked };
        Current { epoch, previous_epoch: epoch, state, assigned: at_epoch(self.assigned), pending }
    }
}

/// Keeps of `partitions` what is in nobody's hands, and puts that into `owned`.
fn keep_free(partitions: &mut Partitions, owned: &mut BTreeSet<(TopicId, i32)>) {
    partitions.retain(|topic, indexes| {
        indexes.retain(|index| owned.insert((*topic, *index)));
        !indexes.is_empty()
    });
}

/// Partitions by topic id. Topics that do not exist any more are left out.
fn by_topic_id(image: &ClusterImage, named: PartitionsByName) -> Partitions {
    let mut partitions = Partitions::new();
    for (topic, indexes) in named {
        if let Some(topic) = image.topic(&topic)
            && !indexes.is_empty()
        {
            partitions.entry(topic.id).or_default().extend(indexes);
        }
    }
    partitions
}

impl ConsumerGroup {
    /// Whether the target has every partition of the subscribed topics.
    fn gives_all_away(&self, image: &ClusterImage) -> bool {
        let mut targeted = BTreeMap::<TopicId, usize>::new();
        for (topic, partitions) in self.targets.values().flatten() {
            *targeted.entry(*topic).or_default() += partitions.len();
        }
        let mut topics = self.index.topics.keys().filter_map(|name| image.topic(name));
        // A partition has one owner at most.
        topics.all(|topic| targeted.get(&topic.id).copied().unwrap_or_default() >= topic.partitions.len())
    }

    /// If its last members all speak the classic protocol now and the policy allows it: the classic group that it becomes, its records
    /// written.
    pub fn downgraded(&mut self, context: &mut Context<'_>) -> Option<ClassicGroup> {
        match self.becoming.take()? {
            Becoming::Replaced(classic) => Some(*classic),
            Becoming::Classic { without, rebalance } => Some(self.downgrade(context, &without, rebalance)),
        }
    }

    /// Whether only classic members remain without `gone`, and they may become a classic group.
    pub(super) fn can_downgrade_without(&self, context: &Context<'_>, gone: &[Name]) -> bool {
        let is_classic = |id: &&Name| self.members.get(*id).is_some_and(Member::is_classic);
        let classic = self.index.classic - gone.iter().filter(is_classic).count();
        let remain = self.members.len() - gone.len();
        remain > 0 && classic == remain && may_downgrade(context, remain)
    }

    /// Whether `member`, coming back as a classic one, leaves nobody of the new protocol, and the group may become a classic one.
    pub(super) fn can_downgrade_with(&self, context: &Context<'_>, member: &Member) -> bool {
        !member.is_classic()
            && self.index.classic + 1 == self.members.len()
            && may_downgrade(context, self.members.len())
    }

    fn downgrade(&mut self, context: &mut Context<'_>, without: &[Name], rebalance: bool) -> ClassicGroup {
        self.write_tombstones(context);
        let remaining: Vec<&Member> = self.members.values().filter(|m| !without.contains(&m.id)).collect();
        let protocol = choose_protocol(&remaining);
        let members = remaining.iter().filter_map(|member| {
            let known = classic_member(context.image, member, protocol.as_deref())?;
            Some((member.id.clone(), known))
        });
        // A generation without a leader rebalances, also if it is lost before it could.
        let leader = remaining.first().filter(|_| !rebalance).map(|member| member.id.clone());
        let mut classic = ClassicGroup::assembled(
            self.group.clone(),
            self.epoch,
            CONSUMER.into(),
            protocol.clone(),
            leader,
            members.collect(),
        );
        classic.since = Some(context.now.wall_ms);
        classic.write(context);
        classic.loaded(context);
        classic
    }
}

fn may_downgrade(context: &Context<'_>, members: usize) -> bool {
    let policy = context.settings.consumer_migration_policy;
    matches!(policy, MigrationPolicy::Downgrade | MigrationPolicy::Bidirectional)
        && members <= context.settings.max_size
}

/// Of the protocols that all have, the one that most prefer; of equals the first by name.
fn choose_protocol(members: &[&Member]) -> Option<Name> {
    let protocols = |member: &&Member| member.metadata.classic.clone().unwrap_or_default().protocols;
    let mut supported = Counts::new();
    for protocol in members.iter().flat_map(protocols) {
        count(&mut supported, &protocol.name);
    }
    let mut votes = Counts::new();
    for member in members {
        let of_all = |name: &Name| supported.get(name).is_some_and(|count| *count >= members.len());
        if let Some(first) = protocols(member).into_iter().find(|protocol| of_all(&protocol.name)) {
            count(&mut votes, &first.name);
        }
    }
    votes.into_iter().rev().max_by_key(|(_, votes)| *votes).map(|(name, _)| name)
}

/// With what it has now: what of the target it does not have yet it gets by the rebalance. (Kafka gives it the target, which another member
/// may still own.)
fn classic_member(image: &ClusterImage, member: &Member, protocol: Option<&str>) -> Option<classic::Member> {
    let metadata = &member.metadata;
    let classic = metadata.classic.clone()?;
    let mut known = classic::Member {
        instance: metadata.instance.clone(),
        client_id: metadata.client_id.clone(),
        client_host: metadata.client_host.clone(),
        rebalance_timeout_ms: metadata.rebalance_timeout_ms,
        session_timeout_ms: classic.session_timeout_ms,
        protocols: classic.protocols,
        assignment: Bytes::new(),
        waiting: Waiting::No,
        is_new: false,
    };
    let version = consumer_protocol::version(&known.metadata(protocol)).unwrap_or(0);
    let owned = member.current.owned();
    let owned = owned.iter().map(|(topic, partitions)| (topic, partitions.keys()));
    known.assignment = consumer_protocol::encode_assignment(version, &by_name(image, owned));
    Some(known)
}

/// Partitions by topic name, as classic members are told them. Topics that do not exist any more are left out.
pub(super) fn by_name<'a, P, I>(image: &ClusterImage, partitions: P) -> PartitionsByName
where
    P: IntoIterator<Item = (&'a TopicId, I)>,
    I: IntoIterator<Item = &'a i32>,
{
    let named = partitions.into_iter().filter_map(|(id, partitions)| {
        let topic = image.topics.get(id).filter(|topic| !topic.deleting)?;
        Some((topic.name.as_str().into(), partitions.into_iter().copied().collect()))
    });
    let mut named: PartitionsByName = named.collect();
    named.sort_unstable();
    named
}
