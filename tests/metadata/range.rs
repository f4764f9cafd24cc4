//! Range: prefixes, pages, orders, filters, revisions.

use etcd_client::{CompactionOptions, GetOptions, GetResponse, SortOrder, SortTarget, Txn, TxnOp};
use tonic::Code;

use crate::backend::{Backend, assert_refused};

const COMPACTED: &str = "etcdserver: mvcc: required revision has been compacted";
const FUTURE: &str = "etcdserver: mvcc: required revision is a future revision";

fn keys(found: &GetResponse) -> Vec<&str> {
    found.kvs().iter().map(|kv| kv.key_str().unwrap()).collect()
}

pub async fn a_prefix_is_paged_at_a_fixed_revision_while_writes_go_on(backend: &mut Backend) {
    for number in 0..25 {
        backend.put(&format!("p/{number:03}"), &format!("old {number}")).await;
    }
    backend.put("q", "beside").await;
    let revision = backend.revision().await;
    let end = "p0";
    let mut from = "p/".to_owned();
    let mut seen = Vec::new();
    loop {
        let options = GetOptions::new().with_range(end).with_limit(10).with_revision(revision);
        let page = backend.client.get(from.clone(), Some(options)).await.unwrap();
        assert!(page.header().unwrap().revision() >= revision, "the header tells the newest revision");
        assert_eq!(page.count(), 25 - seen.len() as i64, "all keys from here on, whatever the limit");
        seen.extend(
            page.kvs()
                .iter()
                .map(|kv| (kv.key_str().unwrap().to_owned(), kv.value_str().unwrap().to_owned())),
        );
        // Meanwhile somebody changes, adds and deletes.
        backend.put("p/020", "new").await;
        backend.put(&format!("p/{:03}x", seen.len()), "added").await;
        backend.delete("p/024").await;
        if !page.more() {
            break;
        }
        from = format!("{}\0", seen.last().unwrap().0);
    }
    let expected: Vec<_> =
        (0..25).map(|number| (format!("p/{number:03}"), format!("old {number}"))).collect();
    assert_eq!(seen, expected);
    assert_eq!(backend.keys("p/").await.len(), 25 + 3 - 1, "the newest state has it all");
}

pub async fn every_sort_target_and_order_with_a_limit(backend: &mut Backend) {
    // Creation order: c a d b. Modification order: a b d c. Versions: a 1, b 2, d 3, c 4. Values: b d a c.
    for key in ["c", "a", "d", "b", "b", "d", "d", "c", "c", "c"] {
        let value = match key {
            "b" => "1",
            "d" => "2",
            "a" => "3",
            _ => "4",
        };
        backend.put(&format!("s/{key}"), value).await;
    }
    for (target, ascending) in [
        (SortTarget::Key, "abcd"),
        (SortTarget::Version, "abdc"),
        (SortTarget::Create, "cadb"),
        (SortTarget::Mod, "abdc"),
        (SortTarget::Value, "bdac"),
    ] {
        for order in [SortOrder::Ascend, SortOrder::Descend] {
            for limit in [0, 1, 3, 4] {
                let mut expected: Vec<_> = ascending.chars().map(|key| format!("s/{key}")).collect();
                if order == SortOrder::Descend {
                    expected.reverse();
                }
                if limit > 0 {
                    expected.truncate(limit as usize);
                }
                let options = GetOptions::new().with_prefix().with_sort(target, order).with_limit(limit);
                let found = backend.client.get("s/", Some(options)).await.unwrap();
                assert_eq!(keys(&found), expected, "{target:?} {order:?} limit {limit}");
                assert_eq!(
                    (found.count(), found.more()),
                    (4, expected.len() < 4),
                    "{target:?} {order:?} {limit}"
                );
            }
        }
    }
}

