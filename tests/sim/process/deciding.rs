//! What a process decides from its image, and what comes of the changes that it asks for.

use super::*;
use crate::broker::rollback;

impl Process {
    /// Everything that follows from what changed.
    pub fn poll(&mut self, context: &mut Context<'_>) {
        let now = context.now;
        context.topic = context.topic.configured(&self.image);
        if let Session::Held(held) = &mut self.session {
            let me = ReplicaEntry { id: self.id, epoch: held.epoch };
            if self.image.lives(me) || seeded(Bug::B3TooEarly) {
                self.me = Some(me);
            }
            if !held.candidate && self.image.lives(me) {
                held.candidate = true;
                let (epoch, lease) = (held.epoch, held.lease);
                let txn = shapes::candidacy(keys(), self.id, epoch, lease);
                self.ask(Pending::Candidacy, Request::Txn(txn), context);
            }
        }
        let Some(me) = self.me else { return };
        if !self.refused {
            self.set_flags(me, context);
        }
        self.apply_roles(me, context);
        let image = Arc::clone(&self.image);
        let mut changes = Vec::new();
        for replica in self.replicas.values_mut() {
            if now < replica.ready_at {
                continue;
            }
            replica.advance(context);
            replica.follow(me, context);
            if self.refused {
                continue; // rule E13: nothing that etcd says is believed, nothing is written there
            }
            let partition = replica.partition;
            if let Some(change) = replica.propose(&image, context) {
                let epoch = change.value.value.leader_epoch;
                changes.push((change, Purpose::Isr(epoch)));
            }
            let may = self.accepts || !replica.is_rolled_back(replica.seen.0);
            let rules = context.topic.election();
            if let Some(ballot) = campaign(&image, replica, me, rules, now).filter(|_| may) {
                replica.campaign.under_way = true;
                changes.push((ballot, Purpose::Ballot));
            }
            let successor = election_of(&image, partition).and_then(|state| {
                let mine = state.leader == Some(me);
                (mine && (self.stop.is_some() || self.draining))
                    .then(|| election::successor(&image, state, me.id))
                    .flatten()
            });
            if let (Role::Leader(leading), Some(to)) = (&mut replica.role, successor)
                && !leading.handing_over
                && image.brokers.get(&me.id).is_some_and(|live| live.draining)
            {
                let leaving = self.stop.is_some().then_some(me.id);
                if let Some(change) =
                    crate::sim::stopping::hand_over(&image, partition, me, to, leaving, context.topic)
                {
                    leading.handing_over = true;
                    changes.push((change, Purpose::HandOver));
                }
            }
        }
        if self.refused {
            self.wishes.clear();
        } else {
            changes.extend(controller::decide(self, me, context));
        }
        if self.accepts {
            changes.iter_mut().for_each(|(change, _)| rollback::raise(&image, change));
        }
        self.send_changes(changes, context);
        self.stop_on(me, context);
    }

    pub(super) fn set_flags(&mut self, me: ReplicaEntry, context: &mut Context<'_>) {
        let Some(live) = self.image.brokers.get(&self.id) else { return };
        let stopping = self.stop.as_ref().is_some_and(Stop::is_stopping);
        let wanted = (self.draining || self.stop.is_some(), stopping);
        let Some(held) = self.held() else { return };
        if (live.draining, live.stopping) == wanted || self.flags_under_way || held.epoch != me.epoch {
            return;
        }
        let value = self.live_value(wanted.0, wanted.1);
        let (lease, read) = (held.lease, live.mod_revision);
        let txn = shapes::change_registration(keys(), self.id, &value, lease, me.epoch, read);
        self.flags_under_way = true;
        self.ask(Pending::Flags, Request::Txn(txn), context);
    }

    pub(super) fn apply_roles(&mut self, me: ReplicaEntry, context: &mut Context<'_>) {
        if self.stop.as_ref().is_some_and(Stop::is_closing) {
            return;
        }
        let image = Arc::clone(&self.image);
        let now = context.now;
        let Some(topic) = image.topics.get(&topic_id()) else { return };
        for (partition, state) in (0..).zip(&topic.partitions) {
            if !state.replicas.contains(&self.id) {
                let Some(gone) = self.replicas.get_mut(&partition) else { continue };
                gone.step_down(context);
                if self.departing.insert(partition) {
                    let epoch = state.partition_epoch;
                    let txn = partitions_stand(keys(), topic_id(), &[(partition, epoch)]);
                    self.ask(Pending::Departure(partition, epoch), Request::Txn(txn), context);
                }
                continue;
            }
            let replica = self
                .replicas
                .entry(partition)
                .or_insert_with(|| Replica::new(partition, Log::default(), now));
            if replica.is_ready(now) {
                let rules = context.topic.rules();
                let accepts = self.accepts;
                let applied = Applied { state, image: &image, me, rules, accepts, now: duration(now) };
                replica.apply(&applied, context);
            }
        }
    }

    /// The log of a replica that was moved away goes, once etcd itself has said so.
    pub(super) fn departs(&mut self, partition: i32, epoch: PartitionEpoch, answer: &Answer) {
        self.departing.remove(&partition);
        let stands = matches!(answer, Answer::Outcome(Outcome::Applied { .. }));
        let state = self.image.partition(topic_id(), partition);
        if stands && state.is_some_and(|state| state.partition_epoch == epoch) {
            self.replicas.remove(&partition);
        }
    }

