//! What every write of a partition's record must satisfy, looked at as etcd carries it out (rules E1, E4, L6, L13, U1, U2, U5).

use std::collections::BTreeSet;

use super::etcd::Etcd;
use super::keys;
use crate::broker::rollback::PASSED_OVER;
use crate::metadata::image::ReplicaEntry;
use crate::metadata::keys::{BrokerLiveValue, Key, PartitionValue, Record};
use crate::replication::members::effective_min_isr;
use crate::types::BrokerId;

/// What etcd itself knows of a broker.
pub fn live(etcd: &Etcd, id: BrokerId) -> Option<(i64, BrokerLiveValue)> {
    let stored = etcd.state.keys.get(&keys().bytes(&Key::BrokerLive(id)))?;
    let value = Record::<BrokerLiveValue>::decode(&stored.value).unwrap().value;
    Some((stored.create_revision, value))
}

/// An entry whose broker may have lost something since, as etcd says it now.
pub fn is_refuted(etcd: &Etcd, entry: ReplicaEntry) -> bool {
    let intact = etcd.state.keys.get(&keys().bytes(&Key::BrokerIntact(entry.id)));
    entry.epoch.get() <= 0 || intact.is_some_and(|stored| stored.mod_revision > entry.epoch.get())
}

/// The new leader was neither in the ISR nor in the ELR with an entry that counts: records may be lost.
pub fn is_unclean(etcd: &Etcd, old: &PartitionValue, new: &PartitionValue) -> bool {
    let Some(leader) = new.leader.filter(|_| new.leader != old.leader) else { return false };
    let mut before = old.isr.iter().chain(&old.elr).filter(|entry| entry.id == leader.id);
    !before.any(|entry| !is_refuted(etcd, *entry))
}

/// Bounds of what `min.insync.replicas` was, while the run goes on.
#[derive(Debug, Clone, Copy)]
pub struct Mins {
    pub least: usize,
    pub most: usize,
}

/// What is wrong with a record that follows another. `losses`: data was lost somewhere before.
pub fn breach(
    etcd: &Etcd,
    old: &PartitionValue,
    new: &PartitionValue,
    mins: Mins,
    unclean: bool,
    losses: bool,
) -> Option<String> {
    let refuted = |entry: &ReplicaEntry| is_refuted(etcd, *entry);
    let has = |entries: &[ReplicaEntry], id| entries.iter().any(|entry| entry.id == id);
    let moved = new.leader_epoch != old.leader_epoch;
    let grown = new.leader_epoch.get() - old.leader_epoch.get();
    // Where etcd went back in time and that was accepted, forgotten epochs are passed over (rule E13).
    if moved && grown != 1 && (etcd.generation == 0 || grown != 1 + PASSED_OVER) {
        return Some(format!("leader epoch {} follows {} (rule E1)", new.leader_epoch, old.leader_epoch));
    }
    if !moved && new.leader != old.leader {
        return Some("the leader changed, its epoch did not (rule E1)".into());
    }
    let ids: BTreeSet<BrokerId> = new.isr.iter().map(|entry| entry.id).collect();
    if ids.len() != new.isr.len() || new.elr.iter().any(|entry| ids.contains(&entry.id)) {
        return Some("ISR and ELR name a broker twice (rule U2)".into());
    }
    if let Some(leader) = new.leader
        && !ids.contains(&leader.id)
        && !refuted(&leader)
    {
        return Some(format!("leader {} is not in its ISR (rule L6)", leader.id));
    }
    if ids.iter().any(|id| !new.replicas.contains(id)) {
        return Some("the ISR names a broker that is no replica".into());
    }
    let changed = new.isr != old.isr || moved;
    if changed && let Some(kept) = new.isr.iter().chain(&new.elr).find(|entry| refuted(entry)) {
        return Some(format!(
            "broker {} is kept although its epoch {} is refuted (N44)",
            kept.id, kept.epoch
        ));
    }
    let unclean_election = is_unclean(etcd, old, new);
    if unclean_election && !unclean {
        let better = old.isr.iter().chain(&old.elr).find(|entry| !refuted(entry));
        if let Some(better) = better {
            return Some(format!("elected although broker {} may have everything (rule U1)", better.id));
        }
    }
    if unclean_election && !new.recovering {
        return Some(
            "elected from outside of ISR and ELR, as if nothing could be lost (rules U1, U4)".into(),
        );
    }
    for entry in new.isr.iter().filter(|entry| !has(&old.isr, entry.id) && !moved) {
        match live(etcd, entry.id) {
            Some((epoch, value)) if epoch == entry.epoch.get() => {
                if value.stopping {
                    return Some(format!("broker {} is added although it stops (rule U5)", entry.id));
                }
            }
            other => {
                let now = other.map(|(epoch, _)| epoch);
                let (id, epoch) = (entry.id, entry.epoch);
                return Some(format!("broker {id} is added in epoch {epoch}, it lives in {now:?} (rule E4)"));
            }
        }
        if old.recovering {
            return Some(format!("broker {} is added before the recovery is recorded (rule L13)", entry.id));
        }
    }
    let enough = effective_min_isr(mins.least, new.replicas.len());
    let enough_for_all = effective_min_isr(mins.most, new.replicas.len());
    if changed && new.isr.len() >= enough_for_all && !new.elr.is_empty() {
        return Some("the ISR is large enough and the ELR is not empty (rule U2)".into());
    }
    if changed && new.isr.len() < enough && !unclean_election {
        let gone =
            old.isr.iter().chain(&old.elr).filter(|entry| {
                !refuted(entry) && !has(&new.isr, entry.id) && new.replicas.contains(&entry.id)
            });
        if let Some(forgotten) = gone.into_iter().find(|entry| !has(&new.elr, entry.id)) {
            return Some(format!("broker {} left a small ISR and is not eligible (rule U2)", forgotten.id));
        }
        if !losses && !unclean && enough == enough_for_all && new.isr.len() + new.elr.len() < enough {
            return Some("ISR and ELR together are smaller than min.insync.replicas (rule U2)".into());
        }
    }
    None
}
