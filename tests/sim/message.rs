//! What brokers and clients say to each other.

use crate::metadata::image::ReplicaEntry;
use crate::replication::follower::FetchFrom;
use crate::types::{BrokerId, LeaderEpoch, Offset};

/// A request or an answer on its way to a broker.
#[derive(Debug, Clone)]
pub enum Message {
    Fetch(Fetch),
    Fetched(Fetched),
    Client(ClientRequest),
    /// The port of the broker that was asked refuses connections, and the old one was reset: that process is dead.
    Refused {
        broker: BrokerId,
    },
}

/// A follower's fetch of one partition.
#[derive(Debug, Clone)]
pub struct Fetch {
    pub id: u64,
    pub partition: i32,
    pub from: ReplicaEntry,
    /// The leader epoch that the follower knows.
    pub epoch: LeaderEpoch,
    pub position: FetchFrom,
    /// The high watermark known to the follower.
    pub high_watermark: Offset,
}

/// Its answer.
#[derive(Debug, Clone)]
pub struct Fetched {
    pub id: u64,
    pub partition: i32,
    /// The leader epoch of the request.
    pub epoch: LeaderEpoch,
    pub body: Body,
}

#[derive(Debug, Clone)]
pub enum Body {
    Records { base: Offset, records: Vec<(i32, u64)>, high_watermark: Offset },
    Diverging { epoch: LeaderEpoch, end: Offset },
    OutOfRange { start: Offset, end: Offset },
    Error,
}

/// Kafka's errors, as far as they matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    NotLeader,
    FencedLeaderEpoch,
    UnknownLeaderEpoch,
    NotEnoughReplicas,
    NotEnoughReplicasAfterAppend,
    OffsetNotAvailable,
    OffsetOutOfRange,
    /// The process is gone, or nobody answered in time: what came of it is not known.
    Lost,
}

/// A client's request of one partition.
#[derive(Debug, Clone)]
pub struct ClientRequest {
    pub op: u64,
    pub partition: i32,
    /// The leader epoch that the client knows.
    pub epoch: Option<LeaderEpoch>,
    pub kind: ClientKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientKind {
    /// The value is the number of the operation.
    Produce {
        acks_all: bool,
    },
    Read {
        from: Offset,
    },
    Latest,
}

/// What a client is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientAnswer {
    Acked { offset: Offset },
    Read { from: Offset, values: Vec<u64> },
    Latest { offset: Offset, epoch: LeaderEpoch },
    Failed(Refusal),
}
