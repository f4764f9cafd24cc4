//! The follower's end of a fetch session (KIP-227; Kafka's `FetchSessionHandler`): every partition is named once, then only what
//! changed. Pure.
//!
//! Requests may be sent before an earlier one is answered. So each partition remembers since which request it is asked for as it is
//! now: an answer to an earlier one says nothing about it.

use std::collections::{BTreeMap, BTreeSet};

use smallvec::SmallVec;

use crate::protocol::fetch_request::{FetchPartition, FetchTopic, ForgottenTopic};
use crate::types::{LeaderEpoch, Offset, TopicId};

/// A partition as a session names it.
pub type Key = (TopicId, i32);

/// What is asked of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The epoch of the leader that is asked.
    pub leader_epoch: LeaderEpoch,
    /// The log end here.
    pub offset: Offset,
    /// The epoch of the last record here; `None` if there is none.
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// The log start here.
    pub log_start: Offset,
    /// The high watermark here.
    pub high_watermark: Offset,
}

#[derive(Debug)]
struct Entry {
    asked: Asked,
    /// Number of the first request that said so; `None`: the next one will.
    since: Option<u64>,
}

/// What a request says of the session.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Turn {
    /// 0 until the leader has given one.
    pub id: i32,
    /// 0 for a request that names everything.
    pub epoch: i32,
    /// Partitions that are new or changed.
    pub topics: SmallVec<[FetchTopic; 1]>,
    /// Partitions that leave.
    pub forgotten: Vec<ForgottenTopic>,
}

/// One session with one leader, on one connection.
#[derive(Debug, Default)]
pub struct Session {
    id: i32,
    epoch: i32,
    entries: BTreeMap<Key, Entry>,
    changed: BTreeSet<Key>,
    forgotten: BTreeSet<Key>,
    /// Requests so far.
    sent: u64,
    /// Answers so far.
    answered: u64,
    /// `replica.fetch.max.bytes`.
    partition_bytes_max: i32,
}

impl Session {
    /// A session to come, which ends the one with the id `earlier` if the leader still has it.
    #[must_use]
    pub fn new(earlier: i32, partition_bytes_max: i32) -> Self {
        Self { id: earlier, partition_bytes_max, ..Self::default() }
    }

    /// The id that the leader gave, 0 for none.
    #[must_use]
    pub const fn id(&self) -> i32 {
        self.id
    }

    /// No partition is asked for.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The next request would say something that the leader does not know, and the leader would take it as the next of the session:
    /// it may be sent before the last one is answered.
    #[must_use]
    pub fn may_interrupt(&self) -> bool {
        self.epoch > 0 && !(self.changed.is_empty() && self.forgotten.is_empty())
    }

    /// Nothing was asked yet: what comes meanwhile can only be said when the leader has given the session its id.
    #[must_use]
    pub const fn is_new(&self) -> bool {
        self.sent == 0
    }

    /// Asks for a partition, or for something else of it than before.
    pub fn put(&mut self, key: Key, asked: Asked) {
        if self.entries.get(&key).is_some_and(|entry| entry.asked == asked) {
            return;
        }
        self.entries.insert(key, Entry { asked, since: None });
        self.changed.insert(key);
        self.forgotten.remove(&key);
    }

    /// Asks for a partition no more.
    pub fn forget(&mut self, key: Key) {
        self.changed.remove(&key);
        if self.entries.remove(&key).is_some() {
            self.forgotten.insert(key);
        }
    }

    /// The next request. Everything counts as said.
    pub fn request(&mut self) -> Turn {
        let number = self.sent;
        self.sent += 1;
        let mut turn = Turn { id: self.id, epoch: self.epoch, ..Turn::default() };
        let everything = self.epoch == 0;
        let changed = std::mem::take(&mut self.changed);
        for key in changed {
            if let Some(entry) = self.entries.get_mut(&key) {
                entry.since = Some(number);
                if !everything {
                    push(&mut turn.topics, key, entry.asked, self.partition_bytes_max);
                }
            }
        }
        if everything {
            for (key, entry) in &self.entries {
                push(&mut turn.topics, *key, entry.asked, self.partition_bytes_max);
            }
            self.forgotten.clear();
        } else {
            for (topic, index) in std::mem::take(&mut self.forgotten) {
                match turn.forgotten.last_mut().filter(|last| last.id == topic.uuid()) {
                    Some(last) => last.partitions.push(index),
                    None => turn.forgotten.push(ForgottenTopic {
                        id: topic.uuid(),
                        partitions: vec![index],
                        ..ForgottenTopic::default()
                    }),
                }
            }
            self.epoch = self.epoch.checked_add(1).unwrap_or(1);
        }
        turn
    }

    /// The oldest request under way was answered without an error of the session, with the session id `id`: 0 if the leader keeps
    /// none, then every request names everything.
    pub fn answer(&mut self, id: i32) {
        if self.epoch == 0 && id > 0 {
            self.epoch = 1;
        }
        self.id = id;
        self.answered += 1;
    }

