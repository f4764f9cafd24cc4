//! A log in memory that does what a test says.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use tokio::sync::{oneshot, watch};

use crate::coordinator::runtime::{CoordinatorLog, LogRefused};
use crate::log::Step;
use crate::protocol::batch::{self, BatchHeader};
use crate::types::{LeaderEpoch, Offset};

/// One partition's log, shared by the epochs that write there.
#[derive(Clone)]
pub struct MemoryLog(Arc<Shared>);

struct Shared {
    inner: Mutex<Inner>,
    /// High watermark and the epoch in which this broker leads.
    seen: watch::Sender<(i64, LeaderEpoch)>,
}

#[derive(Default)]
struct Inner {
    batches: Vec<Bytes>,
    epochs: Vec<LeaderEpoch>,
    end: i64,
    /// The high watermark stays where it is.
    holds_commits: bool,
    /// Appends wait until the test lets them go.
    holds_appends: bool,
    held: Vec<oneshot::Sender<()>>,
    fails: Option<LogRefused>,
}

impl MemoryLog {
    pub fn new() -> Self {
        let seen = watch::Sender::new((0, LeaderEpoch(1)));
        Self(Arc::new(Shared { inner: Mutex::default(), seen }))
    }

    /// Appends stay above the high watermark until [`MemoryLog::commit`].
    pub fn hold_commits(&self) {
        self.0.inner.lock().unwrap().holds_commits = true;
    }

    /// Everything appended so far is committed.
    pub fn commit(&self) {
        let end = self.end_offset().get();
        self.0.seen.send_modify(|seen| seen.0 = end);
    }

    /// Appends are delayed, as by a disk, until [`MemoryLog::let_append`].
    pub fn hold_appends(&self) {
        self.0.inner.lock().unwrap().holds_appends = true;
    }

    /// How many delayed appends there are.
    pub fn held_appends(&self) -> usize {
        self.0.inner.lock().unwrap().held.len()
    }

    /// Carries out the appends that are delayed, and delays no more.
    pub fn let_append(&self) {
        let mut inner = self.0.inner.lock().unwrap();
        inner.holds_appends = false;
        for held in inner.held.drain(..) {
            let _ = held.send(());
        }
    }

    /// The next append is refused.
    pub fn fail_next(&self, refused: LogRefused) {
        self.0.inner.lock().unwrap().fails = Some(refused);
    }

    /// This broker leads in `epoch` from now on.
    pub fn lead_in(&self, epoch: LeaderEpoch) {
        self.0.seen.send_modify(|seen| seen.1 = epoch);
    }

    /// The epochs of the appends, in their order.
    pub fn epochs(&self) -> Vec<LeaderEpoch> {
        self.0.inner.lock().unwrap().epochs.clone()
    }

    /// Every batch.
    pub fn batches(&self) -> Vec<Bytes> {
        self.0.inner.lock().unwrap().batches.clone()
    }

    /// Puts a batch into the log as if it had always been there.
    pub fn put(&self, batch: &Bytes) {
        self.write(batch, LeaderEpoch(0));
        self.commit();
    }

    fn write(&self, batch: &Bytes, epoch: LeaderEpoch) -> Offset {
        let header = BatchHeader::parse(batch).unwrap();
        let mut inner = self.0.inner.lock().unwrap();
        let mut bytes = batch.to_vec();
        batch::patch_base_offset(&mut bytes, inner.end).unwrap();
        inner.end += i64::from(header.last_offset_delta) + 1;
        inner.batches.push(bytes.into());
        inner.epochs.push(epoch);
        let (end, commits) = (inner.end, !inner.holds_commits);
        drop(inner);
        if commits {
            self.0.seen.send_modify(|seen| seen.0 = end);
        }
        Offset::new(end).unwrap()
    }
}

impl CoordinatorLog for MemoryLog {
    fn ready(&self) -> Step<Result<(), LogRefused>> {
        Step::Ready(Ok(()))
    }

    fn start_offset(&self) -> Offset {
        Offset::ZERO
    }

    fn end_offset(&self) -> Offset {
        Offset::new(self.0.inner.lock().unwrap().end).unwrap()
    }

    fn batch_bytes_max(&self) -> usize {
        1 << 20
    }

    fn append(&self, batch: Bytes, epoch: LeaderEpoch) -> Step<Result<Offset, LogRefused>> {
        if self.0.seen.borrow().1 != epoch {
            return Step::Ready(Err(LogRefused::NotLeader(epoch)));
        }
        let mut inner = self.0.inner.lock().unwrap();
        if let Some(refused) = inner.fails.take() {
            return Step::Ready(Err(refused));
        }
        if !inner.holds_appends {
            drop(inner);
            return Step::Ready(Ok(self.write(&batch, epoch)));
        }
        let (sender, receiver) = oneshot::channel();
        inner.held.push(sender);
        let log = self.clone();
        Step::Pending(Box::pin(async move {
            receiver.await.unwrap();
            Ok(log.write(&batch, epoch))
        }))
    }

    fn read(&self, from: Offset, end: Offset, max_bytes: usize) -> Step<Result<Vec<Bytes>, LogRefused>> {
        let mut chunks: Vec<Bytes> = Vec::new();
        let mut bytes = 0;
        for batch in &self.0.inner.lock().unwrap().batches {
            let header = BatchHeader::parse(batch).unwrap();
            let inside = header.next_offset() > from.get() && header.next_offset() <= end.get();
            if inside && (chunks.is_empty() || bytes + batch.len() <= max_bytes) {
                bytes += batch.len();
                chunks.push(batch.clone());
            } else if inside {
                break;
            }
        }
        Step::Ready(Ok(chunks))
    }

    fn committed(&self, end: Offset, epoch: LeaderEpoch) -> Step<Result<(), LogRefused>> {
        let done = move |(watermark, leads): (i64, LeaderEpoch)| {
            if leads == epoch {
                (watermark >= end.get()).then_some(Ok(()))
            } else {
                Some(Err(LogRefused::NotLeader(epoch)))
            }
        };
        let now = *self.0.seen.borrow();
        if let Some(done) = done(now) {
            return Step::Ready(done);
        }
        let mut seen = self.0.seen.subscribe();
        Step::Pending(Box::pin(async move {
            let seen = *seen.wait_for(|seen| done(*seen).is_some()).await.unwrap();
            done(seen).unwrap()
        }))
    }
}
