//! perf
use super::exit::Outcome;
/// x
#[derive(Debug, clap::Subcommand)]
pub enum PerfCommand {
    /// y
    Produce,
}
impl PerfCommand {
    /// z
    /// # Errors
    /// none
    pub async fn run(self) -> Outcome {
        Ok(())
    }
}
