//! One cleaning of one log: the map of the dirty part's keys, then every segment up to there anew, group by group (Kafka's `Cleaner`).

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use crate::config::{CleanerConfig, TopicConfig};
use crate::log::error::Unusable;
use crate::log::handle::Log;
use crate::log::names::SegmentFile;
use crate::log::offsets::Kind;
use crate::log::segment::Segment;
use crate::log::slot::State;
use crate::types::TopicPartition;

use super::Stopped;
use super::choose::Verdict;
use super::filter::{self, Filter, Kept, LastOfProducer};
use super::offset_map::OffsetMap;
use super::source::{Pace, Source};
use super::swap;
use super::target::Target;
use super::threads::Control;
use super::transactions::{Aborted, CleanedTransactions, Outcomes};

/// Bounds of the buffer that collects what is written.
const BUFFER_BYTES: std::ops::Range<usize> = (64 << 10)..(8 << 20);

/// What a cleaning did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cleaned {
    /// The log.
    pub partition: TopicPartition,
    /// Up to where it is clean now.
    pub end_offset: i64,
    /// Keys in the dirty part.
    pub keys: usize,
    /// Bytes that were read.
    pub bytes_read: u64,
    /// Bytes that were written.
    pub bytes_written: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// Cleans what `verdict` says of `log`. Waits for the disk, and for the log's slot.
pub fn clean(
    log: &Arc<Log>,
    verdict: &Verdict,
    config: &CleanerConfig,
    control: &Control,
) -> Result<Cleaned, Stopped> {
    let started = log.home.clock.elapsed();
    let pace = Pace::new(log, control);
    let run = Run { log, config, control, topic: log.config(), pace: &pace };
    let (end_offset, keys) = match run.clean(verdict) {
        // Bytes that were cut off meanwhile are no damage.
        Err(bad @ Stopped::Bad { .. }) => return Err(pace.look().err().unwrap_or(bad)),
        done => done?,
    };
    Ok(Cleaned {
        partition: log.partition().clone(),
        end_offset,
        keys,
        bytes_read: pace.read.get(),
        bytes_written: pace.written.get(),
        elapsed: log.home.clock.elapsed().saturating_sub(started),
    })
}

struct Run<'a> {
    log: &'a Arc<Log>,
    config: &'a CleanerConfig,
    control: &'a Control,
    topic: Arc<TopicConfig>,
    pace: &'a Pace<'a>,
}

