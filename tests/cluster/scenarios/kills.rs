//! kill -9 of a leader, of a follower, of the controller, of all at once.

use super::cluster;
use crate::cluster::{Options, PATIENCE};
use crate::faults::{self, Count};
use crate::load::{Load, TOPIC, Work};
use crate::turn;

#[test]
fn nothing_is_lost_when_leader_follower_and_controller_are_killed() {
    turn::alone(|| async {
        let Some(mut cluster) = cluster(Options::default()).await else { return };
        let load = Load::start(&cluster, Work::default()).await;
        let mut count = Count::default();
        let (leader, _) = faults::a_leader(&cluster).await;
        faults::kill(&mut cluster, &load, leader, &mut count).await;
        cluster.until_whole(TOPIC, PATIENCE).await;
        let (follower, _) = faults::a_follower(&cluster).await;
        faults::kill(&mut cluster, &load, follower, &mut count).await;
        cluster.until_whole(TOPIC, PATIENCE).await;
        let controller = cluster.controller().await;
        faults::kill(&mut cluster, &load, controller, &mut count).await;
        assert!(count.leader_changes >= count.kills, "INVALID: {count:?}");
        load.finish(&mut cluster).await;
    });
}

#[test]
fn nothing_is_lost_when_all_brokers_are_killed_at_once() {
    turn::alone(|| async {
        let Some(mut cluster) = cluster(Options::default()).await else { return };
        let load = Load::start(&cluster, Work::default()).await;
        for _ in 0..3 {
            let before = cluster.view(TOPIC).await;
            for id in cluster.ids() {
                cluster.kill(id);
            }
            for id in cluster.ids() {
                cluster.at(id).spawn();
            }
            // A process leads in an epoch of its own only: each partition needs a ballot (rule E3, N46).
            let later = |view: &crate::directory::View| {
                view.partitions
                    .iter()
                    .all(|(p, now)| now.leader >= 0 && now.epoch > before.partitions[p].epoch)
            };
            cluster.until(TOPIC, "every partition has a leader in a later epoch", PATIENCE, later).await;
        }
        load.progress(&load.window("after all were killed")).await;
        load.finish(&mut cluster).await;
    });
}

#[test]
fn two_killed_one_after_the_other_stop_acks_and_lose_nothing() {
    turn::alone(|| async {
        let Some(mut cluster) = cluster(Options::default()).await else { return };
        let load = Load::start(&cluster, Work { once: 6, ..Work::default() }).await;
        let (first, led) = faults::a_leader(&cluster).await;
        cluster.kill(first);
        faults::until_others_lead(&cluster, first, &led, &mut Count::default()).await;
        load.progress(&load.window("with two of three")).await;
        let (second, _) = faults::a_leader(&cluster).await;
        cluster.kill(second);
        // What was on its way is over; from here on one replica is left, below the minimum of two: rule L7.
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        let window = load.window("with one of three");
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
        assert_eq!(load.acked_in(&window).0, 0, "acks=all with one in-sync replica of at least two");
        cluster.restart(second);
        load.progress(&load.window("with two again")).await;
        cluster.restart(first);
        load.finish(&mut cluster).await;
    });
}
