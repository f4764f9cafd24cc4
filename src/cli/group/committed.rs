//! The committed offsets of a group.

use std::collections::BTreeMap;

use super::coordinator::{Groups, group_id};
use crate::cli::client::{text, topic_name};
use crate::cli::exit::{CliError, Outcome};
use crate::protocol::error::ErrorCode;
use crate::protocol::peer::messages::OffsetCommitRequest;
use crate::protocol::peer::messages::OffsetFetchRequest;
use crate::protocol::peer::messages::offset_commit_request::{
    OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use crate::protocol::peer::messages::offset_fetch_request::OffsetFetchRequestGroup;

/// Offsets by topic and partition.
pub type Offsets = BTreeMap<String, BTreeMap<i32, i64>>;

/// All offsets that `group` has committed.
///
/// # Errors
/// If the coordinator cannot be asked, or refuses.
pub async fn committed(groups: &mut Groups, group: &str) -> Outcome<Offsets> {
    let request = |version| {
        if version >= 8 {
            let all = OffsetFetchRequestGroup::default().with_group_id(group_id(group)).with_topics(None);
            OffsetFetchRequest::default().with_groups(vec![all])
        } else {
            OffsetFetchRequest::default().with_group_id(group_id(group)).with_topics(None)
        }
    };
    let answer = groups
        .ask(group, request, |answer| answer.groups.first().map_or(answer.error_code, |g| g.error_code))
        .await?;
    let code = answer.groups.first().map_or(answer.error_code, |group| group.error_code);
    if code != ErrorCode::None.code() && code != ErrorCode::GroupIdNotFound.code() {
        return Err(CliError::from_code(&format!("offsets of group {group:?}"), code, None));
    }
    let old = answer.topics.iter().flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(|p| (topic.name.to_string(), p.partition_index, p.committed_offset, p.error_code))
    });
    let new = answer.groups.iter().flat_map(|group| &group.topics).flat_map(|topic| {
        let partitions = topic.partitions.iter();
        partitions.map(|p| (topic.name.to_string(), p.partition_index, p.committed_offset, p.error_code))
    });
    let mut offsets = Offsets::new();
    for (topic, partition, offset, code) in old.chain(new) {
        if code != ErrorCode::None.code() {
            return Err(CliError::from_code(&format!("offset of {topic}-{partition}"), code, None));
        }
        if offset >= 0 {
            offsets.entry(topic).or_default().insert(partition, offset);
        }
    }
    Ok(offsets)
}

/// Commits `offsets` for a group without members.
///
/// # Errors
/// The first that was refused.
pub async fn commit(groups: &mut Groups, group: &str, offsets: &Offsets) -> Outcome {
    let topics: Vec<_> = offsets
        .iter()
        .map(|(topic, partitions)| {
            let partitions = partitions.iter().map(|(partition, offset)| {
                OffsetCommitRequestPartition::default()
                    .with_partition_index(*partition)
                    .with_committed_offset(*offset)
                    .with_committed_leader_epoch(-1)
                    .with_committed_metadata(Some(text("")))
            });
            OffsetCommitRequestTopic::default()
                .with_name(topic_name(topic))
                .with_partitions(partitions.collect())
        })
        .collect();
    let request =
        |_| OffsetCommitRequest::default().with_group_id(group_id(group)).with_topics(topics.clone());
    let answer = groups
        .ask(group, request, |answer| {
            let mut codes = answer.topics.iter().flat_map(|t| &t.partitions).map(|p| p.error_code);
            codes.find(|code| *code != ErrorCode::None.code()).unwrap_or_default()
        })
        .await?;
    let results =
        answer.topics.iter().flat_map(|topic| topic.partitions.iter().map(move |p| (topic.name.as_str(), p)));
    let mut refused = results.filter(|(_, partition)| partition.error_code != ErrorCode::None.code());
    if let Some((topic, partition)) = refused.next() {
        let what = format!("the offset of {topic}-{} was not moved", partition.partition_index);
        let error = CliError::from_code(&what, partition.error_code, None).at(groups.cluster.address());
        // Kafka's answer to a commit without member for a group that has some.
        let joined = partition.error_code == ErrorCode::UnknownMemberId.code();
        return Err(if joined {
            error.help("a consumer has joined meanwhile: stop it first")
        } else {
            error
        });
    }
    Ok(())
}
