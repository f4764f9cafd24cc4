//! Finding offsets by time (ListOffsets). Always on a storage thread: it looks into batches.

use std::sync::Arc;

use crate::protocol::batch::{BATCH_HEADER_BYTES, BatchHeader};
use crate::protocol::{compression, records};
use crate::types::{LeaderEpoch, Millis, Offset};

use super::error::ReadError;
use super::handle::Log;
use super::segment::{Need, Segment, next_position};
use super::step::Step;
use super::validate::DECOMPRESSED_BYTES_MAX;
use super::writer::offset;

/// A record that was found by its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FoundOffset {
    /// Its timestamp.
    pub timestamp: Millis,
    /// Its offset.
    pub offset: Offset,
    /// Leader epoch of its batch.
    pub leader_epoch: Option<LeaderEpoch>,
}

impl Log {
    /// The first record before `end` whose timestamp is at least `timestamp`. Compressed batches are decompressed as needed.
    pub fn offset_for_timestamp(
        self: &Arc<Self>,
        timestamp: Millis,
        end: Offset,
    ) -> Step<Result<Option<FoundOffset>, ReadError>> {
        self.search(move |log, segments| {
            for segment in segments.iter().filter(|segment| segment.base_offset() < end.get()) {
                if segment.size_bytes() == 0 || log.largest_timestamp_of(segment) < timestamp {
                    continue;
                }
                let found = log.find_in_segment(segment, timestamp, log.log_start_offset().get())?;
                if let Some(found) = found {
                    return Ok((found.offset < end).then_some(found));
                }
            }
            Ok(None)
        })
    }

    /// The first record with the largest timestamp of the log, before `end`.
    pub fn max_timestamp_offset(
        self: &Arc<Self>,
        end: Offset,
    ) -> Step<Result<Option<FoundOffset>, ReadError>> {
        self.search(move |log, segments| {
            let with_records = segments.iter().filter(|segment| segment.size_bytes() > 0);
            let largest = with_records.clone().map(|segment| log.largest_timestamp_of(segment)).max();
            let Some(largest) = largest.filter(|largest| *largest >= 0) else { return Ok(None) };
            for segment in with_records {
                if log.largest_timestamp_of(segment) < largest {
                    continue;
                }
                let found = log.find_in_segment(segment, largest, log.log_start_offset().get())?;
                if let Some(found) = found {
                    return Ok((found.offset < end).then_some(found));
                }
            }
            Ok(None)
        })
    }

    /// Runs `look` on a storage thread, again if a cleaned segment took the place of one that it needed.
    fn search<T: Send + 'static>(
        self: &Arc<Self>,
        look: impl Fn(&Arc<Self>, &[Arc<Segment>]) -> Result<T, ReadError> + Send + 'static,
    ) -> Step<Result<T, ReadError>> {
        self.when_open(move |log| {
            loop {
                let segments = log.segments().ok_or_else(|| log.why_closed())?;
                let found = look(log, &segments);
                let is_replaced = segments.iter().any(|segment| segment.is_replaced());
                if found.is_ok() || !is_replaced {
                    return found;
                }
            }
        })
    }

    /// The first record of `segment` at or after offset `from` with at least `timestamp`.
    fn find_in_segment(
        &self,
        segment: &Arc<Segment>,
        timestamp: Millis,
        from: i64,
    ) -> Result<Option<FoundOffset>, ReadError> {
        let times = self.times_of(segment);
        // Batches up to the last entry below the timestamp are all below it.
        let after = times.partition_point(|entry| entry.timestamp < timestamp);
        let floor = after.checked_sub(1).and_then(|at| times.get(at));
        let begin = floor.map_or(0, |entry| i64::from(entry.relative_offset)) + segment.base_offset();
        let end_position = segment.size_bytes();
        let map = self.retry(|| segment.map(end_position, self.config_ref().segment_bytes))?;
        let mut position = self.retry(|| segment.position_of(&map, begin.max(from)))?;
        while position < end_position {
            let header = self.retry(|| segment.header_at(&map, position, end_position))?;
            if header.max_timestamp >= timestamp && header.last_offset() >= from {
                map.populate(position as usize..next_position(position, &header) as usize)
                    .map_err(|error| self.home.fail("read", &error))?;
                if let Some((header, bytes)) = segment.batch_at(&map, position)
                    && let Some(found) = find_in_batch(segment, position, &header, &bytes, timestamp, from)?
                {
                    return Ok(Some(found));
                }
            }
            position = next_position(position, &header);
        }
        Ok(None)
    }

    /// Runs `step` until it lacks nothing. Waits for the disk.
    fn retry<T>(&self, mut step: impl FnMut() -> Result<T, Need>) -> Result<T, ReadError> {
        for _ in 0..64 {
            match step() {
                Ok(value) => return Ok(value),
                Err(need) => self.satisfy(need)?,
            }
        }
        Err(self.why_closed().into())
    }
}

fn find_in_batch(
    segment: &Segment,
    position: u32,
    header: &BatchHeader,
    bytes: &[u8],
    timestamp: Millis,
    from: i64,
) -> Result<Option<FoundOffset>, ReadError> {
    let found = |timestamp: Millis, at: i64| FoundOffset {
        timestamp,
        offset: offset(at),
        leader_epoch: (header.partition_leader_epoch >= 0)
            .then_some(LeaderEpoch(header.partition_leader_epoch)),
    };
    if header.has_log_append_time() {
        return Ok(Some(found(header.max_timestamp, header.base_offset.max(from))));
    }
    let damaged = |reason: String| ReadError::Damaged {
        segment: offset(segment.base_offset()),
        position,
        reason: reason.into(),
    };
    let codec = header.codec().ok_or_else(|| damaged("the codec is unknown".to_owned()))?;
    let body = bytes.get(BATCH_HEADER_BYTES..).unwrap_or_default();
    let plain = compression::decompress(codec, body, DECOMPRESSED_BYTES_MAX)
        .map_err(|error| damaged(error.to_string()))?;
    for record in records::walk(&plain, header.record_count) {
        let record = record.map_err(|error| damaged(error.to_string()))?;
        let at = header.base_offset + i64::from(record.offset_delta);
        let time = header.base_timestamp.wrapping_add(record.timestamp_delta);
        if time >= timestamp && at >= from {
            return Ok(Some(found(time, at)));
        }
    }
    Ok(None)
}
