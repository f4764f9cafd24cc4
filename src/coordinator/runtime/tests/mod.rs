//! The shell over a log in memory, with the real cores.

mod answers;
mod loading;
mod memory;
mod timing;

use std::sync::Arc;
use std::time::Duration;

use memory::MemoryLog;

use super::{GroupCoordinator, Led, RuntimeOptions};
use crate::coordinator::group::command::{
    CommitPartition, CommitTopic, JoinAnswer, JoinGroup, OffsetCommit, OffsetFetch, Protocol,
};
use crate::coordinator::group::settings::GroupSettings;
use crate::protocol::compression::Codec;
use crate::protocol::error::ErrorCode;
use crate::types::{Clock, LeaderEpoch, TopicId};

/// How long anything may take on a busy machine.
const DEADLINE: Duration = Duration::from_secs(30);

fn coordinator_with(settings: GroupSettings, clock: Clock) -> Arc<GroupCoordinator> {
    coordinator_that_waits(settings, clock, DEADLINE * 2)
}

fn coordinator_that_waits(
    settings: GroupSettings,
    clock: Clock,
    commit_timeout: Duration,
) -> Arc<GroupCoordinator> {
    let options = RuntimeOptions { partitions: 1, codec: Codec::None, load_bytes: 4096, commit_timeout };
    GroupCoordinator::new(options, settings, Arc::default(), clock)
}

/// A coordinator that leads its one partition, kept in `log`, in epoch 1.
fn coordinator(log: &MemoryLog) -> Arc<GroupCoordinator> {
    let coordinator = coordinator_with(GroupSettings::default(), Clock::system());
    lead(&coordinator, log, 1);
    coordinator
}

fn lead(coordinator: &GroupCoordinator, log: &MemoryLog, epoch: i32) {
    let epoch = LeaderEpoch(epoch);
    log.lead_in(epoch);
    let topic = TopicId::new(uuid::Uuid::from_u128(1)).unwrap();
    coordinator.lead(1, vec![Led { index: 0, topic, epoch, log: Arc::new(log.clone()) }]);
}

fn commit_of(group: &str, offset: i64) -> OffsetCommit {
    let partition = CommitPartition { index: 0, offset, leader_epoch: -1, metadata: "".into() };
    let topic = CommitTopic { name: "topic".into(), id: TopicId::ZERO, partitions: vec![partition] };
    OffsetCommit { group: group.into(), generation: -1, topics: vec![topic], ..OffsetCommit::default() }
}

/// Commits an offset; NONE or why not.
fn commit(
    coordinator: &GroupCoordinator,
    group: &str,
    offset: i64,
) -> impl Future<Output = ErrorCode> + Send + 'static + use<> {
    let asked = coordinator.ask(group, commit_of(group, offset));
    async move { asked.await.map_or_else(|code| code, |topics| topics[0].1[0].1) }
}

/// The committed offset, -1 if there is none.
fn fetch(
    coordinator: &GroupCoordinator,
    group: &str,
) -> impl Future<Output = Result<i64, ErrorCode>> + Send + 'static + use<> {
    let topics = Some(vec![("topic".into(), vec![0])]);
    let request = OffsetFetch { group: group.into(), epoch: -1, topics, ..OffsetFetch::default() };
    let asked = coordinator.ask(group, request);
    async move { asked.await.map(|answer| answer.topics[0].1[0].offset) }
}

/// Joins an empty group: the answer waits for other members first.
fn join(
    coordinator: &GroupCoordinator,
    group: &str,
) -> impl Future<Output = Result<JoinAnswer, ErrorCode>> + Send + 'static + use<> {
    let request = JoinGroup {
        group: group.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        protocol_type: "consumer".into(),
        protocols: vec![Protocol { name: "range".into(), metadata: bytes::Bytes::new() }],
        fresh_member: "member-1".into(),
        client_id: "client".into(),
        client_host: "/127.0.0.1".into(),
        ..JoinGroup::default()
    };
    coordinator.ask(group, request)
}

async fn in_time<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(DEADLINE, future).await.expect("in time")
}

/// Waits until `is` holds.
async fn until(what: &str, mut is: impl FnMut() -> bool) {
    let waited = async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(DEADLINE, waited).await.is_ok(), "not in time: {what}");
}

/// Waits until the coordinator has loaded what it leads.
async fn loaded(coordinator: &GroupCoordinator) {
    until("loaded", || coordinator.shard_counts() == (1, 1)).await;
}
