//! What a run has measured: as a page for people, as JSON for programs.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

use super::process::Usage;
use crate::cli::exit::Outcome;
use crate::cli::output::{self, Format};

/// The longest latency that is told apart, in nanoseconds: a minute. Longer ones count as this.
const LATENCY_NS_MAX: u64 = 60_000_000_000;

/// Latencies in nanoseconds, three digits exact.
#[derive(Debug)]
pub struct Latencies(Option<Histogram<u64>>);

impl Default for Latencies {
    fn default() -> Self {
        // The bounds are constants that the library accepts; without a histogram nothing is recorded.
        Self(Histogram::new_with_bounds(1, LATENCY_NS_MAX, 3).ok())
    }
}

impl Latencies {
    /// Counts one.
    pub fn record(&mut self, latency: Duration) {
        if let Some(histogram) = &mut self.0 {
            histogram.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(LATENCY_NS_MAX).max(1));
        }
    }

    /// Percentiles in microseconds; `None` if nothing was counted.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // below a minute in nanoseconds
    pub fn summary(&self) -> Option<LatencySummary> {
        let histogram = self.0.as_ref().filter(|histogram| !histogram.is_empty())?;
        let us = |quantile: f64| (histogram.value_at_quantile(quantile) as f64 / 100.0).round() / 10.0;
        Some(LatencySummary {
            count: histogram.len(),
            mean: (histogram.mean() / 100.0).round() / 10.0,
            p50: us(0.5),
            p90: us(0.9),
            p99: us(0.99),
            p99_9: us(0.999),
            max: (histogram.max() as f64 / 100.0).round() / 10.0,
        })
    }
}

/// Percentiles in microseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct LatencySummary {
    /// How many were counted.
    pub count: u64,
    /// The mean.
    pub mean: f64,
    /// The median.
    pub p50: f64,
    /// 90 of 100 are at most this.
    pub p90: f64,
    /// 99 of 100.
    pub p99: f64,
    /// 999 of 1000.
    pub p99_9: f64,
    /// The largest.
    pub max: f64,
}

/// What was done in the measured time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Requests that were answered.
    pub requests: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of record batches in them.
    pub bytes: u64,
}

/// The answer of every `ketcd perf` command. Fields are stable; those that do not apply are null.
#[derive(Debug, Serialize)]
pub struct Report {
    /// `produce`, `consume` or `e2e`.
    pub command: &'static str,
    /// The bootstrap broker.
    pub broker: String,
    /// The options that shaped the run.
    pub settings: serde_json::Value,
    /// The measured time, warm-up excluded.
    pub seconds: f64,
    /// Requests answered.
    pub requests: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of record batches in them.
    pub bytes: u64,
    /// Requests a second.
    pub requests_per_second: f64,
    /// Records a second.
    pub records_per_second: f64,
    /// Bytes a second, in millions.
    pub megabytes_per_second: f64,
    /// From the intended time (closed loop: from sending) to the answer, in microseconds.
    pub latency_us: Option<LatencySummary>,
    /// From the intended time to the arrival at the consumer, in microseconds.
    pub end_to_end_us: Option<LatencySummary>,
    /// A round trip to an echo server with the same client, pace and size, in microseconds.
    pub tcp_echo_us: Option<LatencySummary>,
    /// What the broker's process used.
    pub broker_process: Option<BrokerProcess>,
    /// Seconds of CPU of this client.
    pub client_cpu_seconds: f64,
}

/// What the broker's process used in the measured time.
#[derive(Debug, Serialize)]
pub struct BrokerProcess {
    pid: u32,
    cpu_seconds: f64,
    user_seconds: f64,
    system_seconds: f64,
    cpu_seconds_per_gb: Option<f64>,
    requests_per_cpu_second: Option<f64>,
    rss_bytes_before: u64,
    rss_bytes_after: u64,
    rss_anonymous_bytes_before: u64,
    rss_anonymous_bytes_after: u64,
    threads: u64,
}

/// Usage of the broker (if its process id is known) and of this process at one moment.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// The moment.
    pub at: Duration,
    /// The broker.
    pub broker: Option<(u32, Usage)>,
    /// This process.
    pub client: Usage,
}

impl Sample {
    /// Takes a sample now.
    ///
    /// # Errors
    /// If there is no process `pid`.
    pub fn take(pid: Option<u32>, at: Duration) -> Outcome<Self> {
        let broker =
            pid.map(|pid| Ok::<_, crate::cli::CliError>((pid, Usage::of(Some(pid))?))).transpose()?;
        Ok(Self { at, broker, client: Usage::of(None)? })
    }
}

