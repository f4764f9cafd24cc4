//! kafkajs (Node.js): it consumes only in groups, so others read what it wrote.

use crate::family::Family::Kafkajs;
use crate::scenarios;

#[test]
fn administers_topics() {
    scenarios::administers_topics(Kafkajs);
}

#[test]
fn deletes_records_before_an_offset() {
    scenarios::deletes_records_before_an_offset(Kafkajs);
}

#[test]
fn writes_and_reads_with_default_settings() {
    scenarios::writes_and_reads_with_default_settings(Kafkajs);
}

#[test]
fn writes_and_reads_with_idempotence() {
    scenarios::writes_and_reads_with_idempotence(Kafkajs);
}

#[test]
fn writes_every_codec_with_every_acknowledgement() {
    scenarios::writes_every_codec_with_every_acknowledgement(Kafkajs);
}

#[test]
fn the_broker_sets_timestamps_where_the_topic_says_so() {
    scenarios::the_broker_sets_timestamps_where_the_topic_says_so(Kafkajs);
}

#[test]
fn finds_offsets_by_time() {
    scenarios::finds_offsets_by_time(Kafkajs);
}

#[test]
fn keeps_the_order_of_thousands_of_records_in_three_partitions() {
    scenarios::keeps_the_order_of_thousands_of_records_in_three_partitions(Kafkajs);
}
