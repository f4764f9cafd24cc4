//! Fetchers against leaders over real sockets, with real logs on both sides.

mod leader;
mod replica;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use self::leader::{Fault, Leader};
use self::replica::*;
use super::Fetchers;
use crate::config::{ReplicationConfig, TopicConfig};
use crate::log::{AppendOptions, ReadOptions, Step};
use crate::protocol::error::ErrorCode;
use crate::replication::leader::Rules;
use crate::replication::{Acks, Applied};
use crate::types::{BrokerId, LeaderEpoch};

const DEADLINE: Duration = Duration::from_secs(60);

async fn eventually(what: &str, mut is: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
}

async fn equal(leader: &Replica, follower: &Replica, index: usize) {
    let (a, b) = (leader.partitions[index].log(), follower.partitions[index].log());
    eventually("the follower has what the leader has", || a.log_end_offset() == b.log_end_offset()).await;
    assert_eq!(leader.bytes(index), follower.bytes(index));
    assert_eq!(a.latest_epoch(), b.latest_epoch());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_gets_every_byte_and_the_high_watermark() {
    let config = topic_config();
    let (first, follower) = (Replica::new(0, 3, &config), Replica::new(ME, 3, &config));
    let served = Leader::new(first.partitions.clone());
    let socket = served.serve().await;
    let (state, image) = (record(0, 4, &[0, ME]), image(&[(0, &socket.address)]));
    first.take(&image, &state);
    let fetchers = Fetchers::new(BrokerId(ME), keys());
    follow(&fetchers, &follower, &image, &state);
    for round in 0..20 {
        for partition in &first.partitions {
            lead(partition, 4, &[&format!("{round}"), "more"]);
        }
    }
    for index in 0..3 {
        equal(&first, &follower, index).await;
    }
    // All in-sync replicas have it, so the leader knows it as committed; with the next answer the follower does.
    eventually("the leader's high watermark", || first.partitions[0].log().high_watermark() == at(40)).await;
    lead(&first.partitions[0], 4, &["one more"]);
    eventually("the follower's high watermark", || follower.partitions[0].log().high_watermark() >= at(40))
        .await;
    assert_eq!(*served.senders.lock().unwrap(), [(ME, 101)].into(), "every fetch says whose lifetime it is");
    assert_eq!(served.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_that_parted_over_several_epochs_are_made_equal_in_several_rounds() {
    let config = topic_config();
    let (first, follower) = (Replica::new(0, 2, &config), Replica::new(ME, 2, &config));
    // KIP-279: each has epochs that the other never saw.
    fill(&first.partitions[0], &[(1, 0), (3, 8), (6, 12)], 15);
    fill(&follower.partitions[0], &[(1, 0), (2, 5), (4, 9), (5, 11)], 14);
    // An epoch that was begun and got no record.
    fill(&first.partitions[1], &[(1, 0)], 5);
    fill(&follower.partitions[1], &[(1, 0)], 5);
    follower.partitions[1].log().begin_epoch(LeaderEpoch(6));
    let served = Leader::new(first.partitions.clone());
    let socket = served.serve().await;
    let (state, image) = (record(0, 7, &[0]), image(&[(0, &socket.address)]));
    first.take(&image, &state);
    lead(&first.partitions[0], 7, &["new"]);
    lead(&first.partitions[1], 7, &["new"]);
    let fetchers = Fetchers::new(BrokerId(ME), keys());
    follow(&fetchers, &follower, &image, &state);
    equal(&first, &follower, 0).await;
    equal(&first, &follower, 1).await;
    let asked = served.asked.lock().unwrap().clone();
    let mut positions: Vec<_> = asked.iter().filter(|it| it.0 == 0).map(|it| (it.1, it.2)).collect();
    // A request for the other partition's sake asks for this one as before.
    positions.dedup();
    assert_eq!(positions[..3], [(14, 5), (9, 2), (5, 1)], "cut by epoch, and asked again");
    assert!(served.divergences.load(Ordering::SeqCst) >= 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_in_sync_replica_is_stopped_before_it_cuts_what_was_committed() {
    let config = topic_config();
    for (in_sync, stops) in [(&[0, ME][..], true), (&[0][..], false)] {
        let (first, follower) = (Replica::new(0, 2, &config), Replica::new(ME, 2, &config));
        fill(&first.partitions[0], &[(1, 0)], 5);
        fill(&follower.partitions[0], &[(1, 0), (2, 5)], 9);
        follower.partitions[0].log().update_high_watermark(at(8));
        let served = Leader::new(first.partitions.clone());
        let socket = served.serve().await;
        let (state, image) = (record(0, 3, in_sync), image(&[(0, &socket.address)]));
        first.take(&image, &state);
        let fetchers = Fetchers::new(BrokerId(ME), keys());
        follow(&fetchers, &follower, &image, &state);
        lead(&first.partitions[1], 3, &["others go on"]);
        equal(&first, &follower, 1).await;
        if stops {
            eventually("the replica is stopped", || fetchers.shared.is_stopped((topic(), 0))).await;
            assert_eq!(follower.partitions[0].log().log_end_offset(), at(9), "nothing is cut");
            // Also under the next leader.
            let state = record(0, 4, in_sync);
            first.take(&image, &state);
            let asked = served.asked.lock().unwrap().len();
            follow(&fetchers, &follower, &image, &state);
            lead(&first.partitions[1], 4, &["and on"]);
            equal(&first, &follower, 1).await;
            assert!(served.asked.lock().unwrap()[asked..].iter().all(|it| it.0 == 1));
        } else {
            lead(&first.partitions[0], 3, &["goes on"]);
            equal(&first, &follower, 0).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_in_trouble_holds_up_no_other() {
    let config = topic_config();
    let faults = [
        Fault::Corrupt,
        Fault::Error(ErrorCode::KafkaStorageError),
        Fault::Error(ErrorCode::UnknownLeaderEpoch),
        Fault::Error(ErrorCode::NotLeaderOrFollower),
        Fault::Error(ErrorCode::OffsetOutOfRange),
    ];
    for fault in faults {
        let (first, follower) = (Replica::new(0, 2, &config), Replica::new(ME, 2, &config));
        let served = Leader::new(first.partitions.clone());
        served.faults.lock().unwrap().insert(0, fault);
        let socket = served.serve().await;
        let (state, image) = (record(0, 1, &[0, ME]), image(&[(0, &socket.address)]));
        first.take(&image, &state);
        let fetchers = Fetchers::new(BrokerId(ME), keys());
        follow(&fetchers, &follower, &image, &state);
        lead(&first.partitions[0], 1, &["poisoned"]);
        for round in 0..10 {
            lead(&first.partitions[1], 1, &[&format!("{round}")]);
            equal(&first, &follower, 1).await;
        }
        assert_eq!(follower.partitions[0].log().log_end_offset(), at(0), "{fault:?}");
        served.faults.lock().unwrap().clear();
        equal(&first, &follower, 0).await;
        // It is tried again, and again, but not as fast as it goes.
        let asked = served.asked.lock().unwrap().iter().filter(|it| it.0 == 0).count();
        assert!((2..2000).contains(&asked), "{fault:?}: {asked}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_next_leader_is_followed_at_once_and_the_last_one_not_listened_to() {
    let config = topic_config();
    let (first, second) = (Replica::new(0, 2, &config), Replica::new(2, 2, &config));
    let follower = Replica::new(ME, 2, &config);
    let (served, served_next) =
        (Leader::new(first.partitions.clone()), Leader::new(second.partitions.clone()));
    let (socket, socket_next) = (served.serve().await, served_next.serve().await);
    let image = image(&[(0, &socket.address), (2, &socket_next.address)]);
    let fetchers = Fetchers::new(BrokerId(ME), keys());
    for turn in 0..10 {
        let (id, leader, other) = if turn % 2 == 0 { (0, &first, &second) } else { (2, &second, &first) };
        let state = record(id, turn + 1, &[id, ME]);
        // What the follower has, the next leader has.
        for (from, to) in follower.partitions.iter().zip(&leader.partitions) {
            let end = to.log().log_end_offset();
            if from.log().log_end_offset() > end {
                let options = ReadOptions {
                    max_bytes: 1 << 20,
                    min_one_batch: true,
                    end: from.log().log_end_offset(),
                    cursor: None,
                };
                let records = from.log().read(end, options).wait_blocking().unwrap().chunks.concat();
                let epoch = LeaderEpoch(turn + 1);
                to.log().append_as_follower(records.into(), epoch).wait_blocking().unwrap();
            }
        }
        other.take(&image, &state);
        leader.take(&image, &state);
        follow(&fetchers, &follower, &image, &state);
        for value in ["a", "b", "c"] {
            for partition in &leader.partitions {
                lead(partition, turn + 1, &[value]);
            }
        }
        for index in 0..2 {
            equal(leader, &follower, index).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_lost_is_made_again_also_elsewhere() {
    let config = topic_config();
    let (first, follower) = (Replica::new(0, 1, &config), Replica::new(ME, 1, &config));
    let served = Leader::new(first.partitions.clone());
    let mut socket = served.serve().await;
    let state = record(0, 1, &[0, ME]);
    let mut known = image(&[(0, &socket.address)]);
    first.take(&known, &state);
    let fetchers = Fetchers::new(BrokerId(ME), keys());
    follow(&fetchers, &follower, &known, &state);
    for round in 0..5 {
        lead(&first.partitions[0], 1, &[&format!("{round}")]);
        equal(&first, &follower, 0).await;
        drop(socket);
        lead(&first.partitions[0], 1, &["while nobody listens"]);
        socket = served.serve().await;
        known = image(&[(0, &socket.address)]);
        follow(&fetchers, &follower, &known, &state);
        equal(&first, &follower, 0).await;
    }
    assert!(served.connections.load(Ordering::SeqCst) >= 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_partition_that_comes_does_not_wait_for_the_long_poll_of_others() {
    let config = topic_config();
    let (first, follower) = (Replica::new(0, 2, &config), Replica::new(ME, 2, &config));
    let served = Leader::new(first.partitions.clone());
    let socket = served.serve().await;
    let (state, image) = (record(0, 1, &[0, ME]), image(&[(0, &socket.address)]));
    first.take(&image, &state);
    follower.take(&image, &state);
    let fetchers = Fetchers::new(BrokerId(ME), keys());
    fetchers.set_brokers(&image, follower.me);
    fetchers.look(&follower.partitions[0], &state);
    lead(&first.partitions[1], 1, &["not asked for yet"]);
    lead(&first.partitions[0], 1, &["first"]);
    equal(&first, &follower, 0).await;
    // Nothing will come for the first partition for two minutes.
    let asked = |index: i32, offset: i64| {
        served.asked.lock().unwrap().iter().any(|it| (it.0, it.1) == (index, offset))
    };
    eventually("the long poll", || asked(0, 1)).await;
    let begun = Instant::now();
    fetchers.look(&follower.partitions[1], &state);
    equal(&first, &follower, 1).await;
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    lead(&first.partitions[0], 1, &["the session goes on"]);
    equal(&first, &follower, 0).await;
    assert_eq!(served.connections.load(Ordering::SeqCst), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_idle_leader_is_asked_more_and_more_seldom_and_at_once_when_there_is_something() {
    let config = topic_config();
    let (first, follower) = (Replica::new(0, 1, &config), Replica::new(ME, 1, &config));
    let served = Leader::new(first.partitions.clone());
    let socket = served.serve().await;
    let (state, image) = (record(0, 1, &[0, ME]), image(&[(0, &socket.address)]));
    first.take(&image, &state);
    let fetchers = Fetchers::new(BrokerId(ME), ReplicationConfig { fetch_wait_max_ms: 1, ..keys() });
    follow(&fetchers, &follower, &image, &state);
    let waits = || served.waits.lock().unwrap().clone();
    eventually("it is quiet", || waits().contains(&256)).await;
    assert_eq!(waits()[0], 0, "the session is opened at once: partitions that come can be named in it");
    assert!(waits().iter().all(|wait| *wait <= 5_000), "a part of the lag allowed: {:?}", waits());
    let before = waits().len();
    lead(&first.partitions[0], 1, &["something"]);
    equal(&first, &follower, 0).await;
    eventually("it is asked often again", || waits()[before..].contains(&1)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_was_away_for_too_long_begins_anew_where_the_leader_does() {
    let config = topic_config();
    let (first, follower) = (Replica::new(0, 1, &config), Replica::new(ME, 1, &config));
    fill(&follower.partitions[0], &[(1, 0)], 3);
    let served = Leader::new(first.partitions.clone());
    let socket = served.serve().await;
    let (state, image) = (record(0, 1, &[0]), image(&[(0, &socket.address)]));
    fill(&first.partitions[0], &[(1, 0)], 8);
    first.take(&image, &state);
    lead(&first.partitions[0], 1, &["a", "b", "c", "d"]);
    let log = first.partitions[0].log();
    eventually("committed", || log.high_watermark() == at(12)).await;
    // Up to the middle of the last batch.
    log.delete_records_before(at(10)).wait_blocking().unwrap();
    let fetchers = Fetchers::new(BrokerId(ME), keys());
    follow(&fetchers, &follower, &image, &state);
    let mine = follower.partitions[0].log();
    eventually("the follower has the rest", || mine.log_end_offset() == at(12)).await;
    assert_eq!(mine.log_start_offset(), at(10));
    lead(&first.partitions[0], 1, &["e"]);
    eventually("and goes on", || mine.log_end_offset() == at(13)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_flush_ack_the_leader_hears_only_of_what_is_synced() {
    let config = TopicConfig { flush_ack: true, ..topic_config() };
    let (first, follower) = (Replica::new(0, 1, &config), Replica::new(ME, 1, &config));
    // Not synced before it follows, as after a change of the topic's configuration.
    let lazy = TopicConfig { flush_ack: false, ..config.clone() };
    for replica in [&first, &follower] {
        replica.partitions[0].log().update_config(Arc::new(lazy.clone()));
        fill(&replica.partitions[0], &[(1, 0)], 3);
        replica.partitions[0].log().update_config(Arc::new(config.clone()));
    }
    let served = Leader::new(first.partitions.clone());
    let log = Arc::clone(follower.partitions[0].log());
    *served.look.lock().unwrap() = Some(Box::new(move |_, offset| {
        assert!(log.recovery_point() >= at(offset), "{offset} is told before it is synced");
    }));
    let socket = served.serve().await;
    let (state, image) = (record(0, 1, &[0, ME]), image(&[(0, &socket.address)]));
    first.take(&image, &state);
    let fetchers = Fetchers::new(BrokerId(ME), keys());
    follow(&fetchers, &follower, &image, &state);
    for round in 0..10 {
        lead(&first.partitions[0], 1, &[&format!("{round}")]);
        equal(&first, &follower, 0).await;
    }
    eventually("the end is told", || served.asked.lock().unwrap().iter().any(|it| it.1 == 13)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fetchers_that_are_stopped_ask_no_more() {
    let config = topic_config();
    let (first, follower) = (Replica::new(0, 1, &config), Replica::new(ME, 1, &config));
    let served = Leader::new(first.partitions.clone());
    let socket = served.serve().await;
    let (state, image) = (record(0, 1, &[0, ME]), image(&[(0, &socket.address)]));
    first.take(&image, &state);
    let fetchers = Fetchers::new(BrokerId(ME), keys());
    follow(&fetchers, &follower, &image, &state);
    lead(&first.partitions[0], 1, &["a"]);
    equal(&first, &follower, 0).await;
    fetchers.stop();
    follow(&fetchers, &follower, &image, &record(0, 1, &[0]));
    lead(&first.partitions[0], 1, &["b"]);
    assert_eq!(follower.partitions[0].log().log_end_offset(), at(1));
    assert!(fetchers.state().runtime.is_none());
}

#[test]
fn with_flush_ack_the_next_epoch_begins_with_what_is_synced() {
    let lazy = topic_config();
    let leader = Replica::new(0, 1, &lazy);
    leader.take(&image(&[]), &record(0, 1, &[0, ME]));
    lead(&leader.partitions[0], 1, &["a"]);
    let log = leader.partitions[0].log();
    log.update_config(Arc::new(TopicConfig { flush_ack: true, ..lazy }));
    assert!(log.counting_end() < log.log_end_offset(), "not synced yet");
    // Elected once more: nothing of another leader is under way, only its own bytes.
    leader.take(&image(&[]), &record(0, 2, &[0, ME]));
    assert_eq!(log.counting_end(), log.log_end_offset(), "rule S5");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn appends_that_come_before_the_epoch_has_begun_keep_their_order() {
    let replica = Replica::new(ME, 1, &topic_config());
    let partition = &replica.partitions[0];
    lead(partition, 1, &["not synced"]);
    let flush_ack = Arc::new(TopicConfig { flush_ack: true, ..topic_config() });
    partition.log().update_config(flush_ack);
    let rules = Rules { min_insync_replicas: 1, lag_max: Duration::from_secs(30) };
    let (state, image) = (record(ME, 2, &[ME]), image(&[]));
    partition.apply(&Applied { state: &state, image: &image, me: replica.me, rules });
    let append = |value: &str| {
        let step = partition.append_as_leader(batch(0, 0, &[value]), Acks::LEADER, AppendOptions::default());
        let Step::Pending(appended) = step else { panic!("the epoch has begun") };
        appended
    };
    // Whoever waits for the answers does so in any order, or not at all.
    let (first, second, third, last) = (append("a"), append("b"), append("c"), append("d"));
    drop(third);
    for (appended, offset) in [(last, 4), (second, 2), (first, 1)] {
        let info = tokio::time::timeout(DEADLINE, appended).await.unwrap().unwrap();
        assert_eq!(info.first_offset, at(offset));
    }
}
