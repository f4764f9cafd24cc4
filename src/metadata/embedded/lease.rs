//! Leases: who granted what for how long, and which keys hang on it. Pure: the time comes in as an argument.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::error::RequestError;
use super::mvcc::Key;

/// The shortest TTL granted, in seconds: 1.5 default election timeouts rounded up, as a real server with its defaults does.
pub const MIN_TTL_SECONDS: i64 = 2;
/// The longest TTL that may be asked for, in seconds (etcd's `MaxLeaseTTL`).
pub const MAX_TTL_SECONDS: i64 = 9_000_000_000;

/// One lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Granted seconds.
    pub ttl: i64,
    /// When it ends, on the clock whose times are passed in.
    pub deadline: Duration,
    /// The keys that go when it ends.
    pub keys: BTreeSet<Key>,
}

/// All leases by id.
#[derive(Debug, Default)]
pub struct Leases(BTreeMap<i64, Lease>);

/// The time a lease of `ttl` seconds ends when it is granted or renewed now.
fn deadline(now: Duration, ttl: i64) -> Duration {
    now.saturating_add(Duration::from_secs(u64::try_from(ttl).unwrap_or(0)))
}

impl Leases {
    /// Checks a grant and returns the TTL it gets.
    ///
    /// # Errors
    /// The id is taken, or the TTL too large.
    pub fn check_grant(&self, id: i64, ttl: i64) -> Result<i64, RequestError> {
        if ttl > MAX_TTL_SECONDS {
            return Err(RequestError::LeaseTtlTooLarge);
        }
        if self.0.contains_key(&id) {
            return Err(RequestError::LeaseExists);
        }
        Ok(ttl.max(MIN_TTL_SECONDS))
    }

    /// Adds a lease, whole from `now` on. Also for one read back from the file: a restart never costs anybody a lease.
    pub fn insert(&mut self, id: i64, ttl: i64, now: Duration) {
        self.0.insert(id, Lease { ttl, deadline: deadline(now, ttl), keys: BTreeSet::new() });
    }

    /// The lease, ended or not, until it is revoked.
    #[must_use]
    pub fn get(&self, id: i64) -> Option<&Lease> {
        self.0.get(&id)
    }

    /// Removes a lease; its keys are the caller's business.
    pub fn remove(&mut self, id: i64) -> Option<Lease> {
        self.0.remove(&id)
    }

    /// Extends a lease to its full TTL and returns that; `None` if there is no such lease or its time is already over (its keys
    /// are about to go: a late renewal must not be told that they stay).
    pub fn renew(&mut self, id: i64, now: Duration) -> Option<i64> {
        let lease = self.0.get_mut(&id).filter(|lease| lease.deadline > now)?;
        lease.deadline = deadline(now, lease.ttl);
        Some(lease.ttl)
    }

    /// Hangs `key` on a lease. Nothing happens for lease 0 or an unknown one.
    pub fn attach(&mut self, id: i64, key: &Key) {
        if let Some(lease) = self.0.get_mut(&id) {
            lease.keys.insert(key.clone());
        }
    }

    /// Takes `key` off a lease.
    pub fn detach(&mut self, id: i64, key: &Key) {
        if let Some(lease) = self.0.get_mut(&id) {
            lease.keys.remove(key);
        }
    }

    /// Leases whose time is over, in order of their ends.
    #[must_use]
    pub fn ended(&self, now: Duration) -> Vec<i64> {
        let mut ended: Vec<_> = self
            .0
            .iter()
            .filter(|(_, lease)| lease.deadline <= now)
            .map(|(id, lease)| (lease.deadline, *id))
            .collect();
        ended.sort_unstable();
        ended.into_iter().map(|(_, id)| id).collect()
    }

    /// When the next lease ends.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Duration> {
        self.0.values().map(|lease| lease.deadline).min()
    }

    /// The ids of all leases, smallest first.
    pub fn ids(&self) -> impl Iterator<Item = i64> {
        self.0.keys().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_ttl_below_the_floor_is_raised_and_one_beyond_the_limit_refused() {
        let leases = Leases::default();
        assert_eq!(leases.check_grant(1, 0), Ok(MIN_TTL_SECONDS));
        assert_eq!(leases.check_grant(1, 60), Ok(60));
        assert_eq!(leases.check_grant(1, MAX_TTL_SECONDS + 1), Err(RequestError::LeaseTtlTooLarge));
    }

    #[test]
    fn a_renewal_before_the_end_gives_the_full_time_and_one_after_it_nothing() {
        let mut leases = Leases::default();
        leases.insert(7, 5, Duration::ZERO);
        assert_eq!(leases.renew(7, 4 * SECOND), Some(5));
        assert!(leases.ended(8 * SECOND).is_empty());
        assert_eq!(leases.ended(9 * SECOND), [7]);
        assert_eq!(leases.renew(7, 9 * SECOND), None);
    }
}
