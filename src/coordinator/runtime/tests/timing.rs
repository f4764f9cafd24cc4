//! Deadlines.

use tokio_util::sync::CancellationToken;

use super::memory::MemoryLog;
use super::*;

#[tokio::test]
async fn a_deadline_is_acted_on_without_being_asked() {
    let log = MemoryLog::new();
    let settings = GroupSettings { initial_rebalance_delay_ms: 20, ..GroupSettings::default() };
    let coordinator = coordinator_with(settings, Clock::system());
    let stop = CancellationToken::new();
    // The task sleeps with nothing to do before there is a shard.
    let timers = tokio::spawn(Arc::clone(&coordinator).run_timers(stop.clone()));
    tokio::task::yield_now().await;
    lead(&coordinator, &log, 1);
    let joined = in_time(join(&coordinator, "g")).await.unwrap();
    assert_eq!((joined.error, joined.generation), (ErrorCode::None, 1));
    stop.cancel();
    in_time(timers).await.unwrap();
}

#[tokio::test]
async fn a_timer_of_an_old_epoch_does_nothing() {
    let log = MemoryLog::new();
    let clock = Clock::manual(1_000_000);
    let coordinator = coordinator_with(GroupSettings::default(), clock.clone());
    lead(&coordinator, &log, 1);
    let parked = join(&coordinator, "g");
    let old = Arc::clone(coordinator.shards.load().get(&0).unwrap());
    assert!(old.deadline() < i64::MAX);
    lead(&coordinator, &log, 2);
    assert_eq!(in_time(parked).await.unwrap_err(), ErrorCode::NotCoordinator);
    let before = log.epochs().len();
    clock.advance(Duration::from_secs(3600));
    old.tick();
    assert_eq!(old.deadline(), i64::MAX);
    assert_eq!(log.epochs().len(), before);
}
