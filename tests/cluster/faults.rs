//! The faults, each with the proof that it was one: a leader that changed, progress while it lasted (invariant I15).

use std::time::{Duration, Instant};

use crate::cluster::{Cluster, PATIENCE, SESSION_TTL};
use crate::directory::View;
use crate::load::{Load, TOPIC};

/// How long a dead or silent broker's partitions may be without another leader.
const ELECTED_WITHIN: Duration = Duration::from_secs(30);

/// What was done and seen.
#[derive(Debug, Default, Clone, Copy)]
pub struct Count {
    pub kills: u32,
    pub stops: u32,
    pub partitions: u32,
    pub pauses: u32,
    pub etcd_outages: u32,
    pub leader_changes: u32,
}

/// A broker that leads, and what it leads.
pub async fn a_leader(cluster: &Cluster) -> (i32, Vec<i32>) {
    let (view, _) = cluster
        .until(TOPIC, "every partition has a leader", PATIENCE, |view| {
            view.partitions.values().all(|p| p.leader >= 0)
        })
        .await;
    let busiest = view.brokers.keys().map(|&id| (view.led_by(id).len(), id)).max().expect("a broker");
    (busiest.1, view.led_by(busiest.1))
}

/// A broker that leads least.
pub async fn a_follower(cluster: &Cluster) -> (i32, Vec<i32>) {
    let view = cluster.view(TOPIC).await;
    let least = cluster.running().into_iter().map(|id| (view.led_by(id).len(), id)).min().expect("a broker");
    (least.1, view.led_by(least.1))
}

/// What a broker leads now.
pub async fn led_by(cluster: &Cluster, id: i32) -> Vec<i32> {
    cluster.view(TOPIC).await.led_by(id)
}

