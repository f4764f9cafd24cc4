//! When answers leave, and in which order turns reach the log.

use futures_util::FutureExt as _;

use super::memory::MemoryLog;
use super::*;
use crate::coordinator::group::records::Record;
use crate::coordinator::runtime::batches::{self, Replayed};
use crate::coordinator::runtime::{LogRefused, OFFSETS_TOPIC};

/// The offsets committed in the log, oldest first.
fn written(log: &MemoryLog) -> Vec<i64> {
    let mut offsets = Vec::new();
    let mut replayed = Replayed::default();
    for batch in log.batches() {
        batches::decode(&batch, &mut replayed, |record| {
            if let Record::OffsetCommit { value: Some(value), .. } = record {
                offsets.push(value.offset);
            }
        });
    }
    assert_eq!(replayed.broken, 0);
    offsets
}

#[tokio::test]
async fn an_answer_leaves_when_its_records_are_below_the_high_watermark_and_not_before() {
    let log = MemoryLog::new();
    log.hold_commits();
    let coordinator = coordinator(&log);
    let mut committed = Box::pin(commit(&coordinator, "g", 7));
    // A question that writes nothing waits for what was written before it.
    let mut fetched = Box::pin(fetch(&coordinator, "g"));
    tokio::task::yield_now().await;
    assert_eq!(written(&log), [7]);
    assert!(committed.as_mut().now_or_never().is_none());
    assert!(fetched.as_mut().now_or_never().is_none());
    log.commit();
    assert_eq!(in_time(committed).await, ErrorCode::None);
    assert_eq!(in_time(fetched).await, Ok(7));
}

