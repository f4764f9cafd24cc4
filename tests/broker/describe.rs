//! DescribeCluster, DescribeTopicPartitions, DescribeLogDirs, DescribeAcls.

use ketcd::protocol::peer::Peer;
use ketcd::protocol::peer::messages::describe_log_dirs_request::DescribableLogDirTopic;
use ketcd::protocol::peer::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use ketcd::protocol::peer::messages::{
    DescribeAclsRequest, DescribeClusterRequest, DescribeLogDirsRequest, DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse,
};

use crate::fixture::{batch, fresh_name, named, peer, produce, shared, topic_with};

const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
const INVALID_TOPIC_EXCEPTION: i16 = 17;
const SECURITY_DISABLED: i16 = 54;
const MISMATCHED_ENDPOINT_TYPE: i16 = 114;

#[tokio::test]
async fn the_cluster_is_its_one_broker() {
    let mut peer = peer().await;
    for version in 0..=2 {
        let answer = peer.call_at(&DescribeClusterRequest::default(), version).await.unwrap();
        assert_eq!((answer.error_code, answer.controller_id.0, answer.endpoint_type), (0, 0, 1));
        let broker = &answer.brokers[0];
        assert_eq!(format!("{}:{}", broker.host.as_str(), broker.port), shared());
        assert_eq!((broker.broker_id.0, broker.is_fenced), (0, false));
        assert_eq!(answer.cluster_authorized_operations, i32::MIN, "not asked for");
        assert_eq!(answer.cluster_id.len(), 22, "Kafka's form of an id: {:?}", answer.cluster_id);
    }
}

#[tokio::test]
async fn controller_endpoints_are_not_here() {
    let mut peer = peer().await;
    for version in 1..=2 {
        let request = DescribeClusterRequest::default().with_endpoint_type(2);
        let answer = peer.call_at(&request, version).await.unwrap();
        assert_eq!(answer.error_code, MISMATCHED_ENDPOINT_TYPE);
        assert!(answer.error_message.is_some());
    }
}

async fn page(
    peer: &mut Peer,
    names: &[&str],
    limit: i32,
    cursor: Option<(&str, i32)>,
) -> DescribeTopicPartitionsResponse {
    let topics = names.iter().map(|name| TopicRequest::default().with_name(named(name)));
    let cursor = cursor
        .map(|(topic, index)| Cursor::default().with_topic_name(named(topic)).with_partition_index(index));
    let request = DescribeTopicPartitionsRequest::default()
        .with_topics(topics.collect())
        .with_response_partition_limit(limit)
        .with_cursor(cursor);
    peer.call(&request).await.unwrap()
}

fn told(answer: &DescribeTopicPartitionsResponse) -> Vec<(String, i16, Vec<i32>)> {
    let topics = answer.topics.iter().map(|topic| {
        let indexes = topic.partitions.iter().map(|it| it.partition_index).collect();
        (topic.name.as_ref().unwrap().as_str().to_owned(), topic.error_code, indexes)
    });
    topics.collect()
}

