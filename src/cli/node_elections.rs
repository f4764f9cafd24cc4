//! What the metrics tell of elections.

use crate::broker::Broker;
use crate::telemetry::metrics::Scrape;

/// Tells what this broker did about leaderships.
#[allow(clippy::cast_precision_loss, reason = "metrics are floating point numbers")]
pub fn tell(scrape: &mut Scrape<'_>, broker: &Broker) {
    let counts = broker.elections().counts();
    let grounds = [
        ("in-sync", counts.in_sync),
        ("eligible", counts.eligible),
        ("last-known-leader", counts.last_known_leader),
        ("unclean", counts.unclean),
    ];
    let labels = grounds.map(|(grounds, _)| [("grounds", grounds)]);
    let samples: Vec<(&[(&str, &str)], f64)> =
        labels.iter().zip(grounds).map(|(label, (_, count))| (label.as_slice(), count as f64)).collect();
    scrape.counters(
        "ketcd_replication_elections",
        "Ballots that this broker won, by what it may lead on (kafka.controller:type=ControllerStats,name=LeaderElectionRateAndTimeMs and UncleanLeaderElectionsPerSec)",
        &samples,
    );
    let counters = [
        ("ketcd_replication_elections_lost", "Ballots that others were faster with", counts.lost),
        ("ketcd_replication_hand_overs", "Leaderships that this broker handed over", counts.handed_over),
        (
            "ketcd_replication_sessions_ended",
            "Sessions of dead brokers that this broker ended before their leases",
            counts.sessions_ended,
        ),
    ];
    for (name, help, count) in counters {
        scrape.counter(name, help, count as f64);
    }
}
