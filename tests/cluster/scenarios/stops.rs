//! SIGTERM: one broker, then one after the other, under load; clients notice nothing.

use super::cluster;
use crate::cluster::{Options, PATIENCE};
use crate::faults::{self, Count};
use crate::load::{Load, TOPIC, Work};
use crate::turn;

#[test]
fn a_rolling_restart_is_not_seen_by_clients() {
    turn::alone(|| async {
        let Some(mut cluster) = cluster(Options::default()).await else { return };
        let load = Load::start(&cluster, Work::default()).await;
        let mut count = Count::default();
        for id in cluster.ids() {
            faults::stop(&mut cluster, &load, id, &mut count).await;
            cluster.until_whole(TOPIC, PATIENCE).await;
        }
        assert!(count.leader_changes >= count.stops - 1, "INVALID: {count:?}");
        // No record lost or twice, and no error with default retries: that is a violation to the checker.
        load.finish(&mut cluster).await;
    });
}
