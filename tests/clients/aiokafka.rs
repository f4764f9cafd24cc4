//! aiokafka (asyncio).

use crate::family::Family::Aiokafka;
use crate::scenarios;

#[test]
fn administers_topics() {
    scenarios::administers_topics(Aiokafka);
}

#[test]
fn deletes_records_before_an_offset() {
    scenarios::deletes_records_before_an_offset(Aiokafka);
}

#[test]
fn writes_and_reads_with_default_settings() {
    scenarios::writes_and_reads_with_default_settings(Aiokafka);
}

#[test]
fn writes_and_reads_with_idempotence() {
    scenarios::writes_and_reads_with_idempotence(Aiokafka);
}

#[test]
fn writes_every_codec_with_every_acknowledgement() {
    scenarios::writes_every_codec_with_every_acknowledgement(Aiokafka);
}

#[test]
fn reads_what_every_client_wrote() {
    scenarios::reads_what_every_client_wrote(Aiokafka);
}

#[test]
fn the_broker_sets_timestamps_where_the_topic_says_so() {
    scenarios::the_broker_sets_timestamps_where_the_topic_says_so(Aiokafka);
}

#[test]
fn finds_offsets_by_time() {
    scenarios::finds_offsets_by_time(Aiokafka);
}

#[test]
fn keeps_the_order_of_thousands_of_records_in_three_partitions() {
    scenarios::keeps_the_order_of_thousands_of_records_in_three_partitions(Aiokafka);
}
