//! `ketcd perf`: measures a broker over the raw protocol. Batches are encoded once, before the run, and sent again and again; one
//! thread with plain sockets drives all connections, so that the broker is what is measured.
//!
//! Closed loop by default (as fast as the window allows); with `--rate` open loop: each request has an intended time, and its
//! latency counts from that time, also if it could not be sent then. Read first: [`produce`], then [`pace`] and [`report`].

pub mod baseline;
pub mod consume;
pub mod e2e;
pub mod frames;
pub mod pace;
pub mod process;
pub mod produce;
pub mod report;
pub mod run;
pub mod setup;

use super::exit::Outcome;

/// The commands of `ketcd perf`.
#[derive(Debug, clap::Subcommand)]
pub enum PerfCommand {
    /// Write pre-encoded batches
    Produce(produce::ProduceArgs),
    /// Read what is there, again and again, without decoding
    Consume(consume::ConsumeArgs),
    /// From the intended time of a record to its arrival at a consumer
    E2e(e2e::E2eArgs),
}

impl PerfCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// What to tell the user.
    pub async fn run(self) -> Outcome {
        match self {
            Self::Produce(args) => produce::run(args).await,
            Self::Consume(args) => consume::run(args).await,
            Self::E2e(args) => e2e::run(args).await,
        }
    }
}