#[tokio::test]
async fn topics_are_described_page_by_page() {
    let mut peer = peer().await;
    let stem = fresh_name("pages");
    let a = topic_with(&mut peer, &format!("{stem}-a"), 3, &[]).await.name;
    let b = topic_with(&mut peer, &format!("{stem}-b"), 2, &[]).await.name;
    let missing = format!("{stem}-c");
    // In the order of their names whatever the order asked.
    let names = [b.as_str(), &missing, &a];

    let all = page(&mut peer, &names, 2000, None).await;
    assert!(all.next_cursor.is_none());
    let expected = vec![
        (a.clone(), 0, vec![0, 1, 2]),
        (b.clone(), 0, vec![0, 1]),
        (missing.clone(), UNKNOWN_TOPIC_OR_PARTITION, vec![]),
    ];
    assert_eq!(told(&all), expected);

    // Two partitions a page: everything comes once, in order.
    let mut cursor: Option<(String, i32)> = None;
    let mut seen = Vec::new();
    for _ in 0..10 {
        let asked = cursor.as_ref().map(|(topic, index)| (topic.as_str(), *index));
        let answer = page(&mut peer, &names, 2, asked).await;
        let on_page: usize = answer.topics.iter().map(|it| it.partitions.len()).sum();
        assert!(on_page <= 2);
        for (topic, code, indexes) in told(&answer) {
            assert_eq!(code, if topic == missing { UNKNOWN_TOPIC_OR_PARTITION } else { 0 });
            seen.extend(indexes.into_iter().map(|index| (topic.clone(), index)));
        }
        cursor = answer.next_cursor.map(|it| (it.topic_name.as_str().to_owned(), it.partition_index));
        if cursor.is_none() {
            break;
        }
    }
    assert!(cursor.is_none(), "the pages end");
    let expected = [(&a, 0), (&a, 1), (&a, 2), (&b, 0), (&b, 1)].map(|(name, index)| (name.clone(), index));
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn odd_cursors_and_limits_are_answered() {
    let mut peer = peer().await;
    let topic = topic_with(&mut peer, "odd", 2, &[]).await.name;
    for limit in [0, -1, i32::MIN] {
        let answer = page(&mut peer, &[&topic], limit, None).await;
        assert!(answer.topics.len() <= 1, "limit {limit}");
    }
    for index in [2, 99, i32::MAX, -1, i32::MIN] {
        let answer = page(&mut peer, &[&topic], 10, Some((&topic, index))).await;
        assert!(answer.next_cursor.is_none(), "index {index}");
    }
    let answer = page(&mut peer, &["a/b"], 10, None).await;
    assert_eq!(answer.topics[0].error_code, INVALID_TOPIC_EXCEPTION);
    let everything = page(&mut peer, &[], 2000, None).await;
    assert!(told(&everything).iter().any(|(name, ..)| *name == topic));
}

#[tokio::test]
async fn log_directories_have_real_sizes() {
    let mut peer = peer().await;
    let topic = topic_with(&mut peer, "sizes", 2, &[]).await.name;
    let records = batch(&["a", "b"]);
    produce(&mut peer, &topic, 1, records.clone()).await;
    let asked = DescribableLogDirTopic::default().with_topic(named(&topic)).with_partitions(vec![0, 1, 9]);
    let request = DescribeLogDirsRequest::default().with_topics(Some(vec![asked]));
    let answer = peer.call_at(&request, 4).await.unwrap();
    assert_eq!(answer.results.len(), 1);
    let directory = &answer.results[0];
    assert!(directory.usable_bytes > 0 && directory.total_bytes >= directory.usable_bytes);
    let mut sizes: Vec<_> = directory.topics[0]
        .partitions
        .iter()
        .map(|it| (it.partition_index, it.partition_size, it.offset_lag, it.is_future_key))
        .collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [(0, 0, 0, false), (1, records.len() as i64, 0, false)]);
    for (topics, holds) in [(None, true), (Some(vec![]), false)] {
        let answer = peer.call_at(&DescribeLogDirsRequest::default().with_topics(topics), 4).await.unwrap();
        let told = answer.results[0].topics.iter().any(|it| it.name.as_str() == topic);
        assert_eq!(told, holds, "null asks for all, an empty list for none");
    }
}

#[tokio::test]
async fn access_control_lists_are_disabled_and_said_to_be() {
    let mut peer = peer().await;
    let request = DescribeAclsRequest::default()
        .with_resource_type_filter(1)
        .with_pattern_type_filter(1)
        .with_operation(1)
        .with_permission_type(1);
    for version in 1..=3 {
        let answer = peer.call_at(&request, version).await.unwrap();
        assert_eq!((answer.error_code, answer.resources.len()), (SECURITY_DISABLED, 0));
        assert!(answer.error_message.is_some());
    }
}
