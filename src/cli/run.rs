//! `ketcd dev` and `ketcd broker`.

use super::args::{BrokerArgs, DevArgs};
use super::exit::{CliError, Exit, Outcome};

/// Runs a development broker until it is told to stop.
///
/// # Errors
/// What to tell the user.
pub fn dev(_args: DevArgs) -> Outcome {
    Err(CliError::new(Exit::Internal, "this build has no broker"))
}

/// Runs a broker until it is told to stop.
///
/// # Errors
/// What to tell the user.
pub fn broker(_args: BrokerArgs) -> Outcome {
    Err(CliError::new(Exit::Internal, "this build has no broker"))
}
