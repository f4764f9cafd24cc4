//! Range: reads of a key or many, with etcd's filters, orders and limits. Pure.

use std::cmp::Ordering;
use std::sync::Arc;

use etcd_client::proto::{PbKeyValue, PbRangeRequest, PbRangeResponse};

use super::check::{self, SortOrder, SortTarget};
use super::error::RequestError;
use super::key_range::KeyRange;
use super::mvcc::{Live, Mvcc, Version};
use super::reply::header;

/// A version as the wire shows it.
#[must_use]
pub fn key_value(version: &Version, live: &Live) -> PbKeyValue {
    PbKeyValue { value: live.value.to_vec(), lease: live.lease, ..key_only(version, live) }
}

/// Refuses a revision that cannot be read when `current` is the newest. 0 and below mean the newest.
///
/// # Errors
/// Compacted or in the future.
pub const fn check_revision(map: &Mvcc, revision: i64, current: i64) -> Result<(), RequestError> {
    if revision > current {
        return Err(RequestError::FutureRevision);
    }
    if revision > 0 && revision < map.compacted() {
        return Err(RequestError::Compacted);
    }
    Ok(())
}

/// Answers a Range when `current` is the newest revision that may be seen.
///
/// `count` is always that of all keys of the range at the revision: neither the limit nor the revision filters lower it (as etcd).
/// A sort or a filter looks at every key of the range; without them the limit ends the copying early.
///
/// # Errors
/// See [`check_revision`]; an empty key; an unknown sort option.
///
/// # Cost
/// One walk over the keys of the range; copies what is returned.
pub fn range(map: &Mvcc, request: &PbRangeRequest, current: i64) -> Result<PbRangeResponse, RequestError> {
    let (order, target) = check::range(request)?;
    check_revision(map, request.revision, current)?;
    let at = if request.revision > 0 { request.revision } else { current };
    let keys = map.range(KeyRange::new(&request.key, &request.range_end), at);
    let mut response = PbRangeResponse { header: Some(header(current)), ..Default::default() };
    if request.count_only {
        response.count = count(keys.count());
        return Ok(response);
    }

    let limit = usize::try_from(request.limit).unwrap_or(0);
    let filters = Filters::new(request);
    let fetch = if limit > 0 && order == SortOrder::None && filters.is_none() {
        limit.saturating_add(1)
    } else {
        usize::MAX
    };
    let mut found = Vec::new();
    let mut total = 0_usize;
    for (version, live) in keys {
        total += 1;
        if total <= fetch && filters.allow(version, live) {
            found.push((version, live));
        }
    }
    sort(&mut found, order, target);
    response.count = count(total);
    response.more = limit > 0 && found.len() > limit;
    if response.more {
        found.truncate(limit);
    }
    response.kvs = found
        .into_iter()
        .map(
            |(version, live)| {
                if request.keys_only { key_only(version, live) } else { key_value(version, live) }
            },
        )
        .collect();
    Ok(response)
}

/// What a read of keys only tells. No lease, as etcd 3.7, where it is not in the index; older servers told it.
fn key_only(version: &Version, live: &Live) -> PbKeyValue {
    PbKeyValue {
        key: version.key.to_vec(),
        create_revision: live.create_revision,
        mod_revision: version.at.main,
        version: live.version,
        ..Default::default()
    }
}

fn count(keys: usize) -> i64 {
    i64::try_from(keys).unwrap_or(i64::MAX)
}

/// Bounds of the modification and creation revisions; 0 on the wire means no bound.
struct Filters {
    min_mod: i64,
    max_mod: i64,
    min_create: i64,
    max_create: i64,
}

impl Filters {
    const fn new(request: &PbRangeRequest) -> Self {
        Self {
            min_mod: request.min_mod_revision,
            max_mod: request.max_mod_revision,
            min_create: request.min_create_revision,
            max_create: request.max_create_revision,
        }
    }

    const fn is_none(&self) -> bool {
        self.min_mod == 0 && self.max_mod == 0 && self.min_create == 0 && self.max_create == 0
    }

    const fn allow(&self, version: &Version, live: &Live) -> bool {
        (self.min_mod == 0 || version.at.main >= self.min_mod)
            && (self.max_mod == 0 || version.at.main <= self.max_mod)
            && (self.min_create == 0 || live.create_revision >= self.min_create)
            && (self.max_create == 0 || live.create_revision <= self.max_create)
    }
}

type Found<'a> = (&'a Arc<Version>, &'a Live);

/// Sorts what the index gave in key order. Equal values stay in key order, also when descending by something else.
fn sort(found: &mut [Found<'_>], order: SortOrder, target: SortTarget) {
    // A target other than the key without an order means ascending (etcd's applier).
    let descending = match (order, target) {
        (SortOrder::None | SortOrder::Ascend, SortTarget::Key) => return,
        (SortOrder::Descend, SortTarget::Key) => return found.reverse(),
        (SortOrder::None | SortOrder::Ascend, _) => false,
        (SortOrder::Descend, _) => true,
    };
    found.sort_by(|left, right| {
        let ordering = compare(*left, *right, target);
        if descending { ordering.reverse() } else { ordering }
    });
}

fn compare(left: Found<'_>, right: Found<'_>, target: SortTarget) -> Ordering {
    match target {
        SortTarget::Key => left.0.key.cmp(&right.0.key),
        SortTarget::Version => left.1.version.cmp(&right.1.version),
        SortTarget::Create => left.1.create_revision.cmp(&right.1.create_revision),
        SortTarget::Mod => left.0.at.cmp(&right.0.at),
        SortTarget::Value => left.1.value.cmp(&right.1.value),
    }
}
