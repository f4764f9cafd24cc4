//! Whatever brokers do and whatever images they see, the records and the high watermarks keep their rules.

use std::collections::BTreeSet;
use std::time::Duration;

use proptest::prelude::*;

use super::leader::Leader;
use super::members::effective_min_isr;
use super::world::{World, at, id, secs, unknown};
use crate::metadata::PartitionOutcome;
use crate::metadata::image::{PartitionImage, Standing};
use crate::metadata::txn::partitions::PartitionChange;
use crate::types::{BrokerId, Offset};

const BROKERS: i32 = 4;

#[derive(Debug, Clone)]
enum Step {
    Restarts(i32, bool),
    Leaves(i32),
    Flags(i32, bool, bool),
    MinIsr(usize),
    /// The leader sees the present image.
    Observes,
    Fetches(i32, i64),
    Appends(i64),
    Passes(u64),
    Proposes,
    /// Etcd answers the change that was sent; `false`: the answer is lost.
    Answers(bool),
    /// Etcd carries a change out whose answer was lost.
    Lands,
    /// A ballot by a broker, by an image so many steps old.
    Ballots(i32, usize),
    HandsOver(i32, bool),
}

fn step() -> impl Strategy<Value = Step> {
    let broker = 1..=BROKERS;
    prop_oneof![
        2 => (broker.clone(), any::<bool>()).prop_map(|(b, intact)| Step::Restarts(b, intact)),
        1 => broker.clone().prop_map(Step::Leaves),
        1 => (broker.clone(), any::<bool>(), any::<bool>()).prop_map(|(b, d, s)| Step::Flags(b, d, s)),
        1 => (1..=3_usize).prop_map(Step::MinIsr),
        6 => Just(Step::Observes),
        12 => (broker.clone(), 0..6_i64).prop_map(|(b, behind)| Step::Fetches(b, behind)),
        4 => (1..5_i64).prop_map(Step::Appends),
        3 => (1..20_u64).prop_map(Step::Passes),
        8 => Just(Step::Proposes),
        8 => any::<bool>().prop_map(Step::Answers),
        2 => Just(Step::Lands),
        3 => (broker.clone(), 0..8_usize).prop_map(|(b, age)| Step::Ballots(b, age)),
        2 => (broker, any::<bool>()).prop_map(|(b, leaves)| Step::HandsOver(b, leaves)),
    ]
}

/// One partition, its leader's core, and what is on its way to etcd.
struct Run {
    world: World,
    past: Vec<World>,
    leader: Option<Leader>,
    min_isr: usize,
    now: Duration,
    log_end: i64,
    /// Where each follower's fetches in this epoch and lifetime say its log ends.
    ends: [Option<i64>; 5],
    sent: Option<PartitionChange>,
    lost: Vec<PartitionChange>,
    /// Largest offset that was ever committed, and who held it then: each of them, not refuted, may lead.
    committed: Offset,
}

impl Run {
    fn new() -> Self {
        let world = World::new(&[1, 2, 3, 4]);
        let mut run = Self {
            world,
            past: Vec::new(),
            leader: None,
            min_isr: 2,
            now: secs(0),
            log_end: 10,
            ends: [None; 5],
            sent: None,
            lost: Vec::new(),
            committed: at(0),
        };
        run.begin();
        run
    }

    /// Whoever the record names begins to lead, if it is there.
    fn begin(&mut self) {
        let leader = self.world.state().leader.filter(|leader| self.world.image.lives(*leader));
        self.leader = leader.map(|leader| {
            self.world.leader(leader.id.get(), self.min_isr, self.log_end, self.committed.get())
        });
        self.ends = [None; 5];
        self.lost.extend(self.sent.take());
    }

    fn maximal_isr(&self, leader: &Leader) -> BTreeSet<BrokerId> {
        let on_its_way = self.sent.iter().chain(&self.lost).flat_map(|change| {
            let live = change.read == leader.committed().partition_epoch;
            change.value.value.isr.iter().filter(move |_| live)
        });
        leader.committed().isr.iter().chain(on_its_way).map(|entry| entry.id).collect()
    }

