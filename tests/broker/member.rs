//! Members of groups, as small clients: one connection and what a member must remember.

use bytes::{BufMut, Bytes, BytesMut};
use ketcd::protocol::peer::messages::consumer_group_heartbeat_request::TopicPartitions;
use ketcd::protocol::peer::messages::join_group_request::JoinGroupRequestProtocol;
use ketcd::protocol::peer::messages::leave_group_request::MemberIdentity;
use ketcd::protocol::peer::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ketcd::protocol::peer::messages::offset_fetch_request::OffsetFetchRequestTopic;
use ketcd::protocol::peer::messages::sync_group_request::SyncGroupRequestAssignment;
use ketcd::protocol::peer::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, GroupId, HeartbeatRequest,
    JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, OffsetCommitRequest, OffsetFetchRequest,
    SyncGroupRequest, SyncGroupResponse,
};
use ketcd::protocol::peer::{Peer, StrBytes};

use crate::fixture::{connect, named, text};

pub const UNKNOWN_MEMBER_ID: i16 = 25;
pub const MEMBER_ID_REQUIRED: i16 = 79;

/// The metadata of a consumer: `ConsumerProtocolSubscription` v0 with one topic.
pub fn subscription(topic: &str) -> Bytes {
    let mut bytes = BytesMut::new();
    bytes.put_i16(0);
    bytes.put_i32(1);
    bytes.put_i16(topic.len() as i16);
    bytes.put_slice(topic.as_bytes());
    bytes.put_i32(-1);
    bytes.freeze()
}

/// A member of a classic group.
pub struct Classic {
    pub peer: Peer,
    /// Version of JoinGroup; the other APIs take the one that came with it.
    pub version: i16,
    pub group: GroupId,
    pub member: StrBytes,
    pub instance: Option<StrBytes>,
    pub generation: i32,
    pub metadata: Bytes,
    pub session_timeout_ms: i32,
}

impl Classic {
    pub async fn new(address: &str, group: &str, version: i16) -> Self {
        Self {
            peer: connect(address).await,
            version,
            group: GroupId(text(group)),
            member: StrBytes::default(),
            instance: None,
            generation: -1,
            metadata: Bytes::from_static(b"\0\0\0\0\0\0\xff\xff\xff\xff"),
            session_timeout_ms: 30_000,
        }
    }

    pub fn join_request(&self) -> JoinGroupRequest {
        let protocol =
            JoinGroupRequestProtocol::default().with_name(text("range")).with_metadata(self.metadata.clone());
        let request = JoinGroupRequest::default()
            .with_group_id(self.group.clone())
            .with_session_timeout_ms(self.session_timeout_ms)
            .with_member_id(self.member.clone())
            .with_group_instance_id(self.instance.clone())
            .with_protocol_type(text("consumer"))
            .with_protocols(vec![protocol]);
        if self.version >= 1 { request.with_rebalance_timeout_ms(30_000) } else { request }
    }

    /// Joins as a client does: a second time if it is told its id first.
    pub async fn join(&mut self) -> JoinGroupResponse {
        let mut answer = self.peer.call_at(&self.join_request(), self.version).await.unwrap();
        if answer.error_code == MEMBER_ID_REQUIRED {
            assert!(self.version >= 4 && self.instance.is_none() && self.member.is_empty());
            self.member = answer.member_id;
            answer = self.peer.call_at(&self.join_request(), self.version).await.unwrap();
        }
        if answer.error_code == 0 {
            self.member = answer.member_id.clone();
            self.generation = answer.generation_id;
        }
        answer
    }

    /// Syncs; a leader brings `assignments` of members.
    pub async fn sync(&mut self, assignments: &[(&StrBytes, &str)]) -> SyncGroupResponse {
        let assignments = assignments.iter().map(|(member, assignment)| {
            SyncGroupRequestAssignment::default()
                .with_member_id((*member).clone())
                .with_assignment(Bytes::copy_from_slice(assignment.as_bytes()))
        });
        let version = self.version.min(5);
        let request = SyncGroupRequest::default()
            .with_group_id(self.group.clone())
            .with_generation_id(self.generation)
            .with_member_id(self.member.clone())
            .with_group_instance_id(self.instance.clone())
            .with_assignments(assignments.collect());
        let request = if version >= 5 {
            request.with_protocol_type(Some(text("consumer"))).with_protocol_name(Some(text("range")))
        } else {
            request
        };
        self.peer.call_at(&request, version).await.unwrap()
    }

    /// Joins a group of its own and assigns itself `assignment`.
    pub async fn lead_alone(&mut self, assignment: &str) {
        let joined = self.join().await;
        assert_eq!((joined.error_code, &joined.leader), (0, &joined.member_id), "{joined:?}");
        let member = self.member.clone();
        let synced = self.sync(&[(&member, assignment)]).await;
        assert_eq!((synced.error_code, synced.assignment.as_ref()), (0, assignment.as_bytes()));
    }

    pub async fn heartbeat(&mut self) -> i16 {
        let request = HeartbeatRequest::default()
            .with_group_id(self.group.clone())
            .with_generation_id(self.generation)
            .with_member_id(self.member.clone())
            .with_group_instance_id(self.instance.clone());
        self.peer.call_at(&request, self.version.min(4)).await.unwrap().error_code
    }

