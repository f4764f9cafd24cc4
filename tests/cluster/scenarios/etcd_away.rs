//! etcd loses its leader, or is away altogether: an outage of change, not of service.

use std::time::Duration;

use super::cluster;
use crate::cluster::Options;
use crate::faults::{self, Count, Loss};
use crate::load::{Load, TOPIC, Work};
use crate::turn;

/// Longer than the lease of a session twice over.
const OUTAGE: Duration = Duration::from_secs(10);

#[test]
fn another_leader_of_etcd_is_not_noticed() {
    turn::alone(|| async {
        let Some(mut cluster) = cluster(Options { etcds: 3, ..Options::default() }).await else { return };
        let load = Load::start(&cluster, Work::default()).await;
        let before = cluster.view(TOPIC).await;
        for loss in [Loss::Killed, Loss::Frozen] {
            faults::etcd_leader_lost(&mut cluster, &load, loss).await;
        }
        let after = cluster.view(TOPIC).await;
        for (partition, now) in &after.partitions {
            assert_eq!(now.epoch, before.partitions[partition].epoch, "leader epoch of {partition}");
        }
        load.finish(&mut cluster).await;
    });
}

#[test]
fn acks_go_on_while_etcd_is_away() {
    turn::alone(|| async {
        let Some(mut cluster) = cluster(Options::default()).await else { return };
        let load = Load::start(&cluster, Work::default()).await;
        let mut count = Count::default();
        faults::etcd_outage(&mut cluster, &load, Loss::Killed, OUTAGE, &mut count).await;
        faults::etcd_outage(&mut cluster, &load, Loss::Frozen, OUTAGE, &mut count).await;
        load.finish(&mut cluster).await;
    });
}
