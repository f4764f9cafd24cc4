//! A partition's leader: whose records count, when they are committed, who joins and leaves the ISR (rules L1 to L7). Pure.
//!
//! The shell tells it of appends, fetches, images and outcomes, and asks for the high watermark and for the next change of the ISR.
//! Only fetches in this leader epoch whose log does not diverge are told here (rules L3, L10).
//! Time is whatever the shell's clock counts ([`Clock::elapsed`](crate::types::Clock::elapsed)). One value per led partition and epoch.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::members;
use crate::metadata::PartitionOutcome;
use crate::metadata::image::{ClusterImage, PartitionImage, ReplicaEntry, Standing};
use crate::metadata::txn::partitions::{PartitionChange, Reliance};
use crate::types::seeded::{Bug, seeded};
use crate::types::{BrokerEpoch, BrokerId, LeaderEpoch, Offset, PartitionEpoch, TopicId};

/// What the configuration says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// `min.insync.replicas` as configured.
    pub min_insync_replicas: usize,
    /// `replica.lag.time.max.ms`.
    pub lag_max: Duration,
}

/// Why a follower's fetch is refused (rule L9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FetchRefusal {
    /// The sender is no replica of the partition.
    #[error("the sender is not a replica of the partition")]
    NotAReplica,
    /// The sender is an earlier lifetime of that broker.
    #[error("the sender's broker epoch is older than its registration")]
    StaleBrokerEpoch,
}

/// The leader of one partition in one leader epoch.
#[derive(Debug, Clone)]
pub struct Leader {
    me: ReplicaEntry,
    epoch: LeaderEpoch,
    rules: Rules,
    /// Where this epoch begins in the log.
    epoch_start: Offset,
    log_end: Offset,
    high_watermark: Offset,
    /// The newest state of the record that was seen.
    committed: Arc<PartitionImage>,
    /// Entries of the committed ISR that are not refuted; this leader's own always counts.
    isr_size: usize,
    /// The ELR's brokers that are not refuted.
    eligible: Vec<BrokerId>,
    pending: Option<Pending>,
    /// A change was sent and its outcome has not been told. Outlives `pending`: an image may show the change before its outcome
    /// comes, and that outcome must not be taken for the next one's (N15).
    in_flight: bool,
    /// All other replicas.
    followers: BTreeMap<BrokerId, Follower>,
}

/// A change of the ISR under way (rule L4): one at a time.
#[derive(Debug, Clone)]
struct Pending {
    /// The partition epoch that it compares.
    read: PartitionEpoch,
    isr: Vec<ReplicaEntry>,
    /// Its outcome is not known: nothing else is proposed until the record has moved (rule E9).
    in_doubt: bool,
}

#[derive(Debug, Clone, Default)]
struct Follower {
    /// Its registration in the newest image; `None` while it has none.
    registered: Option<BrokerEpoch>,
    /// `mod_revision` of that registration.
    registration: i64,
    /// It is neither stopping nor away: it may join.
    may_join: bool,
    /// Its log's end, as its last fetch in this leader epoch and in that lifetime said; `None`: unknown (rule L1).
    log_end: Option<Offset>,
    /// When it had everything that the leader had then. Whoever is in the ISR when the epoch begins, or joins it, begins with that
    /// moment; `None`: never, in this epoch and lifetime.
    caught_up_at: Option<Duration>,
    /// Its last fetch: when, and the leader's log end then.
    last_fetch: Option<(Duration, Offset)>,
    /// It is in the committed ISR.
    in_isr: bool,
}

impl Follower {
    fn is_caught_up(&self, now: Duration, lag_max: Duration) -> bool {
        self.caught_up_at.is_some_and(|at| now.saturating_sub(at) <= lag_max)
    }
}

