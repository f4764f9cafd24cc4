//! What is asked of a group shard, and what it answers: the requests of Kafka's group APIs without their wire form.
//!
//! Errors are Kafka's codes: for groups they *are* the language of the domain (`ILLEGAL_GENERATION` says more than a word of ours).

use std::sync::Arc;

use bytes::Bytes;

use crate::protocol::error::ErrorCode;
use crate::types::{Millis, TopicId};

/// A name as clients gave it: of a group, a member, an instance, a topic. Cheap to clone.
pub type Name = Arc<str>;

/// Partitions of topics by name.
pub type PartitionsByName = Vec<(Name, Vec<i32>)>;

/// Partitions of topics by id.
pub type PartitionsById = Vec<(TopicId, Vec<i32>)>;

/// One question to a shard.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// JoinGroup.
    Join(JoinGroup),
    /// SyncGroup.
    Sync(SyncGroup),
    /// Heartbeat of the classic protocol.
    Heartbeat(Heartbeat),
    /// LeaveGroup.
    Leave(LeaveGroup),
    /// ConsumerGroupHeartbeat (KIP-848).
    ConsumerHeartbeat(ConsumerHeartbeat),
    /// OffsetCommit.
    CommitOffsets(OffsetCommit),
    /// OffsetFetch of one group.
    FetchOffsets(OffsetFetch),
    /// OffsetDelete.
    DeleteOffsets(OffsetDelete),
    /// ListGroups: every group of the shard; filters are the caller's.
    List,
    /// DescribeGroups of one group.
    DescribeClassic(Name),
    /// ConsumerGroupDescribe of one group.
    DescribeConsumer(Name),
    /// DeleteGroups of one group.
    DeleteGroup(Name),
}

/// The answer to a [`Command`], variant by variant.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// To [`Command::Join`].
    Join(JoinAnswer),
    /// To [`Command::Sync`].
    Sync(SyncAnswer),
    /// To [`Command::Heartbeat`].
    Heartbeat(ErrorCode),
    /// To [`Command::Leave`].
    Leave(LeaveAnswer),
    /// To [`Command::ConsumerHeartbeat`].
    ConsumerHeartbeat(ConsumerHeartbeatAnswer),
    /// To [`Command::CommitOffsets`]: each topic as asked, each partition with its error.
    CommitOffsets(Vec<(Name, Vec<(i32, ErrorCode)>)>),
    /// To [`Command::FetchOffsets`].
    FetchOffsets(OffsetFetchAnswer),
    /// To [`Command::DeleteOffsets`].
    DeleteOffsets(OffsetDeleteAnswer),
    /// To [`Command::List`].
    List(Vec<ListedGroup>),
    /// To [`Command::DescribeClassic`].
    DescribeClassic(DescribedGroup),
    /// To [`Command::DescribeConsumer`].
    DescribeConsumer(DescribedConsumerGroup),
    /// To [`Command::DeleteGroup`].
    DeleteGroup(ErrorCode),
}

/// A typed question: what ties each request struct to its [`Command`] and its [`Answer`].
pub trait Ask: Sized {
    /// What comes back.
    type Answer;

    /// As a command.
    fn into_command(self) -> Command;

    /// Takes the answer out; `None` if it answers another question.
    fn from_answer(answer: Answer) -> Option<Self::Answer>;
}

macro_rules! ask {
    ($($request:ty => $variant:ident -> $answer:ty;)*) => {$(
        impl Ask for $request {
            type Answer = $answer;

            fn into_command(self) -> Command {
                Command::$variant(self)
            }

            fn from_answer(answer: Answer) -> Option<$answer> {
                match answer {
                    Answer::$variant(answer) => Some(answer),
                    _ => None,
                }
            }
        }
    )*};
}

ask! {
    JoinGroup => Join -> JoinAnswer;
    SyncGroup => Sync -> SyncAnswer;
    Heartbeat => Heartbeat -> ErrorCode;
    LeaveGroup => Leave -> LeaveAnswer;
    ConsumerHeartbeat => ConsumerHeartbeat -> ConsumerHeartbeatAnswer;
    OffsetCommit => CommitOffsets -> Vec<(Name, Vec<(i32, ErrorCode)>)>;
    OffsetFetch => FetchOffsets -> OffsetFetchAnswer;
    OffsetDelete => DeleteOffsets -> OffsetDeleteAnswer;
}

