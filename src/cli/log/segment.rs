//! The batches of a segment file, one after another.

use std::io;
use std::path::Path;

use bytes::Bytes;

use crate::protocol::batch::{BATCH_HEADER_BYTES, BatchError, BatchHeader};
use crate::sys::read::FileReader;

/// A batch larger than this is taken for damage, in bytes.
const BATCH_BYTES_MAX: usize = 1 << 30;

/// A batch and where it stands.
#[derive(Debug, Clone)]
pub struct Placed {
    /// Its first byte in the file.
    pub position: u64,
    /// Its header.
    pub header: BatchHeader,
    /// All its bytes.
    pub bytes: Bytes,
}

/// Why reading a segment ended before the end of its file.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// The file cannot be read.
    #[error("cannot read: {0}")]
    Io(#[from] io::Error),
    /// What stands there is not a batch.
    #[error("position {position}: {error}")]
    Batch {
        /// Where.
        position: u64,
        /// What is wrong.
        error: BatchError,
    },
}

/// Reads the batches of a segment file in order. Ends at the end of the file, at the first zeros (preallocated space), or after an
/// error.
#[derive(Debug)]
pub struct SegmentReader {
    file: FileReader,
    position: u64,
    ended: bool,
}

impl SegmentReader {
    /// Opens a `.log` file.
    ///
    /// # Errors
    /// Those of opening it.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self { file: FileReader::open(path)?, position: 0, ended: false })
    }

    /// Bytes after the last batch that was read: preallocated space, once the reader has ended without an error.
    #[must_use]
    pub const fn bytes_left(&self) -> u64 {
        self.file.size_bytes().saturating_sub(self.position)
    }

    fn read(&mut self) -> Result<Option<Placed>, SegmentError> {
        let left = usize::try_from(self.bytes_left()).unwrap_or(usize::MAX);
        if left == 0 {
            return Ok(None);
        }
        let position = self.position;
        let mut head = [0; BATCH_HEADER_BYTES];
        let have = left.min(BATCH_HEADER_BYTES);
        let Some(known) = head.get_mut(..have) else { return Ok(None) };
        self.file.read_exact_at(known, position)?;
        if known.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let bad = |error: BatchError| SegmentError::Batch { position, error };
        let header = BatchHeader::parse(known).map_err(bad)?;
        let need = header.size_bytes();
        if need > left || need > BATCH_BYTES_MAX {
            return Err(bad(BatchError::Truncated { have: left, need }));
        }
        let mut bytes = vec![0; need];
        self.file.read_exact_at(&mut bytes, position)?;
        self.position += need as u64;
        Ok(Some(Placed { position, header, bytes: bytes.into() }))
    }
}

impl Iterator for SegmentReader {
    type Item = Result<Placed, SegmentError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let next = self.read().transpose();
        self.ended = !matches!(next, Some(Ok(_)));
        next
    }
}