#[tokio::test]
async fn a_turn_is_given_to_the_log_when_every_turn_before_it_is_there() {
    let log = MemoryLog::new();
    let coordinator = coordinator(&log);
    log.hold_appends();
    let first = commit(&coordinator, "g", 1);
    let second = commit(&coordinator, "g", 2);
    let fetched = fetch(&coordinator, "g");
    let third = commit(&coordinator, "g", 3);
    tokio::task::yield_now().await;
    assert_eq!(log.held_appends(), 1);
    log.let_append();
    for committed in [in_time(first).await, in_time(second).await, in_time(third).await] {
        assert_eq!(committed, ErrorCode::None);
    }
    assert_eq!(in_time(fetched).await, Ok(2));
    assert_eq!(written(&log), [1, 2, 3]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_log_has_the_turns_of_many_threads_in_the_order_of_the_state() {
    let log = MemoryLog::new();
    let coordinator = coordinator(&log);
    let writers = (0..8).map(|writer| {
        let coordinator = Arc::clone(&coordinator);
        tokio::spawn(async move {
            for round in 0..100 {
                assert_eq!(commit(&coordinator, "g", writer * 1000 + round).await, ErrorCode::None);
            }
        })
    });
    in_time(futures_util::future::join_all(writers)).await.into_iter().for_each(Result::unwrap);
    let written = written(&log);
    assert_eq!(written.len(), 800);
    assert_eq!(in_time(fetch(&coordinator, "g")).await, Ok(*written.last().unwrap()));
}

#[tokio::test]
async fn a_failed_append_costs_the_shard_which_is_loaded_anew() {
    let log = MemoryLog::new();
    let coordinator = coordinator(&log);
    assert_eq!(in_time(commit(&coordinator, "g", 1)).await, ErrorCode::None);
    let parked = join(&coordinator, "other");
    log.fail_next(LogRefused::Unusable("the disk is full".into()));
    assert_eq!(in_time(commit(&coordinator, "g", 2)).await, ErrorCode::NotCoordinator);
    assert_eq!(in_time(parked).await.unwrap_err(), ErrorCode::NotCoordinator);
    assert_eq!(in_time(fetch(&coordinator, "g")).await, Err(ErrorCode::CoordinatorLoadInProgress));
    loaded(&coordinator).await;
    assert_eq!(in_time(fetch(&coordinator, "g")).await, Ok(1));
    assert_eq!(coordinator.totals().dropped, 1);
}

#[tokio::test]
async fn too_few_replicas_are_a_coordinator_that_is_not_available() {
    let log = MemoryLog::new();
    let coordinator = coordinator(&log);
    log.fail_next(LogRefused::NotEnoughReplicas);
    assert_eq!(in_time(commit(&coordinator, "g", 2)).await, ErrorCode::CoordinatorNotAvailable);
}

#[tokio::test]
async fn replicas_that_take_too_long_are_told_and_the_commit_is_not_undone() {
    let log = MemoryLog::new();
    log.hold_commits();
    let timeout = Duration::from_millis(50);
    let coordinator = coordinator_that_waits(GroupSettings::default(), Clock::system(), timeout);
    lead(&coordinator, &log, 1);
    let clock = Clock::system();
    let begun = clock.elapsed();
    assert_eq!(in_time(commit(&coordinator, "g", 7)).await, ErrorCode::CoordinatorNotAvailable);
    assert!(clock.elapsed() - begun >= timeout);
    let parked = join(&coordinator, "joining");
    assert_eq!(in_time(fetch(&coordinator, "g")).await, Err(ErrorCode::CoordinatorNotAvailable));
    log.commit();
    assert_eq!(in_time(fetch(&coordinator, "g")).await, Ok(7), "nothing was loaded anew");
    assert!(parked.now_or_never().is_none(), "who waits for other members waits for nothing of this");
}

#[tokio::test]
async fn who_loses_the_epoch_between_append_and_answer_is_not_answered_with_success() {
    let log = MemoryLog::new();
    log.hold_commits();
    let coordinator = coordinator(&log);
    let committed = commit(&coordinator, "g", 7);
    log.lead_in(LeaderEpoch(2));
    log.commit();
    assert_eq!(in_time(committed).await, ErrorCode::NotCoordinator);
}

#[tokio::test]
async fn a_commit_that_no_segment_can_hold_is_refused_before_it_changes_anything() {
    let log = MemoryLog::new();
    let coordinator = coordinator(&log);
    let mut request = commit_of("g", 1);
    let partition = request.topics[0].partitions[0].clone();
    request.topics[0].partitions =
        (0..10_000).map(|index| CommitPartition { index, ..partition.clone() }).collect();
    let answer = in_time(coordinator.ask("g", request)).await.unwrap();
    assert_eq!(answer[0].1.len(), 10_000);
    assert!(answer[0].1.iter().all(|(_, code)| *code == ErrorCode::InvalidCommitOffsetSize));
    assert!(log.batches().is_empty());
    assert_eq!(in_time(fetch(&coordinator, "g")).await, Ok(-1));
}

#[tokio::test]
async fn a_stopping_broker_ends_parked_joins_and_still_answers_what_is_under_way() {
    let log = MemoryLog::new();
    log.hold_commits();
    let coordinator = coordinator(&log);
    let parked = join(&coordinator, "joining");
    let committed = commit(&coordinator, "g", 7);
    coordinator.stop();
    assert_eq!(in_time(parked).await.unwrap_err(), ErrorCode::NotCoordinator);
    assert_eq!(in_time(commit(&coordinator, "g", 8)).await, ErrorCode::NotCoordinator);
    log.commit();
    assert_eq!(in_time(committed).await, ErrorCode::None);
}

#[tokio::test]
async fn a_group_that_is_kept_elsewhere_or_nowhere_is_refused() {
    let coordinator = coordinator_with(GroupSettings::default(), Clock::system());
    let nowhere = in_time(fetch(&coordinator, "g")).await;
    assert_eq!(nowhere, Err(ErrorCode::CoordinatorNotAvailable), "there is no {OFFSETS_TOPIC}");
    coordinator.lead(3, Vec::new());
    assert_eq!(in_time(fetch(&coordinator, "g")).await, Err(ErrorCode::NotCoordinator));
    assert_eq!(in_time(coordinator.list()).await, Ok(Vec::new()));
}

#[tokio::test]
async fn every_group_of_every_shard_is_listed_and_can_be_deleted() {
    let log = MemoryLog::new();
    let coordinator = coordinator(&log);
    for group in ["b", "a"] {
        assert_eq!(in_time(commit(&coordinator, group, 1)).await, ErrorCode::None);
    }
    let listed = in_time(coordinator.list()).await.unwrap();
    assert_eq!(listed.iter().map(|group| &*group.group).collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(in_time(coordinator.delete_group("a")).await, Ok(()));
    assert_eq!(in_time(coordinator.delete_group("a")).await, Err(ErrorCode::GroupIdNotFound));
    assert_eq!(in_time(coordinator.list()).await.unwrap().len(), 1);
    assert_eq!(in_time(coordinator.describe_classic("b")).await.unwrap().error, ErrorCode::None);
}
