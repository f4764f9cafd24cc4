//! One guarded change: compares, operations, and what came of it.
//!
//! Every write to etcd is a [`GuardedTxn`], counted against etcd's bounds before it is sent (rule E11). Its [`Outcome`] tells a
//! definite rejection from a lost answer (rule E9). The shapes themselves are in [`shapes`].

pub mod partitions;
pub mod shapes;

use etcd_client::{Compare, CompareOp, DeleteOptions, GetOptions, PutOptions, Txn, TxnOp};

use super::error::MetadataError;
use super::keys::prefix_end;

/// Most compares in one Txn; etcd's own bound is 128.
pub const COMPARES_MAX: usize = 120;
/// Most operations in one Txn; etcd's own bound is 128.
pub const OPERATIONS_MAX: usize = 120;
/// Most bytes of keys and values in one Txn; etcd's own bound is 1.5 MiB.
pub const BYTES_MAX: usize = 1 << 20;

/// What must hold for a change to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Guard {
    /// The key was created at that revision; 0: it does not exist.
    CreatedAt(Vec<u8>, i64),
    /// The key was not created at that revision, or is gone.
    NotCreatedAt(Vec<u8>, i64),
    /// The key exists.
    Exists(Vec<u8>),
    /// The key was last changed at that revision; 0: it does not exist.
    ChangedAt(Vec<u8>, i64),
    /// The key was last changed before that revision, or does not exist.
    ChangedBefore(Vec<u8>, i64),
    /// The key was last changed after that revision.
    ChangedAfter(Vec<u8>, i64),
    /// The key has exactly that value.
    Is(Vec<u8>, Vec<u8>),
}

/// What a change does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// Stores a value, under a lease or without one (0).
    Put {
        /// The key.
        key: Vec<u8>,
        /// The value.
        value: Vec<u8>,
        /// The lease it lives with; 0: none.
        lease: i64,
    },
    /// Deletes the keys in `[from, to)`.
    DeleteRange {
        /// The first key.
        from: Vec<u8>,
        /// The end, exclusive; empty: only `from`.
        to: Vec<u8>,
    },
}

/// A change that is made as a whole if all guards hold, and not at all otherwise.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuardedTxn {
    /// For messages: what is being done.
    pub what: String,
    /// What must hold.
    pub guards: Vec<Guard>,
    /// What is done.
    pub operations: Vec<Operation>,
    /// Keys to read if a guard does not hold.
    pub reads: Vec<Vec<u8>>,
}

/// A key that was read: its value and revisions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// The key.
    pub key: Vec<u8>,
    /// The value.
    pub value: Vec<u8>,
    /// Revision of its creation.
    pub create_revision: i64,
    /// Revision of its last change.
    pub mod_revision: i64,
    /// The lease it lives with; 0: none.
    pub lease: i64,
}

impl From<&etcd_client::KeyValue> for Stored {
    fn from(kv: &etcd_client::KeyValue) -> Self {
        Self {
            key: kv.key().to_vec(),
            value: kv.value().to_vec(),
            create_revision: kv.create_revision(),
            mod_revision: kv.mod_revision(),
            lease: kv.lease(),
        }
    }
}

/// What came of a [`GuardedTxn`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The change was made, at that revision.
    Applied {
        /// The revision of the change.
        revision: i64,
    },
    /// A guard did not hold; nothing was changed.
    Rejected {
        /// The revision at which the guards were looked at.
        revision: i64,
        /// The keys asked for with [`GuardedTxn::or_read`] that exist.
        found: Vec<Stored>,
    },
    /// The answer was lost: the change may have been made, or may yet be (rule E9).
    Unknown {
        /// What the attempt met.
        why: String,
    },
}

