//! Read-only memory maps of data files, shared as `Bytes` that keep the map alive.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::ops::Range;

use bytes::Bytes;
use memmap2::{Mmap, MmapOptions};

use super::blocking::may_block;

/// Linux's size of a page on the machines we support (x86-64, and arm64 with 4 KiB pages); larger ones still work, less finely.
const PAGE_BYTES: usize = 4096;
/// Pages asked about in one `mincore` call: 4 MiB of file.
const PROBE_PAGES: usize = 1024;

/// The first bytes of a file, mapped for reading. It may be longer than the file: only bytes that were written may be touched,
/// and the file is never cut below a byte that somebody may hold a slice of (rule S3). Cheap to clone; the map is undone when the
/// last clone and the last slice are gone.
#[derive(Debug, Clone)]
pub struct Map {
    bytes: Bytes,
}

impl Map {
    pub(super) fn new(file: &File, length: usize) -> io::Result<Self> {
        if length == 0 {
            return Ok(Self { bytes: Bytes::new() });
        }
        // SAFETY: the file belongs to a directory that this process has locked; we never cut it below bytes that were handed out
        // (rule S3), and bytes below the log's end are never rewritten while a reader may hold them, except by truncation of a
        // follower, which keeps the size. A disk error while touching a page ends the process (rule S2).
        let map = unsafe { MmapOptions::new().len(length).map(file)? };
        Ok(Self { bytes: Bytes::from_owner(Region(map)) })
    }

    /// Bytes that the map covers.
    #[must_use]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Whether the map covers nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// A slice that keeps the map alive; `None` if the map is shorter. The bytes are not touched.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Option<Bytes> {
        (range.start <= range.end && range.end <= self.bytes.len()).then(|| self.bytes.slice(range))
    }

    /// The bytes of `range`, borrowed; `None` if the map is shorter. Touching an absent page waits for the disk.
    #[must_use]
    pub fn get(&self, range: Range<usize>) -> Option<&[u8]> {
        self.bytes.get(range)
    }

    /// Whether all pages of `range` are in memory, so that touching them does not wait for a disk. Costs about 1 us per 64 pages.
    #[must_use]
    pub fn is_resident(&self, range: Range<usize>) -> bool {
        let Some((start, end)) = self.pages(&range) else { return true };
        let mut seen = [0u8; PROBE_PAGES];
        let mut at = start;
        while at < end {
            let step = (end - at).min(PROBE_PAGES * PAGE_BYTES);
            let pages = step.div_ceil(PAGE_BYTES);
            // SAFETY: at..at+step lies in the map and begins at a page; `seen` has a byte per page.
            let answer = unsafe {
                libc::mincore(self.bytes.as_ptr().add(at).cast_mut().cast(), step, seen.as_mut_ptr().cast())
            };
            // An error (an old kernel, a file system that cannot tell) counts as resident: asking again would not help.
            if answer == 0 && seen.iter().take(pages).any(|page| page & 1 == 0) {
                return false;
            }
            at += step;
        }
        true
    }

    /// Brings all pages of `range` into memory. Waits for the disk.
    ///
    /// # Errors
    /// If the disk cannot read them: an error here instead of a SIGBUS later.
    pub fn populate(&self, range: Range<usize>) -> io::Result<()> {
        may_block("populate");
        let Some((start, end)) = self.pages(&range) else { return Ok(()) };
        // SAFETY: start..end lies in the map and begins at a page; the advice changes no contents.
        let answer = unsafe {
            libc::madvise(
                self.bytes.as_ptr().add(start).cast_mut().cast(),
                end - start,
                libc::MADV_POPULATE_READ,
            )
        };
        if answer == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        match error.raw_os_error() {
            // Before Linux 5.14: touch a byte of every page.
            Some(libc::EINVAL) => {
                let touched = self.bytes.get(start..end).unwrap_or_default().iter().step_by(PAGE_BYTES);
                std::hint::black_box(touched.fold(0u8, |sum, byte| sum.wrapping_add(*byte)));
                Ok(())
            }
            _ => Err(error),
        }
    }

    /// `range` widened to whole pages and cut to the map; `None` if nothing is left.
    fn pages(&self, range: &Range<usize>) -> Option<(usize, usize)> {
        let start = range.start / PAGE_BYTES * PAGE_BYTES;
        let end = range.end.min(self.bytes.len());
        (start < end).then_some((start, end))
    }
}

#[derive(Debug)]
struct Region(Mmap);

impl AsRef<[u8]> for Region {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}
