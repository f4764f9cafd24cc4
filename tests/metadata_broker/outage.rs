//! etcd is killed or frozen under a living broker.

use std::time::Duration;

use ketcd::metadata::{Metadata, MetadataError};
use ketcd::types::BrokerId;
use tokio::time::Instant;

use crate::server::{Broker, Server, new_topic};

mod dead {
    use super::{a_dead_etcd_is_an_outage_of_change_only, a_start_without_etcd_says_so};
    crate::on_every_server!(a_dead_etcd_is_an_outage_of_change_only, a_start_without_etcd_says_so);
}

crate::on_real_servers!(a_frozen_etcd_is_noticed_and_survived, a_long_freeze_ends_in_a_good_session);

/// Changes fail fast and say why; reads of the image and prefetched ids go on.
async fn check_outage(broker: &Broker) {
    for _ in 0..3 {
        let begun = Instant::now();
        let refused = broker.metadata.create_topic(new_topic("during", 1)).await.unwrap_err();
        assert!(matches!(refused, MetadataError::Unreachable { .. }), "{refused:?}");
        assert!(refused.retriable());
        assert!(refused.to_string().contains("etcd is unreachable"), "{refused}");
        assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    }
    assert!(broker.metadata.image().topic("before").is_some());
    assert!(broker.metadata.try_next_producer_id().is_some(), "from the prefetched block");
}

async fn prepared(server: &Server, ttl: Duration) -> Broker {
    let broker = Broker::start_with(&server.endpoint(), 1, |options| options.session_ttl = ttl).await;
    broker.metadata.create_topic(new_topic("before", 1)).await.unwrap();
    broker.until("a prefetched block", |metadata| metadata.try_next_producer_id().is_some()).await;
    broker
}

async fn check_recovery(broker: &Broker, server: &Server) {
    broker
        .until("the end of the outage", |metadata| {
            let session = metadata.session();
            session.reachable && !session.fenced
        })
        .await;
    let created = async {
        while let Err(error) = broker.metadata.create_topic(new_topic("after", 1)).await {
            assert!(error.retriable(), "{error}");
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), created).await.expect("changes work again");
    let epoch = broker.metadata.session().broker_epoch;
    let live = server.client().await.get("/ketcd/test/brokers/live/1", None).await.unwrap();
    assert_eq!(live.kvs()[0].create_revision(), epoch.get(), "the session is the registered one");
    assert_eq!(broker.metadata.image().brokers[&BrokerId(1)].epoch, epoch);
    assert!(broker.metadata.counters().outage_ms > 0);
}

async fn a_dead_etcd_is_an_outage_of_change_only(server: &mut Server) {
    let broker = prepared(server, Duration::from_secs(9)).await;
    server.kill().await;
    check_outage(&broker).await;
    broker.until("the outage", |metadata| metadata.session().outage.is_some()).await;
    assert!(broker.metadata.session().why.is_some());
    server.restart().await;
    check_recovery(&broker, server).await;
}

async fn a_frozen_etcd_is_noticed_and_survived(server: &mut Server) {
    let broker = prepared(server, Duration::from_secs(9)).await;
    server.real().freeze();
    broker.until("the outage, without anybody asking", |metadata| !metadata.session().reachable).await;
    check_outage(&broker).await;
    server.real().thaw();
    check_recovery(&broker, server).await;
}

async fn a_long_freeze_ends_in_a_good_session(server: &mut Server) {
    let broker = prepared(server, Duration::from_secs(2)).await;
    server.real().freeze();
    check_outage(&broker).await;
    broker.until("fencing", Metadata::is_fenced).await;
    tokio::time::sleep(Duration::from_secs(3)).await;
    server.real().thaw();
    check_recovery(&broker, server).await;
}

async fn a_start_without_etcd_says_so(server: &mut Server) {
    server.kill().await;
    let state = tempfile::TempDir::new().unwrap();
    let mut options = crate::server::options(&server.endpoint(), Some(1), state.path());
    options.start_timeout = Duration::from_millis(700);
    let begun = Instant::now();
    let refused = Metadata::connect(options.clone()).await.err().unwrap();
    assert!(
        matches!(&refused, MetadataError::Unreachable { why, .. } if why.contains("refused")),
        "{refused}"
    );
    assert!(begun.elapsed() < Duration::from_secs(20), "it gives up at its own time");
    // With more patience the start succeeds when the server comes.
    options.start_timeout = Duration::from_secs(30);
    let starting = tokio::spawn(Metadata::connect(options));
    tokio::time::sleep(Duration::from_millis(300)).await;
    server.restart().await;
    let metadata = starting.await.unwrap().unwrap();
    assert!(!metadata.is_fenced());
}
