//! OffsetCommit (key 8), v2-9. Keeps the offsets that a group, or a consumer without a group, has reached.
//!
//! - v2-4: the client says how long to keep them (KIP-211 took that away).
//! - v6+: leader epochs (rule C5). v7+: static members are fenced. v9+: member epochs, and STALE_MEMBER_EPOCH (KIP-848).
//! - Partitions that do not exist are refused one by one; the coordinator never hears of them.

use std::ops::RangeInclusive;

use kafka_protocol::messages::offset_commit_request::OffsetCommitRequestPartition;
use kafka_protocol::messages::offset_commit_response::{
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use kafka_protocol::messages::{OffsetCommitRequest, OffsetCommitResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::wire_groups::{in_turn, name, some_name};
use crate::coordinator::group::command::{CommitPartition, CommitTopic, OffsetCommit as Commit};
use crate::metadata::image::ClusterImage;
use crate::protocol::error::ErrorCode;

/// "As long as the broker says" in v2-4.
const RETENTION_OF_BROKER: i64 = -1;

pub struct OffsetCommit;

impl Api for OffsetCommit {
    type Request = OffsetCommitRequest;
    const NAME: &'static str = "OffsetCommit";
    const VERSIONS: RangeInclusive<i16> = 2..=9;

    fn handle(context: &RequestContext, request: OffsetCommitRequest) -> Handled<OffsetCommitResponse> {
        let (mut response, topics) = split(&context.broker.image(), &request);
        if topics.is_empty() {
            return Handled::Now(response);
        }
        let group = name(&request.group_id);
        let commit = Commit {
            group: group.clone(),
            member: name(&request.member_id),
            instance: some_name(request.group_instance_id.as_ref()),
            generation: request.generation_id_or_member_epoch,
            retention_ms: Some(request.retention_time_ms).filter(|time| *time != RETENTION_OF_BROKER),
            knows_stale_epoch: context.version >= 9,
            topics,
        };
        drop(request);
        let groups = context.broker.groups().clone();
        in_turn(async move {
            match groups.ask(&group, commit).await {
                Ok(topics) => {
                    let told = topics.into_iter().flat_map(|(_, partitions)| partitions);
                    fill(&mut response, told.map(|(_, error)| error));
                }
                Err(error) => fill(&mut response, std::iter::repeat(error)),
            }
            response
        })
    }
}

/// The answer with the errors of partitions that do not exist, and the topics to commit: what exists, in the order of the request.
fn split(image: &ClusterImage, request: &OffsetCommitRequest) -> (OffsetCommitResponse, Vec<CommitTopic>) {
    let mut answers = Vec::with_capacity(request.topics.len());
    let mut topics = Vec::new();
    for asked in &request.topics {
        let topic = image.topic(&asked.name);
        let count = topic.map_or(0, |topic| topic.partitions.len());
        let exists = |index: i32| usize::try_from(index).is_ok_and(|index| index < count);
        let answer = |partition: &OffsetCommitRequestPartition| {
            let error = if exists(partition.partition_index) {
                ErrorCode::None
            } else {
                ErrorCode::UnknownTopicOrPartition
            };
            OffsetCommitResponsePartition::default()
                .with_partition_index(partition.partition_index)
                .with_error_code(error.code())
        };
        answers.push(
            OffsetCommitResponseTopic::default()
                .with_name(asked.name.clone())
                .with_partitions(asked.partitions.iter().map(answer).collect()),
        );
        let partitions: Vec<_> =
            asked.partitions.iter().filter(|one| exists(one.partition_index)).map(partition).collect();
        if let Some(topic) = topic
            && !partitions.is_empty()
        {
            topics.push(CommitTopic { name: name(topic.name.as_str()), id: topic.id, partitions });
        }
    }
    (OffsetCommitResponse::default().with_topics(answers), topics)
}

fn partition(asked: &OffsetCommitRequestPartition) -> CommitPartition {
    CommitPartition {
        index: asked.partition_index,
        offset: asked.committed_offset,
        leader_epoch: asked.committed_leader_epoch,
        metadata: some_name(asked.committed_metadata.as_ref()).unwrap_or_default(),
    }
}

/// Puts what the coordinator says to the partitions that it was asked about, which have no error yet.
fn fill(response: &mut OffsetCommitResponse, mut errors: impl Iterator<Item = ErrorCode>) {
    let partitions = response.topics.iter_mut().flat_map(|topic| &mut topic.partitions);
    for partition in partitions.filter(|partition| partition.error_code == ErrorCode::None.code()) {
        let error = errors.next().unwrap_or(ErrorCode::UnknownServerError);
        partition.error_code = error.code();
    }
}
