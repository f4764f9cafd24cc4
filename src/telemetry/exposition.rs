//! How the metrics look from outside: OpenMetrics text, names `ketcd_<room>_<thing>_<unit>`, Kafka's JMX name in the help.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::LazyLock;
use std::sync::atomic::Ordering;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

use super::closing::ClosedBecause;
use super::counters::{BUCKET_BOUNDS_NS, DurationTotals, all_hot, total};
use super::metrics::{RARE, errors_seen, scrape_functions};
use super::{apis, process};

/// Every metric as text, in the format that the scraper asked for.
///
/// # Errors
/// Only if a function of [`super::metrics::on_scrape`] used a label that cannot be written.
pub fn render(format: Format) -> Result<String, fmt::Error> {
    static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Everything));
        registry
    });
    let mut text = String::with_capacity(16 << 10);
    prometheus_client::encoding::text::encode(&mut text, &REGISTRY)?;
    Ok(match format {
        Format::OpenMetrics => text,
        Format::Prometheus => as_prometheus_text(&text),
    })
}

/// The two text formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/openmetrics-text; version=1.0.0`.
    OpenMetrics,
    /// `text/plain; version=0.0.4`: what Prometheus understood first, and people's eyes.
    Prometheus,
}

impl Format {
    /// The value of `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// In the older format a counter is declared under the name of its samples, and the text has no end mark.
fn as_prometheus_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 1024);
    let mut help: Option<(&str, &str)> = None;
    for line in text.lines() {
        if line == "# EOF" || line.starts_with("# UNIT ") {
            continue;
        }
        if let Some(rest) = line.strip_prefix("# HELP ") {
            help = rest.split_once(' ');
            continue;
        }
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            let suffix = if kind == "counter" { "_total" } else { "" };
            if let Some((_, help)) = help.take().filter(|(of, _)| *of == name) {
                out.push_str(&format!("# HELP {name}{suffix} {help}\n"));
            }
            out.push_str(&format!("# TYPE {name}{suffix} {kind}\n"));
            continue;
        }
        out.push_str(line);
        out.push('\n');
    }
    out
}

/// Writes metric families during one scrape.
pub struct Scrape<'a> {
    encoder: DescriptorEncoder<'a>,
    /// Families that are written: a name that came twice would make the whole text invalid.
    written: BTreeSet<String>,
    failed: Result<(), fmt::Error>,
}

/// Labels of one sample.
pub type Labels<'a> = &'a [(&'a str, &'a str)];

