//! `ketcd group`: consumer groups and their offsets, over Kafka's protocol, of either kind. Read first: [`coordinator`], then [`members`]
//! and [`committed`], which the commands put together.

pub mod assignment;
pub mod committed;
pub mod coordinator;
pub mod delete;
pub mod describe;
pub mod lag;
pub mod list;
pub mod members;
pub mod plan;
pub mod seek;

use super::exit::Outcome;

/// The commands of `ketcd group`.
#[derive(Debug, clap::Subcommand)]
pub enum GroupCommand {
    /// List groups
    List(list::ListArgs),
    /// Show groups: state, members, what they are assigned
    Describe(describe::DescribeArgs),
    /// Show how far groups are behind
    Lag(lag::LagArgs),
    /// Move the committed offsets of a group without members
    Seek(seek::SeekArgs),
    /// Delete groups, or their offsets of some topics
    Delete(delete::DeleteArgs),
}

impl GroupCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// What to tell the user.
    pub async fn run(self) -> Outcome {
        match self {
            Self::List(args) => list::run(args).await,
            Self::Describe(args) => describe::run(args).await,
            Self::Lag(args) => lag::run(args).await,
            Self::Seek(args) => seek::run(args).await,
            Self::Delete(args) => delete::run(args).await,
        }
    }
}
