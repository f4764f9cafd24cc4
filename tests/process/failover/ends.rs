//! A broker stops in order, or drains: what it leads goes to others first.

use std::time::{Duration, Instant};

use super::brokers::{Brokers, LONG_LEASE, all_led_without};

const LED_BY_1: &[&[i32]] = &[&[1, 2, 3], &[1, 3, 2], &[1, 2, 3], &[1, 3, 2]];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_stop_hands_everything_over_and_leaves_every_isr() {
    let mut brokers = Brokers::start(&[LONG_LEASE]).await;
    let mut replicas = LED_BY_1.to_vec();
    replicas.push(&[2, 1, 3]);
    brokers.create_topic(2, "t", &replicas, &[]).await;
    let begun = Instant::now();
    let ended = brokers.at(1).stop();
    eprintln!("stopped in {:?}", begun.elapsed());
    assert!(ended.success(), "{ended:?}\n{}", brokers.node(1).output());
    // All of it was done before its end, not found out after it.
    let records = brokers.records().await;
    assert_eq!(records.len(), 5);
    for (partition, record) in &records {
        assert!(!record.isr.contains(&1), "{record:?}: out of every ISR (rule U5)");
        if *partition < 4 {
            let next = i64::from(LED_BY_1[*partition as usize][1]);
            assert_eq!((record.leader, record.leader_epoch), (Some(next), 1), "{record:?}");
            assert_eq!(record.why, "broker 1 is stopping");
        } else {
            assert_eq!((record.leader, record.leader_epoch), (Some(2), 0), "{record:?}");
        }
    }
    assert_eq!(brokers.live().await, [2, 3], "the lease was revoked");
    let output = brokers.node(1).output();
    assert!(output.contains("leaderships are handed over, all in-sync sets go on"), "{output}");
    let elections = brokers.total(&[2, 3], "ketcd_replication_elections_total{won=\"in_sync\"}");
    assert!(elections < 0.1, "nothing had to be elected: {elections}");
    assert!(brokers.total(&[2, 3], "ketcd_replication_sessions_ended_total") < 0.1, "nobody thought it dead");

    brokers.at(1).start();
    brokers
        .records_until("it is in sync again", |records| records.values().all(|r| r.isr.contains(&1)))
        .await;
    brokers.assert_calm();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_broker_stops_without_waiting_for_anybody() {
    let mut brokers = Brokers::start(&[LONG_LEASE]).await;
    brokers.create_topic(2, "t", LED_BY_1, &[]).await;
    for id in 1..=3 {
        let begun = Instant::now();
        assert!(brokers.at(id).stop().success());
        assert!(begun.elapsed() < Duration::from_secs(10), "{id}: {:?}", begun.elapsed());
    }
    let records = brokers.records().await;
    assert!(records.values().all(|record| record.leader == Some(3)), "{records:?}");
    // The last one to lead returns first, and leads.
    brokers.at(3).start();
    let led_anew = |partition: &i32, record: &super::brokers::Record| {
        record.leader == Some(3) && record.leader_epoch == records[partition].leader_epoch + 1
    };
    brokers.records_until("it leads again", |now| now.iter().all(|(p, record)| led_anew(p, record))).await;
    brokers.assert_calm();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_controlled_shutdown_a_stop_is_found_out_by_others() {
    let mut brokers = Brokers::start(&[LONG_LEASE, "controlled.shutdown.enable=false"]).await;
    brokers.create_topic(2, "t", LED_BY_1, &[]).await;
    assert!(brokers.at(1).stop().success());
    assert_eq!(brokers.live().await, [2, 3]);
    brokers.records_until("others lead", |records| all_led_without(1)(records) && records.len() == 4).await;
    let elections = brokers.total(&[2, 3], "ketcd_replication_elections_total{won=\"in_sync\"}");
    assert!(elections > 3.9, "{elections}");
    brokers.assert_calm();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drained_broker_lives_on_and_leads_nothing_until_it_may_again() {
    let mut brokers = Brokers::start(&[LONG_LEASE]).await;
    brokers.create_topic(2, "t", LED_BY_1, &[]).await;
    let epoch = brokers.registrations().await[&1].0;
    brokers.alter_broker(2, 1, "ketcd.draining", Some("true")).await;
    let records =
        brokers.records_until("others lead", |r| all_led_without(1)(r) && r.len() == LED_BY_1.len()).await;
    assert!(records.values().all(|record| record.isr.contains(&1)), "{records:?}: it stays in sync");
    assert!(records.values().all(|record| record.why == "broker 1 is draining"), "{records:?}");
    let (now, value) = brokers.registrations().await.remove(&1).unwrap();
    assert_eq!((now, &value["draining"]), (epoch, &true.into()), "the same lifetime");

    // It takes nothing over, not even when it would be next.
    brokers.kill(2);
    brokers.records_until("3 leads all", |r| r.values().all(|record| record.leader == Some(3))).await;
    // A restart does not make it forget.
    brokers.kill(1);
    brokers.at(1).start();
    brokers
        .until("it says so again", async || {
            brokers.registrations().await.get(&1).is_some_and(|(_, value)| value["draining"] == true)
        })
        .await;
    brokers.alter_broker(3, 1, "ketcd.draining", None).await;
    brokers
        .until("it drains no more", async || {
            brokers.registrations().await.get(&1).is_some_and(|(_, value)| value["draining"] != true)
        })
        .await;
    brokers.records_until("it is in sync", |r| r.values().all(|record| record.isr.contains(&1))).await;
    brokers.kill(3);
    brokers.records_until("it leads again", |r| r.values().all(|record| record.leader == Some(1))).await;
    brokers.assert_calm();
}
