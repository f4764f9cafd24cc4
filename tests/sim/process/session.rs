//! A process's session with etcd: whom it registers as, whom it ends, and whether it believes what it reads.

use super::*;
use crate::metadata::image::ClusterImage;
use crate::sim::node::Disk;

/// An etcd that looks like its own past so often in a row is believed no more (rule E13).
const SUSPICIONS_MAX: u32 = 5;

impl Process {
    pub(super) fn live_value(&self, draining: bool, stopping: bool) -> Record<BrokerLiveValue> {
        Record::new(BrokerLiveValue {
            incarnation: uuid::Uuid::from_u128(u128::from(self.life)),
            boot_id: self.boot.to_string(),
            host: self.host.to_string(),
            endpoints: Vec::new(),
            rack: None,
            directories: Vec::new(),
            version: String::new(),
            draining,
            stopping,
        })
    }

    pub(super) fn register(&mut self, disk: &mut Disk, context: &mut Context<'_>) {
        let lease = i64::try_from(context.id()).unwrap();
        // A lost registration must be ended by the next process: its lease is written down first (rule B7).
        disk.lease = lease;
        if seeded(Bug::B2ProofEarly) {
            (disk.proof, disk.error) = (disk.proof.map(|(_, epoch)| (self.boot, epoch)), false);
        }
        let stopping = self.stop.as_ref().is_some_and(Stop::is_stopping);
        let value = self.live_value(self.draining || self.stop.is_some(), stopping);
        let cluster = ClusterKey::Stands(cluster_value().encode());
        let txn = shapes::register(keys(), self.id, &value, lease, self.data_may_be_lost, cluster);
        let believes = self.accepts || seeded(Bug::E13Believes);
        let seen = if believes { 0 } else { self.seen.max(self.image.revision) };
        self.session = Session::Registering;
        self.ask(
            Pending::Register { lease, sent: context.now },
            Request::Register { lease, txn, seen },
            context,
        );
    }

    pub(super) fn registered(
        &mut self,
        lease: i64,
        sent: u64,
        answer: Answer,
        disk: &mut Disk,
        context: &mut Context<'_>,
    ) {
        let now = context.now;
        match answer {
            Answer::Outcome(Outcome::Applied { revision }) => {
                let epoch = BrokerEpoch(revision);
                self.deadline = sent + TTL - MARGIN;
                self.suspicions = 0;
                self.session =
                    Session::Held(Held { epoch, lease, renewed_at: sent, renewing: false, candidate: false });
                // The proof is written only now (N45).
                disk.proof = Some((self.boot, revision));
                disk.error = false;
                self.data_may_be_lost = false;
            }
            Answer::Outcome(Outcome::Rejected { found, .. }) => {
                self.session = Session::Away { next_at: now + TICK };
                let live = keys().bytes(&Key::BrokerLive(self.id));
                let Some(holder) = found.into_iter().find(|stored| stored.key == live) else { return };
                let value = Record::<BrokerLiveValue>::decode(&holder.value).unwrap().value;
                // Its own past on this host is ended at once (rule B7), anybody else is waited for.
                let now = self.live_value(false, false).value;
                if value.is_past_of(&now, holder.lease, self.old_lease) {
                    self.ask(Pending::Revoke, Request::Revoke { lease: holder.lease }, context);
                }
            }
            other => {
                if matches!(other, Answer::Behind) {
                    self.suspect();
                }
                self.session = Session::Away { next_at: now + TICK };
            }
        }
    }

    /// A deletion of the own key beats any renewal (rule E6).
    pub(super) fn look_for_myself(&mut self, now: u64) {
        let Session::Held(held) = &self.session else { return };
        let gone = self.image.brokers.get(&self.id).is_none_or(|live| live.epoch != held.epoch);
        if gone && self.image.revision >= held.epoch.get() {
            self.session = Session::Away { next_at: now };
        }
    }

    /// Faster than the lease: its connections are reset and its port refuses, so that process is dead.
    pub(super) fn end_session_of(&mut self, broker: BrokerId, context: &mut Context<'_>) {
        let Some(live) = self.image.brokers.get(&broker) else { return };
        // Who stops in order ends its session itself.
        if live.stopping || self.refused || self.me.is_none() || !self.ending.insert(broker) {
            return;
        }
        let entry = ReplicaEntry { id: broker, epoch: live.epoch };
        let candidacy = self
            .image
            .candidates
            .iter()
            .find(|(_, candidate)| candidate.broker == broker && candidate.broker_epoch == entry.epoch);
        let txn = shapes::end_session(keys(), entry, candidacy.map(|(lease, _)| *lease));
        self.ask(Pending::EndSession(broker), Request::Txn(txn), context);
    }

    /// The disk remembers no revision after all.
    pub fn knows_no_revision(&mut self) {
        self.seen = 0;
    }

    /// Whether a full read may be taken (rule E13): revisions and leader epochs only grow, unless etcd went back.
    pub(super) fn believes(&mut self, fresh: &ClusterImage) -> bool {
        if self.accepts || seeded(Bug::E13Believes) || seeded(Bug::F7OldEpoch) {
            return true;
        }
        let older = fresh.revision < self.image.revision || apply::older_epoch(&self.image, fresh).is_some();
        if older {
            self.suspect();
        }
        !older
    }

    fn suspect(&mut self) {
        self.suspicions += 1;
        self.refused |= self.suspicions >= SUSPICIONS_MAX;
    }
}
