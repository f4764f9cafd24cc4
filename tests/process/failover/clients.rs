//! What clients notice: they retry as real ones do, lose nothing, and are told where to go.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ketcd::protocol::error::ErrorCode;
use ketcd::protocol::peer::messages::metadata_request::MetadataRequestTopic;
use ketcd::protocol::peer::messages::{MetadataRequest, TopicName};
use ketcd::protocol::peer::{PeerError, StrBytes};
use tokio::task::JoinHandle;

use super::brokers::{Brokers, LONG_LEASE, SOON, all_led_without};
use crate::kafka::{self, Producer};

const REPLICAS: &[&[i32]] = &[&[1, 2, 3], &[1, 3, 2], &[1, 2, 3]];
/// The pause of real clients after a retriable error (`retry.backoff.ms`).
const BACK_OFF: Duration = Duration::from_millis(100);

/// Records that each producer sends at least when the fault is over.
const AFTERWARDS: usize = 50;

/// What one producer met since its first record was acknowledged.
#[derive(Debug, Default)]
struct Met {
    errors: BTreeMap<String, u32>,
    longest_gap: Duration,
    acked: Vec<(i64, i32, i32)>,
    producer: i64,
}

/// Producers, one for each partition, until they are stopped.
struct Load {
    stop: Arc<AtomicBool>,
    producers: Vec<JoinHandle<Met>>,
    /// How many records of each are acknowledged.
    acked: Vec<Arc<AtomicUsize>>,
}

impl Load {
    async fn start(brokers: &Brokers) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let all: Vec<String> = (1..=3).map(|id| brokers.bootstrap(id)).collect();
        let acked: Vec<Arc<AtomicUsize>> = (0..3).map(|_| Arc::default()).collect();
        let mut producers = Vec::new();
        for (partition, acked) in (0..).zip(&acked) {
            let producer = Producer::new(&all[1], "t", partition, 200).await;
            let produced = produce(producer, all.clone(), Arc::clone(&stop), Arc::clone(acked));
            producers.push(tokio::spawn(produced));
        }
        let load = Self { stop, producers, acked };
        load.goes_on(1).await;
        load
    }

    /// Waits until every producer has so many more records acknowledged.
    async fn goes_on(&self, records: usize) {
        let acked = || self.acked.iter().map(|acked| acked.load(Ordering::Relaxed));
        let wanted: Vec<usize> = acked().map(|before| before + records).collect();
        let going = async {
            while acked().zip(&wanted).any(|(now, wanted)| now < *wanted) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(SOON, going).await.expect("every producer goes on");
    }

    async fn end(self) -> Vec<Met> {
        self.goes_on(AFTERWARDS).await;
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Vec::new();
        for producer in self.producers {
            all.push(tokio::time::timeout(SOON, producer).await.expect("it ends").unwrap());
        }
        all
    }
}

/// The address of a partition's leader, as any broker that answers knows it.
async fn leader_of(all: &[String], partition: i32) -> Option<String> {
    let name = TopicName(StrBytes::from_static_str("t"));
    let request = MetadataRequest::default()
        .with_allow_auto_topic_creation(false)
        .with_topics(Some(vec![MetadataRequestTopic::default().with_name(Some(name))]));
    for bootstrap in all {
        let asked = async { kafka::connect(bootstrap).await?.call_at(&request, 12).await };
        let Ok(Ok(answer)) = tokio::time::timeout(Duration::from_secs(1), asked).await else { continue };
        let found = answer.topics[0].partitions.iter().find(|found| found.partition_index == partition)?;
        let leader = answer.brokers.iter().find(|broker| broker.node_id == found.leader_id);
        if let Some(leader) = leader {
            return Some(format!("{}:{}", leader.host, leader.port));
        }
    }
    None
}

async fn produce(
    mut producer: Producer,
    mut all: Vec<String>,
    stop: Arc<AtomicBool>,
    acked: Arc<AtomicUsize>,
) -> Met {
    let mut met = Met { producer: producer.id, ..Met::default() };
    let mut last_ack = Instant::now();
    let mut lost = true;
    while !stop.load(Ordering::Relaxed) {
        if std::mem::take(&mut lost) {
            all.rotate_left(1);
            if let Some(leader) = leader_of(&all, producer.partition).await {
                producer.move_to(&leader);
            }
        }
        let error = match producer.try_send(1).await {
            Ok(ErrorCode::None) => {
                if acked.fetch_add(1, Ordering::Relaxed) == 0 {
                    // The topic is new: that not every broker knew it yet is none of what is tested.
                    met.errors.clear();
                } else {
                    met.longest_gap = met.longest_gap.max(last_ack.elapsed());
                }
                last_ack = Instant::now();
                tokio::time::sleep(Duration::from_millis(2)).await;
                continue;
            }
            Ok(code) => {
                assert!(code.retriable(), "{code:?}");
                format!("{code:?}")
            }
            Err(PeerError::Refused { .. }) => "refused".to_owned(),
            Err(PeerError::Closed { .. }) => "closed".to_owned(),
            Err(error) => panic!("{error}"),
        };
        *met.errors.entry(error).or_default() += 1;
        lost = true;
        tokio::time::sleep(BACK_OFF).await;
    }
    met.acked = producer.acked;
    met
}

