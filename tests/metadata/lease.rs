//! Leases: their ends, their keys, their checks.

use std::time::Duration;

use etcd_client::{
    Compare, CompareOp, EventType, LeaseGrantOptions, LeaseTimeToLiveOptions, PutOptions, Txn, TxnOp,
    WatchOptions,
};
use tonic::Code;

use crate::backend::{Backend, assert_refused, next_change};

const NOT_FOUND: &str = "etcdserver: requested lease not found";

async fn grant(backend: &mut Backend, ttl: i64) -> i64 {
    backend.client.lease_grant(ttl, None).await.unwrap().id()
}

async fn put_leased(backend: &mut Backend, key: &str, lease: i64) -> i64 {
    let options = PutOptions::new().with_lease(lease);
    backend.client.put(key, "v", Some(options)).await.unwrap().header().unwrap().revision()
}

/// Remaining seconds and keys.
async fn time_to_live(backend: &mut Backend, lease: i64) -> (i64, i64, Vec<String>) {
    let options = LeaseTimeToLiveOptions::new().with_keys();
    let answer = backend.client.lease_time_to_live(lease, Some(options)).await.unwrap();
    let keys = answer.keys().iter().map(|key| String::from_utf8(key.clone()).unwrap()).collect();
    (answer.ttl(), answer.granted_ttl(), keys)
}

pub async fn a_lease_that_is_not_renewed_takes_its_keys_in_one_revision(backend: &mut Backend) {
    let lease = grant(backend, 1).await;
    let (_, granted, _) = time_to_live(backend, lease).await;
    assert_eq!(granted, 2, "the floor of a server with default timing");
    put_leased(backend, "l/a", lease).await;
    let before = put_leased(backend, "l/b", lease).await;
    backend.put("l/c", "stays").await;
    let mut stream = backend.client.watch("l/", Some(WatchOptions::new().with_prefix())).await.unwrap();
    assert!(next_change(&mut stream).await.created());
    let message = next_change(&mut stream).await;
    let gone: Vec<_> = message
        .events()
        .iter()
        .map(|event| {
            (event.event_type(), event.kv().unwrap().key_str().unwrap(), event.kv().unwrap().mod_revision())
        })
        .collect();
    let revision = before + 2;
    assert_eq!(gone, [(EventType::Delete, "l/a", revision), (EventType::Delete, "l/b", revision)]);
    assert_eq!(backend.keys("l/").await, ["l/c"]);
    assert_eq!(time_to_live(backend, lease).await.0, -1);
}

pub async fn a_renewed_lease_stays(backend: &mut Backend) {
    let lease = grant(backend, 4).await;
    put_leased(backend, "k", lease).await;
    let (mut keeper, mut answers) = backend.client.lease_keep_alive(lease).await.unwrap();
    for _ in 0..10 {
        tokio::time::sleep(Duration::from_millis(900)).await;
        keeper.keep_alive().await.unwrap();
        let answer = answers.message().await.unwrap().unwrap();
        assert_eq!((answer.id(), answer.ttl()), (lease, 4));
    }
    assert!(backend.get("k").await.is_some(), "9 s are more than twice its TTL");
}

pub async fn a_revoked_lease_takes_its_keys_at_once(backend: &mut Backend) {
    let lease = grant(backend, 60).await;
    let other = grant(backend, 60).await;
    put_leased(backend, "a", lease).await;
    put_leased(backend, "b", lease).await;
    let before = put_leased(backend, "c", other).await;
    let (mut keeper, mut answers) = backend.client.lease_keep_alive(lease).await.unwrap();
    let revoked = backend.client.lease_revoke(lease).await.unwrap();
    assert_eq!(revoked.header().unwrap().revision(), before + 1);
    assert!(backend.get("a").await.is_none() && backend.get("b").await.is_none());
    assert!(backend.get("c").await.is_some());
    keeper.keep_alive().await.unwrap();
    assert_eq!(answers.message().await.unwrap().unwrap().ttl(), 0, "a renewal says that it is gone");
    assert_eq!(time_to_live(backend, lease).await, (-1, 0, vec![]));
    assert_refused(backend.client.lease_revoke(lease).await, Code::NotFound, NOT_FOUND);
    let leases: Vec<_> =
        backend.client.leases().await.unwrap().leases().iter().map(|lease| lease.id()).collect();
    assert_eq!(leases, [other]);
}

pub async fn a_put_with_a_dead_lease_is_refused_and_changes_nothing(backend: &mut Backend) {
    let lease = grant(backend, 60).await;
    backend.client.lease_revoke(lease).await.unwrap();
    let before = backend.put("k", "v").await;
    let dead = || Some(PutOptions::new().with_lease(lease));
    assert_refused(backend.client.put("k", "w", dead()).await, Code::NotFound, NOT_FOUND);
    let txn = Txn::new().and_then([TxnOp::put("other", "w", None), TxnOp::put("k", "w", dead())]);
    assert_refused(backend.client.txn(txn).await, Code::NotFound, NOT_FOUND);
    assert!(backend.get("other").await.is_none());
    assert_eq!(backend.revision().await, before);
    // A branch that is not taken is not looked at.
    let txn = Txn::new()
        .when([Compare::version("k", CompareOp::Equal, 1)])
        .and_then([TxnOp::put("other", "w", None)])
        .or_else([TxnOp::put("k", "w", dead())]);
    assert!(backend.client.txn(txn).await.unwrap().succeeded());
}

pub async fn a_key_hangs_on_the_lease_of_its_last_put(backend: &mut Backend) {
    let first = grant(backend, 60).await;
    let second = grant(backend, 60).await;
    put_leased(backend, "a", first).await;
    put_leased(backend, "b", first).await;
    put_leased(backend, "c", first).await;
    put_leased(backend, "b", second).await;
    backend.put("c", "no lease").await;
    assert_eq!(time_to_live(backend, first).await.2, ["a"]);
    let (left, granted, keys) = time_to_live(backend, second).await;
    assert_eq!((granted, keys), (60, vec!["b".to_owned()]));
    assert!((50..60).contains(&left), "{left}");
    backend.delete("b").await;
    assert_eq!(time_to_live(backend, second).await.2, Vec::<String>::new());
    backend.client.lease_revoke(first).await.unwrap();
    assert!(backend.get("a").await.is_none() && backend.get("c").await.is_some());
}

pub async fn grants_are_checked(backend: &mut Backend) {
    let chosen = LeaseGrantOptions::new().with_id(4711);
    let granted = backend.client.lease_grant(10, Some(chosen.clone())).await.unwrap();
    assert_eq!((granted.id(), granted.ttl()), (4711, 10));
    let words = "etcdserver: lease already exists";
    assert_refused(backend.client.lease_grant(10, Some(chosen)).await, Code::FailedPrecondition, words);
    let words = "etcdserver: too large lease TTL";
    assert_refused(backend.client.lease_grant(9_000_000_001, None).await, Code::OutOfRange, words);
    let generated = backend.client.lease_grant(10, None).await.unwrap().id();
    assert!(generated > 0 && generated != 4711);
    assert_eq!(time_to_live(backend, 99).await, (-1, 0, vec![]));
}
