//! What of a group's members must be found without looking at all of them. Kept by [`super::replay`] alone, member by member.

use std::collections::BTreeMap;

use super::member::{Member, Owned};
use crate::coordinator::group::command::Name;
use crate::types::TopicId;

/// Counts by name; names that nobody has are not in it.
pub(super) type Counts = BTreeMap<Name, usize>;

/// The indexes of a group. Adding or removing a member costs O((subscriptions + partitions of the member) log group).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    /// Static members: instance id to member id.
    pub(super) statics: BTreeMap<Name, Name>,
    /// Who owns a partition: it may not be given to anybody else (rule G3).
    owners: BTreeMap<TopicId, BTreeMap<i32, Name>>,
    /// Topics that are read: members that subscribe the name, and one for each pattern that matched it.
    pub(super) topics: Counts,
    /// Members that subscribe a pattern.
    pub(super) patterns: Counts,
    /// Members that wish an assignor.
    pub(super) assignors: Counts,
    /// Classic members that have a protocol.
    pub(super) classic_protocols: Counts,
    /// Members that speak the classic protocol.
    pub(super) classic: usize,
    /// Members that are reconciled to the assignment epoch.
    pub(super) settled: usize,
}

impl Index {
    /// Takes `member` in.
    pub(super) fn add(&mut self, member: &Member, assignment_epoch: i32) {
        if let Some(instance) = &member.metadata.instance {
            self.statics.insert(instance.clone(), member.id.clone());
        }
        for owned in [&member.current.assigned, &member.current.pending] {
            self.own(owned, &member.id);
        }
        for topic in &member.metadata.topic_names {
            count(&mut self.topics, topic);
        }
        if let Some(pattern) = member.pattern() {
            count(&mut self.patterns, pattern);
        }
        if let Some(assignor) = &member.metadata.server_assignor {
            count(&mut self.assignors, assignor);
        }
        if let Some(classic) = &member.metadata.classic {
            self.classic += 1;
            for protocol in &classic.protocols {
                count(&mut self.classic_protocols, &protocol.name);
            }
        }
        self.settled += usize::from(member.is_reconciled_to(assignment_epoch));
    }

    /// Takes `member` out, as it was added.
    pub(super) fn remove(&mut self, member: &Member, assignment_epoch: i32) {
        if let Some(instance) = &member.metadata.instance
            && self.statics.get(instance) == Some(&member.id)
        {
            self.statics.remove(instance);
        }
        for owned in [&member.current.assigned, &member.current.pending] {
            self.disown(owned, &member.id);
        }
        for topic in &member.metadata.topic_names {
            uncount(&mut self.topics, topic);
        }
        if let Some(pattern) = member.pattern() {
            uncount(&mut self.patterns, pattern);
        }
        if let Some(assignor) = &member.metadata.server_assignor {
            uncount(&mut self.assignors, assignor);
        }
        if let Some(classic) = &member.metadata.classic {
            self.classic -= 1;
            for protocol in &classic.protocols {
                uncount(&mut self.classic_protocols, &protocol.name);
            }
        }
        self.settled -= usize::from(member.is_reconciled_to(assignment_epoch));
    }

    /// Who owns a partition.
    pub(super) fn owner(&self, topic: TopicId, partition: i32) -> Option<&Name> {
        self.owners.get(&topic)?.get(&partition)
    }

    fn own(&mut self, owned: &Owned, member: &Name) {
        for (topic, partitions) in owned {
            let owners = self.owners.entry(*topic).or_default();
            owners.extend(partitions.keys().map(|partition| (*partition, member.clone())));
        }
    }

    fn disown(&mut self, owned: &Owned, member: &Name) {
        for (topic, partitions) in owned {
            let Some(owners) = self.owners.get_mut(topic) else { continue };
            for partition in partitions.keys() {
                if owners.get(partition) == Some(member) {
                    owners.remove(partition);
                }
            }
            if owners.is_empty() {
                self.owners.remove(topic);
            }
        }
    }
}

/// One more of `name`.
pub(super) fn count(counts: &mut Counts, name: &Name) {
    match counts.get_mut(name) {
        Some(count) => *count += 1,
        None => {
            counts.insert(name.clone(), 1);
        }
    }
}

/// One less of `name`.
pub(super) fn uncount(counts: &mut Counts, name: &Name) {
    if let Some(count) = counts.get_mut(name) {
        *count -= 1;
        if *count == 0 {
            counts.remove(name);
        }
    }
}
