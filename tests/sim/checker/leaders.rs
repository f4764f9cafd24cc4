//! A leader's own books: what it leads, how far it is committed, and with whom.

use std::collections::BTreeMap;

use super::{Checker, Truth};
use crate::metadata::image::{ReplicaEntry, Standing};
use crate::replication::leader::Leader;
use crate::sim::etcd::Etcd;
use crate::sim::node::Node;
use crate::sim::process::Process;
use crate::sim::records::is_refuted;
use crate::sim::replica::Replica;
use crate::types::BrokerId;

impl Checker {
    /// A replica after its process has acted.
    pub(super) fn look_at(&mut self, process: &Process, partition: i32) {
        let Some(truth) = self.truths.get_mut(&partition) else { return };
        let replica = &process.replicas[&partition];
        let high_watermark = usize::try_from(replica.high_watermark.get()).unwrap();
        let id = process.id;
        let values = &replica.log.values;
        if high_watermark > values.len() {
            return self
                .say(format!("partition {partition}: the high watermark of {id} is above its log (I5)"));
        }
        let Some(core) = replica.leading() else {
            let known = high_watermark.min(truth.committed.len());
            let beyond = high_watermark > truth.committed.len();
            if truth.cut_in.is_none() && (beyond || truth.committed[..known] != values[..known]) {
                self.say(format!(
                    "partition {partition}: broker {id} has other records below its high watermark (I2)"
                ));
            }
            return;
        };
        let epoch = core.epoch();
        let stale = truth.cut_in.is_some_and(|cut| epoch < cut);
        if truth.leaders.get(&epoch).copied().flatten() != process.me {
            return self.say(format!(
                "partition {partition}: broker {id} leads in epoch {epoch}, which is not its own (I6)"
            ));
        }
        let before = truth.high_watermarks.insert((id, process.life, epoch), replica.high_watermark);
        if before.is_some_and(|before| before > replica.high_watermark) {
            return self
                .say(format!("partition {partition}: the high watermark of {id} goes back (rule L3)"));
        }
        if let Some(breach) = forgets(process, core, partition).or_else(|| stalls(process, replica, core)) {
            self.say(format!("partition {partition}: {breach}"));
        }
        let truth = self.truths.get_mut(&partition).unwrap();
        if all_have_caught_up(core, id) && epoch == truth.record.leader_epoch {
            truth.whole_again(epoch);
        }
        if stale {
            return;
        }
        let known = high_watermark.min(truth.committed.len());
        if truth.committed[..known] != values[..known] {
            return self.say(format!(
                "partition {partition}: leader {id} has other records than were committed (I2)"
            ));
        }
        if high_watermark > known && before.is_some() {
            self.say(format!("partition {partition}: the high watermark of {id} moved unseen"));
        } else if high_watermark > known {
            // What a replica knew as committed when it began to lead.
            truth.committed.extend_from_slice(&values[known..high_watermark]);
        }
    }
}

/// Entries of the ISR that a leader knows and that its own image does not refute; its own always counts.
pub(super) fn not_refuted(node: &Node, partition: i32) -> Option<usize> {
    let process = node.process.as_ref()?;
    let core = process.replicas.get(&partition)?.leading()?;
    let isr = core.committed().isr.iter();
    let counts =
        |entry: &&ReplicaEntry| entry.id == node.id || process.image.standing(**entry) != Standing::Refuted;
    Some(isr.filter(counts).count())
}

/// I7: a leader that is not stale and has enough in sync knows everybody who could be elected.
pub(super) fn superset(
    partition: i32,
    truth: &Truth,
    etcd: &Etcd,
    nodes: &BTreeMap<BrokerId, Node>,
    min_isr_changed: bool,
) -> Option<String> {
    let leader = truth.record.leader?;
    let process = nodes[&leader.id].process.as_ref()?;
    let core = process.replicas.get(&partition)?.leading()?;
    if core.epoch() != truth.record.leader_epoch
        || process.me != Some(leader)
        || core.isr_size() < core.min_isr()
    {
        return None;
    }
    let maximal = core.maximal();
    // Where a lower `min.insync.replicas` made the ISR large enough, the leader waits until nobody else is eligible.
    let eligible = truth.record.elr.iter().filter(|_| !min_isr_changed);
    let electable = truth.record.isr.iter().chain(eligible);
    let missing = electable
        .into_iter()
        .filter(|entry| !truth.forgotten.contains(&entry.id))
        .find(|entry| !maximal.contains(&entry.id) && !is_refuted(etcd, **entry))?;
    Some(format!("partition {partition}: leader {} does not count broker {} (I7)", leader.id, missing.id))
}

/// Everybody in sync has all that the leader had when it began.
fn all_have_caught_up(core: &Leader, me: BrokerId) -> bool {
    let others = core.maximal();
    let mut others = others.iter().filter(|id| **id != me);
    others.all(|id| core.position_of(*id).is_some_and(|position| position >= core.epoch_start()))
}

/// Rule L4: whoever a change would add counts while that change may still be carried out, whatever the leader was told of others.
fn forgets(process: &Process, core: &Leader, partition: i32) -> Option<String> {
    let maximal = core.maximal();
    let read = core.committed().partition_epoch;
    let may_land = process.isr_changes(partition, core.epoch()).filter(|change| change.read == read);
    let added = may_land.flat_map(|change| &change.value.value.isr);
    let missing = added.into_iter().find(|entry| !maximal.contains(&entry.id))?;
    Some(format!("{} does not count broker {}, whom it is adding (rule L4)", process.id, missing.id))
}

/// Rule L3, the other way round: nobody holds the high watermark back but the maximal ISR and who may join it (N16).
fn stalls(process: &Process, replica: &Replica, core: &Leader) -> Option<String> {
    let maximal = core.maximal();
    let image = &process.image;
    let behind_elr = core
        .committed()
        .elr
        .iter()
        .any(|entry| image.standing(*entry) != Standing::Refuted && !maximal.contains(&entry.id));
    if core.isr_size() < core.min_isr() || behind_elr {
        return None;
    }
    let mut reached = replica.log.end();
    for id in core.committed().replicas.iter().filter(|id| **id != process.id) {
        let position = core.position_of(*id);
        if maximal.contains(id) {
            reached = reached.min(position?);
        } else if image.brokers.get(id).is_some_and(|live| !live.stopping) {
            reached = position.map_or(reached, |position| reached.min(position));
        }
    }
    let at = replica.high_watermark;
    (at < reached).then(|| {
        format!(
            "the high watermark of {} is held back at {at}, all in sync have {reached} (rule L3)",
            process.id
        )
    })
}
