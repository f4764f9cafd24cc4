//! Checks that need the request alone, as etcd's gRPC layer makes them before anything else (`v3rpc/key.go`).

use std::collections::BTreeSet;

use etcd_client::proto::{
    PbCompare, PbDeleteRequest, PbPutRequest, PbRangeRequest, PbTargetUnion, PbTxnOpRequest, PbTxnRequest,
    PbTxnRequestOp,
};

use super::error::RequestError;
use super::key_range::KeyRange;

/// The most compares, operations on success or operations on failure of one Txn, nested ones counted with their parents
/// (etcd's `--max-txn-ops` default).
pub const MAX_TXN_OPS: usize = 128;
/// The largest request (etcd's `--max-request-bytes` default).
pub const MAX_REQUEST_BYTES: usize = 3 << 19;
/// Bytes counted for the framing of one operation besides its keys and values.
const OP_OVERHEAD_BYTES: usize = 16;

/// In which order a Range answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortOrder {
    /// As the index has it: ascending by key.
    None,
    /// Smallest first.
    Ascend,
    /// Largest first.
    Descend,
}

/// What a Range is ordered by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SortTarget {
    /// The key.
    Key,
    /// Number of puts.
    Version,
    /// Creation revision.
    Create,
    /// Modification revision.
    Mod,
    /// The value.
    Value,
}

/// Checks a Range and returns its order.
///
/// # Errors
/// An empty key; an unknown order or target.
pub fn range(request: &PbRangeRequest) -> Result<(SortOrder, SortTarget), RequestError> {
    check_key(&request.key)?;
    let order = match request.sort_order {
        0 => SortOrder::None,
        1 => SortOrder::Ascend,
        2 => SortOrder::Descend,
        _ => return Err(RequestError::InvalidSortOption),
    };
    let target = match request.sort_target {
        0 => SortTarget::Key,
        1 => SortTarget::Version,
        2 => SortTarget::Create,
        3 => SortTarget::Mod,
        4 => SortTarget::Value,
        _ => return Err(RequestError::InvalidSortOption),
    };
    Ok((order, target))
}

/// Checks a Put.
///
/// # Errors
/// An empty key; a value or lease that is to be ignored; too large.
pub fn put(request: &PbPutRequest) -> Result<(), RequestError> {
    put_fields(request)?;
    check_size(put_bytes(request))
}

/// Checks a DeleteRange.
///
/// # Errors
/// An empty key; too large.
pub fn delete(request: &PbDeleteRequest) -> Result<(), RequestError> {
    check_key(&request.key)?;
    check_size(request.key.len() + request.range_end.len())
}

/// Checks a whole Txn, nested ones included.
///
/// # Errors
/// Whatever its operations are refused for; too many; a key changed twice in one branch; too large.
pub fn txn(request: &PbTxnRequest) -> Result<(), RequestError> {
    txn_fields(request, MAX_TXN_OPS)?;
    changed_keys(&request.success)?;
    changed_keys(&request.failure)?;
    check_size(txn_bytes(request))
}

const fn check_key(key: &[u8]) -> Result<(), RequestError> {
    if key.is_empty() { Err(RequestError::EmptyKey) } else { Ok(()) }
}

const fn check_size(bytes: usize) -> Result<(), RequestError> {
    if bytes > MAX_REQUEST_BYTES { Err(RequestError::RequestTooLarge) } else { Ok(()) }
}

fn put_fields(request: &PbPutRequest) -> Result<(), RequestError> {
    check_key(&request.key)?;
    if request.ignore_value && !request.value.is_empty() {
        return Err(RequestError::ValueProvided);
    }
    if request.ignore_lease && request.lease != 0 {
        return Err(RequestError::LeaseProvided);
    }
    Ok(())
}

/// `room` is what the parents left of [`MAX_TXN_OPS`].
fn txn_fields(request: &PbTxnRequest, room: usize) -> Result<(), RequestError> {
    let ops = request.compare.len().max(request.success.len()).max(request.failure.len());
    let Some(room) = room.checked_sub(ops) else {
        return Err(RequestError::TooManyOps);
    };
    request.compare.iter().try_for_each(|compare| check_key(&compare.key))?;
    request.success.iter().chain(&request.failure).try_for_each(|op| match &op.request {
        Some(PbTxnOpRequest::RequestRange(range_request)) => range(range_request).map(|_| ()),
        Some(PbTxnOpRequest::RequestPut(put)) => put_fields(put),
        Some(PbTxnOpRequest::RequestDeleteRange(delete)) => check_key(&delete.key),
        Some(PbTxnOpRequest::RequestTxn(nested)) => txn_fields(nested, room),
        None => Err(RequestError::KeyNotFound),
    })
}