/// Every acknowledged record is where it was acknowledged, once and in order.
async fn check(brokers: &Brokers, met: &[Met]) {
    let all: Vec<String> = (1..=3).map(|id| brokers.bootstrap(id)).collect();
    for (partition, met) in (0..).zip(met) {
        let leader = leader_of(&all, partition).await.unwrap();
        let found = kafka::read_all(&leader, "t", partition, 0).await;
        let found: BTreeMap<i64, i32> = found
            .iter()
            .filter(|found| found.producer == met.producer)
            .map(|f| (f.offset, f.number))
            .collect();
        assert!(met.acked.len() > 5, "progress: {}", met.acked.len());
        for (offset, number, _) in &met.acked {
            assert_eq!(found.get(offset), Some(number), "partition {partition}, offset {offset}");
        }
        let numbers: Vec<i32> = found.values().copied().collect();
        assert!(numbers.windows(2).all(|pair| pair[0] + 1 == pair[1]), "partition {partition}: {numbers:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_graceful_stop_redirects_clients_and_loses_nothing() {
    let mut brokers = Brokers::start(&[LONG_LEASE]).await;
    brokers.create_topic(2, "t", REPLICAS, &[("min.insync.replicas", "2")]).await;
    let load = Load::start(&brokers).await;
    assert!(brokers.at(1).stop().success());
    let met = load.end().await;
    let told: Vec<_> = met.iter().map(|met| (&met.errors, met.longest_gap)).collect();
    eprintln!("a graceful stop: {told:?}");
    for met in &met {
        // One redirection each: told while the broker still answered. Nothing was cut off, nobody was asked twice.
        let redirected = met.errors.get("NotLeaderOrFollower").copied().unwrap_or_default();
        assert!(redirected >= 1 && redirected == met.errors.values().sum::<u32>(), "{told:?}");
        assert!(met.longest_gap < Duration::from_secs(3), "{told:?}");
    }
    check(&brokers, &met).await;
    brokers.assert_calm();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_costs_clients_a_moment_and_no_record() {
    let mut brokers = Brokers::start(&[LONG_LEASE]).await;
    brokers.create_topic(2, "t", REPLICAS, &[("min.insync.replicas", "2")]).await;
    let load = Load::start(&brokers).await;
    brokers.kill(1);
    brokers.records_until("others lead", |r| all_led_without(1)(r) && r.len() == REPLICAS.len()).await;
    let met = load.end().await;
    let told: Vec<_> = met.iter().map(|met| (&met.errors, met.longest_gap)).collect();
    eprintln!("a kill: {told:?}");
    assert!(met.iter().all(|met| met.longest_gap < Duration::from_secs(5)), "{told:?}");
    check(&brokers, &met).await;
    brokers.assert_calm();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_is_wrongly_declared_dead_goes_on_in_another_lifetime() {
    let mut brokers = Brokers::start(&[LONG_LEASE]).await;
    brokers.create_topic(2, "t", REPLICAS, &[("min.insync.replicas", "2")]).await;
    let load = Load::start(&brokers).await;
    let pid = brokers.at(1).pid();
    for _ in 0..3 {
        let before = brokers.registrations().await[&1].0;
        brokers.end_session(1).await;
        brokers
            .until("it registers again", async || {
                brokers.registrations().await.get(&1).is_some_and(|(epoch, _)| *epoch > before)
            })
            .await;
        brokers
            .records_until("all are led and in sync", |records| {
                records.len() == REPLICAS.len()
                    && records.values().all(|record| record.leader.is_some() && record.isr.len() == 3)
            })
            .await;
    }
    let met = load.end().await;
    let told: Vec<_> = met.iter().map(|met| (&met.errors, met.longest_gap)).collect();
    eprintln!("three wrong judgements: {told:?}");
    check(&brokers, &met).await;
    assert_eq!(brokers.at(1).pid(), pid, "the same process");
    brokers.assert_calm();
}
