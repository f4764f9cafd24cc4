//! One segment of a log: a `.log` file, its map, its sparse index. Readers and the writer share it; nobody locks for reading bytes.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use arc_swap::ArcSwapOption;
use bytes::Bytes;

use crate::protocol::batch::BatchHeader;
use crate::sys::{DataFile, Map};
use crate::types::{Millis, Offset};

use super::error::{ReadError, Unusable};
use super::index::{OffsetEntry, OffsetIndex, TimeEntry};
use super::storage::lock;

/// The largest timestamp of a segment nobody has asked for yet.
const UNKNOWN: Millis = Millis::MIN;
/// Bytes before the log's end that were just written and are taken to be in memory without asking.
const HOT_BYTES: u32 = 32 << 20;
/// The smallest step of preallocation, in bytes: an idle partition has no more.
const ALLOCATION_STEP_MIN: u32 = 16 << 10;
/// The largest step of preallocation, in bytes.
const ALLOCATION_STEP_MAX: u32 = 32 << 20;
/// The next segment's id. Four billion openings later one comes again, when nobody remembers it.
static NEXT_ID: AtomicU32 = AtomicU32::new(0);

/// A segment. Its end grows while it is active; then it never changes until it is deleted.
#[derive(Debug)]
pub(super) struct Segment {
    base_offset: i64,
    /// Tells it from other segments with the same base offset: those it was made of, those that are made of it.
    id: u32,
    /// Another segment has its place and its file names.
    replaced: AtomicBool,
    /// End offset less base offset in the high half, end position in the low: read together, they fit together.
    tail: AtomicU64,
    largest_timestamp: AtomicI64,
    /// Positions from here on were written by this process, lately: `u32::MAX` once the segment is sealed, which may be read weeks later.
    written_from: AtomicU32,
    map: ArcSwapOption<Map>,
    /// `None` for a sealed segment whose index was not loaded, or was dropped.
    index: RwLock<Option<OffsetIndex>>,
    /// The time index while the segment is active.
    times: Mutex<Vec<TimeEntry>>,
    /// Open while the segment is active or has bytes that are not synced (rule S4).
    file: Mutex<Option<Arc<DataFile>>>,
    /// Bytes of the file that have space on the disk.
    allocated: AtomicU32,
    /// Whether an extension is under way.
    extending: AtomicBool,
    /// Whether the file has its final size. Locked while the size changes.
    sealed: Mutex<bool>,
    /// Read since the last look of the map budget.
    used: AtomicBool,
}

/// What a reader needs before it can go on: work for a storage thread.
#[derive(Debug)]
pub(super) enum Need {
    /// The log's files must be opened.
    Open,
    /// The segment must be opened.
    Segment(Arc<Segment>),
    /// These bytes of the map must be brought into memory.
    Pages(Arc<Segment>, std::ops::Range<u32>),
    /// Nothing helps.
    Failed(ReadError),
}

impl Segment {
    /// A segment that is written from `position` on, where `end_offset` comes next.
    pub fn active(
        base_offset: i64,
        file: Arc<DataFile>,
        position: u32,
        end_offset: i64,
        allocated: u32,
        index: Vec<OffsetEntry>,
        times: Vec<TimeEntry>,
    ) -> Self {
        Self {
            base_offset,
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            replaced: AtomicBool::new(false),
            tail: AtomicU64::new(pack(end_offset - base_offset, position)),
            largest_timestamp: AtomicI64::new(times.last().map_or(-1, |entry| entry.timestamp)),
            written_from: AtomicU32::new(position),
            map: ArcSwapOption::empty(),
            index: RwLock::new(Some(OffsetIndex::Memory(index))),
            times: Mutex::new(times),
            file: Mutex::new(Some(file)),
            allocated: AtomicU32::new(allocated),
            extending: AtomicBool::new(false),
            sealed: Mutex::new(false),
            used: AtomicBool::new(true),
        }
    }

