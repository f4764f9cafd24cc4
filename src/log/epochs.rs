//! Where leader epochs begin in a log (`LeaderEpochFileCache`): what truncation by epoch stands on (rule F2).

use crate::types::{LeaderEpoch, Offset};

/// The epochs that have records in the log or were begun by its leader, ascending in epoch and start offset. Seldom more than a few.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Epochs {
    entries: Vec<(i32, i64)>,
}

impl Epochs {
    /// From the entries of a checkpoint, which ascend.
    #[must_use]
    pub const fn new(entries: Vec<(i32, i64)>) -> Self {
        Self { entries }
    }

    /// All entries, for a checkpoint.
    #[must_use]
    pub fn entries(&self) -> &[(i32, i64)] {
        &self.entries
    }

    /// The newest epoch.
    #[must_use]
    pub fn latest(&self) -> Option<i32> {
        self.entries.last().map(|(epoch, _)| *epoch)
    }

    /// Says that `epoch` begins at `start_offset`. Returns whether that changed anything: an epoch that is known, or older than the
    /// newest, does not. Entries of empty epochs at or after `start_offset` give way.
    pub fn assign(&mut self, epoch: i32, start_offset: i64) -> bool {
        if epoch < 0 || self.latest().is_some_and(|latest| epoch <= latest) {
            return false;
        }
        self.entries.retain(|(_, start)| *start < start_offset);
        self.entries.push((epoch, start_offset));
        true
    }

    /// The epoch of the record at `offset`.
    #[must_use]
    pub fn epoch_of(&self, offset: i64) -> Option<i32> {
        let after = self.entries.partition_point(|(_, start)| *start <= offset);
        after.checked_sub(1).and_then(|at| self.entries.get(at)).map(|(epoch, _)| *epoch)
    }

    /// The end of `epoch` in a log that ends at `log_end` (`endOffsetFor`): the largest epoch not above `epoch` and where the next
    /// one begins. `None` if `epoch` is newer than all, or the log knows none.
    ///
    /// An epoch older than the first entry answers itself with the first entry's start offset.
    #[must_use]
    pub fn end_offset_for(&self, epoch: LeaderEpoch, log_end: Offset) -> Option<(LeaderEpoch, Offset)> {
        let epoch = epoch.get();
        let latest = self.latest()?;
        if epoch == latest {
            return Some((LeaderEpoch(epoch), log_end));
        }
        if epoch > latest {
            return None;
        }
        let after = self.entries.partition_point(|(known, _)| *known <= epoch);
        let (_, end) = *self.entries.get(after)?;
        let floor =
            after.checked_sub(1).and_then(|at| self.entries.get(at)).map_or(epoch, |(known, _)| *known);
        Some((LeaderEpoch(floor), Offset::new(end)?))
    }

    /// Forgets epochs that begin at or after `end_offset`: the log was cut there. Returns whether any did.
    pub fn truncate_from_end(&mut self, end_offset: i64) -> bool {
        let before = self.entries.len();
        self.entries.retain(|(_, start)| *start < end_offset);
        self.entries.len() != before
    }

    /// Forgets all epochs: the log begins anew. Returns whether there were any.
    pub fn clear(&mut self) -> bool {
        !std::mem::take(&mut self.entries).is_empty()
    }

    /// Forgets epochs that end at or before `start_offset`: the log begins there now. Returns whether anything changed.
    pub fn truncate_from_start(&mut self, start_offset: i64) -> bool {
        let after = self.entries.partition_point(|(_, start)| *start <= start_offset);
        let Some(first) = after.checked_sub(1) else { return false };
        let moved = self.entries.get(first).is_some_and(|(_, start)| *start != start_offset);
        self.entries.drain(..first);
        if let Some(entry) = self.entries.first_mut() {
            entry.1 = start_offset;
        }
        first > 0 || moved
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offset(raw: i64) -> Offset {
        Offset::new(raw).unwrap()
    }

    fn epochs() -> Epochs {
        Epochs::new(vec![(2, 10), (4, 20), (5, 30)])
    }

    #[test]
    fn the_end_of_an_epoch_is_the_start_of_the_next() {
        let answer = |epoch| epochs().end_offset_for(LeaderEpoch(epoch), offset(42));
        assert_eq!(answer(5), Some((LeaderEpoch(5), offset(42))));
        assert_eq!(answer(4), Some((LeaderEpoch(4), offset(30))));
        assert_eq!(answer(3), Some((LeaderEpoch(2), offset(20))));
        assert_eq!(answer(1), Some((LeaderEpoch(1), offset(10))));
        assert_eq!(answer(6), None);
        assert_eq!(Epochs::default().end_offset_for(LeaderEpoch(0), offset(0)), None);
    }

    #[test]
    fn an_empty_epoch_gives_way_to_one_that_begins_at_the_same_offset() {
        let mut epochs = epochs();
        assert!(!epochs.assign(5, 50));
        assert!(!epochs.assign(3, 50));
        assert!(epochs.assign(7, 30));
        assert_eq!(epochs.entries(), [(2, 10), (4, 20), (7, 30)]);
        assert_eq!(epochs.epoch_of(29), Some(4));
        assert_eq!(epochs.epoch_of(9), None);
    }

    #[test]
    fn both_ends_can_be_cut() {
        let mut cut = epochs();
        assert!(cut.truncate_from_end(20));
        assert_eq!(cut.entries(), [(2, 10)]);
        assert!(!cut.truncate_from_end(20));
        let mut cut = epochs();
        assert!(cut.truncate_from_start(25));
        assert_eq!(cut.entries(), [(4, 25), (5, 30)]);
        assert!(!cut.truncate_from_start(5));
        assert!(!cut.truncate_from_start(25));
    }
}
