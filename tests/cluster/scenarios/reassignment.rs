//! Replicas move under load.

use std::time::{Duration, Instant};

use ketcd::protocol::error::ErrorCode;
use ketcd::protocol::peer::Peer;
use ketcd::protocol::peer::messages::alter_partition_reassignments_request::{
    ReassignablePartition, ReassignableTopic,
};
use ketcd::protocol::peer::messages::{AlterPartitionReassignmentsRequest, BrokerId, TopicName};

use super::cluster;
use crate::cluster::{Cluster, Options, PATIENCE};
use crate::directory::{code, text};
use crate::faults::{self, Count};
use crate::load::{Load, TOPIC, Work};
use crate::turn;

/// How long a small partition may take to move.
const MOVED_WITHIN: Duration = Duration::from_secs(60);

#[test]
fn replicas_move_under_load_and_a_kill_does_not_stop_them() {
    turn::alone(|| async {
        let Some(mut cluster) = cluster(Options { brokers: 4, ..Options::default() }).await else { return };
        let load = Load::start(&cluster, Work { partitions: 4, ..Work::default() }).await;
        let before = cluster.view(TOPIC).await;
        // Each partition moves from its leader to the broker that has no replica of it.
        let targets: Vec<(i32, Vec<i32>)> = before
            .partitions
            .iter()
            .map(|(&partition, known)| {
                let newcomer =
                    cluster.ids().into_iter().find(|id| !known.replicas.contains(id)).expect("four");
                let stay = known.replicas.iter().copied().filter(|&id| id != known.leader);
                (partition, stay.chain([newcomer]).collect())
            })
            .collect();
        let window = load.window("while replicas move");
        reassign(&cluster, &targets).await;
        let (victim, _) = faults::a_follower(&cluster).await;
        cluster.kill(victim);
        cluster.restart(victim);
        let there = |view: &crate::directory::View| {
            targets.iter().all(|(partition, wanted)| {
                let known = &view.partitions[partition];
                let sorted = |ids: &[i32]| {
                    let mut ids = ids.to_vec();
                    ids.sort_unstable();
                    ids
                };
                sorted(&known.replicas) == sorted(wanted) && sorted(&known.isr) == sorted(wanted)
            })
        };
        let (_, took) = cluster.until(TOPIC, "all replicas moved", MOVED_WITHIN, there).await;
        eprintln!("moved in {took:?}");
        load.progress(&window).await;
        // The logs that were left behind are gone.
        let begun = Instant::now();
        for (partition, wanted) in &targets {
            for id in cluster.ids().into_iter().filter(|id| !wanted.contains(id)) {
                let log = cluster.data_of(id).join(format!("{TOPIC}-{partition}"));
                while log.exists() {
                    assert!(begun.elapsed() < PATIENCE, "{} is still there", log.display());
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
        faults::kill(&mut cluster, &load, victim, &mut Count::default()).await;
        load.finish(&mut cluster).await;
    });
}

/// AlterPartitionReassignments at any broker.
async fn reassign(cluster: &Cluster, targets: &[(i32, Vec<i32>)]) {
    let partitions = targets.iter().map(|(partition, replicas)| {
        ReassignablePartition::default()
            .with_partition_index(*partition)
            .with_replicas(Some(replicas.iter().map(|&id| BrokerId(id)).collect()))
    });
    let topic =
        ReassignableTopic::default().with_name(TopicName(text(TOPIC))).with_partitions(partitions.collect());
    let request =
        AlterPartitionReassignmentsRequest::default().with_timeout_ms(30_000).with_topics(vec![topic]);
    let broker = cluster.nodes[&cluster.running()[0]].bootstrap();
    let mut peer = Peer::connect(&broker, "cluster-test", PATIENCE).await.unwrap();
    let answer = peer.call(&request).await.unwrap();
    assert_eq!(code(answer.error_code), ErrorCode::None, "{answer:?}");
    for partition in &answer.responses[0].partitions {
        assert_eq!(code(partition.error_code), ErrorCode::None, "{answer:?}");
    }
}
