//! Watch: history, order, progress, compaction.

use etcd_client::{
    EventType, GetOptions, Txn, TxnOp, WatchFilterType, WatchOptions, WatchResponse, WatchStream,
};

use crate::backend::{Backend, PROGRESS, next, next_change};

/// What a message tells: kind, key, value, revision.
fn told(message: &WatchResponse) -> Vec<(EventType, String, String, i64)> {
    message
        .events()
        .iter()
        .map(|event| {
            let kv = event.kv().unwrap();
            (
                event.event_type(),
                kv.key_str().unwrap().into(),
                kv.value_str().unwrap().into(),
                kv.mod_revision(),
            )
        })
        .collect()
}

/// Watches and takes the message that says that the watch exists.
async fn watch(backend: &mut Backend, key: &str, options: WatchOptions) -> WatchStream {
    let mut stream = backend.client.watch(key, Some(options)).await.unwrap();
    let created = next(&mut stream).await;
    assert!(created.created() && !created.canceled(), "{created:?}");
    stream
}

/// Takes messages until `count` events are there.
async fn events(stream: &mut WatchStream, count: usize) -> Vec<(EventType, String, String, i64)> {
    let mut all = Vec::new();
    while all.len() < count {
        all.extend(told(&next_change(stream).await));
    }
    all
}

pub async fn a_watch_from_a_past_revision_tells_everything_once_and_in_order(backend: &mut Backend) {
    backend.put("w/a", "before").await;
    let mut expected = Vec::new();
    let start = backend.revision().await + 1;
    for number in 0..20 {
        let key = format!("w/{}", number % 3);
        let value = number.to_string();
        expected.push((EventType::Put, key.clone(), value.clone(), backend.put(&key, &value).await));
        backend.put("beside", "x").await;
        if number % 5 == 4 {
            expected.push((EventType::Delete, key.clone(), String::new(), backend.delete(&key).await));
        }
    }
    let options = WatchOptions::new().with_prefix().with_start_revision(start);
    let mut stream = watch(backend, "w/", options).await;
    assert_eq!(events(&mut stream, expected.len()).await, expected);
    let live = (EventType::Put, "w/z".to_owned(), "live".to_owned(), backend.put("w/z", "live").await);
    assert_eq!(events(&mut stream, 1).await, [live]);
}

pub async fn a_txn_is_told_in_one_message(backend: &mut Backend) {
    let mut stream = watch(backend, "t/", WatchOptions::new().with_prefix()).await;
    let puts: Vec<_> = (0..100).map(|number| TxnOp::put(format!("t/{number:03}"), "v", None)).collect();
    let revision = backend.client.txn(Txn::new().and_then(puts)).await.unwrap().header().unwrap().revision();
    let message = next_change(&mut stream).await;
    assert_eq!(message.header().unwrap().revision(), revision);
    let expected: Vec<_> =
        (0..100).map(|number| (EventType::Put, format!("t/{number:03}"), "v".to_owned(), revision)).collect();
    assert_eq!(told(&message), expected);
}

pub async fn filters_and_previous_values(backend: &mut Backend) {
    backend.put("k", "1").await;
    let start = backend.revision().await;
    backend.put("k", "2").await;
    backend.delete("k").await;
    backend.put("k", "3").await;
    let all = || WatchOptions::new().with_start_revision(start).with_prev_key();
    let previous = |message: &WatchResponse| -> Vec<(EventType, Option<String>)> {
        let value = |kv: &etcd_client::KeyValue| kv.value_str().unwrap().to_owned();
        message.events().iter().map(|event| (event.event_type(), event.prev_kv().map(value))).collect()
    };
    let mut stream = watch(backend, "k", all()).await;
    let mut seen = Vec::new();
    while seen.len() < 4 {
        seen.extend(previous(&next_change(&mut stream).await));
    }
    assert_eq!(
        seen,
        [
            (EventType::Put, None),
            (EventType::Put, Some("1".to_owned())),
            (EventType::Delete, Some("2".to_owned())),
            (EventType::Put, None),
        ]
    );
    let mut stream = watch(backend, "k", all().with_filters([WatchFilterType::NoPut])).await;
    let message = next_change(&mut stream).await;
    assert_eq!(previous(&message), [(EventType::Delete, Some("2".to_owned()))]);
    let mut stream = watch(backend, "k", all().with_filters([WatchFilterType::NoDelete])).await;
    let values: Vec<_> = events(&mut stream, 3).await.into_iter().map(|(_, _, value, _)| value).collect();
    assert_eq!(values, ["1", "2", "3"]);
}

