//! Registration, lifetimes, ids, the end of leases.

use std::time::Duration;

use ketcd::metadata::{Metadata, MetadataError, MetadataOptions};
use ketcd::types::{BrokerEpoch, BrokerId};
use tempfile::TempDir;
use tokio::time::Instant;

use crate::proxy::Proxy;
use crate::server::{Broker, SOON, Server, options};

crate::on_every_server!(
    a_broker_registers_and_becomes_controller,
    a_graceful_stop_ends_the_session_at_once,
    a_fast_restart_ends_its_own_past_and_lives_anew,
    a_dead_holder_of_the_id_is_waited_for,
    a_living_holder_of_the_id_is_named,
    an_intact_broker_leaves_its_mark_alone,
    a_disk_that_missed_a_lifetime_is_not_intact,
    an_automatic_id_is_one_that_nobody_ever_used,
    a_revoked_lease_gives_a_new_lifetime,
    a_lease_that_ends_while_cut_off_gives_a_new_lifetime,
    a_short_cut_keeps_the_lifetime,
    the_next_candidate_follows_the_controller,
    automatic_ids_are_unique,
    a_dead_endpoint_is_passed_over,
);

const TTL: Duration = Duration::from_secs(2);
/// Leaves time to look between the broker's own deadline and the lease's end.
const CUT_TTL: Duration = Duration::from_secs(12);
/// Longer than any test waits: what comes before its end comes by another way.
const LONG_TTL: Duration = Duration::from_secs(90);

async fn a_broker_registers_and_becomes_controller(server: &mut Server) {
    let begun = Instant::now();
    let broker = Broker::start(&server.endpoint(), 1).await;
    eprintln!("registered and loaded in {:?}", begun.elapsed());
    let image = broker.metadata.image();
    let session = broker.metadata.session();
    let live = &image.brokers[&BrokerId(1)];
    assert_eq!(live.epoch, session.broker_epoch);
    assert_eq!(image.intact[&BrokerId(1)], session.broker_epoch, "a first start may have lost data");
    assert_eq!(image.cluster_id.len(), 22);
    assert!(session.reachable && !session.fenced && session.outage.is_none());
    assert!(session.remaining > Duration::from_secs(6));
    broker.sees("a controller", |image| image.controller.is_some()).await;
    broker.until("the controller's role", |metadata| metadata.session().is_controller()).await;
}

async fn a_graceful_stop_ends_the_session_at_once(server: &mut Server) {
    let watcher = Broker::start(&server.endpoint(), 2).await;
    let broker = Broker::start_with(&server.endpoint(), 1, |options| options.session_ttl = LONG_TTL).await;
    watcher.sees("broker 1", |image| image.brokers.contains_key(&BrokerId(1))).await;
    broker.metadata.close().await;
    watcher.sees("its end", |image| !image.brokers.contains_key(&BrokerId(1))).await;
    assert!(broker.metadata.is_fenced());
    let late = broker.metadata.delete_topic("ASNFZ4mrze_-3LqYdlQyEA".parse().unwrap()).await;
    assert_eq!(late, Err(MetadataError::Closed));
}

async fn a_fast_restart_ends_its_own_past_and_lives_anew(server: &mut Server) {
    let long = |options: &mut MetadataOptions| options.session_ttl = LONG_TTL;
    let Broker { metadata, state } = Broker::start_with(&server.endpoint(), 1, long).await;
    let first = metadata.session().broker_epoch;
    drop(metadata);
    let begun = Instant::now();
    let again = Metadata::connect(options(&server.endpoint(), Some(1), state.path())).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?} with a lease of {LONG_TTL:?}", begun.elapsed());
    assert!(again.session().broker_epoch > first);
}

async fn a_dead_holder_of_the_id_is_waited_for(server: &mut Server) {
    let dead = Broker::start_with(&server.endpoint(), 1, |options| options.session_ttl = TTL).await;
    let first = dead.metadata.session().broker_epoch;
    drop(dead);
    // Another machine: a copied disk carries the lease id too, but not the boot id (rule B7).
    let heir = Broker::start_with(&server.endpoint(), 1, |options| {
        options.registration.boot_id = "another".into();
    })
    .await;
    assert!(heir.metadata.session().broker_epoch > first);
}

