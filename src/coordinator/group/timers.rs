//! The deadlines of a shard, as data: the shell asks for the next one, sleeps, and comes back.

use std::collections::{BTreeMap, BTreeSet};

use super::command::Name;
use crate::types::Millis;

/// What a deadline is for. One deadline per key: setting it again moves it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum TimerKey {
    /// Classic: the rebalance of the group stops waiting for members to join.
    Join(Name),
    /// Classic: members that have not synced are removed.
    Sync(Name),
    /// Classic: the session of a member ends.
    Session(Name, Name),
    /// Classic: an id that was given out was never used.
    PendingMember(Name, Name),
    /// Consumer: the session of a member ends.
    ConsumerSession(Name, Name),
    /// Consumer: a member that must revoke has not done so.
    ConsumerRebalance(Name, Name),
    /// Consumer: the next assignment may be computed (`group.consumer.assignment.interval.ms`).
    Assignment(Name),
    /// Consumer: a classic member in a consumer group has not synced or joined in time.
    ConsumerClassic(Name, Name),
    /// Time to look for offsets and groups to forget.
    Expiry,
}

/// Deadlines in milliseconds of [`super::turn::Now::elapsed_ms`]. Every operation costs O(log n).
#[derive(Debug, Default)]
pub struct Timers {
    by_key: BTreeMap<TimerKey, Millis>,
    by_time: BTreeSet<(Millis, TimerKey)>,
}

impl Timers {
    /// Sets or moves the deadline of `key`.
    pub fn set(&mut self, key: TimerKey, at_ms: Millis) {
        if let Some(before) = self.by_key.insert(key.clone(), at_ms) {
            self.by_time.remove(&(before, key.clone()));
        }
        self.by_time.insert((at_ms, key));
    }

    /// Drops the deadline of `key`, if there is one.
    pub fn cancel(&mut self, key: &TimerKey) {
        if let Some(at_ms) = self.by_key.remove(key) {
            self.by_time.remove(&(at_ms, key.clone()));
        }
    }

    /// The deadline of `key`.
    #[must_use]
    pub fn get(&self, key: &TimerKey) -> Option<Millis> {
        self.by_key.get(key).copied()
    }

    /// Every deadline, for tests.
    #[cfg(test)]
    pub(super) fn iter(&self) -> impl Iterator<Item = (&TimerKey, Millis)> {
        self.by_key.iter().map(|(key, at_ms)| (key, *at_ms))
    }

    /// The earliest deadline.
    #[must_use]
    pub fn next(&self) -> Option<Millis> {
        self.by_time.first().map(|(at_ms, _)| *at_ms)
    }

    /// Takes the earliest deadline that is not after `now_ms`.
    pub fn pop_due(&mut self, now_ms: Millis) -> Option<TimerKey> {
        if self.next()? > now_ms {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_was_moved_is_due_only_at_its_new_time() {
        let mut timers = Timers::default();
        timers.set(TimerKey::Join("g".into()), 10);
        timers.set(TimerKey::Join("g".into()), 30);
        timers.set(TimerKey::Expiry, 20);
        assert_eq!(timers.next(), Some(20));
        assert_eq!(timers.pop_due(29), Some(TimerKey::Expiry));
        assert_eq!(timers.pop_due(29), None);
        assert_eq!(timers.pop_due(30), Some(TimerKey::Join("g".into())));
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn a_cancelled_deadline_is_never_due() {
        let mut timers = Timers::default();
        timers.set(TimerKey::Expiry, 1);
        timers.cancel(&TimerKey::Expiry);
        assert_eq!(timers.pop_due(i64::MAX), None);
    }
}
