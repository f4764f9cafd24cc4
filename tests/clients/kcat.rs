//! kcat (Debian's, with librdkafka 2.0): the tool in everybody's fingers, and old protocol versions.

use serde_json::{Value, json};

use crate::family::Family::Kcat;
use crate::fixture::with;
use crate::scenarios;

#[test]
fn lists_brokers_and_topics() {
    let Some(cluster) = with(Kcat) else { return };
    cluster.create_topic(Kcat, "kcat-listed", 3, &json!({}));
    let listed = cluster.ask(Kcat, &json!({"do": "list_topics"}));
    assert_eq!(listed["brokers"][0]["name"], cluster.bootstrap());
    assert!(listed["topics"].as_array().expect("topics").contains(&json!("kcat-listed")), "{listed}");
    let described = cluster.ask(Kcat, &json!({"do": "describe_topic", "topic": "kcat-listed"}));
    assert_eq!(described["partitions"], 3);
    let leaders = described["leaders"].as_array().expect("leaders");
    assert!(leaders.iter().all(|leader| leader.as_i64().is_some_and(|id| id >= 0)), "{described}");
}

#[test]
fn writing_to_a_topic_that_is_not_there_creates_it() {
    let Some(cluster) = with(Kcat) else { return };
    let topic = "kcat-auto-created";
    cluster.ask(Kcat, &json!({"do": "produce_numbers", "topic": topic, "partitions": 1, "count": 3}));
    let read =
        cluster.ask(Kcat, &json!({"do": "consume", "topic": topic, "partition": 0, "from": 0, "count": 3}));
    let offsets: Vec<&Value> =
        read["records"].as_array().expect("records").iter().map(|r| &r["offset"]).collect();
    assert_eq!(offsets, [0, 1, 2]);
}

#[test]
fn writes_and_reads_with_default_settings() {
    scenarios::writes_and_reads_with_default_settings(Kcat);
}

#[test]
fn writes_and_reads_with_idempotence() {
    scenarios::writes_and_reads_with_idempotence(Kcat);
}

#[test]
fn writes_every_codec_with_every_acknowledgement() {
    scenarios::writes_every_codec_with_every_acknowledgement(Kcat);
}

#[test]
fn reads_what_every_client_wrote() {
    scenarios::reads_what_every_client_wrote(Kcat);
}

#[test]
fn the_broker_sets_timestamps_where_the_topic_says_so() {
    scenarios::the_broker_sets_timestamps_where_the_topic_says_so(Kcat);
}

#[test]
fn finds_offsets_by_time() {
    scenarios::finds_offsets_by_time(Kcat);
}

#[test]
fn keeps_the_order_of_thousands_of_records_in_three_partitions() {
    scenarios::keeps_the_order_of_thousands_of_records_in_three_partitions(Kcat);
}

/// The oldest client in the matrix joins groups too: each run goes on where the one before committed.
#[test]
fn goes_on_in_its_group_where_it_was() {
    let Some(cluster) = with(Kcat) else { return };
    let topic = "kcat-group";
    cluster.create_topic(Kcat, topic, 1, &json!({}));
    cluster.ask(Kcat, &json!({"do": "produce_numbers", "topic": topic, "partitions": 1, "count": 30}));
    for run in 0..3 {
        let consume = json!({"do": "consume_in_group", "topic": topic, "group": topic, "count": 10});
        let expected: Vec<u64> = (run * 10..run * 10 + 10).collect();
        assert_eq!(cluster.ask(Kcat, &consume)["offsets"], json!(expected));
    }
}
