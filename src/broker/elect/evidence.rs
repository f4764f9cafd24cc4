//! Evidence of death: a process whose connections close *and* whose port refuses is dead, and need not be waited for until its lease
//! ends (`etcd.md`, "Faster than the lease").
//!
//! Every broker keeps one idle connection to each of the next [`WATCHED_MAX`] live brokers in the circle of ids, so that in a cluster
//! of any size each broker is watched by as many others, and nobody keeps more connections than that. A time-out is never evidence:
//! a host that is silent is waited for by its lease. A wrong judgement costs the deposed broker a new registration, nothing else.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::super::Broker;
use super::super::fetcher::address_of;
use crate::metadata::image::{ClusterImage, ReplicaEntry};
use crate::protocol::peer::{Peer, PeerError};
use crate::telemetry::replication as numbers;
use crate::types::BrokerId;

/// Most brokers that one broker watches.
const WATCHED_MAX: usize = 8;
/// How long a connection may take to be made.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// Time until a broker that could not be reached is tried again.
const RETRY: Duration = Duration::from_secs(1);
/// How often a port is knocked at after a connection closed: a dying process may close its connections before its port.
const KNOCKS: u32 = 20;
/// Time between two knocks.
const KNOCK_PAUSE: Duration = Duration::from_millis(5);
/// How often, and with what pause, etcd is asked to end the session of a dead broker.
const END_TRIES: u32 = 20;
const END_PAUSE: Duration = Duration::from_millis(250);
/// How the connections name themselves.
const CLIENT_ID: &str = "ketcd-evidence";

/// One lifetime that is watched.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Watched {
    entry: ReplicaEntry,
    address: String,
}

/// Watches other brokers until `stop`.
pub async fn run(broker: Arc<Broker>, stop: CancellationToken) {
    let mut images = broker.metadata().images();
    let mut watches: BTreeMap<Watched, Watch> = BTreeMap::new();
    loop {
        let image = Arc::clone(&images.borrow_and_update());
        let wanted = neighbours(&image, broker.id(), broker.inter_broker_listener());
        watches.retain(|watched, _| wanted.contains(watched));
        for watched in wanted {
            watches
                .entry(watched)
                .or_insert_with_key(|watched| Watch::begin(Arc::clone(&broker), watched.clone()));
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = images.changed() => {
                if changed.is_err() {
                    return;
                }
            }
        }
    }
}

/// Ends with its value.
struct Watch(JoinHandle<()>);

