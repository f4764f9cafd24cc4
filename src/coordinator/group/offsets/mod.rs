//! Committed offsets of the groups of a shard.
//!
//! What is asked live and what is replayed go through the same two changes, [`Offsets::replay`] with a value and without. Who may commit
//! is the groups' business; here is what may be kept, for how long, and how it is told.

mod names;
mod table;
#[cfg(test)]
mod tests;

use self::table::Table;
use super::command::{FetchedOffset, Name, OffsetCommit, OffsetDelete, OffsetFetch};
use super::records::{OffsetCommitValue, Record};
use super::turn::Context;
use crate::metadata::image::ClusterImage;
use crate::protocol::error::ErrorCode;
use crate::types::{Millis, TopicId};

/// From when the offsets of a group age, those of topics that nobody reads (KIP-211; Kafka's `OffsetExpirationCondition`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aging {
    /// They do not: the group is in use, or what its members read is not known.
    InUse,
    /// Each since its own commit.
    SinceCommit,
    /// All since then (wall clock): the group is empty.
    Since(Millis),
}

/// No turn writes more tombstones than this on the coordinator's own account; what is left waits for the next one.
pub const FORGOTTEN_PER_TURN_MAX: usize = 10_000;

/// Committed offsets: group -> topic -> partition.
#[derive(Debug, Default)]
pub struct Offsets {
    table: Table,
}

impl Offsets {
    /// Takes over a record of the log.
    pub fn replay(&mut self, group: &Name, topic: &Name, partition: i32, value: Option<OffsetCommitValue>) {
        match value {
            Some(value) => self.table.put(group, topic, partition, value),
            None => {
                if let Some(key) = self.table.key(group, topic, partition) {
                    self.table.remove(key);
                }
            }
        }
    }

    /// The groups that have offsets.
    #[must_use]
    pub fn groups(&self) -> Vec<Name> {
        self.table.groups().cloned().collect()
    }

    /// Whether `group` has any.
    #[must_use]
    pub fn has_group(&self, group: &str) -> bool {
        self.table.has_group(group)
    }

    /// Writes what may be written: OFFSET_METADATA_TOO_LARGE, or what `check` says of a partition of a topic.
    pub fn commit(
        &mut self,
        context: &mut Context<'_>,
        request: &OffsetCommit,
        check: impl Fn(TopicId, i32) -> ErrorCode,
    ) -> Vec<(Name, Vec<(i32, ErrorCode)>)> {
        let commit_timestamp = context.now.wall_ms;
        let expire_timestamp =
            request.retention_ms.map_or(-1, |kept_ms| commit_timestamp.saturating_add(kept_ms).max(0));
        let metadata_max = context.settings.offset_metadata_max_bytes;
        let mut answers = Vec::with_capacity(request.topics.len());
        for topic in &request.topics {
            let mut errors = Vec::with_capacity(topic.partitions.len());
            for partition in &topic.partitions {
                let error = if is_longer(&partition.metadata, metadata_max) {
                    ErrorCode::OffsetMetadataTooLarge
                } else {
                    check(topic.id, partition.index)
                };
                errors.push((partition.index, error));
                if error != ErrorCode::None {
                    continue;
                }
                // What the version with an expire timestamp cannot keep must not be in memory either.
                let expires = expire_timestamp != -1;
                let value = OffsetCommitValue {
                    offset: partition.offset,
                    leader_epoch: if expires { -1 } else { partition.leader_epoch },
                    metadata: partition.metadata.clone(),
                    commit_timestamp,
                    expire_timestamp,
                    topic_id: if expires { TopicId::ZERO } else { topic.id },
                };
                self.write(context, &request.group, &topic.name, partition.index, Some(value));
            }
            self.table.saw_id_of(&topic.name, topic.id);
            answers.push((topic.name.clone(), errors));
        }
        answers
    }

    /// What is committed; offset -1 where nothing is. There are no transactions that could change it, so all of it is stable.
    #[must_use]
    pub fn fetch(&self, request: &OffsetFetch) -> Vec<(Name, Vec<FetchedOffset>)> {
        let Some(asked) = &request.topics else { return self.fetch_all(&request.group) };
        let fetched = |topic: &Name, partition: i32| {
            let key = self.table.key(&request.group, topic, partition);
            key.and_then(|key| self.table.get(key))
                .map_or_else(|| none_committed(partition), |entry| told(partition, entry))
        };
        asked
            .iter()
            .map(|(topic, partitions)| {
                (topic.clone(), partitions.iter().map(|partition| fetched(topic, *partition)).collect())
            })
            .collect()
    }

    fn fetch_all(&self, group: &str) -> Vec<(Name, Vec<FetchedOffset>)> {
        let mut topics: Vec<(Name, Vec<FetchedOffset>)> = Vec::new();
        for (key, topic, entry) in self.table.of_group(group) {
            let one = told(key.partition, entry);
            match topics.last_mut() {
                Some((last, partitions)) if last == topic => partitions.push(one),
                _ => topics.push((topic.clone(), vec![one])),
            }
        }
        topics
    }

