//! `ketcd perf produce`: the same batch, again and again, on several connections.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::time::Duration;

use futures_util::future::{try_join, try_join_all};
use serde_json::json;
use tokio::sync::Semaphore;

use super::baseline;
use super::frames::{Batch, ProduceFrame};
use super::pace::{Pacer, Schedule};
use super::report::Report;
use super::run::Run;
use super::setup::{self, RunArgs, clean_up, leader, partition_of};
use crate::cli::client::Cluster;
use crate::cli::exit::{CliError, Exit, Outcome};
use crate::cli::topic::produce::codec;
use crate::cli::topic::sender::Acks;
use crate::protocol::compression::Codec;
use crate::protocol::peer::{PeerReader, PeerWriter};

/// Options of `ketcd perf produce`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ketcd perf produce --pid $(pidof ketcd)                          throughput, CPU per GB
  ketcd perf produce --record-size 100 --batch-bytes 1 --connections 32   small requests
  ketcd perf produce --rate 1000 --batch-bytes 1 --baseline -o json       latency, open loop")]
pub struct ProduceArgs {
    /// Bytes of a record's value
    #[arg(long, alias = "records-size", value_name = "BYTES", default_value_t = 1024)]
    record_size: usize,
    /// Bytes of a batch before compression; at least one record
    #[arg(long, value_name = "BYTES", default_value_t = 256 << 10)]
    batch_bytes: usize,
    /// Connections; each writes to one partition, they go round
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    connections: u32,
    /// Requests in flight on a connection
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    inflight: u32,
    /// Acknowledgements to wait for: 0, 1 or all
    #[arg(long, value_name = "ACKS", default_value = "1")]
    acks: Acks,
    /// Compress the batch (once)
    #[arg(short = 'z', long, value_name = "CODEC", default_value = "none", value_parser = codec)]
    compression: Codec,
    /// Open loop: requests a second, over all connections
    #[arg(long, value_name = "PER_SECOND", value_parser = positive)]
    rate: Option<f64>,
    /// End after this many measured records instead of after --duration
    #[arg(long, value_name = "N")]
    records: Option<u64>,
    /// Measure round trips to a TCP echo too, at the same pace, before the run
    #[arg(long)]
    baseline: bool,
    #[command(flatten)]
    run: RunArgs,
}

/// Reads a rate, for clap.
///
/// # Errors
/// A sentence for the user.
pub fn positive(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|rate: &f64| rate.is_finite() && *rate > 0.0)
        .ok_or_else(|| "give a number above 0".to_owned())
}

/// Runs the command.
///
/// # Errors
/// What to tell the user.
pub async fn run(args: ProduceArgs) -> Outcome {
    let mut cluster = Cluster::connect(&args.run.connect).await?;
    let topic = setup::topic(&mut cluster, &args.run).await?;
    let batch = Batch::fill(args.record_size, args.batch_bytes, args.compression)?;
    let run = Run::new(args.records);
    let echo = match args.baseline {
        true => baseline::echo(args.rate, batch.bytes.len()).await?,
        false => None,
    };
    let mut links = Vec::new();
    for connection in 0..args.connections {
        let partition = partition_of(&topic, connection);
        let peer = cluster.open(leader(&topic, partition)?).await?;
        let frame =
            ProduceFrame::new(&peer, &topic, partition, args.acks.wire(), cluster.timeout_ms(), &batch)?;
        let (reader, writer) = peer.into_halves();
        links.push(Link { reader, writer, frame, pacer: Pacer::new()? });
    }
    let start = run.now();
    let plan = Plan {
        batch: &batch,
        acks: args.acks,
        inflight: args.inflight,
        start,
        rate: args.rate,
        shares: args.connections,
    };
    let connections = async {
        try_join_all((0..).zip(links).map(|(share, link)| link.drive(&run, plan, share))).await.map(|_| ())
    };
    let (totals, before, after) = run.drive(&args.run, connections).await?;
    let settings = json!({
        "record_size": args.record_size,
        "records_per_request": batch.records,
        "batch_bytes": batch.bytes.len(),
        "connections": args.connections,
        "inflight": args.inflight,
        "acks": args.acks.wire(),
        "compression": args.compression.name(),
        "rate": args.rate,
        "partitions": topic.partitions.len(),
    });
    let mut report = Report::new("produce", cluster.address(), settings, totals, &before, &after);
    report.latency_us = run.latencies.borrow().summary();
    report.tcp_echo_us = echo;
    clean_up(&mut cluster, &args.run).await?;
    report.print(args.run.output.format)
}

/// What all connections do.
#[derive(Debug, Clone, Copy)]
struct Plan<'a> {
    batch: &'a Batch,
    acks: Acks,
    inflight: u32,
    start: Duration,
    rate: Option<f64>,
    shares: u32,
}

/// One connection with its frame.
struct Link {
    reader: PeerReader,
    writer: PeerWriter,
    frame: ProduceFrame,
    pacer: Pacer,
}

impl Link {
    /// Sends until it is dropped; answers are read beside, so that a full socket delays no measurement.
    async fn drive(mut self, run: &Run, plan: Plan<'_>, share: u32) -> Outcome {
        let window = Semaphore::new(usize::try_from(plan.inflight).unwrap_or(1));
        let sent: RefCell<VecDeque<Duration>> = RefCell::default();
        let bytes = plan.batch.bytes.len() as u64;
        let frame = &self.frame;
        let sending = async {
            let schedule = plan.rate.map(|rate| Schedule::new(plan.start, rate, share, plan.shares));
            let mut index = 0_u32;
            loop {
                let intended = schedule.map(|schedule| schedule.moment(index));
                if let Some(moment) = intended {
                    self.pacer.until(moment).await?;
                }
                if plan.acks == Acks::None {
                    let since = intended.unwrap_or_else(|| run.now());
                    self.writer.send(&frame.frame).await?;
                    run.latency(&run.latencies, since);
                    run.count(plan.batch.records, bytes);
                    // Nothing is awaited for, so that the other connections and the clock get their turn here.
                    tokio::task::yield_now().await;
                } else {
                    window
                        .acquire()
                        .await
                        .map_err(|error| CliError::new(Exit::Internal, error.to_string()))?
                        .forget();
                    sent.borrow_mut().push_back(intended.unwrap_or_else(|| run.now()));
                    self.writer.send(&frame.frame).await?;
                }
                index = index.saturating_add(1);
            }
        };
        let receiving = async {
            loop {
                let answer = self.reader.recv().await?;
                frame.check(&answer)?;
                if let Some(since) = sent.borrow_mut().pop_front() {
                    run.latency(&run.latencies, since);
                }
                run.count(plan.batch.records, bytes);
                window.add_permits(1);
            }
        };
        let both: Outcome<((), ())> = try_join(sending, receiving).await;
        both.map(|_| ())
    }
}