impl Watch {
    fn begin(broker: Arc<Broker>, watched: Watched) -> Self {
        Self(tokio::spawn(async move { watch(broker, watched).await }))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The brokers that `me` watches: the next ones in the circle of live ids.
fn neighbours(image: &ClusterImage, me: BrokerId, listener: Option<&str>) -> Vec<Watched> {
    let after = image.brokers.range(me..).map(|(_, broker)| broker);
    let before = image.brokers.range(..me).map(|(_, broker)| broker);
    let others = after.chain(before).filter(|broker| broker.id != me);
    others
        .take(WATCHED_MAX)
        .filter_map(|broker| {
            let entry = ReplicaEntry { id: broker.id, epoch: broker.epoch };
            Some(Watched { entry, address: address_of(broker, listener)? })
        })
        .collect()
}

/// What became of a broker whose connection was closed.
#[derive(Debug)]
enum After {
    /// It is there.
    Alive(Peer),
    /// Its port refuses: its process is dead.
    Refused,
    /// Nothing is known.
    Silent,
}

/// Watches one lifetime, for as long as it stands in the image.
async fn watch(broker: Arc<Broker>, watched: Watched) {
    let mut connected = None;
    loop {
        let peer = match connected.take() {
            Some(peer) => Ok(peer),
            None => Peer::connect(&watched.address, CLIENT_ID, CONNECT_TIMEOUT).await,
        };
        if let Ok(mut peer) = peer
            && let PeerError::Closed { .. } = peer.closed().await
        {
            drop(peer);
            match knock(&watched.address).await {
                After::Alive(peer) => {
                    connected = Some(peer);
                    continue;
                }
                // In a task of its own: this one ends when the image shows what came of it.
                After::Refused => {
                    let judged = tokio::spawn(judge(Arc::clone(&broker), watched.clone()));
                    let _ = judged.await;
                }
                After::Silent => {}
            }
        }
        // A refusal without an established connection before it says nothing: it may be another's port, or not open yet.
        tokio::time::sleep(RETRY).await;
    }
}

/// Tries to connect again to a broker whose connection was closed.
async fn knock(address: &str) -> After {
    for _ in 0..KNOCKS {
        match Peer::connect(address, CLIENT_ID, CONNECT_TIMEOUT).await {
            Ok(peer) => return After::Alive(peer),
            Err(PeerError::Refused { .. }) => return After::Refused,
            // Taken by a port that is about to close, or by a server that has no room.
            Err(PeerError::Closed { .. }) => tokio::time::sleep(KNOCK_PAUSE).await,
            Err(_) => return After::Silent,
        }
    }
    After::Silent
}

/// Ends the session of a dead broker, if that is not known already, or its own business.
async fn judge(broker: Arc<Broker>, watched: Watched) {
    let entry = watched.entry;
    for _ in 0..END_TRIES {
        let image = broker.image();
        // Who stops in order has handed over what it led, and ends its session itself when its logs are closed.
        let stops = image.brokers.get(&entry.id).is_none_or(|live| live.stopping);
        if stops || !image.lives(entry) || broker.elections().is_leaving() {
            return;
        }
        if !broker.metadata().is_fenced() {
            match broker.metadata().end_session_of(entry).await {
                Ok(true) => {
                    numbers::session_ended();
                    warn!(
                        dead = %entry.id, broker_epoch = %entry.epoch, address = watched.address,
                        "broker is dead: its connection closed and its port refuses; its session is ended"
                    );
                    return;
                }
                Ok(false) => return,
                Err(error) => debug!(%error, dead = %entry.id, "session of a dead broker is not ended"),
            }
        }
        tokio::time::sleep(END_PAUSE).await;
    }
}

impl Broker {
    /// `inter.broker.listener.name`.
    fn inter_broker_listener(&self) -> Option<&str> {
        self.broker_config().replication.inter_broker_listener.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::image::{BrokerImage, Endpoint};
    use crate::types::BrokerEpoch;

    fn broker(id: i32, endpoints: &[(&str, &str, u16)]) -> Arc<BrokerImage> {
        let endpoint = |(listener, host, port): &(&str, &str, u16)| Endpoint {
            listener: (*listener).into(),
            host: (*host).into(),
            port: *port,
            security_protocol: "PLAINTEXT".into(),
        };
        Arc::new(BrokerImage {
            endpoints: endpoints.iter().map(endpoint).collect(),
            ..BrokerImage::of(BrokerId(id), BrokerEpoch(1))
        })
    }

    #[test]
    fn every_broker_is_watched_by_as_many_others_as_it_watches() {
        let mut image = ClusterImage::default();
        for id in 0..30 {
            image.brokers.insert(BrokerId(id * 7), broker(id * 7, &[("PLAINTEXT", "h", 1)]));
        }
        let mut watched: BTreeMap<BrokerId, usize> = BTreeMap::new();
        for id in image.brokers.keys() {
            let chosen = neighbours(&image, *id, None);
            assert_eq!(chosen.len(), WATCHED_MAX);
            for other in chosen {
                assert_ne!(other.entry.id, *id);
                *watched.entry(other.entry.id).or_default() += 1;
            }
        }
        assert!(watched.len() == 30 && watched.values().all(|by| *by == WATCHED_MAX), "{watched:?}");
        // In a small cluster everybody watches everybody.
        image.brokers.retain(|id, _| id.get() < 21);
        assert_eq!(neighbours(&image, BrokerId(7), None).len(), 2);
        image.brokers.retain(|id, _| id.get() < 7);
        assert_eq!(neighbours(&image, BrokerId(0), None), []);
    }

    #[test]
    fn the_listener_among_brokers_is_asked_and_where_none_is_named_the_first_one() {
        let both = broker(1, &[("PUBLIC", "a.example", 9092), ("REPLICATION", "::1", 9093)]);
        assert_eq!(address_of(&both, Some("replication")).as_deref(), Some("[::1]:9093"));
        assert_eq!(address_of(&both, Some("OTHER")), None, "the lease tells of it");
        assert_eq!(address_of(&both, None).as_deref(), Some("a.example:9092"));
        assert_eq!(address_of(&broker(1, &[]), None), None);
    }

    /// Watching one port that answers as `server` says: a sequence of listening, closing, refusing.
    #[tokio::test]
    async fn a_port_that_refuses_after_a_close_is_told_from_one_that_answers() {
        // Nobody listens: refused at once.
        let free = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let address = free.local_addr().unwrap().to_string();
        drop(free);
        assert!(matches!(knock(&address).await, After::Refused));
        // A port that takes connections and closes them is neither dead nor alive.
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let closing = tokio::spawn(async move {
            loop {
                drop(listener.accept().await);
            }
        });
        assert!(matches!(knock(&address).await, After::Silent));
        closing.abort();
    }

    #[tokio::test]
    async fn a_port_that_closes_its_connections_before_itself_is_known_to_be_dead() {
        let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let dying = tokio::spawn(async move {
            for _ in 0..3 {
                drop(listener.accept().await);
            }
        });
        assert!(matches!(knock(&address).await, After::Refused));
        dying.await.unwrap();
    }
}
