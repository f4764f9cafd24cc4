//! Offsets of partitions: where they start and end, and which record a time means.

use std::collections::BTreeMap;

use super::client::{Cluster, by_leader, topic_name};
use super::exit::{CliError, Outcome};
use crate::protocol::error::ErrorCode;
use crate::protocol::peer::messages::list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic};
use crate::protocol::peer::messages::metadata_response::MetadataResponseTopic;
use crate::protocol::peer::messages::{BrokerId, ListOffsetsRequest};
use crate::types::Millis;

/// What to ask a partition's leader for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// The first offset that is still there.
    Start,
    /// The next offset to be written.
    End,
    /// The first record with this timestamp or a later one.
    Time(Millis),
}

impl At {
    /// As the wire says it.
    const fn timestamp(self) -> i64 {
        match self {
            Self::Start => -2,
            Self::End => -1,
            Self::Time(ms) => ms,
        }
    }
}

/// The offset of each partition of `topic` that has a leader; `None` if no record is as young as asked.
///
/// # Errors
/// If a leader cannot be asked or refuses.
pub async fn offsets(
    cluster: &mut Cluster,
    topic: &MetadataResponseTopic,
    at: At,
) -> Outcome<BTreeMap<i32, Option<i64>>> {
    let name = topic.name.as_ref().map(|name| name.to_string()).unwrap_or_default();
    let mut found = BTreeMap::new();
    for (leader, partitions) in by_leader(topic) {
        let wanted = partitions
            .iter()
            .map(|partition| {
                ListOffsetsPartition::default()
                    .with_partition_index(partition.partition_index)
                    .with_current_leader_epoch(-1)
                    .with_timestamp(at.timestamp())
            })
            .collect();
        let request = ListOffsetsRequest::default().with_replica_id(BrokerId(-1)).with_topics(vec![
            ListOffsetsTopic::default().with_name(topic_name(&name)).with_partitions(wanted),
        ]);
        let answer = cluster.broker(leader).await?.call(&request).await?;
        for partition in answer.topics.iter().flat_map(|topic| &topic.partitions) {
            if partition.error_code != ErrorCode::None.code() {
                let what = format!("offsets of {name}-{}", partition.partition_index);
                return Err(CliError::from_code(&what, partition.error_code, None));
            }
            found.insert(partition.partition_index, Some(partition.offset).filter(|offset| *offset >= 0));
        }
    }
    Ok(found)
}