async fn a_living_holder_of_the_id_is_named(server: &mut Server) {
    let holder = Broker::start_with(&server.endpoint(), 1, |options| options.session_ttl = TTL).await;
    let state = TempDir::new().unwrap();
    let mut other = options(&server.endpoint(), Some(1), state.path());
    other.registration.host = "elsewhere".into();
    let refused = Metadata::connect(other).await.err().unwrap();
    assert_eq!(refused, MetadataError::DuplicateNodeId { id: BrokerId(1), host: "host".into() });
    assert!(!holder.metadata.is_fenced());
}

async fn an_intact_broker_leaves_its_mark_alone(server: &mut Server) {
    let Broker { metadata, state } = Broker::start(&server.endpoint(), 1).await;
    let first = metadata.session().broker_epoch;
    let lifetime = metadata.image().brokers[&BrokerId(1)].incarnation;
    metadata.close().await;
    let mut intact = options(&server.endpoint(), Some(1), state.path());
    intact.registration.data_may_be_lost = false;
    intact.vouched = vec![lifetime];
    let again = Metadata::connect(intact).await.unwrap();
    let second = again.session().broker_epoch;
    assert!(second > first);
    assert_eq!(again.image().intact[&BrokerId(1)], first);
    // A failed write, then a lost session: now it is not intact any more.
    again.note_data_lost();
    server.client().await.lease_revoke(again.session().lease).await.unwrap();
    let third = new_lifetime(&again, second).await;
    let mut images = again.images();
    let marked = images.wait_for(|image| image.intact.get(&BrokerId(1)) == Some(&third));
    tokio::time::timeout(SOON, marked).await.expect("the mark moves").unwrap();
}

async fn a_disk_that_missed_a_lifetime_is_not_intact(server: &mut Server) {
    let Broker { metadata, state } = Broker::start(&server.endpoint(), 1).await;
    let lifetime = metadata.image().brokers[&BrokerId(1)].incarnation;
    metadata.close().await;
    // A snapshot of the disk is taken here; then the broker runs once more.
    let again = Broker::start(&server.endpoint(), 1).await;
    let second = again.metadata.session().broker_epoch;
    again.metadata.close().await;
    let mut restored = options(&server.endpoint(), Some(1), state.path());
    restored.registration.data_may_be_lost = false;
    restored.vouched = vec![lifetime];
    let metadata = Metadata::connect(restored).await.unwrap();
    let third = metadata.session().broker_epoch;
    assert!(third > second);
    assert_eq!(metadata.image().intact[&BrokerId(1)], third, "a clean marker that is stale (rule B2)");
    // The same process knows what it did: a lost session refutes nothing.
    server.client().await.lease_revoke(metadata.session().lease).await.unwrap();
    let fourth = new_lifetime(&metadata, third).await;
    metadata.wait_for(fourth.get(), SOON).await.unwrap();
    assert_eq!(metadata.image().intact[&BrokerId(1)], third);
}

async fn an_automatic_id_is_one_that_nobody_ever_used(server: &mut Server) {
    let named = Broker::start(&server.endpoint(), 1001).await;
    named.metadata.close().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let state = TempDir::new().unwrap();
        let unnamed = options(&server.endpoint(), None, state.path());
        ids.push(Metadata::choose_node_id(unnamed).await.unwrap().get());
    }
    assert!(ids[0] > 1001 && ids[1] > ids[0], "{ids:?}");
}

async fn new_lifetime(metadata: &Metadata, old: BrokerEpoch) -> BrokerEpoch {
    let mut registrations = metadata.registrations();
    let newer = registrations.wait_for(|epoch| *epoch > old);
    *tokio::time::timeout(SOON, newer).await.expect("a new registration").unwrap()
}

