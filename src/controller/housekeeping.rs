//! What the controller still owes: pure look at the image.

use crate::metadata::image::ClusterImage;
use crate::types::{BrokerId, TopicId};

/// Topics whose deletion `me` may finish: `me` is the controller, holds every replica of the topic, and has no log of it left
/// (`removed` says so).
#[must_use]
pub fn deletions_to_finish(
    image: &ClusterImage,
    me: BrokerId,
    removed: impl Fn(TopicId) -> bool,
) -> Vec<TopicId> {
    if image.controller.is_none_or(|(controller, _)| controller != me) {
        return Vec::new();
    }
    image
        .topics
        .values()
        .filter(|topic| topic.deleting)
        .filter(|topic| topic.partitions.iter().flat_map(|partition| &partition.replicas).all(|id| *id == me))
        .filter(|topic| removed(topic.id))
        .map(|topic| topic.id)
        .collect()
}
