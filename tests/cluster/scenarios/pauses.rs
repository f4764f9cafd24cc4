//! SIGSTOP, shorter and longer than the lease.

use super::cluster;
use crate::cluster::{Options, PATIENCE};
use crate::faults::{self, Count};
use crate::load::{Load, TOPIC, Work};
use crate::turn;

#[test]
fn a_pause_shorter_than_the_lease_moves_no_leader() {
    turn::alone(|| async {
        let Some(mut cluster) = cluster(Options::default()).await else { return };
        let load = Load::start(&cluster, Work { clients: 100, ..Work::default() }).await;
        let (leader, led) = faults::a_leader(&cluster).await;
        let before = cluster.view(TOPIC).await;
        faults::pause(&mut cluster, &load, leader, false, &mut Count::default()).await;
        let after = cluster.view(TOPIC).await;
        for partition in led {
            let (before, after) = (&before.partitions[&partition], &after.partitions[&partition]);
            assert_eq!(
                (before.leader, before.epoch),
                (after.leader, after.epoch),
                "of partition {partition}"
            );
        }
        load.finish(&mut cluster).await;
    });
}

#[test]
fn a_pause_longer_than_the_lease_moves_leaders_and_the_old_one_does_no_harm() {
    turn::alone(|| async {
        let Some(mut cluster) = cluster(Options::default()).await else { return };
        let load = Load::start(&cluster, Work::default()).await;
        let mut count = Count::default();
        let (leader, _) = faults::a_leader(&cluster).await;
        faults::pause(&mut cluster, &load, leader, true, &mut count).await;
        cluster.until_whole(TOPIC, PATIENCE).await;
        let controller = cluster.controller().await;
        faults::pause(&mut cluster, &load, controller, true, &mut count).await;
        assert!(count.leader_changes >= 1, "INVALID: {count:?}");
        load.finish(&mut cluster).await;
    });
}
