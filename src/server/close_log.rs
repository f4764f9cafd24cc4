//! Lines about clients that misbehave: at most one a second for each peer address, however hard it tries (rule X13).

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// A peer may cause one line in this time.
const LINE_INTERVAL: Duration = Duration::from_secs(1);

/// Most peers that are remembered. When more of them misbehave within one second, the rest is only counted by the metrics.
const PEERS_MAX: usize = 1024;

#[derive(Debug, Clone, Copy)]
struct Peer {
    last_line: Duration,
    kept_back: u32,
}

/// Says which lines may be written.
#[derive(Debug, Default)]
pub(super) struct CloseLog {
    peers: Mutex<HashMap<IpAddr, Peer>>,
}

impl CloseLog {
    /// Whether a line about `peer` may be written now; if so, how many were kept back since the last one.
    pub(super) fn admit(&self, peer: SocketAddr, now: Duration) -> Option<u32> {
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = peers.get_mut(&peer.ip()) {
            if now.saturating_sub(known.last_line) < LINE_INTERVAL {
                known.kept_back = known.kept_back.saturating_add(1);
                return None;
            }
            let kept_back = known.kept_back;
            *known = Peer { last_line: now, kept_back: 0 };
            return Some(kept_back);
        }
        if peers.len() >= PEERS_MAX {
            peers.retain(|_, known| now.saturating_sub(known.last_line) < LINE_INTERVAL);
            if peers.len() >= PEERS_MAX {
                return None;
            }
        }
        peers.insert(peer.ip(), Peer { last_line: now, kept_back: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, last], 1))
    }

    #[test]
    fn a_peer_gets_one_line_a_second_and_the_next_one_counts_the_rest() {
        let log = CloseLog::default();
        let at = Duration::from_millis;
        assert_eq!(log.admit(peer(1), at(10_000)), Some(0));
        assert_eq!(log.admit(peer(1), at(10_500)), None);
        assert_eq!(log.admit(peer(1), at(10_999)), None);
        assert_eq!(log.admit(peer(2), at(10_999)), Some(0));
        assert_eq!(log.admit(peer(1), at(11_000)), Some(2));
    }

    #[test]
    fn the_memory_of_peers_is_bounded() {
        let log = CloseLog::default();
        for n in 0..5_000u32 {
            let ip = IpAddr::from(n.to_be_bytes());
            log.admit(SocketAddr::new(ip, 1), Duration::from_secs(1));
        }
        assert!(log.peers.lock().unwrap().len() <= PEERS_MAX);
        assert_eq!(log.admit(peer(1), Duration::from_secs(3)), Some(0));
    }
}