    /// What the request that was answered last asked of a partition. `None` if it did not ask, or something else is asked by now.
    #[must_use]
    pub fn asked(&self, key: Key) -> Option<Asked> {
        let number = self.answered.checked_sub(1)?;
        let entry = self.entries.get(&key)?;
        entry.since.is_some_and(|since| since <= number).then_some(entry.asked)
    }
}

fn push(topics: &mut SmallVec<[FetchTopic; 1]>, (topic, index): Key, asked: Asked, max_bytes: i32) {
    let partition = FetchPartition {
        index,
        current_leader_epoch: asked.leader_epoch.get(),
        fetch_offset: asked.offset.get(),
        last_fetched_epoch: asked.last_fetched_epoch.map_or(-1, LeaderEpoch::get),
        log_start_offset: asked.log_start.get(),
        max_bytes,
        replica_directory_id: uuid::Uuid::nil(),
        high_watermark: asked.high_watermark.get(),
    };
    match topics.last_mut().filter(|last| last.id == topic.uuid()) {
        Some(last) => last.partitions.push(partition),
        None => {
            let mut partitions = SmallVec::new();
            partitions.push(partition);
            topics.push(FetchTopic { id: topic.uuid(), partitions, ..FetchTopic::default() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(topic: u128, index: i32) -> Key {
        (TopicId::new(uuid::Uuid::from_u128(topic)).unwrap(), index)
    }

    fn asked(offset: i64) -> Asked {
        Asked {
            leader_epoch: LeaderEpoch(3),
            offset: Offset::new(offset).unwrap(),
            last_fetched_epoch: Some(LeaderEpoch(2)),
            log_start: Offset::ZERO,
            high_watermark: Offset::ZERO,
        }
    }

    fn named(turn: &Turn) -> Vec<(u128, i32, i64)> {
        let partitions = |topic: &FetchTopic| {
            let id = topic.id.as_u128();
            topic.partitions.iter().map(move |it| (id, it.index, it.fetch_offset)).collect::<Vec<_>>()
        };
        turn.topics.iter().flat_map(partitions).collect()
    }

    fn begun() -> Session {
        let mut session = Session::new(0, 100);
        session.put(key(1, 0), asked(0));
        session.put(key(1, 1), asked(5));
        session.put(key(2, 0), asked(7));
        let turn = session.request();
        assert_eq!((turn.id, turn.epoch), (0, 0));
        assert_eq!(named(&turn), [(1, 0, 0), (1, 1, 5), (2, 0, 7)]);
        session.answer(42);
        session
    }

    #[test]
    fn the_first_request_names_everything_and_later_ones_what_changed() {
        assert!(Session::new(0, 100).is_new());
        let mut session = begun();
        assert!(!session.is_new());
        let turn = session.request();
        assert_eq!((turn.id, turn.epoch, named(&turn)), (42, 1, vec![]));
        session.answer(42);
        session.put(key(1, 1), asked(6));
        session.put(key(2, 0), asked(7));
        session.forget(key(1, 0));
        assert!(session.may_interrupt());
        let turn = session.request();
        assert_eq!((turn.epoch, named(&turn)), (2, vec![(1, 1, 6)]));
        assert_eq!(turn.forgotten.len(), 1);
        assert_eq!(turn.forgotten[0].partitions, [0]);
        assert!(!session.may_interrupt());
    }

    #[test]
    fn without_a_session_every_request_names_everything() {
        let mut session = Session::new(17, 100);
        session.put(key(1, 0), asked(0));
        assert_eq!(session.request().id, 17, "the earlier session is ended");
        session.answer(0);
        session.put(key(1, 1), asked(1));
        assert!(!session.may_interrupt());
        let turn = session.request();
        assert_eq!((turn.id, turn.epoch, named(&turn)), (0, 0, vec![(1, 0, 0), (1, 1, 1)]));
    }

    #[test]
    fn a_partition_that_leaves_and_comes_back_before_the_next_request_is_only_named() {
        let mut session = begun();
        session.forget(key(1, 0));
        session.put(key(1, 0), asked(3));
        let turn = session.request();
        assert_eq!(named(&turn), [(1, 0, 3)]);
        assert!(turn.forgotten.is_empty());
    }

    #[test]
    fn an_answer_counts_only_for_what_its_request_asked() {
        let mut session = begun();
        assert_eq!(session.asked(key(1, 0)), Some(asked(0)));
        session.request();
        // Changed and sent while the answer is under way.
        session.put(key(1, 0), asked(9));
        session.put(key(3, 0), asked(1));
        session.request();
        session.answer(42);
        assert_eq!(session.asked(key(1, 0)), None, "the answer is to the request before");
        assert_eq!(session.asked(key(3, 0)), None);
        assert_eq!(session.asked(key(1, 1)), Some(asked(5)));
        session.answer(42);
        assert_eq!(session.asked(key(1, 0)), Some(asked(9)));
        assert_eq!(session.asked(key(3, 0)), Some(asked(1)));
        session.put(key(3, 0), asked(2));
        assert_eq!(session.asked(key(3, 0)), None, "not even asked yet");
    }
}
