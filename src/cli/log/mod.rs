//! `ketcd log`: looks at a partition's files without a broker. They are Kafka's files, so this works on Kafka's directories too.
//! Reads only; safe while a broker writes, except that the end of the active segment may be half written.
//!
//! Read first: [`segment`], then [`verify`].

pub mod dump;
pub mod index;
pub mod segment;
pub mod verify;

use std::path::{Path, PathBuf};

use super::exit::{CliError, Outcome};
use crate::sys::read;

/// The commands of `ketcd log`.
#[derive(Debug, clap::Subcommand)]
pub enum LogCommand {
    /// Print batches, records or index entries
    Dump(dump::DumpArgs),
    /// Check every batch and index entry; exit code 1 if one is bad
    Verify(verify::VerifyArgs),
}

impl LogCommand {
    /// Runs the command.
    ///
    /// # Errors
    /// What to tell the user.
    pub fn run(self) -> Outcome {
        match self {
            Self::Dump(args) => dump::run(&args),
            Self::Verify(args) => verify::run(&args),
        }
    }
}

/// The files with one of `extensions` in `path`: itself, those of a partition's directory, or those of all partitions in a data
/// directory, in the order of their names.
///
/// # Errors
/// If the path cannot be read.
fn files(path: &Path, extensions: &[&str]) -> Outcome<Vec<PathBuf>> {
    let cannot = |error: std::io::Error| {
        CliError::failure(format!("cannot read: {error}")).at(path.display().to_string())
    };
    let fits = |path: &Path| {
        path.extension().and_then(|extension| extension.to_str()).is_some_and(|ext| extensions.contains(&ext))
    };
    if !read::is_directory(path) {
        read::FileReader::open(path).map_err(cannot)?;
        return Ok(vec![path.to_owned()]);
    }
    let mut found = Vec::new();
    for (entry, is_directory) in read::directory(path).map_err(cannot)? {
        if is_directory {
            let inner = read::directory(&entry).map_err(cannot)?;
            found.extend(
                inner.into_iter().filter(|(file, is_dir)| !is_dir && fits(file)).map(|(file, _)| file),
            );
        } else if fits(&entry) {
            found.push(entry);
        }
    }
    Ok(found)
}

/// The offset that a file is named after.
fn base_offset(path: &Path) -> Option<i64> {
    path.file_stem()?.to_str()?.parse().ok().filter(|offset| *offset >= 0)
}
