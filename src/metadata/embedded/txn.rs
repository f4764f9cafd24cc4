//! Puts, deletes and whole Txns: one request, one revision. Pure.
//!
//! As etcd does it: all compares, nested ones too, are evaluated before the first change; then everything on the chosen path that
//! could fail is checked; what is left cannot fail. Operations then run in order and see the changes of those before them.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::proto::{
    PbCompare, PbCompareTarget, PbDeleteRequest, PbDeleteResponse, PbPutRequest, PbPutResponse,
    PbRangeRequest, PbRangeResponse, PbResponseOp, PbTargetUnion, PbTxnOpRequest, PbTxnOpResponse,
    PbTxnRequest, PbTxnRequestOp, PbTxnResponse,
};

use super::error::RequestError;
use super::key_range::KeyRange;
use super::mvcc::{Key, Live, Revision, State, Version};
use super::range::{check_revision, key_value, range};
use super::record::Record;
use super::reply::{Reply, header};
use super::store::{Outcome, Store};

/// Which branch each Txn of a request takes: the outer one first, then the nested ones of that branch in order, each followed by
/// its own.
pub type Path = Vec<bool>;

/// One request on its way: collects the changes of one revision.
pub struct Execution<'a> {
    store: &'a mut Store,
    now: Duration,
    /// The revision that the first change would make.
    next: i64,
    records: Vec<Record>,
}

impl<'a> Execution<'a> {
    /// Starts a request; nothing has changed yet.
    pub fn new(store: &'a mut Store, now: Duration) -> Self {
        let next = store.map.revision() + 1;
        Self { store, now, next, records: Vec::new() }
    }

    /// Runs the request and returns what it did.
    pub fn finish(mut self, run: impl FnOnce(&mut Self) -> Reply) -> Outcome {
        let reply = run(&mut self);
        Outcome { reply: Ok(reply), records: self.records }
    }

    /// The newest revision that this request sees: its own once it has changed something.
    #[must_use]
    pub const fn revision(&self) -> i64 {
        self.store.map.revision()
    }

    fn live(&self, key: &[u8]) -> Option<(&Arc<Version>, &Live)> {
        self.store.map.live_at(key, i64::MAX)
    }

    fn change(&mut self, key: Key, state: State) {
        let sub = u32::try_from(self.records.len()).unwrap_or(u32::MAX);
        let at = Revision { main: self.next, sub };
        let record = Record::Changed(Arc::new(Version { key, at, state }));
        self.store.replay(&record, self.now);
        self.records.push(record);
    }

    /// Whether a put can be done.
    ///
    /// # Errors
    /// Its lease does not exist; what it wants to keep does not exist. In this order, as etcd 3.7.
    pub fn check_put(&self, request: &PbPutRequest) -> Result<(), RequestError> {
        if request.lease != 0 && self.store.leases.get(request.lease).is_none() {
            return Err(RequestError::LeaseNotFound);
        }
        if (request.ignore_value || request.ignore_lease) && self.live(&request.key).is_none() {
            return Err(RequestError::KeyNotFound);
        }
        Ok(())
    }

    /// Puts a key. [`Execution::check_put`] has allowed it.
    pub fn put(&mut self, request: PbPutRequest) -> PbPutResponse {
        let before = self.live(&request.key);
        let key = before.map(|(version, _)| Arc::clone(&version.key));
        let prev_kv = before.filter(|_| request.prev_kv).map(|(version, live)| key_value(version, live));
        let (create_revision, version) =
            before.map_or((self.next, 1), |(_, live)| (live.create_revision, live.version + 1));
        let value = match before {
            Some((_, live)) if request.ignore_value => live.value.clone(),
            _ => request.value.into(),
        };
        let lease = match before {
            Some((_, live)) if request.ignore_lease => live.lease,
            _ => request.lease,
        };
        let state = State::Live(Live { create_revision, version, lease, value });
        self.change(key.unwrap_or_else(|| request.key.into()), state);
        PbPutResponse { header: Some(header(self.revision())), prev_kv }
    }

    /// Deletes the keys of a range; no revision is used if there are none.
    pub fn delete(&mut self, request: &PbDeleteRequest) -> PbDeleteResponse {
        let mut keys = Vec::new();
        let mut prev_kvs = Vec::new();
        for (version, live) in self.store.map.range(KeyRange::new(&request.key, &request.range_end), i64::MAX)
        {
            keys.push(Arc::clone(&version.key));
            if request.prev_kv {
                prev_kvs.push(key_value(version, live));
            }
        }
        let deleted = i64::try_from(keys.len()).unwrap_or(i64::MAX);
        keys.into_iter().for_each(|key| self.change(key, State::Deleted));
        PbDeleteResponse { header: Some(header(self.revision())), deleted, prev_kvs }
    }

    /// Deletes a key that exists.
    pub fn delete_key(&mut self, key: &Key) {
        self.change(Arc::clone(key), State::Deleted);
    }

    /// Evaluates all compares on the state before the request.
    #[must_use]
    pub fn choose_path(&self, request: &PbTxnRequest) -> Path {
        let mut path = Path::new();
        self.extend_path(request, &mut path);
        path
    }

    fn extend_path(&self, request: &PbTxnRequest, path: &mut Path) {
        let succeeded = request.compare.iter().all(|compare| self.holds(compare));
        path.push(succeeded);
        for op in branch(request, succeeded) {
            if let Some(PbTxnOpRequest::RequestTxn(nested)) = &op.request {
                self.extend_path(nested, path);
            }
        }
    }

