//! OffsetDelete (key 47), v0. A group forgets its offsets of some partitions, unless a member still reads their topic (KIP-496).
//!
//! - Partitions that do not exist are refused one by one; an error of the group stands above all.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use kafka_protocol::messages::offset_delete_request::OffsetDeleteRequestTopic;
use kafka_protocol::messages::offset_delete_response::{
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use kafka_protocol::messages::{OffsetDeleteRequest, OffsetDeleteResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::wire_groups::{in_turn, is_valid_group, name};
use crate::coordinator::group::command::{
    Name, OffsetDelete as Delete, OffsetDeleteAnswer, PartitionsByName,
};
use crate::metadata::image::ClusterImage;
use crate::protocol::error::ErrorCode;

pub struct OffsetDelete;

impl Api for OffsetDelete {
    type Request = OffsetDeleteRequest;
    const NAME: &'static str = "OffsetDelete";
    const VERSIONS: RangeInclusive<i16> = 0..=0;

    fn handle(context: &RequestContext, request: OffsetDeleteRequest) -> Handled<OffsetDeleteResponse> {
        if !is_valid_group(&request.group_id) {
            return Handled::Now(refused(ErrorCode::InvalidGroupId));
        }
        let group = name(&request.group_id);
        let topics = existing(&context.broker.image(), &request.topics);
        let groups = context.broker.groups().clone();
        in_turn(async move {
            match groups.ask(&group, Delete { group: group.clone(), topics }).await {
                Ok(OffsetDeleteAnswer { error: ErrorCode::None, topics }) => answer(request, topics),
                Ok(OffsetDeleteAnswer { error, .. }) | Err(error) => refused(error),
            }
        })
    }
}

fn refused(error: ErrorCode) -> OffsetDeleteResponse {
    OffsetDeleteResponse::default().with_error_code(error.code())
}

fn existing(image: &ClusterImage, topics: &[OffsetDeleteRequestTopic]) -> PartitionsByName {
    let topics = topics.iter().filter_map(|asked| {
        let topic = image.topic(&asked.name)?;
        let exists = |index: &i32| usize::try_from(*index).is_ok_and(|index| index < topic.partitions.len());
        let indexes: Vec<_> = asked.partitions.iter().map(|one| one.partition_index).filter(exists).collect();
        (!indexes.is_empty()).then(|| (name(&asked.name), indexes))
    });
    topics.collect()
}

/// Every partition as asked: what the coordinator says of it, or that it does not exist.
fn answer(request: OffsetDeleteRequest, told: Vec<(Name, Vec<(i32, ErrorCode)>)>) -> OffsetDeleteResponse {
    let mut told_of = BTreeMap::new();
    for (topic, partitions) in told {
        for (index, error) in partitions {
            told_of.insert((topic.clone(), index), error);
        }
    }
    let topics = request.topics.into_iter().map(|asked| {
        let topic = name(&asked.name);
        let partitions = asked.partitions.iter().map(|one| {
            let told = told_of.get(&(topic.clone(), one.partition_index)).copied();
            OffsetDeleteResponsePartition::default()
                .with_partition_index(one.partition_index)
                .with_error_code(told.unwrap_or(ErrorCode::UnknownTopicOrPartition).code())
        });
        let partitions = partitions.collect();
        OffsetDeleteResponseTopic::default().with_name(asked.name).with_partitions(partitions)
    });
    OffsetDeleteResponse::default().with_topics(topics.collect())
}