    pub async fn leave(&mut self) -> i16 {
        let request = LeaveGroupRequest::default().with_group_id(self.group.clone());
        let version = self.version.min(5);
        if version < 3 {
            let request = request.with_member_id(self.member.clone());
            return self.peer.call_at(&request, version).await.unwrap().error_code;
        }
        let member = MemberIdentity::default()
            .with_member_id(self.member.clone())
            .with_group_instance_id(self.instance.clone());
        let answer = self.peer.call_at(&request.with_members(vec![member]), version).await.unwrap();
        assert_eq!((answer.error_code, answer.members.len()), (0, 1));
        answer.members[0].error_code
    }

    /// Commits as this member.
    pub async fn commit(&mut self, topic: &str, partition: i32, offset: i64) -> i16 {
        let request = commit_request(&self.group, topic, &[(partition, offset)])
            .with_generation_id_or_member_epoch(self.generation)
            .with_member_id(self.member.clone())
            .with_group_instance_id(self.instance.clone());
        let answer = self.peer.call_at(&request, self.version.clamp(2, 9)).await.unwrap();
        answer.topics[0].partitions[0].error_code
    }
}

/// A commit of nobody in particular.
pub fn commit_request(group: &GroupId, topic: &str, offsets: &[(i32, i64)]) -> OffsetCommitRequest {
    let partition = |(index, offset): &(i32, i64)| {
        OffsetCommitRequestPartition::default()
            .with_partition_index(*index)
            .with_committed_offset(*offset)
            .with_committed_metadata(Some(text("note")))
    };
    let topic = OffsetCommitRequestTopic::default()
        .with_name(named(topic))
        .with_partitions(offsets.iter().map(partition).collect());
    OffsetCommitRequest::default()
        .with_group_id(group.clone())
        .with_generation_id_or_member_epoch(-1)
        .with_topics(vec![topic])
}

/// Commits as a consumer without a group.
pub async fn commit(peer: &mut Peer, group: &str, topic: &str, partition: i32, offset: i64) -> i16 {
    let request = commit_request(&GroupId(text(group)), topic, &[(partition, offset)]);
    peer.call_at(&request, 8).await.unwrap().topics[0].partitions[0].error_code
}

/// The committed offset of a partition, -1 if there is none.
pub async fn committed(peer: &mut Peer, group: &str, topic: &str, partition: i32) -> i64 {
    let topic =
        OffsetFetchRequestTopic::default().with_name(named(topic)).with_partition_indexes(vec![partition]);
    let request =
        OffsetFetchRequest::default().with_group_id(GroupId(text(group))).with_topics(Some(vec![topic]));
    let answer = peer.call_at(&request, 7).await.unwrap();
    let partition = &answer.topics[0].partitions[0];
    assert_eq!((answer.error_code, partition.error_code), (0, 0));
    partition.committed_offset
}

/// A member of a group of the new protocol (KIP-848).
pub struct Modern {
    pub peer: Peer,
    pub group: GroupId,
    pub member: StrBytes,
    pub epoch: i32,
    /// Subscribed topics.
    pub topics: Vec<String>,
    /// What it owns, as the coordinator said last.
    pub owned: Vec<TopicPartitions>,
    pub interval_ms: i32,
}

impl Modern {
    pub async fn new(address: &str, group: &str, topics: &[&str]) -> Self {
        Self {
            peer: connect(address).await,
            group: GroupId(text(group)),
            member: text(&uuid::Uuid::new_v4().to_string()),
            epoch: 0,
            topics: topics.iter().map(ToString::to_string).collect(),
            owned: Vec::new(),
            interval_ms: 0,
        }
    }

    pub fn request(&self) -> ConsumerGroupHeartbeatRequest {
        let joins = self.epoch == 0;
        let topics = self.topics.iter().map(|topic| named(topic)).collect();
        ConsumerGroupHeartbeatRequest::default()
            .with_group_id(self.group.clone())
            .with_member_id(self.member.clone())
            .with_member_epoch(self.epoch)
            .with_rebalance_timeout_ms(if joins { 30_000 } else { -1 })
            .with_subscribed_topic_names(joins.then_some(topics))
            .with_topic_partitions(Some(self.owned.clone()))
    }

    /// One heartbeat; takes over what the answer says.
    pub async fn heartbeat(&mut self) -> ConsumerGroupHeartbeatResponse {
        let answer = self.peer.call_at(&self.request(), 1).await.unwrap();
        if answer.error_code == 0 {
            self.epoch = answer.member_epoch;
            self.interval_ms = answer.heartbeat_interval_ms;
            if let Some(assignment) = &answer.assignment {
                let owned = assignment.topic_partitions.iter().map(|topic| {
                    TopicPartitions::default()
                        .with_topic_id(topic.topic_id)
                        .with_partitions(topic.partitions.clone())
                });
                self.owned = owned.collect();
            }
        }
        answer
    }

    /// Partitions that it owns, sorted.
    pub fn partitions(&self) -> Vec<i32> {
        let mut all: Vec<i32> = self.owned.iter().flat_map(|topic| topic.partitions.clone()).collect();
        all.sort_unstable();
        all
    }
}
