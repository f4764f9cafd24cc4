//! The first four bytes of a frame: a length, or the sign of another protocol.

use std::fmt;

/// The shortest request: API key, version, correlation id (a header of version 0).
pub(super) const REQUEST_BYTES_MIN: usize = 8;

/// A protocol that is not Kafka's, known by its first four bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Tls,
    Http,
    Http2,
    Ssh,
    Proxy,
    Redis,
    Amqp,
}

impl Protocol {
    fn of(prefix: [u8; 4]) -> Option<Self> {
        Some(match &prefix {
            [0x16, 0x03, 0x00..=0x04, _] => Self::Tls,
            b"GET " | b"POST" | b"PUT " | b"HEAD" | b"OPTI" | b"DELE" | b"PATC" | b"CONN" | b"TRAC" => {
                Self::Http
            }
            b"PRI " => Self::Http2,
            b"SSH-" => Self::Ssh,
            b"PROX" | [0x0D, 0x0A, 0x0D, 0x0A] => Self::Proxy,
            [b'*', b'0'..=b'9', b'\r', b'\n'] => Self::Redis,
            b"AMQP" => Self::Amqp,
            _ => return None,
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Self::Tls => "TLS",
            Self::Http => "HTTP",
            Self::Http2 => "HTTP/2",
            Self::Ssh => "SSH",
            Self::Proxy => "the PROXY protocol",
            Self::Redis => "Redis",
            Self::Amqp => "AMQP",
        }
    }

    const fn cure(self) -> &'static str {
        match self {
            Self::Tls => "this listener is plaintext: set security.protocol=PLAINTEXT in the client",
            Self::Http | Self::Http2 => {
                "this is a Kafka port: the HTTP endpoints are on admin.listen, other HTTP clients need a Kafka REST proxy"
            }
            Self::Proxy => "switch the PROXY protocol off for this port in the load balancer",
            Self::Ssh | Self::Redis | Self::Amqp => "this is a Kafka port: point that client elsewhere",
        }
    }
}

/// Why a frame is not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Foreign(Protocol),
    Negative { length: i32 },
    TooShort { length: usize },
    TooLong { length: usize, max: usize },
    OverBudget { length: usize, budget: usize },
}

impl Refusal {
    /// What the operator or the client can do about it.
    pub(super) const fn cure(self) -> &'static str {
        match self {
            Self::Foreign(protocol) => protocol.cure(),
            Self::Negative { .. } | Self::TooShort { .. } => {
                "check that the client speaks the Kafka protocol"
            }
            Self::TooLong { .. } => "send smaller requests, or raise socket.request.max.bytes",
            Self::OverBudget { .. } => "send smaller requests, or raise queued.max.request.bytes",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Foreign(protocol) => write!(f, "the peer spoke {}, not Kafka", protocol.name()),
            Self::Negative { length } => write!(f, "the frame's length is negative ({length})"),
            Self::TooShort { length } => write!(f, "a frame of {length} bytes is too short for a request"),
            Self::TooLong { length, max } => {
                write!(f, "a frame of {length} bytes is longer than socket.request.max.bytes ({max})")
            }
            Self::OverBudget { length, budget } => {
                write!(f, "a frame of {length} bytes is larger than queued.max.request.bytes ({budget})")
            }
        }
    }
}

/// The length that `prefix` announces, if a frame of that length may be read.
///
/// `first`: nothing was understood on this connection yet, so the sign of another protocol counts even where it is a legal length.
pub(super) fn frame_length(
    prefix: [u8; 4],
    first: bool,
    length_max: usize,
    budget: usize,
) -> Result<usize, Refusal> {
    let raw = i32::from_be_bytes(prefix);
    let legal = usize::try_from(raw).is_ok_and(|length| (REQUEST_BYTES_MIN..=length_max).contains(&length));
    if (first || !legal)
        && let Some(protocol) = Protocol::of(prefix)
    {
        return Err(Refusal::Foreign(protocol));
    }
    match usize::try_from(raw) {
        Err(_) => Err(Refusal::Negative { length: raw }),
        Ok(length) if length < REQUEST_BYTES_MIN => Err(Refusal::TooShort { length }),
        Ok(length) if length > length_max => Err(Refusal::TooLong { length, max: length_max }),
        Ok(length) if length > budget => Err(Refusal::OverBudget { length, budget }),
        Ok(length) => Ok(length),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 100 << 20;

    fn length(prefix: [u8; 4]) -> Result<usize, Refusal> {
        frame_length(prefix, true, MAX, MAX)
    }

    #[test]
    fn other_protocols_are_known_by_their_first_bytes() {
        for (prefix, protocol) in [
            ([0x16, 0x03, 0x01, 0x00], Protocol::Tls),
            (*b"GET ", Protocol::Http),
            (*b"PRI ", Protocol::Http2),
            (*b"SSH-", Protocol::Ssh),
            (*b"PROX", Protocol::Proxy),
            ([0x0D, 0x0A, 0x0D, 0x0A], Protocol::Proxy),
        ] {
            assert_eq!(length(prefix), Err(Refusal::Foreign(protocol)));
        }
    }

    #[test]
    fn lengths_are_checked_at_their_bounds() {
        assert_eq!(length([0, 0, 0, 8]), Ok(8));
        assert_eq!(length([0, 0, 0, 7]), Err(Refusal::TooShort { length: 7 }));
        assert_eq!(length([0, 0, 0, 0]), Err(Refusal::TooShort { length: 0 }));
        assert_eq!(length([0xff, 0xff, 0xff, 0xff]), Err(Refusal::Negative { length: -1 }));
        let max = u32::try_from(MAX).unwrap();
        assert_eq!(length(max.to_be_bytes()), Ok(MAX));
        assert_eq!(length((max + 1).to_be_bytes()), Err(Refusal::TooLong { length: MAX + 1, max: MAX }));
        assert_eq!(length(i32::MAX.to_be_bytes()), Err(Refusal::TooLong { length: 0x7fff_ffff, max: MAX }));
        let over = Refusal::OverBudget { length: 9, budget: 8 };
        assert_eq!(frame_length([0, 0, 0, 9], false, MAX, 8), Err(over));
    }

    #[test]
    fn a_length_that_looks_like_tls_is_a_length_once_kafka_was_spoken() {
        let huge = usize::try_from(i32::MAX).unwrap();
        assert_eq!(frame_length([0x16, 0x03, 0x01, 0], false, huge, huge), Ok(369_295_616));
        assert!(frame_length([0x16, 0x03, 0x01, 0], true, huge, huge).is_err());
    }
}
