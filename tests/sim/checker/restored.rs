//! What holds after etcd went back in time (rule E13).
//!
//! A restored etcd has forgotten who joined and who left the in-sync sets, and whose data was lost. It may believe in a broker that
//! lacks acknowledged records, and nobody can tell it otherwise: to accept that is an operator's unclean election. What must hold all
//! the same, and is looked at:
//! - no leader epoch is given out twice, so that logs can tell their records apart: all replicas become equal again (I9);
//! - where all whom it believes in were electable when it went back, that is where nothing that matters was forgotten, nothing that
//!   was acknowledged is lost, as ever (I1, I8);
//! - the election of one in whom it believes wrongly is where records are lost, and nowhere else; after it everything holds anew.

use std::collections::{BTreeMap, BTreeSet};

use super::{Checker, Truth};
use crate::metadata::keys::{Key, PartitionValue, Record, TopicValue};
use crate::sim::etcd::Etcd;
use crate::sim::records::is_refuted;
use crate::sim::{keys, topic_id};
use crate::types::{BrokerId, LeaderEpoch};

/// Who may be elected, by partition.
pub type Electable = BTreeMap<i32, BTreeSet<BrokerId>>;

impl Checker {
    /// Who may be elected as etcd says it now.
    pub fn electable(&self, etcd: &Etcd) -> Electable {
        let of = |truth: &Truth| {
            let entries = truth.record.isr.iter().chain(&truth.record.elr);
            entries.filter(|entry| !is_refuted(etcd, **entry)).map(|entry| entry.id).collect()
        };
        self.truths.iter().map(|(partition, truth)| (*partition, of(truth))).collect()
    }

    /// etcd went back in time; `before`: who could be elected then.
    pub fn restored(&mut self, etcd: &Etcd, before: &Electable) {
        let topic = &etcd.state.keys[&keys().bytes(&Key::TopicById(topic_id()))];
        let topic = Record::<TopicValue>::decode(&topic.value).unwrap().value;
        for (partition, truth) in &mut self.truths {
            let key = keys().bytes(&Key::Partition(topic_id(), *partition));
            let assigned = || {
                let replicas = &topic.assignment[usize::try_from(*partition).unwrap()];
                Truth::new(&topic, *partition, replicas).record
            };
            let stored = etcd.state.keys.get(&key);
            truth.record = stored.map_or_else(assigned, |stored| {
                Record::<PartitionValue>::decode(&stored.value).unwrap().value
            });
        }
        self.counters.restores += 1;
        let now = self.electable(etcd);
        for (partition, truth) in &mut self.truths {
            truth.forgotten.extend(now[partition].difference(&before[partition]));
            truth.in_doubt |= now[partition] != before[partition];
            truth.restored_in = Some(truth.record.leader_epoch);
        }
    }
}

impl Truth {
    /// One is elected in whom etcd believes wrongly. What it has is the truth from now on, so of all others nothing is known.
    pub(super) fn believes_wrongly(&mut self, new: &PartitionValue) -> bool {
        let Some(leader) = new.leader.filter(|_| new.leader_epoch != self.record.leader_epoch) else {
            return false;
        };
        let wrongly = self.forgotten.remove(&leader.id);
        if wrongly {
            let others = new.isr.iter().chain(&new.elr).map(|entry| entry.id);
            self.forgotten.extend(others.filter(|id| *id != leader.id));
        }
        wrongly
    }

    /// A leader that was elected after etcd went back has everybody in sync with it: what was forgotten of those matters no more. Who
    /// is eligible without being in sync is believed in wrongly until it leaves.
    pub(super) fn whole_again(&mut self, epoch: LeaderEpoch) {
        if self.restored_in.is_some_and(|restored| epoch > restored) {
            let eligible: BTreeSet<BrokerId> = self.record.elr.iter().map(|entry| entry.id).collect();
            self.forgotten.retain(|id| eligible.contains(id));
        }
    }
}