    /// A compare over a range must hold for each key in it. A key that does not exist has revisions, version and lease 0, and no
    /// value compares with it in any way, not even "not equal".
    fn holds(&self, compare: &PbCompare) -> bool {
        let keys = KeyRange::new(&compare.key, &compare.range_end);
        let mut found = self.store.map.range(keys, i64::MAX).peekable();
        if found.peek().is_none() {
            return compare.target != PbCompareTarget::Value as i32 && key_holds(compare, None);
        }
        found.all(|entry| key_holds(compare, Some(entry)))
    }

    /// Checks everything on the path that can fail.
    ///
    /// # Errors
    /// Of the first operation that would fail.
    pub fn check_txn(&self, request: &PbTxnRequest, path: &[bool]) -> Result<(), RequestError> {
        self.check_branch(request, &mut path.iter().copied())
    }

    fn check_branch(
        &self,
        request: &PbTxnRequest,
        path: &mut impl Iterator<Item = bool>,
    ) -> Result<(), RequestError> {
        let succeeded = path.next().unwrap_or(false);
        branch(request, succeeded).iter().try_for_each(|op| match &op.request {
            Some(PbTxnOpRequest::RequestRange(range)) => self.check_range(range),
            Some(PbTxnOpRequest::RequestPut(put)) => self.check_put(put),
            Some(PbTxnOpRequest::RequestTxn(nested)) => self.check_branch(nested, path),
            Some(PbTxnOpRequest::RequestDeleteRange(_)) | None => Ok(()),
        })
    }

    /// A revision below 0 means the newest, but inside a Txn etcd holds it against the compaction all the same.
    fn check_range(&self, request: &PbRangeRequest) -> Result<(), RequestError> {
        if request.revision < 0 && request.revision < self.store.map.compacted() {
            return Err(RequestError::Compacted);
        }
        check_revision(&self.store.map, request.revision, self.revision())
    }

    /// Runs a Txn along its path. [`Execution::check_txn`] has allowed it.
    pub fn txn(&mut self, request: PbTxnRequest, path: &[bool]) -> PbTxnResponse {
        self.run_branch(request, &mut path.iter().copied())
    }

    fn run_branch(&mut self, request: PbTxnRequest, path: &mut dyn Iterator<Item = bool>) -> PbTxnResponse {
        let succeeded = path.next().unwrap_or(false);
        let ops = if succeeded { request.success } else { request.failure };
        let mut responses = Vec::with_capacity(ops.len());
        for op in ops {
            let response = match op.request {
                Some(PbTxnOpRequest::RequestRange(request)) => {
                    // Checked before the first change; a compaction never runs inside a Txn.
                    let found = range(&self.store.map, &request, self.revision());
                    PbTxnOpResponse::ResponseRange(found.unwrap_or_else(|_| PbRangeResponse::default()))
                }
                Some(PbTxnOpRequest::RequestPut(put)) => PbTxnOpResponse::ResponsePut(self.put(put)),
                Some(PbTxnOpRequest::RequestDeleteRange(delete)) => {
                    PbTxnOpResponse::ResponseDeleteRange(self.delete(&delete))
                }
                Some(PbTxnOpRequest::RequestTxn(nested)) => {
                    PbTxnOpResponse::ResponseTxn(self.run_branch(nested, path))
                }
                None => continue,
            };
            responses.push(PbResponseOp { response: Some(response) });
        }
        PbTxnResponse { header: Some(header(self.revision())), succeeded, responses }
    }
}

fn branch(request: &PbTxnRequest, succeeded: bool) -> &[PbTxnRequestOp] {
    if succeeded { &request.success } else { &request.failure }
}

/// One compare on one key. A target without an operand compares with 0 or the empty value; an unknown target or operator never
/// holds.
fn key_holds(compare: &PbCompare, entry: Option<(&Arc<Version>, &Live)>) -> bool {
    let Ok(target) = PbCompareTarget::try_from(compare.target) else { return false };
    let operand = compare.target_union.as_ref();
    let number = |have: i64, want: Option<i64>| have.cmp(&want.unwrap_or(0));
    let ordering = match target {
        PbCompareTarget::Version => number(
            entry.map_or(0, |(_, live)| live.version),
            operand
                .and_then(|union| if let PbTargetUnion::Version(want) = union { Some(*want) } else { None }),
        ),
        PbCompareTarget::Create => number(
            entry.map_or(0, |(_, live)| live.create_revision),
            operand.and_then(|union| {
                if let PbTargetUnion::CreateRevision(want) = union { Some(*want) } else { None }
            }),
        ),
        PbCompareTarget::Mod => number(
            entry.map_or(0, |(version, _)| version.at.main),
            operand.and_then(
                |union| if let PbTargetUnion::ModRevision(want) = union { Some(*want) } else { None },
            ),
        ),
        PbCompareTarget::Lease => number(
            entry.map_or(0, |(_, live)| live.lease),
            operand.and_then(|union| if let PbTargetUnion::Lease(want) = union { Some(*want) } else { None }),
        ),
        PbCompareTarget::Value => {
            let want = match operand {
                Some(PbTargetUnion::Value(want)) => want.as_slice(),
                _ => &[],
            };
            entry.map_or(&[][..], |(_, live)| &live.value).cmp(want)
        }
    };
    match compare.result {
        0 => ordering == Ordering::Equal,
        1 => ordering == Ordering::Greater,
        2 => ordering == Ordering::Less,
        3 => ordering != Ordering::Equal,
        _ => false,
    }
}
