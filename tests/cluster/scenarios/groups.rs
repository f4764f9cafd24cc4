//! A group goes on when the broker that coordinates it is killed, paused or stopped.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ketcd::protocol::error::ErrorCode;
use ketcd::protocol::peer::messages::offset_fetch_request::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use ketcd::protocol::peer::messages::{FindCoordinatorRequest, GroupId, OffsetFetchRequest, TopicName};
use ketcd::protocol::peer::{Peer, PeerError};

use super::cluster;
use crate::agent::{Agent, Family};
use crate::cluster::{Cluster, Options, PATIENCE};
use crate::directory::{code, text};
use crate::faults::{self, Count};
use crate::history::{History, Op, State};
use crate::load::{Load, TOPIC, Work};
use crate::{skip, turn};

const GROUP: &str = "g";
const PARTITIONS: i32 = 4;
/// Invariant I11: no group is stuck for longer.
const STUCK: Duration = Duration::from_secs(60);
const FIND_COORDINATOR_VERSION: i16 = 4;
/// The last version that names topics by their names.
const OFFSET_FETCH_VERSION: i16 = 9;

#[test]
fn a_group_moves_with_its_coordinator() {
    turn::alone(|| async {
        let Some(mut cluster) = cluster(Options::default()).await else { return };
        let work = Work { partitions: PARTITIONS, clients: 0, ..Work::default() };
        let mut load = Load::start(&cluster, work).await;
        let bootstrap = cluster.bootstraps().join(",");
        let mut members = Vec::new();
        for name in ["1", "2"] {
            match Agent::start(Family::Librdkafka, &["group", &bootstrap, TOPIC, GROUP, name], &load.history)
            {
                Ok(member) => members.push(member),
                Err(why) => return skip::skip(&why),
            }
        }
        commits_go_on(&load.history).await;
        let mut count = Count::default();
        let first = coordinator(&cluster).await;
        faults::kill(&mut cluster, &load, first, &mut count).await;
        commits_go_on(&load.history).await;
        cluster.until_whole("__consumer_offsets", PATIENCE).await;
        let second = coordinator(&cluster).await;
        faults::pause(&mut cluster, &load, second, true, &mut count).await;
        commits_go_on(&load.history).await;
        cluster.until_whole("__consumer_offsets", PATIENCE).await;
        let third = coordinator(&cluster).await;
        faults::stop(&mut cluster, &load, third, &mut count).await;
        commits_go_on(&load.history).await;
        let history = load.history.clone();
        let group = tokio::spawn(caught_up(cluster.bootstraps(), history, load.directory.clone()));
        // The group reads on while the rest ends; what it committed last is the end of everything.
        load.senders_stop().await;
        group.await.expect("the group catches up");
        for member in &mut members {
            member.tell("stop");
            assert!(member.done("stop", PATIENCE).await, "a member does not leave");
        }
        load.finish(&mut cluster).await;
    });
}

/// The broker that coordinates the group, by any broker's word.
async fn coordinator(cluster: &Cluster) -> i32 {
    let deadline = Instant::now() + STUCK;
    loop {
        for bootstrap in cluster.bootstraps() {
            if let Ok(Some((id, _))) = find(&bootstrap).await {
                return id;
            }
        }
        assert!(Instant::now() < deadline, "the group has no coordinator");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn find(bootstrap: &str) -> Result<Option<(i32, String)>, PeerError> {
    let mut peer = Peer::connect(bootstrap, "groups", Duration::from_secs(2)).await?;
    let request = FindCoordinatorRequest::default().with_key_type(0).with_coordinator_keys(vec![text(GROUP)]);
    let answer = peer.call_at(&request, FIND_COORDINATOR_VERSION).await?;
    let found = &answer.coordinators[0];
    let address = format!("{}:{}", found.host, found.port);
    Ok((code(found.error_code) == ErrorCode::None).then_some((found.node_id.0, address)))
}

/// Waits until commits are acknowledged for every partition that were not before.
async fn commits_go_on(history: &History) {
    let newest = || {
        let mut newest = BTreeMap::new();
        for entry in history.entries() {
            if let Op::Commit { state: State::Ok, partition, offset } = entry.op {
                newest.insert(partition, offset);
            }
        }
        newest
    };
    let (before, begun) = (newest(), Instant::now());
    loop {
        let now = newest();
        if (0..PARTITIONS).all(|p| now.get(&p) > before.get(&p)) {
            return;
        }
        assert!(
            begun.elapsed() < STUCK,
            "the group is stuck: {before:?}, then {now:?}: {:?}",
            history.errors()
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until the group has committed the end of every partition.
async fn caught_up(
    bootstraps: Vec<String>,
    history: std::sync::Arc<History>,
    directory: std::sync::Arc<crate::directory::Directory>,
) {
    let begun = Instant::now();
    let mut told = BTreeMap::new();
    loop {
        for bootstrap in &bootstraps {
            let Ok(Some((_, address))) = find(bootstrap).await else { continue };
            let Ok(Some(committed)) = committed(&address).await else { continue };
            told = committed;
            break;
        }
        let mut missing = false;
        for partition in 0..PARTITIONS {
            let end = directory.latest(partition).await;
            missing |= end.is_none() || told.get(&partition) != end.as_ref();
        }
        if !missing {
            for (partition, offset) in told {
                history.note("g/admin", Op::Committed { partition, offset });
            }
            return;
        }
        assert!(begun.elapsed() < STUCK, "the group stays at {told:?}");
        directory.refresh(Duration::from_millis(50)).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn committed(coordinator: &str) -> Result<Option<BTreeMap<i32, i64>>, PeerError> {
    let mut peer = Peer::connect(coordinator, "groups", Duration::from_secs(2)).await?;
    let topic = OffsetFetchRequestTopics::default()
        .with_name(TopicName(text(TOPIC)))
        .with_partition_indexes((0..PARTITIONS).collect());
    let group =
        OffsetFetchRequestGroup::default().with_group_id(GroupId(text(GROUP))).with_topics(Some(vec![topic]));
    let request = OffsetFetchRequest::default().with_groups(vec![group]).with_require_stable(true);
    let answer = peer.call_at(&request, OFFSET_FETCH_VERSION).await?;
    let group = &answer.groups[0];
    if code(group.error_code) != ErrorCode::None {
        return Ok(None);
    }
    let partitions = &group.topics[0].partitions;
    let good = partitions.iter().all(|p| code(p.error_code) == ErrorCode::None);
    Ok(good.then(|| partitions.iter().map(|p| (p.partition_index, p.committed_offset)).collect()))
}
