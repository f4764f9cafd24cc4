//! What the metrics tell of the groups that a broker coordinates.

use crate::broker::Broker;
use crate::broker::lag::{Committed, GroupNumbers};
use crate::telemetry::metrics::Scrape;

/// Tells everything about groups.
pub fn tell(scrape: &mut Scrape<'_>, broker: &Broker) {
    tell_coordinator(scrape, broker);
    let numbers = broker.group_numbers();
    tell_states(scrape, &numbers);
    tell_offsets(scrape, &numbers);
}

#[allow(clippy::cast_precision_loss, reason = "metrics are floating point numbers")]
fn tell_coordinator(scrape: &mut Scrape<'_>, broker: &Broker) {
    let (shards, loaded) = broker.groups().shard_counts();
    let totals = broker.groups().totals();
    let help = "Led partitions of __consumer_offsets (group-coordinator-metrics,name=num-partitions)";
    let by_state: [(&[(&str, &str)], f64); 2] =
        [(&[("state", "active")], loaded as f64), (&[("state", "loading")], (shards - loaded) as f64)];
    scrape.gauges("ketcd_coordinator_partitions", help, &by_state);
    let counters = [
        ("ketcd_coordinator_loads", "Partitions of __consumer_offsets that were loaded", totals.loads as f64),
        (
            "ketcd_coordinator_load_seconds",
            "Time that this took (group-coordinator-metrics,name=partition-load-time-avg)",
            totals.load_ms as f64 / 1000.0,
        ),
        ("ketcd_coordinator_loaded_records", "Records that were loaded", totals.records as f64),
        (
            "ketcd_coordinator_unknown_records",
            "Records of kinds that this broker does not know",
            totals.unknown as f64,
        ),
        (
            "ketcd_coordinator_broken_records",
            "Records and batches that could not be read",
            totals.broken as f64,
        ),
        (
            "ketcd_coordinator_drops",
            "Partitions whose groups were loaded anew after an append that failed: 0 on a healthy disk",
            totals.dropped as f64,
        ),
    ];
    for (name, help, value) in counters {
        scrape.counter(name, help, value);
    }
    scrape.gauge(
        "ketcd_coordinator_load_max_seconds",
        "The longest load (group-coordinator-metrics,name=partition-load-time-max)",
        totals.load_ms_max as f64 / 1000.0,
    );
}

#[allow(clippy::cast_precision_loss, reason = "metrics are floating point numbers")]
fn tell_states(scrape: &mut Scrape<'_>, numbers: &GroupNumbers) {
    let labels: Vec<_> = numbers
        .states
        .iter()
        .map(|((kind, state), count)| ([("protocol", kind.name()), ("state", state.name())], *count as f64))
        .collect();
    let samples: Vec<(&[(&str, &str)], f64)> =
        labels.iter().map(|(labels, count)| (labels.as_slice(), *count)).collect();
    scrape.gauges(
        "ketcd_group_count",
        "Groups by protocol and state (group-coordinator-metrics,name=group-count)",
        &samples,
    );
}

#[allow(clippy::cast_precision_loss, reason = "metrics are floating point numbers")]
fn tell_offsets(scrape: &mut Scrape<'_>, numbers: &GroupNumbers) {
    let partitions: Vec<String> = numbers.committed.iter().map(|one| one.partition.to_string()).collect();
    let labels: Vec<_> = numbers
        .committed
        .iter()
        .zip(&partitions)
        .map(|(one, partition)| {
            [("group", one.group.as_ref()), ("topic", one.topic.as_ref()), ("partition", partition.as_str())]
        })
        .collect();
    let told = |value: fn(&Committed) -> Option<i64>| {
        numbers
            .committed
            .iter()
            .zip(&labels)
            .filter_map(|(one, labels)| Some((labels.as_slice(), value(one)? as f64)))
            .collect::<Vec<(&[(&str, &str)], f64)>>()
    };
    scrape.gauges(
        "ketcd_group_committed_offset",
        "The next offset that a group consumes (kafka_consumergroup_current_offset)",
        &told(|one| Some(one.offset)),
    );
    scrape.gauges(
        "ketcd_group_lag",
        "Records that a group has not consumed yet (kafka_consumergroup_lag)",
        &told(|one| one.lag),
    );
    scrape.gauge(
        "ketcd_group_offsets_cut",
        "1 if there are more committed offsets than are told",
        f64::from(u8::from(numbers.cut)),
    );
}