pub async fn several_watches_share_a_stream_and_one_is_cancelled(backend: &mut Backend) {
    let mut stream = backend.client.watch("a", None).await.unwrap();
    let first = next(&mut stream).await;
    stream.watch("b", Some(WatchOptions::new().with_watch_id(17))).await.unwrap();
    let second = next(&mut stream).await;
    assert_eq!((first.watch_id(), second.watch_id()), (0, 17));
    stream.watch("c", Some(WatchOptions::new().with_watch_id(17))).await.unwrap();
    let refused = next(&mut stream).await;
    assert!(refused.canceled() && refused.watch_id() == -1, "the id is taken: {refused:?}");
    stream.watch("z", Some(WatchOptions::new().with_range("y"))).await.unwrap();
    let refused = next(&mut stream).await;
    assert!(refused.canceled() && refused.watch_id() == -1, "the range is empty: {refused:?}");

    backend.put("a", "1").await;
    assert_eq!(next_change(&mut stream).await.watch_id(), 0);
    backend.put("b", "1").await;
    assert_eq!(next_change(&mut stream).await.watch_id(), 17);
    stream.cancel(0).await.unwrap();
    let cancelled = next_change(&mut stream).await;
    assert!(cancelled.canceled() && cancelled.watch_id() == 0, "{cancelled:?}");
    backend.put("a", "2").await;
    backend.put("b", "2").await;
    let message = next_change(&mut stream).await;
    assert_eq!((message.watch_id(), told(&message)[0].2.as_str()), (17, "2"));
}

pub async fn progress_is_told_on_demand_after_everything_before_it(backend: &mut Backend) {
    let mut stream = watch(backend, "p/", WatchOptions::new().with_prefix()).await;
    for number in 0..10 {
        backend.put(&format!("p/{number}"), "v").await;
    }
    let beside = backend.put("beside", "v").await;
    let mut told_events = 0;
    let progress = loop {
        // Servers answer only when they have told everything; old ones may not answer at all until then.
        stream.request_progress().await.unwrap();
        let message = next(&mut stream).await;
        told_events += message.events().len();
        if message.events().is_empty() {
            break message;
        }
    };
    assert_eq!(progress.watch_id(), -1);
    let revision = progress.header().unwrap().revision();
    assert!(revision <= beside);
    assert!(
        told_events == 10 || revision < beside,
        "progress {revision} overtook events: {told_events} told"
    );
}

pub async fn progress_is_told_periodically(backend: &mut Backend) {
    let options = WatchOptions::new().with_prefix().with_progress_notify();
    let mut stream = watch(backend, "p/", options).await;
    let beside = backend.put("beside", "v").await;
    let note = tokio::time::timeout(10 * PROGRESS, async {
        loop {
            let note = next(&mut stream).await;
            assert!(note.events().is_empty() && note.watch_id() == 0, "{note:?}");
            if note.header().unwrap().revision() >= beside {
                return note;
            }
        }
    });
    assert_eq!(note.await.expect("a note comes").header().unwrap().revision(), beside);
}

pub async fn a_watch_below_the_compaction_is_cancelled_with_its_revision(backend: &mut Backend) {
    for number in 0..6 {
        backend.put("k", &number.to_string()).await;
    }
    let newest = backend.revision().await;
    backend.client.compact(newest - 2, None).await.unwrap();
    let from = |revision| WatchOptions::new().with_start_revision(revision);
    let mut stream = watch(backend, "k", from(newest - 3)).await;
    let cancelled = next_change(&mut stream).await;
    assert!(cancelled.canceled(), "{cancelled:?}");
    assert_eq!(cancelled.compact_revision(), newest - 2);
    let mut stream = watch(backend, "k", from(newest - 2)).await;
    let values: Vec<_> = events(&mut stream, 3).await.into_iter().map(|(_, _, value, _)| value).collect();
    assert_eq!(values, ["3", "4", "5"], "the compacted revision itself can still be watched from");
}

pub async fn a_watch_that_was_open_survives_a_compaction(backend: &mut Backend) {
    let mut stream = watch(backend, "k", WatchOptions::new()).await;
    for number in 0..20 {
        let revision = backend.put("k", &number.to_string()).await;
        backend.client.compact(revision, None).await.unwrap();
    }
    let values: Vec<_> = events(&mut stream, 20).await.into_iter().map(|(_, _, value, _)| value).collect();
    assert_eq!(values, (0..20).map(|number| number.to_string()).collect::<Vec<_>>());
}

pub async fn large_messages_are_split_when_allowed(backend: &mut Backend) {
    let start = backend.revision().await + 1;
    let size = 900 << 10;
    for number in 0..4 {
        backend.client.put(format!("f/{number}"), vec![b'x'; size], None).await.unwrap();
    }
    let client = backend.client.watch_client().max_decoding_message_size(16 << 20);
    let options = WatchOptions::new().with_prefix().with_start_revision(start).with_fragment();
    let mut stream = { client }.watch("f/", Some(options)).await.unwrap();
    let mut keys = Vec::new();
    while keys.len() < 4 {
        let message = next_change(&mut stream).await;
        assert!(message.events().len() <= 2, "{} events in one message", message.events().len());
        keys.extend(message.events().iter().map(|event| event.kv().unwrap().key_str().unwrap().to_owned()));
        let is_last = keys.len() == 4;
        assert!(!(is_last && message.0.fragment), "nothing follows the last part");
    }
    assert_eq!(keys, ["f/0", "f/1", "f/2", "f/3"]);
    let found =
        backend.client.get("f/", Some(GetOptions::new().with_prefix().with_count_only())).await.unwrap();
    assert_eq!(found.count(), 4);
}
