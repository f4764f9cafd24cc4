//! Where committed offsets are kept: one ordered map of small entries, about 100 bytes of memory for each.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use super::names::Names;
use crate::coordinator::group::command::Name;
use crate::coordinator::group::records::OffsetCommitValue;
use crate::types::{Millis, TopicId};

/// Committed offsets by group, topic and partition. Every operation on one offset costs O(log n), without allocation but for new names.
#[derive(Debug, Default)]
pub(super) struct Table {
    groups: Names<()>,
    topics: Names<Topic>,
    entries: BTreeMap<Key, Entry>,
}

/// Group and topic by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    group: u32,
    topic: u32,
    pub(super) partition: i32,
}

/// What is known of a topic that has offsets.
#[derive(Debug, Default)]
pub(super) struct Topic {
    /// Its id as last told, the zero id if it never was.
    pub(super) id: TopicId,
    /// It had another id before: some offsets may be of a topic that is gone.
    pub(super) had_other_id: bool,
}

/// One committed offset.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) offset: i64,
    pub(super) commit_timestamp: Millis,
    pub(super) leader_epoch: i32,
    pub(super) topic_id: TopicId,
    /// What few offsets have.
    extra: Option<Box<Extra>>,
}

#[derive(Debug)]
struct Extra {
    metadata: Name,
    expire_timestamp: Millis,
}

impl Entry {
    pub(super) fn metadata(&self) -> Name {
        self.extra.as_ref().map(|extra| extra.metadata.clone()).unwrap_or_default()
    }

    /// When to forget it, if the client said so.
    pub(super) fn expire_timestamp(&self) -> Option<Millis> {
        self.extra.as_ref().map(|extra| extra.expire_timestamp).filter(|at_ms| *at_ms != -1)
    }
}

impl From<OffsetCommitValue> for Entry {
    fn from(value: OffsetCommitValue) -> Self {
        let plain = value.metadata.is_empty() && value.expire_timestamp == -1;
        let extra = Extra { metadata: value.metadata, expire_timestamp: value.expire_timestamp };
        Self {
            offset: value.offset,
            commit_timestamp: value.commit_timestamp,
            leader_epoch: value.leader_epoch,
            topic_id: value.topic_id,
            extra: (!plain).then(|| Box::new(extra)),
        }
    }
}

impl Table {
    pub(super) fn put(&mut self, group: &Name, topic: &Name, partition: i32, value: OffsetCommitValue) {
        let group = self.groups.number_or_new(group);
        let topic = self.topics.number_or_new(topic);
        self.saw_id(topic, value.topic_id);
        if self.entries.insert(Key { group, topic, partition }, value.into()).is_none() {
            self.groups.take(group);
            self.topics.take(topic);
        }
    }

    /// Takes note of the id of a topic that has offsets.
    pub(super) fn saw_id_of(&mut self, topic: &str, id: TopicId) {
        if let Some(number) = self.topics.number(topic) {
            self.saw_id(number, id);
        }
    }

    fn saw_id(&mut self, topic: u32, id: TopicId) {
        if id != TopicId::ZERO
            && let Some(slot) = self.topics.slot_mut(topic)
        {
            slot.about.had_other_id |= slot.about.id != TopicId::ZERO && slot.about.id != id;
            slot.about.id = id;
        }
    }

    /// Returns whether there was one.
    pub(super) fn remove(&mut self, key: Key) -> bool {
        let removed = self.entries.remove(&key).is_some();
        if removed {
            self.groups.release(key.group);
            self.topics.release(key.topic);
        }
        removed
    }

    pub(super) fn get(&self, key: Key) -> Option<&Entry> {
        self.entries.get(&key)
    }

    pub(super) fn key(&self, group: &str, topic: &str, partition: i32) -> Option<Key> {
        Some(Key { group: self.groups.number(group)?, topic: self.topics.number(topic)?, partition })
    }

    /// The offsets of a group, those of a topic beside each other.
    pub(super) fn of_group(&self, group: &str) -> impl Iterator<Item = (Key, &Name, &Entry)> {
        let all = self.groups.number(group).map(|group| {
            Key { group, topic: 0, partition: i32::MIN }..=Key { group, topic: u32::MAX, partition: i32::MAX }
        });
        self.in_range(all)
    }

    /// The offsets of all groups in a topic, with the groups' names.
    pub(super) fn of_topic(&self, topic: &str) -> impl Iterator<Item = (Key, &Name, &Entry)> {
        let topic = self.topics.number(topic);
        self.groups.iter().flat_map(move |(name, group)| {
            let all = topic.map(|topic| {
                Key { group, topic, partition: i32::MIN }..=Key { group, topic, partition: i32::MAX }
            });
            self.in_range(all).map(move |(key, _, entry)| (key, name, entry))
        })
    }

    fn in_range(&self, keys: Option<RangeInclusive<Key>>) -> impl Iterator<Item = (Key, &Name, &Entry)> {
        let entries = keys.into_iter().flat_map(|keys| self.entries.range(keys));
        entries.filter_map(|(key, entry)| Some((*key, &self.topics.slot(key.topic)?.name, entry)))
    }

    pub(super) fn has_group(&self, group: &str) -> bool {
        self.groups.number(group).is_some()
    }

    pub(super) fn groups(&self) -> impl Iterator<Item = &Name> {
        self.groups.iter().map(|(name, _)| name)
    }

    /// The topics that have offsets.
    pub(super) fn topics(&self) -> impl Iterator<Item = (&Name, &Topic)> {
        self.topics.iter().filter_map(|(name, number)| Some((name, &self.topics.slot(number)?.about)))
    }

    /// The id of a topic that has offsets, as last told.
    pub(super) fn id_of(&self, topic: &str) -> Option<TopicId> {
        Some(self.topics.slot(self.topics.number(topic)?)?.about.id)
    }

    /// Nothing of a topic that is gone is left in `topic`.
    pub(super) fn settled(&mut self, topic: &str) {
        if let Some(slot) = self.topics.number(topic).and_then(|number| self.topics.slot_mut(number)) {
            slot.about.had_other_id = false;
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Name, &Name, i32, &Entry)> {
        self.entries.iter().filter_map(|(key, entry)| {
            let group = &self.groups.slot(key.group)?.name;
            Some((group, &self.topics.slot(key.topic)?.name, key.partition, entry))
        })
    }
}
