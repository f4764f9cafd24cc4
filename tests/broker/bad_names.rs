//! Names of every kind where names go: topics, configuration keys and values, client ids.

use bytes::{BufMut, BytesMut};
use ketcd::protocol::peer::messages::describe_topic_partitions_request::TopicRequest;
use ketcd::protocol::peer::messages::{DescribeTopicPartitionsRequest, MetadataRequest};

use crate::configs::{BROKER, TOPIC, alter};
use crate::fixture::{
    batch, fetch, fresh_name, list_offset, named, peer, produce, produce_values, shared, topic, topic_with,
};
use crate::wire::{self, Outcome};

const INVALID_CONFIG: i16 = 40;

fn odd_names() -> Vec<String> {
    let mut names: Vec<String> = [
        "",
        ".",
        "..",
        "a/b",
        "../x",
        "/etc/passwd",
        "a\0b",
        "a\nb",
        "a\rb",
        "\u{1b}[31mred",
        "\u{202e}rtl",
        "a b",
        "a:b",
        "a,b",
        "a\\b",
        "ä",
        "😀",
        "%s%n",
        "{}",
        "$(id)",
        "\u{feff}",
        "a\tb",
        "*",
        "?",
        "\"",
        "'",
    ]
    .map(str::to_owned)
    .to_vec();
    names.push("x".repeat(250));
    names.push("x".repeat(32_767));
    names
}

#[tokio::test]
async fn every_request_about_a_name_that_is_none_is_answered() {
    let mut peer = peer().await;
    for name in odd_names() {
        assert_ne!(produce(&mut peer, &name, 0, batch(&["x"])).await.error_code, 0, "{name:?}");
        assert_ne!(fetch(&mut peer, &name, 0, 0).await.error_code, 0, "{name:?}");
        assert_ne!(list_offset(&mut peer, &name, 0, -1).await.0, 0, "{name:?}");
        let request = DescribeTopicPartitionsRequest::default()
            .with_topics(vec![TopicRequest::default().with_name(named(&name))])
            .with_response_partition_limit(10);
        assert_ne!(peer.call(&request).await.unwrap().topics[0].error_code, 0, "{name:?}");
        assert_ne!(alter(&mut peer, TOPIC, &name, "retention.ms", 0, Some("1000")).await, 0, "{name:?}");
        if !name.is_empty() {
            assert_ne!(
                alter(&mut peer, BROKER, &name, "log.retention.ms", 0, Some("1000")).await,
                0,
                "{name:?}"
            );
        }
    }
    let all = peer.call_at(&MetadataRequest::default().with_topics(None), 12).await.unwrap();
    for topic in all.topics {
        let name = topic.name.unwrap();
        assert!(name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{name:?}");
    }
}

#[tokio::test]
async fn the_longest_name_works() {
    let mut peer = peer().await;
    // 249 characters in all.
    let word = "x".repeat(249 - fresh_name("").len() - 2);
    let topic = topic_with(&mut peer, &word, 1, &[]).await;
    assert!((240..=249).contains(&topic.name.len()), "{}", topic.name.len());
    assert_eq!(produce_values(&mut peer, &topic.name, 0, &["a"]).await, 0);
}

#[tokio::test]
async fn odd_configuration_keys_and_values_are_refused() {
    let mut peer = peer().await;
    let topic = topic(&mut peer, "odd").await.name;
    for name in odd_names() {
        assert_eq!(alter(&mut peer, TOPIC, &topic, &name, 0, Some("1")).await, INVALID_CONFIG, "{name:?}");
        for key in ["retention.ms", "cleanup.policy", "message.timestamp.type", "compression.type"] {
            // An empty list is Kafka's to judge.
            if !(name.is_empty() && key == "cleanup.policy") {
                assert_eq!(
                    alter(&mut peer, TOPIC, &topic, key, 0, Some(&name)).await,
                    INVALID_CONFIG,
                    "{key} {name:?}"
                );
            }
        }
    }
    for value in ["9223372036854775808", "-9223372036854775809", "1e3", "0x10", "1_000", " ", "NaN", "１"] {
        assert_eq!(
            alter(&mut peer, TOPIC, &topic, "retention.ms", 0, Some(value)).await,
            INVALID_CONFIG,
            "{value}"
        );
    }
}

#[tokio::test]
async fn any_client_id_is_served() {
    let mut ids: Vec<Vec<u8>> = odd_names().into_iter().map(String::into_bytes).collect();
    ids.push(vec![0xff, 0xfe, 0x80]);
    ids.push((0..=255).collect());
    for id in ids {
        let mut payload = BytesMut::new();
        payload.put_slice(&[0, 18, 0, 0, 0, 0, 0, 3]);
        payload.put_i16(id.len() as i16);
        payload.put_slice(&id);
        let mut socket = wire::open(shared()).await;
        let outcome = wire::exchange(&mut socket, &wire::framed(&payload)).await;
        assert!(matches!(outcome, Outcome::Answered(_)), "{:?}", String::from_utf8_lossy(&id));
    }
}
