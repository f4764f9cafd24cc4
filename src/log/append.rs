//! Appending: the fast path on the calling thread, the rest on a storage thread, in order.

use std::sync::Arc;

use bytes::Bytes;

use crate::config::TopicConfig;
use crate::protocol::batch::BatchHeader;
use crate::types::{LeaderEpoch, Millis};

use super::error::AppendError;
use super::handle::Log;
use super::home::Home;
use super::segment::step;
use super::slot::State;
use super::step::Step;
use super::validate::{self, Checked, Origin};
use super::writer::{AppendInfo, Outcome, Writer};

/// How an append is to be checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct AppendOptions {
    /// Who appends.
    pub origin: Origin,
    /// The sequence with which a producer must begin that the log does not know: an earlier batch of it was refused and has not come
    /// again. `None`: any, its state may have expired.
    pub begins_at: Option<i32>,
}

/// What an append gives: the offsets, or why not.
pub type AppendResult = Result<AppendInfo, AppendError>;

impl Log {
    /// Appends one record batch as leader of `leader_epoch` and assigns its offsets.
    ///
    /// `records` is exactly one v2 batch as received: 61-byte header and records, compressed or not. Only base offset and leader
    /// epoch are rewritten (both outside the CRC); with `message.timestamp.type=LogAppendTime`, or a largest timestamp that the
    /// header does not have right, also that, the attributes and the CRC; with a `compression.type` other than the batch's the
    /// records are compressed anew.
    ///
    /// Appends take effect in the order of the calls, also when some are answered later than others. The answer comes at once
    /// unless the file must be opened, extended or rolled first, the batch must be (de)compressed, or the topic asks for a sync
    /// (`ketcd.flush=ack`, `flush.messages`).
    ///
    /// # Errors
    /// [`AppendError`]; the log is unchanged.
    ///
    /// # Cost
    /// One pass for the CRC, one over the records' lengths, one write into the page cache. No allocation for small batches.
    pub fn append(
        self: &Arc<Self>,
        records: Bytes,
        leader_epoch: LeaderEpoch,
        options: AppendOptions,
    ) -> Step<AppendResult> {
        if let Err(error) = self.home.check() {
            return Step::Ready(Err(error.into()));
        }
        let header = match validate::read_header(&records) {
            Ok(header) => header,
            Err(error) => return Step::Ready(Err(error)),
        };
        self.touch();
        let config = self.config_ref();
        let now = self.home.clock.now_ms();
        let origin = options.origin;
        if validate::is_heavy(&header, &config) {
            let log = Arc::clone(self);
            let config = self.config();
            let step = self.submit(
                move |_, state| {
                    let mut batch = validate::check(records, header, &config, origin, now)?;
                    log.append_slowly(state, &mut batch, leader_epoch, options, now)
                },
                |error| Err(error.into()),
            );
            return self.durable(step);
        }
        let mut batch = match validate::check(records, header, &config, origin, now) {
            Ok(batch) => batch,
            Err(error) => return Step::Ready(Err(error)),
        };
        let done = self.with_open_writer(|writer| {
            let outcome = writer.append(self, &mut batch, leader_epoch, options, now, &config);
            (
                outcome,
                writer.segment.should_extend(writer.position).then(|| extension(&self.home, writer, &config)),
            )
        });
        match done {
            Some((Outcome::Done(result), extension)) => {
                if let Some(extend) = extension {
                    self.home.storage.run(extend);
                }
                self.durable(Step::Ready(result))
            }
            Some((Outcome::NoRoom, _)) | None => {
                let step = self.submit(
                    move |log, state| log.append_slowly(state, &mut batch, leader_epoch, options, now),
                    |error| Err(error.into()),
                );
                self.durable(step)
            }
        }
    }

    /// Appends with the right to wait for the disk.
    fn append_slowly(
        self: &Arc<Self>,
        state: &mut State,
        batch: &mut Checked,
        epoch: LeaderEpoch,
        options: AppendOptions,
        now: Millis,
    ) -> AppendResult {
        let config = self.config();
        let writer = self.writer(state)?;
        match writer.append(self, batch, epoch, options, now, &config) {
            Outcome::Done(result) => result,
            Outcome::NoRoom => {
                batch.header.base_offset = writer.end_offset;
                make_room(self, writer, &batch.header, batch.batch.len(), now, &config)?;
                match writer.append(self, batch, epoch, options, now, &config) {
                    Outcome::Done(result) => result,
                    // A segment that has room for the batch was just made.
                    Outcome::NoRoom => Err(AppendError::LargerThanSegment {
                        size_bytes: batch.batch.len(),
                        max_bytes: config.segment_bytes,
                    }),
                }
            }
        }
    }

    /// Holds the answer back until the batch is synced, if the topic says so (rule S5).
    pub(super) fn durable<T: Send + 'static>(
        self: &Arc<Self>,
        step: Step<Result<T, AppendError>>,
    ) -> Step<Result<T, AppendError>> {
        let config = self.config_ref();
        if !config.flush_ack && config.flush_messages.is_none() {
            return step;
        }
        if !config.flush_ack {
            let most = config.flush_messages.unwrap_or(u64::MAX);
            let due = self.with_open_writer(|writer| {
                let due = writer.unflushed_records >= most;
                if due {
                    writer.unflushed_records = 0;
                }
                due
            });
            // While a storage thread has the writer nobody can count: syncing once too often does no harm.
            if due == Some(false) {
                return step;
            }
        }
        match step {
            Step::Ready(Ok(info)) => {
                self.flush().map(move |synced| synced.map(|()| info).map_err(Into::into))
            }
            Step::Ready(Err(error)) => Step::Ready(Err(error)),
            Step::Pending(appended) => {
                let log = Arc::clone(self);
                Step::Pending(Box::pin(async move {
                    let info = appended.await?;
                    log.flush().wait().await?;
                    Ok(info)
                }))
            }
        }
    }
}

pub(super) fn make_room(
    log: &Arc<Log>,
    writer: &mut Writer,
    header: &BatchHeader,
    size: usize,
    now: Millis,
    config: &TopicConfig,
) -> Result<(), AppendError> {
    if !writer.has_room(header, size, now, config) {
        writer.make_room(log, header, size, now, config)?;
    }
    Ok(())
}

/// The job that extends the active file ahead of time.
fn extension(home: &Arc<Home>, writer: &Writer, config: &TopicConfig) -> impl FnOnce() + Send + use<> {
    let (segment, position, capacity) = (Arc::clone(&writer.segment), writer.position, config.segment_bytes);
    let home = Arc::clone(home);
    move || {
        // A full disk shows at the append that needs the room, and there it is an answer.
        let capacity = if home.check_space(u64::from(step(position))).is_ok() { capacity } else { position };
        if let Err(error) = segment.extend(position, 0, capacity) {
            tracing::debug!(%error, "a segment cannot be extended ahead of time");
        }
    }
}
