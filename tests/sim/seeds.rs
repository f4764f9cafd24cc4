//! Many seeds, one seed, and how soon a seeded bug is found.
//!
//! | variable | means |
//! |---|---|
//! | `KETCD_SIM_SEEDS` | how many seeds `many_seeds_keep_every_invariant` runs (default: [`SEEDS`]) |
//! | `KETCD_SIM_FROM` | the first of them (default 0) |
//! | `KETCD_SIM_SEED` | one seed, with its trace |
//! | `KETCD_SIM_BUG` | with that guard left out ([`Bug`]) |

use std::str::FromStr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::checker::Counters;
use super::schedule;
use super::world::Trace;
use crate::types::Clock;
use crate::types::seeded::{Bug, sow};

/// Seeds that the test command runs.
const SEEDS: u64 = 2_000;
/// A seeded bug must be found in so many.
const RECALL: u64 = 2_000;

/// The seeded bugs that the simulation must find.
pub const BUGS: &[Bug] = &[
    Bug::E1NoCompare,
    Bug::E2NoFence,
    Bug::E3Aba,
    Bug::E3LeadsOn,
    Bug::E4NoEpoch,
    Bug::E5LeaseIsProof,
    Bug::E6NoDeadline,
    Bug::E7NoResync,
    Bug::E9UnknownIsRejected,
    Bug::E10NoIntact,
    Bug::E13Believes,
    Bug::E13NotRaised,
    Bug::L1NoReset,
    Bug::L3LocalIsr,
    Bug::L3NoMinIsr,
    Bug::L3NoReplicaEpoch,
    Bug::L3IneligibleHolds,
    Bug::L4ShrinkEarly,
    Bug::L4OtherOutcome,
    Bug::L5NotThisEpoch,
    Bug::L5BelowHighWatermark,
    Bug::L5BelowEpochStart,
    Bug::L6RemovesItself,
    Bug::L7NoMinIsr,
    Bug::L8NoEpochCheck,
    Bug::L10NoDivergence,
    Bug::L11LateAck,
    Bug::L13ExpandBeforeRecovered,
    Bug::F1OtherEpoch,
    Bug::F2ToHighWatermark,
    Bug::F2OneRound,
    Bug::F5Blind,
    Bug::F7OldEpoch,
    Bug::B1MarkerFirst,
    Bug::B2Ignored,
    Bug::B2ProofEarly,
    Bug::B3TooEarly,
    Bug::B7AnyLease,
    Bug::U1Unclean,
    Bug::U1UnknownIgnored,
    Bug::U1LastKnownFirst,
    Bug::U2NoElr,
    Bug::U2NoClear,
    Bug::U2RefutedCounts,
    Bug::U4OutsideIsr,
    Bug::U5TakenBack,
    Bug::C2Early,
    Bug::C3OutOfRange,
];

fn variable<T: FromStr>(name: &str) -> Option<T> {
    std::env::var(name).ok()?.parse().ok()
}

fn sown_by_name() -> Option<Bug> {
    let name = std::env::var("KETCD_SIM_BUG").ok().filter(|name| !name.is_empty())?;
    Some(super::checker::bug(&name).unwrap_or_else(|| panic!("no bug is called {name}")))
}

/// Runs one seed on this thread.
fn run(seed: u64, bug: Option<Bug>, trace: Trace) -> (Result<(), String>, Counters, Option<u64>) {
    sow(None);
    let told = std::panic::catch_unwind(|| {
        let mut world = schedule::world_of(seed);
        world.trace = trace;
        sow(bug);
        let result = schedule::run(&mut world);
        (result, world.checker.counters, world.trace.hash)
    });
    sow(None);
    told.unwrap_or_else(|panic| {
        let why = panic.downcast_ref::<String>().cloned();
        let why = why.or_else(|| panic.downcast_ref::<&str>().map(|why| (*why).to_owned()));
        (Err(format!("a panic: {}", why.unwrap_or_default())), Counters::default(), None)
    })
}

/// Runs seeds on every core until one fails: the smallest that was met, and what all did.
fn search(seeds: std::ops::Range<u64>, bug: Option<Bug>) -> (Option<(u64, String)>, Counters) {
    let next = AtomicU64::new(seeds.start);
    let failed: Mutex<Option<(u64, String)>> = Mutex::new(None);
    let total = Mutex::new(Counters::default());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                let mut sum = Counters::default();
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || failed.lock().unwrap().is_some() {
                        break;
                    }
                    let (result, counters, _) = run(seed, bug, Trace::default());
                    sum.add(&counters);
                    if let Err(why) = result {
                        let mut failed = failed.lock().unwrap();
                        if failed.as_ref().is_none_or(|(first, _)| seed < *first) {
                            *failed = Some((seed, why));
                        }
                    }
                }
                total.lock().unwrap().add(&sum);
            });
        }
    });
    (failed.into_inner().unwrap(), total.into_inner().unwrap())
}

