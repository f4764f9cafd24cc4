//! log
use super::exit::Outcome;
/// x
#[derive(Debug, clap::Subcommand)]
pub enum LogCommand {
    /// y
    Dump,
}
impl LogCommand {
    /// z
    /// # Errors
    /// none
    pub fn run(self) -> Outcome {
        Ok(())
    }
}