    /// A segment that ended at `position` before `end_offset`. No file is touched.
    pub fn sealed(base_offset: i64, position: u32, end_offset: i64) -> Self {
        Self {
            base_offset,
            id: NEXT_ID.fetch_add(1, Ordering::Relaxed),
            replaced: AtomicBool::new(false),
            tail: AtomicU64::new(pack(end_offset - base_offset, position)),
            largest_timestamp: AtomicI64::new(UNKNOWN),
            written_from: AtomicU32::new(position),
            map: ArcSwapOption::empty(),
            index: RwLock::new(None),
            times: Mutex::new(Vec::new()),
            file: Mutex::new(None),
            allocated: AtomicU32::new(position),
            extending: AtomicBool::new(false),
            sealed: Mutex::new(true),
            used: AtomicBool::new(false),
        }
    }

    pub const fn base_offset(&self) -> i64 {
        self.base_offset
    }

    pub const fn id(&self) -> u32 {
        self.id
    }

    /// Says that the segment's file names will be another's.
    pub fn set_replaced(&self) {
        self.replaced.store(true, Ordering::Release);
    }

    /// Whether the segment's file names are another's. Ask with [`super::Log`]'s `swapping` in hand.
    pub fn is_replaced(&self) -> bool {
        self.replaced.load(Ordering::Acquire)
    }

    /// End offset (exclusive) and end position, as of one moment.
    pub fn tail(&self) -> (i64, u32) {
        let (relative, position) = unpack(self.tail.load(Ordering::Acquire));
        (self.base_offset + i64::from(relative), position)
    }

    pub fn end_offset(&self) -> i64 {
        self.tail().0
    }

    pub fn size_bytes(&self) -> u32 {
        self.tail().1
    }

    /// Moves the end: the bytes before it may be read from now on.
    pub fn publish(&self, end_offset: i64, position: u32) {
        // ORDER: the bytes are in the page cache before the end says so.
        self.tail.store(pack(end_offset - self.base_offset, position), Ordering::Release);
    }

    /// The largest timestamp, or `None` if it must be looked up in the file first.
    pub fn largest_timestamp(&self) -> Option<Millis> {
        let timestamp = self.largest_timestamp.load(Ordering::Relaxed);
        (timestamp != UNKNOWN).then_some(timestamp)
    }

    pub fn set_largest_timestamp(&self, timestamp: Millis) {
        self.largest_timestamp.store(timestamp, Ordering::Relaxed);
    }

    /// The open file, if the segment is active or not synced.
    pub fn file(&self) -> Option<Arc<DataFile>> {
        lock(&self.file).clone()
    }

    /// Lets the file go: all its bytes are synced.
    pub fn close_file(&self) {
        *lock(&self.file) = None;
    }

    /// Adds index entries for the batch at `position` that ends before `end_offset`.
    pub fn add_index_entries(&self, offset: OffsetEntry, time: Option<TimeEntry>) {
        let mut index = self.index.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(OffsetIndex::Memory(entries)) = index.as_mut() {
            entries.push(offset);
        }
        drop(index);
        if let Some(entry) = time {
            lock(&self.times).push(entry);
        }
    }

    /// Adds a time index entry.
    pub fn add_time_entry(&self, entry: TimeEntry) {
        lock(&self.times).push(entry);
    }

    /// Runs `look` on the index, if it is loaded.
    pub fn with_index<T>(&self, look: impl FnOnce(&OffsetIndex) -> T) -> Option<T> {
        self.index.read().unwrap_or_else(PoisonError::into_inner).as_ref().map(look)
    }

    /// The time index entries of an active segment.
    pub fn times(&self) -> Vec<TimeEntry> {
        lock(&self.times).clone()
    }

    /// Gives the segment what reading it needs, of a sealed segment.
    pub fn set_opened(&self, map: Map, index: OffsetIndex) {
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = Some(index);
        self.map.store(Some(Arc::new(map)));
        self.used.store(true, Ordering::Relaxed);
    }

    /// Forgets map and index of a sealed segment, unless they were used since the last call. Slices that readers hold stay valid.
    pub fn close_if_unused(&self) -> bool {
        if self.used.swap(false, Ordering::Relaxed) || lock(&self.file).is_some() {
            return false;
        }
        self.map.store(None);
        *self.index.write().unwrap_or_else(PoisonError::into_inner) = None;
        lock(&self.times).clear();
        true
    }

