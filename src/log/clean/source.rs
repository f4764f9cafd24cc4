//! A segment as the cleaner reads it: its own map of the file, batch by batch, at the pace that the configuration allows.

use std::cell::Cell;
use std::sync::Arc;

use crate::log::handle::Log;
use crate::log::names::SegmentFile;
use crate::log::scan::bring_in;
use crate::log::segment::{Segment, next_position};
use crate::log::storage::read_lock;
use crate::protocol::batch::{self, BATCH_HEADER_BYTES, BatchHeader};
use crate::sys::Map;

use super::Stopped;
use super::threads::Control;

/// Bytes between two looks whether the cleaning should go on.
const STRETCH_BYTES: usize = 256 << 10;

/// Counts what a cleaning moves, and says when it must wait or stop.
pub struct Pace<'a> {
    log: &'a Arc<Log>,
    control: &'a Control,
    /// A segment that the cleaning still needs: without it in the log the work is for nothing.
    needed: Cell<Option<Arc<Segment>>>,
    pub read: Cell<u64>,
    pub written: Cell<u64>,
    since_look: Cell<usize>,
}

impl<'a> Pace<'a> {
    pub const fn new(log: &'a Arc<Log>, control: &'a Control) -> Self {
        Self {
            log,
            control,
            needed: Cell::new(None),
            read: Cell::new(0),
            written: Cell::new(0),
            since_look: Cell::new(0),
        }
    }

    /// Says which segment must still be there.
    pub fn needs(&self, segment: &Arc<Segment>) {
        self.needed.set(Some(Arc::clone(segment)));
    }

    /// Counts bytes that were read.
    pub fn did_read(&self, bytes: usize) -> Result<(), Stopped> {
        self.read.set(self.read.get() + bytes as u64);
        self.did_move(bytes)
    }

    /// Counts bytes that were written.
    pub fn did_write(&self, bytes: usize) -> Result<(), Stopped> {
        self.written.set(self.written.get() + bytes as u64);
        self.did_move(bytes)
    }

    fn did_move(&self, bytes: usize) -> Result<(), Stopped> {
        let since = self.since_look.get() + bytes;
        self.since_look.set(since);
        if since < STRETCH_BYTES {
            return Ok(());
        }
        self.since_look.set(0);
        self.look()?;
        self.control.wait_for_turn(since, self.log.home.clock.elapsed());
        Ok(())
    }

    /// Fails if there is no use in going on.
    pub fn look(&self) -> Result<(), Stopped> {
        // A log that is being cleaned is not idle.
        self.log.touch();
        let needed = self.needed.take();
        let is_there = needed.as_ref().is_none_or(|segment| has_segment(self.log, segment));
        self.needed.set(needed);
        if self.control.is_stopped() || !is_there { Err(Stopped::Aborted) } else { Ok(()) }
    }
}

fn has_segment(log: &Log, segment: &Arc<Segment>) -> bool {
    log.segments_ref().as_ref().is_some_and(|all| {
        let at = all.partition_point(|other| other.base_offset() < segment.base_offset());
        all.get(at).is_some_and(|other| Arc::ptr_eq(other, segment))
    })
}

/// One segment, mapped.
pub struct Source {
    pub segment: Arc<Segment>,
    map: Map,
    end_position: u32,
}

impl Source {
    /// Maps a segment of the log; of the active one, what is there now.
    pub fn open(log: &Arc<Log>, segment: &Arc<Segment>) -> Result<Self, Stopped> {
        // A swap under way renames files: afterwards the segment is another one.
        let _no_swap = read_lock(&log.swapping);
        if segment.is_replaced() {
            return Err(Stopped::Aborted);
        }
        let end_position = segment.size_bytes();
        let path = SegmentFile::Log.path(&log.directory(), segment.base_offset());
        let failed = |error: std::io::Error| match error.kind() {
            std::io::ErrorKind::NotFound => Stopped::Aborted,
            _ => Stopped::Unusable(log.home.write_error("cleaning", error)),
        };
        let file = match segment.file() {
            Some(file) => file,
            None => Arc::new(log.home.volume.open_file(&path).map_err(failed)?),
        };
        if file.size().map_err(failed)? < u64::from(end_position) {
            return Err(Stopped::Bad {
                segment: segment.base_offset(),
                position: end_position,
                reason: "the segment is shorter than it was".to_owned(),
            });
        }
        let map = file.map(end_position as usize).map_err(failed)?;
        Ok(Self { segment: Arc::clone(segment), map, end_position })
    }

    /// Tells `each` of all batches in order, until it says false. CRCs are checked: damage must not get a new, fitting one.
    pub fn batches(
        &self,
        pace: &Pace<'_>,
        mut each: impl FnMut(u32, &BatchHeader, &[u8]) -> Result<bool, Stopped>,
    ) -> Result<(), Stopped> {
        self.walk(pace, |position, header, bytes| {
            batch::verify_crc(bytes).map_err(|error| self.bad(position, error.to_string()))?;
            let goes_on = each(position, header, bytes)?;
            pace.did_read(bytes.len())?;
            Ok(goes_on)
        })
    }

    /// As [`Source::batches`] for who looks at headers only: nothing is checked or counted.
    pub fn walk(
        &self,
        pace: &Pace<'_>,
        mut each: impl FnMut(u32, &BatchHeader, &[u8]) -> Result<bool, Stopped>,
    ) -> Result<(), Stopped> {
        let io = |error| Stopped::Unusable(crate::log::error::Unusable::Io(Arc::new(error)));
        let (mut position, mut present) = (0u32, 0usize);
        let size = self.end_position as usize;
        while position < self.end_position {
            let start = position as usize;
            let head = start..(start + BATCH_HEADER_BYTES).min(size);
            if head.end > present {
                pace.look()?;
            }
            present = bring_in(&self.map, present, head.end).map_err(io)?;
            let header = BatchHeader::parse(self.map.get(head).unwrap_or_default())
                .map_err(|error| self.bad(position, error.to_string()))?;
            let end = start + header.size_bytes();
            if end > size {
                return Err(self.bad(position, "the batch is longer than the segment".to_owned()));
            }
            present = bring_in(&self.map, present, end).map_err(io)?;
            if !each(position, &header, self.map.get(start..end).unwrap_or_default())? {
                return Ok(());
            }
            position = next_position(position, &header);
        }
        Ok(())
    }

    /// Says what is wrong with the batch at `position`.
    pub fn bad(&self, position: u32, reason: String) -> Stopped {
        Stopped::Bad { segment: self.segment.base_offset(), position, reason }
    }
}
