//! Records that only some replicas have: a machine loses its power and with it the page cache, a leader dies with records that nobody
//! fetched. Nothing acknowledged goes, and what differs is cut.

use std::time::Duration;

use super::cluster;
use crate::cluster::{Cluster, Options, PATIENCE, SESSION_TTL};
use crate::directory::View;
use crate::faults::{self, Count};
use crate::load::{Load, TOPIC, Work};
use crate::turn;

/// How long a broker that must not lead is given to do it all the same: the sessions of the dead must be over.
const TEMPTATION: Duration = Duration::from_secs(2 * SESSION_TTL.as_secs());

#[test]
fn who_lost_records_with_its_machine_leads_nobody_before_the_others_are_back() {
    turn::alone(|| power_failure_of_a_leader(None));
}

#[test]
fn who_is_eligible_takes_over_from_the_last_in_sync_replica_that_lost_records() {
    turn::alone(|| power_failure_of_the_last(None));
}

#[test]
fn what_a_dead_leader_had_alone_is_cut_when_it_returns() {
    turn::alone(|| divergence(None));
}

/// All die, one of them with its page cache, which comes back first (N42; rules B2, U1).
pub async fn power_failure_of_a_leader(bug: Option<&'static str>) {
    let Some((mut cluster, mut load)) = quiet(bug, 1).await else { return };
    load.senders_stop().await;
    let (victim, _) = faults::a_leader(&cluster).await;
    for id in cluster.ids() {
        cluster.kill(id);
    }
    lose_page_cache(&cluster, victim);
    cluster.restart(victim);
    tokio::time::sleep(TEMPTATION).await;
    for id in cluster.ids().into_iter().filter(|&id| id != victim) {
        cluster.at(id).spawn();
    }
    cluster.until(TOPIC, "every partition has a leader", PATIENCE, all_led).await;
    load.finish(&mut cluster).await;
}

/// The ISR shrinks below the minimum, so who left it last stays eligible; then its only member loses records (N12; rule U2).
pub async fn power_failure_of_the_last(bug: Option<&'static str>) {
    let Some((mut cluster, mut load)) = quiet(bug, 1).await else { return };
    let shrunk_to = |size: usize| {
        move |view: &View| view.partitions.values().all(|p| p.leader >= 0 && p.isr.len() == size)
    };
    cluster.kill(1);
    cluster.until(TOPIC, "two in sync", PATIENCE, shrunk_to(2)).await;
    load.progress(&load.window("with two of three")).await;
    load.senders_stop_hard();
    cluster.kill(2);
    cluster.until(TOPIC, "one in sync", PATIENCE, shrunk_to(1)).await;
    cluster.kill(3);
    lose_page_cache(&cluster, 3);
    cluster.restart(3);
    cluster.at(2).spawn();
    cluster.until(TOPIC, "every partition has a leader", PATIENCE, all_led).await;
    cluster
        .until(TOPIC, "both are in sync again", PATIENCE, |view| {
            view.partitions.values().all(|p| p.isr.contains(&2) && p.isr.contains(&3))
        })
        .await;
    cluster.restart(1);
    load.finish(&mut cluster).await;
}

/// Followers pause, the leader appends what they do not have and dies, they go on without it (N3, N4; rules L10, F2).
pub async fn divergence(bug: Option<&'static str>) {
    // The first batch of a partition leaves by the fetches that wait for it; those of more producers stay behind.
    let Some((mut cluster, load)) = quiet(bug, 4).await else { return };
    let (leader, led) = faults::a_leader(&cluster).await;
    let others: Vec<i32> = cluster.ids().into_iter().filter(|&id| id != leader).collect();
    for &id in &others {
        cluster.freeze(id);
    }
    // Fetches on their way come to their end; what is sent after them stays with the leader.
    tokio::time::sleep(Duration::from_secs(1)).await;
    cluster.kill(leader);
    for &id in &others {
        cluster.thaw(id);
    }
    faults::until_others_lead(&cluster, leader, &led, &mut Count::default()).await;
    load.progress(&load.window("without the leader that died")).await;
    let lines = cluster.nodes[&leader].line_count();
    cluster.restart(leader);
    cluster.until_whole(TOPIC, PATIENCE).await;
    let cut = cluster.nodes[&leader].lines_with(lines, "log truncated");
    assert!(cut > 0 || bug.is_some(), "INVALID: nothing differed");
    load.finish(&mut cluster).await;
}

/// Three brokers and clients of our own, which have acknowledged a few hundred batches.
async fn quiet(bug: Option<&'static str>, producers: i64) -> Option<(Cluster, Load)> {
    let options = Options { bug, ..Options::default() };
    let cluster = cluster(options).await?;
    let load = Load::start(&cluster, Work { producers, clients: 0, once: 0, ..Work::default() }).await;
    Some((cluster, load))
}

fn all_led(view: &View) -> bool {
    view.partitions.values().all(|p| p.leader >= 0)
}

/// What a power failure leaves of a killed broker's logs: their first halves, and the proof of another boot of the machine.
fn lose_page_cache(cluster: &Cluster, id: i32) {
    let data = cluster.data_of(id);
    let mut cut = 0;
    for folder in std::fs::read_dir(&data).unwrap().flatten() {
        let name = folder.file_name().into_string().unwrap();
        if !name.starts_with(&format!("{TOPIC}-")) {
            continue;
        }
        for file in std::fs::read_dir(folder.path()).unwrap().flatten() {
            let path = file.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                let mut bytes = std::fs::read(&path).unwrap();
                let written = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
                bytes[written / 2..].fill(0);
                std::fs::write(&path, bytes).unwrap();
                cut += written - written / 2;
            }
        }
    }
    assert!(cut > 10_000, "INVALID: only {cut} bytes were there to be lost");
    let proof = data.join(PROOF);
    let mut told: serde_json::Value = serde_json::from_slice(&std::fs::read(&proof).unwrap()).unwrap();
    told["boot_id"] = "00000000-0000-0000-0000-000000000000".into();
    std::fs::write(proof, told.to_string()).unwrap();
}

/// The file that says that the last run lost nothing.
const PROOF: &str = "ketcd-run";
