//! franz-go (Go).

use crate::family::Family::FranzGo;
use crate::scenarios;

#[test]
fn administers_topics() {
    scenarios::administers_topics(FranzGo);
}

#[test]
fn deletes_records_before_an_offset() {
    scenarios::deletes_records_before_an_offset(FranzGo);
}

#[test]
fn writes_and_reads_with_default_settings() {
    scenarios::writes_and_reads_with_default_settings(FranzGo);
}

#[test]
fn writes_and_reads_with_idempotence() {
    scenarios::writes_and_reads_with_idempotence(FranzGo);
}

#[test]
fn writes_every_codec_with_every_acknowledgement() {
    scenarios::writes_every_codec_with_every_acknowledgement(FranzGo);
}

#[test]
fn reads_what_every_client_wrote() {
    scenarios::reads_what_every_client_wrote(FranzGo);
}

#[test]
fn the_broker_sets_timestamps_where_the_topic_says_so() {
    scenarios::the_broker_sets_timestamps_where_the_topic_says_so(FranzGo);
}

#[test]
fn finds_offsets_by_time() {
    scenarios::finds_offsets_by_time(FranzGo);
}

#[test]
fn keeps_the_order_of_thousands_of_records_in_three_partitions() {
    scenarios::keeps_the_order_of_thousands_of_records_in_three_partitions(FranzGo);
}
