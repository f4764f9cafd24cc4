//! A model of etcd: revisions, leases, guarded transactions, and the history that watches are fed from.
//!
//! It evaluates the very transactions that the broker sends ([`GuardedTxn`]). Loss, delay and repetition are the network's and the
//! feeds' business; here every request is carried out at once, in order, as by one correct server.

use std::collections::{BTreeMap, BTreeSet};

use crate::metadata::apply::{Change, KeyEvent};
use crate::metadata::txn::{Guard, GuardedTxn, Operation, Outcome, Stored};

/// Time to live of every lease, milliseconds.
pub const TTL: u64 = 900;

/// What a client asks.
#[derive(Debug, Clone)]
pub enum Request {
    /// Grants `lease` if it is new, then one transaction; unless etcd is at an older revision than was `seen` (rule E13).
    Register { lease: i64, txn: GuardedTxn, seen: i64 },
    /// One transaction.
    Txn(GuardedTxn),
    /// One in the name of the controller: its candidacy, for the checker.
    AsController { txn: GuardedTxn, lease: i64, epoch: i64 },
    /// Renews a lease.
    KeepAlive { lease: i64 },
    /// Ends a lease.
    Revoke { lease: i64 },
    /// All keys at one revision.
    ReadAll,
}

/// What it is answered.
#[derive(Debug, Clone)]
pub enum Answer {
    /// To a transaction.
    Outcome(Outcome),
    /// The server refused it: nothing was changed.
    Refused,
    /// It was not sent: etcd is behind what the sender has seen.
    Behind,
    /// To a renewal: whether the lease is there.
    Alive(bool),
    /// To a revocation.
    Revoked,
    /// To a full read.
    All { entries: Vec<KeyEvent>, revision: i64, generation: u64 },
}

/// A write that was carried out, for the checker.
#[derive(Debug, Clone)]
pub struct Write {
    pub key: Vec<u8>,
    pub value: Option<Vec<u8>>,
    pub revision: i64,
}

#[derive(Debug, Clone, Default)]
pub struct State {
    pub revision: i64,
    pub keys: BTreeMap<Vec<u8>, Stored>,
    /// When each lease ends.
    pub leases: BTreeMap<i64, u64>,
}

/// The store.
#[derive(Debug, Clone, Default)]
pub struct Etcd {
    pub state: State,
    /// All changes, by revision: what a watch brings.
    pub history: Vec<KeyEvent>,
    /// Watches from before this revision are refused.
    pub compacted: i64,
    /// It has no leader: nothing is answered and no lease ends.
    pub down: bool,
    /// How often it was restored from a backup.
    pub generation: u64,
    /// Older states, for stale reads.
    pub snapshots: Vec<State>,
    /// What was written since the checker looked.
    pub written: Vec<Write>,
    /// Leases that were ended and never come back.
    dead: BTreeSet<i64>,
}

impl Etcd {
    /// Carries a request out.
    pub fn handle(&mut self, request: Request, now: u64) -> Answer {
        match request {
            Request::Register { seen, .. } if self.state.revision < seen => Answer::Behind,
            Request::Register { lease, txn, .. } => {
                // A lease that was granted and ended is not granted again: its number was the server's choice.
                if !self.dead.contains(&lease) {
                    self.state.leases.entry(lease).or_insert(now + TTL);
                }
                self.txn(&txn)
            }
            Request::Txn(txn) | Request::AsController { txn, .. } => self.txn(&txn),
            Request::KeepAlive { lease } => match self.state.leases.get_mut(&lease) {
                Some(end) => {
                    *end = now + TTL;
                    Answer::Alive(true)
                }
                None => Answer::Alive(false),
            },
            Request::Revoke { lease } => {
                self.end_lease(lease);
                Answer::Revoked
            }
            Request::ReadAll => read_all(&self.state, self.generation),
        }
    }

    fn txn(&mut self, txn: &GuardedTxn) -> Answer {
        let dead_lease = txn.operations.iter().any(|operation| {
            matches!(operation, Operation::Put { lease, .. } if *lease != 0 && !self.state.leases.contains_key(lease))
        });
        if !txn.guards.iter().all(|guard| self.holds(guard)) {
            let found = txn.reads.iter().filter_map(|key| self.state.keys.get(key).cloned()).collect();
            return Answer::Outcome(Outcome::Rejected { revision: self.state.revision, found });
        }
        if dead_lease {
            return Answer::Refused;
        }
        let mut puts = BTreeSet::new();
        let twice = txn
            .operations
            .iter()
            .any(|operation| matches!(operation, Operation::Put { key, .. } if !puts.insert(key)));
        assert!(!twice, "duplicate key given in txn request: {txn:?}");
        let revision = self.state.revision + 1;
        let before = self.history.len();
        for operation in &txn.operations {
            match operation {
                Operation::Put { key, value, lease } => self.put(key, value, *lease, revision),
                Operation::DeleteRange { from, to } if to.is_empty() => self.delete(from, revision),
                Operation::DeleteRange { from, to } => {
                    let range: Vec<Vec<u8>> =
                        self.state.keys.range(from.clone()..to.clone()).map(|(key, _)| key.clone()).collect();
                    for key in range {
                        self.delete(&key, revision);
                    }
                }
            }
        }
        if self.history.len() > before {
            self.state.revision = revision;
        }
        Answer::Outcome(Outcome::Applied { revision: self.state.revision })
    }

