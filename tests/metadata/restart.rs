//! What survives a restart.

use etcd_client::{GetOptions, PutOptions, WatchOptions};

use crate::backend::{Backend, next_change};

pub async fn everything_answered_is_there_after_a_restart(backend: &mut Backend) {
    let lease = backend.client.lease_grant(60, None).await.unwrap().id();
    let first = backend.put("k", "1").await;
    backend.put("k", "2").await;
    backend.put("gone", "x").await;
    backend.client.compact(first, None).await.unwrap();
    backend.client.put("leased", "v", Some(PutOptions::new().with_lease(lease))).await.unwrap();
    let newest = backend.delete("gone").await;
    let all = || Some(GetOptions::new().with_all_keys());
    let before = backend.client.get("", all()).await.unwrap();

    backend.restart().await;

    let after = backend.client.get("", all()).await.unwrap();
    assert_eq!(after.0.kvs, before.0.kvs);
    assert_eq!(after.header().unwrap().revision(), newest);
    assert_eq!(after.header().unwrap().cluster_id(), before.header().unwrap().cluster_id());
    let old = backend.client.get("k", Some(GetOptions::new().with_revision(first))).await.unwrap();
    assert_eq!(old.kvs()[0].value(), b"1");
    assert!(
        backend.client.get("k", Some(GetOptions::new().with_revision(first - 1))).await.is_err(),
        "compacted"
    );
    let mut stream =
        backend.client.watch("k", Some(WatchOptions::new().with_start_revision(first))).await.unwrap();
    assert!(next_change(&mut stream).await.created());
    let mut told = 0;
    while told < 2 {
        told += next_change(&mut stream).await.events().len();
    }
    assert_eq!(backend.put("k", "3").await, newest + 1);
    backend.client.lease_revoke(lease).await.unwrap();
    assert!(backend.get("leased").await.is_none(), "the lease kept its keys");
}