/// A member asks to be in the next generation.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JoinGroup {
    /// The group.
    pub group: Name,
    /// Its id, empty if it has none yet.
    pub member: Name,
    /// `group.instance.id` of a static member (KIP-345).
    pub instance: Option<Name>,
    /// `client.id`.
    pub client_id: Name,
    /// Where it connects from, as Kafka writes it: `/127.0.0.1`.
    pub client_host: Name,
    /// Kind of the group: `consumer`, `connect`, `sr`, or anything; opaque.
    pub protocol_type: Name,
    /// What it can do, the preferred first, each with opaque metadata.
    pub protocols: Vec<Protocol>,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// How long a rebalance waits for it to join again.
    pub rebalance_timeout_ms: i32,
    /// Why it joins (KIP-800).
    pub reason: Option<Name>,
    /// The id that it gets if it needs one: `<client.id or instance>-<uuid>`. Given from outside: the core has no randomness.
    pub fresh_member: Name,
    /// v4+: a dynamic member without an id is told its id first and joins again (KIP-394).
    pub must_know_member: bool,
    /// v9+: a leader may be told to leave the assignment as it is (KIP-814).
    pub can_skip_assignment: bool,
}

/// One protocol of a joining member.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Protocol {
    /// E.g. `range`, `cooperative-sticky`.
    pub name: Name,
    /// Opaque; for protocol type `consumer` a `ConsumerProtocolSubscription`.
    pub metadata: Bytes,
}

/// To a join.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct JoinAnswer {
    /// NONE, or why not.
    pub error: ErrorCode,
    /// The generation joined; -1 with an error.
    pub generation: i32,
    /// Kind of the group.
    pub protocol_type: Option<Name>,
    /// The protocol chosen.
    pub protocol: Option<Name>,
    /// The member that assigns.
    pub leader: Name,
    /// The leader need not assign (KIP-814).
    pub skip_assignment: bool,
    /// The id of the member that asked, also with MEMBER_ID_REQUIRED.
    pub member: Name,
    /// For the leader: everybody with the metadata of the chosen protocol.
    pub members: Vec<JoinedMember>,
}

/// A member as its leader sees it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct JoinedMember {
    /// Its id.
    pub member: Name,
    /// Its instance id.
    pub instance: Option<Name>,
    /// Its metadata of the chosen protocol.
    pub metadata: Bytes,
}

/// A member waits for its assignment; the leader brings everybody's.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SyncGroup {
    /// The group.
    pub group: Name,
    /// The generation that it joined.
    pub generation: i32,
    /// Its id.
    pub member: Name,
    /// Its instance id.
    pub instance: Option<Name>,
    /// v5+: what it believes of the group.
    pub protocol_type: Option<Name>,
    /// v5+: the protocol it believes chosen.
    pub protocol: Option<Name>,
    /// From the leader: member and opaque assignment.
    pub assignments: Vec<(Name, Bytes)>,
}

/// To a sync.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SyncAnswer {
    /// NONE, or why not.
    pub error: ErrorCode,
    /// Kind of the group.
    pub protocol_type: Option<Name>,
    /// The protocol chosen.
    pub protocol: Option<Name>,
    /// The member's assignment, opaque.
    pub assignment: Bytes,
}

/// A member of a classic generation says that it lives.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heartbeat {
    /// The group.
    pub group: Name,
    /// The generation.
    pub generation: i32,
    /// Its id.
    pub member: Name,
    /// Its instance id.
    pub instance: Option<Name>,
}

/// Members leave, or are removed by an administrator.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeaveGroup {
    /// The group.
    pub group: Name,
    /// Who leaves.
    pub members: Vec<Leaver>,
}

/// One who leaves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Leaver {
    /// Its id; empty if only the instance id is known.
    pub member: Name,
    /// Its instance id.
    pub instance: Option<Name>,
    /// Why (KIP-800).
    pub reason: Option<Name>,
}

/// To a leave.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LeaveAnswer {
    /// NONE, or why none of them left.
    pub error: ErrorCode,
    /// In the order asked.
    pub members: Vec<(Leaver, ErrorCode)>,
}

