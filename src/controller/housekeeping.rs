//! The end of deleted topics: pure look at the image.
//!
//! A deleted topic keeps its key until every broker that may have logs of it has removed them and taken itself out of
//! `remaining`. One that is away does so when it comes back; one that was unregistered is not waited for.

use crate::metadata::image::ClusterImage;
use crate::types::{BrokerId, TopicId};

/// What is to be said of a deleted topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// This broker has removed its logs.
    Removed(TopicId),
    /// As controller: all have, so its last key goes.
    Finish(TopicId),
}

/// What `me` is to say of topics that are being deleted, in the order of their ids. `removed` says whether no log of a topic is left
/// here.
#[must_use]
pub fn endings(image: &ClusterImage, me: BrokerId, removed: impl Fn(TopicId) -> bool) -> Vec<Ending> {
    let controls = image.controller.is_some_and(|(controller, _)| controller == me);
    let known = |id: &BrokerId| image.brokers.contains_key(id) || image.broker_meta.contains_key(id);
    let deleting = image.topics.values().filter(|topic| topic.deleting && removed(topic.id));
    deleting
        .filter_map(|topic| {
            let remaining = image.topic_values.get(&topic.id).map_or(&[][..], |value| &value.remaining);
            if controls && !remaining.iter().any(|id| *id != me && known(id)) {
                return Some(Ending::Finish(topic.id));
            }
            remaining.contains(&me).then_some(Ending::Removed(topic.id))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use uuid::Uuid;

    use super::*;
    use crate::metadata::image::TopicImage;
    use crate::metadata::keys::{BrokerMetaValue, TopicValue};
    use crate::types::{ControllerEpoch, TopicName};

    fn id() -> TopicId {
        TopicId::new(Uuid::from_u128(1)).unwrap()
    }

    /// A deleted topic; brokers 1 to 3 are known, 1 is the controller.
    fn image(remaining: &[i32], deleting: bool) -> ClusterImage {
        let mut image = ClusterImage::default();
        for broker in 1..=3 {
            image.broker_meta.insert(BrokerId(broker), Arc::new(BrokerMetaValue::default()));
        }
        image.controller = Some((BrokerId(1), ControllerEpoch(7)));
        let name = TopicName::new("t").unwrap();
        let topic =
            TopicImage { id: id(), name: name.clone(), mod_revision: 5, deleting, partitions: Vec::new() };
        image.topics.insert(id(), Arc::new(topic));
        let value = TopicValue {
            name,
            created_ms: 0,
            assignment: Vec::new(),
            epochs: Vec::new(),
            deleting,
            remaining: remaining.iter().copied().map(BrokerId).collect(),
        };
        image.topic_values.insert(id(), Arc::new(value));
        image
    }

    fn said(remaining: &[i32], me: i32) -> Vec<Ending> {
        endings(&image(remaining, true), BrokerId(me), |_| true)
    }

    #[test]
    fn each_broker_says_that_its_logs_are_gone_and_the_controller_ends_it() {
        assert_eq!(said(&[1, 2, 3], 2), [Ending::Removed(id())]);
        assert_eq!(said(&[1, 3], 2), []);
        assert_eq!(said(&[1, 2], 1), [Ending::Removed(id())]);
        assert_eq!(said(&[1], 1), [Ending::Finish(id())]);
        assert_eq!(said(&[], 1), [Ending::Finish(id())]);
    }

    #[test]
    fn nothing_is_said_while_logs_are_left_or_of_topics_that_live() {
        assert_eq!(endings(&image(&[1], true), BrokerId(1), |_| false), []);
        assert_eq!(endings(&image(&[1], false), BrokerId(1), |_| true), []);
    }

    #[test]
    fn a_broker_that_was_unregistered_is_not_waited_for() {
        assert_eq!(said(&[9], 1), [Ending::Finish(id())]);
        assert_eq!(said(&[3], 1), [], "one that is only away is");
    }
}
