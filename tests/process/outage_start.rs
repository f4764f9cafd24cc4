//! A start without etcd, and two brokers under one node id.

use std::net::TcpListener;
use std::time::Duration;

use crate::etcd::{RealEtcd, Release};
use crate::node::Node;
use crate::skip;

/// A start's patience here is 5 s and less; the rest is for a busy machine.
const GIVES_UP_WITHIN: Duration = Duration::from_secs(50);

#[test]
fn a_start_without_etcd_exits_with_69_and_says_what_to_do() {
    let data = tempfile::tempdir().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = closed.local_addr().unwrap();
    drop(closed);
    let settings = ["node.id=1", "initial.broker.registration.timeout.ms=5000"];
    let mut node = Node::broker(data.path(), &format!("http://{address}"), &settings);
    node.spawn();
    let status = node.wait(GIVES_UP_WITHIN);
    assert_eq!(status.code(), Some(69), "{}", node.output());
    for expected in ["etcd is unreachable", "etcd.endpoints"] {
        assert!(node.output().contains(expected), "{expected} is missing:\n{}", node.output());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_waits_for_an_etcd_that_comes_a_little_later() {
    let mut etcd = match RealEtcd::start(Release::Current).await {
        Ok(etcd) => etcd,
        Err(why) => return skip::skip(&why),
    };
    etcd.kill();
    let data = tempfile::tempdir().unwrap();
    let mut node = Node::broker(data.path(), &etcd.endpoint(), &["node.id=1"]);
    node.spawn();
    let bound = node.port();
    node.until("its start", Duration::from_secs(30), |_| TcpListener::bind(("127.0.0.1", bound)).is_err());
    etcd.restart().await.unwrap();
    node.wait_for_line(0, "ready", Duration::from_secs(20));
    assert_eq!(node.admin("/readyz").0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_broker_with_the_same_node_id_names_the_host_of_the_first() {
    let etcd = match RealEtcd::start(Release::Current).await {
        Ok(etcd) => etcd,
        Err(why) => return skip::skip(&why),
    };
    let settings = ["node.id=7", "etcd.session.ttl=2s"];
    let data = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let first = Node::broker(data[0].path(), &etcd.endpoint(), &settings).started();
    let mut second = Node::broker(data[1].path(), &etcd.endpoint(), &settings);
    second.spawn();
    let status = second.wait(GIVES_UP_WITHIN);
    assert_eq!(status.code(), Some(78), "{}", second.output());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    assert!(second.output().contains("node.id 7 is in use by"), "{}", second.output());
    assert!(second.output().contains(host.trim()), "{}", second.output());
    assert_eq!(first.admin("/readyz").0, 200);
    assert_eq!(first.lines_with(0, "registration is gone"), 0, "the first one was left alone");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_without_etcd_is_clean_and_takes_bounded_time() {
    let mut etcd = match RealEtcd::start(Release::Current).await {
        Ok(etcd) => etcd,
        Err(why) => return skip::skip(&why),
    };
    let data = tempfile::tempdir().unwrap();
    let settings = ["node.id=1", "etcd.session.ttl=2s"];
    for frozen in [false, true] {
        let mut node = Node::broker(data.path(), &etcd.endpoint(), &settings).started();
        if frozen {
            etcd.freeze();
        } else {
            etcd.kill();
        }
        let status = node.stop();
        assert_eq!(status.code(), Some(0), "{}", node.output());
        assert!(data.path().join(".kafka_cleanshutdown").exists());
        if frozen {
            etcd.thaw();
        } else {
            etcd.restart().await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn data_of_one_cluster_is_not_started_on_another_clusters_etcd() {
    let servers = [RealEtcd::start(Release::Current).await, RealEtcd::start(Release::Current).await];
    let [Ok(own), Ok(other)] = servers else { return skip::skip("no current etcd: run tests/setup/etcd.sh") };
    let (data, others) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut node = Node::broker(data.path(), &own.endpoint(), &["node.id=1"]).started();
    assert!(node.stop().success());
    // An etcd that nobody used, then one that holds another cluster.
    for others in [None, Some(others.path())] {
        if let Some(others) = others {
            assert!(Node::broker(others, &other.endpoint(), &["node.id=2"]).started().stop().success());
        }
        let mut lost = Node::broker(data.path(), &other.endpoint(), &["node.id=1"]);
        lost.spawn();
        assert_eq!(lost.wait(GIVES_UP_WITHIN).code(), Some(78), "{}", lost.output());
        let why = if others.is_some() { "this node belongs to cluster" } else { "is another etcd" };
        assert!(lost.output().contains(why), "{}", lost.output());
        assert!(lost.output().contains("etcd.endpoints"), "a cure: {}", lost.output());
    }
    node.start();
    assert_eq!(node.admin("/readyz").0, 200);
}