impl Leader {
    /// Begins an epoch (rule L1): nobody's position is known, the high watermark stays where this replica knew it.
    #[must_use]
    pub fn new(
        me: ReplicaEntry,
        committed: &Arc<PartitionImage>,
        image: &ClusterImage,
        rules: Rules,
        log_end: Offset,
        high_watermark: Offset,
        now: Duration,
    ) -> Self {
        let mut leader = Self {
            me,
            epoch: committed.leader_epoch,
            rules,
            epoch_start: log_end,
            log_end,
            high_watermark: high_watermark.min(log_end),
            committed: Arc::clone(committed),
            isr_size: 0,
            eligible: Vec::new(),
            pending: None,
            in_flight: false,
            followers: BTreeMap::new(),
        };
        leader.look(image, now);
        if seeded(Bug::L1NoReset) {
            leader.followers.values_mut().for_each(|follower| follower.log_end = Some(log_end));
        }
        leader
    }

    /// The leader epoch.
    #[must_use]
    pub const fn epoch(&self) -> LeaderEpoch {
        self.epoch
    }

    /// Where this epoch begins in the log (rule C2).
    #[must_use]
    pub const fn epoch_start(&self) -> Offset {
        self.epoch_start
    }

    /// The high watermark.
    #[must_use]
    pub const fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The state of the record that decisions rest on.
    #[must_use]
    pub const fn committed(&self) -> &Arc<PartitionImage> {
        &self.committed
    }

    /// The ISR is as large as acks=all needs (rule L7).
    #[must_use]
    pub fn has_min_isr(&self) -> bool {
        self.isr_size >= self.min_isr() || seeded(Bug::L7NoMinIsr)
    }

    /// `min.insync.replicas` as this partition can meet it.
    #[must_use]
    pub fn min_isr(&self) -> usize {
        members::effective_min_isr(self.rules.min_insync_replicas, self.committed.replicas.len())
    }

    /// Entries of the committed ISR that are not refuted; this leader's own always counts: what it leads is the truth, also where it
    /// is the last known leader or the only replica (rule U1).
    #[must_use]
    pub const fn isr_size(&self) -> usize {
        self.isr_size
    }

