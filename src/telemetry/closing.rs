//! Why connections end, as a label of metrics and log lines.

/// Why a connection ended or was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClosedBecause {
    /// The client closed it.
    Client,
    /// The network broke it: reset, time-out of TCP.
    Network,
    /// Nothing was said for `connections.max.idle.ms`.
    Idle,
    /// Another protocol than Kafka's, or a length that no request has.
    NotKafka,
    /// A request that cannot be understood or is not served.
    BadRequest,
    /// acks=0 produce failed: closing is the only answer.
    SilentProduceFailed,
    /// A frame was begun and did not arrive in time, or the client does not take its answers.
    Stalled,
    /// A handler panicked.
    Panic,
    /// The broker stops.
    Shutdown,
    /// `max.connections` or `max.connections.per.ip` was reached.
    TooMany,
}

impl ClosedBecause {
    /// Every reason, in the order of the numbers of [`ClosedBecause::index`].
    pub const ALL: [Self; 10] = [
        Self::Client,
        Self::Network,
        Self::Idle,
        Self::NotKafka,
        Self::BadRequest,
        Self::SilentProduceFailed,
        Self::Stalled,
        Self::Panic,
        Self::Shutdown,
        Self::TooMany,
    ];

    /// The reason as a label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Network => "network",
            Self::Idle => "idle",
            Self::NotKafka => "not_kafka",
            Self::BadRequest => "bad_request",
            Self::SilentProduceFailed => "silent_produce_failed",
            Self::Stalled => "stalled",
            Self::Panic => "panic",
            Self::Shutdown => "shutdown",
            Self::TooMany => "too_many",
        }
    }

    /// Its place in [`ClosedBecause::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stands_at_its_index() {
        for (index, reason) in ClosedBecause::ALL.into_iter().enumerate() {
            assert_eq!(reason.index(), index);
        }
    }
}
