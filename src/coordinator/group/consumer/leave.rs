//! Members go: they leave, are removed by an administrator, or are fenced because they are silent or do not give up what they must.

use super::ConsumerGroup;
use super::member::{LEAVE_FOR_A_WHILE, Member, MemberState, Owned};
use super::migrate::Becoming;
use crate::coordinator::group::command::Name;
use crate::coordinator::group::records::Record;
use crate::coordinator::group::timers::TimerKey;
use crate::coordinator::group::turn::Context;

impl ConsumerGroup {
    /// Its shard is loaded: sessions and rebalance deadlines begin anew.
    pub fn loaded(&mut self, context: &mut Context<'_>) {
        self.is_stale = true;
        self.patterns_are_stale = true;
        let members: Vec<Name> = self.members.keys().cloned().collect();
        for member in &members {
            self.arm_session(context, member);
            self.arm_rebalance(context, member);
        }
        self.arm_assignment(context);
    }

    /// The image changed: subscribed topics may have. They are looked at with the next heartbeat of any member, as in Kafka. O(1).
    pub fn image_changed(&mut self, _: &mut Context<'_>) {
        self.is_stale = true;
        self.patterns_are_stale = true;
    }

    /// A deadline of this group is due.
    pub fn on_timer(&mut self, context: &mut Context<'_>, key: &TimerKey) {
        let fenced = match key {
            TimerKey::Assignment(_) => {
                // The target is of the topics as they are now, so the group epoch must be too.
                self.follow_topics(context, false);
                self.maybe_assign(context);
                None
            }
            TimerKey::ConsumerSession(_, member) => self.members.get(member),
            TimerKey::ConsumerRebalance(_, member) => {
                self.members.get(member).filter(|known| known.current.state == MemberState::Unrevoked)
            }
            TimerKey::ConsumerClassic(_, member) => self.members.get(member).filter(|m| m.is_classic()),
            _ => None,
        };
        if let Some(id) = fenced.map(|member| member.id.clone()) {
            self.remove_members(context, vec![id]);
        }
    }

    /// A static member goes and will be back: it keeps what it is assigned until its session ends.
    pub(super) fn leave_for_a_while(&mut self, context: &mut Context<'_>, id: &Name) {
        let Some(member) = self.members.get(id) else { return };
        let mut current = member.current.clone();
        current.epoch = LEAVE_FOR_A_WHILE;
        current.pending = Owned::new();
        // It may commit what it has under whatever epoch it comes back with.
        for epoch in current.assigned.values_mut().flat_map(|partitions| partitions.values_mut()) {
            *epoch = 0;
        }
        let (group, member) = (self.group.clone(), id.clone());
        self.write(context, Record::CurrentAssignment { group, member, value: Some(current.value()) });
        context.timers.cancel(&TimerKey::ConsumerRebalance(self.group.clone(), id.clone()));
    }

    /// Removes members for good; each is known and there once. If only classic members remain and the policy allows it, the whole group
    /// becomes a classic one instead (see [`ConsumerGroup::downgraded`]).
    pub(super) fn remove_members(&mut self, context: &mut Context<'_>, gone: Vec<Name>) {
        if gone.is_empty() {
            return;
        }
        if self.can_downgrade_without(context, &gone) {
            self.becoming = Some(Becoming::Classic { without: gone, rebalance: true });
            return;
        }
        for id in &gone {
            let pattern = self.members.get(id).and_then(Member::pattern).cloned();
            self.write_member_tombstones(context, id);
            self.disarm(context, id);
            if let Some(pattern) = pattern {
                self.forget_pattern(context, &pattern);
            }
        }
        let hash = self.hash_topics(context.image);
        self.bump_epoch(context, hash);
        self.arm_assignment(context);
    }

    /// Writes that a member is gone. Its group epoch is the caller's.
    pub(super) fn write_member_tombstones(&mut self, context: &mut Context<'_>, id: &Name) {
        let (group, member) = (self.group.clone(), id.clone());
        self.write(context, Record::CurrentAssignment { group, member, value: None });
        let (group, member) = (self.group.clone(), id.clone());
        self.write(context, Record::TargetAssignmentMember { group, member, value: None });
        let (group, member) = (self.group.clone(), id.clone());
        self.write(context, Record::ConsumerMember { group, member, value: None });
    }

    /// Writes that it is gone, in Kafka's order. No deadline of it is left.
    pub fn write_tombstones(&mut self, context: &mut Context<'_>) {
        let members: Vec<Name> = self.members.keys().cloned().collect();
        let group = || self.group.clone();
        for member in members.iter().cloned() {
            context.write(Record::CurrentAssignment { group: group(), member, value: None });
        }
        for member in members.iter().cloned() {
            context.write(Record::TargetAssignmentMember { group: group(), member, value: None });
        }
        context.write(Record::TargetAssignmentEpoch { group: group(), value: None });
        for member in members.iter().cloned() {
            context.write(Record::ConsumerMember { group: group(), member, value: None });
        }
        for regex in self.matches.keys().cloned() {
            context.write(Record::RegularExpression { group: group(), regex, value: None });
        }
        context.write(Record::ConsumerGroupPartitionMetadata { group: group() });
        context.write(Record::ConsumerGroup { group: group(), value: None });
        for member in &members {
            self.disarm(context, member);
        }
        context.timers.cancel(&TimerKey::Assignment(group()));
    }
}