    /// The ISR is this broker alone, of several replicas.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.committed.replicas.len() > 1 && self.maximal_isr().all(|id| id == self.me.id)
    }

    /// Takes a newer image: the record, who is registered, who is refuted. Older states of the record are ignored (rule E14).
    pub fn observe(
        &mut self,
        state: &Arc<PartitionImage>,
        image: &ClusterImage,
        rules: Rules,
        now: Duration,
    ) {
        self.rules = rules;
        if state.leader_epoch == self.epoch && state.partition_epoch >= self.committed.partition_epoch {
            self.committed = Arc::clone(state);
            // Whatever moved the record, no change that compared the old one can land any more.
            if self.pending.as_ref().is_some_and(|pending| state.partition_epoch > pending.read) {
                self.pending = None;
            }
        }
        self.look(image, now);
    }

    fn look(&mut self, image: &ClusterImage, now: Duration) {
        let isr = &self.committed.isr;
        let others: Vec<ReplicaEntry> = isr.iter().filter(|entry| entry.id != self.me.id).copied().collect();
        self.isr_size = members::isr_size(image, &others) + (isr.len() - others.len());
        let eligible = self.committed.elr.iter().filter(|entry| image.standing(**entry) != Standing::Refuted);
        self.eligible = eligible.map(|entry| entry.id).collect();
        let replicas = &self.committed.replicas;
        self.followers.retain(|id, _| replicas.contains(id));
        for id in replicas.iter().filter(|id| **id != self.me.id) {
            let follower = self.followers.entry(*id).or_default();
            let in_isr = others.iter().any(|entry| entry.id == *id);
            if in_isr && !follower.in_isr {
                // Who joins has `replica.lag.time.max.ms` from now on to keep up (rule L6).
                follower.caught_up_at = Some(now);
            } else if follower.in_isr && !in_isr {
                // Who has left must fetch again before it joins (rule L5): else one that hangs would come and go.
                (follower.log_end, follower.last_fetch, follower.caught_up_at) = (None, None, None);
            }
            follower.in_isr = in_isr;
            let live = image.brokers.get(id);
            let registered = live.map(|live| live.epoch);
            if follower.registered != registered {
                // Another lifetime: what the old one had says nothing (rule L3).
                if !seeded(Bug::E3Aba) {
                    follower.log_end = None;
                    follower.last_fetch = None;
                    follower.caught_up_at = follower.caught_up_at.filter(|_| in_isr);
                }
                follower.registered = registered;
            }
            follower.registration = live.map_or(0, |live| live.mod_revision);
            follower.may_join = live.is_some_and(|live| !live.stopping || seeded(Bug::U5TakenBack));
        }
    }

    /// The leader's own log ends at `log_end` now.
    pub fn appended(&mut self, log_end: Offset) {
        self.log_end = self.log_end.max(log_end);
    }

    /// A follower fetches from `log_end` on in this leader epoch, so it has everything below (rule L3). `Ok(false)`: it does not
    /// count yet, the image does not know that lifetime.
    ///
    /// # Errors
    /// [`FetchRefusal`]; nothing changes then.
    pub fn fetched(
        &mut self,
        from: ReplicaEntry,
        log_end: Offset,
        now: Duration,
    ) -> Result<bool, FetchRefusal> {
        let leader_end = self.log_end;
        let follower = self.followers.get_mut(&from.id).ok_or(FetchRefusal::NotAReplica)?;
        if !seeded(Bug::L3NoReplicaEpoch) {
            match follower.registered {
                Some(registered) if from.epoch < registered => return Err(FetchRefusal::StaleBrokerEpoch),
                Some(registered) if from.epoch == registered => {}
                _ => return Ok(false),
            }
        }
        if log_end >= leader_end {
            follower.caught_up_at = follower.caught_up_at.max(Some(now));
        } else if let Some((at, leader_end_then)) = follower.last_fetch
            && log_end >= leader_end_then
        {
            follower.caught_up_at = follower.caught_up_at.max(Some(at));
        }
        follower.last_fetch = Some((now, leader_end));
        follower.log_end = Some(log_end);
        Ok(true)
    }

    /// Ids of the maximal ISR (rule L4): the committed one and what is proposed; a removal under way still counts.
    fn maximal_isr(&self) -> impl Iterator<Item = BrokerId> {
        let proposed = self.pending.iter().flat_map(|pending| &pending.isr);
        let early = seeded(Bug::L4ShrinkEarly) && self.pending.is_some();
        let committed = self.committed.isr.iter().filter(move |_| !early);
        committed.chain(proposed).map(|entry| entry.id)
    }

    /// Moves the high watermark as far as rule L3 allows, and returns it. It never goes down within an epoch.
    pub fn advance(&mut self, now: Duration) -> Offset {
        if !seeded(Bug::L3NoMinIsr) && (self.isr_size < self.min_isr() || self.is_behind_an_elr()) {
            return self.high_watermark;
        }
        let mut lowest = self.log_end;
        for id in self.maximal_isr().filter(|id| *id != self.me.id) {
            let known = self.followers.get(&id).and_then(|follower| follower.log_end);
            match known {
                Some(log_end) => lowest = lowest.min(log_end),
                None if seeded(Bug::L3LocalIsr) => {}
                None => return self.high_watermark,
            }
        }
        // Who is about to join holds it back too, else it never gets there (KAFKA-15021; `shouldWaitForReplicaToJoinIsr`).
        for follower in self.followers.values().filter(|follower| !follower.in_isr) {
            if let Some(log_end) = follower.log_end
                && (follower.may_join || seeded(Bug::L3IneligibleHolds))
                && follower.is_caught_up(now, self.rules.lag_max)
            {
                lowest = lowest.min(log_end);
            }
        }
        self.high_watermark = self.high_watermark.max(lowest);
        self.high_watermark
    }

    /// Who counts now: for the simulation's look at the rule U3.
    #[cfg(test)]
    pub(crate) fn maximal(&self) -> std::collections::BTreeSet<BrokerId> {
        self.maximal_isr().collect()
    }

    /// How far a follower is known to be: for the simulation's look at the rule L3.
    #[cfg(test)]
    pub(crate) fn position_of(&self, id: BrokerId) -> Option<Offset> {
        self.followers.get(&id)?.log_end
    }

    /// Somebody outside of the maximal ISR is eligible: it may be elected, so nothing may be committed that it lacks (rule U3). That is
    /// so when a lower `min.insync.replicas` makes the ISR large enough; [`Leader::propose`] clears the ELR first (rule U2).
    fn is_behind_an_elr(&self) -> bool {
        let outside = |id: &BrokerId| self.maximal_isr().all(|member| member != *id);
        !seeded(Bug::U2NoClear) && self.eligible.iter().any(outside)
    }

    /// A change of the ISR is due: [`id`](BrokerId) has just got near enough to join. Cheap: asked after every fetch.
    #[must_use]
    pub fn may_grow(&self, id: BrokerId) -> bool {
        let near = |follower: &Follower| !follower.in_isr && follower.may_join && self.has_reached(follower);
        !self.in_flight && self.pending.is_none() && self.followers.get(&id).is_some_and(near)
    }

    /// The next change of the record that this leader needs, if any: who leaves (rule L6), who joins (rule L5), that it has
    /// recovered (rule L13), that nobody else is eligible any more (rule U2), or a write that ends a doubt (rule E9). The shell sends
    /// it, says so ([`Leader::sent`]) and tells what came of it ([`Leader::outcome`]). `image` must show the record that was observed
    /// last. `None` while an outcome is outstanding.
    #[must_use]
    pub fn propose(
        &self,
        topic: TopicId,
        partition: i32,
        image: &ClusterImage,
        now: Duration,
    ) -> Option<PartitionChange> {
        let waits = self.in_flight && (self.pending.is_some() || !seeded(Bug::L4OtherOutcome));
        if waits || !image.lives(self.me) {
            return None;
        }
        if let Some(pending) = &self.pending {
            return pending.in_doubt.then(|| self.end_of_doubt(topic, partition, image)).flatten();
        }
        let shown = image.partition(topic, partition)?;
        if shown.partition_epoch != self.committed.partition_epoch || shown.leader_epoch != self.epoch {
            return None;
        }
        let mut relies_on = vec![Reliance::Lives(self.me)];
        let mut reasons: Vec<String> = Vec::new();
        let mut isr: Vec<ReplicaEntry> = Vec::new();
        for entry in &self.committed.isr {
            match self.why_leaves(*entry, image, now) {
                Some(why) => reasons.push(format!("{} leaves: {why}", entry.id)),
                None => isr.push(*entry),
            }
        }
        relies_on.extend(members::intact(
            isr.iter().filter(|entry| entry.id != self.me.id || entry.epoch != self.me.epoch),
        ));
        if !self.committed.recovering || seeded(Bug::L13ExpandBeforeRecovered) {
            for (id, follower) in &self.followers {
                // Who lags while it holds the high watermark back has reached that: it leaves all the same, and may join the next
                // time. Who lost something leaves and joins at once.
                let lags = self
                    .committed
                    .isr
                    .iter()
                    .any(|entry| entry.id == *id && image.standing(*entry) != Standing::Refuted);
                if !lags
                    && isr.iter().all(|entry| entry.id != *id)
                    && let Some(epoch) = self.why_joins(*id, follower, image)
                {
                    isr.push(ReplicaEntry { id: *id, epoch });
                    reasons.push(format!("{id} has caught up"));
                    // The lifetime that fetched, and neither stopping nor restarted since (rule E4).
                    if !seeded(Bug::E4NoEpoch) {
                        relies_on
                            .push(Reliance::Unchanged { broker: *id, mod_revision: follower.registration });
                    }
                }
            }
        } else {
            reasons.push("the leader has recovered".to_owned());
        }
        if !self.committed.elr.is_empty() && isr.len() >= self.min_isr() && !seeded(Bug::U2NoClear) {
            reasons.push("min.insync.replicas is met, nobody else is eligible".to_owned());
        }
        if reasons.is_empty() {
            return None;
        }
        let elr = members::next_elr(image, &self.committed, &isr, self.min_isr());
        relies_on.extend(members::intact(&elr));
        members::change(image, topic, partition, relies_on, |value| {
            value.isr = isr;
            value.elr = elr;
            value.recovering = false;
            value.why = format!("leader {}: {}", self.me.id, reasons.join(", "));
        })
    }

    /// Why an entry of the ISR leaves it; `None` if it stays. The leader itself stays (rule L6).
    fn why_leaves(&self, entry: ReplicaEntry, image: &ClusterImage, now: Duration) -> Option<&'static str> {
        if entry.id == self.me.id {
            return seeded(Bug::L6RemovesItself).then_some("seeded");
        }
        if !self.committed.replicas.contains(&entry.id) {
            return Some("it is no replica any more");
        }
        match image.standing(entry) {
            Standing::Refuted => return Some("its data may have lost something"),
            Standing::Unknown => return Some("its session has ended"),
            Standing::Counting => {}
        }
        if image.brokers.get(&entry.id).is_some_and(|live| live.stopping) {
            return Some("it is stopping");
        }
        let follower = self.followers.get(&entry.id)?;
        // Where nothing is produced nobody lags (`ReplicaState.isCaughtUp`).
        let has_all = follower.log_end.is_some_and(|log_end| log_end >= self.log_end);
        (!has_all && !follower.is_caught_up(now, self.rules.lag_max)).then_some("it lags behind")
    }

    /// The lifetime in which a follower may join now (rule L5); `None` if it may not.
    fn why_joins(&self, id: BrokerId, follower: &Follower, image: &ClusterImage) -> Option<BrokerEpoch> {
        let registered = follower.registered?;
        let current = image.brokers.get(&id).is_some_and(|live| live.epoch == registered);
        if !follower.may_join || !current {
            return None;
        }
        self.has_reached(follower).then_some(registered)
    }

    /// Conditions 1 to 3 of rule L5: its position is known in this epoch, and neither below the high watermark nor below the epoch's
    /// start, before which the high watermark may be stale.
    fn has_reached(&self, follower: &Follower) -> bool {
        let log_end = match follower.log_end {
            Some(log_end) => log_end,
            None if seeded(Bug::L5NotThisEpoch) => self.log_end,
            None => return false,
        };
        (log_end >= self.high_watermark || seeded(Bug::L5BelowHighWatermark))
            && (log_end >= self.epoch_start || seeded(Bug::L5BelowEpochStart))
    }

    /// Writes the record as it is, under the compare of the change in doubt: whatever comes of it, the record has moved. What the
    /// record relies on is not compared: nothing is decided anew, and an entry refuted meanwhile must not keep the doubt alive.
    fn end_of_doubt(&self, topic: TopicId, partition: i32, image: &ClusterImage) -> Option<PartitionChange> {
        let relies_on = vec![Reliance::Lives(self.me)];
        let change = members::change(image, topic, partition, relies_on, |value| {
            value.why = format!("leader {}: ends the doubt about a change", self.me.id);
        })?;
        (change.read == self.pending.as_ref()?.read).then_some(change)
    }

    /// `change`, which this leader has just proposed, is on its way: from now on its ISR counts (rule L4), and its outcome must be
    /// told, whatever it is. Nothing else may be told between the proposal and this, else whoever joins may be overtaken.
    pub fn sent(&mut self, change: &PartitionChange) {
        if self.pending.is_none() {
            let isr = change.value.value.isr.clone();
            self.pending = Some(Pending { read: change.read, isr, in_doubt: false });
        }
        self.in_flight = true;
    }

    /// What came of the change that was sent last.
    pub fn outcome(&mut self, outcome: &PartitionOutcome) {
        self.in_flight = false;
        // An image has already shown that the record moved on.
        let Some(pending) = &mut self.pending else { return };
        match outcome {
            // The record has moved: the image that shows it ends the change. Until then the maximal ISR counts (rule L4).
            PartitionOutcome::Written(_) => {}
            PartitionOutcome::Unknown { .. } if !seeded(Bug::E9UnknownIsRejected) => pending.in_doubt = true,
            // That the doubt's end was not taken says nothing of the change in doubt: the image will, or the next attempt (rule E9).
            _ if pending.in_doubt => {}
            _ => self.pending = None,
        }
    }
}

#[cfg(test)]
#[path = "tests/leader_isr.rs"]
mod isr_tests;
#[cfg(test)]
#[path = "tests/leader.rs"]
mod tests;
