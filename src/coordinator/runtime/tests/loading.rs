//! What a new leader takes over, and what an old one leaves.

use super::memory::MemoryLog;
use super::*;
use crate::coordinator::group::records::{OffsetCommitValue, Record};
use crate::coordinator::runtime::batches;
use crate::protocol::records::{BatchBuilder, NewRecord};

fn record(group: &str, offset: i64) -> Record {
    let value = OffsetCommitValue {
        offset,
        leader_epoch: -1,
        metadata: "".into(),
        commit_timestamp: Clock::system().now_ms(),
        expire_timestamp: -1,
        topic_id: TopicId::ZERO,
    };
    Record::OffsetCommit { group: group.into(), topic: "topic".into(), partition: 0, value: Some(value) }
}

fn put(log: &MemoryLog, records: &[Record], codec: Codec) {
    for batch in batches::encode(records, 1, codec, 1 << 20).unwrap() {
        log.put(&batch);
    }
}

#[tokio::test]
async fn a_hundred_thousand_records_are_loaded() {
    let log = MemoryLog::new();
    for base in 0..100 {
        let records: Vec<_> = (0..1000).map(|n| record(&format!("group-{n}"), base * 1000 + n)).collect();
        put(&log, &records, Codec::None);
    }
    let coordinator = coordinator(&log);
    assert_eq!(in_time(fetch(&coordinator, "group-7")).await, Err(ErrorCode::CoordinatorLoadInProgress));
    assert_eq!(in_time(coordinator.list()).await, Err(ErrorCode::CoordinatorLoadInProgress));
    loaded(&coordinator).await;
    assert_eq!(in_time(fetch(&coordinator, "group-7")).await, Ok(99_007));
    assert_eq!(in_time(coordinator.list()).await.unwrap().len(), 1000);
    let totals = coordinator.totals();
    assert_eq!((totals.loads, totals.records, totals.unknown, totals.broken), (1, 100_000, 0, 0));
}

#[tokio::test]
async fn compressed_batches_are_read_and_what_is_not_ours_is_skipped_and_counted() {
    let log = MemoryLog::new();
    put(&log, &[record("g", 1)], Codec::Zstd);
    let mut unknown = BatchBuilder::new();
    // Key type 21 is of no group that is known here; the second record has no key at all.
    unknown.push(NewRecord { key: Some(&[0, 21, 1]), value: Some(b"?"), ..NewRecord::default() }).unwrap();
    unknown.push(NewRecord { key: None, value: Some(b"?"), ..NewRecord::default() }).unwrap();
    log.put(&unknown.build());
    let mut control = BatchBuilder::new().attributes(0x20);
    control.push(NewRecord { key: Some(&[0, 0, 0, 1]), ..NewRecord::default() }).unwrap();
    log.put(&control.build());
    let mut torn = batches::encode(&[record("g", 9)], 1, Codec::None, 1 << 20).unwrap()[0].to_vec();
    *torn.last_mut().unwrap() ^= 1;
    log.put(&torn.into());
    put(&log, &[record("g", 2)], Codec::None);
    let coordinator = coordinator(&log);
    loaded(&coordinator).await;
    assert_eq!(in_time(fetch(&coordinator, "g")).await, Ok(2));
    let totals = coordinator.totals();
    assert_eq!((totals.records, totals.unknown, totals.broken), (2, 1, 2));
}

#[tokio::test]
async fn nothing_is_answered_before_what_was_replayed_is_committed() {
    let log = MemoryLog::new();
    log.hold_commits();
    let first = coordinator(&log);
    let unanswered = commit(&first, "g", 5);
    lead(&first, &log, 2);
    assert_eq!(in_time(unanswered).await, ErrorCode::NotCoordinator);
    loaded(&first).await;
    let mut fetched = Box::pin(fetch(&first, "g"));
    assert!(futures_util::FutureExt::now_or_never(fetched.as_mut()).is_none());
    log.commit();
    assert_eq!(in_time(fetched).await, Ok(5));
}

#[tokio::test]
async fn who_resigns_tells_everybody_and_drops_everything() {
    let log = MemoryLog::new();
    let coordinator = coordinator(&log);
    let parked = join(&coordinator, "g");
    coordinator.step_down();
    assert_eq!(in_time(parked).await.unwrap_err(), ErrorCode::NotCoordinator);
    assert_eq!(in_time(fetch(&coordinator, "g")).await, Err(ErrorCode::NotCoordinator));
    assert_eq!(coordinator.shard_counts(), (0, 0));
}

#[tokio::test]
async fn a_topic_made_anew_is_another_one_though_its_epoch_is_the_same() {
    let (old, new) = (MemoryLog::new(), MemoryLog::new());
    let coordinator = coordinator(&old);
    assert_eq!(in_time(commit(&coordinator, "g", 5)).await, ErrorCode::None);
    let topic = TopicId::new(uuid::Uuid::from_u128(2)).unwrap();
    coordinator.lead(1, vec![Led { index: 0, topic, epoch: LeaderEpoch(1), log: Arc::new(new) }]);
    assert_eq!(in_time(fetch(&coordinator, "g")).await, Ok(-1));
}
