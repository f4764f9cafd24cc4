//! DescribeLogDirs (key 35), v1-4. The log directories, their room (KIP-827), and the partitions in them.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::sync::Arc;

use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{DescribeLogDirsRequest, DescribeLogDirsResponse};

use super::endpoint::{Api, Handled, RequestContext};
use super::wire::{text, topic_name};
use crate::broker::Broker;
use crate::log::DirectoryInfo;
use crate::protocol::error::ErrorCode;
use crate::types::TopicName;

pub struct DescribeLogDirs;

impl Api for DescribeLogDirs {
    type Request = DescribeLogDirsRequest;
    const NAME: &'static str = "DescribeLogDirs";
    const VERSIONS: RangeInclusive<i16> = 1..=4;

    fn handle(context: &RequestContext, request: DescribeLogDirsRequest) -> Handled<DescribeLogDirsResponse> {
        let asked: Option<BTreeSet<(String, i32)>> = request.topics.map(|topics| {
            let pairs = topics.into_iter().flat_map(|topic| {
                let name = topic.topic.as_str().to_owned();
                topic.partitions.into_iter().map(move |index| (name.clone(), index))
            });
            pairs.collect()
        });
        let broker = Arc::clone(&context.broker);
        Handled::Later(Box::pin(async move {
            let directories = broker.log_dirs().inspect().wait().await;
            let results = directories.iter().map(|directory| describe(&broker, directory, asked.as_ref()));
            DescribeLogDirsResponse::default().with_results(results.collect())
        }))
    }
}

fn describe(
    broker: &Broker,
    directory: &DirectoryInfo,
    asked: Option<&BTreeSet<(String, i32)>>,
) -> DescribeLogDirsResult {
    let result = DescribeLogDirsResult::default().with_log_dir(text(directory.path.to_string_lossy()));
    if directory.failed.is_some() {
        return result
            .with_error_code(ErrorCode::KafkaStorageError.code())
            .with_total_bytes(-1)
            .with_usable_bytes(-1);
    }
    let mut topics: BTreeMap<TopicName, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for topic in broker.partitions().topics() {
        for partition in
            topic.partitions().filter(|partition| Some(partition.log().directory_id()) == directory.id)
        {
            let name = partition.name();
            let wanted =
                asked.is_none_or(|asked| asked.contains(&(name.topic.as_str().to_owned(), name.partition)));
            if wanted {
                let size = i64::try_from(partition.log().size_bytes()).unwrap_or(i64::MAX);
                topics.entry(name.topic.clone()).or_default().push(
                    DescribeLogDirsPartition::default()
                        .with_partition_index(name.partition)
                        .with_partition_size(size),
                );
            }
        }
    }
    let topics = topics.into_iter().map(|(name, partitions)| {
        DescribeLogDirsTopic::default().with_name(topic_name(&name)).with_partitions(partitions)
    });
    result
        .with_topics(topics.collect())
        .with_total_bytes(i64::try_from(directory.total_bytes).unwrap_or(i64::MAX))
        .with_usable_bytes(i64::try_from(directory.usable_bytes).unwrap_or(i64::MAX))
}
