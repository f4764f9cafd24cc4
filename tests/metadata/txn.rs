//! Txn: compares, branches, operations.

use etcd_client::{Compare, CompareOp, DeleteOptions, GetOptions, PutOptions, Txn, TxnOp, TxnOpResponse};
use std::cmp::Ordering;

use crate::backend::Backend;

const OPERATORS: [CompareOp; 4] =
    [CompareOp::Equal, CompareOp::Greater, CompareOp::Less, CompareOp::NotEqual];

const fn holds(operator: CompareOp, have_to_want: Ordering) -> bool {
    match operator {
        CompareOp::Equal => have_to_want.is_eq(),
        CompareOp::Greater => have_to_want.is_gt(),
        CompareOp::Less => have_to_want.is_lt(),
        CompareOp::NotEqual => have_to_want.is_ne(),
    }
}

async fn succeeds(backend: &mut Backend, compare: Compare) -> bool {
    backend.client.txn(Txn::new().when([compare])).await.unwrap().succeeded()
}

pub async fn every_compare_target_and_operator_holds_exactly_when_it_should(backend: &mut Backend) {
    let lease = backend.client.lease_grant(60, None).await.unwrap().id();
    backend.put("other", "x").await;
    let create = backend.put("k", "m").await;
    backend.put("k", "m").await;
    backend.put("other", "x").await;
    let options = PutOptions::new().with_lease(lease);
    let modified = backend.client.put("k", "m", Some(options)).await.unwrap().header().unwrap().revision();
    let version = 3;

    type Numeric = fn(&str, CompareOp, i64) -> Compare;
    let targets: [(&str, i64, Numeric); 4] = [
        ("version", version, |key, operator, want| Compare::version(key, operator, want)),
        ("create", create, |key, operator, want| Compare::create_revision(key, operator, want)),
        ("mod", modified, |key, operator, want| Compare::mod_revision(key, operator, want)),
        ("lease", lease, |key, operator, want| Compare::lease(key, operator, want)),
    ];
    let mut checked = 0;
    for (target, have, compare) in targets {
        for operator in OPERATORS {
            for want in [0, have - 1, have, have + 1, i64::MAX] {
                let expected = holds(operator, have.cmp(&want));
                let got = succeeds(backend, compare("k", operator, want)).await;
                assert_eq!(got, expected, "{target} {have} {operator:?} {want}");
                checked += 1;
            }
        }
    }
    for operator in OPERATORS {
        for want in ["", "l", "m", "ma", "n"] {
            let expected = holds(operator, "m".cmp(want));
            assert_eq!(
                succeeds(backend, Compare::value("k", operator, want)).await,
                expected,
                "{operator:?} {want}"
            );
            checked += 1;
        }
    }
    assert_eq!(checked, 5 * OPERATORS.len() * 5);
}

pub async fn a_compare_on_a_missing_key_sees_zeros_and_no_value(backend: &mut Backend) {
    for operator in OPERATORS {
        for want in [-1_i64, 0, 1] {
            let expected = holds(operator, 0.cmp(&want));
            for compare in [
                Compare::version("gone", operator, want),
                Compare::create_revision("gone", operator, want),
                Compare::mod_revision("gone", operator, want),
                Compare::lease("gone", operator, want),
            ] {
                assert_eq!(succeeds(backend, compare).await, expected, "0 {operator:?} {want}");
            }
        }
        for want in ["", "x"] {
            assert!(
                !succeeds(backend, Compare::value("gone", operator, want)).await,
                "{operator:?} {want:?}"
            );
        }
    }
}

pub async fn a_compare_over_a_range_must_hold_for_every_key(backend: &mut Backend) {
    backend.put("r/a", "1").await;
    let last = backend.put("r/b", "1").await;
    backend.put("r2", "9").await;
    let below = |revision| Compare::mod_revision("r/", CompareOp::Less, revision).with_prefix();
    assert!(succeeds(backend, below(last + 1)).await);
    assert!(!succeeds(backend, below(last)).await, "r/b does not hold");
    assert!(succeeds(backend, Compare::value("r/", CompareOp::Equal, "1").with_prefix()).await);
    assert!(
        !succeeds(backend, Compare::value("r/", CompareOp::Equal, "1").with_range("s")).await,
        "r2 does not"
    );
    assert!(
        succeeds(backend, Compare::version("none/", CompareOp::Equal, 0).with_prefix()).await,
        "no key at all"
    );
    assert!(!succeeds(backend, Compare::value("none/", CompareOp::NotEqual, "x").with_prefix()).await);
}

