//! Apache Kafka's own client.

use crate::family::Family::Java;
use crate::scenarios;

#[test]
fn administers_topics() {
    scenarios::administers_topics(Java);
}

#[test]
fn deletes_records_before_an_offset() {
    scenarios::deletes_records_before_an_offset(Java);
}

#[test]
fn writes_and_reads_with_default_settings() {
    scenarios::writes_and_reads_with_default_settings(Java);
}

#[test]
fn writes_and_reads_with_idempotence() {
    scenarios::writes_and_reads_with_idempotence(Java);
}

#[test]
fn writes_every_codec_with_every_acknowledgement() {
    scenarios::writes_every_codec_with_every_acknowledgement(Java);
}

#[test]
fn reads_what_every_client_wrote() {
    scenarios::reads_what_every_client_wrote(Java);
}

#[test]
fn the_broker_sets_timestamps_where_the_topic_says_so() {
    scenarios::the_broker_sets_timestamps_where_the_topic_says_so(Java);
}

#[test]
fn finds_offsets_by_time() {
    scenarios::finds_offsets_by_time(Java);
}

#[test]
fn keeps_the_order_of_thousands_of_records_in_three_partitions() {
    scenarios::keeps_the_order_of_thousands_of_records_in_three_partitions(Java);
}

#[test]
fn loses_and_doubles_nothing_when_the_broker_is_killed() {
    scenarios::loses_and_doubles_nothing_when_the_broker_is_killed(Java);
}