    /// Sends changes, packed as the admin task packs them.
    pub(super) fn send_changes(
        &mut self,
        changes: Vec<(PartitionChange, Purpose)>,
        context: &mut Context<'_>,
    ) {
        if changes.is_empty() {
            return;
        }
        // Each purpose is a task of its own, which packs what it has.
        let mut tasks: BTreeMap<u8, Vec<(PartitionChange, Purpose)>> = BTreeMap::new();
        for (change, purpose) in changes {
            match purpose {
                // Each request is its own.
                Purpose::Asked => self.send_pack(vec![(change, purpose)], context),
                _ => tasks.entry(purpose.task()).or_default().push((change, purpose)),
            }
        }
        for changes in tasks.into_values() {
            let plain: Vec<PartitionChange> = changes.iter().map(|(change, _)| change.clone()).collect();
            for indexes in pack(keys(), &plain) {
                let pack = indexes.into_iter().map(|index| changes[index].clone()).collect();
                self.send_pack(pack, context);
            }
        }
    }

    fn send_pack(&mut self, pack: Vec<(PartitionChange, Purpose)>, context: &mut Context<'_>) {
        let txn = change_partitions(keys(), pack.iter().map(|(change, _)| change));
        assert_eq!(txn.check(), Ok(()));
        let fence = pack.iter().find_map(|(_, purpose)| match purpose {
            Purpose::Controller { lease, epoch } => Some((*lease, *epoch)),
            _ => None,
        });
        let request = match fence {
            Some((lease, epoch)) => Request::AsController { txn, lease, epoch },
            None => Request::Txn(txn),
        };
        self.ask(Pending::Changes(pack), request, context);
    }

    pub(super) fn changed(
        &mut self,
        mut pack: Vec<(PartitionChange, Purpose)>,
        answer: Answer,
        context: &mut Context<'_>,
    ) {
        let outcome = match answer {
            Answer::Outcome(Outcome::Applied { revision }) => {
                PartitionOutcome::Written(PartitionEpoch(revision))
            }
            Answer::Outcome(Outcome::Rejected { .. }) if pack.len() > 1 => {
                let right = pack.split_off(pack.len() / 2);
                self.send_pack(pack, context);
                return self.send_pack(right, context);
            }
            _ => PartitionOutcome::Rejected,
        };
        for (change, purpose) in pack {
            self.outcome(&change, purpose, &outcome, context);
        }
    }

    pub(super) fn outcome(
        &mut self,
        change: &PartitionChange,
        purpose: Purpose,
        outcome: &PartitionOutcome,
        context: &mut Context<'_>,
    ) {
        let now = context.now;
        let unknown = matches!(outcome, PartitionOutcome::Unknown { .. });
        if matches!(purpose, Purpose::Controller { .. }) {
            self.errands.insert(change.partition, now + 100);
        }
        let Some(replica) = self.replicas.get_mut(&change.partition) else { return };
        match purpose {
            Purpose::Isr(epoch) => {
                if let Role::Leader(leading) = &mut replica.role
                    && leading.core.epoch() == epoch
                {
                    leading.core.outcome(outcome);
                    leading.not_before = now + 20;
                }
            }
            Purpose::Ballot => {
                replica.campaign.under_way = false;
                replica.campaign.not_before = now + 30 + context.random.below(40);
                if unknown && seeded(Bug::E5LeaseIsProof) {
                    self.lead_on_trust(change, context);
                }
            }
            Purpose::HandOver => {
                if let Role::Leader(leading) = &mut replica.role {
                    leading.handing_over = false;
                }
            }
            Purpose::Controller { .. } | Purpose::Asked => {}
        }
    }

    /// The fault [`Bug::E5LeaseIsProof`]: a ballot whose answer was lost counts as won while the lease stands.
    pub(super) fn lead_on_trust(&mut self, change: &PartitionChange, context: &mut Context<'_>) {
        let Some(me) = self.me.filter(|_| !self.is_fenced(context.now)) else { return };
        let value = &change.value.value;
        let image = Arc::clone(&self.image);
        let Some(read) = election_of(&image, change.partition) else { return };
        let mut state = read.as_ref().clone();
        state.leader = value.leader;
        state.leader_epoch = value.leader_epoch;
        state.isr = value.isr.clone();
        state.elr = value.elr.clone();
        let state = Arc::new(state);
        let rules = context.topic.rules();
        let Some(replica) = self.replicas.get_mut(&change.partition) else { return };
        let (accepts, now) = (self.accepts, duration(context.now));
        let applied = Applied { state: &state, image: &image, me, rules, accepts, now };
        replica.apply(&applied, context);
    }
}

/// What the image says of a partition.
pub fn election_of(
    image: &ClusterImage,
    partition: i32,
) -> Option<&Arc<crate::metadata::image::PartitionImage>> {
    image.partition(topic_id(), partition)
}

/// This broker's ballot, when it is its turn.
fn campaign(
    image: &ClusterImage,
    replica: &mut Replica,
    me: ReplicaEntry,
    rules: ElectionRules,
    now: u64,
) -> Option<PartitionChange> {
    let state = election_of(image, replica.partition)?;
    if !election::is_vacant(image, state) {
        replica.campaign.vacant_since = None;
        return None;
    }
    let since = *replica.campaign.vacant_since.get_or_insert(now);
    if replica.campaign.under_way || now < replica.campaign.not_before {
        return None;
    }
    let ballot = election::ballot(image, topic_id(), replica.partition, me, rules)?;
    (now >= since + RANK_DELAY * ballot.rank as u64).then_some(ballot.change)
}