    fn advance(&mut self) -> Result<(), TestCaseError> {
        let Some(mut leader) = self.leader.take() else { return Ok(()) };
        let before = leader.high_watermark();
        let after = leader.advance(self.now);
        prop_assert!(after >= before, "the high watermark went down");
        prop_assert!(after.get() <= self.log_end, "the high watermark is beyond the log");
        if after > before {
            prop_assert!(leader.isr_size() >= leader.min_isr(), "committed below min.insync.replicas");
            let me = leader.committed().leader.unwrap().id;
            for member in self.maximal_isr(&leader) {
                let end = self.ends[usize::try_from(member.get()).unwrap()];
                prop_assert!(
                    member == me || end.is_some_and(|end| end >= after.get()),
                    "{member} may be in the ISR, its log ends at {end:?}, {after} is committed"
                );
            }
            // Rule U3: whoever may be elected by what etcd holds now has it.
            let actual = self.world.state();
            let electable = actual.isr.iter().chain(&actual.elr).filter(|entry| {
                actual.leader_epoch == leader.epoch()
                    && entry.id != me
                    && self.world.image.standing(**entry) != Standing::Refuted
            });
            for entry in electable {
                let end = self.ends[usize::try_from(entry.id.get()).unwrap()];
                prop_assert!(
                    end.is_some_and(|end| end >= after.get()),
                    "{entry:?} may be elected, its log ends at {end:?}, {after} is committed"
                );
            }
        }
        self.committed = self.committed.max(after);
        self.leader = Some(leader);
        Ok(())
    }

    /// A change is on its way to etcd, which takes it or not.
    fn submit(&mut self, change: &PartitionChange) -> Result<PartitionOutcome, TestCaseError> {
        let before = self.world.state().clone();
        let outcome = self.world.submit(change);
        if matches!(outcome, PartitionOutcome::Written(_)) {
            self.check_record(&before)?;
        }
        Ok(outcome)
    }

    fn check_record(&self, before: &PartitionImage) -> Result<(), TestCaseError> {
        let state = self.world.state();
        let in_isr = |broker: BrokerId| state.isr.iter().any(|entry| entry.id == broker);
        prop_assert!(in_isr(state.leader.unwrap().id), "the ISR is without the leader: {state:?}");
        prop_assert!(!state.elr.iter().any(|entry| in_isr(entry.id)), "ISR and ELR meet: {state:?}");
        let members: Vec<BrokerId> = state.isr.iter().chain(&state.elr).map(|entry| entry.id).collect();
        let distinct: BTreeSet<BrokerId> = members.iter().copied().collect();
        prop_assert_eq!(distinct.len(), members.len(), "a broker twice");
        prop_assert!(!before.recovering || state.isr.len() == 1, "grown while recovering");
        let led_anew = state.leader != before.leader;
        prop_assert_eq!(state.leader_epoch.get() - before.leader_epoch.get(), i32::from(led_anew));
        Ok(())
    }

