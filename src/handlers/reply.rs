//! What the server and the handlers say to each other: a frame goes in, a [`Reply`] comes back.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use smallvec::SmallVec;

use super::refused_batches::RefusedBatches;

/// One client connection, as far as handlers may know it.
#[derive(Debug)]
pub struct Connection {
    /// Unique in this process.
    pub id: u64,
    /// Name of the listener that accepted it.
    pub listener: Arc<str>,
    /// The client's address.
    pub peer: SocketAddr,
    /// `client.software.name` and `.version` as ApiVersions v3+ told them (KIP-511).
    pub software: OnceLock<(String, String)>,
    /// What its idempotent producers were refused.
    pub refused_batches: RefusedBatches,
}

/// A whole response frame: 4 bytes of length, header, body, in pieces that leave by one vectored write.
///
/// A Fetch response lends pieces of mapped segments; dropping the response releases them.
#[derive(Debug, Clone, Default)]
pub struct Response {
    /// The pieces, in order. Together they are exactly one frame.
    pub chunks: SmallVec<[Bytes; 2]>,
}

impl Response {
    /// How many bytes go to the socket.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.chunks.iter().map(Bytes::len).sum()
    }
}

impl From<Bytes> for Response {
    fn from(frame: Bytes) -> Self {
        Self { chunks: SmallVec::from_iter([frame]) }
    }
}

/// How a request is answered. The ordered part of the request is over when its handler returns: the server starts the connection's
/// next request at once and sends the answers in the order of the requests.
pub enum Reply {
    /// The answer is ready.
    Now(Response),
    /// The ordered part is done, the answer comes later (acks=all, a long-polling fetch, an admin change). An answer without pieces
    /// says that none can be made: the connection is closed.
    Later(BoxFuture<'static, Response>),
    /// The protocol forbids an answer (acks=0).
    Silent,
    /// The connection cannot go on; the server logs why and closes it after the answers that are due.
    Close(CloseReason),
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Now(response) => f.debug_tuple("Now").field(&response.size_bytes()).finish(),
            Self::Later(_) => f.write_str("Later"),
            Self::Silent => f.write_str("Silent"),
            Self::Close(reason) => f.debug_tuple("Close").field(reason).finish(),
        }
    }
}

/// Why a connection is closed by us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CloseReason {
    /// The frame is not a request that can be answered.
    #[error("malformed request: {0}")]
    Malformed(String),
    /// An API or version that is not served. Kafka too closes the connection.
    #[error("api key {key} version {version} is not served")]
    Unsupported {
        /// The API key of the request.
        key: i16,
        /// Its version.
        version: i16,
    },
    /// acks=0 produce failed: closing is the only way to tell (as Kafka).
    #[error("produce with acks=0 failed: {0}")]
    SilentProduceFailed(String),
}

/// What the server drives: takes one frame (without its length prefix) of a connection. Called in the order of arrival, one call at
/// a time per connection, on a data runtime: must not block.
pub trait Service: Send + Sync + 'static {
    /// Handles one request.
    fn call(&self, connection: &Arc<Connection>, frame: Bytes) -> Reply;
}
