//! The command line: commands that run a broker, that use a cluster over Kafka's protocol, and that look at files and metadata.
//!
//! Every network command speaks plain Kafka protocol and works against any Kafka broker. stdout carries data, stderr talk; errors
//! say cause, place and cure ([`exit`]). This room is the top floor: it may know every other, and none knows it.
//!
//! Read first: [`args`], then [`exit`] and [`client`].

pub mod args;
pub mod client;
pub mod cluster;
pub mod config;
pub mod exit;
pub mod group;
pub mod log;
pub mod meta;
pub mod node;
mod node_admin;
mod node_groups;
mod node_replication;
pub mod nodes;
pub mod offsets;
pub mod output;
pub mod perf;
pub mod run;
pub mod topic;
pub mod version;
pub mod why;

use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser as _;

pub use args::{BrokerArgs, Cli, Command, DevArgs};
pub use exit::{CliError, Exit, Outcome};

/// The program: reads the arguments of the process, runs the command, tells errors, gives the exit code.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(told) => {
            // Also --help and --version come this way, with exit code 0.
            let _ = told.print();
            return ExitCode::from(u8::try_from(told.exit_code()).unwrap_or(Exit::Usage.code()));
        }
    };
    // The panic's own message is on stderr already.
    let ended = catch_unwind(AssertUnwindSafe(|| dispatch(cli.command)))
        .unwrap_or_else(|_| Err(CliError::new(Exit::Internal, "this is a bug in ketcd: please report it")));
    match ended {
        Ok(()) => Exit::Done.into(),
        Err(error) => {
            if !error.quiet {
                let _ = write!(std::io::stderr(), "{error}");
            }
            error.exit.into()
        }
    }
}

fn dispatch(command: Command) -> Outcome {
    match command {
        Command::Dev(args) => run::dev(args),
        Command::Broker(args) => run::broker(args),
        Command::Topic(command) => block_on(command.run()),
        Command::Group(command) => block_on(command.run()),
        Command::Cluster(args) => block_on(cluster::run(args)),
        Command::Perf(command) => block_on(command.run()),
        Command::Config(command) => command.run(),
        Command::Log(command) => command.run(),
        Command::Meta(command) => block_on(command.run()),
        Command::Why(args) => block_on(why::run(args)),
        Command::Version(args) => version::run(args),
    }
}

/// Runs a network command on this thread.
fn block_on(command: impl Future<Output = Outcome>) -> Outcome {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| CliError::new(Exit::Internal, format!("no runtime: {error}")))?
        .block_on(command)
}
