//! Which transactions of a log were aborted, as a cleaning sees them (Kafka's `CleanedTransactionMetadata`).
//!
//! Kafka reads aborted transactions from its transaction index. There is none here: they are derived from the markers, by a walk over the
//! batch headers of the dirty part ([`Outcomes`]) before records are looked at.

use std::collections::{BTreeMap, HashSet, VecDeque};

use crate::log::be;
use crate::protocol::batch::BatchHeader;

/// What a marker says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    /// The transaction's records do not count.
    Abort,
    /// They do.
    Commit,
    /// A control record that ends no transaction.
    Other,
}

impl Marker {
    /// The type in a control record's key: version i16, type i16 (`ControlRecordType`).
    pub fn of_key(key: &[u8]) -> Self {
        match be::i16(key, 2) {
            Some(0) => Self::Abort,
            Some(1) => Self::Commit,
            _ => Self::Other,
        }
    }
}

/// An aborted transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Aborted {
    pub producer_id: i64,
    /// Offset of its first batch within the walked part.
    pub first_offset: i64,
}

/// Collects how transactions ended.
#[derive(Debug, Default)]
pub struct Outcomes {
    /// First offsets of the transactions that have not ended, by producer.
    open: BTreeMap<i64, i64>,
    aborted: Vec<Aborted>,
}

impl Outcomes {
    /// Takes in the next batch; `marker` is what a control batch says.
    pub fn take(&mut self, header: &BatchHeader, marker: Option<Marker>) {
        if !header.is_transactional() {
            return;
        }
        let producer_id = header.producer_id;
        match marker {
            None => {
                self.open.entry(producer_id).or_insert(header.base_offset);
            }
            Some(Marker::Commit) => {
                self.open.remove(&producer_id);
            }
            Some(Marker::Abort) => {
                if let Some(first_offset) = self.open.remove(&producer_id) {
                    self.aborted.push(Aborted { producer_id, first_offset });
                }
            }
            Some(Marker::Other) => {}
        }
    }

    /// The first offset of the first transaction that has not ended.
    pub fn undecided_from(&self) -> Option<i64> {
        self.open.values().min().copied()
    }

    /// The aborted transactions in the order of their first offsets.
    pub fn into_aborted(mut self) -> Vec<Aborted> {
        self.aborted.sort_by_key(|aborted| aborted.first_offset);
        self.aborted
    }
}

/// The state of transactions during a walk over whole batches from the front.
#[derive(Debug)]
pub struct CleanedTransactions {
    /// Those that are still to come.
    aborted: VecDeque<Aborted>,
    /// Aborted ones under way, and whether a batch of theirs was seen.
    aborting: BTreeMap<i64, bool>,
    /// Producers with batches of a committed transaction under way.
    committing: HashSet<i64>,
}

impl CleanedTransactions {
    pub fn new(aborted: &[Aborted]) -> Self {
        Self {
            aborted: aborted.iter().copied().collect(),
            aborting: BTreeMap::new(),
            committing: HashSet::new(),
        }
    }

    /// Takes in a batch of records. True if it belongs to an aborted transaction: nobody may read it.
    pub fn batch(&mut self, header: &BatchHeader) -> bool {
        self.begin_up_to(header.last_offset());
        if !header.is_transactional() {
            return false;
        }
        match self.aborting.get_mut(&header.producer_id) {
            Some(seen) => {
                *seen = true;
                true
            }
            None => {
                self.committing.insert(header.producer_id);
                false
            }
        }
    }

    /// Takes in a control batch, `None` if its record is gone. True if no batch of its transaction is left: it may go after its horizon.
    pub fn marker(&mut self, header: &BatchHeader, marker: Option<Marker>) -> bool {
        self.begin_up_to(header.last_offset());
        match marker {
            None => true,
            Some(Marker::Abort) => !self.aborting.remove(&header.producer_id).unwrap_or_default(),
            Some(Marker::Commit) => !self.committing.remove(&header.producer_id),
            Some(Marker::Other) => false,
        }
    }

    fn begin_up_to(&mut self, offset: i64) {
        while let Some(next) = self.aborted.pop_front_if(|next| next.first_offset <= offset) {
            self.aborting.entry(next.producer_id).or_default();
        }
    }
}
