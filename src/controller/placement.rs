//! Where the replicas of new partitions go: a pure function.
//!
//! As `StripedReplicaPlacer` of Apache Kafka: leaders go round the brokers, the followers of one partition go to other brokers, to
//! other racks first, and the start of the round is given by the caller so that topics of one partition do not all land on one
//! broker.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::BrokerId;

/// A broker that may take replicas.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// The broker.
    pub id: BrokerId,
    /// Its rack, if it has one.
    pub rack: Option<String>,
}

/// Why partitions cannot be placed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// No partitions asked for.
    #[error("number of partitions was {partitions}, it must be 1 or more")]
    InvalidPartitions {
        /// As asked.
        partitions: i32,
    },
    /// A replication factor below one.
    #[error(
        "replication factor was {replication_factor}, it must be 1 or more, or -1 for the broker's default"
    )]
    InvalidReplicationFactor {
        /// As asked.
        replication_factor: i32,
    },
    /// More replicas than brokers.
    #[error(
        "replication factor {replication_factor} is larger than the {brokers} broker(s) alive: ask for {brokers}, or for -1 to take \
         default.replication.factor"
    )]
    NotEnoughBrokers {
        /// As asked.
        replication_factor: i32,
        /// Brokers that may take replicas.
        brokers: usize,
    },
}

/// Places `partitions` partitions of `replication_factor` replicas each, the first leader at `start` in the round of brokers.
///
/// Returns one list of brokers per partition in preference order: the first is the preferred leader; no broker twice in a list.
///
/// # Errors
/// [`PlacementError`] when the numbers cannot be met.
pub fn place(
    candidates: &[Candidate],
    partitions: i32,
    replication_factor: i32,
    start: usize,
) -> Result<Vec<Vec<BrokerId>>, PlacementError> {
    let count = usize::try_from(partitions)
        .ok()
        .filter(|count| *count > 0)
        .ok_or(PlacementError::InvalidPartitions { partitions })?;
    let replicas = usize::try_from(replication_factor)
        .ok()
        .filter(|replicas| *replicas > 0)
        .ok_or(PlacementError::InvalidReplicationFactor { replication_factor })?;
    if replicas > candidates.len() {
        return Err(PlacementError::NotEnoughBrokers { replication_factor, brokers: candidates.len() });
    }
    let round = round_of_racks(candidates);
    Ok((0..count).map(|partition| place_one(&round, replicas, start + partition)).collect())
}

/// All candidates in one order in which neighbours are in different racks as far as the racks' sizes allow.
fn round_of_racks(candidates: &[Candidate]) -> Vec<&Candidate> {
    let mut racks: BTreeMap<Option<&str>, Vec<&Candidate>> = BTreeMap::new();
    for candidate in candidates {
        racks.entry(candidate.rack.as_deref()).or_default().push(candidate);
    }
    let longest = racks.values().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|turn| racks.values().filter_map(move |rack| rack.get(turn).copied())).collect()
}

/// One partition: its leader at `place` of the round, then brokers of racks not yet used, then any other.
fn place_one(round: &[&Candidate], replicas: usize, place: usize) -> Vec<BrokerId> {
    // Each time round, the followers shift by one, so that one broker's partitions do not all follow the same other broker.
    let shift = place.checked_div(round.len()).unwrap_or(0);
    let leader = round.iter().cycle().skip(place.checked_rem(round.len()).unwrap_or(0)).take(1);
    let mut others: Vec<&&Candidate> = round
        .iter()
        .cycle()
        .skip(place.checked_rem(round.len()).unwrap_or(0) + 1)
        .take(round.len().saturating_sub(1))
        .collect();
    let turns = shift.checked_rem(others.len()).unwrap_or(0);
    others.rotate_left(turns);
    let mut chosen: Vec<BrokerId> = Vec::with_capacity(replicas);
    let mut racks = BTreeSet::new();
    for candidate in leader {
        chosen.push(candidate.id);
        racks.insert(candidate.rack.as_deref());
    }
    for fresh_rack_only in [true, false] {
        for candidate in &others {
            let fresh = !racks.contains(&candidate.rack.as_deref());
            if chosen.len() < replicas && !chosen.contains(&candidate.id) && (fresh || !fresh_rack_only) {
                chosen.push(candidate.id);
                racks.insert(candidate.rack.as_deref());
            }
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brokers(racks: &[(i32, Option<&str>)]) -> Vec<Candidate> {
        racks
            .iter()
            .map(|(id, rack)| Candidate { id: BrokerId(*id), rack: rack.map(str::to_owned) })
            .collect()
    }

    #[test]
    fn leaders_go_round_and_no_partition_has_a_broker_twice() {
        let placed = place(&brokers(&[(0, None), (1, None), (2, None)]), 6, 2, 1).unwrap();
        let leaders: Vec<i32> = placed.iter().map(|replicas| replicas[0].get()).collect();
        assert_eq!(leaders, [1, 2, 0, 1, 2, 0]);
        for replicas in placed {
            assert_eq!(replicas.len(), 2);
            assert_ne!(replicas[0], replicas[1]);
        }
    }

    #[test]
    fn replicas_spread_over_racks() {
        let candidates = brokers(&[(0, Some("a")), (1, Some("a")), (2, Some("b")), (3, Some("b"))]);
        for start in 0..8 {
            for replicas in place(&candidates, 4, 2, start).unwrap() {
                let racks: BTreeSet<_> = replicas.iter().map(|id| id.get() / 2).collect();
                assert_eq!(racks.len(), 2, "{replicas:?} from {start}");
            }
        }
    }

    #[test]
    fn numbers_that_cannot_be_met_are_refused_with_a_cure() {
        let one = brokers(&[(0, None)]);
        assert_eq!(place(&one, 0, 1, 0), Err(PlacementError::InvalidPartitions { partitions: 0 }));
        assert_eq!(
            place(&one, 1, 0, 0),
            Err(PlacementError::InvalidReplicationFactor { replication_factor: 0 })
        );
        assert_eq!(
            place(&one, 1, 3, 0),
            Err(PlacementError::NotEnoughBrokers { replication_factor: 3, brokers: 1 })
        );
    }
}
