//! Small whole files that are replaced, never patched: state that fits one page.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

/// Reads the whole file at `path`; `None` if there is none.
///
/// # Errors
/// Any other I/O error.
pub fn read_if_present(path: &Path) -> io::Result<Option<Vec<u8>>> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Device and inode of the directory at `path`, which is made if it is not there. A copy of it has others.
///
/// # Errors
/// Any I/O error.
pub fn directory_identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::create_dir_all(path)?;
    let metadata = fs::metadata(path)?;
    Ok((metadata.dev(), metadata.ino()))
}

/// Replaces the file at `path` by one with `contents`, creating its directory if needed. A process that dies at any moment leaves
/// the old file or the new one. Not synced: after a power failure the file may be old, empty or absent.
///
/// # Errors
/// The first I/O error; the old file then still stands.
pub fn replace_unsynced(path: &Path, contents: &[u8]) -> io::Result<()> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    let temporary = path.with_extension("tmp");
    let mut file = fs::File::create(&temporary)?;
    file.write_all(contents)?;
    drop(file);
    fs::rename(&temporary, path)
}