    fn take(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Restarts(broker, intact) => {
                self.world.restarts(broker, intact);
            }
            Step::Leaves(broker) => self.world.leaves(broker),
            Step::Flags(broker, draining, stopping) => {
                if self.world.image.brokers.contains_key(&id(broker)) {
                    self.world.flags(broker, draining, stopping);
                }
            }
            Step::MinIsr(min_isr) => self.min_isr = min_isr,
            Step::Observes => self.observe(),
            Step::Fetches(broker, behind) => self.fetch(broker, behind)?,
            Step::Appends(count) => {
                self.log_end += count;
                if let Some(leader) = &mut self.leader {
                    leader.appended(at(self.log_end));
                }
            }
            Step::Passes(seconds) => self.now += secs(seconds),
            Step::Proposes => self.propose()?,
            Step::Answers(arrives) => self.answer(arrives)?,
            Step::Lands => {
                if let Some(change) = self.lost.pop() {
                    self.submit(&change)?;
                }
            }
            Step::Ballots(broker, age) => self.ballot(broker, age)?,
            Step::HandsOver(to, leaves) => {
                let leaving = self.world.state().leader.filter(|_| leaves).map(|leader| leader.id.get());
                if let Some(change) = self.world.hand_over(to, leaving, self.min_isr) {
                    self.submit(&change)?;
                }
            }
        }
        self.advance()
    }

    fn observe(&mut self) {
        let state = self.world.state();
        let same = self.leader.as_ref().is_some_and(|leader| leader.epoch() == state.leader_epoch);
        if !same {
            self.begin();
        }
        let Some(leader) = &mut self.leader else { return };
        self.world.show(leader, self.min_isr, self.now);
    }

    fn fetch(&mut self, broker: i32, behind: i64) -> Result<(), TestCaseError> {
        let Some(leader) = &mut self.leader else { return Ok(()) };
        let Some(live) = self.world.image.brokers.get(&id(broker)) else { return Ok(()) };
        let from = crate::metadata::image::ReplicaEntry { id: id(broker), epoch: live.epoch };
        let log_end = (self.log_end - behind).max(0);
        if let Ok(true) = leader.fetched(from, at(log_end), self.now) {
            self.ends[usize::try_from(broker).unwrap()] = Some(log_end);
        }
        Ok(())
    }

    fn propose(&mut self) -> Result<(), TestCaseError> {
        let Some(leader) = &mut self.leader else { return Ok(()) };
        let Some(change) = self.world.wants(leader, self.now) else { return Ok(()) };
        prop_assert!(self.sent.is_none(), "two changes at once");
        let value = &change.value.value;
        let enough = effective_min_isr(self.min_isr, value.replicas.len());
        let seen = effective_min_isr(leader.min_isr(), value.replicas.len());
        if enough == seen && !value.why.contains("doubt") {
            prop_assert!(value.isr.len() < enough || value.elr.is_empty(), "an ELR beside a full ISR");
        }
        leader.sent(&change);
        self.sent = Some(change);
        Ok(())
    }

    fn answer(&mut self, arrives: bool) -> Result<(), TestCaseError> {
        let Some(change) = self.sent.take() else { return Ok(()) };
        let outcome = if arrives {
            self.submit(&change)?
        } else {
            self.lost.push(change);
            unknown()
        };
        if let Some(leader) = &mut self.leader {
            leader.outcome(&outcome);
        }
        Ok(())
    }

    fn ballot(&mut self, broker: i32, age: usize) -> Result<(), TestCaseError> {
        let seen = self.past.iter().rev().nth(age).unwrap_or(&self.world).clone();
        let candidates = [broker, broker % BROKERS + 1];
        let ballots: Vec<_> = candidates
            .iter()
            .filter(|candidate| seen.image.brokers.contains_key(&id(**candidate)))
            .filter_map(|candidate| seen.ballot(*candidate, self.min_isr))
            .collect();
        let mut won = 0;
        for ballot in ballots {
            let before = self.world.clone();
            if let PartitionOutcome::Written(_) = self.submit(&ballot.change)? {
                won += 1;
                let leader = self.world.state().leader.unwrap();
                prop_assert!(self.world.image.lives(leader), "a dead leader was elected");
                let old = before.state().leader.unwrap();
                prop_assert!(!before.image.lives(old), "a living leader was deposed");
                let standing = |entry: &crate::metadata::image::ReplicaEntry| before.image.standing(*entry);
                let members = before.state().isr.iter().chain(&before.state().elr);
                if members.clone().all(|entry| standing(entry) == Standing::Refuted) {
                    prop_assert!(self.world.state().recovering, "what the last known leader has may be less");
                } else {
                    let mine = members.clone().find(|entry| entry.id == leader.id);
                    prop_assert_eq!(mine.map(standing), Some(Standing::Counting), "elected without an entry");
                    prop_assert_eq!(self.world.state().recovering, before.state().recovering);
                }
            }
        }
        prop_assert!(won <= 1, "two ballots of one image were taken");
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: crate::property_cases(1_500), ..ProptestConfig::default() })]

    #[test]
    fn rules_hold_whatever_happens(steps in proptest::collection::vec(step(), 1..80)) {
        let mut run = Run::new();
        for step in &steps {
            run.take(step)?;
            run.past.push(run.world.clone());
        }
    }
}
