//! The ends of a broker's life: what it says of it in its registration, and what others do when it is dead.

use std::time::Duration;

use ketcd::metadata::MetadataError;
use ketcd::metadata::image::{BrokerImage, ClusterImage, ReplicaEntry};
use ketcd::types::{BrokerEpoch, BrokerId};

use crate::proxy::Proxy;
use crate::server::{Broker, SOON, Server};

crate::on_every_server!(
    flags_are_seen_by_others_and_keep_the_lifetime,
    a_draining_broker_says_so_in_its_next_lifetime_too,
    flags_of_a_lost_registration_wait_for_the_next_one,
    the_session_of_a_dead_broker_is_ended_before_its_lease,
    a_wrong_judgement_costs_a_registration_and_nothing_else,
    a_session_that_is_over_is_not_ended_again,
    many_judges_end_a_session_once,
    no_lifetime_follows_the_last_one,
);

const ONE: BrokerId = BrokerId(1);

fn entry(broker: &Broker) -> ReplicaEntry {
    ReplicaEntry { id: broker.metadata.broker_id(), epoch: broker.metadata.session().broker_epoch }
}

fn live(image: &ClusterImage) -> Option<&BrokerImage> {
    image.brokers.get(&ONE).map(|live| &**live)
}

async fn flags_are_seen_by_others_and_keep_the_lifetime(server: &mut Server) {
    let watcher = Broker::start(&server.endpoint(), 2).await;
    let broker = Broker::start(&server.endpoint(), 1).await;
    let epoch = broker.metadata.session().broker_epoch;
    // A later version's field survives.
    let key = "/ketcd/test/brokers/live/1";
    let mut client = server.client().await;
    let stored = client.get(key, None).await.unwrap();
    let lease = stored.kvs()[0].lease();
    let mut value: serde_json::Value = serde_json::from_slice(stored.kvs()[0].value()).unwrap();
    value["later"] = 7.into();
    let leased = etcd_client::PutOptions::new().with_lease(lease);
    client.put(key, value.to_string(), Some(leased)).await.unwrap();

    for (draining, stopping) in [(true, false), (true, true), (false, false)] {
        let revision = broker.metadata.set_flags(draining, stopping).await.unwrap();
        // Read your writes.
        let image = broker.metadata.image();
        let mine = live(&image).unwrap();
        assert_eq!((mine.draining, mine.stopping, mine.epoch), (draining, stopping, epoch));
        assert_eq!(mine.mod_revision, revision);
        watcher
            .sees("the flags", |image| live(image).is_some_and(|live| live.mod_revision == revision))
            .await;
        // Said again, it writes nothing.
        assert_eq!(broker.metadata.set_flags(draining, stopping).await, Ok(revision));
    }
    let stored = client.get(key, None).await.unwrap();
    assert_eq!(stored.kvs()[0].lease(), lease, "still the lease that is renewed");
    let value: serde_json::Value = serde_json::from_slice(stored.kvs()[0].value()).unwrap();
    assert_eq!(value["later"], 7);
}

async fn a_draining_broker_says_so_in_its_next_lifetime_too(server: &mut Server) {
    let broker = Broker::start(&server.endpoint(), 1).await;
    broker.metadata.set_flags(true, false).await.unwrap();
    let old = broker.metadata.session();
    server.client().await.lease_revoke(old.lease).await.unwrap();
    broker.sees("a new lifetime", |image| live(image).is_some_and(|l| l.epoch > old.broker_epoch)).await;
    let image = broker.metadata.image();
    let again = live(&image).unwrap();
    assert_eq!((again.draining, again.mod_revision), (true, again.epoch.get()), "from its beginning");
}

async fn flags_of_a_lost_registration_wait_for_the_next_one(server: &mut Server) {
    let road = Proxy::to(server.port()).await;
    let broker =
        Broker::start_with(&road.endpoint(), 1, |options| options.session_ttl = Duration::from_secs(2)).await;
    let watcher = Broker::start(&server.endpoint(), 2).await;
    road.cut();
    broker.until("the outage", |metadata| !metadata.session().reachable).await;
    let refused = broker.metadata.set_flags(true, false).await;
    assert!(matches!(refused, Err(MetadataError::Unreachable { .. })), "{refused:?}");
    watcher.sees("its end", |image| live(image).is_none()).await;
    road.heal();
    watcher.sees("its flag", |image| live(image).is_some_and(|live| live.draining)).await;
}

