//! What is refused, and in which words.

use etcd_client::{Compare, CompareOp, DeleteOptions, GetOptions, PutOptions, Txn, TxnOp};
use tonic::Code;

use crate::backend::{Backend, assert_refused};

const TOO_MANY: &str = "etcdserver: too many operations in txn request";
const DUPLICATE: &str = "etcdserver: duplicate key given in txn request";

fn puts(count: usize) -> Vec<TxnOp> {
    (0..count).map(|number| TxnOp::put(format!("k{number}"), "v", None)).collect()
}

fn compares(count: usize) -> Vec<Compare> {
    (0..count).map(|number| Compare::version(format!("k{number}"), CompareOp::Greater, -1)).collect()
}

pub async fn a_txn_takes_128_operations_and_not_129(backend: &mut Backend) {
    let client = &mut backend.client;
    let full = Txn::new().when(compares(128)).and_then(puts(128)).or_else(puts(128));
    assert!(client.txn(full).await.unwrap().succeeded());
    for txn in [
        Txn::new().when(compares(129)),
        Txn::new().and_then(puts(129)),
        Txn::new().or_else(puts(129)),
        // A nested one gets what its parents leave: 128 - 2.
        Txn::new().and_then([TxnOp::get("a", None), TxnOp::txn(Txn::new().and_then(puts(127)))]),
    ] {
        assert_refused(client.txn(txn).await, Code::InvalidArgument, TOO_MANY);
    }
    let nested = Txn::new().and_then([TxnOp::get("a", None), TxnOp::txn(Txn::new().and_then(puts(126)))]);
    client.txn(nested).await.unwrap();
}

pub async fn one_txn_must_not_change_a_key_twice(backend: &mut Backend) {
    let put = |key: &str| TxnOp::put(key, "v", None);
    let delete_prefix = |key: &str| TxnOp::delete(key, Some(DeleteOptions::new().with_prefix()));
    let nested = |then: Vec<TxnOp>, or: Vec<TxnOp>| TxnOp::txn(Txn::new().and_then(then).or_else(or));
    for ops in [
        vec![put("a"), put("a")],
        vec![put("a/1"), delete_prefix("a/")],
        vec![delete_prefix("a/"), put("a/1")],
        vec![put("a"), nested(vec![put("a")], vec![])],
        vec![nested(vec![put("a")], vec![]), nested(vec![], vec![put("a")])],
        vec![delete_prefix("a"), nested(vec![], vec![put("a")])],
    ] {
        let described = format!("{ops:?}");
        let refused = backend.client.txn(Txn::new().and_then(ops.clone())).await;
        assert!(refused.is_err(), "{described}");
        assert_refused(refused, Code::InvalidArgument, DUPLICATE);
        // Also in the branch that is not taken.
        let refused = backend.client.txn(Txn::new().or_else(ops)).await;
        assert_refused(refused, Code::InvalidArgument, DUPLICATE);
    }
    for ops in [
        vec![delete_prefix("a"), delete_prefix("a")],
        vec![nested(vec![put("a")], vec![put("a")])],
        vec![put("b"), delete_prefix("a")],
    ] {
        backend.client.txn(Txn::new().and_then(ops)).await.unwrap();
    }
}

pub async fn a_request_above_1_5_mib_is_refused(backend: &mut Backend) {
    let words = "etcdserver: request is too large";
    let mib = 1 << 20;
    backend.client.put("large", vec![b'x'; mib], None).await.unwrap();
    let value = vec![b'x'; mib + mib / 2];
    assert_refused(backend.client.put("larger", value, None).await, Code::InvalidArgument, words);
    let halves = ["a", "b"].map(|key| TxnOp::put(key, vec![b'x'; mib * 3 / 4], None));
    assert_refused(backend.client.txn(Txn::new().and_then(halves)).await, Code::InvalidArgument, words);
    assert_eq!(backend.get("large").await.unwrap().value().len(), mib);
    assert!(backend.get("larger").await.is_none());
}

pub async fn malformed_requests_are_refused_in_etcds_words(backend: &mut Backend) {
    let client = &mut backend.client;
    let invalid = Code::InvalidArgument;
    let empty = "etcdserver: key is not provided";
    assert_refused(client.get("", None).await, invalid, empty);
    assert_refused(client.put("", "v", None).await, invalid, empty);
    assert_refused(client.delete("", None).await, invalid, empty);
    assert_refused(client.txn(Txn::new().and_then([TxnOp::put("", "v", None)])).await, invalid, empty);
    let compare = Compare::version("", CompareOp::Equal, 0);
    assert_refused(client.txn(Txn::new().when([compare])).await, invalid, empty);
    let keep_value = PutOptions::new().with_ignore_value();
    let keep_lease = PutOptions::new().with_ignore_lease();
    let words = "etcdserver: value is provided";
    assert_refused(client.put("k", "v", Some(keep_value.clone())).await, invalid, words);
    let words = "etcdserver: lease is provided";
    assert_refused(client.put("k", "v", Some(keep_lease.clone().with_lease(5))).await, invalid, words);
    let words = "etcdserver: key not found";
    assert_refused(client.put("k", "", Some(keep_value.clone())).await, invalid, words);
    assert_refused(client.put("k", "v", Some(keep_lease)).await, invalid, words);
    let txn = Txn::new().and_then([TxnOp::put("other", "v", None), TxnOp::put("k", "", Some(keep_value))]);
    assert_refused(client.txn(txn).await, invalid, words);
    let found = client.get("other", Some(GetOptions::new())).await.unwrap();
    assert_eq!(found.count(), 0, "a refused txn changes nothing");
}
