//! ListPartitionReassignments (key 46), v0. The partitions whose replicas are on the move, by this broker's image.
//!
//! - Null means all topics. What does not exist, or does not move, is not in the answer: as Kafka, no error.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use kafka_protocol::messages::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use kafka_protocol::messages::{ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::wire::{broker_ids, topic_name};
use crate::broker::reassignments::ongoing;
use crate::metadata::image::TopicImage;

pub struct ListPartitionReassignments;

impl Api for ListPartitionReassignments {
    type Request = ListPartitionReassignmentsRequest;
    const NAME: &'static str = "ListPartitionReassignments";
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(
        context: &RequestContext,
        request: ListPartitionReassignmentsRequest,
    ) -> Handled<ListPartitionReassignmentsResponse> {
        let image = context.broker.image();
        let topics: Vec<OngoingTopicReassignment> = match request.topics {
            None => image.topics.values().filter_map(|topic| moving(topic, |_| true)).collect(),
            Some(asked) => asked
                .iter()
                .filter_map(|asked| {
                    let wanted: BTreeSet<i32> = asked.partition_indexes.iter().copied().collect();
                    moving(image.topic(&asked.name)?, |index| wanted.contains(&index))
                })
                .collect(),
        };
        Handled::Now(ListPartitionReassignmentsResponse::default().with_topics(topics))
    }
}

fn moving(topic: &TopicImage, wanted: impl Fn(i32) -> bool) -> Option<OngoingTopicReassignment> {
    if topic.deleting {
        return None;
    }
    let partitions: Vec<_> = ongoing(topic)
        .filter(|(index, _)| wanted(*index))
        .map(|(index, state)| {
            OngoingPartitionReassignment::default()
                .with_partition_index(index)
                .with_replicas(broker_ids(state.replicas.iter().copied()))
                .with_adding_replicas(broker_ids(state.adding.iter().copied()))
                .with_removing_replicas(broker_ids(state.removing.iter().copied()))
        })
        .collect();
    (!partitions.is_empty()).then(|| {
        OngoingTopicReassignment::default().with_name(topic_name(&topic.name)).with_partitions(partitions)
    })
}