/// The keys that a branch puts and the ranges it deletes, or that it would change one key twice.
///
/// Then and else of a nested Txn may put the same key: only one of them runs.
fn changed_keys(ops: &[PbTxnRequestOp]) -> Result<(BTreeSet<&[u8]>, Vec<KeyRange<'_>>), RequestError> {
    let mut puts = BTreeSet::new();
    let mut deletes: Vec<KeyRange<'_>> = ops
        .iter()
        .filter_map(|op| match &op.request {
            Some(PbTxnOpRequest::RequestDeleteRange(delete)) => {
                Some(KeyRange::new(&delete.key, &delete.range_end))
            }
            _ => None,
        })
        .collect();

    for op in ops {
        let Some(PbTxnOpRequest::RequestTxn(nested)) = &op.request else { continue };
        let (then_puts, then_deletes) = changed_keys(&nested.success)?;
        let (else_puts, else_deletes) = changed_keys(&nested.failure)?;
        for key in then_puts.union(&else_puts) {
            if puts.contains(key) || deletes.iter().any(|range| range.contains(key)) {
                return Err(RequestError::DuplicateKey);
            }
        }
        puts.extend(then_puts);
        puts.extend(else_puts);
        deletes.extend(then_deletes);
        deletes.extend(else_deletes);
    }

    for op in ops {
        let Some(PbTxnOpRequest::RequestPut(put)) = &op.request else { continue };
        let key = put.key.as_slice();
        if deletes.iter().any(|range| range.contains(key)) || !puts.insert(key) {
            return Err(RequestError::DuplicateKey);
        }
    }
    Ok((puts, deletes))
}

fn put_bytes(request: &PbPutRequest) -> usize {
    request.key.len() + request.value.len() + OP_OVERHEAD_BYTES
}

fn compare_bytes(compare: &PbCompare) -> usize {
    let value = match &compare.target_union {
        Some(PbTargetUnion::Value(value)) => value.len(),
        _ => 0,
    };
    compare.key.len() + compare.range_end.len() + value + OP_OVERHEAD_BYTES
}

fn txn_bytes(request: &PbTxnRequest) -> usize {
    let compares: usize = request.compare.iter().map(compare_bytes).sum();
    let ops: usize = request
        .success
        .iter()
        .chain(&request.failure)
        .map(|op| match &op.request {
            Some(PbTxnOpRequest::RequestRange(range)) => {
                range.key.len() + range.range_end.len() + OP_OVERHEAD_BYTES
            }
            Some(PbTxnOpRequest::RequestPut(put)) => put_bytes(put),
            Some(PbTxnOpRequest::RequestDeleteRange(delete)) => {
                delete.key.len() + delete.range_end.len() + OP_OVERHEAD_BYTES
            }
            Some(PbTxnOpRequest::RequestTxn(nested)) => txn_bytes(nested) + OP_OVERHEAD_BYTES,
            None => 0,
        })
        .sum();
    compares + ops
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put_op(key: &str) -> PbTxnRequestOp {
        PbTxnRequestOp {
            request: Some(PbTxnOpRequest::RequestPut(PbPutRequest { key: key.into(), ..Default::default() })),
        }
    }

    fn delete_op(key: &str, range_end: &str) -> PbTxnRequestOp {
        PbTxnRequestOp {
            request: Some(PbTxnOpRequest::RequestDeleteRange(PbDeleteRequest {
                key: key.into(),
                range_end: range_end.into(),
                prev_kv: false,
            })),
        }
    }

    fn nested(success: Vec<PbTxnRequestOp>, failure: Vec<PbTxnRequestOp>) -> PbTxnRequestOp {
        PbTxnRequestOp {
            request: Some(PbTxnOpRequest::RequestTxn(PbTxnRequest { compare: Vec::new(), success, failure })),
        }
    }

    fn check_success(success: Vec<PbTxnRequestOp>) -> Result<(), RequestError> {
        txn(&PbTxnRequest { success, ..Default::default() })
    }

    #[test]
    fn one_branch_must_not_change_a_key_twice() {
        let duplicate = Err(RequestError::DuplicateKey);
        assert_eq!(check_success(vec![put_op("a"), put_op("b")]), Ok(()));
        assert_eq!(check_success(vec![put_op("a"), put_op("a")]), duplicate);
        assert_eq!(check_success(vec![put_op("b"), delete_op("a", "c")]), duplicate);
        assert_eq!(check_success(vec![put_op("c"), delete_op("a", "c")]), Ok(()));
        assert_eq!(check_success(vec![delete_op("a", "c"), delete_op("b", "")]), Ok(()));
        assert_eq!(check_success(vec![put_op("a"), nested(vec![put_op("a")], vec![])]), duplicate);
        assert_eq!(check_success(vec![nested(vec![put_op("a")], vec![put_op("a")])]), Ok(()));
        assert_eq!(
            check_success(vec![nested(vec![put_op("a")], vec![]), nested(vec![], vec![put_op("a")])]),
            duplicate
        );
    }

    #[test]
    fn nested_operations_count_with_their_parents() {
        let ops = |count: usize, from: usize| {
            (from..from + count).map(|n| put_op(&n.to_string())).collect::<Vec<_>>()
        };
        assert_eq!(check_success(ops(MAX_TXN_OPS, 0)), Ok(()));
        assert_eq!(check_success(ops(MAX_TXN_OPS + 1, 0)), Err(RequestError::TooManyOps));
        let mut outer = ops(100, 0);
        outer.push(nested(ops(27, 1000), vec![]));
        assert_eq!(check_success(outer.clone()), Ok(()));
        outer.push(put_op("one more"));
        assert_eq!(check_success(outer), Err(RequestError::TooManyOps));
    }
}
