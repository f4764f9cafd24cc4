//! The classic protocol: a hundred connections join, one assigns, one leaves.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ketcd::protocol::peer::messages::join_group_request::JoinGroupRequestProtocol;
use ketcd::protocol::peer::messages::leave_group_request::MemberIdentity;
use ketcd::protocol::peer::messages::sync_group_request::SyncGroupRequestAssignment;
use ketcd::protocol::peer::messages::{
    HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, SyncGroupRequest,
};
use ketcd::protocol::peer::{Peer, StrBytes};
use ketcd::types::Clock;
use tokio::sync::{Barrier, mpsc, watch};

use crate::common::process::{Broker, PATIENCE, ms};
use crate::wire::{find_coordinator, group, passes, text};
use crate::{MEMBERS, Settling};

const MEMBER_ID_REQUIRED: i16 = 79;
const REBALANCE_IN_PROGRESS: i16 = 27;
/// Clients use seconds; here it is the broker that is measured, not the wait of its clients.
const HEARTBEAT_EVERY: Duration = Duration::from_millis(50);

pub async fn start_and_leave(broker: &Broker, clock: &Clock, name: &str) -> Settling {
    let (synced, mut settled) = mpsc::channel(MEMBERS);
    let (leave, told_to_leave) = watch::channel(false);
    let ready = Arc::new(Barrier::new(MEMBERS + 1));
    let mut members = Vec::new();
    for place in 0..MEMBERS {
        let peer = broker.peer().await;
        let member = Member { peer, group: name.to_owned(), id: StrBytes::default() };
        let leaves = (place == 0).then(|| told_to_leave.clone());
        members.push(tokio::spawn(member.run(Arc::clone(&ready), synced.clone(), leaves)));
    }
    ready.wait().await;
    let begun = clock.elapsed();
    until_synced(&mut settled, MEMBERS).await;
    let start_ms = ms(clock.elapsed() - begun);
    let begun = clock.elapsed();
    leave.send_replace(true);
    until_synced(&mut settled, MEMBERS - 1).await;
    let leave_ms = ms(clock.elapsed() - begun);
    for member in members {
        member.abort();
    }
    Settling { start_ms, leave_ms }
}

/// One consumer of a broker that has just started: from its first question to its assignment, the coordinator's topic made in between.
pub async fn lone(clock: &Clock) -> f64 {
    let data = tempfile::tempdir().expect("a directory");
    let broker = Broker::start(data.path());
    let begun = clock.elapsed();
    let mut peer = broker.peer().await;
    find_coordinator(&mut peer).await;
    let mut member = Member { peer, group: "lone".to_owned(), id: StrBytes::default() };
    let joined = member.join().await;
    assert!(member.sync(&joined).await, "nobody else is there");
    let elapsed = ms(clock.elapsed() - begun);
    broker.stop();
    elapsed
}

/// Until `members` have told the same generation, the newest one.
async fn until_synced(settled: &mut mpsc::Receiver<i32>, members: usize) {
    let (mut newest, mut count) = (-1, 0);
    while count < members {
        let generation = settled.recv().await.expect("members live");
        if generation > newest {
            (newest, count) = (generation, 0);
        }
        if generation == newest {
            count += 1;
        }
    }
}

struct Member {
    peer: Peer,
    group: String,
    id: StrBytes,
}

impl Member {
    async fn run(
        mut self,
        ready: Arc<Barrier>,
        synced: mpsc::Sender<i32>,
        leaves: Option<watch::Receiver<bool>>,
    ) {
        ready.wait().await;
        loop {
            let joined = self.join().await;
            if !self.sync(&joined).await {
                continue;
            }
            synced.send(joined.generation_id).await.expect("the bench listens");
            while self.heartbeat(joined.generation_id).await {
                tokio::time::sleep(HEARTBEAT_EVERY).await;
                if leaves.as_ref().is_some_and(|leave| *leave.borrow()) {
                    return self.leave().await;
                }
            }
        }
    }

    async fn join(&mut self) -> JoinGroupResponse {
        loop {
            let protocol = JoinGroupRequestProtocol::default()
                .with_name(text("range"))
                .with_metadata(Bytes::from_static(&[0, 1, 0, 0, 0, 0, 255, 255, 255, 255, 0, 0, 0, 0]));
            let request = JoinGroupRequest::default()
                .with_group_id(group(&self.group))
                .with_member_id(self.id.clone())
                .with_protocol_type(text("consumer"))
                .with_session_timeout_ms(45_000)
                .with_rebalance_timeout_ms(60_000)
                .with_protocols(vec![protocol]);
            let joined = self.peer.call_within(&request, 7, PATIENCE).await.expect("an answer");
            match joined.error_code {
                0 => {
                    self.id = joined.member_id.clone();
                    return joined;
                }
                MEMBER_ID_REQUIRED => self.id = joined.member_id,
                error => {
                    assert!(passes(error), "join: error {error}");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            }
        }
    }

    /// The leader gives everybody the same few bytes: what they mean is nothing to the broker.
    async fn sync(&mut self, joined: &JoinGroupResponse) -> bool {
        let assignments = joined.members.iter().map(|member| {
            SyncGroupRequestAssignment::default()
                .with_member_id(member.member_id.clone())
                .with_assignment(Bytes::from_static(&[0, 1, 0, 0, 0, 0, 255, 255, 255, 255]))
        });
        let request = SyncGroupRequest::default()
            .with_group_id(group(&self.group))
            .with_generation_id(joined.generation_id)
            .with_member_id(self.id.clone())
            .with_protocol_type(Some(text("consumer")))
            .with_protocol_name(joined.protocol_name.clone())
            .with_assignments(assignments.collect());
        let answer = self.peer.call_within(&request, 5, PATIENCE).await.expect("an answer");
        assert!([0, REBALANCE_IN_PROGRESS].contains(&answer.error_code), "sync: {}", answer.error_code);
        answer.error_code == 0
    }

    /// Whether the generation still stands.
    async fn heartbeat(&mut self, generation: i32) -> bool {
        let request = HeartbeatRequest::default()
            .with_group_id(group(&self.group))
            .with_generation_id(generation)
            .with_member_id(self.id.clone());
        let answer = self.peer.call_within(&request, 4, PATIENCE).await.expect("an answer");
        assert!([0, REBALANCE_IN_PROGRESS].contains(&answer.error_code), "heartbeat: {}", answer.error_code);
        answer.error_code == 0
    }

    async fn leave(&mut self) {
        let me = MemberIdentity::default().with_member_id(self.id.clone());
        let request = LeaveGroupRequest::default().with_group_id(group(&self.group)).with_members(vec![me]);
        self.peer.call_within(&request, 4, PATIENCE).await.expect("an answer");
    }
}