impl Run<'_> {
    fn clean(&self, verdict: &Verdict) -> Result<(i64, usize), Stopped> {
        let first_dirty = verdict.first_dirty;
        let all = self.log.segments().ok_or(Stopped::Aborted)?;
        let sealed = all.split_last().map_or(&[][..], |(_, sealed)| sealed);
        let (aborted, undecided) = self.outcomes(&all, first_dirty, verdict.first_uncleanable)?;
        // Of a transaction that has not ended nobody knows whether it counts.
        let upper = match undecided {
            Some(offset) if offset < verdict.first_uncleanable => base_of(sealed, offset),
            _ => verdict.first_uncleanable,
        };
        let count = sealed.partition_point(|segment| segment.base_offset() < upper);
        let sources = sealed.get(..count).unwrap_or_default();
        if upper <= first_dirty || sources.is_empty() {
            return Ok((first_dirty, 0));
        }
        let map = self.map(sources, first_dirty, upper, &aborted)?;
        let end_offset = map.latest_offset() + 1;
        // From here on the log may have gaps, whatever becomes of this cleaning and of its cleanup.policy.
        self.store_checkpoint(first_dirty, true)?;

        let producers = self.producers(upper)?;
        let mut filter = Filter {
            map: &map,
            now: self.log.home.clock.now_ms(),
            delete_retention_ms: self.topic.delete_retention_ms,
            producers: &producers,
            upper,
            transactions: CleanedTransactions::new(&aborted),
        };
        let count = sources.partition_point(|segment| segment.base_offset() < end_offset);
        for group in self.groups(sources.get(..count).unwrap_or_default()) {
            self.clean_group(group, &mut filter)?;
        }
        self.store_checkpoint(end_offset, false)?;
        Ok((end_offset, map.len()))
    }

    /// How the transactions of the dirty part ended, and the first offset of the first that has not. Looks beyond `upper` only as long
    /// as one is open that began before.
    fn outcomes(
        &self,
        all: &[Arc<Segment>],
        first_dirty: i64,
        upper: i64,
    ) -> Result<(Vec<Aborted>, Option<i64>), Stopped> {
        let mut outcomes = Outcomes::default();
        let stable_end = self.log.last_stable_offset().get();
        for segment in all.iter().filter(|segment| segment.end_offset() > first_dirty) {
            let is_open = outcomes.undecided_from().is_some_and(|offset| offset < upper);
            if segment.base_offset() >= upper && !is_open {
                break;
            }
            self.pace.needs(segment);
            let source = Source::open(self.log, segment)?;
            source.walk(self.pace, |position, header, bytes| {
                if header.base_offset >= stable_end {
                    return Ok(false);
                }
                if header.last_offset() >= first_dirty && header.is_transactional() {
                    let marker = match header.is_control() {
                        true => filter::plain(header, bytes)
                            .and_then(|plain| filter::marker(header, &plain))
                            .map_err(|reason| source.bad(position, reason))?,
                        false => None,
                    };
                    // A marker that a cleaning emptied ended its transaction all the same, and no batch of it is dirty.
                    if !header.is_control() || marker.is_some() {
                        outcomes.take(header, marker);
                    }
                }
                Ok(true)
            })?;
        }
        let undecided = outcomes.undecided_from();
        Ok((outcomes.into_aborted(), undecided))
    }

    /// The newest offsets of the keys from `first_dirty` on, of as many records as the memory holds (`buildOffsetMap`).
    fn map(
        &self,
        sources: &[Arc<Segment>],
        first_dirty: i64,
        upper: i64,
        aborted: &[Aborted],
    ) -> Result<OffsetMap, Stopped> {
        let threads = u64::try_from(self.config.threads.max(1)).unwrap_or(1);
        let memory = self.config.dedupe_buffer_bytes / threads;
        // No batch of the dirty part has more records than offsets.
        let records = u64::try_from(upper - first_dirty).unwrap_or_default();
        let mut map = OffsetMap::new(records, memory, self.config.load_factor);
        let mut transactions = CleanedTransactions::new(aborted);
        let mut is_full = false;
        for segment in sources.iter().filter(|segment| segment.end_offset() > first_dirty) {
            self.pace.needs(segment);
            let source = Source::open(self.log, segment)?;
            source.batches(self.pace, |position, header, bytes| {
                let bad = |reason: String| source.bad(position, reason);
                let plain = filter::plain(header, bytes).map_err(bad)?;
                if header.is_control() {
                    transactions.marker(header, filter::marker(header, &plain).map_err(bad)?);
                } else if !transactions.batch(header) && header.last_offset() >= first_dirty {
                    for record in crate::protocol::records::walk(&plain, header.record_count) {
                        let record = record.map_err(|error| bad(error.to_string()))?;
                        let offset = header.base_offset + i64::from(record.offset_delta);
                        if let Some(key) = record.key.filter(|_| offset >= first_dirty)
                            && !map.put(key, offset)
                        {
                            is_full = true;
                            return Ok(false);
                        }
                    }
                }
                if header.last_offset() >= first_dirty {
                    map.advance_to(header.last_offset());
                }
                Ok(true)
            })?;
            if is_full {
                break;
            }
            map.advance_to(segment.end_offset() - 1);
        }
        if map.latest_offset() < first_dirty {
            return Err(Stopped::Bad {
                segment: sources.last().map_or(0, |segment| segment.base_offset()),
                position: 0,
                reason: format!(
                    "a map of {memory} bytes does not hold the keys of one batch: log.cleaner.dedupe.buffer.size"
                ),
            });
        }
        Ok(map)
    }

    /// Segments that together are no larger than one may be (`groupSegmentsBySize`).
    fn groups<'s>(&self, mut sources: &'s [Arc<Segment>]) -> Vec<&'s [Arc<Segment>]> {
        let index_bytes = |segment: &Segment, kind: SegmentFile| {
            let path = kind.path(&self.log.directory(), segment.base_offset());
            self.log.home.volume.file_size(&path).ok().flatten().unwrap_or_default()
        };
        let most = u64::from(self.topic.segment_bytes);
        let index_most = u64::from(self.topic.segment_index_bytes);
        let mut groups = Vec::new();
        while let Some(first) = sources.first() {
            let (mut size, mut index, mut times, mut count) = (0, 0, 0, 0);
            for segment in sources {
                size += u64::from(segment.size_bytes());
                index += index_bytes(segment, SegmentFile::Index);
                times += index_bytes(segment, SegmentFile::TimeIndex);
                let is_far = segment.end_offset() - 1 - first.base_offset() > i64::from(i32::MAX);
                if count > 0 && (size > most || index > index_most || times > index_most || is_far) {
                    break;
                }
                count += 1;
            }
            let Some((group, rest)) = sources.split_at_checked(count) else { break };
            groups.push(group);
            sources = rest;
        }
        groups
    }

    /// Writes the kept records of a group into one segment, and puts it in their place.
    fn clean_group(&self, group: &[Arc<Segment>], filter: &mut Filter<'_>) -> Result<(), Stopped> {
        let Some(first) = group.first() else { return Ok(()) };
        self.pace.needs(first);
        self.pace.look()?;
        let base = first.base_offset();
        let bytes: u64 = group.iter().map(|segment| u64::from(segment.size_bytes())).sum();
        self.log.home.check_space(bytes)?;
        let buffer = (self.config.io_buffer_bytes / 2).clamp(BUFFER_BYTES.start, BUFFER_BYTES.end);
        let target = self.with_log(move |log, _| Target::create(log, base, buffer))??;
        match self.fill(group, filter, target) {
            // A segment from which nothing goes stays what it is.
            Ok(None) => self.with_log(move |log, _| swap::discard(log, base)),
            Ok(Some(finished)) => {
                let sources = group.to_vec();
                self.with_log(move |log, state| swap::swap(log, state, &sources, &finished))?.map(drop)
            }
            Err(stopped) => {
                // If the log is gone, so are its files.
                let _ = self.with_log(move |log, _| swap::discard(log, base));
                Err(stopped)
            }
        }
    }

    /// `None` if all of a single segment is kept as it is.
    fn fill(
        &self,
        group: &[Arc<Segment>],
        filter: &mut Filter<'_>,
        mut target: Target,
    ) -> Result<Option<super::target::Finished>, Stopped> {
        let mut is_same = group.len() == 1;
        for segment in group {
            self.pace.needs(segment);
            let source = Source::open(self.log, segment)?;
            source.batches(self.pace, |position, header, bytes| {
                match filter.keep(header, bytes).map_err(|reason| source.bad(position, reason))? {
                    Kept::Nothing => is_same = false,
                    Kept::Whole => target.add(self.log, self.pace, header, bytes)?,
                    Kept::Part(header, bytes) => {
                        is_same = false;
                        target.add(self.log, self.pace, &header, &bytes)?;
                    }
                }
                Ok(true)
            })?;
        }
        if is_same { Ok(None) } else { target.finish(self.log, self.pace).map(Some) }
    }

    /// The active producers whose last batch may lie in the part that is cleaned.
    fn producers(&self, upper: i64) -> Result<HashMap<i64, LastOfProducer>, Stopped> {
        let producers = self.with_log(move |log, state| {
            let writer = log.writer(state)?;
            let last = writer.producers.iter().map(|(id, state)| {
                let last_offset = state.batches().last().map(|batch| batch.last_offset);
                (id, LastOfProducer { last_offset, epoch: state.epoch })
            });
            Ok::<_, Unusable>(last.filter(|(_, last)| last.last_offset.is_none_or(|at| at < upper)).collect())
        })??;
        Ok(producers)
    }

    /// Has it on the disk that everything below `offset` is clean; with `if_absent` only where nothing is said yet.
    fn store_checkpoint(&self, offset: i64, if_absent: bool) -> Result<(), Stopped> {
        self.with_log(move |log, state| {
            // Not for a log that is gone: one of the same name may be there.
            log.writer(state)?;
            log.home.store(Kind::Cleaner, |offsets| match if_absent {
                true => {
                    offsets.entry(log.partition().clone()).or_insert(offset);
                }
                false => {
                    offsets.insert(log.partition().clone(), offset);
                }
            })
        })??;
        Ok(())
    }

    fn with_log<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Arc<Log>, &mut State) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        self.control.with_log(self.log, work)
    }
}

/// Base offset of the segment that has `offset`.
fn base_of(segments: &[Arc<Segment>], offset: i64) -> i64 {
    let after = segments.partition_point(|segment| segment.base_offset() <= offset);
    after.checked_sub(1).and_then(|at| segments.get(at)).map_or(0, |segment| segment.base_offset())
}