    /// The map, at least `length` bytes long.
    ///
    /// # Errors
    /// [`Need::Segment`] if the segment is closed; [`Need::Failed`] if it cannot be mapped.
    pub fn map(self: &Arc<Self>, length: u32, capacity: u32) -> Result<Arc<Map>, Need> {
        if !self.used.load(Ordering::Relaxed) {
            self.used.store(true, Ordering::Relaxed);
        }
        if let Some(map) = self.map.load_full()
            && map.len() >= length as usize
        {
            return Ok(map);
        }
        let file = self.file().ok_or_else(|| Need::Segment(Arc::clone(self)))?;
        let map = file
            .map(capacity.max(length) as usize)
            .map_err(|error| Need::Failed(ReadError::Unusable(Unusable::Io(Arc::new(error)))))?;
        let map = Arc::new(map);
        self.map.store(Some(Arc::clone(&map)));
        Ok(map)
    }

    /// Whether the bytes from `position` on were written so lately that they are in memory.
    fn is_hot(&self, position: u32) -> bool {
        position >= self.written_from.load(Ordering::Relaxed)
            && position.saturating_add(HOT_BYTES) >= self.size_bytes()
    }

    /// Says [`Need::Pages`] if `range` is not in memory.
    pub fn probe(self: &Arc<Self>, map: &Map, range: std::ops::Range<u32>) -> Result<(), Need> {
        if self.is_hot(range.start) || map.is_resident(range.start as usize..range.end as usize) {
            return Ok(());
        }
        Err(Need::Pages(Arc::clone(self), range))
    }

    /// Where the batch with `offset` begins, or the segment's end if all batches end before it.
    ///
    /// # Errors
    /// [`Need`] if that cannot be said without waiting for the disk.
    pub fn position_of(self: &Arc<Self>, map: &Map, offset: i64) -> Result<u32, Need> {
        let (end_offset, end_position) = self.tail();
        if offset >= end_offset {
            return Ok(end_position);
        }
        let relative = u32::try_from((offset - self.base_offset).max(0)).unwrap_or(u32::MAX);
        let floor = self
            .with_index(|index| index.floor_by_offset(relative))
            .ok_or_else(|| Need::Segment(Arc::clone(self)))?;
        let mut position = floor.map_or(0, |entry| entry.position);
        while position < end_position {
            let header = self.header_at(map, position, end_position)?;
            if header.last_offset() >= offset {
                return Ok(position);
            }
            position = next_position(position, &header);
        }
        Ok(end_position)
    }

    /// The last batch boundary at or before `limit`, searched from the boundary `from` on, and the offset that comes there.
    ///
    /// # Errors
    /// As [`Segment::position_of`].
    pub fn boundary_before(
        self: &Arc<Self>,
        map: &Map,
        from: u32,
        limit: u32,
    ) -> Result<(u32, Option<i64>), Need> {
        let (_, end_position) = self.tail();
        let floor = self
            .with_index(|index| index.floor_by_position(limit))
            .ok_or_else(|| Need::Segment(Arc::clone(self)))?;
        let mut position = floor.map_or(0, |entry| entry.position).max(from);
        let mut next_offset = None;
        while position < end_position {
            let header = self.header_at(map, position, end_position)?;
            let next = next_position(position, &header);
            if next > limit {
                return Ok((position, Some(header.base_offset)));
            }
            next_offset = Some(header.next_offset());
            position = next;
        }
        Ok((position, next_offset))
    }

    /// The header of the batch at `position`, a boundary before `end_position`.
    ///
    /// # Errors
    /// As [`Segment::position_of`], and [`ReadError::Damaged`].
    pub fn header_at(
        self: &Arc<Self>,
        map: &Map,
        position: u32,
        end_position: u32,
    ) -> Result<BatchHeader, Need> {
        let end = position.saturating_add(61).min(end_position);
        if !self.is_hot(position) {
            self.probe(map, position..end)?;
        }
        let bytes = map.get(position as usize..end as usize).unwrap_or_default();
        let damaged = |reason: String| {
            Need::Failed(ReadError::Damaged {
                segment: Offset::new(self.base_offset).unwrap_or_default(),
                position,
                reason: reason.into(),
            })
        };
        let header = BatchHeader::parse(bytes).map_err(|error| damaged(error.to_string()))?;
        if next_position(position, &header) > end_position {
            return Err(damaged("the batch is longer than the segment".to_owned()));
        }
        Ok(header)
    }

