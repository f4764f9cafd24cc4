//! kafka-python (Python alone).

use crate::family::Family::KafkaPython;
use crate::scenarios;

#[test]
fn administers_topics() {
    scenarios::administers_topics(KafkaPython);
}

#[test]
fn deletes_records_before_an_offset() {
    scenarios::deletes_records_before_an_offset(KafkaPython);
}

#[test]
fn writes_and_reads_with_default_settings() {
    scenarios::writes_and_reads_with_default_settings(KafkaPython);
}

#[test]
fn writes_and_reads_with_idempotence() {
    scenarios::writes_and_reads_with_idempotence(KafkaPython);
}

#[test]
fn writes_every_codec_with_every_acknowledgement() {
    scenarios::writes_every_codec_with_every_acknowledgement(KafkaPython);
}

#[test]
fn reads_what_every_client_wrote() {
    scenarios::reads_what_every_client_wrote(KafkaPython);
}

#[test]
fn the_broker_sets_timestamps_where_the_topic_says_so() {
    scenarios::the_broker_sets_timestamps_where_the_topic_says_so(KafkaPython);
}

#[test]
fn finds_offsets_by_time() {
    scenarios::finds_offsets_by_time(KafkaPython);
}

#[test]
fn keeps_the_order_of_thousands_of_records_in_three_partitions() {
    scenarios::keeps_the_order_of_thousands_of_records_in_three_partitions(KafkaPython);
}
