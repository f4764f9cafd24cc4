//! A directory that lasts as long as somebody holds it.

use std::io;
use std::path::{Path, PathBuf};

/// A new directory under the system's temporary one, removed with all its contents when dropped. A killed process leaves it behind.
#[derive(Debug)]
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes the directory `ketcd-<name>`, readable by this user only. `name` is one that nobody else has.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(name: &str) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt as _;
        let path = std::env::temp_dir().join(format!("ketcd-{name}"));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // Nothing to be done if it fails: the system clears its temporary directory some day.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
