//! etcd is killed or frozen under a running broker (point 7): data goes on, changes are refused with a reason, and all comes back.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use ketcd::protocol::error::ErrorCode;

use crate::etcd::{RealEtcd, Release};
use crate::kafka::{self, Producer};
use crate::node::Node;
use crate::{history, skip};

const TTL: Duration = Duration::from_secs(2);
/// Longer than the lease lives, by far.
const OUTAGE: Duration = Duration::from_secs(8);
/// From the loss of etcd until the broker says so.
const NOTICED_WITHIN: Duration = Duration::from_secs(30);
/// The longest wait for a refusal.
const REFUSED_WITHIN: Duration = Duration::from_secs(20);
/// From the return of etcd until changes go through again.
const RESUMED_WITHIN: Duration = Duration::from_secs(30);
/// The ids of one block.
const BLOCK: usize = 1_000;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Loss {
    Killed,
    Frozen,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_current_etcd_is_an_outage_of_change_only() {
    outage(Release::Current, Loss::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_current_etcd_is_an_outage_of_change_only() {
    outage(Release::Current, Loss::Frozen).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_debian_etcd_is_an_outage_of_change_only() {
    outage(Release::Debian, Loss::Killed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_debian_etcd_is_an_outage_of_change_only() {
    outage(Release::Debian, Loss::Frozen).await;
}

/// A producer and a consumer that run until they are told to stop.
struct Traffic {
    stop: Arc<AtomicBool>,
    produced: Arc<AtomicU64>,
    consumed: Arc<AtomicU64>,
    producer: tokio::task::JoinHandle<Producer>,
    consumer: tokio::task::JoinHandle<Vec<kafka::Found>>,
}

impl Traffic {
    async fn start(bootstrap: &str, topic: &'static str) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let (produced, consumed) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(0)));
        let mut producer = Producer::new(bootstrap, topic, 0, 5_000).await;
        let (stopped, count) = (Arc::clone(&stop), Arc::clone(&produced));
        let producer = tokio::spawn(async move {
            while !stopped.load(Ordering::Relaxed) {
                producer.send(2).await;
                count.fetch_add(2, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            producer
        });
        let (stopped, count, sent) = (Arc::clone(&stop), Arc::clone(&consumed), Arc::clone(&produced));
        let mut peer = kafka::connect(bootstrap).await.unwrap();
        let consumer = tokio::spawn(async move {
            let mut all: Vec<kafka::Found> = Vec::new();
            // One connection from the start to the end: an outage of etcd must not cut it.
            while !stopped.load(Ordering::Relaxed) || (all.len() as u64) < sent.load(Ordering::Relaxed) {
                let next = all.last().map_or(0, |last| last.offset + 1);
                let answer = kafka::fetch(&mut peer, topic, 0, next, Duration::from_millis(200)).await;
                all.extend(answer.expect("the connection stands").expect("fetch is served").0);
                count.store(all.len() as u64, Ordering::Relaxed);
            }
            all
        });
        Self { stop, produced, consumed, producer, consumer }
    }

    /// Waits until records that are produced from now on were consumed.
    fn flows(&self, node: &Node) {
        let target = self.produced.load(Ordering::Relaxed) + 20;
        let broken = || self.producer.is_finished() || self.consumer.is_finished();
        node.until("records flow", Duration::from_secs(10), |_| {
            assert!(!broken(), "the producer or the consumer failed");
            self.consumed.load(Ordering::Relaxed) > target
        });
    }

    /// Ends both and checks what came through.
    async fn end(self) {
        self.stop.store(true, Ordering::Relaxed);
        let producer = self.producer.await.unwrap();
        let found = self.consumer.await.unwrap();
        assert_eq!(producer.retries, 0, "no produce failed, none was repeated");
        history::check(&[&producer], &found);
    }
}

async fn outage(release: Release, loss: Loss) {
    let mut etcd = match RealEtcd::start(release).await {
        Ok(etcd) => etcd,
        Err(why) => return skip::skip(&why),
    };
    let data = tempfile::tempdir().unwrap();
    let ttl = format!("etcd.session.ttl={}s", TTL.as_secs());
    let settings = ["node.id=3", "cluster.name=out", ttl.as_str()];
    let node = Node::broker(data.path(), &etcd.endpoint(), &settings).started();
    let bootstrap = node.bootstrap();
    kafka::created(&bootstrap, "t", 1, &[("segment.bytes", "1048576")]).await;
    let traffic = Traffic::start(&bootstrap, "t").await;
    traffic.flows(&node);

    let lines = node.line_count();
    match loss {
        Loss::Killed => etcd.kill(),
        Loss::Frozen => etcd.freeze(),
    }
    node.until("the broker notices by itself", NOTICED_WITHIN, |node| {
        node.metric("ketcd_metadata_reachable") == 0.0
    });
    let noticed = Instant::now();
    node.wait_for_line(lines, "etcd is unreachable: serving goes on", NOTICED_WITHIN);
    let (status, ready) = node.admin("/readyz?verbose");
    assert_eq!(status, 200, "an unready broker would turn it into an outage of service: {ready}");
    assert!(ready.contains("etcd ok: unreachable for"), "{ready}");
    assert_eq!(node.admin("/livez").0, 200);
    traffic.flows(&node);
    changes_are_refused(&bootstrap).await;
    ids_come_from_the_block_until_it_is_empty(&bootstrap).await;

    // The lease ends; nothing changes for data.
    node.until("an outage longer than the lease", OUTAGE * 2, |_| noticed.elapsed() > OUTAGE);
    let counted = node.metric("ketcd_metadata_outage_seconds_total");
    assert!(counted > OUTAGE.as_secs_f64() - 1.0, "{counted} s counted");
    traffic.flows(&node);
    changes_are_refused(&bootstrap).await;
    assert_eq!(node.lines_with(lines, "serving goes on"), 1, "one line:\n{}", node.output());

    match loss {
        Loss::Killed => etcd.restart().await.unwrap(),
        Loss::Frozen => etcd.thaw(),
    }
    node.wait_for_line(lines, "etcd is reachable again", Duration::from_secs(15));
    resumed(&node, &etcd).await;
    traffic.flows(&node);
    traffic.end().await;
    assert_eq!(node.lines_with(lines, "etcd is reachable again"), 1, "one line:\n{}", node.output());
    // What was refused did not happen behind anybody's back.
    created_now(&bootstrap, "during").await;
}

async fn changes_are_refused(bootstrap: &str) {
    let begun = Instant::now();
    let (code, message) = kafka::create_topic(bootstrap, "during", 1, &[]).await.unwrap();
    assert!(code.retriable(), "{code:?} {message}");
    assert!(message.contains("etcd is unreachable"), "{code:?} {message}");
    assert!(begun.elapsed() < REFUSED_WITHIN, "{:?}", begun.elapsed());
    let begun = Instant::now();
    let (code, message) = kafka::alter_topic(bootstrap, "t", "retention.ms", "1000000").await.unwrap();
    assert!(code.retriable(), "{code:?} {message}");
    assert!(message.contains("etcd is unreachable"), "{code:?} {message}");
    assert!(begun.elapsed() < REFUSED_WITHIN, "{:?}", begun.elapsed());
}

async fn ids_come_from_the_block_until_it_is_empty(bootstrap: &str) {
    let mut peer = kafka::connect(bootstrap).await.unwrap();
    let mut ids = std::collections::BTreeSet::new();
    let refusal = loop {
        let begun = Instant::now();
        match kafka::producer_id(&mut peer).await.unwrap() {
            Ok(id) => assert!(ids.insert(id), "the id {id} was given twice"),
            Err(error) => break (error, begun.elapsed()),
        }
        assert!(ids.len() <= 2 * BLOCK, "more ids than were prefetched");
    };
    assert!(ids.len() > BLOCK / 4, "only {} ids were at hand", ids.len());
    assert!(refusal.0.retriable(), "{refusal:?}");
    assert!(refusal.1 < REFUSED_WITHIN, "{refusal:?}");
}

async fn resumed(node: &Node, etcd: &RealEtcd) {
    let bootstrap = node.bootstrap();
    created_now(&bootstrap, "after").await;
    altered_now(&bootstrap, "t", "2000000").await;
    Producer::new(&bootstrap, "after", 0, 100).await.send(1).await;
    // A thawed etcd may revoke the new lease once more, with the queue of the old one: the broker is back as soon as it stands.
    let mut client = etcd.client().await;
    let deadline = Instant::now() + RESUMED_WITHIN;
    loop {
        let live = client.get("/ketcd/out/brokers/live/3", None).await.unwrap();
        let registered = live.kvs().first().is_some_and(|live| live.lease() > 0);
        let leads = node.metric("ketcd_controller_active") == 1.0;
        if registered && leads && node.metric("ketcd_metadata_reachable") == 1.0 {
            break;
        }
        assert!(
            Instant::now() < deadline,
            "registered: {registered}, controller: {leads}\n{}",
            node.output()
        );
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(node.admin("/readyz?verbose").1.contains("etcd ok: reachable"));
}

/// Alters a topic, as an admin client does: retriable answers are tried again.
async fn altered_now(bootstrap: &str, name: &str, retention_ms: &str) {
    let deadline = Instant::now() + RESUMED_WITHIN;
    loop {
        let (code, message) =
            kafka::alter_topic(bootstrap, name, "retention.ms", retention_ms).await.unwrap();
        if code == ErrorCode::None {
            return;
        }
        assert!(code.retriable() && Instant::now() < deadline, "{code:?} {message}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Creates a topic, as an admin client does: retriable answers are tried again.
async fn created_now(bootstrap: &str, name: &str) {
    let deadline = Instant::now() + RESUMED_WITHIN;
    loop {
        let (code, message) = kafka::create_topic(bootstrap, name, 1, &[]).await.unwrap();
        if code == ErrorCode::None {
            return;
        }
        assert!(code.retriable() && Instant::now() < deadline, "{code:?} {message}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