    fn holds(&self, guard: &Guard) -> bool {
        let created = |key: &Vec<u8>| self.state.keys.get(key).map_or(0, |stored| stored.create_revision);
        match guard {
            Guard::CreatedAt(key, revision) => created(key) == *revision,
            Guard::NotCreatedAt(key, revision) => created(key) != *revision,
            Guard::Exists(key) => created(key) > 0,
            Guard::ChangedAt(key, revision) => self.changed(key) == *revision,
            Guard::ChangedBefore(key, revision) => self.changed(key) < *revision,
            Guard::ChangedAfter(key, revision) => self.changed(key) > *revision,
            Guard::Is(key, value) => self.state.keys.get(key).is_some_and(|stored| stored.value == *value),
        }
    }

    /// Revision of a key's last change; 0: there is no such key.
    pub fn changed(&self, key: &[u8]) -> i64 {
        self.state.keys.get(key).map_or(0, |stored| stored.mod_revision)
    }

    fn put(&mut self, key: &[u8], value: &[u8], lease: i64, revision: i64) {
        let create_revision = self.state.keys.get(key).map_or(revision, |stored| stored.create_revision);
        let stored = Stored {
            key: key.to_vec(),
            value: value.to_vec(),
            create_revision,
            mod_revision: revision,
            lease,
        };
        self.state.keys.insert(key.to_vec(), stored);
        let change = Change::Put { value: value.to_vec(), create_revision };
        self.history.push(KeyEvent { key: key.to_vec(), mod_revision: revision, change });
        self.written.push(Write { key: key.to_vec(), value: Some(value.to_vec()), revision });
    }

    fn delete(&mut self, key: &[u8], revision: i64) {
        if self.state.keys.remove(key).is_some() {
            self.history.push(KeyEvent { key: key.to_vec(), mod_revision: revision, change: Change::Delete });
            self.written.push(Write { key: key.to_vec(), value: None, revision });
        }
    }

    /// Ends a lease: its keys go, all in one revision.
    pub fn end_lease(&mut self, lease: i64) {
        self.dead.insert(lease);
        if self.state.leases.remove(&lease).is_none() {
            return;
        }
        let keys: Vec<Vec<u8>> = self
            .state
            .keys
            .values()
            .filter(|stored| stored.lease == lease)
            .map(|stored| stored.key.clone())
            .collect();
        if !keys.is_empty() {
            let revision = self.state.revision + 1;
            for key in keys {
                self.delete(&key, revision);
            }
            self.state.revision = revision;
        }
    }

    /// Ends the leases whose time is over.
    pub fn expire(&mut self, now: u64) {
        if self.down {
            return;
        }
        let over: Vec<i64> =
            self.state.leases.iter().filter(|(_, end)| **end <= now).map(|(lease, _)| *lease).collect();
        for lease in over {
            self.end_lease(lease);
        }
    }

    /// It has a leader again: every lease gets its full time, as etcd does.
    pub fn up(&mut self, now: u64) {
        self.down = false;
        for end in self.state.leases.values_mut() {
            *end = (*end).max(now + TTL);
        }
    }

    /// Forgets the history before `revision`.
    pub fn compact(&mut self, revision: i64) {
        self.compacted = self.compacted.max(revision);
    }

    /// Goes back to a backup: its revisions are given out again, its leases begin anew, nothing is known of what came after it.
    pub fn restore(&mut self, state: State, now: u64) {
        self.generation += 1;
        self.state = state;
        for (lease, end) in &mut self.state.leases {
            self.dead.remove(lease);
            *end = now + TTL;
        }
        let known = self.after(self.state.revision);
        self.history.truncate(known);
        self.compacted = self.compacted.min(self.state.revision);
        self.snapshots.clear();
    }

    /// Keeps the present state for later.
    pub fn snapshot(&mut self) {
        self.snapshots.push(self.state.clone());
        if self.snapshots.len() > 8 {
            self.snapshots.remove(0);
        }
    }

    /// Where the events after `revision` begin in the history.
    pub fn after(&self, revision: i64) -> usize {
        self.history.partition_point(|event| event.mod_revision <= revision)
    }
}

/// All keys of a state.
pub fn read_all(state: &State, generation: u64) -> Answer {
    let entries = state
        .keys
        .values()
        .map(|stored| KeyEvent {
            key: stored.key.clone(),
            mod_revision: stored.mod_revision,
            change: Change::Put { value: stored.value.clone(), create_revision: stored.create_revision },
        })
        .collect();
    Answer::All { entries, revision: state.revision, generation }
}
