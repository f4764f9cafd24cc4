//! One broker: the clients and the checker themselves.

use crate::cluster::{Cluster, Options};
use crate::load::{Load, Work};
use crate::{skip, turn};

#[test]
fn clients_of_both_families_are_content_with_one_broker_that_is_killed() {
    turn::alone(|| async {
        let options = Options { brokers: 1, settings: vec!["min.insync.replicas=1".to_owned()], ..Options::default() };
        let mut cluster = match Cluster::start(options).await {
            Ok(cluster) => cluster,
            Err(why) => return skip::skip(&why),
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
