//! One broker: the clients and the checker themselves.

use super::cluster;
use crate::cluster::Options;
use crate::load::{Load, Work};
use crate::turn;

#[test]
fn clients_of_both_families_are_content_with_one_broker_that_is_killed() {
    turn::alone(|| async {
        let settings = vec!["min.insync.replicas=1".to_owned()];
        let Some(mut cluster) = cluster(Options { brokers: 1, settings, ..Options::default() }).await else {
            return;
        };
        let load = Load::start(&cluster, Work { replicas: 1, partitions: 3, ..Work::default() }).await;
        for kill in 0..2 {
            cluster.kill(1);
            cluster.restart(1);
            load.progress(&load.window(&format!("after kill {kill}"))).await;
        }
        let report = load.finish(&mut cluster).await;
        assert!(report.acked_records > 1_000, "{report}");
    });
}
