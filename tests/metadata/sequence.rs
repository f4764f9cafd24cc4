//! Sequential keys, as the broker makes its automatic node ids.

use std::collections::BTreeSet;

use etcd_client::{Client, Compare, CompareOp, GetOptions, SortOrder, SortTarget, Txn, TxnOp};
use tokio::task::JoinSet;

use crate::backend::Backend;

const CREATORS: usize = 1_000;

/// Creates the next key of the sequence and returns its number.
async fn create(mut client: Client, who: usize) -> u64 {
    loop {
        let options = GetOptions::new()
            .with_prefix()
            .with_sort(SortTarget::Key, SortOrder::Descend)
            .with_limit(1)
            .with_keys_only();
        let last = client.get("ids/", Some(options)).await.unwrap();
        let next = last.kvs().first().map_or(0, |kv| kv.key_str().unwrap()[4..].parse::<u64>().unwrap() + 1);
        let key = format!("ids/{next:010}");
        let txn = Txn::new()
            .when([Compare::create_revision(key.clone(), CompareOp::Equal, 0)])
            .and_then([TxnOp::put(key, who.to_string(), None)]);
        if client.txn(txn).await.unwrap().succeeded() {
            return next;
        }
    }
}

pub async fn a_thousand_concurrent_creators_of_sequential_keys_each_get_one(backend: &mut Backend) {
    // All at once lose to each other nearly always, so some go at a time; every one of them still meets losers.
    let mut creators = JoinSet::new();
    let mut numbers = BTreeSet::new();
    for who in 0..CREATORS {
        if creators.len() >= 50 {
            numbers.insert(creators.join_next().await.unwrap().unwrap());
        }
        creators.spawn(create(backend.client.clone(), who));
    }
    while let Some(number) = creators.join_next().await {
        numbers.insert(number.unwrap());
    }
    assert_eq!(numbers, (0..CREATORS as u64).collect(), "each number once, none left out");
    assert_eq!(backend.keys("ids/").await.len(), CREATORS);
}
