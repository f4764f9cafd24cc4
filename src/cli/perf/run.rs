//! The frame of a run: warm-up, measured time, samples at its ends, counters that all connections share.

use std::cell::{Cell, RefCell};
use std::future::pending;
use std::time::Duration;

use super::report::{Latencies, Sample, Totals};
use super::setup::RunArgs;
use crate::cli::exit::Outcome;
use crate::types::Clock;

/// What the connections of a run count. One thread: no locks.
#[derive(Debug)]
pub struct Run {
    clock: Clock,
    measuring: Cell<bool>,
    totals: Cell<Totals>,
    records_max: Option<u64>,
    enough: tokio::sync::Notify,
    /// Intended time (or time of sending) to answer.
    pub latencies: RefCell<Latencies>,
    /// Intended time to arrival at a consumer.
    pub end_to_end: RefCell<Latencies>,
}

impl Run {
    /// A run that ends after `records_max` measured records, if that is before its time is over.
    #[must_use]
    pub fn new(records_max: Option<u64>) -> Self {
        Self {
            clock: Clock::system(),
            measuring: Cell::new(false),
            totals: Cell::default(),
            records_max,
            enough: tokio::sync::Notify::new(),
            latencies: RefCell::default(),
            end_to_end: RefCell::default(),
        }
    }

    /// Now, on the time line of intended times.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Counts an answered request, if the time is measured.
    pub fn count(&self, records: u64, bytes: u64) {
        if !self.measuring.get() {
            return;
        }
        let mut totals = self.totals.get();
        totals.requests += 1;
        totals.records += records;
        totals.bytes += bytes;
        self.totals.set(totals);
        if self.records_max.is_some_and(|max| totals.records >= max) {
            self.measuring.set(false);
            self.enough.notify_one();
        }
    }

    /// Counts a latency in `which`, if the time is measured.
    pub fn latency(&self, which: &RefCell<Latencies>, since: Duration) {
        if self.measuring.get() {
            which.borrow_mut().record(self.now().saturating_sub(since));
        }
    }

    /// Drives the connections through warm-up and measured time; then drops them where they stand.
    ///
    /// # Errors
    /// The first error of a connection.
    pub async fn drive(
        &self,
        args: &RunArgs,
        connections: impl Future<Output = Outcome>,
    ) -> Outcome<(Totals, Sample, Sample)> {
        let time = async {
            tokio::time::sleep(args.warmup).await;
            let before = Sample::take(args.pid, self.now())?;
            self.measuring.set(true);
            tokio::select! {
                () = tokio::time::sleep(self.time(args)) => {}
                () = self.enough.notified() => {}
            }
            self.measuring.set(false);
            Outcome::Ok((before, Sample::take(args.pid, self.now())?))
        };
        let (before, after) = tokio::select! {
            samples = time => samples?,
            error = failed(connections) => return Err(error),
        };
        Ok((self.totals.get(), before, after))
    }

    /// With a number of records the time does not end the run.
    fn time(&self, args: &RunArgs) -> Duration {
        if self.records_max.is_some() { Duration::from_secs(24 * 3600) } else { args.duration }
    }
}

/// The error of connections that should not end.
async fn failed(connections: impl Future<Output = Outcome>) -> crate::cli::CliError {
    match connections.await {
        Ok(()) => pending().await,
        Err(error) => error,
    }
}