impl Counters {
    fn add(&mut self, other: &Self) {
        self.steps += other.steps;
        self.acked += other.acked;
        self.leader_changes += other.leader_changes;
        self.cuts += other.cuts;
        self.truncations += other.truncations;
        self.registrations += other.registrations;
        self.losses += other.losses;
        self.reads += other.reads;
        self.acked_lost += other.acked_lost;
        self.restores += other.restores;
    }
}

/// One command that shows a failure again.
fn replay(seed: u64, bug: Option<Bug>) -> String {
    bug.map_or_else(|| format!("make sim SEED={seed}"), |bug| format!("make sim SEED={seed} BUG={bug:?}"))
}

#[test]
fn many_seeds_keep_every_invariant() {
    let clock = Clock::system();
    let begun = clock.elapsed();
    let from = variable("KETCD_SIM_FROM").unwrap_or(0);
    let count = variable("KETCD_SIM_SEEDS").unwrap_or(SEEDS);
    let (failed, did) = search(from..from + count, sown_by_name());
    if let Some((seed, why)) = failed {
        panic!("seed {seed}: {why}\n  see it: {}", replay(seed, sown_by_name()));
    }
    let seconds = clock.elapsed().saturating_sub(begun).as_secs_f64();
    println!("{count} seeds in {seconds:.1} s ({:.0} seeds/s): {did:?}", count as f64 / seconds);
    // Nothing is proven by a run in which nothing happened (I15).
    let each = |total: u64, at_least: u64| total >= at_least * count / 10;
    assert!(each(did.acked, 50) && each(did.leader_changes, 10) && each(did.registrations, 40), "{did:?}");
    assert!(did.restores * 100 >= count, "{did:?}");
    assert!(each(did.truncations, 1) && each(did.reads, 20) && each(did.losses, 3), "{did:?}");
}

#[test]
fn one_seed_is_told_in_full() {
    let Some(seed) = variable("KETCD_SIM_SEED") else { return };
    let (result, counters, _) = run(seed, sown_by_name(), Trace { print: true, hash: None });
    println!("{counters:?}");
    assert_eq!(result, Ok(()), "seed {seed}");
}

#[test]
fn the_same_seed_tells_the_same_story() {
    for seed in 0..6 {
        let hash = || run(seed, None, Trace { print: false, hash: Some(0xcbf2_9ce4_8422_2325) }).2;
        assert_eq!(hash(), hash(), "seed {seed}");
    }
    let first = |seed| run(seed, None, Trace { print: false, hash: Some(0) }).2;
    assert_ne!(first(1), first(2));
}

#[test]
fn every_seeded_bug_is_found() {
    let wanted: Option<String> = variable("KETCD_SIM_BUG");
    let mut missed = Vec::new();
    for bug in BUGS.iter().copied() {
        if wanted.as_ref().is_some_and(|wanted| *wanted != format!("{bug:?}")) {
            continue;
        }
        match search(0..RECALL, Some(bug)).0 {
            Some((seed, why)) => println!("{bug:?}: seed {seed}: {why}"),
            None => {
                println!("{bug:?}: NOT FOUND in {RECALL} seeds");
                missed.push(bug);
            }
        }
    }
    assert_eq!(missed, [], "not found in {RECALL} seeds");
}

#[test]
fn every_guard_that_can_be_left_out_is_among_those_that_are_looked_for() {
    let source = include_str!("../../src/types/seeded.rs");
    let (_, list) = source.split_once("pub enum Bug {").unwrap();
    let (list, _) = list.split_once("\n}").unwrap();
    let names = list.lines().filter_map(|line| line.trim().strip_suffix(','));
    let names: Vec<&str> = names.filter(|name| !name.starts_with("//")).collect();
    let missing: Vec<&&str> =
        names.iter().filter(|name| BUGS.iter().all(|bug| format!("{bug:?}") != **name)).collect();
    assert_eq!((names.len(), missing), (BUGS.len(), Vec::new()));
}

#[test]
fn what_once_failed_is_kept() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sim/regressions");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    for file in files.into_iter().filter(|file| file.extension().is_some_and(|extension| extension == "txt"))
    {
        let text = std::fs::read_to_string(&file).unwrap();
        for line in text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty()) {
            let seed = line.trim().parse().unwrap_or_else(|_| panic!("{}: {line:?}", file.display()));
            let (result, ..) = run(seed, None, Trace::default());
            assert_eq!(result, Ok(()), "{}: see it: {}", file.display(), replay(seed, None));
        }
    }
}
