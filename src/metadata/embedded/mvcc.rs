//! The multi-version map: every key with the versions that a compaction has not dropped, and the log of changes.
//!
//! Pure: no clock, no I/O. A version is stored once and shared by the index (by key) and the log (by revision).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::key_range::KeyRange;

/// A key as the index holds it.
pub type Key = Arc<[u8]>;

/// The revision of a store in which nothing was ever written, as etcd counts.
pub const FIRST_REVISION: i64 = 1;
/// Changes older than the last compaction that stay in memory for watches that were already open and lag a little.
const SLACK_CHANGES: usize = 1_000;
/// The same in bytes of keys and values.
const SLACK_BYTES: usize = 4 << 20;

/// When a change happened: the revision, and its place among the changes of the same Txn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision {
    /// The store's revision; grows by one with each request that changes something.
    pub main: i64,
    /// Number of the change inside that request, from 0.
    pub sub: u32,
}

/// One change of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// The key.
    pub key: Key,
    /// When.
    pub at: Revision,
    /// What the key became.
    pub state: State,
}

/// What a key is after a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It has a value.
    Live(Live),
    /// It is gone.
    Deleted,
}

/// A value and its attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Live {
    /// Revision of the put that brought the key to life.
    pub create_revision: i64,
    /// Number of puts since then, from 1.
    pub version: i64,
    /// The lease the key hangs on; 0 for none.
    pub lease: i64,
    /// The value.
    pub value: Box<[u8]>,
}

impl Version {
    /// The value and attributes, unless this version is a deletion.
    #[must_use]
    pub const fn live(&self) -> Option<&Live> {
        match &self.state {
            State::Live(live) => Some(live),
            State::Deleted => None,
        }
    }

    /// Bytes of key and value.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.key.len() + self.live().map_or(0, |live| live.value.len())
    }
}

/// The map. See the module's documentation.
#[derive(Debug)]
pub struct Mvcc {
    /// Versions per key, oldest first. No entry for a key without versions.
    index: BTreeMap<Key, Vec<Arc<Version>>>,
    /// Changes in order of revision: all from the last compaction on, and a little more ([`SLACK_CHANGES`]).
    log: VecDeque<Arc<Version>>,
    log_bytes: usize,
    /// Bytes of all versions in the index.
    stored_bytes: usize,
    /// Every change of this revision and later is in the log.
    log_start: i64,
    revision: i64,
    /// Revision of the last compaction; -1 for none.
    compacted: i64,
}

impl Default for Mvcc {
    fn default() -> Self {
        Self {
            index: BTreeMap::new(),
            log: VecDeque::new(),
            log_bytes: 0,
            stored_bytes: 0,
            log_start: 0,
            revision: FIRST_REVISION,
            compacted: -1,
        }
    }
}

impl Mvcc {
    /// The newest revision.
    #[must_use]
    pub const fn revision(&self) -> i64 {
        self.revision
    }

    /// The revision of the last compaction, below which nothing can be read; -1 for none.
    #[must_use]
    pub const fn compacted(&self) -> i64 {
        self.compacted
    }

    /// The first revision of which an already open watch can still be told.
    #[must_use]
    pub const fn log_start(&self) -> i64 {
        self.log_start
    }

    /// Bytes of keys and values of all versions held.
    #[must_use]
    pub const fn stored_bytes(&self) -> usize {
        self.stored_bytes
    }

    /// Bytes of keys and values of the changes held for watches and old revisions.
    #[must_use]
    pub const fn log_bytes(&self) -> usize {
        self.log_bytes
    }

    /// The key as it was at `revision`; `None` if it did not exist then.
    #[must_use]
    pub fn live_at(&self, key: &[u8], revision: i64) -> Option<(&Arc<Version>, &Live)> {
        self.index.get(key).and_then(|versions| newest_at(versions, revision))
    }