/// ConsumerGroupHeartbeat: `None` says "as before".
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsumerHeartbeat {
    /// The group.
    pub group: Name,
    /// Its id; with v0 and epoch 0 empty.
    pub member: Name,
    /// Its epoch; 0 joins, -1 leaves, -2 leaves for a while (static members).
    pub epoch: i32,
    /// `group.instance.id`.
    pub instance: Option<Name>,
    /// `client.rack`.
    pub rack: Option<Name>,
    /// `max.poll.interval.ms`; -1 says as before.
    pub rebalance_timeout_ms: i32,
    /// Topics subscribed by name.
    pub topic_names: Option<Vec<Name>>,
    /// Topics subscribed by pattern (RE2); empty unsubscribes.
    pub topic_regex: Option<Name>,
    /// `group.remote.assignor`.
    pub server_assignor: Option<Name>,
    /// What it owns now.
    pub owned: Option<PartitionsById>,
    /// `client.id`.
    pub client_id: Name,
    /// As in [`JoinGroup::client_host`].
    pub client_host: Name,
    /// The id that it gets if it brings none (v0).
    pub fresh_member: Name,
}

/// To a consumer heartbeat.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConsumerHeartbeatAnswer {
    /// NONE, or why not.
    pub error: ErrorCode,
    /// What is wrong, in words.
    pub message: Option<String>,
    /// The member's id.
    pub member: Option<Name>,
    /// Its epoch from now on.
    pub epoch: i32,
    /// When it should be heard next.
    pub heartbeat_interval_ms: i32,
    /// What it should own, if it does not know that yet.
    pub assignment: Option<PartitionsById>,
}

/// Offsets to commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OffsetCommit {
    /// The group; may be empty (old standalone consumers).
    pub group: Name,
    /// Its member; empty for a standalone consumer.
    pub member: Name,
    /// Its instance id.
    pub instance: Option<Name>,
    /// Generation (classic) or member epoch (KIP-848); -1 for a standalone consumer.
    pub generation: i32,
    /// v2-4: how long to keep the offsets.
    pub retention_ms: Option<Millis>,
    /// The OffsetCommit version is 9 or higher: stale member epochs have a code of their own there.
    pub knows_stale_epoch: bool,
    /// By topic; every topic here exists.
    pub topics: Vec<CommitTopic>,
}

/// The partitions of one topic in a commit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommitTopic {
    /// Its name.
    pub name: Name,
    /// Its id, the zero id if it is not known.
    pub id: TopicId,
    /// Its partitions.
    pub partitions: Vec<CommitPartition>,
}

/// One committed offset.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CommitPartition {
    /// Partition.
    pub index: i32,
    /// The next offset to consume.
    pub offset: i64,
    /// Leader epoch of the last consumed record; -1 if not known (rule C5).
    pub leader_epoch: i32,
    /// What the client wants to remember, empty for nothing.
    pub metadata: Name,
}

/// Asks for committed offsets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OffsetFetch {
    /// The group.
    pub group: Name,
    /// v9+: the asking member, so that it is fenced.
    pub member: Option<Name>,
    /// v9+: its epoch; -1 for nobody.
    pub epoch: i32,
    /// Of these partitions; `None` for all that are committed.
    pub topics: Option<PartitionsByName>,
    /// Offsets that a transaction may still change are UNSTABLE_OFFSET_COMMIT.
    pub require_stable: bool,
}

/// Committed offsets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OffsetFetchAnswer {
    /// NONE, or why nothing is told.
    pub error: ErrorCode,
    /// As asked, or all.
    pub topics: Vec<(Name, Vec<FetchedOffset>)>,
}

/// One of them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FetchedOffset {
    /// Partition.
    pub index: i32,
    /// The committed offset, -1 if there is none.
    pub offset: i64,
    /// As committed, -1 if not known.
    pub leader_epoch: i32,
    /// As committed.
    pub metadata: Name,
    /// NONE or UNSTABLE_OFFSET_COMMIT.
    pub error: ErrorCode,
}

/// Offsets to forget.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OffsetDelete {
    /// The group.
    pub group: Name,
    /// Which; every topic here exists.
    pub topics: PartitionsByName,
}

/// To a deletion of offsets.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OffsetDeleteAnswer {
    /// NONE, or why nothing was deleted.
    pub error: ErrorCode,
    /// As asked, with GROUP_SUBSCRIBED_TO_TOPIC where a member still reads the topic.
    pub topics: Vec<(Name, Vec<(i32, ErrorCode)>)>,
}

/// Kind of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupKind {
    /// Clients assign: JoinGroup and SyncGroup. Groups with nothing but offsets are of this kind.
    Classic,
    /// The server assigns: KIP-848.
    Consumer,
}

impl GroupKind {
    /// As ListGroups v5 says it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Consumer => "consumer",
        }
    }
}