/// Waits until others lead what `id` led. `others` tell it: the one that is cut off may not know.
pub async fn until_others_lead(cluster: &Cluster, id: i32, led: &[i32], count: &mut Count) -> Duration {
    let begun = Instant::now();
    loop {
        for other in cluster.running().into_iter().filter(|&other| other != id) {
            let Some(view) = cluster.view_of(other, TOPIC).await else { continue };
            let moved = |p: &i32| view.partitions.get(p).is_some_and(|p| p.leader >= 0 && p.leader != id);
            if led.iter().all(moved) {
                count.leader_changes += led.len() as u32;
                return begun.elapsed();
            }
            assert!(
                begun.elapsed() < ELECTED_WITHIN,
                "broker {id} is gone and still leads some of {led:?}, says {other}: {view:#?}"
            );
        }
        assert!(begun.elapsed() < ELECTED_WITHIN * 2, "nobody tells who leads instead of {id}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// kill -9 and, after progress without it, a restart.
pub async fn kill(cluster: &mut Cluster, load: &Load, id: i32, count: &mut Count) {
    let led = led_by(cluster, id).await;
    cluster.kill(id);
    let window = load.window(&format!("while {id} is killed"));
    let took = until_others_lead(cluster, id, &led, count).await;
    load.progress(&window).await;
    cluster.restart(id);
    count.kills += 1;
    eprintln!("killed {id}, leader of {}: others lead after {took:?}", led.len());
}

/// SIGSTOP for a while. Longer than the lease: others lead before it goes on. Shorter: nothing needs to happen.
pub async fn pause(cluster: &mut Cluster, load: &Load, id: i32, longer: bool, count: &mut Count) {
    let led = led_by(cluster, id).await;
    cluster.freeze(id);
    if longer {
        let window = load.window(&format!("while {id} is paused"));
        let took = until_others_lead(cluster, id, &led, count).await;
        load.progress(&window).await;
        eprintln!("paused {id}, leader of {}: others lead after {took:?}", led.len());
    } else {
        tokio::time::sleep(SESSION_TTL / 3).await;
    }
    cluster.thaw(id);
    load.progress(&load.window(&format!("after {id} was paused"))).await;
    count.pauses += 1;
}

/// SIGTERM: leadership is handed over first, then a restart.
pub async fn stop(cluster: &mut Cluster, load: &Load, id: i32, count: &mut Count) {
    let led = led_by(cluster, id).await;
    let window = load.window(&format!("while {id} is stopped"));
    let begun = Instant::now();
    let status = cluster.stop(id);
    assert!(status.success(), "{status:?}:\n{}", cluster.nodes[&id].output());
    let stopped = begun.elapsed();
    until_others_lead(cluster, id, &led, count).await;
    load.progress(&window).await;
    cluster.restart(id);
    count.stops += 1;
    eprintln!("stopped {id}, leader of {}, in {stopped:?}", led.len());
}

/// Which packets a partition drops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Between the broker and every member of etcd.
    FromEtcd,
    /// Between the broker and the other brokers.
    FromBrokers,
    /// What the broker sends to the other brokers; it hears them.
    ToBrokers,
    /// What the other brokers send to it; they hear it.
    OfBrokers,
    /// Everything but the clients.
    FromAll,
}

impl Cut {
    pub const ALL: [Self; 5] =
        [Self::FromEtcd, Self::FromBrokers, Self::ToBrokers, Self::OfBrokers, Self::FromAll];

    /// Drops packets around broker `id`.
    pub fn make(self, cluster: &mut Cluster, id: i32) {
        let me = id as u8;
        let others: Vec<u8> =
            cluster.ids().into_iter().filter(|&other| other != id).map(|id| id as u8).collect();
        if matches!(self, Self::FromEtcd | Self::FromAll) {
            for member in 0..cluster.etcd.members() {
                cluster.cut_both(me, Cluster::etcd_host(member));
            }
        }
        for other in others {
            if matches!(self, Self::FromBrokers | Self::ToBrokers | Self::FromAll) {
                cluster.cut(me, other);
            }
            if matches!(self, Self::FromBrokers | Self::OfBrokers | Self::FromAll) {
                cluster.cut(other, me);
            }
        }
    }

    /// Whether the broker's session ends, so that others must lead.
    const fn ends_the_session(self) -> bool {
        matches!(self, Self::FromEtcd | Self::FromAll)
    }
}

/// Cuts a broker off until others lead what it led, or until the in-sync replicas show the cut, and the rest made progress; then heals.
///
/// A leader that etcd still hears and that followers do not keeps its leadership: it shrinks the ISR to itself, below the minimum, and
/// its partitions wait for the end of the cut ("A follower lost: that partition waits"). The others must go on.
pub async fn cut_off(cluster: &mut Cluster, load: &Load, id: i32, cut: Cut, count: &mut Count) {
    let led = led_by(cluster, id).await;
    cut.make(cluster, id);
    let name = format!("{cut:?} of {id}");
    if cut.ends_the_session() {
        let took = until_others_lead(cluster, id, &led, count).await;
        eprintln!("{name}, leader of {}: others lead after {took:?}", led.len());
        load.progress(&load.window(&name)).await;
    } else {
        // By who leads in that very view: a broker that was cut off before may have told of leaders that had changed.
        let shows = |view: &View| {
            view.partitions
                .values()
                .all(|known| if known.leader == id { known.isr == [id] } else { !known.isr.contains(&id) })
        };
        let (view, took) =
            cluster.until(TOPIC, &format!("in-sync replicas show {name}"), ELECTED_WITHIN, shows).await;
        let (led, others): (Vec<i32>, Vec<i32>) =
            view.partitions.keys().partition(|number| view.partitions[number].leader == id);
        eprintln!("{name}, leader of {}: in-sync replicas show it after {took:?}", led.len());
        if !others.is_empty() {
            load.progress(&load.window_of(&name, others)).await;
        }
    }
    cluster.heal();
    load.progress(&load.window(&format!("after {name}"))).await;
    count.partitions += 1;
}

/// How etcd is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    Killed,
    Frozen,
}

/// All of etcd away for `lasting`; acks go on all the time.
pub async fn etcd_outage(
    cluster: &mut Cluster,
    load: &Load,
    loss: Loss,
    lasting: Duration,
    count: &mut Count,
) {
    let begun = Instant::now();
    for member in 0..cluster.etcd.members() {
        match loss {
            Loss::Killed => cluster.etcd.kill(member),
            Loss::Frozen => cluster.etcd.freeze(member),
        }
    }
    let mut slices = 0;
    while slices < 2 || begun.elapsed() < lasting {
        let window = load.window(&format!("{slices} s into an outage of etcd"));
        load.progress_within(&window, Duration::from_secs(20)).await;
        let next = begun + Duration::from_secs(slices + 1);
        tokio::time::sleep(next.saturating_duration_since(Instant::now())).await;
        slices += 1;
    }
    for member in 0..cluster.etcd.members() {
        match loss {
            Loss::Killed => cluster.etcd.restart(member),
            Loss::Frozen => cluster.etcd.thaw(member),
        }
    }
    cluster.etcd.until_it_answers().await.expect("etcd is back");
    load.progress(&load.window("after the outage of etcd")).await;
    count.etcd_outages += 1;
}

/// The member of etcd that leads, away until another one leads; acks go on.
pub async fn etcd_leader_lost(cluster: &mut Cluster, load: &Load, loss: Loss) {
    let begun = Instant::now();
    let leader = loop {
        if let Some(leader) = cluster.etcd.leader().await {
            break leader;
        }
        assert!(begun.elapsed() < PATIENCE, "etcd has no leader");
    };
    match loss {
        Loss::Killed => cluster.etcd.kill(leader),
        Loss::Frozen => cluster.etcd.freeze(leader),
    }
    let window = load.window("while etcd's leader is away");
    let begun = Instant::now();
    while cluster.etcd.leader().await.is_none_or(|now| now == leader) {
        assert!(begun.elapsed() < PATIENCE, "etcd elects no other leader");
    }
    eprintln!("etcd's leader {leader} {loss:?}: another one leads after {:?}", begun.elapsed());
    load.progress(&window).await;
    match loss {
        Loss::Killed => cluster.etcd.restart(leader),
        Loss::Frozen => cluster.etcd.thaw(leader),
    }
}
