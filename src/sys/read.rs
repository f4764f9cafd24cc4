//! Reading files that are not the broker's own to write: for tools.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Opens a file (or pipe) to be read from its beginning.
///
/// # Errors
/// Those of `open`.
pub fn open(path: &Path) -> io::Result<impl Read + Send + 'static> {
    File::open(path)
}

/// A file that is read at places.
#[derive(Debug)]
pub struct FileReader {
    file: File,
    size_bytes: u64,
}

impl FileReader {
    /// Opens a file; its size is that of now.
    ///
    /// # Errors
    /// Those of `open` and `fstat`.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let size_bytes = file.metadata()?.len();
        Ok(Self { file, size_bytes })
    }

    /// Its size when it was opened, in bytes.
    #[must_use]
    pub const fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Fills `buffer` from `position` on.
    ///
    /// # Errors
    /// Those of `pread`; `UnexpectedEof` if the file ends before.
    pub fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        self.file.read_exact_at(buffer, position)
    }
}

/// A whole file, at most `bytes_max` of it.
///
/// # Errors
/// Those of `open` and `read`.
pub fn small(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(bytes_max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A whole file as text.
///
/// # Errors
/// Those of `open` and `read`; `InvalidData` if it is not UTF-8.
pub fn text(path: &Path) -> io::Result<String> {
    std::fs::read_to_string(path)
}

/// Whether anything has that name.
#[must_use]
pub fn exists(path: &Path) -> bool {
    path.exists()
}

/// The entries of a directory in the order of their names: the path, and whether it is a directory itself.
///
/// # Errors
/// Those of `opendir` and `readdir`.
pub fn directory(path: &Path) -> io::Result<Vec<(PathBuf, bool)>> {
    let mut entries = Vec::new();
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        entries.push((entry.path(), entry.file_type()?.is_dir()));
    }
    entries.sort();
    Ok(entries)
}

/// Whether the path names a directory that can be looked at.
#[must_use]
pub fn is_directory(path: &Path) -> bool {
    path.is_dir()
}
