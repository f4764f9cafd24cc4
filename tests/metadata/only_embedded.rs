//! What only the embedded store does: its file, its bounds, its address.

use etcd_client::{GetOptions, WatchOptions};
use ketcd::metadata::embedded::{EmbeddedEtcd, EmbeddedOptions, FileError, Retention, StartError};
use ketcd::types::Clock;
use tempfile::TempDir;

use crate::backend::{block_on, connect, next_change};

#[test]
fn it_refuses_to_serve_other_machines_unless_told() {
    block_on(async {
        let listen = "0.0.0.0:0".parse().unwrap();
        let refused = EmbeddedEtcd::start(EmbeddedOptions { listen, ..Default::default() }).await;
        assert!(matches!(refused, Err(StartError::NotLoopback { .. })));
    });
}

#[test]
fn a_second_store_on_the_same_file_is_refused() {
    block_on(async {
        let folder = TempDir::new().unwrap();
        let options = || EmbeddedOptions { path: Some(folder.path().join("store")), ..Default::default() };
        let first = EmbeddedEtcd::start(options()).await.unwrap();
        let refused = EmbeddedEtcd::start(options()).await;
        assert!(matches!(refused, Err(StartError::File(FileError::InUse { .. }))));
        first.shutdown().await;
        EmbeddedEtcd::start(options()).await.unwrap().shutdown().await;
    });
}

#[test]
fn a_store_without_a_file_serves_the_same() {
    block_on(async {
        let store = EmbeddedEtcd::start(EmbeddedOptions::default()).await.unwrap();
        let mut client = connect(&store.endpoint()).await;
        client.put("k", "v", None).await.unwrap();
        assert_eq!(client.get("k", None).await.unwrap().kvs()[0].value(), b"v");
        store.shutdown().await;
    });
}

#[test]
fn history_is_bounded_without_anybody_asking() {
    block_on(async {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("store");
        let retention = Retention { revisions: 100, ..Default::default() };
        let options =
            || EmbeddedOptions { path: Some(path.clone()), fsync: false, retention, ..Default::default() };
        let store = EmbeddedEtcd::start(options()).await.unwrap();
        let mut client = connect(&store.endpoint()).await;
        client.put("old", "still here", None).await.unwrap();
        let mut newest = 0;
        for number in 0..500 {
            newest = client.put("k", number.to_string(), None).await.unwrap().header().unwrap().revision();
        }
        let at = |revision| Some(GetOptions::new().with_revision(revision));
        assert!(client.get("k", at(newest - 99)).await.is_ok(), "the last 100 revisions can be read");
        assert!(client.get("k", at(newest - 120)).await.is_err(), "older ones are gone");
        store.shutdown().await;

        let store = EmbeddedEtcd::start(options()).await.unwrap();
        let mut client = connect(&store.endpoint()).await;
        assert!(client.get("k", at(newest - 120)).await.is_err());
        assert_eq!(client.get("k", None).await.unwrap().kvs()[0].value(), b"499");
        assert_eq!(client.get("old", None).await.unwrap().kvs()[0].value(), b"still here");
        let options = WatchOptions::new().with_start_revision(newest - 90);
        let mut stream = client.watch("k", Some(options)).await.unwrap();
        assert!(next_change(&mut stream).await.created());
        assert!(!next_change(&mut stream).await.events().is_empty());
        drop(stream);
        store.shutdown().await;
    });
}

#[test]
fn creating_and_opening_a_store_takes_little_time() {
    // Opening is part of the time from the start of a broker to its first record: it is asserted loosely here, because the
    // machine is shared, and printed for whoever wants to know.
    block_on(async {
        let clock = Clock::system();
        let folder = TempDir::new().unwrap();
        let options = || EmbeddedOptions { path: Some(folder.path().join("store")), ..Default::default() };
        let begun = clock.elapsed();
        let store = EmbeddedEtcd::start(options()).await.unwrap();
        let created = clock.elapsed() - begun;
        let mut client = connect(&store.endpoint()).await;
        for number in 0..200 {
            client.put(format!("k{number}"), "v".repeat(200), None).await.unwrap();
        }
        store.shutdown().await;
        let begun = clock.elapsed();
        let store = EmbeddedEtcd::start(options()).await.unwrap();
        let opened = clock.elapsed() - begun;
        let mut client = connect(&store.endpoint()).await;
        let found = client.get("k", Some(GetOptions::new().with_prefix().with_count_only())).await.unwrap();
        assert_eq!(found.count(), 200);
        println!("created in {created:?}, opened in {opened:?}");
        assert!(created.as_millis() < 2_000 && opened.as_millis() < 2_000, "{created:?} {opened:?}");
        store.shutdown().await;
    });
}