    /// The whole batch at `position` and its header. For threads that may wait: nothing is probed.
    pub fn batch_at(&self, map: &Map, position: u32) -> Option<(BatchHeader, Bytes)> {
        let end = self.size_bytes() as usize;
        let start = position as usize;
        let header = BatchHeader::parse(map.get(start..end)?).ok()?;
        let bytes = map.slice(start..start.checked_add(header.size_bytes())?)?;
        (start + bytes.len() <= end).then_some((header, bytes))
    }

    /// Bytes of the file that have space.
    pub fn allocated(&self) -> u32 {
        self.allocated.load(Ordering::Acquire)
    }

    /// Whether somebody should extend the file in the background now: less than half a step is left, and nobody does it yet.
    pub fn should_extend(&self, position: u32) -> bool {
        let left = self.allocated().saturating_sub(position);
        left < step(position) / 2 && !self.extending.swap(true, Ordering::Relaxed)
    }

    /// Makes room for `need` bytes after `position`, and for a step more while the disk has it and `capacity` allows.
    /// Does nothing to a sealed segment. May wait for the disk.
    ///
    /// # Errors
    /// What the system says, if not even `need` fits.
    pub fn extend(&self, position: u32, need: u32, capacity: u32) -> std::io::Result<()> {
        let sealed = lock(&self.sealed);
        let result = if *sealed { Ok(()) } else { self.extend_locked(position, need, capacity) };
        drop(sealed);
        self.extending.store(false, Ordering::Relaxed);
        result
    }

    fn extend_locked(&self, position: u32, need: u32, capacity: u32) -> std::io::Result<()> {
        let Some(file) = self.file() else { return Ok(()) };
        let allocated = self.allocated();
        let least = position.saturating_add(need);
        let wanted = least.saturating_add(step(position)).min(capacity).max(least);
        if wanted <= allocated {
            return Ok(());
        }
        let allocate = |target: u32| {
            file.allocate(u64::from(allocated), u64::from(target - allocated))?;
            self.allocated.store(target, Ordering::Release);
            Ok(())
        };
        match allocate(wanted) {
            Err(error) if least > allocated && least < wanted => {
                tracing::debug!(%error, "no room for a whole step of preallocation");
                allocate(least)
            }
            done => done,
        }
    }

    /// Gives the file its final size. No reader holds bytes after `position` (rule S3).
    ///
    /// # Errors
    /// What the system says.
    pub fn seal(&self, position: u32) -> std::io::Result<()> {
        let mut sealed = lock(&self.sealed);
        if let Some(file) = self.file() {
            file.set_size(u64::from(position))?;
        }
        self.allocated.store(position, Ordering::Release);
        self.written_from.store(u32::MAX, Ordering::Relaxed);
        *sealed = true;
        Ok(())
    }
}

/// Where the batch after the one at `position` begins.
pub(super) fn next_position(position: u32, header: &BatchHeader) -> u32 {
    position.saturating_add(u32::try_from(header.size_bytes()).unwrap_or(u32::MAX))
}

/// The step of preallocation: as much again as the segment has, so a busy partition takes large steps and an idle one small.
pub(super) fn step(position: u32) -> u32 {
    position.clamp(ALLOCATION_STEP_MIN, ALLOCATION_STEP_MAX)
}

fn pack(relative_offset: i64, position: u32) -> u64 {
    let relative = u64::try_from(relative_offset).unwrap_or_default();
    (relative << 32) | u64::from(position)
}

#[allow(clippy::cast_possible_truncation)] // the two halves
const fn unpack(tail: u64) -> (u32, u32) {
    ((tail >> 32) as u32, tail as u32)
}
