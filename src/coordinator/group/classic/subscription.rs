//! What the members of a classic group read.

use std::collections::BTreeSet;

use super::{CONSUMER, ClassicGroup};
use crate::coordinator::group::command::Name;
use crate::protocol::consumer_protocol;

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
            topics.extend(consumer_protocol::subscribed_topics(&member.metadata(Some(protocol))).ok()?);
        }
        Some(topics)
    }
}