    /// The live keys of `range` as they were at `revision`, in key order.
    pub fn range<'a>(
        &'a self,
        range: KeyRange<'_>,
        revision: i64,
    ) -> impl Iterator<Item = (&'a Arc<Version>, &'a Live)> {
        range
            .bounds()
            .into_iter()
            .flat_map(|bounds| self.index.range::<[u8], _>(bounds))
            .filter_map(move |(_, versions)| newest_at(versions, revision))
    }

    /// All changes from `revision` on, in order. Complete only if `revision >= log_start()`.
    pub fn changes(&self, revision: i64) -> impl Iterator<Item = &Arc<Version>> {
        self.log.range(self.log.partition_point(|change| change.at.main < revision)..)
    }

    /// Adds a change. Changes come in order of revision.
    pub fn insert(&mut self, change: Arc<Version>) {
        self.revision = self.revision.max(change.at.main);
        self.stored_bytes += change.size_bytes();
        match self.index.get_mut(&change.key) {
            Some(versions) => versions.push(Arc::clone(&change)),
            None => {
                self.index.insert(Arc::clone(&change.key), vec![Arc::clone(&change)]);
            }
        }
        // While the file is read back, what lies below the compaction is a value that still lives, not history.
        if change.at.main >= self.compacted {
            self.log_bytes += change.size_bytes();
            self.log.push_back(change);
        }
    }

    /// Tells an empty map where the last compaction was, before its versions are inserted.
    pub fn restore_compacted(&mut self, revision: i64) {
        self.compacted = revision;
        self.log_start = revision;
    }

    /// Drops what only reads below `revision` could see, and returns which changes those were.
    ///
    /// Kept are, per key, the version that a read at `revision` sees, everything newer, and the changes of `revision` itself (a
    /// watch may start there, etcd's #17555). `revision` is above the last compaction and not above the newest.
    ///
    /// Cost: the changes between the two compactions.
    pub fn compact(&mut self, revision: i64) -> Vec<Revision> {
        let keys: BTreeSet<Key> = self
            .changes(self.compacted)
            .take_while(|change| change.at.main <= revision)
            .map(|change| Arc::clone(&change.key))
            .collect();
        let mut dropped = Vec::new();
        for key in keys {
            let Some(versions) = self.index.get_mut(&key) else { continue };
            let old = versions.partition_point(|version| version.at.main <= revision);
            let keeps_newest = versions
                .get(old.saturating_sub(1))
                .is_some_and(|newest| newest.live().is_some() || newest.at.main == revision);
            let drop_count = if keeps_newest { old.saturating_sub(1) } else { old };
            for version in versions.drain(..drop_count) {
                self.stored_bytes -= version.size_bytes();
                dropped.push(version.at);
            }
            if versions.is_empty() {
                self.index.remove(&key);
            } else {
                versions.shrink_to_fit();
            }
        }
        self.compacted = revision;
        self.trim_log();
        dropped
    }

    fn trim_log(&mut self) {
        let kept_from = self.log.partition_point(|change| change.at.main < self.compacted);
        let mut start = kept_from;
        let mut slack_bytes = 0;
        while let Some(before) = start.checked_sub(1).and_then(|index| self.log.get(index)) {
            slack_bytes += before.size_bytes();
            if kept_from - start >= SLACK_CHANGES || slack_bytes > SLACK_BYTES {
                break;
            }
            start -= 1;
        }
        // Never half a revision.
        let last_dropped =
            start.checked_sub(1).and_then(|index| self.log.get(index)).map(|change| change.at.main);
        while start < kept_from && self.log.get(start).map(|change| change.at.main) == last_dropped {
            start += 1;
        }
        for change in self.log.drain(..start) {
            self.log_bytes -= change.size_bytes();
        }
        if let Some(dropped) = last_dropped {
            self.log_start = (dropped + 1).min(self.compacted);
        }
        if self.log.capacity() > 4 * self.log.len().max(64) {
            self.log.shrink_to_fit();
        }
    }

    /// The revision in the middle of the log, for a compaction by size.
    #[must_use]
    pub fn middle_revision(&self) -> i64 {
        self.log.get(self.log.len() / 2).map_or(self.compacted, |change| change.at.main)
    }
}

fn newest_at(versions: &[Arc<Version>], revision: i64) -> Option<(&Arc<Version>, &Live)> {
    let upto = match versions.last() {
        // Nearly always the newest is asked for.
        Some(newest) if newest.at.main <= revision => versions.len(),
        _ => versions.partition_point(|version| version.at.main <= revision),
    };
    let version = versions.get(upto.checked_sub(1)?)?;
    version.live().map(|live| (version, live))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(map: &mut Mvcc, key: &str, value: &str) -> i64 {
        let main = map.revision() + 1;
        let (create_revision, version) = map
            .live_at(key.as_bytes(), main)
            .map_or((main, 1), |(_, live)| (live.create_revision, live.version + 1));
        let live = Live { create_revision, version, lease: 0, value: value.as_bytes().into() };
        map.insert(Arc::new(Version {
            key: key.as_bytes().into(),
            at: Revision { main, sub: 0 },
            state: State::Live(live),
        }));
        main
    }

    fn delete(map: &mut Mvcc, key: &str) -> i64 {
        let main = map.revision() + 1;
        map.insert(Arc::new(Version {
            key: key.as_bytes().into(),
            at: Revision { main, sub: 0 },
            state: State::Deleted,
        }));
        main
    }

    fn value_at(map: &Mvcc, key: &str, revision: i64) -> Option<String> {
        map.live_at(key.as_bytes(), revision)
            .map(|(_, live)| String::from_utf8_lossy(&live.value).into_owned())
    }

    #[test]
    fn a_read_at_a_revision_sees_what_was_there_then() {
        let mut map = Mvcc::default();
        let first = put(&mut map, "a", "1");
        let second = put(&mut map, "a", "2");
        let gone = delete(&mut map, "a");
        assert_eq!(value_at(&map, "a", first - 1), None);
        assert_eq!(value_at(&map, "a", first), Some("1".into()));
        assert_eq!(value_at(&map, "a", second), Some("2".into()));
        assert_eq!(value_at(&map, "a", gone), None);
    }

    #[test]
    fn a_compaction_keeps_what_reads_at_its_revision_see_and_drops_the_rest() {
        let mut map = Mvcc::default();
        let first = put(&mut map, "a", "1");
        let second = put(&mut map, "a", "2");
        put(&mut map, "b", "1");
        let gone = delete(&mut map, "b");
        let third = put(&mut map, "a", "3");
        let dropped: Vec<i64> = map.compact(gone).iter().map(|at| at.main).collect();
        assert_eq!(dropped, [first, second + 1], "the tombstone of the compacted revision itself stays");
        assert_eq!(value_at(&map, "a", gone), Some("2".into()));
        assert_eq!(value_at(&map, "a", third), Some("3".into()));
        let dropped: Vec<i64> = map.compact(third).iter().map(|at| at.main).collect();
        assert_eq!(dropped, [second, gone]);
        assert_eq!(map.stored_bytes(), 2);
    }

    #[test]
    fn the_log_stays_bounded_by_the_slack_and_never_starts_in_the_middle_of_a_revision() {
        let mut map = Mvcc::default();
        for _ in 0..3 * SLACK_CHANGES {
            put(&mut map, "a", "x");
        }
        let newest = map.revision();
        map.compact(newest);
        assert_eq!(map.changes(0).count(), SLACK_CHANGES + 1);
        assert_eq!(map.changes(0).next().map(|change| change.at.main), Some(map.log_start()));
    }
}