async fn a_revoked_lease_gives_a_new_lifetime(server: &mut Server) {
    // The watch tells, not the next renewal, which is a third of it away.
    let broker = Broker::start_with(&server.endpoint(), 1, |options| options.session_ttl = LONG_TTL).await;
    let old = broker.metadata.session();
    server.client().await.lease_revoke(old.lease).await.unwrap();
    let epoch = new_lifetime(&broker.metadata, old.broker_epoch).await;
    broker.sees("itself", |image| image.brokers.get(&BrokerId(1)).is_some_and(|b| b.epoch == epoch)).await;
    assert!(!broker.metadata.is_fenced());
    broker.until("the controller's role", |metadata| metadata.session().is_controller()).await;
}

async fn a_lease_that_ends_while_cut_off_gives_a_new_lifetime(server: &mut Server) {
    let road = Proxy::to(server.port()).await;
    let broker = Broker::start_with(&road.endpoint(), 1, |options| options.session_ttl = CUT_TTL).await;
    let watcher = Broker::start(&server.endpoint(), 2).await;
    watcher.sees("broker 1", |image| image.brokers.contains_key(&BrokerId(1))).await;
    let old = broker.metadata.session().broker_epoch;
    road.cut();
    broker.until("fencing", Metadata::is_fenced).await;
    let others = watcher.metadata.image();
    assert!(others.brokers.contains_key(&BrokerId(1)), "fenced before others may act");
    watcher.sees("its end", |image| !image.brokers.contains_key(&BrokerId(1))).await;
    assert!(broker.metadata.is_fenced());
    let session = broker.metadata.session();
    assert!(!session.reachable, "{session:?}");
    road.heal();
    let epoch = new_lifetime(&broker.metadata, old).await;
    broker.sees("itself", |image| image.brokers.get(&BrokerId(1)).is_some_and(|b| b.epoch == epoch)).await;
    broker.until("a good session", |metadata| metadata.session().reachable && !metadata.is_fenced()).await;
}

async fn a_short_cut_keeps_the_lifetime(server: &mut Server) {
    let road = Proxy::to(server.port()).await;
    let broker = Broker::start(&road.endpoint(), 1).await;
    let old = broker.metadata.session().broker_epoch;
    road.cut();
    broker.until("the outage", |metadata| !metadata.session().reachable).await;
    assert!(!broker.metadata.is_fenced(), "the lease still runs");
    road.heal();
    broker.until("the end of the outage", |metadata| metadata.session().reachable).await;
    assert_eq!(broker.metadata.session().broker_epoch, old);
    assert!(broker.metadata.counters().outage_ms > 0);
}

async fn the_next_candidate_follows_the_controller(server: &mut Server) {
    let first = Broker::start(&server.endpoint(), 1).await;
    first.until("the controller's role", |metadata| metadata.session().is_controller()).await;
    let second = Broker::start(&server.endpoint(), 2).await;
    second.sees("two candidates", |image| image.candidates.len() == 2).await;
    assert!(!second.metadata.session().is_controller());
    first.metadata.close().await;
    second.until("the controller's role", |metadata| metadata.session().is_controller()).await;
}

async fn automatic_ids_are_unique(server: &mut Server) {
    let starts = (0..12).map(|_| {
        let endpoint = server.endpoint();
        tokio::spawn(async move {
            let state = TempDir::new().unwrap();
            let metadata = Metadata::connect(options(&endpoint, None, state.path())).await.unwrap();
            metadata.broker_id().get()
        })
    });
    let mut ids = Vec::new();
    for start in starts.collect::<Vec<_>>() {
        ids.push(start.await.unwrap());
    }
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 12);
    assert_eq!(ids[0], 1001);
}

async fn a_dead_endpoint_is_passed_over(server: &mut Server) {
    // A port that was free a moment ago: nobody listens there.
    let dead = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap();
    let begun = Instant::now();
    let endpoints = vec![format!("http://{dead}"), server.endpoint()];
    let broker =
        Broker::start_with(&server.endpoint(), 1, |options| options.connection.endpoints = endpoints).await;
    assert!(begun.elapsed() < Duration::from_secs(15));
    broker.metadata.create_topic(crate::server::new_topic("t", 1)).await.unwrap();
}
