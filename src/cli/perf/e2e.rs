//! `ketcd perf e2e`: records at a steady pace, and how long each takes to be acknowledged and to reach a consumer.

use std::cell::RefCell;
use std::collections::VecDeque;

use futures_util::future::try_join3;
use serde_json::json;

use super::baseline;
use super::consume::{records_of, walk};
use super::frames::{Batch, FetchFrame, ProduceFrame};
use super::pace::{Pacer, Schedule};
use super::produce::positive;
use super::report::Report;
use super::run::Run;
use super::setup::{self, RunArgs, clean_up, leader};
use crate::cli::client::Cluster;
use crate::cli::exit::{CliError, Outcome};
use crate::cli::offsets::{At, offsets};
use crate::cli::topic::sender::Acks;
use crate::protocol::compression::Codec;

/// Records on their way at most: beyond, the run is given up, for the broker does not keep the pace.
const ON_THE_WAY_MAX: usize = 1_000_000;

/// Options of `ketcd perf e2e`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ketcd perf e2e
  ketcd perf e2e --rate 5000 --acks all --duration 30s
  ketcd perf e2e --baseline --pid $(pidof ketcd) -o json

Give it a topic of its own: the records of other producers would be taken for its own.")]
pub struct E2eArgs {
    /// Bytes of a record's value; each record is a request of its own
    #[arg(long, alias = "records-size", value_name = "BYTES", default_value_t = 100)]
    record_size: usize,
    /// Records a second
    #[arg(long, value_name = "PER_SECOND", default_value = "1000", value_parser = positive)]
    rate: f64,
    /// Acknowledgements to wait for: 1 or all
    #[arg(long, value_name = "ACKS", default_value = "1")]
    acks: Acks,
    /// Measure round trips to a TCP echo too, at the same pace, before the run
    #[arg(long)]
    baseline: bool,
    #[command(flatten)]
    run: RunArgs,
}

/// Runs the command.
///
/// # Errors
/// What to tell the user.
pub async fn run(args: E2eArgs) -> Outcome {
    if args.acks == Acks::None {
        return Err(CliError::usage("--acks 0 has no acknowledgement to measure").help("give 1 or all"));
    }
    let mut cluster = Cluster::connect(&args.run.connect).await?;
    let topic = setup::topic(&mut cluster, &args.run).await?;
    let batch = Batch::fill(args.record_size, 1, Codec::None)?;
    let echo = match args.baseline {
        true => baseline::echo(Some(args.rate), batch.bytes.len()).await?,
        false => None,
    };
    let end = offsets(&mut cluster, &topic, At::End).await?.get(&0).copied().flatten().unwrap_or_default();
    let broker = leader(&topic, 0)?;
    let producer = cluster.open(broker).await?;
    let consumer = cluster.open(broker).await?;
    let produce = ProduceFrame::new(&producer, &topic, 0, args.acks.wire(), cluster.timeout_ms(), &batch)?;
    let mut fetch = FetchFrame::new(&consumer, &topic, 0, 1 << 20, 500)?;
    let (mut acks, mut writer) = producer.into_halves();
    let (mut arrivals, mut asking) = consumer.into_halves();
    let run = Run::new(None);
    let schedule = Schedule::new(run.now(), args.rate, 0, 1);
    let unacknowledged: RefCell<VecDeque<std::time::Duration>> = RefCell::default();
    let on_the_way: RefCell<VecDeque<std::time::Duration>> = RefCell::default();

    let sending = async {
        let pacer = Pacer::new()?;
        for index in 0.. {
            let moment = schedule.moment(index);
            pacer.until(moment).await?;
            unacknowledged.borrow_mut().push_back(moment);
            on_the_way.borrow_mut().push_back(moment);
            if on_the_way.borrow().len() > ON_THE_WAY_MAX {
                return Err(
                    CliError::failure("the broker does not keep the pace").help("give a lower --rate")
                );
            }
            writer.send(&produce.frame).await?;
        }
        Ok(())
    };
    let acknowledging = async {
        loop {
            let answer = acks.recv().await?;
            produce.check(&answer)?;
            if let Some(since) = unacknowledged.borrow_mut().pop_front() {
                run.latency(&run.latencies, since);
            }
        }
    };
    let arriving = async {
        let mut next = end;
        loop {
            asking.send(fetch.from(next)).await?;
            let answer = arrivals.recv().await?;
            let records = records_of(answer, fetch.version, &args.run.topic)?;
            let seen = walk(&records, next, true)
                .map_err(|why| CliError::failure(why).at(format!("{}-0", args.run.topic)))?;
            // The partition has one writer: the records come in the order of their intended times.
            for _ in 0..seen.records {
                if let Some(since) = on_the_way.borrow_mut().pop_front() {
                    run.latency(&run.end_to_end, since);
                    run.count(1, batch.bytes.len() as u64);
                }
            }
            next = seen.next;
        }
    };
    let connections = async {
        let all: Outcome<((), (), ())> = try_join3(sending, acknowledging, arriving).await;
        all.map(|_| ())
    };
    let (totals, before, after) = run.drive(&args.run, connections).await?;
    let settings = json!({
        "record_size": args.record_size,
        "batch_bytes": batch.bytes.len(),
        "rate": args.rate,
        "acks": args.acks.wire(),
    });
    let mut report = Report::new("e2e", cluster.address(), settings, totals, &before, &after);
    report.latency_us = run.latencies.borrow().summary();
    report.end_to_end_us = run.end_to_end.borrow().summary();
    report.tcp_echo_us = echo;
    clean_up(&mut cluster, &args.run).await?;
    report.print(args.run.output.format)
}
