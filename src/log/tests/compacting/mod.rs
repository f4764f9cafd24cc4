//! Compaction as a whole: logs are written, cleaned and read.

mod crashing;
mod model;
mod racing;
mod rules;
mod transactions;

use std::sync::Arc;

use bytes::Bytes;

use super::support::*;
use crate::config::TopicConfig;
use crate::log::{AppendOptions, Cleaned, Log, ReadOptions};
use crate::protocol::batch::{self, BATCH_HEADER_BYTES, BatchHeader};
use crate::protocol::compression::{self, Codec};
use crate::protocol::records::{self, BatchBuilder, NewRecord};
use crate::types::LeaderEpoch;

/// A compacted topic with small segments, which is always dirty enough.
pub fn compacted() -> TopicConfig {
    TopicConfig {
        cleanup_delete: false,
        cleanup_compact: true,
        min_cleanable_dirty_ratio: 0.0,
        delete_retention_ms: 10_000,
        segment_bytes: 1000,
        index_interval_bytes: 200,
        ..config()
    }
}

/// A record of a compacted topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub offset: i64,
    pub timestamp: i64,
    pub key: Option<Vec<u8>>,
    pub value: Option<Vec<u8>>,
}

pub type Pair<'a> = (&'a str, Option<&'a str>);

/// A batch of keys and values, all at `timestamp`.
pub fn keyed(mut builder: BatchBuilder, timestamp: i64, pairs: &[Pair<'_>]) -> Bytes {
    for (key, value) in pairs {
        let (key, value) = (Some(key.as_bytes()), value.map(str::as_bytes));
        builder.push(NewRecord { timestamp, key, value, headers: &[] }).unwrap();
    }
    builder.build()
}

pub fn plain() -> BatchBuilder {
    BatchBuilder::new().codec(Codec::None, None)
}

pub fn put(log: &Arc<Log>, pairs: &[Pair<'_>]) -> i64 {
    append_ok(log, keyed(plain(), NOW, pairs)).first_offset.get()
}

/// Everything so far is committed and may be cleaned.
pub fn roll(log: &Arc<Log>) {
    let rolled = log.submit(
        |log, state| {
            let config = log.config();
            log.writer(state)?.roll(log, &config)
        },
        Err,
    );
    rolled.wait_blocking().unwrap();
    log.update_high_watermark(log.log_end_offset());
}

pub fn clean(fixture: &Fixture) -> Cleaned {
    fixture.dirs().clean_dirtiest().unwrap().expect("a log is dirty")
}

/// All batches of the log as a consumer gets them.
pub fn batches(log: &Arc<Log>) -> Vec<(BatchHeader, Bytes)> {
    let end = log.log_end_offset();
    let (mut next, mut cursor, mut all) = (log.log_start_offset(), None, Vec::new());
    while next < end {
        let options = ReadOptions { max_bytes: 700, min_one_batch: true, end, cursor };
        let read = log.read(next, options).wait_blocking().unwrap();
        if read.size_bytes == 0 {
            break;
        }
        cursor = read.cursor;
        for chunk in &read.chunks {
            for item in batch::split(chunk) {
                let (header, bytes) = item.unwrap();
                batch::verify_crc(&bytes).unwrap();
                assert!(header.next_offset() > next.get(), "offsets only grow");
                next = at(header.next_offset());
                all.push((header, bytes));
            }
        }
    }
    all
}

pub fn records_of(header: &BatchHeader, bytes: &Bytes) -> Vec<Kept> {
    if header.record_count == 0 {
        assert_eq!(bytes.len(), BATCH_HEADER_BYTES);
        return Vec::new();
    }
    let codec = header.codec().unwrap();
    let plain = compression::decompress(codec, &bytes[BATCH_HEADER_BYTES..], 1 << 30).unwrap();
    records::walk(&plain, header.record_count)
        .map(|record| {
            let record = record.unwrap();
            Kept {
                offset: header.base_offset + i64::from(record.offset_delta),
                timestamp: header.base_timestamp + record.timestamp_delta,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
            }
        })
        .collect()
}

/// All data records of the log.
pub fn survivors(log: &Arc<Log>) -> Vec<Kept> {
    let data = batches(log).into_iter().filter(|(header, _)| !header.is_control());
    data.flat_map(|(header, bytes)| records_of(&header, &bytes)).collect()
}

/// Offset, key and value of all data records, as text.
pub fn texts(log: &Arc<Log>) -> Vec<String> {
    let text = |bytes: &Option<Vec<u8>>| {
        bytes.as_ref().map_or("-".to_owned(), |bytes| String::from_utf8_lossy(bytes).into_owned())
    };
    survivors(log)
        .iter()
        .map(|kept| format!("{} {}={}", kept.offset, text(&kept.key), text(&kept.value)))
        .collect()
}

/// Appends a batch as it is, as a follower does: no checks of what clients may send.
pub fn append_raw(log: &Arc<Log>, builder: BatchBuilder, pairs: &[Pair<'_>]) -> i64 {
    let end = log.log_end_offset().get();
    let bytes = keyed(builder.base_offset(end).leader_epoch(0), NOW, pairs);
    log.append_as_follower(bytes, LeaderEpoch(0)).wait_blocking().unwrap();
    end
}

pub fn append_with(log: &Arc<Log>, bytes: Bytes) -> crate::log::AppendResult {
    log.append(bytes, LeaderEpoch(0), AppendOptions::default()).wait_blocking()
}

/// Names of the files of the partition, sorted, without those that wait for their removal.
pub fn files(fixture: &Fixture) -> Vec<String> {
    let mut names: Vec<_> = std::fs::read_dir(fixture.path().join("t-0"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".deleted"))
        .collect();
    names.sort();
    names
}

pub fn checkpoint(fixture: &Fixture) -> String {
    std::fs::read_to_string(fixture.path().join("cleaner-offset-checkpoint")).unwrap_or_default()
}