pub async fn filters_by_revision_keep_the_count_of_the_whole_range(backend: &mut Backend) {
    let first = backend.put("f/a", "1").await;
    let second = backend.put("f/b", "1").await;
    let third = backend.put("f/a", "2").await;
    let base = || GetOptions::new().with_prefix();
    for (options, expected) in [
        (base().with_min_mod_revision(third), vec!["f/a"]),
        (base().with_max_mod_revision(second), vec!["f/b"]),
        (base().with_min_create_revision(second), vec!["f/b"]),
        (base().with_max_create_revision(first), vec!["f/a"]),
        (base().with_min_mod_revision(second).with_max_create_revision(second), vec!["f/a", "f/b"]),
        (base().with_min_mod_revision(third + 1), vec![]),
    ] {
        let described = format!("{options:?}");
        let found = backend.client.get("f/", Some(options)).await.unwrap();
        assert_eq!(keys(&found), expected, "{described}");
        assert_eq!(found.count(), 2, "{described}");
    }
}

pub async fn keys_only_count_only_and_open_ends(backend: &mut Backend) {
    for key in ["a", "b", "c"] {
        backend.put(key, "value").await;
    }
    let get = async |backend: &mut Backend, key: &str, options| {
        backend.client.get(key, Some(options)).await.unwrap()
    };
    let found = get(backend, "b", GetOptions::new().with_from_key().with_keys_only()).await;
    assert_eq!(keys(&found), ["b", "c"]);
    assert!(found.kvs().iter().all(|kv| kv.value().is_empty() && kv.version() == 1));
    let found = get(backend, "", GetOptions::new().with_all_keys()).await;
    assert_eq!(keys(&found), ["a", "b", "c"]);
    let found = get(backend, "a", GetOptions::new().with_range("c").with_count_only().with_limit(1)).await;
    assert_eq!((found.count(), found.kvs().len(), found.more()), (2, 0, false));
    let found = get(backend, "c", GetOptions::new().with_range("a")).await;
    assert_eq!((found.count(), found.kvs().len()), (0, 0), "an inverted range is empty");
    let found = get(backend, "b", GetOptions::new()).await;
    assert_eq!(keys(&found), ["b"]);
}

pub async fn future_and_compacted_revisions_are_refused(backend: &mut Backend) {
    for number in 0..5 {
        backend.put("k", &number.to_string()).await;
    }
    let newest = backend.revision().await;
    let at = |revision| Some(GetOptions::new().with_revision(revision));
    let client = &mut backend.client;
    assert_refused(client.get("k", at(newest + 1)).await, Code::OutOfRange, FUTURE);
    assert_refused(client.compact(newest + 1, None).await, Code::OutOfRange, FUTURE);
    client.compact(newest - 1, Some(CompactionOptions::new().with_physical())).await.unwrap();
    assert_refused(client.get("k", at(newest - 2)).await, Code::OutOfRange, COMPACTED);
    assert_eq!(client.get("k", at(newest - 1)).await.unwrap().kvs()[0].value(), b"3");
    assert_eq!(client.get("k", at(newest)).await.unwrap().kvs()[0].value(), b"4");
    assert_refused(client.compact(newest - 1, None).await, Code::OutOfRange, COMPACTED);
    // Inside a Txn the whole is refused, also what stood before the read.
    for (revision, words) in [(newest - 2, COMPACTED), (newest + 1, FUTURE)] {
        let txn = Txn::new().and_then([TxnOp::put("other", "v", None), TxnOp::get("k", at(revision))]);
        assert_refused(client.txn(txn).await, Code::OutOfRange, words);
    }
    assert!(backend.get("other").await.is_none());
}

pub async fn a_deleted_key_starts_anew(backend: &mut Backend) {
    let first = backend.put("k", "1").await;
    backend.put("k", "2").await;
    let gone = backend.delete("k").await;
    assert!(backend.get("k").await.is_none());
    let again = backend.put("k", "3").await;
    let newest = backend.get("k").await.unwrap();
    assert_eq!((newest.create_revision(), newest.mod_revision(), newest.version()), (again, again, 1));
    let at = |revision| Some(GetOptions::new().with_revision(revision));
    let old = backend.client.get("k", at(gone - 1)).await.unwrap().take_kvs().pop().unwrap();
    assert_eq!((old.create_revision(), old.version(), old.value()), (first, 2, &b"2"[..]));
    assert_eq!(backend.client.get("k", at(gone)).await.unwrap().count(), 0);
}
