//! The named scenarios of `correctness.md` (N1 to N25, N40 to N46), told by hand on [`World`]: each ends well, and fails when the
//! guard that it is about is left out.
//!
//! Not here: the lock of a directory (N40, rule B6) and blocks of producer ids (N23, rule T11), which are nothing of the model's and have
//! tests of their own; fetching from followers (N18), which is not built: consumers read from leaders only.

mod elections;
mod etcd;
mod fetching;
mod identity;
mod isr;
mod outage;
mod restore;

use super::etcd::Request;
use super::keys;
use super::message::{Body, Fetch, Fetched, Message};
use super::world::{Event, World};
use crate::metadata::keys::Key;
use crate::metadata::txn::Operation;
use crate::types::BrokerId;

pub use crate::replication::world::guarded;

/// A transaction of `node` that writes a partition's record, on its way to etcd.
fn changes_partition(event: &Event, node: i32) -> bool {
    let Event::Request { node: from, request, .. } = event else { return false };
    let txn = match request {
        Request::Txn(txn) | Request::AsController { txn, .. } => txn,
        _ => return false,
    };
    let partition = |operation: &Operation| matches!(operation, Operation::Put { key, .. } if matches!(keys().parse(key), Ok(Key::Partition(..))));
    *from == BrokerId(node) && txn.operations.iter().any(partition)
}

/// A fetch on its way from a broker.
fn fetch_of(event: &Event, from: i32) -> Option<&Fetch> {
    match event {
        Event::Message { message: Message::Fetch(fetch), .. } if fetch.from.id == BrokerId(from) => {
            Some(fetch)
        }
        _ => None,
    }
}

/// An answer to a fetch on its way to a broker.
fn fetched_by(event: &Event, by: i32) -> Option<&Fetched> {
    match event {
        Event::Message { to, message: Message::Fetched(fetched), .. } if *to == BrokerId(by) => Some(fetched),
        _ => None,
    }
}

/// An answer that tells a broker of a high watermark of at least `least`.
fn tells_high_watermark(event: &Event, to: i32, least: i64) -> bool {
    fetched_by(event, to).is_some_and(|fetched| {
        matches!(&fetched.body, Body::Records { high_watermark, .. } if high_watermark.get() >= least)
    })
}

impl World {
    /// A produce to a broker that is acknowledged at once.
    fn acked(&mut self, broker: i32) -> u64 {
        let op = self.produce(broker, true);
        self.run(20);
        assert_eq!(self.breach(), None);
        assert!(self.is_acked(op), "{:?}", self.answer(op));
        op
    }

    /// The leadership is moved from `from`, to whoever is preferred among the others in sync.
    fn moves_from(&mut self, from: i32) {
        self.process_mut(from).draining = true;
        self.run(150);
        self.process_mut(from).draining = false;
    }

    /// Nothing of a broker's log would survive a power failure.
    fn unsynced(&mut self, broker: i32) {
        for replica in self.process_mut(broker).replicas.values_mut() {
            replica.log.synced = 0;
        }
    }

    /// A broker and all other brokers do not hear each other.
    fn cut_off(&mut self, broker: i32) {
        let others: Vec<i32> = self.nodes.keys().map(|id| id.get()).filter(|id| *id != broker).collect();
        for other in others {
            self.cut_both(broker, other);
        }
    }

    /// A broker does not hear its leader any more, and is taken out of the ISR. Nothing is acknowledged that it lacks.
    fn falls_behind(&mut self, broker: i32, leader: i32) {
        self.cut_off(broker);
        self.produce(leader, false);
        self.run(800);
        assert!(!self.isr().contains(&broker), "{:?}", self.record());
    }

    /// They do again.
    fn mend_both(&mut self, one: i32, other: i32) {
        self.mend(one, other);
        self.mend(other, one);
    }

    fn values(&self, broker: i32) -> &[u64] {
        &self.replica(broker).log.values
    }

    /// Every fault ends, and everything is well.
    #[track_caller]
    fn ends_well(&mut self) {
        assert_eq!(self.settle(), Ok(()));
        assert_eq!(self.checker().counters.acked_lost, 0, "acknowledged records are lost");
    }
}