impl GuardedTxn {
    /// A change without guards and operations yet.
    #[must_use]
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), guards: Vec::new(), operations: Vec::new(), reads: Vec::new() }
    }

    /// Adds a guard.
    #[must_use]
    pub fn when(mut self, guard: Guard) -> Self {
        self.guards.push(guard);
        self
    }

    /// Stores a value without a lease.
    #[must_use]
    pub fn put(self, key: Vec<u8>, value: Vec<u8>) -> Self {
        self.put_leased(key, value, 0)
    }

    /// Stores a value that lives as long as the lease.
    #[must_use]
    pub fn put_leased(mut self, key: Vec<u8>, value: Vec<u8>, lease: i64) -> Self {
        self.operations.push(Operation::Put { key, value, lease });
        self
    }

    /// Deletes one key.
    #[must_use]
    pub fn delete(mut self, key: Vec<u8>) -> Self {
        self.operations.push(Operation::DeleteRange { from: key, to: Vec::new() });
        self
    }

    /// Deletes all keys in `[from, to)`.
    #[must_use]
    pub fn delete_range(mut self, from: Vec<u8>, to: Vec<u8>) -> Self {
        self.operations.push(Operation::DeleteRange { from, to });
        self
    }

    /// Deletes all keys that start with `prefix`.
    #[must_use]
    pub fn delete_prefix(self, prefix: Vec<u8>) -> Self {
        let end = prefix_end(&prefix);
        self.delete_range(prefix, end)
    }

    /// Reads `key` if a guard does not hold.
    #[must_use]
    pub fn or_read(mut self, key: Vec<u8>) -> Self {
        self.reads.push(key);
        self
    }

    /// Checks the bounds of one Txn (rule E11).
    ///
    /// # Errors
    /// [`MetadataError::TooLarge`] with the bound that is broken.
    pub fn check(&self) -> Result<(), MetadataError> {
        let bounds = [
            (self.guards.len(), COMPARES_MAX, "compares"),
            (self.operations.len().max(self.reads.len()), OPERATIONS_MAX, "operations"),
            (self.size_bytes(), BYTES_MAX, "bytes"),
        ];
        match bounds.into_iter().find(|(size, limit, _)| size > limit) {
            Some((size, limit, unit)) => {
                Err(MetadataError::TooLarge { what: self.what.clone(), size, limit, unit })
            }
            None => Ok(()),
        }
    }

    /// Bytes of all keys and values.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        let guards: usize = self
            .guards
            .iter()
            .map(|guard| match guard {
                Guard::CreatedAt(key, _)
                | Guard::NotCreatedAt(key, _)
                | Guard::Exists(key)
                | Guard::ChangedAt(key, _)
                | Guard::ChangedBefore(key, _)
                | Guard::ChangedAfter(key, _) => key.len(),
                Guard::Is(key, value) => key.len() + value.len(),
            })
            .sum();
        let operations: usize = self
            .operations
            .iter()
            .map(|operation| match operation {
                Operation::Put { key, value, .. } => key.len() + value.len(),
                Operation::DeleteRange { from, to } => from.len() + to.len(),
            })
            .sum();
        guards + operations + self.reads.iter().map(Vec::len).sum::<usize>()
    }

    /// The request for etcd.
    pub(super) fn into_request(self) -> Txn {
        let compares: Vec<Compare> = self
            .guards
            .into_iter()
            .map(|guard| match guard {
                Guard::CreatedAt(key, revision) => Compare::create_revision(key, CompareOp::Equal, revision),
                Guard::NotCreatedAt(key, revision) => {
                    Compare::create_revision(key, CompareOp::NotEqual, revision)
                }
                Guard::Exists(key) => Compare::create_revision(key, CompareOp::Greater, 0),
                Guard::ChangedAt(key, revision) => Compare::mod_revision(key, CompareOp::Equal, revision),
                Guard::ChangedBefore(key, revision) => Compare::mod_revision(key, CompareOp::Less, revision),
                Guard::ChangedAfter(key, revision) => {
                    Compare::mod_revision(key, CompareOp::Greater, revision)
                }
                Guard::Is(key, value) => Compare::value(key, CompareOp::Equal, value),
            })
            .collect();
        let operations: Vec<TxnOp> = self
            .operations
            .into_iter()
            .map(|operation| match operation {
                Operation::Put { key, value, lease: 0 } => TxnOp::put(key, value, None),
                Operation::Put { key, value, lease } => {
                    TxnOp::put(key, value, Some(PutOptions::new().with_lease(lease)))
                }
                Operation::DeleteRange { from, to } if to.is_empty() => TxnOp::delete(from, None),
                Operation::DeleteRange { from, to } => {
                    TxnOp::delete(from, Some(DeleteOptions::new().with_range(to)))
                }
            })
            .collect();
        let reads: Vec<TxnOp> =
            self.reads.into_iter().map(|key| TxnOp::get(key, Some(GetOptions::new()))).collect();
        Txn::new().when(compares).and_then(operations).or_else(reads)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_txn_is_counted_before_it_is_sent() {
        let full = |compares: usize, puts: usize, bytes: usize| {
            let mut txn = GuardedTxn::new("test");
            for n in 0..compares {
                txn = txn.when(Guard::ChangedAt(vec![u8::try_from(n).unwrap()], 1));
            }
            for _ in 0..puts {
                txn = txn.put(Vec::new(), Vec::new());
            }
            txn.put(Vec::new(), vec![0; bytes]).check()
        };
        assert_eq!(full(120, 119, 1000), Ok(()));
        let too_large = |result| match result {
            Err(MetadataError::TooLarge { size, limit, unit, .. }) => (size, limit, unit),
            other => panic!("{other:?}"),
        };
        assert_eq!(too_large(full(121, 1, 0)), (121, 120, "compares"));
        assert_eq!(too_large(full(1, 120, 0)), (121, 120, "operations"));
        assert_eq!(too_large(full(0, 0, BYTES_MAX + 1)), (BYTES_MAX + 1, BYTES_MAX, "bytes"));
    }
}
