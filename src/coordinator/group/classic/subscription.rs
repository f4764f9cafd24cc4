//! The topic names at the beginning of a `ConsumerProtocolSubscription`.

use std::collections::BTreeSet;

use super::{CONSUMER, ClassicGroup};
use crate::coordinator::group::command::Name;

/// Adds the topics of one member's metadata of protocol type `consumer` to `topics`.
///
/// Every version of `ConsumerProtocolSubscription` begins like version 0: INT16 version, ARRAY of STRING topics; what follows is
/// not looked at. `None` if that cannot be read. Allocates no more than the bytes can hold: a topic takes at least two of them.
pub(in crate::coordinator::group) fn read_topics(metadata: &[u8], topics: &mut BTreeSet<Name>) -> Option<()> {
    let (version, rest) = metadata.split_first_chunk::<2>()?;
    if i16::from_be_bytes(*version) < 0 {
        return None;
    }
    let (count, mut rest) = rest.split_first_chunk::<4>()?;
    let count = usize::try_from(i32::from_be_bytes(*count)).ok()?;
    for _ in 0..count {
        let (length, bytes) = rest.split_first_chunk::<2>()?;
        let length = usize::try_from(i16::from_be_bytes(*length)).ok()?;
        let (name, after) = bytes.split_at_checked(length)?;
        let name = std::str::from_utf8(name).ok()?;
        if !topics.contains(name) {
            topics.insert(name.into());
        }
        rest = after;
    }
    Some(())
}

impl ClassicGroup {
    /// What the members of the generation read. `None` if they are no consumers, if no protocol is chosen, or if one of them cannot be
    /// read (Kafka's `computeSubscribedTopics`).
    pub(super) fn read_topics(&self) -> Option<BTreeSet<Name>> {
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return None;
        }
        let mut topics = BTreeSet::new();
        if self.members.is_empty() {
            return Some(topics);
        }
        let protocol = self.protocol.as_deref()?;
        for member in self.members.values() {
            read_topics(&member.metadata(Some(protocol)), &mut topics)?;
        }
        Some(topics)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(metadata: &[u8]) -> Option<Vec<Name>> {
        let mut topics = BTreeSet::new();
        read_topics(metadata, &mut topics)?;
        Some(topics.into_iter().collect())
    }

    #[test]
    fn topics_are_read_from_any_version_and_the_rest_is_passed_over() {
        assert_eq!(
            read(b"\x00\x03\x00\x00\x00\x02\x00\x01b\x00\x02aa\xff\xff\xff\xffwhatever"),
            Some(vec!["aa".into(), "b".into()])
        );
        assert_eq!(read(b"\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff"), Some(vec![]));
    }

    #[test]
    fn metadata_that_lies_about_its_size_is_not_read() {
        assert_eq!(read(b""), None);
        assert_eq!(read(b"\x00\x00\x7f\xff\xff\xff\x00\x01a"), None, "more topics than bytes");
        assert_eq!(read(b"\x00\x00\x00\x00\x00\x01\x00\x09a"), None, "a longer name than bytes");
        assert_eq!(read(b"\x00\x00\xff\xff\xff\xff"), None, "a null array");
        assert_eq!(read(b"\x00\x00\x00\x00\x00\x01\xff\xff"), None, "a null name");
        assert_eq!(read(b"\x00\x00\x00\x00\x00\x01\x00\x01\xff"), None, "no UTF-8");
        assert_eq!(read(b"\xff\xff\x00\x00\x00\x00"), None, "a negative version");
    }
}