async fn the_session_of_a_dead_broker_is_ended_before_its_lease(server: &mut Server) {
    let dead = Broker::start(&server.endpoint(), 1).await;
    dead.until("the controller's role", |metadata| metadata.session().is_controller()).await;
    let judge = Broker::start(&server.endpoint(), 2).await;
    let gone = entry(&dead);
    judge.sees("both", |image| image.lives(gone) && image.candidates.len() == 2).await;
    drop(dead);
    assert_eq!(judge.metadata.end_session_of(gone).await, Ok(true));
    // Read your writes: the registration and the candidacy are gone, the judge is the next controller.
    let image = judge.metadata.image();
    assert_eq!((live(&image), image.candidates.len()), (None, 1));
    judge.until("the controller's role", |metadata| metadata.session().is_controller()).await;
    // Its data is not thereby lost.
    assert_eq!(image.intact[&ONE], gone.epoch);
}

async fn a_wrong_judgement_costs_a_registration_and_nothing_else(server: &mut Server) {
    let broker = Broker::start(&server.endpoint(), 1).await;
    let judge = Broker::start(&server.endpoint(), 2).await;
    broker.metadata.create_topic(crate::server::new_topic("t", 1)).await.unwrap();
    let first = entry(&broker);
    judge.sees("it", |image| image.lives(first)).await;
    let intact = judge.metadata.image().intact[&ONE];
    let mut old = first.epoch;
    for _ in 0..3 {
        let wrongly = ReplicaEntry { id: ONE, epoch: old };
        assert_eq!(judge.metadata.end_session_of(wrongly).await, Ok(true));
        broker.sees("itself anew", |image| live(image).is_some_and(|live| live.epoch > old)).await;
        judge.sees("it anew", |image| live(image).is_some_and(|live| live.epoch > old)).await;
        old = live(&judge.metadata.image()).unwrap().epoch;
    }
    broker.until("a good session", |metadata| metadata.session().reachable && !metadata.is_fenced()).await;
    assert_eq!(broker.metadata.image().intact[&ONE], intact, "nothing was lost");
    broker
        .metadata
        .create_partitions(broker.metadata.image().topic("t").unwrap().id, 1, vec![vec![ONE]])
        .await
        .unwrap();
    // The leases of the lifetimes that were ended do not pile up.
    let leases = async {
        while server.client().await.leases().await.unwrap().leases().len() > 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(SOON, leases).await.expect("only the leases in use are left");
}

async fn a_session_that_is_over_is_not_ended_again(server: &mut Server) {
    let broker = Broker::start(&server.endpoint(), 1).await;
    let judge = Broker::start(&server.endpoint(), 2).await;
    let now = entry(&broker);
    let earlier = ReplicaEntry { id: ONE, epoch: BrokerEpoch(now.epoch.get() - 1) };
    assert_eq!(judge.metadata.end_session_of(earlier).await, Ok(false));
    let nobody = ReplicaEntry { id: BrokerId(9), epoch: BrokerEpoch(3) };
    assert_eq!(judge.metadata.end_session_of(nobody).await, Ok(false));
    assert!(judge.metadata.image().lives(now), "the lifetime that goes on is left alone");
    assert!(!broker.metadata.is_fenced());
}

async fn many_judges_end_a_session_once(server: &mut Server) {
    let dead = Broker::start(&server.endpoint(), 1).await;
    let gone = entry(&dead);
    let mut judges = Vec::new();
    for id in 2..6 {
        judges.push(Broker::start(&server.endpoint(), id).await);
    }
    drop(dead);
    let verdicts = judges.iter().map(|judge| judge.metadata.end_session_of(gone));
    let verdicts: Vec<bool> =
        futures_util::future::join_all(verdicts).await.into_iter().map(Result::unwrap).collect();
    assert_eq!(verdicts.iter().filter(|ended| **ended).count(), 1, "{verdicts:?}");
    for judge in &judges {
        assert_eq!(live(&judge.metadata.image()), None);
    }
}

async fn no_lifetime_follows_the_last_one(server: &mut Server) {
    let broker = Broker::start(&server.endpoint(), 1).await;
    let judge = Broker::start(&server.endpoint(), 2).await;
    broker.metadata.end_with_this_lifetime();
    assert!(!broker.metadata.is_fenced(), "the session goes on until it is ended");
    let last = entry(&broker);
    assert_eq!(judge.metadata.end_session_of(last).await, Ok(true));
    broker.until("fencing", ketcd::metadata::Metadata::is_fenced).await;
    tokio::time::timeout(SOON, broker.metadata.close()).await.expect("it closes at once");
    assert_eq!(live(&judge.metadata.image()), None);
    assert_eq!(broker.metadata.session().broker_epoch, last.epoch);
}