pub async fn operations_see_the_changes_before_them_and_share_one_revision(backend: &mut Backend) {
    let before = backend.put("a", "old").await;
    let txn = Txn::new().and_then([
        TxnOp::get("a", None),
        TxnOp::put("a", "new", Some(PutOptions::new().with_prev_key())),
        TxnOp::put("b", "b", None),
        TxnOp::get("a", Some(GetOptions::new().with_range("c"))),
    ]);
    let done = backend.client.txn(txn).await.unwrap();
    let revision = done.header().unwrap().revision();
    assert_eq!(revision, before + 1);
    let responses = done.op_responses();
    let [
        TxnOpResponse::Get(first),
        TxnOpResponse::Put(put),
        TxnOpResponse::Put(_),
        TxnOpResponse::Get(second),
    ] = responses.as_slice()
    else {
        panic!("{responses:?}");
    };
    assert_eq!(first.kvs()[0].value(), b"old");
    assert_eq!(put.prev_key().unwrap().value(), b"old");
    let seen: Vec<_> = second.kvs().iter().map(|kv| (kv.value(), kv.mod_revision(), kv.version())).collect();
    assert_eq!(seen, [(&b"new"[..], revision, 2), (&b"b"[..], revision, 1)]);
    assert_eq!(backend.revision().await, revision);
}

pub async fn a_range_is_deleted_inside_a_txn(backend: &mut Backend) {
    for key in ["d/1", "d/2", "d/3", "e"] {
        backend.put(key, key).await;
    }
    let before = backend.revision().await;
    let txn = Txn::new().when([Compare::version("e", CompareOp::Equal, 1)]).and_then([
        TxnOp::delete("d/", Some(DeleteOptions::new().with_prefix().with_prev_key())),
        TxnOp::get("d/", Some(GetOptions::new().with_prefix())),
        TxnOp::put("e", "after", None),
        TxnOp::delete("d/", Some(DeleteOptions::new().with_prefix())),
    ]);
    let done = backend.client.txn(txn).await.unwrap();
    assert!(done.succeeded());
    let responses = done.op_responses();
    let [
        TxnOpResponse::Delete(first),
        TxnOpResponse::Get(get),
        TxnOpResponse::Put(_),
        TxnOpResponse::Delete(second),
    ] = responses.as_slice()
    else {
        panic!("{responses:?}");
    };
    assert_eq!(first.deleted(), 3);
    let gone: Vec<_> = first.prev_kvs().iter().map(|kv| kv.key_str().unwrap()).collect();
    assert_eq!(gone, ["d/1", "d/2", "d/3"]);
    assert_eq!((get.count(), second.deleted()), (0, 0), "gone for the operations behind it");
    assert_eq!(done.header().unwrap().revision(), before + 1);
    assert_eq!(backend.keys("d").await.len(), 0);
    assert_eq!(backend.get("e").await.unwrap().mod_revision(), before + 1);
}

pub async fn nested_compares_are_decided_before_the_first_change(backend: &mut Backend) {
    backend.put("k", "old").await;
    let inner = |value: &str| {
        Txn::new()
            .when([Compare::value("k", CompareOp::Equal, value)])
            .and_then([TxnOp::put("then", value, None), TxnOp::get("k", None)])
            .or_else([TxnOp::put("else", value, None), TxnOp::get("k", None)])
    };
    let txn = Txn::new().and_then([TxnOp::put("k", "new", None), TxnOp::txn(inner("new"))]);
    let done = backend.client.txn(txn).await.unwrap();
    let responses = done.op_responses();
    let [TxnOpResponse::Put(_), TxnOpResponse::Txn(nested)] = responses.as_slice() else {
        panic!("{responses:?}");
    };
    assert!(!nested.succeeded(), "the compare saw the value from before");
    let [TxnOpResponse::Put(_), TxnOpResponse::Get(get)] = &nested.op_responses()[..] else { panic!() };
    assert_eq!(get.kvs()[0].value(), b"new", "the read sees the put before it");
    assert_eq!(backend.get("else").await.unwrap().mod_revision(), done.header().unwrap().revision());
    assert!(backend.get("then").await.is_none());
}

pub async fn a_txn_that_changes_nothing_uses_no_revision(backend: &mut Backend) {
    let before = backend.put("k", "v").await;
    let txn = Txn::new()
        .when([Compare::version("k", CompareOp::Equal, 7)])
        .and_then([TxnOp::put("k", "w", None)])
        .or_else([TxnOp::get("k", None), TxnOp::delete("none", None)]);
    let done = backend.client.txn(txn).await.unwrap();
    assert!(!done.succeeded());
    assert_eq!(done.header().unwrap().revision(), before);
    assert_eq!(backend.delete("none").await, before);
    assert_eq!(backend.get("k").await.unwrap().value(), b"v");
}

pub async fn puts_can_keep_the_value_or_the_lease(backend: &mut Backend) {
    let lease = backend.client.lease_grant(60, None).await.unwrap().id();
    let with_lease = PutOptions::new().with_lease(lease);
    backend.client.put("k", "v", Some(with_lease)).await.unwrap();
    backend.client.put("k", "w", Some(PutOptions::new().with_ignore_lease())).await.unwrap();
    let kept = backend.get("k").await.unwrap();
    assert_eq!((kept.value(), kept.lease(), kept.version()), (&b"w"[..], lease, 2));
    let options = PutOptions::new().with_ignore_value().with_prev_key();
    let put = backend.client.put("k", "", Some(options)).await.unwrap();
    assert_eq!(put.prev_key().unwrap().lease(), lease);
    let kept = backend.get("k").await.unwrap();
    assert_eq!((kept.value(), kept.lease(), kept.version()), (&b"w"[..], 0, 3), "the lease was let go");
}
