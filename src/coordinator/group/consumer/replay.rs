//! How records change a group. Steps write through [`ConsumerGroup::write`], so that what the log says and what the memory says are one.

use std::collections::BTreeMap;

use super::ConsumerGroup;
use super::index::{count, uncount};
use super::member::{Current, Member, partitions_of, sorted_names};
use crate::coordinator::group::command::Name;
use crate::coordinator::group::records::{Record, RegularExpressionValue, TargetAssignmentEpochValue};
use crate::coordinator::group::shard::Group;
use crate::coordinator::group::turn::Context;

impl ConsumerGroup {
    /// Takes over a record of key types 3 to 8 and 16. A record of a group that is not known yet begins it; a tombstone of such a group
    /// is skipped, since compaction may keep it longer than what it deletes.
    pub fn replay(groups: &mut BTreeMap<Name, Group>, record: Record) {
        let Some((name, tombstone)) = addressee(&record) else { return };
        let name = name.clone();
        if matches!(record, Record::ConsumerGroup { value: None, .. }) {
            if matches!(groups.get(&name), Some(Group::Consumer(_))) {
                groups.remove(&name);
            }
            return;
        }
        match groups.get_mut(&name) {
            Some(Group::Consumer(group)) => group.apply(&record),
            _ if tombstone => {}
            _ => {
                let mut group = Self::new(name.clone());
                group.apply(&record);
                groups.insert(name, Group::Consumer(group));
            }
        }
    }

    /// Decides that `record` is written, and has its effect.
    pub(super) fn write(&mut self, context: &mut Context<'_>, record: Record) {
        self.apply(&record);
        context.write(record);
    }

    /// The effect of a record.
    pub(super) fn apply(&mut self, record: &Record) {
        match record {
            Record::ConsumerGroup { value: Some(value), .. } => {
                self.epoch = value.epoch;
                self.metadata_hash = value.metadata_hash;
            }
            Record::ConsumerMember { member, value: Some(value), .. } => self.change(member, |known| {
                let topic_names = sorted_names(value.topic_names.clone());
                known.metadata.clone_from(value);
                known.metadata.topic_names = topic_names;
            }),
            Record::ConsumerMember { member, value: None, .. } => {
                if let Some(member) = self.members.remove(member) {
                    self.index.remove(&member, self.assignment_epoch);
                }
            }
            Record::TargetAssignmentEpoch { value, .. } => self.set_assignment_epoch(*value),
            Record::TargetAssignmentMember { member, value: Some(value), .. } => {
                self.targets.insert(member.clone(), partitions_of(value));
            }
            Record::TargetAssignmentMember { member, value: None, .. } => {
                self.targets.remove(member);
            }
            Record::CurrentAssignment { member, value: Some(value), .. } => {
                self.change(member, |known| known.current = Current::from_value(value));
            }
            Record::CurrentAssignment { member, value: None, .. } => {
                if self.members.contains_key(member) {
                    self.change(member, |known| known.current = Current { epoch: -1, ..Current::default() });
                }
            }
            Record::RegularExpression { regex, value, .. } => self.set_matches(regex, value.as_ref()),
            // A group's end is [`ConsumerGroup::replay`]'s. What releases before 4.1 wrote of topics is not needed.
            Record::ConsumerGroup { value: None, .. }
            | Record::ConsumerGroupPartitionMetadata { .. }
            | Record::Group { .. }
            | Record::OffsetCommit { .. } => {}
        }
    }

    /// Changes a member, which may be new, and the indexes with it.
    fn change(&mut self, member: &Name, change: impl FnOnce(&mut Member)) {
        let mut changed = match self.members.remove(member) {
            Some(known) => {
                self.index.remove(&known, self.assignment_epoch);
                known
            }
            None => Member::new(member.clone()),
        };
        change(&mut changed);
        self.index.add(&changed, self.assignment_epoch);
        self.members.insert(member.clone(), changed);
    }

    fn set_assignment_epoch(&mut self, value: Option<TargetAssignmentEpochValue>) {
        (self.assignment_epoch, self.assigned_at) =
            value.map_or((-1, 0), |value| (value.epoch, value.timestamp));
        let settled = self.members.values().filter(|member| member.is_reconciled_to(self.assignment_epoch));
        self.index.settled = settled.count();
    }

    fn set_matches(&mut self, pattern: &Name, value: Option<&RegularExpressionValue>) {
        let before = match value {
            Some(value) => self.matches.insert(pattern.clone(), value.clone()),
            None => self.matches.remove(pattern),
        };
        for topic in before.iter().flat_map(|value| &value.topics) {
            uncount(&mut self.index.topics, topic);
        }
        for topic in value.iter().flat_map(|value| &value.topics) {
            count(&mut self.index.topics, topic);
        }
    }
}

/// The group that a record is for, and whether it only deletes.
const fn addressee(record: &Record) -> Option<(&Name, bool)> {
    Some(match record {
        Record::ConsumerGroup { group, value } => (group, value.is_none()),
        Record::ConsumerGroupPartitionMetadata { group } => (group, true),
        Record::ConsumerMember { group, value, .. } => (group, value.is_none()),
        Record::TargetAssignmentEpoch { group, value } => (group, value.is_none()),
        Record::TargetAssignmentMember { group, value, .. } => (group, value.is_none()),
        Record::CurrentAssignment { group, value, .. } => (group, value.is_none()),
        Record::RegularExpression { group, value, .. } => (group, value.is_none()),
        Record::Group { .. } | Record::OffsetCommit { .. } => return None,
    })
}
