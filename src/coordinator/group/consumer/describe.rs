//! ConsumerGroupDescribe.

use super::ConsumerGroup;
use super::member::{Member, by_id, owned_by_id};
use crate::coordinator::group::command::{DescribedConsumer, DescribedConsumerGroup, Name, PartitionsById};
use crate::coordinator::group::turn::Context;
use crate::metadata::image::ClusterImage;
use crate::protocol::error::ErrorCode;
use crate::types::TopicId;

impl ConsumerGroup {
    /// For ConsumerGroupDescribe.
    #[must_use]
    pub fn described(&self, context: &Context<'_>) -> DescribedConsumerGroup {
        DescribedConsumerGroup {
            error: ErrorCode::None,
            message: None,
            group: self.group.clone(),
            state: self.state(),
            epoch: self.epoch,
            assignment_epoch: self.assignment_epoch,
            assignor: self.assignor(context.settings),
            members: self
                .members
                .values()
                .map(|member| self.described_member(context.image, member))
                .collect(),
        }
    }

    fn described_member(&self, image: &ClusterImage, member: &Member) -> DescribedConsumer {
        let metadata = &member.metadata;
        let target = self.targets.get(&member.id).map(by_id).unwrap_or_default();
        DescribedConsumer {
            member: member.id.clone(),
            instance: metadata.instance.clone(),
            rack: metadata.rack.clone(),
            epoch: member.current.epoch,
            client_id: metadata.client_id.clone(),
            client_host: metadata.client_host.clone(),
            topic_names: metadata.topic_names.clone(),
            topic_regex: metadata.topic_regex.clone(),
            assignment: named(image, owned_by_id(&member.current.owned())),
            target: named(image, target),
            classic: member.is_classic(),
        }
    }
}

/// With topic names. Topics that do not exist any more are left out.
fn named(image: &ClusterImage, partitions: PartitionsById) -> Vec<(TopicId, Name, Vec<i32>)> {
    let named = partitions.into_iter().filter_map(|(id, partitions)| {
        let topic = image.topics.get(&id).filter(|topic| !topic.deleting)?;
        Some((id, topic.name.as_str().into(), partitions))
    });
    named.collect()
}
