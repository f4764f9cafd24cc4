//! A follower's side of a log: what the leader has, as the leader has it (rules F5 and F8, KIP-101).

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;

use crate::config::TopicConfig;
use crate::protocol::batch::{self, BATCH_HEADER_BYTES, BatchHeader};
use crate::types::seeded::{Bug, seeded};
use crate::types::{LeaderEpoch, Millis, Offset};

use super::append::make_room;
use super::error::AppendError;
use super::handle::Log;
use super::offsets::Kind;
use super::slot::State;
use super::step::Step;
use super::storage::lock;
use super::writer::{Writer, offset};

impl Log {
    /// Appends batches as they stand at the leader, offsets and epochs included (rule F5). All of them, or those before the first
    /// that is refused. Offsets that compaction left out at the leader are left out here too.
    ///
    /// Into an empty log also a batch that begins before the log and ends in it: the leader's records were deleted up to the middle
    /// of it. The log start offset stays.
    ///
    /// At once, as [`Log::append`], unless the file must be opened, extended or rolled first. With `ketcd.flush=ack` or a due
    /// `flush.messages` the answer comes after the sync: only then may the leader hear of the new end (rule S5).
    ///
    /// # Errors
    /// [`AppendError::Corrupt`], [`AppendError::NotContiguous`] if a batch begins before the log's end,
    /// [`AppendError::StaleLeaderEpoch`] if epochs go down or exceed `current_epoch`; [`AppendError::Unusable`].
    pub fn append_as_follower(
        self: &Arc<Self>,
        records: Bytes,
        current_epoch: LeaderEpoch,
    ) -> Step<Result<(), AppendError>> {
        if let Err(error) = self.home.check() {
            return Step::Ready(Err(error.into()));
        }
        self.touch();
        let mut incoming = Incoming::of(&records, current_epoch);
        let config = self.config_ref();
        let now = self.home.clock.now_ms();
        let done = self.with_open_writer(|writer| incoming.write_while_room(self, writer, &config, now));
        match done {
            Some(Ok(true)) => self.durable(Step::Ready(Ok(()))),
            Some(Err(error)) => Step::Ready(Err(error)),
            Some(Ok(false)) | None => {
                let step = self
                    .submit(move |log, state| incoming.write_all(log, state, now), |error| Err(error.into()));
                self.durable(step)
            }
        }
    }

    /// Moves the log start offset to `to` if that is further, at most to the high watermark: the leader's begins there (F8). Does
    /// not wait for it to be on the disk; whole segments go soon after.
    pub fn raise_log_start(self: &Arc<Self>, to: Offset) {
        let to = to.min(self.high_watermark());
        if to > self.log_start_offset() {
            // Runs on the log's queue. What fails is tried again with the next answer of the leader.
            drop(self.delete_records_before(to));
        }
    }

    /// The end that may count for the high watermark: the log end, or with `ketcd.flush=ack` the end of what is synced (rule S5).
    #[must_use]
    pub fn counting_end(&self) -> Offset {
        let end = self.log_end_offset();
        if self.config_ref().flush_ack { end.min(self.recovery_point()) } else { end }
    }
}

/// Batches of the leader on their way into the log.
struct Incoming {
    /// Those that are sound, up to the first that is not.
    batches: VecDeque<(BatchHeader, Bytes)>,
    bad: Option<AppendError>,
    current_epoch: LeaderEpoch,
}

impl Incoming {
    fn of(records: &Bytes, current_epoch: LeaderEpoch) -> Self {
        let mut incoming = Self { batches: VecDeque::new(), bad: None, current_epoch };
        for item in batch::split(records) {
            let sound = item.and_then(|(header, bytes)| {
                batch::verify_crc(&bytes)?;
                Ok((header, bytes))
            });
            match sound {
                Ok(sound) => incoming.batches.push_back(sound),
                Err(error) => {
                    incoming.bad = Some(AppendError::Corrupt(error));
                    break;
                }
            }
        }
        incoming
    }

    /// Appends as far as that needs no wait for a disk. `Ok(false)`: something is left.
    fn write_while_room(
        &mut self,
        log: &Log,
        writer: &mut Writer,
        config: &TopicConfig,
        now: Millis,
    ) -> Result<bool, AppendError> {
        while let Some((header, bytes)) = self.batches.front() {
            let continues = header.base_offset == writer.end_offset;
            if !continues || !writer.has_room(header, bytes.len(), now, config) {
                return Ok(false);
            }
            self.check_epoch(log, header)?;
            write(log, writer, header, bytes, config)?;
            self.batches.pop_front();
        }
        self.bad.take().map_or(Ok(true), Err)
    }

    /// Appends what is left, with the right to wait for the disk.
    fn write_all(mut self, log: &Arc<Log>, state: &mut State, now: Millis) -> Result<(), AppendError> {
        let config = log.config();
        let writer = log.writer(state)?;
        while let Some((header, bytes)) = self.batches.pop_front() {
            self.check_epoch(log, &header)?;
            admit_offset(log, writer, &header)?;
            make_room(log, writer, &header, bytes.len(), now, &config)?;
            write(log, writer, &header, &bytes, &config)?;
        }
        self.bad.map_or(Ok(()), Err)
    }

    fn check_epoch(&self, log: &Log, header: &BatchHeader) -> Result<(), AppendError> {
        let got = LeaderEpoch(header.partition_leader_epoch);
        let latest = log.latest_epoch().unwrap_or(LeaderEpoch(-1));
        if (got < latest || got > self.current_epoch) && !seeded(Bug::F5Blind) {
            return Err(AppendError::StaleLeaderEpoch { latest, got });
        }
        Ok(())
    }
}

fn write(
    log: &Log,
    writer: &mut Writer,
    header: &BatchHeader,
    bytes: &Bytes,
    config: &TopicConfig,
) -> Result<(), AppendError> {
    let (head, body) = bytes.split_at(BATCH_HEADER_BYTES.min(bytes.len()));
    writer.write(log, header, head, body, config)
}

/// Prepares the log for a batch that does not begin at its end, or refuses it.
fn admit_offset(log: &Arc<Log>, writer: &mut Writer, header: &BatchHeader) -> Result<(), AppendError> {
    let end = writer.end_offset;
    if header.base_offset > end {
        note_gap(log)?;
    } else if header.base_offset < end {
        let is_empty = log.log_start_offset().get() == end;
        if !is_empty || header.last_offset() < end {
            return Err(AppendError::NotContiguous {
                expected: offset(end),
                got: offset(header.base_offset),
            });
        }
        log.begin_within(writer, header.base_offset)?;
    }
    Ok(())
}

/// Has it on the disk that offsets may be missing in this log, as the cleaner does: else recovery would take a gap for damage.
fn note_gap(log: &Log) -> Result<(), AppendError> {
    if lock(&log.home.checkpoints).find(Kind::Cleaner, log.partition()).is_none() {
        log.home.store(Kind::Cleaner, |offsets| {
            offsets.entry(log.partition().clone()).or_insert(log.log_start_offset().get());
        })?;
    }
    Ok(())
}
