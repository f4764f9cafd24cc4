//! Who a broker is: automatic node ids, and directories that belong to somebody else (rules B4, B7, N40).

use std::path::Path;
use std::time::Duration;

use crate::etcd::{RealEtcd, Release};
use crate::node::{Node, ketcd};
use crate::skip;

const SOON: Duration = Duration::from_secs(50);

fn node_id(node: &Node) -> serde_json::Value {
    let (_, text) = node.admin("/version");
    serde_json::from_str::<serde_json::Value>(&text).unwrap()["node_id"].clone()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_without_a_node_id_takes_one_and_keeps_it_and_a_copy_of_its_disk_does_not_get_it() {
    let etcd = match RealEtcd::start(Release::Current).await {
        Ok(etcd) => etcd,
        Err(why) => return skip::skip(&why),
    };
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    let settings = ["etcd.session.ttl=2s"];
    let mut first = Node::broker(&at("a"), &etcd.endpoint(), &settings).started();
    let second = Node::broker(&at("b"), &etcd.endpoint(), &settings).started();
    assert_eq!((node_id(&first), node_id(&second)), (1001.into(), 1002.into()));
    first.stop();
    first.start();
    assert_eq!(node_id(&first), 1001, "meta.properties remembers it");

    // The copy has the lease, the boot id and the host of the living one.
    copy(&at("a"), &at("copy"));
    let mut copied = Node::broker(&at("copy"), &etcd.endpoint(), &settings);
    copied.spawn();
    assert_eq!(copied.wait(SOON).code(), Some(78), "{}", copied.output());
    assert!(copied.output().contains("node.id 1001 is in use by"), "{}", copied.output());
    assert_eq!(first.admin("/readyz").0, 200);
    assert_eq!(first.lines_with(0, "registration is gone"), 0, "its session was left alone");

    let other = Node::broker(&at("b"), &etcd.endpoint(), &["node.id=7"]);
    drop(second);
    let mut other = other;
    other.spawn();
    assert_eq!(other.wait(SOON).code(), Some(78), "{}", other.output());
    assert!(other.output().contains("belongs to node.id 1002, not 7"), "{}", other.output());
    let (code, text) = ketcd(&["cluster", "-b", &first.bootstrap()]);
    assert_eq!(code, Some(0), "{text}");
}
