//! `ketcd topic delete`: DeleteTopics, after a question.

use std::io::{BufRead as _, IsTerminal as _};

use serde::Serialize;

use super::first_error;
use crate::cli::client::{Cluster, ConnectArgs, topic_name};
use crate::cli::exit::{CliError, Outcome};
use crate::cli::output::{self, Format, OutputArgs};
use crate::protocol::error::ErrorCode;
use crate::protocol::peer::messages::DeleteTopicsRequest;
use crate::protocol::peer::messages::delete_topics_request::DeleteTopicState;

/// Options of `ketcd topic delete`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ketcd topic delete orders
  ketcd topic delete orders payments --yes
  ketcd topic delete maybe --if-exists --yes")]
pub struct DeleteArgs {
    /// Names of the topics
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<String>,
    /// Do not ask
    #[arg(short = 'y', long)]
    yes: bool,
    /// A topic that does not exist is no error
    #[arg(long)]
    if_exists: bool,
    #[command(flatten)]
    connect: ConnectArgs,
    #[command(flatten)]
    output: OutputArgs,
}

/// One topic, as `-o json` prints it.
#[derive(Debug, Serialize)]
struct Deleted {
    name: String,
    deleted: bool,
}

/// Runs the command.
///
/// # Errors
/// What to tell the user.
pub async fn run(args: DeleteArgs) -> Outcome {
    confirm(args.yes, &format!("delete {} and all records in it", args.topics.join(", ")))?;
    let mut cluster = Cluster::connect(&args.connect).await?;
    let version = cluster.any().version_of::<DeleteTopicsRequest>()?;
    let names = args.topics.iter().map(|name| topic_name(name));
    let request = DeleteTopicsRequest::default().with_timeout_ms(cluster.timeout_ms());
    let request = if version >= 6 {
        request.with_topics(names.map(|name| DeleteTopicState::default().with_name(Some(name))).collect())
    } else {
        request.with_topic_names(names.collect())
    };
    let answer = cluster.any().call_at(&request, version).await?;
    let mut deleted = Vec::new();
    let mut errors = Vec::new();
    for result in &answer.responses {
        let name = result.name.as_ref().map(|name| name.to_string()).unwrap_or_default();
        let missing = result.error_code == ErrorCode::UnknownTopicOrPartition.code();
        if result.error_code == ErrorCode::None.code() || missing && args.if_exists {
            deleted.push(Deleted { name, deleted: !missing });
        } else {
            let what = format!("topic {name:?} was not deleted");
            let error = CliError::from_code(&what, result.error_code, result.error_message.as_deref());
            errors.push(error.at(cluster.address()));
        }
    }
    match args.output.format {
        Format::Json => output::json(&deleted)?,
        _ => {
            let line = |topic: &Deleted| {
                format!("{} {}\n", if topic.deleted { "deleted" } else { "not there:" }, topic.name)
            };
            output::text(&deleted.iter().map(line).collect::<String>())?;
        }
    }
    first_error(errors)
}

/// Asks on the terminal whether to go on with `what`; `yes` answers beforehand.
///
/// # Errors
/// If the answer is no, or there is nobody to ask.
pub fn confirm(yes: bool, what: &str) -> Outcome {
    if yes {
        return Ok(());
    }
    if !std::io::stdin().is_terminal() {
        return Err(CliError::usage(format!("would {what}: this needs --yes, or a terminal to ask"))
            .help("add --yes if you mean it"));
    }
    eprint!("{what}? [y/N] ");
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        Ok(())
    } else {
        Err(CliError::failure("nothing was done"))
    }
}
