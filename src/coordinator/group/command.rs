//! What is asked of a group shard, and what it answers: the requests of Kafka's group APIs without their wire form.
//!
//! Errors are Kafka's codes: for groups they *are* the language of the domain (`ILLEGAL_GENERATION` says more than a word of ours).

mod description;
mod membership;
mod offsets;

use std::sync::Arc;

use crate::protocol::error::ErrorCode;
use crate::types::TopicId;

pub use description::{
    DescribedConsumer, DescribedConsumerGroup, DescribedGroup, DescribedMember, GroupKind, GroupState,
    ListedGroup,
};
pub use membership::{
    ConsumerHeartbeat, ConsumerHeartbeatAnswer, Heartbeat, JoinAnswer, JoinGroup, JoinedMember, LeaveAnswer,
    LeaveGroup, Leaver, Protocol, SyncAnswer, SyncGroup,
};
pub use offsets::{
    CommitPartition, CommitTopic, FetchedOffset, OffsetCommit, OffsetDelete, OffsetDeleteAnswer, OffsetFetch,
    OffsetFetchAnswer,
};

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
