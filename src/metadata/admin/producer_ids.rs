//! Producer ids: blocks of 1,000 from one counter in etcd (rule T11), the next block fetched when half of this one is gone.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::{ATTEMPTS, Admin};
use crate::metadata::error::MetadataError;
use crate::metadata::keys::{Key, ProducerIdsValue, Record};
use crate::metadata::state_file::StateFile;
use crate::metadata::txn::{Outcome, shapes};
use crate::types::ProducerId;

/// Ids in one block.
pub const BLOCK: i64 = 1_000;

/// Ids that are ours to give out.
pub(in crate::metadata) struct ProducerIds {
    blocks: Mutex<VecDeque<Range<i64>>>,
    /// A block is being fetched.
    fetching: AtomicBool,
    /// One fetch at a time; the others find its block.
    fetch: tokio::sync::Mutex<()>,
    /// Keeps the end of the last block, so that a rolled back etcd gives none twice.
    state_file: StateFile,
    /// Ids to pass over before the next block.
    pass_over: AtomicI64,
}

/// Ids that are passed over when etcd went back in time, which was accepted: more than were given out in between (rule T11).
const PASSED_OVER: i64 = 1_000_000;

/// An id, and whether it is time to fetch a block.
pub(in crate::metadata) struct Taken {
    pub id: Option<ProducerId>,
    pub fetch: bool,
}

impl ProducerIds {
    pub fn new(state_file: StateFile, accept_rollback: bool) -> Self {
        Self {
            blocks: Mutex::new(VecDeque::new()),
            fetching: AtomicBool::new(false),
            fetch: tokio::sync::Mutex::new(()),
            state_file,
            pass_over: AtomicI64::new(if accept_rollback { PASSED_OVER } else { 0 }),
        }
    }

    /// Takes an id without waiting. The caller that is told to fetch does so, once.
    pub fn take(&self) -> Taken {
        let mut blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
        while blocks.front().is_some_and(Range::is_empty) {
            blocks.pop_front();
        }
        let id = blocks.front_mut().and_then(Iterator::next).map(ProducerId);
        let left: i64 = blocks.iter().map(|block| block.end - block.start).sum();
        let fetch = left <= BLOCK / 2 && !self.fetching.swap(true, Ordering::AcqRel);
        Taken { id, fetch }
    }

    /// Fetches a block, unless another call just did.
    pub async fn refill(&self, admin: &Admin) -> Result<(), MetadataError> {
        let _one = self.fetch.lock().await;
        let left: i64 = {
            let blocks = self.blocks.lock().unwrap_or_else(PoisonError::into_inner);
            blocks.iter().map(|block| block.end - block.start).sum()
        };
        if left > BLOCK / 2 {
            self.fetching.store(false, Ordering::Release);
            return Ok(());
        }
        let floor = self.state_file.state().producer_ids_end;
        let fetched = admin.take_producer_ids(floor, self.pass_over.load(Ordering::Acquire)).await;
        if let Ok(block) = &fetched {
            self.pass_over.store(0, Ordering::Release);
            self.blocks.lock().unwrap_or_else(PoisonError::into_inner).push_back(block.clone());
            let (file, end) = (self.state_file.clone(), block.end);
            let write = move || file.update(|state| state.producer_ids_end = state.producer_ids_end.max(end));
            if let Ok(Err(error)) = tokio::task::spawn_blocking(write).await {
                tracing::warn!(%error, "session state is not written");
            }
        }
        self.fetching.store(false, Ordering::Release);
        fetched.map(|_| ())
    }
}

impl Admin {
    /// Takes the next block from etcd, not below `floor`. A block whose answer was lost is burnt.
    async fn take_producer_ids(&self, floor: i64, pass_over: i64) -> Result<Range<i64>, MetadataError> {
        for attempt in 0..ATTEMPTS {
            let (record, read_revision) = self
                .read_value::<ProducerIdsValue>(&Key::ProducerIds)
                .await?
                .unwrap_or_else(|| (Record::new(ProducerIdsValue { next: 0 }), 0));
            let start = record.value.next.max(floor).saturating_add(pass_over);
            let Some(end) = start.checked_add(BLOCK) else {
                let why = "all producer ids are given out".to_owned();
                return Err(MetadataError::Invalid { what: "block of producer ids".into(), why });
            };
            let value = record.with(ProducerIdsValue { next: end });
            match self.submit(shapes::take_producer_ids(&self.keys, &value, read_revision)).await? {
                Outcome::Applied { .. } => return Ok(start..end),
                Outcome::Rejected { .. } => self.back_off(attempt).await,
                // The block may be ours or not: it is given to nobody.
                Outcome::Unknown { .. } => {}
            }
        }
        Err(MetadataError::Conflict { what: "block of producer ids".into(), attempts: ATTEMPTS })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_come_in_order_and_a_block_is_asked_for_once_at_half() {
        let directory = tempfile::tempdir().unwrap();
        let ids = ProducerIds::new(StateFile::open(directory.path()).unwrap(), false);
        assert!(matches!(ids.take(), Taken { id: None, fetch: true }));
        assert!(matches!(ids.take(), Taken { id: None, fetch: false }));
        ids.blocks.lock().unwrap().push_back(2_000..3_000);
        ids.fetching.store(false, Ordering::Release);
        for n in 2_000..2_499 {
            let taken = ids.take();
            assert_eq!((taken.id, taken.fetch), (Some(ProducerId(n)), false));
        }
        assert!(ids.take().fetch);
        ids.blocks.lock().unwrap().push_back(7_000..8_000);
        let rest: Vec<i64> = std::iter::from_fn(|| ids.take().id).map(ProducerId::get).collect();
        assert_eq!(rest, (2_500..3_000).chain(7_000..8_000).collect::<Vec<_>>());
    }
}
