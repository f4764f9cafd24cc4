//! The target assignment: who should own what, computed for a group epoch (Kafka's `TargetAssignmentBuilder`), and the step of a member
//! towards it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ConsumerGroup;
use super::member::{Member, by_id};
use super::reconcile::Reconciliation;
use crate::coordinator::group::assignor::{Assignment, GroupSpec, MemberSpec, NOTHING, TopicSpec, assign};
use crate::coordinator::group::command::{Name, PartitionsById};
use crate::coordinator::group::records::{Record, TargetAssignmentEpochValue};
use crate::coordinator::group::settings::GroupSettings;
use crate::coordinator::group::turn::Context;
use crate::metadata::image::{ClusterImage, TopicImage};
use crate::types::TopicId;

/// Topic names and a pattern.
type Subscription<'a> = (&'a [Name], Option<&'a Name>);

impl ConsumerGroup {
    /// Computes the target of the group epoch, if it has none yet and the assignment interval allows it; else it is left for when it does.
    pub(super) fn maybe_assign(&mut self, context: &mut Context<'_>) {
        if self.epoch > self.assignment_epoch
            && !self.members.is_empty()
            && self.assignment_wait_ms(context) == 0
        {
            let target = self.compute_target(context);
            self.write_target(context, target);
        }
        self.arm_assignment(context);
    }

    /// # Cost
    /// O((members + subscriptions + partitions) log members).
    fn compute_target(&self, context: &Context<'_>) -> Assignment {
        let spec = self.spec(context.image);
        let assignor = self.assignor(context.settings);
        // An assignor of the configuration that is none: what the group has stays.
        assign(&assignor, &spec).unwrap_or_else(|_| self.targets.clone())
    }

    /// The assignor that most members wish, else the broker's default. Of equals the first by name.
    pub(super) fn assignor(&self, settings: &GroupSettings) -> Name {
        let wished =
            self.index.assignors.iter().filter(|(name, _)| settings.consumer_assignors.contains(name));
        let most = wished.rev().max_by_key(|(_, members)| **members).map(|(name, _)| name);
        most.or(settings.consumer_assignors.first()).cloned().unwrap_or_default()
    }

    fn spec<'a>(&'a self, image: &'a ClusterImage) -> GroupSpec<'a> {
        let any_rack = self.members.values().any(|member| member.metadata.rack.is_some());
        let topics = self.index.topics.keys().filter_map(|name| image.topic(name));
        let topics = topics.map(|topic| (topic.id, topic_spec(topic, any_rack, image))).collect();
        // Equal subscriptions share one set.
        let mut sets: BTreeMap<Subscription<'_>, Arc<BTreeSet<TopicId>>> = BTreeMap::new();
        let members = self.members.values().map(|member| {
            let subscription = (&*member.metadata.topic_names, member.pattern());
            let subscribed =
                sets.entry(subscription).or_insert_with(|| Arc::new(self.subscribed(image, member)));
            let spec = MemberSpec {
                instance: member.metadata.instance.as_deref(),
                rack: member.metadata.rack.as_deref(),
                subscribed: Arc::clone(subscribed),
                current: self.targets.get(&member.id).unwrap_or(&NOTHING),
            };
            (member.id.clone(), spec)
        });
        GroupSpec { members: members.collect(), topics }
    }

    /// Writes what changes of the target, and then its epoch.
    fn write_target(&mut self, context: &mut Context<'_>, target: Assignment) {
        for (member, partitions) in target {
            if self.members.contains_key(&member) && self.targets.get(&member) != Some(&partitions) {
                let (group, value) = (self.group.clone(), Some(by_id(&partitions)));
                self.write(context, Record::TargetAssignmentMember { group, member, value });
            }
        }
        let value = TargetAssignmentEpochValue { epoch: self.epoch, timestamp: context.now.wall_ms };
        let group = self.group.clone();
        self.write(context, Record::TargetAssignmentEpoch { group, value: Some(value) });
    }

    /// Takes `member` as far towards its target as it can go now. Says whether what it is assigned changed.
    pub(super) fn reconcile(
        &mut self,
        context: &mut Context<'_>,
        id: &Name,
        subscription_changed: bool,
        owned: Option<&PartitionsById>,
    ) -> bool {
        let Some(member) = self.members.get(id) else { return false };
        if !subscription_changed && member.is_reconciled_to(self.assignment_epoch) {
            return false;
        }
        let subscribed = self.subscribed(context.image, member);
        let reconciliation = Reconciliation {
            target_epoch: self.assignment_epoch,
            target: self.targets.get(id).unwrap_or(&NOTHING),
            subscribed: &subscribed,
            subscription_changed,
            owned,
            taken: |topic, partition| self.index.owner(topic, partition).is_some_and(|owner| owner != id),
        };
        let next = reconciliation.step(&member.current);
        if next == member.current {
            return false;
        }
        let assignment_changed = next.assigned != member.current.assigned;
        let (group, member) = (self.group.clone(), id.clone());
        self.write(context, Record::CurrentAssignment { group, member, value: Some(next.value()) });
        self.arm_rebalance(context, id);
        assignment_changed
    }

    /// Whether a partition that `member` waits for is free by now.
    pub(super) fn waits_for_others(&self, member: &Member) -> bool {
        let target = self.targets.get(&member.id).unwrap_or(&NOTHING);
        let wanted = target.iter().flat_map(|(topic, partitions)| partitions.iter().map(|p| (*topic, *p)));
        wanted
            .filter(|(topic, partition)| {
                !member.current.assigned.get(topic).is_some_and(|assigned| assigned.contains_key(partition))
            })
            .any(|(topic, partition)| self.index.owner(topic, partition).is_some())
    }
}

/// What the assignor sees of a topic. Racks only if somebody asks for them.
fn topic_spec<'a>(topic: &TopicImage, with_racks: bool, image: &'a ClusterImage) -> TopicSpec<'a> {
    let partitions = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
    if !with_racks {
        return TopicSpec { partitions, racks: Vec::new() };
    }
    let rack = |broker| image.brokers.get(broker)?.rack.as_deref();
    let racks = topic.partitions.iter().map(|partition| partition.replicas.iter().filter_map(rack).collect());
    TopicSpec { partitions, racks: racks.collect() }
}