impl Report {
    /// A report from what was counted between two samples.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // counts of one run
    pub fn new(
        command: &'static str,
        broker: &str,
        settings: serde_json::Value,
        totals: Totals,
        before: &Sample,
        after: &Sample,
    ) -> Self {
        let seconds = after.at.saturating_sub(before.at).as_secs_f64().max(1e-9);
        let process = before.broker.zip(after.broker).map(|((pid, first), (_, last))| {
            let cpu_seconds = last.cpu_seconds() - first.cpu_seconds();
            BrokerProcess {
                pid,
                cpu_seconds: round(cpu_seconds, 3),
                user_seconds: round(last.user_seconds - first.user_seconds, 3),
                system_seconds: round(last.system_seconds - first.system_seconds, 3),
                cpu_seconds_per_gb: (totals.bytes > 0)
                    .then(|| round(cpu_seconds / (totals.bytes as f64 / 1e9), 4)),
                requests_per_cpu_second: (cpu_seconds > 0.0)
                    .then(|| (totals.requests as f64 / cpu_seconds).round()),
                rss_bytes_before: first.rss_bytes,
                rss_bytes_after: last.rss_bytes,
                rss_anonymous_bytes_before: first.rss_anonymous_bytes,
                rss_anonymous_bytes_after: last.rss_anonymous_bytes,
                threads: last.threads,
            }
        });
        Self {
            command,
            broker: broker.to_owned(),
            settings,
            seconds: round(seconds, 3),
            requests: totals.requests,
            records: totals.records,
            bytes: totals.bytes,
            requests_per_second: round(totals.requests as f64 / seconds, 1),
            records_per_second: round(totals.records as f64 / seconds, 1),
            megabytes_per_second: round(totals.bytes as f64 / 1e6 / seconds, 2),
            latency_us: None,
            end_to_end_us: None,
            tcp_echo_us: None,
            broker_process: process,
            client_cpu_seconds: round(after.client.cpu_seconds() - before.client.cpu_seconds(), 3),
        }
    }

    /// Prints the report.
    ///
    /// # Errors
    /// If stdout cannot be written.
    pub fn print(&self, format: Format) -> Outcome {
        if format == Format::Json { output::json(self) } else { output::text(&self.page()) }
    }

    fn page(&self) -> String {
        let mut page = format!(
            "{}  {:.1} s  {} requests ({:.0}/s)  {} records ({:.0}/s)  {:.1} MB/s\n",
            self.command,
            self.seconds,
            self.requests,
            self.requests_per_second,
            self.records,
            self.records_per_second,
            self.megabytes_per_second
        );
        let lines = [
            ("latency us", self.latency_us),
            ("end to end us", self.end_to_end_us),
            ("tcp echo us", self.tcp_echo_us),
        ];
        for (name, summary) in lines {
            let Some(summary) = summary else { continue };
            page += &format!(
                "{name:<14} p50 {:<8} p90 {:<8} p99 {:<8} p99.9 {:<8} max {}\n",
                summary.p50, summary.p90, summary.p99, summary.p99_9, summary.max
            );
        }
        if let Some(process) = &self.broker_process {
            let or_none =
                |number: Option<f64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
            page += &format!(
                "broker {}: {} CPU-s (user {}, system {})  {} CPU-s/GB  {} requests/CPU-s  rss {} -> {} (own {})  {} threads\n",
                process.pid,
                process.cpu_seconds,
                process.user_seconds,
                process.system_seconds,
                or_none(process.cpu_seconds_per_gb),
                or_none(process.requests_per_cpu_second),
                output::bytes(process.rss_bytes_before),
                output::bytes(process.rss_bytes_after),
                output::bytes(process.rss_anonymous_bytes_after),
                process.threads
            );
        }
        page + &format!("client: {} CPU-s\n", self.client_cpu_seconds)
    }
}

fn round(number: f64, digits: i32) -> f64 {
    let factor = 10_f64.powi(digits);
    (number * factor).round() / factor
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: u64, cpu: f64) -> Sample {
        let usage = Usage {
            user_seconds: cpu,
            system_seconds: 0.0,
            rss_bytes: 1 << 20,
            rss_anonymous_bytes: 1 << 19,
            threads: 3,
        };
        Sample { at: Duration::from_secs(at), broker: Some((7, usage)), client: usage }
    }

    #[test]
    fn percentiles_come_in_microseconds() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.summary(), None);
        (1..=1000).for_each(|us| latencies.record(Duration::from_micros(us)));
        let summary = latencies.summary().unwrap();
        assert_eq!(summary.count, 1000);
        assert!((summary.p50 - 500.0).abs() < 1.0, "{summary:?}");
        assert!((summary.p99_9 - 999.0).abs() < 1.5, "{summary:?}");
    }

    #[test]
    fn a_report_relates_cpu_to_bytes_and_requests() {
        let totals = Totals { requests: 1000, records: 2000, bytes: 2_000_000_000 };
        let report =
            Report::new("produce", "b", serde_json::Value::Null, totals, &sample(10, 1.0), &sample(12, 2.0));
        let process = report.broker_process.as_ref().unwrap();
        assert_eq!(process.cpu_seconds_per_gb, Some(0.5));
        assert_eq!(process.requests_per_cpu_second, Some(1000.0));
        assert_eq!(report.megabytes_per_second, 1000.0);
        assert!(report.page().contains("0.5 CPU-s/GB"), "{}", report.page());
    }
}