impl Scrape<'_> {
    /// A value that goes up and down, without labels.
    pub fn gauge(&mut self, name: &str, help: &str, value: f64) {
        self.gauges(name, help, &[(&[], value)]);
    }

    /// A value that goes up and down, one sample per label set. Nothing is written without samples.
    pub fn gauges(&mut self, name: &str, help: &str, samples: &[(Labels<'_>, f64)]) {
        self.family(name, help, MetricType::Gauge, samples);
    }

    /// A value that only grows, without labels. `name` is given without `_total`.
    pub fn counter(&mut self, name: &str, help: &str, value: f64) {
        self.counters(name, help, &[(&[], value)]);
    }

    /// A value that only grows, one sample per label set. `name` is given without `_total`.
    pub fn counters(&mut self, name: &str, help: &str, samples: &[(Labels<'_>, f64)]) {
        self.family(name, help, MetricType::Counter, samples);
    }

    fn family(&mut self, name: &str, help: &str, kind: MetricType, samples: &[(Labels<'_>, f64)]) {
        if self.failed.is_err() || samples.is_empty() || !self.written.insert(name.to_owned()) {
            return;
        }
        self.failed = self.write_family(name, help, kind, samples);
    }

    fn write_family(
        &mut self,
        name: &str,
        help: &str,
        kind: MetricType,
        samples: &[(Labels<'_>, f64)],
    ) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, None, kind)?;
        for (labels, value) in samples {
            // A sample without labels has no braces: simple readers look for its bare name.
            if labels.is_empty() {
                encode_sample(&mut metric, kind, value)?;
            } else {
                encode_sample(&mut metric.encode_family(labels)?, kind, value)?;
            }
        }
        Ok(())
    }

    fn histograms(&mut self, name: &str, help: &str, samples: &[(Labels<'_>, DurationTotals)]) {
        if self.failed.is_err() || samples.is_empty() || !self.written.insert(name.to_owned()) {
            return;
        }
        self.failed = self.write_histograms(name, help, samples);
    }

    fn write_histograms(
        &mut self,
        name: &str,
        help: &str,
        samples: &[(Labels<'_>, DurationTotals)],
    ) -> fmt::Result {
        let mut metric = self.encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
        for (labels, totals) in samples {
            let bounds = BUCKET_BOUNDS_NS.iter().map(|bound| seconds(*bound)).chain([f64::INFINITY]);
            let buckets: Vec<(f64, u64)> = bounds.zip(totals.buckets).collect();
            metric.encode_family(labels)?.encode_histogram::<NoLabelSet>(
                seconds(totals.sum_ns),
                totals.count(),
                &buckets,
                None,
            )?;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Everything;

impl Collector for Everything {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let mut scrape = Scrape { encoder, written: BTreeSet::new(), failed: Ok(()) };
        connections(&mut scrape);
        requests(&mut scrape);
        records(&mut scrape);
        super::cleaner::tell(&mut scrape);
        super::replication::tell(&mut scrape);
        own_process(&mut scrape);
        for tell in scrape_functions() {
            tell(&mut scrape);
        }
        scrape.failed
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "counters beyond 2^53 lose their last digit: nobody will see it"
)]
fn number(value: u64) -> f64 {
    value as f64
}

fn encode_sample(metric: &mut MetricEncoder<'_>, kind: MetricType, value: &f64) -> fmt::Result {
    match kind {
        MetricType::Counter => metric.encode_counter::<NoLabelSet, f64, f64>(value, None),
        _ => metric.encode_gauge(value),
    }
}

fn seconds(nanoseconds: u64) -> f64 {
    number(nanoseconds) / 1e9
}

fn connections(scrape: &mut Scrape<'_>) {
    scrape.gauge(
        "ketcd_server_connections_open",
        "Client connections that are open now (kafka.server:type=socket-server-metrics,name=connection-count)",
        number(u64::try_from(RARE.connections_open.load(Ordering::Relaxed)).unwrap_or(0)),
    );
    scrape.counter(
        "ketcd_server_connections_accepted",
        "Client connections accepted (kafka.server:type=socket-server-metrics,name=connection-creation-total)",
        number(RARE.connections_accepted.load(Ordering::Relaxed)),
    );
    let reasons: Vec<_> = ClosedBecause::ALL.iter().map(|reason| [("reason", reason.label())]).collect();
    let closed: Vec<(Labels<'_>, f64)> = reasons
        .iter()
        .zip(&RARE.connections_closed)
        .map(|(labels, counter)| (labels.as_slice(), number(counter.load(Ordering::Relaxed))))
        .collect();
    scrape.counters(
        "ketcd_server_connections_closed",
        "Client connections closed or refused, by reason (connection-close-total)",
        &closed,
    );
    scrape.counter(
        "ketcd_server_accept_errors",
        "Connections that could not be accepted, mostly for want of file descriptors",
        number(RARE.accept_errors.load(Ordering::Relaxed)),
    );
    scrape.counter(
        "ketcd_server_received_bytes",
        "Bytes received from clients (kafka.server:type=socket-server-metrics,name=incoming-byte-total)",
        number(total(|hot| &hot.received_bytes)),
    );
    scrape.counter(
        "ketcd_server_sent_bytes",
        "Bytes sent to clients (kafka.server:type=socket-server-metrics,name=outgoing-byte-total)",
        number(total(|hot| &hot.sent_bytes)),
    );
}

fn requests(scrape: &mut Scrape<'_>) {
    let mut by_api = Vec::new();
    for index in 0..=apis::API_KEY_END {
        let mut totals = DurationTotals::default();
        for durations in all_hot().iter().filter_map(|hot| hot.requests.get(index)) {
            totals.add(durations);
        }
        if totals.count() > 0 {
            by_api.push(([("api", apis::name(i16::try_from(index).unwrap_or(-1)))], totals));
        }
    }
    let durations: Vec<_> =
        by_api.iter().map(|(labels, totals)| (labels.as_slice(), totals.clone())).collect();
    scrape.histograms(
        "ketcd_server_request_duration_seconds",
        "Time from a request's last byte to its answer's turn (kafka.network:type=RequestMetrics,name=TotalTimeMs); \
         its count is RequestsPerSec",
        &durations,
    );
    let errors: Vec<(&str, String, u64)> =
        errors_seen().map(|(key, code, count)| (apis::name(key), code.to_string(), count)).collect();
    let labels: Vec<_> =
        errors.iter().map(|(api, code, count)| ([("api", *api), ("error", code.as_str())], *count)).collect();
    let samples: Vec<(Labels<'_>, f64)> =
        labels.iter().map(|(labels, count)| (labels.as_slice(), number(*count))).collect();
    scrape.counters(
        "ketcd_server_request_errors",
        "Errors in answers by API and Kafka error code (kafka.network:type=RequestMetrics,name=ErrorsPerSec)",
        &samples,
    );
    scrape.counter(
        "ketcd_server_handler_panics",
        "Handlers that panicked; each closed its connection",
        number(RARE.panics.load(Ordering::Relaxed)),
    );
    scrape.counter(
        "ketcd_server_trailing_bytes_requests",
        "Requests with bytes after their last field, which were ignored",
        number(RARE.trailing_bytes_requests.load(Ordering::Relaxed)),
    );
}

fn records(scrape: &mut Scrape<'_>) {
    let jmx = "kafka.server:type=BrokerTopicMetrics,name=";
    scrape.counter(
        "ketcd_broker_produced_records",
        &format!("Records accepted from producers ({jmx}MessagesInPerSec)"),
        number(total(|hot| &hot.produced_records)),
    );
    scrape.counter(
        "ketcd_broker_produced_bytes",
        &format!("Bytes of record batches accepted from producers ({jmx}BytesInPerSec)"),
        number(total(|hot| &hot.produced_bytes)),
    );
    scrape.counter(
        "ketcd_broker_fetched_bytes",
        &format!("Bytes of record batches handed to consumers ({jmx}BytesOutPerSec)"),
        number(total(|hot| &hot.fetched_records_bytes)),
    );
}

fn own_process(scrape: &mut Scrape<'_>) {
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    scrape.gauges("ketcd_build_info", "The version that runs", &[(version.as_slice(), 1.0)]);
    let usage = process::usage();
    let gauges = [
        ("process_resident_memory_bytes", "Memory that the process holds", usage.resident_bytes),
        ("process_virtual_memory_bytes", "Address space of the process, maps included", usage.virtual_bytes),
        ("process_open_fds", "Open files and sockets", usage.open_files),
        ("process_max_fds", "Most files and sockets that may be open", usage.open_files_max),
        ("process_threads", "Threads of the process", usage.threads),
        ("ketcd_process_memory_maps", "Memory maps in use; vm.max_map_count is the limit", usage.maps),
        ("ketcd_process_memory_maps_max", "vm.max_map_count", usage.maps_max),
    ];
    for (name, help, value) in gauges {
        if let Some(value) = value {
            scrape.gauge(name, help, number(value));
        }
    }
    if let Some(cpu) = usage.cpu {
        scrape.counter("process_cpu_seconds", "CPU time used, user and system", cpu.as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::metrics;
    use super::*;

    #[test]
    fn events_are_seen_in_both_formats() {
        metrics::request_done(3, Duration::from_micros(70));
        metrics::request_error(3, 41);
        metrics::bytes_received(10);
        let open = render(Format::OpenMetrics).unwrap();
        assert!(
            open.contains("ketcd_server_request_duration_seconds_bucket{le=\"0.0001\",api=\"Metadata\"}")
                || open
                    .contains("ketcd_server_request_duration_seconds_bucket{api=\"Metadata\",le=\"0.0001\"}"),
            "{open}"
        );
        assert!(
            open.contains("ketcd_server_request_errors_total{api=\"Metadata\",error=\"41\"} 1"),
            "{open}"
        );
        assert!(open.ends_with("# EOF\n"));
        let old = render(Format::Prometheus).unwrap();
        assert!(old.contains("# TYPE ketcd_server_received_bytes_total counter\n"), "{old}");
        assert!(!old.contains("# EOF"));
    }

    #[test]
    fn a_registered_function_is_asked_until_its_registration_is_dropped() {
        let registration = metrics::on_scrape(|scrape| {
            scrape.gauges("ketcd_test_things", "Things", &[(&[("kind", "a\"b")], 2.0)]);
        });
        let text = render(Format::OpenMetrics).unwrap();
        assert!(text.contains("ketcd_test_things{kind=\"a\\\"b\"} 2.0"), "{text}");
        drop(registration);
        assert!(!render(Format::OpenMetrics).unwrap().contains("ketcd_test_things"));
    }

    #[test]
    fn the_process_tells_its_memory_and_files() {
        let text = render(Format::OpenMetrics).unwrap();
        for name in [
            "process_resident_memory_bytes",
            "process_open_fds",
            "process_cpu_seconds_total",
            "ketcd_build_info",
        ] {
            assert!(text.contains(name), "{name} is missing in {text}");
        }
    }
}
