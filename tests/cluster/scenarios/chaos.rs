//! Everything at random, as long as it is asked for: a short run among the tests, a long one by `make chaos`.
//!
//! `KETCD_CHAOS_{KILLS,PAUSES,PARTITIONS,OUTAGES,RECORDS,MINUTES,SEED}` say how much of each; the first reached of the minutes and of
//! all the others ends it. The order comes from the seed, the moments from the machine.

use std::time::{Duration, Instant};

use super::cluster;
use crate::cluster::{Cluster, Options, PATIENCE};
use crate::faults::{self, Count, Cut, Loss};
use crate::load::{Load, TOPIC, Work};
use crate::producer::Sending;
use crate::turn;

/// How much of everything.
#[derive(Debug, Clone, Copy)]
struct Dose {
    kills: u32,
    pauses: u32,
    partitions: u32,
    outages: u32,
    records: u64,
    minutes: u64,
    seed: u64,
}

impl Dose {
    /// What the environment asks for, else a small one.
    fn from_environment() -> Self {
        let asked = |name: &str, usual: u64| {
            let given = std::env::var(format!("KETCD_CHAOS_{name}")).ok();
            given.map_or(usual, |text| text.parse().unwrap_or_else(|_| panic!("KETCD_CHAOS_{name}={text}")))
        };
        Self {
            kills: asked("KILLS", 3) as u32,
            pauses: asked("PAUSES", 1) as u32,
            partitions: asked("PARTITIONS", 2) as u32,
            outages: asked("OUTAGES", 1) as u32,
            records: asked("RECORDS", 5_000),
            minutes: asked("MINUTES", 240),
            seed: asked("SEED", u64::from(std::process::id()) << 20 | 0x5_eed1),
        }
    }
}

/// xorshift.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
}

/// One thing to do.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    KillAll,
    Pause,
    Partition,
    Outage,
}

#[test]
fn nothing_is_lost_in_any_of_it() {
    let dose = Dose::from_environment();
    eprintln!("{dose:?}; again with KETCD_CHAOS_SEED={}", dose.seed);
    if dose.partitions > 0 && turn::has_networks() {
        turn::apart(move |network| async move {
            let options = Options { etcds: 3, network: Some(network), ..Options::default() };
            run(options, dose).await;
        });
    } else {
        let partitions = 0;
        turn::alone(move || run(Options { etcds: 3, ..Options::default() }, Dose { partitions, ..dose }));
    }
}

async fn run(options: Options, dose: Dose) {
    let Some(mut cluster) = cluster(options).await else { return };
    let sending = Sending { records: 20, pause: Duration::from_millis(20), ..Sending::default() };
    let load = Load::start(&cluster, Work { sending, clients: 200, ..Work::default() }).await;
    let begun = Instant::now();
    let mut chance = Chance(dose.seed | 1);
    let mut count = Count::default();
    while begun.elapsed() < Duration::from_secs(dose.minutes * 60) {
        let Some(fault) = next(&mut chance, dose, count) else { break };
        happens(fault, &mut cluster, &load, &mut chance, dose, &mut count).await;
        assert!(load.history.errors().is_empty(), "{:?}", load.history.errors());
        // Every third fault meets a cluster that is not whole yet.
        if chance.below(3) > 0 {
            cluster.until_whole(TOPIC, PATIENCE).await;
        }
    }
    while load.history.acked().1 < dose.records && begun.elapsed() < Duration::from_secs(dose.minutes * 60) {
        load.progress(&load.window("until the records are there")).await;
    }
    let report = load.finish(&mut cluster).await;
    assert!(count.leader_changes >= count.kills, "INVALID: {count:?}");
    println!(
        "{} kills, {} partitions, {} pauses, {} etcd outages, {} leader changes in {:?}: {} acknowledged records checked, {} lost",
        count.kills,
        count.partitions,
        count.pauses,
        count.etcd_outages,
        count.leader_changes,
        begun.elapsed(),
        report.acked_records,
        report.lost()
    );
}

/// A fault of those that are still due; `None` when none is.
fn next(chance: &mut Chance, dose: Dose, done: Count) -> Option<Fault> {
    let kill = if chance.below(10) == 0 { Fault::KillAll } else { Fault::Kill };
    let due = [
        (kill, dose.kills.saturating_sub(done.kills)),
        (Fault::Pause, dose.pauses.saturating_sub(done.pauses)),
        (Fault::Partition, dose.partitions.saturating_sub(done.partitions)),
        (Fault::Outage, dose.outages.saturating_sub(done.etcd_outages)),
    ];
    let all: u32 = due.iter().map(|(_, left)| left).sum();
    let mut at = chance.below(u64::from(all.max(1))) as u32;
    due.into_iter().find_map(|(fault, left)| {
        if at < left {
            return Some(fault);
        }
        at -= left;
        None
    })
}

async fn happens(
    fault: Fault,
    cluster: &mut Cluster,
    load: &Load,
    chance: &mut Chance,
    dose: Dose,
    count: &mut Count,
) {
    let ids = cluster.ids();
    let victim = match chance.below(3) {
        0 => cluster.controller().await,
        1 => faults::a_leader(cluster).await.0,
        _ => ids[chance.below(ids.len() as u64) as usize],
    };
    match fault {
        Fault::Kill => faults::kill(cluster, load, victim, count).await,
        Fault::KillAll => {
            for &id in &ids {
                cluster.kill(id);
            }
            for &id in &ids {
                cluster.restart(id);
            }
            load.progress(&load.window("after all were killed")).await;
            count.kills += ids.len() as u32;
            count.leader_changes += ids.len() as u32;
        }
        Fault::Pause => {
            let longer = chance.below(3) > 0;
            faults::pause(cluster, load, victim, longer, count).await;
        }
        Fault::Partition => {
            let cut = Cut::ALL[chance.below(Cut::ALL.len() as u64) as usize];
            faults::cut_off(cluster, load, victim, cut, count).await;
        }
        Fault::Outage if dose.outages > 1 && chance.below(4) == 0 => {
            let loss = if chance.below(2) == 0 { Loss::Killed } else { Loss::Frozen };
            faults::etcd_leader_lost(cluster, load, loss).await;
            count.etcd_outages += 1;
        }
        Fault::Outage => {
            let loss = if chance.below(2) == 0 { Loss::Killed } else { Loss::Frozen };
            // One of a long run lasts two minutes.
            let long = dose.outages > 1 && count.etcd_outages == 0;
            let seconds = if long { 120 } else { 6 + chance.below(10) };
            faults::etcd_outage(cluster, load, loss, Duration::from_secs(seconds), count).await;
        }
    }
    eprintln!("{fault:?} of {victim}: {count:?}, {} acknowledged records", load.history.acked().1);
}
