//! Why a conversation with a broker failed.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::peer::RESPONSE_BYTES_MAX;

/// Why a conversation with a broker failed. Every variant names the address that was used.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// The host name has no address.
    #[error("{address}: the name cannot be resolved: {source}")]
    Unresolved {
        /// As given.
        address: Arc<str>,
        /// What the resolver says.
        source: io::Error,
    },
    /// Nobody listens there.
    #[error("{address}: connection refused")]
    Refused {
        /// As given.
        address: Arc<str>,
    },
    /// No answer to the connection attempt.
    #[error("{address}: no connection within {after:?}")]
    ConnectTimeout {
        /// As given.
        address: Arc<str>,
        /// How long was waited.
        after: Duration,
    },
    /// The broker closed the connection while an answer was due.
    #[error("{address}: the broker closed the connection {during}")]
    Closed {
        /// As given.
        address: Arc<str>,
        /// What was going on.
        during: &'static str,
    },
    /// No answer in time.
    #[error("{address}: no answer to {api} within {after:?}")]
    Timeout {
        /// As given.
        address: Arc<str>,
        /// Name of the API that was called.
        api: String,
        /// How long was waited.
        after: Duration,
    },
    /// The answer starts like a TLS record.
    #[error("{address}: answered with TLS, but the connection is plain text")]
    LooksLikeTls {
        /// As given.
        address: Arc<str>,
    },
    /// The answer starts like HTTP.
    #[error("{address}: answered with HTTP, not with Kafka's protocol")]
    LooksLikeHttp {
        /// As given.
        address: Arc<str>,
    },
    /// The answer announces more bytes than are read.
    #[error("{address}: announced an answer of {size} bytes, more than {RESPONSE_BYTES_MAX}")]
    FrameTooLarge {
        /// As given.
        address: Arc<str>,
        /// The announced size, in bytes.
        size: usize,
    },
    /// The answer does not belong to the request.
    #[error("{address}: answered request {got} instead of {expected}")]
    WrongCorrelation {
        /// As given.
        address: Arc<str>,
        /// The id that was sent.
        expected: i32,
        /// The id that came back.
        got: i32,
    },
    /// The answer cannot be decoded.
    #[error("{address}: the answer to {api} version {version} cannot be decoded: {reason}")]
    Undecodable {
        /// As given.
        address: Arc<str>,
        /// Name of the API.
        api: String,
        /// Version of the answer.
        version: i16,
        /// What the codec says.
        reason: String,
    },
    /// The request cannot be encoded in the version that the broker serves.
    #[error("{api} version {version} cannot be encoded: {reason}")]
    Unencodable {
        /// Name of the API.
        api: String,
        /// The version.
        version: i16,
        /// What the codec says.
        reason: String,
    },
    /// The broker does not serve the API, or no version that this program knows.
    #[error("{address}: the broker does not serve {api} in a version that this program knows")]
    NotServed {
        /// As given.
        address: Arc<str>,
        /// Name of the API.
        api: String,
    },
    /// Any other socket error.
    #[error("{address}: {source}")]
    Io {
        /// As given.
        address: Arc<str>,
        /// What the system says.
        source: io::Error,
    },
}

impl PeerError {
    /// Nobody could be talked to: nothing was asked yet, or the connection is gone.
    #[must_use]
    pub const fn is_unreachable(&self) -> bool {
        matches!(
            self,
            Self::Unresolved { .. }
                | Self::Refused { .. }
                | Self::ConnectTimeout { .. }
                | Self::Closed { .. }
                | Self::Timeout { .. }
                | Self::Io { .. }
                | Self::LooksLikeTls { .. }
                | Self::LooksLikeHttp { .. }
        )
    }

    pub(super) fn io(address: &Arc<str>, source: io::Error, during: &'static str) -> Self {
        let address = Arc::clone(address);
        match source.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused { address },
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::UnexpectedEof => Self::Closed { address, during },
            _ => Self::Io { address, source },
        }
    }
}
