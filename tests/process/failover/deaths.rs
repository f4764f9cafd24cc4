//! A broker dies or is silent: others lead, at once if its death is evident, else after its lease.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::brokers::{Brokers, LONG_LEASE, SOON, all_led_without};

/// Partitions that broker 1 leads, followed by both others in turn.
const LED_BY_1: &[&[i32]] = &[&[1, 2, 3], &[1, 3, 2], &[1, 2, 3], &[1, 3, 2], &[1, 2, 3], &[1, 3, 2]];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_is_replaced_at_once_whatever_its_lease_is() {
    let mut brokers = Brokers::start(&[LONG_LEASE]).await;
    brokers.create_topic(2, "t", LED_BY_1, &[]).await;
    let before = brokers.registrations().await[&1].0;
    brokers.kill(1);
    let killed = Instant::now();
    let wanted = |records: &_| all_led_without(1)(records) && records.len() == LED_BY_1.len();
    let records = brokers.records_until("others lead", wanted).await;
    eprintln!("all partitions led anew {:?} after the kill", killed.elapsed());
    for (partition, record) in &records {
        let next = i64::from(LED_BY_1[*partition as usize][1]);
        assert_eq!((record.leader, record.leader_epoch), (Some(next), 1), "{record:?}: by rank");
        assert!(!record.isr.contains(&1), "{record:?}: its session is over");
    }
    assert!(!brokers.live().await.contains(&1), "its session was ended, not waited for");
    brokers
        .until("somebody says so", async || {
            brokers.total(&[2, 3], "ketcd_replication_sessions_ended_total") > 0.9
        })
        .await;
    let won = brokers.total(&[2, 3], "ketcd_replication_elections_total{won=\"in_sync\"}");
    assert!((won - 6.0).abs() < 0.1, "each partition was elected once: {won}");

    // It comes back at once, in a new lifetime, and everybody catches up with everybody.
    brokers.at(1).start();
    let again = brokers.registrations().await[&1].0;
    assert!(again > before);
    brokers
        .records_until("it is in sync again", |records| records.values().all(|r| r.isr.contains(&1)))
        .await;
    brokers.assert_calm();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_leader_is_replaced_after_its_lease_and_not_before() {
    let mut brokers = Brokers::start(&["etcd.session.ttl=4s"]).await;
    brokers.create_topic(2, "t", LED_BY_1, &[]).await;
    brokers.signal(1, Signal::STOP);
    let frozen = Instant::now();
    // Its connections stand, its port takes new ones: nothing but the lease tells.
    while frozen.elapsed() < Duration::from_millis(1_500) {
        assert!(brokers.live().await.contains(&1));
        let untouched = |record: &super::brokers::Record| record.leader == Some(1);
        assert!(brokers.records().await.values().all(untouched));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    brokers.records_until("others lead", |records| all_led_without(1)(records) && records.len() == 6).await;
    eprintln!("all partitions led anew {:?} after the freeze, lease of 4 s", frozen.elapsed());
    assert!(brokers.total(&[2, 3], "ketcd_replication_sessions_ended_total") < 0.1, "no evidence");

    // It wakes, learns that its lifetime is over, begins another one, and follows.
    let (pid, from) = (brokers.at(1).pid(), brokers.at(1).line_count());
    brokers.signal(1, Signal::CONT);
    brokers.at(1).wait_for_line(from, "registered", SOON);
    brokers
        .records_until("it is in sync again", |records| records.values().all(|r| r.isr.contains(&1)))
        .await;
    assert!(brokers.records().await.values().all(|record| record.leader != Some(1)), "it follows");
    assert_eq!(brokers.at(1).pid(), pid, "the same process");
    brokers.assert_calm();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_brokers_that_all_die_lead_again_when_they_return() {
    let mut brokers = Brokers::start(&["etcd.session.ttl=4s"]).await;
    brokers.create_topic(2, "t", &[&[1, 2, 3], &[2, 3, 1], &[3, 1, 2]], &[]).await;
    brokers.create_topic(2, "single", &[&[1], &[2], &[3]], &[]).await;
    for id in 1..=3 {
        brokers.kill(id);
    }
    for id in 1..=3 {
        brokers.at(id).spawn();
    }
    // Whoever comes first leads what it may: a partition of three is led by any of them, all being in sync.
    let led = |records: &std::collections::BTreeMap<i32, super::brokers::Record>| {
        records.len() == 3 && records.values().all(|record| record.leader.is_some() && record.isr.len() == 3)
    };
    let records = brokers.records_until("all lead and follow again", led).await;
    // A partition of one replica needs no ballot: it has no record.
    assert_eq!(records.keys().copied().collect::<Vec<_>>(), [0, 1, 2]);
    brokers.assert_calm();
}

/// Rule U1 step by step: in sync, then eligible; and nobody else while they may come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_eligible_replica_leads_when_no_in_sync_one_is_left() {
    let mut brokers = Brokers::start(&["etcd.session.ttl=4s"]).await;
    brokers.create_topic(2, "t", &[&[1, 2, 3]], &[("min.insync.replicas", "2")]).await;
    brokers.kill(3);
    brokers.records_until("3 left", |r| r.get(&0).is_some_and(|r| r.isr == [1, 2] && r.elr.is_empty())).await;
    brokers.kill(2);
    brokers.records_until("2 is eligible", |r| r.get(&0).is_some_and(|r| r.isr == [1] && r.elr == [2])).await;
    brokers.kill(1);
    // Broker 3 returns first: it lacks what 1 and 2 may have acknowledged without it, and may not lead.
    brokers.at(3).start();
    brokers.until("1 is known to be gone", async || brokers.live().await == [3]).await;
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    let waiting = brokers.records().await[&0].clone();
    assert_eq!((waiting.leader, waiting.isr, waiting.elr), (Some(1), vec![1], vec![2]), "nobody was elected");

    brokers.at(2).start();
    let records = brokers
        .records_until("2 leads", |records| records.get(&0).is_some_and(|record| record.leader == Some(2)))
        .await;
    assert!(records[&0].why.contains("eligible") || records[&0].isr.contains(&3), "{records:?}");
    let eligible = "ketcd_replication_elections_total{won=\"eligible\"}";
    brokers.node(2).until("it is counted", SOON, |node| node.metric(eligible) > 0.9);
    brokers
        .records_until("3 follows it", |records| {
            records.get(&0).is_some_and(|record| record.isr.len() >= 2 && record.elr.is_empty())
        })
        .await;
    brokers.assert_calm();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_of_one_replica_is_left_alone() {
    let mut brokers = Brokers::start(&[LONG_LEASE]).await;
    brokers.create_topic(2, "t", &[&[1], &[2], &[3]], &[]).await;
    brokers.kill(1);
    brokers.until("it is known to be dead", async || brokers.live().await == [2, 3]).await;
    brokers.at(1).start();
    let mut producer = crate::kafka::Producer::new(&brokers.bootstrap(1), "t", 0, 100).await;
    producer.send(3).await;
    assert_eq!(brokers.records().await.len(), 0, "nothing was written for it");
    brokers.assert_calm();
}

/// As a loss of power would: at its next start the broker cannot prove that nothing was lost (rule B2).
fn lose_the_proof(brokers: &Brokers, id: i32) {
    std::fs::remove_file(brokers.data_of(id).join("ketcd-run")).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_known_leader_leads_again_when_all_in_sync_replicas_may_have_lost_something() {
    let mut brokers = Brokers::start(&["etcd.session.ttl=4s"]).await;
    brokers.create_topic(2, "t", &[&[1, 2, 3]], &[("min.insync.replicas", "1")]).await;
    for dead in [3, 2] {
        brokers.kill(dead);
        let left = |record: &super::brokers::Record| !record.isr.contains(&i64::from(dead));
        brokers.records_until("it left", |r| r.get(&0).is_some_and(left)).await;
    }
    brokers.kill(1);
    lose_the_proof(&brokers, 1);
    brokers.at(2).start();
    brokers.until("1 is known to be gone", async || brokers.live().await == [2]).await;
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert_eq!(
        brokers.records().await[&0].leader_epoch,
        0,
        "broker 1 may come back intact: it is waited for"
    );
    brokers.at(1).start();
    let records = brokers
        .records_until("it leads again", |r| r.get(&0).is_some_and(|record| record.leader_epoch == 1))
        .await;
    assert_eq!(records[&0].leader, Some(1), "{records:?}");
    brokers.at(1).wait_for_line(0, "elected as the last known leader", SOON);
    brokers.records_until("2 follows it", |r| r.get(&0).is_some_and(|record| record.isr == [1, 2])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unclean_election_is_held_only_where_it_is_allowed() {
    let mut brokers = Brokers::start(&["etcd.session.ttl=4s"]).await;
    brokers.create_topic(2, "t", &[&[1, 2, 3]], &[("min.insync.replicas", "1")]).await;
    for dead in [3, 2] {
        brokers.kill(dead);
        let left = |record: &super::brokers::Record| !record.isr.contains(&i64::from(dead));
        brokers.records_until("it left", |r| r.get(&0).is_some_and(left)).await;
    }
    brokers.kill(1);
    brokers.at(2).start();
    brokers.until("1 is known to be gone", async || brokers.live().await == [2]).await;
    tokio::time::sleep(Duration::from_millis(1_000)).await;
    assert_eq!(brokers.records().await[&0].leader, Some(1), "nobody leads: broker 1 has more records");
    let allow = ("unclean.leader.election.enable", "true");
    let (code, message) =
        crate::kafka::alter_topic(&brokers.bootstrap(2), "t", allow.0, allow.1).await.unwrap();
    assert_eq!(code, ketcd::protocol::error::ErrorCode::None, "{message}");
    let records =
        brokers.records_until("2 leads", |r| r.get(&0).is_some_and(|record| record.leader == Some(2))).await;
    assert_eq!((&*records[&0].isr, &*records[&0].elr), (&[2][..], &[][..]));
    brokers.at(2).wait_for_line(0, "UNCLEAN election", SOON);
    assert!(brokers.node(2).metric("ketcd_replication_elections_total{won=\"unclean\"}") > 0.9);
    brokers.at(1).start();
    brokers.records_until("1 follows it", |r| r.get(&0).is_some_and(|record| record.isr == [2, 1])).await;
}
