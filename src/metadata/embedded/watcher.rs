//! What one watch has to be told next. Pure: the stream's task asks whenever the store has moved.

use etcd_client::proto::{PbEvent, PbKeyValue};

use super::key_range::KeyRange;
use super::mvcc::{Mvcc, Version};
use super::range::key_value;

/// The most revisions told in one message (etcd's `watchBatchMaxRevs`).
const BATCH_REVISIONS: i64 = 1_000;
/// Bytes of keys and values after which a message ends with the revision it is at.
const BATCH_BYTES: usize = 1 << 20;

/// One watch of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watcher {
    /// First key.
    pub key: Vec<u8>,
    /// etcd's range end: see [`KeyRange::new`].
    pub range_end: Vec<u8>,
    /// The first revision not yet told.
    pub next_revision: i64,
    /// Puts are told.
    pub puts: bool,
    /// Deletions are told.
    pub deletes: bool,
    /// The value before the change is told too.
    pub prev_kv: bool,
    /// Large messages may be split.
    pub fragment: bool,
    /// Told how far the store is when there was nothing else to tell for a while.
    pub progress_notify: bool,
    /// Something was told since the last such note.
    pub recently_told: bool,
}

/// What a watch has to be told.
#[derive(Debug, Clone, PartialEq)]
pub enum Due {
    /// Nothing: the watch is as far as the store.
    Nothing,
    /// These changes of whole revisions. There may be more.
    Events(Vec<PbEvent>),
    /// The changes it wants are gone; this was the compaction. The watch is over.
    Compacted(i64),
}

impl Watcher {
    /// Takes the next changes up to revision `visible`.
    ///
    /// Cost: a walk over the changes since the last call.
    pub fn advance(&mut self, map: &Mvcc, visible: i64) -> Due {
        if self.next_revision > visible {
            return Due::Nothing;
        }
        // A watch that was open before a compaction is still served from the log while that reaches back far enough.
        if self.next_revision < map.log_start() {
            return Due::Compacted(map.compacted());
        }
        let range = KeyRange::new(&self.key, &self.range_end);
        let mut events = Vec::new();
        let mut bytes = 0;
        let mut first_revision = None;
        let mut last_revision = None;
        for change in map.changes(self.next_revision) {
            let revision = change.at.main;
            if revision > visible {
                break;
            }
            let is_new_revision = last_revision != Some(revision);
            let is_full = bytes > BATCH_BYTES
                || first_revision.is_some_and(|first| revision - first >= BATCH_REVISIONS);
            if is_new_revision && is_full {
                self.next_revision = revision;
                return Due::Events(events);
            }
            let wanted = if change.live().is_some() { self.puts } else { self.deletes };
            if wanted && range.contains(&change.key) {
                bytes += change.size_bytes();
                first_revision.get_or_insert(revision);
                last_revision = Some(revision);
                events.push(self.event(map, change));
            }
        }
        self.next_revision = visible + 1;
        if events.is_empty() { Due::Nothing } else { Due::Events(events) }
    }

    fn event(&self, map: &Mvcc, change: &Version) -> PbEvent {
        let revision = change.at.main;
        let is_creation = change.live().is_some_and(|live| live.create_revision == revision);
        let before = if self.prev_kv && !is_creation && revision > map.compacted() {
            map.live_at(&change.key, revision - 1).map(|(version, live)| key_value(version, live))
        } else {
            None
        };
        let (kind, kv) = change.live().map_or_else(
            || {
                let kv =
                    PbKeyValue { key: change.key.to_vec(), mod_revision: revision, ..Default::default() };
                (1, kv)
            },
            |live| (0, key_value(change, live)),
        );
        PbEvent { r#type: kind, kv: Some(kv), prev_kv: before }
    }
}
