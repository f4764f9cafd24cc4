//! OffsetFetch (key 9), v1-9. Committed offsets of one group (v1-7) or of many (v8+).
//!
//! - v2+: null topics ask for all that is committed; an error of the group stands above its topics. In v1 it stands in each partition.
//! - v7+: offsets that a transaction may still change are not told to who asks for stable ones (KIP-447).
//! - v9+: a member of the new protocol is fenced by its epoch (KIP-848).
//! - A partition without a committed offset, or one that does not exist, has offset -1 and no error.

use std::ops::RangeInclusive;

use kafka_protocol::messages::offset_fetch_response::{
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use kafka_protocol::messages::{GroupId, OffsetFetchRequest, OffsetFetchResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::wire::{NONE, text};
use super::wire_groups::{each, group_id, in_turn, name, some_name, topic_name};
use crate::broker::Broker;
use crate::coordinator::group::command::{
    FetchedOffset, OffsetFetch as Fetch, OffsetFetchAnswer, PartitionsByName,
};
use crate::protocol::error::ErrorCode;

pub struct OffsetFetch;

impl Api for OffsetFetch {
    type Request = OffsetFetchRequest;
    const NAME: &'static str = "OffsetFetch";
    const VERSIONS: RangeInclusive<i16> = 1..=9;

    fn handle(context: &RequestContext, request: OffsetFetchRequest) -> Handled<OffsetFetchResponse> {
        let (broker, version) = (context.broker.clone(), context.version);
        if version < 8 {
            let question = of_one(request);
            return in_turn(async move {
                let topics = question.topics.clone();
                one_group(version, topics, ask(&broker, question).await)
            });
        }
        let groups = each(of_many(request), move |question| {
            let broker = broker.clone();
            async move {
                let group = group_id(&question.group);
                of_many_answer(group, ask(&broker, question).await)
            }
        });
        in_turn(async move { OffsetFetchResponse::default().with_groups(groups.await) })
    }
}

async fn ask(broker: &Broker, question: Fetch) -> OffsetFetchAnswer {
    let group = question.group.clone();
    let refused = |error| OffsetFetchAnswer { error, topics: Vec::new() };
    broker.groups().ask(&group, question).await.unwrap_or_else(refused)
}

fn of_one(request: OffsetFetchRequest) -> Fetch {
    let topics = request
        .topics
        .map(|topics| topics.into_iter().map(|topic| (name(&topic.name), topic.partition_indexes)).collect());
    Fetch {
        group: name(&request.group_id),
        member: None,
        epoch: NONE,
        topics,
        require_stable: request.require_stable,
    }
}

fn of_many(request: OffsetFetchRequest) -> impl Iterator<Item = Fetch> {
    let require_stable = request.require_stable;
    request.groups.into_iter().map(move |group| {
        let topics = group.topics.map(|topics| {
            topics.into_iter().map(|topic| (name(&topic.name), topic.partition_indexes)).collect()
        });
        Fetch {
            group: name(&group.group_id),
            member: some_name(group.member_id.as_ref()),
            epoch: group.member_epoch,
            topics,
            require_stable,
        }
    })
}

/// The answer of v1-7.
fn one_group(
    version: i16,
    asked: Option<PartitionsByName>,
    answer: OffsetFetchAnswer,
) -> OffsetFetchResponse {
    if version < 2 && answer.error != ErrorCode::None {
        // There is no field for an error of the group.
        let refused = |index| FetchedOffset {
            index,
            offset: i64::from(NONE),
            leader_epoch: NONE,
            error: answer.error,
            ..FetchedOffset::default()
        };
        let topics = asked.into_iter().flatten();
        let topics = topics.map(|(name, indexes)| (name, indexes.into_iter().map(refused).collect()));
        return one_group(
            version,
            None,
            OffsetFetchAnswer { error: ErrorCode::None, topics: topics.collect() },
        );
    }
    let topics = answer.topics.into_iter().map(|(name, partitions)| {
        let partition = |one: FetchedOffset| {
            OffsetFetchResponsePartition::default()
                .with_partition_index(one.index)
                .with_committed_offset(one.offset)
                .with_committed_leader_epoch(one.leader_epoch)
                .with_metadata(Some(text(&one.metadata)))
                .with_error_code(one.error.code())
        };
        OffsetFetchResponseTopic::default()
            .with_name(topic_name(&name))
            .with_partitions(partitions.into_iter().map(partition).collect())
    });
    OffsetFetchResponse::default().with_topics(topics.collect()).with_error_code(answer.error.code())
}

/// One group in the answer of v8+.
fn of_many_answer(group: GroupId, answer: OffsetFetchAnswer) -> OffsetFetchResponseGroup {
    let topics = answer.topics.into_iter().map(|(name, partitions)| {
        let partition = |one: FetchedOffset| {
            OffsetFetchResponsePartitions::default()
                .with_partition_index(one.index)
                .with_committed_offset(one.offset)
                .with_committed_leader_epoch(one.leader_epoch)
                .with_metadata(Some(text(&one.metadata)))
                .with_error_code(one.error.code())
        };
        OffsetFetchResponseTopics::default()
            .with_name(topic_name(&name))
            .with_partitions(partitions.into_iter().map(partition).collect())
    });
    OffsetFetchResponseGroup::default()
        .with_group_id(group)
        .with_topics(topics.collect())
        .with_error_code(answer.error.code())
}
