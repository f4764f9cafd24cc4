//! `ketcd cluster unregister`: forgets a broker that is away for good.

use crate::cli::client::{Cluster, ConnectArgs};
use crate::cli::exit::{CliError, Outcome};
use crate::protocol::error::ErrorCode;
use crate::protocol::peer::messages::{BrokerId, UnregisterBrokerRequest};

/// Options of `ketcd cluster unregister`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ketcd cluster unregister 7
  ketcd cluster unregister 7 -b kafka-0:9092")]
pub struct UnregisterArgs {
    /// The broker, which must not run
    #[arg(value_name = "ID")]
    broker: i32,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Runs the command.
///
/// # Errors
/// What to tell the user.
pub async fn run(args: UnregisterArgs) -> Outcome {
    let mut cluster = Cluster::connect(&args.connect).await?;
    let request = UnregisterBrokerRequest::default().with_broker_id(BrokerId(args.broker));
    let answer = cluster.ask(&request).await?;
    if answer.error_code != ErrorCode::None.code() {
        let what = format!("broker {} was not unregistered", args.broker);
        return Err(CliError::from_code(&what, answer.error_code, answer.error_message.as_deref())
            .at(cluster.address()));
    }
    eprintln!("broker {} is forgotten", args.broker);
    Ok(())
}
