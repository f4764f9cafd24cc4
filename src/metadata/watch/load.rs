//! A full read of the cluster's keys at one revision, in pages bounded by bytes.

use etcd_client::GetOptions;

use crate::metadata::apply::{Change, KeyEvent};
use crate::metadata::client::{CallError, Connector};
use crate::metadata::keys::{Keys, prefix_end};

/// Size that a page aims at.
const PAGE_BYTES: usize = 1 << 20;
/// Keys of the first page, before the size of entries is known.
const FIRST_PAGE_KEYS: i64 = 512;
/// Most keys of one page.
const PAGE_KEYS_MAX: i64 = 8_192;

/// All keys as they stood at one revision.
pub struct Snapshot {
    /// The entries, in key order.
    pub entries: Vec<KeyEvent>,
    /// The revision.
    pub revision: i64,
    /// How many requests it took.
    pub pages: usize,
}

/// Reads all keys of the cluster at one revision: that of the first, linearizable page.
///
/// # Errors
/// [`CallError`]; also when the revision was compacted before the last page was read.
pub async fn load(connector: &Connector, keys: &Keys) -> Result<Snapshot, CallError> {
    let end = prefix_end(keys.prefix().as_bytes());
    let mut from = keys.prefix().as_bytes().to_vec();
    let mut snapshot = Snapshot { entries: Vec::new(), revision: 0, pages: 0 };
    let mut limit = FIRST_PAGE_KEYS;
    loop {
        let options =
            GetOptions::new().with_range(end.clone()).with_limit(limit).with_revision(snapshot.revision);
        let mut page = match connector.get(from.clone(), Some(options)).await {
            Ok(page) => page,
            Err(error) if error.is_too_large() && limit > 1 => {
                limit = (limit / 8).max(1);
                continue;
            }
            Err(error) => return Err(error),
        };
        snapshot.pages += 1;
        if snapshot.revision == 0 {
            snapshot.revision = page.header().map_or(0, etcd_client::ResponseHeader::revision);
        }
        let more = page.more();
        let read = page.take_kvs();
        let Some(last) = read.last() else { return Ok(snapshot) };
        from = last.key().to_vec();
        from.push(0);
        let bytes: usize = read.iter().map(|kv| kv.key().len() + kv.value().len()).sum();
        limit = next_limit(read.len(), bytes);
        snapshot.entries.extend(read.into_iter().map(|kv| {
            let (create_revision, mod_revision) = (kv.create_revision(), kv.mod_revision());
            let (key, value) = kv.into_key_value();
            KeyEvent { key, mod_revision, change: Change::Put { value, create_revision } }
        }));
        if !more {
            return Ok(snapshot);
        }
    }
}

/// How many keys make the next page about [`PAGE_BYTES`], if they are as large as these.
fn next_limit(keys: usize, bytes: usize) -> i64 {
    let average = (bytes / keys.max(1)).max(1);
    i64::try_from(PAGE_BYTES / average).unwrap_or(PAGE_KEYS_MAX).clamp(1, PAGE_KEYS_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_aim_at_their_size_in_bytes() {
        assert_eq!(next_limit(100, 100 * 1024), 1024);
        assert_eq!(next_limit(100, 100 * 10), PAGE_KEYS_MAX);
        assert_eq!(next_limit(2, 6 << 20), 1);
    }
}