    /// Forgets offsets of topics that nobody `reads`; else GROUP_SUBSCRIBED_TO_TOPIC.
    pub fn delete(
        &mut self,
        context: &mut Context<'_>,
        request: &OffsetDelete,
        reads: impl Fn(&str) -> bool,
    ) -> Vec<(Name, Vec<(i32, ErrorCode)>)> {
        let mut answers = Vec::with_capacity(request.topics.len());
        for (topic, partitions) in &request.topics {
            let error = if reads(topic) { ErrorCode::GroupSubscribedToTopic } else { ErrorCode::None };
            if error == ErrorCode::None {
                for partition in partitions {
                    let committed = self
                        .table
                        .key(&request.group, topic, *partition)
                        .is_some_and(|key| self.table.get(key).is_some());
                    if committed {
                        self.write(context, &request.group, topic, *partition, None);
                    }
                }
            }
            answers.push((topic.clone(), partitions.iter().map(|partition| (*partition, error)).collect()));
        }
        answers
    }

    /// Forgets all offsets of a group.
    pub fn delete_group(&mut self, context: &mut Context<'_>, group: &Name) {
        let all: Vec<_> =
            self.table.of_group(group).map(|(key, topic, _)| (topic.clone(), key.partition)).collect();
        for (topic, partition) in all {
            self.write(context, group, &topic, partition, None);
        }
    }

    /// Forgets offsets of `group` that are old enough by `aging`, of topics that nobody `reads`. An offset that brought its own time to
    /// go (retention of OffsetCommit v2-4) goes then. Returns whether none are left. Stops at [`FORGOTTEN_PER_TURN_MAX`] records.
    pub fn expire(
        &mut self,
        context: &mut Context<'_>,
        group: &Name,
        aging: Aging,
        reads: impl Fn(&str) -> bool,
    ) -> bool {
        let now = context.now.wall_ms;
        let retention_ms = context.settings.offsets_retention_ms;
        if aging != Aging::InUse {
            let mut topic_read: Option<(&Name, bool)> = None;
            let mut due = Vec::new();
            let room = FORGOTTEN_PER_TURN_MAX.saturating_sub(context.turn.records.len());
            for (key, topic, entry) in self.table.of_group(group) {
                let is_read = match topic_read {
                    Some((last, is_read)) if last == topic => is_read,
                    _ => topic_read.insert((topic, reads(topic))).1,
                };
                let is_due = match (entry.expire_timestamp(), aging) {
                    (Some(at_ms), _) => now >= at_ms,
                    (None, Aging::Since(base)) => now.saturating_sub(base) >= retention_ms,
                    (None, _) => now.saturating_sub(entry.commit_timestamp) >= retention_ms,
                };
                if is_due && !is_read && due.len() < room {
                    due.push((topic.clone(), key.partition));
                }
            }
            for (topic, partition) in due {
                self.write(context, group, &topic, partition, None);
            }
        }
        !self.table.has_group(group)
    }

    /// Forgets offsets of topics whose deletion has begun, and those of a topic before it was made again under the same name. Never those
    /// of a topic that the image merely lacks. Costs one look at the image for each topic that has offsets. Returns whether there is more
    /// to forget than [`FORGOTTEN_PER_TURN_MAX`] allows in this turn.
    pub fn forget_deleted_topics(&mut self, context: &mut Context<'_>) -> bool {
        let image = context.image;
        let suspects: Vec<Name> = self
            .table
            .topics()
            .filter(|(name, topic)| topic.had_other_id || is_gone(image, name, topic.id))
            .map(|(name, _)| name.clone())
            .collect();
        for topic in suspects {
            let Some(last_id) = self.table.id_of(&topic) else { continue };
            let gone = |id| is_gone(image, &topic, if id == TopicId::ZERO { last_id } else { id });
            let room = FORGOTTEN_PER_TURN_MAX.saturating_sub(context.turn.records.len());
            let stale = self.table.of_topic(&topic).filter(|(_, _, entry)| gone(entry.topic_id));
            let stale: Vec<_> =
                stale.map(|(key, group, _)| (group.clone(), key.partition)).take(room + 1).collect();
            for (group, partition) in stale.iter().take(room) {
                self.write(context, group, &topic, *partition, None);
            }
            if stale.len() > room {
                return true;
            }
            self.table.settled(&topic);
        }
        false
    }

    /// Every committed offset: group, topic, partition, offset.
    pub fn iter(&self) -> impl Iterator<Item = (&Name, &Name, i32, i64)> {
        self.table.iter().map(|(group, topic, partition, entry)| (group, topic, partition, entry.offset))
    }

    /// Changes memory and writes the record that does the same in a replay.
    fn write(
        &mut self,
        context: &mut Context<'_>,
        group: &Name,
        topic: &Name,
        partition: i32,
        value: Option<OffsetCommitValue>,
    ) {
        self.replay(group, topic, partition, value.clone());
        context.write(Record::OffsetCommit { group: group.clone(), topic: topic.clone(), partition, value });
    }
}

/// Whether the topic of that name and id is being deleted or was made anew. `false` where that is not known.
fn is_gone(image: &ClusterImage, name: &str, id: TopicId) -> bool {
    match image.topics.get(&id) {
        Some(topic) => topic.deleting,
        None => id != TopicId::ZERO && image.topic_names.get(name).is_some_and(|now| *now != id),
    }
}

/// Kafka's limit counts as Java's strings do: units of UTF-16.
fn is_longer(text: &str, max: usize) -> bool {
    text.len() > max && text.encode_utf16().count() > max
}

fn told(index: i32, entry: &table::Entry) -> FetchedOffset {
    FetchedOffset {
        index,
        offset: entry.offset,
        leader_epoch: entry.leader_epoch,
        metadata: entry.metadata(),
        error: ErrorCode::None,
    }
}

fn none_committed(index: i32) -> FetchedOffset {
    FetchedOffset { index, offset: -1, leader_epoch: -1, ..FetchedOffset::default() }
}
