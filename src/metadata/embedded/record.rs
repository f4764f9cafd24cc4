//! What a write changes, as it is replayed into memory and kept in the file; and the bytes of a change.

use std::sync::Arc;

use super::mvcc::{Key, Live, Revision, State, Version};

/// One durable change. Memory and file change by these alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A key was put or deleted.
    Changed(Arc<Version>),
    /// A lease was granted.
    Granted {
        /// The lease.
        id: i64,
        /// Seconds granted.
        ttl: i64,
    },
    /// A lease was revoked or has ended. The deletions of its keys are records of their own.
    Revoked {
        /// The lease.
        id: i64,
    },
    /// The history below `revision` is gone.
    Compacted {
        /// The compaction's revision.
        revision: i64,
        /// The changes that were dropped.
        dropped: Vec<Revision>,
    },
}

const LIVE: u8 = 1;
const DELETED: u8 = 2;

/// The bytes of a change, without its revision (which is the key in the file): one byte of kind, then for a live one create
/// revision, version and lease (8 bytes each, big-endian), then the key's length (4 bytes), key, value.
#[must_use]
pub fn encode(version: &Version) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(29 + version.size_bytes());
    match &version.state {
        State::Live(live) => {
            bytes.push(LIVE);
            for field in [live.create_revision, live.version, live.lease] {
                bytes.extend_from_slice(&field.to_be_bytes());
            }
        }
        State::Deleted => bytes.push(DELETED),
    }
    bytes.extend_from_slice(&u32::try_from(version.key.len()).unwrap_or(u32::MAX).to_be_bytes());
    bytes.extend_from_slice(&version.key);
    if let Some(live) = version.live() {
        bytes.extend_from_slice(&live.value);
    }
    bytes
}

/// Reads back what [`encode`] wrote; `None` if it did not write this.
#[must_use]
pub fn decode(at: Revision, bytes: &[u8]) -> Option<Version> {
    let (&kind, rest) = bytes.split_first()?;
    match kind {
        LIVE => {
            let (create_revision, rest) = number(rest)?;
            let (version, rest) = number(rest)?;
            let (lease, rest) = number(rest)?;
            let (key, value) = key_and_rest(rest)?;
            let live = Live { create_revision, version, lease, value: value.into() };
            Some(Version { key, at, state: State::Live(live) })
        }
        DELETED => {
            let (key, rest) = key_and_rest(rest)?;
            rest.is_empty().then_some(Version { key, at, state: State::Deleted })
        }
        _ => None,
    }
}

fn number(bytes: &[u8]) -> Option<(i64, &[u8])> {
    bytes.split_first_chunk().map(|(field, rest)| (i64::from_be_bytes(*field), rest))
}

fn key_and_rest(bytes: &[u8]) -> Option<(Key, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (key, rest) = rest.split_at_checked(usize::try_from(u32::from_be_bytes(*length)).ok()?)?;
    Some((key.into(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_reads_back_as_it_was_written_and_every_shorter_cut_is_refused() {
        let at = Revision { main: 9, sub: 3 };
        let live = Live { create_revision: 4, version: 2, lease: -7, value: (*b"value").into() };
        for state in [State::Live(live), State::Deleted] {
            let version = Version { key: (*b"key").into(), at, state };
            let bytes = encode(&version);
            assert_eq!(decode(at, &bytes), Some(version.clone()));
            let fixed = bytes.len() - version.live().map_or(0, |live| live.value.len());
            assert!((0..fixed).all(|length| decode(at, &bytes[..length]).is_none()));
        }
    }
}
