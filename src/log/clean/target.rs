//! The segment that a cleaning writes: `<base>.log.cleaned`, with its indexes in memory.

use std::sync::Arc;

use crate::log::error::Unusable;
use crate::log::handle::Log;
use crate::log::index::{self, OffsetIndex};
use crate::log::names::SegmentFile;
use crate::log::open::empty_scan;
use crate::log::scan::{Scan, ScanOptions};
use crate::protocol::batch::BatchHeader;
use crate::sys::DataFile;
use crate::types::LeaderEpoch;

use super::Stopped;
use super::source::Pace;
use super::swap::CLEANED_SUFFIX;

/// A segment that grows. Nobody else knows of it before the swap.
pub struct Target {
    base_offset: i64,
    file: DataFile,
    /// Bytes that are not in the file yet.
    buffer: Vec<u8>,
    buffer_bytes: usize,
    /// Bytes that are.
    written: u64,
    scan: Scan,
    options: ScanOptions,
}

impl Target {
    /// An empty one. Call it with the log's slot in hand: then the directory is this log's.
    pub fn create(log: &Log, base_offset: i64, buffer_bytes: usize) -> Result<Self, Unusable> {
        let path = format!("{}{CLEANED_SUFFIX}", SegmentFile::Log.path(&log.directory(), base_offset));
        let open = || {
            let file = log.home.volume.create_file(&path)?;
            // What an aborted cleaning left.
            file.set_size(0)?;
            Ok(file)
        };
        let file = open().map_err(|error| log.home.write_error("cleaning", error))?;
        let options = ScanOptions {
            base_offset,
            verify_from: i64::MAX,
            epoch: LeaderEpoch(-1),
            gaps: true,
            interval_bytes: log.config_ref().index_interval_bytes,
        };
        Ok(Self {
            base_offset,
            file,
            buffer: Vec::new(),
            buffer_bytes,
            written: 0,
            scan: empty_scan(base_offset),
            options,
        })
    }

    /// Adds a batch.
    pub fn add(
        &mut self,
        log: &Log,
        pace: &Pace<'_>,
        header: &BatchHeader,
        bytes: &[u8],
    ) -> Result<(), Stopped> {
        if u64::from(self.scan.position) + bytes.len() as u64 > u64::from(u32::MAX) {
            // Only if records shrink less by compressing them again than they did before, by gigabytes.
            return Err(Stopped::Bad {
                segment: self.base_offset,
                position: self.scan.position,
                reason: "the cleaned segment is larger than 4 GiB".to_owned(),
            });
        }
        self.buffer.extend_from_slice(bytes);
        self.scan.take(header, self.options);
        if self.buffer.len() >= self.buffer_bytes {
            self.flush(log, pace)?;
        }
        Ok(())
    }

    fn flush(&mut self, log: &Log, pace: &Pace<'_>) -> Result<(), Stopped> {
        let failed = |error| log.home.write_error("cleaning", error);
        self.file.write_at(&self.buffer, self.written).map_err(failed)?;
        self.written += self.buffer.len() as u64;
        pace.did_write(self.buffer.len())?;
        self.buffer.clear();
        Ok(())
    }

    /// Has all bytes on the disk.
    pub fn finish(mut self, log: &Arc<Log>, pace: &Pace<'_>) -> Result<Finished, Stopped> {
        self.flush(log, pace)?;
        // ORDER: the bytes are on the disk before any name leads to them (rule S11).
        self.file.sync().map_err(|error| log.home.fail("cleaning", &error))?;
        self.scan.close_times(self.base_offset);
        Ok(Finished {
            base_offset: self.base_offset,
            size_bytes: self.scan.position,
            largest_timestamp: self.scan.largest.0,
            index: OffsetIndex::Memory(self.scan.index).encode(),
            times: index::encode_times(&self.scan.times),
        })
    }
}

/// A cleaned segment whose bytes are on the disk.
#[derive(Debug)]
pub struct Finished {
    pub base_offset: i64,
    pub size_bytes: u32,
    pub largest_timestamp: i64,
    /// The bytes of its `.index`.
    pub index: Vec<u8>,
    /// The bytes of its `.timeindex`.
    pub times: Vec<u8>,
}
