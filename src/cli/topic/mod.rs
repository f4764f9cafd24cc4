//! `ketcd topic`: topics and their records, over Kafka's protocol. Read first: [`create`], then [`produce`] and [`consume`].

pub mod alter;
pub mod configs;
pub mod consume;
pub mod create;
pub mod delete;
pub mod describe;
pub mod format;
pub mod list;
pub mod partitioner;
pub mod produce;
pub mod sender;
pub mod start;
pub mod trim;

use super::exit::{CliError, Outcome};

/// The commands of `ketcd topic`.
#[derive(Debug, clap::Subcommand)]
pub enum TopicCommand {
    /// Create topics
    Create(create::CreateArgs),
    /// List topics
    List(list::ListArgs),
    /// Show a topic: partitions, leaders, offsets, configuration
    Describe(describe::DescribeArgs),
    /// Add partitions, change configuration
    Alter(alter::AlterArgs),
    /// Delete topics and all their records
    Delete(delete::DeleteArgs),
    /// Write records: one for each line of stdin or a file
    Produce(produce::ProduceArgs),
    /// Read records
    Consume(consume::ConsumeArgs),
    /// Delete the records before an offset
    Trim(trim::TrimArgs),
}

impl TopicCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// What to tell the user.
    pub async fn run(self) -> Outcome {
        match self {
            Self::Create(args) => create::run(args).await,
            Self::List(args) => list::run(args).await,
            Self::Describe(args) => describe::run(args).await,
            Self::Alter(args) => alter::run(args).await,
            Self::Delete(args) => delete::run(args).await,
            Self::Produce(args) => produce::run(args).await,
            Self::Consume(args) => consume::run(args).await,
            Self::Trim(args) => trim::run(args).await,
        }
    }
}

/// Reads `KEY=VALUE`, for clap.
///
/// # Errors
/// A sentence for the user.
pub fn key_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .ok_or_else(|| format!("{text:?} is not KEY=VALUE"))
}

/// The first of several errors, with the number of the others; `Ok` if there are none.
pub(super) fn first_error(mut errors: Vec<CliError>) -> Outcome {
    for error in errors.iter().skip(1) {
        eprint!("{error}");
    }
    if errors.is_empty() { Ok(()) } else { Err(errors.swap_remove(0)) }
}
