//! SIGTERM: answers in flight leave, files are closed in order, the registration is gone at once, the next start is quick.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::etcd::{RealEtcd, Release};
use crate::kafka::{self, Producer};
use crate::node::{END_DEADLINE, Node};
use crate::{history, skip};

const REGISTRATION: &str = "/ketcd/dev/brokers/live/";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_under_load_cuts_no_answer_and_the_next_start_is_clean() {
    let data = tempfile::tempdir().unwrap();
    let mut node = Node::dev(data.path(), &[]).started();
    let bootstrap = node.bootstrap();
    kafka::created(&bootstrap, "t", 2, &[]).await;
    let mut running = Vec::new();
    for number in 0..4 {
        let mut producer = Producer::new(&bootstrap, "t", number % 2, 100).await;
        running.push(tokio::spawn(async move {
            // Until the broker is gone and is back: the retries come from the time in between.
            while producer.retries == 0 {
                producer.send(5).await;
            }
            producer.send(5).await;
            producer
        }));
    }
    tokio::time::sleep(Duration::from_millis(300)).await;
    let status = node.stop();
    assert_eq!(status.code(), Some(0), "{}", node.output());
    assert_eq!(node.lines_with(0, "cut off"), 0, "{}", node.output());
    assert!(data.path().join(".kafka_cleanshutdown").exists());

    node.start();
    assert!(!data.path().join(".kafka_cleanshutdown").exists(), "the marker counts once");
    let mut producers = Vec::new();
    for task in running {
        producers.push(task.await.unwrap());
    }
    for partition in 0..2 {
        let own: Vec<_> = producers.iter().filter(|producer| producer.partition == partition).collect();
        history::check(&own, &kafka::read_all(&bootstrap, "t", partition, 0).await);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_parked_long_poll_does_not_hold_up_a_stop() {
    let data = tempfile::tempdir().unwrap();
    let mut node = Node::dev(data.path(), &[]).started();
    let bootstrap = node.bootstrap();
    kafka::created(&bootstrap, "t", 1, &[]).await;
    let mut peer = kafka::connect(&bootstrap).await.unwrap();
    let parked =
        tokio::spawn(async move { kafka::fetch(&mut peer, "t", 0, 0, Duration::from_secs(30)).await });
    // The fetch is parked when a request on another connection, sent after it, is answered some time later.
    tokio::time::sleep(Duration::from_secs(1)).await;
    kafka::connect(&bootstrap).await.unwrap();
    assert!(!parked.is_finished());
    let begun = Instant::now();
    assert!(node.stop().success());
    assert!(begun.elapsed() < Duration::from_secs(15), "not the poll's 30 s: {:?}", begun.elapsed());
    let answer = parked.await.unwrap().expect("an answer, not a cut connection");
    assert!(answer.unwrap().0.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clean_stop_takes_the_registration_out_of_etcd_at_once() {
    let name = "a_clean_stop_takes_the_registration_out_of_etcd_at_once";
    let etcd = match RealEtcd::start(Release::Current).await {
        Ok(etcd) => etcd,
        Err(why) => return skip::skip(&format!("{name}: {why}")),
    };
    let data = tempfile::tempdir().unwrap();
    let settings = ["node.id=4", "cluster.name=dev", "etcd.session.ttl=30s"];
    let mut node = Node::broker(data.path(), &etcd.endpoint(), &settings).started();
    let key = format!("{REGISTRATION}4");
    let mut client = etcd.client().await;
    let first = client.get(key.clone(), None).await.unwrap();
    let first = first.kvs().first().expect("registered").create_revision();
    assert!(node.stop().success());
    let gone = client.get(key.clone(), None).await.unwrap();
    assert!(gone.kvs().is_empty(), "it does not wait for the end of the lease");
    assert!(client.leases().await.unwrap().leases().is_empty(), "the lease is revoked");

    // A killed one leaves its registration; the next start on the same disk takes it over without waiting (rule B7).
    node.start();
    node.kill();
    let begun = Instant::now();
    node.start();
    assert!(begun.elapsed() < Duration::from_secs(20), "not the lease's 30 s: {:?}", begun.elapsed());
    let now = client.get(key, None).await.unwrap();
    assert!(now.kvs()[0].create_revision() > first, "a registration of its own");
}

#[test]
fn a_stop_during_the_start_ends_the_process() {
    let data = tempfile::tempdir().unwrap();
    // An etcd that never answers: the start is still waiting when the signal comes.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", silent.local_addr().unwrap());
    let mut node = Node::broker(data.path(), &endpoint, &["node.id=1"]);
    node.spawn();
    node.until("the lock of the data directory", END_DEADLINE, |_| data.path().join(".lock").exists());
    node.signal(Signal::TERM);
    node.wait(END_DEADLINE);
}
