//! `ketcd version`.

use serde::Serialize;

use super::exit::Outcome;
use super::output;

/// Options of `ketcd version`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  ketcd version
  ketcd version --json | jq -r .version")]
pub struct VersionArgs {
    /// As one JSON document
    #[arg(long)]
    json: bool,
}

/// As `--json` prints it.
#[derive(Debug, Serialize)]
struct Version {
    name: &'static str,
    version: &'static str,
    os: &'static str,
    arch: &'static str,
}

/// Runs the command.
///
/// # Errors
/// If stdout cannot be written.
pub fn run(args: VersionArgs) -> Outcome {
    let version = Version {
        name: "ketcd",
        version: env!("CARGO_PKG_VERSION"),
        os: std::env::consts::OS,
        arch: std::env::consts::ARCH,
    };
    if args.json {
        return output::json(&version);
    }
    output::text(&format!("{} {} ({}-{})\n", version.name, version.version, version.arch, version.os))
}