/// State of a group of either kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum GroupState {
    /// No members.
    Empty,
    /// Classic: members are joining.
    PreparingRebalance,
    /// Classic: the leader is assigning.
    CompletingRebalance,
    /// Everybody has what it should have.
    Stable,
    /// Consumer: a new target assignment is due.
    Assigning,
    /// Consumer: members are on their way to the target.
    Reconciling,
    /// Gone.
    Dead,
}

impl GroupState {
    /// As Kafka says it on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Empty => "Empty",
            Self::PreparingRebalance => "PreparingRebalance",
            Self::CompletingRebalance => "CompletingRebalance",
            Self::Stable => "Stable",
            Self::Assigning => "Assigning",
            Self::Reconciling => "Reconciling",
            Self::Dead => "Dead",
        }
    }
}

/// A line of ListGroups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    /// The group.
    pub group: Name,
    /// Its protocol type, empty for a group of nothing but offsets.
    pub protocol_type: Name,
    /// Its state.
    pub state: GroupState,
    /// Its kind.
    pub kind: GroupKind,
}

/// A classic group as DescribeGroups shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedGroup {
    /// NONE, or GROUP_ID_NOT_FOUND.
    pub error: ErrorCode,
    /// What is wrong, in words.
    pub message: Option<String>,
    /// The group.
    pub group: Name,
    /// Its state.
    pub state: GroupState,
    /// Its protocol type.
    pub protocol_type: Name,
    /// The protocol chosen, empty unless stable.
    pub protocol: Name,
    /// Its members.
    pub members: Vec<DescribedMember>,
}

/// A member in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member: Name,
    /// Its instance id.
    pub instance: Option<Name>,
    /// Its `client.id`.
    pub client_id: Name,
    /// Where it connects from.
    pub client_host: Name,
    /// Its metadata of the chosen protocol, empty unless stable.
    pub metadata: Bytes,
    /// Its assignment, empty unless stable.
    pub assignment: Bytes,
}

/// A group of KIP-848 as ConsumerGroupDescribe shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedConsumerGroup {
    /// NONE, or GROUP_ID_NOT_FOUND.
    pub error: ErrorCode,
    /// What is wrong, in words.
    pub message: Option<String>,
    /// The group.
    pub group: Name,
    /// Its state.
    pub state: GroupState,
    /// Its epoch.
    pub epoch: i32,
    /// The epoch of its target assignment.
    pub assignment_epoch: i32,
    /// The assignor in use.
    pub assignor: Name,
    /// Its members.
    pub members: Vec<DescribedConsumer>,
}

/// A member in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescribedConsumer {
    /// Its id.
    pub member: Name,
    /// Its instance id.
    pub instance: Option<Name>,
    /// Its rack.
    pub rack: Option<Name>,
    /// Its epoch.
    pub epoch: i32,
    /// Its `client.id`.
    pub client_id: Name,
    /// Where it connects from.
    pub client_host: Name,
    /// Topics subscribed by name.
    pub topic_names: Vec<Name>,
    /// The pattern subscribed.
    pub topic_regex: Option<Name>,
    /// What it has, with topic names.
    pub assignment: Vec<(TopicId, Name, Vec<i32>)>,
    /// What it should have, with topic names.
    pub target: Vec<(TopicId, Name, Vec<i32>)>,
    /// It speaks the classic protocol in a group of the new one (v1: member type 0, else 1).
    pub classic: bool,
}

impl JoinAnswer {
    /// Refuses `member` with `error`.
    #[must_use]
    pub fn refused(error: ErrorCode, member: Name) -> Self {
        Self { error, generation: -1, member, ..Self::default() }
    }
}

impl DescribedGroup {
    /// There is no such group.
    #[must_use]
    pub fn not_found(group: Name) -> Self {
        Self {
            error: ErrorCode::GroupIdNotFound,
            message: Some(format!("Group {group} not found.")),
            group,
            state: GroupState::Dead,
            protocol_type: Name::default(),
            protocol: Name::default(),
            members: Vec::new(),
        }
    }
}

impl DescribedConsumerGroup {
    /// There is no such group.
    #[must_use]
    pub fn not_found(group: Name) -> Self {
        Self {
            error: ErrorCode::GroupIdNotFound,
            message: Some(format!("Group {group} not found.")),
            group,
            state: GroupState::Dead,
            epoch: 0,
            assignment_epoch: 0,
            assignor: Name::default(),
            members: Vec::new(),
        }
    }
}
