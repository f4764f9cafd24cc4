//! etcd goes back in time (rule E13): somebody restores a backup, the brokers that notice believe it no more, an operator has them
//! accept it.
//!
//! Who notices, by the product's rules: a process whose image is newer than what etcd says; one that begins on a disk which remembers
//! a higher revision; a replica whose log has a newer leader epoch than its record. Nobody else can: a broker that was away since before
//! the backup, or lost its disk, takes the past for the present; and so does one that had seen so little of what is forgotten that etcd
//! has made up as many revisions before it has looked often enough to be sure. So there is an operator who does what he must: he knows
//! that he has restored etcd, starts those with `etcd.accept.rollback` at once, and everybody else once he has begun to.

use super::{Event, World};
use crate::sim::etcd::State;
use crate::sim::node::Loss;
use crate::types::BrokerId;

/// What happens, in this order; the last one again and again.
#[derive(Debug, Clone, Copy)]
pub enum Step {
    Backup,
    Restore,
    /// The operator has a broker accept it.
    Accept,
}

/// Revisions that etcd may make up before whoever remembers them has looked.
const TOO_FEW: i64 = 12;

/// How far it is.
#[derive(Debug, Default)]
pub struct Restoring {
    backup: Option<State>,
    /// The operator has begun: every process that starts from now on does so with acceptance.
    accepting: bool,
}

impl World {
    /// A backup at `from`, restored at `to`.
    pub fn goes_back(&mut self, from: u64, to: u64) {
        self.at(from, Event::Restoring(Step::Backup));
        self.at(to, Event::Restoring(Step::Restore));
    }

    pub(super) fn restoring_goes_on(&mut self, step: Step) {
        match step {
            _ if self.chaos.is_none() => {} // every fault has ended
            Step::Backup => self.backup(),
            Step::Restore if self.forgets() < 2 * TOO_FEW => {
                let at = self.now + 150;
                self.at(at, Event::Restoring(Step::Restore));
            }
            Step::Restore => {
                self.restore();
                let ids = self.brokers();
                let noticed = self.etcd.state.revision + TOO_FEW;
                for id in ids {
                    let running = self.nodes[&id].process.as_ref();
                    if running.is_some_and(|process| process.image.revision <= noticed) {
                        self.accept(id);
                    }
                }
                let at = self.now + self.random.between(400, 2_500);
                self.at(at, Event::Restoring(Step::Accept));
            }
            Step::Accept => {
                let brokers = self.brokers();
                let next = self.random.pick(&brokers);
                self.accept(next);
                let at = self.now + self.random.between(50, 600);
                self.at(at, Event::Restoring(Step::Accept));
            }
        }
    }

    /// How many revisions would be forgotten.
    fn forgets(&self) -> i64 {
        self.restoring.backup.as_ref().map_or(0, |backup| self.etcd.state.revision - backup.revision)
    }

    /// Keeps what etcd has now.
    pub fn backup(&mut self) {
        self.restoring.backup = Some(self.etcd.state.clone());
    }

    /// etcd has what it had when the backup was made. Its members are new: nothing that was on its way is carried out.
    pub fn restore(&mut self) {
        let Some(state) = self.restoring.backup.take() else { return };
        self.note(|| format!("-- etcd goes back to revision {}", state.revision));
        self.queue.retain(|_, event| !matches!(event, Event::Request { .. }));
        self.held.retain(|event| !matches!(event, Event::Request { .. }));
        let electable = self.checker.electable(&self.etcd);
        let now = self.now;
        self.etcd.restore(state, now);
        self.checker.restored(&self.etcd, &electable);
        let ids: Vec<BrokerId> = self.nodes.keys().copied().collect();
        for id in ids {
            self.notify(id);
        }
    }

    /// The operator restarts a broker with `etcd.accept.rollback`, if it has not begun with that.
    pub fn accept(&mut self, id: BrokerId) {
        self.restoring.accepting = true;
        let accepts = self.nodes[&id].process.as_ref().is_some_and(|process| process.accepts);
        if !accepts {
            self.crash(id, Loss::Nothing);
            self.start(id);
        }
    }

    /// etcd has nearly made up what some processes remember, which are not sure yet that it went back.
    pub(super) fn evidence_wears_off(&mut self) {
        if self.etcd.generation == 0 || self.chaos.is_none() {
            return;
        }
        let soon = self.etcd.state.revision + TOO_FEW;
        for id in self.brokers() {
            let unsure =
                self.nodes[&id].process.as_ref().filter(|process| !process.accepts && !process.refused);
            if unsure.is_some_and(|process| process.seen.max(process.image.revision) <= soon) {
                self.accept(id);
            }
        }
    }

    /// What the operator does in the end.
    pub(in crate::sim) fn heal_the_past(&mut self, id: BrokerId) {
        let refused = self.nodes[&id].process.as_ref().is_some_and(|process| process.refused);
        if self.etcd.generation > 0 {
            self.accept(id);
        } else if refused {
            // etcd only seemed to have gone back: by reads of a member that lags.
            self.crash(id, Loss::Nothing);
        }
    }

    /// A process that begins now accepts that etcd went back.
    pub(super) fn begins_with_acceptance(&mut self, id: BrokerId) -> bool {
        let notices = self.nodes[&id].disk.highest > self.etcd.state.revision + TOO_FEW;
        let accepts = self.etcd.generation > 0 && (self.restoring.accepting || !notices);
        self.restoring.accepting |= accepts;
        accepts
    }
}
