use bytes::Bytes;

use super::support::*;
use crate::config::{CompressionType, TopicConfig};
use crate::log::{AppendError, AppendOptions, Step};
use crate::protocol::batch::{self, BatchHeader};
use crate::protocol::compression::Codec;
use crate::protocol::records::{BatchBuilder, NewRecord};
use crate::sys;
use crate::types::LeaderEpoch;

#[test]
fn offsets_are_assigned_and_batches_come_back_unchanged_but_for_offset_and_epoch() {
    let fixture = Fixture::new();
    let log = fixture.log(config());
    log.begin_epoch(LeaderEpoch(3));
    for codec in ALL_CODECS {
        let sent = build(BatchBuilder::new().codec(codec, None), NOW, &[b"one", b"two", &[7; 5000]]);
        let info =
            log.append(sent.clone(), LeaderEpoch(3), AppendOptions::default()).wait_blocking().unwrap();
        assert_eq!(info.last_offset.get() - info.first_offset.get(), 2);
        assert_eq!(info.size_bytes, sent.len());
        let end = log.log_end_offset();
        let options = crate::log::ReadOptions { max_bytes: 1 << 20, min_one_batch: true, end, cursor: None };
        let read = log.read(info.first_offset, options).wait_blocking().unwrap();
        let stored = &read.chunks[0];
        assert_eq!(stored[16..], sent[16..], "{codec:?}");
        let header = BatchHeader::parse(stored).unwrap();
        assert_eq!((header.base_offset, header.partition_leader_epoch), (info.first_offset.get(), 3));
    }
    assert_eq!(log.log_end_offset(), at(15));
    assert_eq!(consume(&log, 0, 15, 1 << 20).len(), 15);
}

#[test]
fn after_the_first_append_small_appends_and_tail_reads_do_not_leave_the_calling_thread() {
    let fixture = Fixture::new();
    let log = fixture.log(config());
    append_ok(&log, batch(NOW, &[b"first"]));
    // The answer comes a moment before the storage thread hands the writer back.
    while log.with_open_writer(|_| ()).is_none() {
        std::thread::yield_now();
    }
    let before = sys::blocked_calls();
    let _guard = sys::forbid_blocking();
    let mut ready = 0;
    for _ in 0..50 {
        let step = log.append(batch(NOW, &[b"small"]), LeaderEpoch(0), AppendOptions::default());
        ready += i32::from(matches!(step, Step::Ready(Ok(_))));
        let end = log.log_end_offset();
        let options = crate::log::ReadOptions { max_bytes: 1000, min_one_batch: true, end, cursor: None };
        let read = log.read(end.get().checked_sub(1).map(at).unwrap(), options).ready().unwrap().unwrap();
        assert!(read.size_bytes > 0);
    }
    assert_eq!(ready, 50);
    assert_eq!(sys::blocked_calls(), before);
}

#[test]
fn appends_keep_their_order_when_some_must_wait_for_a_storage_thread() {
    let fixture = Fixture::new();
    let log = fixture.log(TopicConfig { segment_bytes: 20_000, ..config() });
    // The very first goes to a storage thread, and many more where the file must be extended or rolled.
    let steps: Vec<_> = (0..500u32)
        .map(|i| {
            let value = [i.to_be_bytes().as_slice(), &[0; 400]].concat();
            log.append(batch(NOW, &[&value]), LeaderEpoch(0), AppendOptions::default())
        })
        .collect();
    let pending = steps.iter().filter(|step| matches!(step, Step::Pending(_))).count();
    assert!(pending > 0);
    for (i, step) in steps.into_iter().enumerate() {
        assert_eq!(step.wait_blocking().unwrap().first_offset.get(), i as i64);
    }
    let read = values(&log);
    assert!(read.iter().enumerate().all(|(i, value)| value[..4] == (i as u32).to_be_bytes()));
}

#[test]
fn what_is_not_one_good_batch_is_refused_and_changes_nothing() {
    let fixture = Fixture::new();
    let log = fixture.log(TopicConfig { max_message_bytes: 2000, ..config() });
    append_ok(&log, batch(NOW, &[b"good"]));
    let good = batch(NOW, &[b"a", b"b"]);
    let change = |at: usize, value: u8| {
        let mut bytes = good.to_vec();
        bytes[at] = value;
        Bytes::from(bytes)
    };
    let with_crc = |at: usize, value: u8| {
        let mut bytes = change(at, value).to_vec();
        batch::patch_crc(&mut bytes).unwrap();
        Bytes::from(bytes)
    };
    let try_it = |bytes: Bytes| append(&log, bytes).unwrap_err();
    assert!(matches!(try_it(Bytes::new()), AppendError::InvalidRecord { .. }));
    assert!(matches!(try_it(good.slice(..good.len() - 1)), AppendError::Corrupt(_)));
    assert!(matches!(
        try_it(Bytes::from([&good[..], &good[..]].concat())),
        AppendError::InvalidRecord { .. }
    ));
    assert!(matches!(try_it(change(16, 1)), AppendError::UnsupportedMagic { magic: 1 }));
    assert!(matches!(try_it(change(good.len() - 1, 9)), AppendError::Corrupt(_)), "crc");
    assert!(matches!(try_it(change(7, 1)), AppendError::InvalidRecord { .. }), "base offset");
    assert!(matches!(try_it(with_crc(60, 1)), AppendError::InvalidRecord { .. }), "record count");
    assert!(matches!(try_it(with_crc(60, 3)), AppendError::InvalidRecord { .. }), "record count");
    assert!(matches!(try_it(with_crc(22, 0x20)), AppendError::InvalidRecord { .. }), "control");
    assert!(matches!(try_it(with_crc(22, 0x07)), AppendError::BadCompression { .. }), "codec 7");
    assert!(matches!(try_it(with_crc(22, 0x08)), AppendError::InvalidTimestamp { .. }), "append time");
    assert!(matches!(try_it(with_crc(61, 100)), AppendError::InvalidRecord { .. }), "record length");
    let large = batch(NOW, &[&[0; 2000]]);
    assert!(matches!(try_it(large), AppendError::TooLarge { max_bytes: 2000, .. }));
    assert_eq!(log.log_end_offset(), at(1));
}

#[test]
fn timestamps_must_be_in_bounds_and_the_record_to_blame_is_named() {
    let fixture = Fixture::new();
    let bounds = TopicConfig { message_timestamp_before_max_ms: 1000, ..config() };
    let log = fixture.log(bounds);
    let mut builder = BatchBuilder::new();
    for timestamp in [NOW, NOW - 1000, NOW - 1001] {
        builder.push(NewRecord { timestamp, ..NewRecord::default() }).unwrap();
    }
    let compressed = builder.clone().codec(Codec::Lz4, None).build();
    for bytes in [builder.build(), compressed] {
        let error = append(&log, bytes).unwrap_err();
        let AppendError::InvalidTimestamp { timestamp, index, .. } = error else { panic!("{error}") };
        assert_eq!((timestamp, index), (NOW - 1001, 2));
    }
    let late = batch(NOW + 3_600_001, &[b"v"]);
    assert!(matches!(append(&log, late), Err(AppendError::InvalidTimestamp { index: 0, .. })));
    append_ok(&log, batch(-1, &[b"no timestamp"]));
    append_ok(&log, batch(NOW + 3_600_000, &[b"just in time"]));
}

#[test]
fn log_append_time_replaces_the_timestamps_and_keeps_the_crc_right() {
    let fixture = Fixture::new();
    let log = fixture.log(TopicConfig { log_append_time: true, ..config() });
    for codec in ALL_CODECS {
        let info = append_ok(&log, build(BatchBuilder::new().codec(codec, None), 5, &[b"a", b"b"]));
        assert_eq!(info.log_append_time_ms, Some(NOW), "{codec:?}");
    }
    let records = consume(&log, 0, log.log_end_offset().get(), 1 << 20);
    assert_eq!(records.len(), 10);
    assert!(records.iter().all(|record| record.timestamp == NOW));
}

#[test]
fn a_compression_type_of_the_topic_stores_every_batch_in_that_codec() {
    let fixture = Fixture::new();
    let kinds = [
        (CompressionType::Uncompressed, Codec::None),
        (CompressionType::Gzip, Codec::Gzip),
        (CompressionType::Snappy, Codec::Snappy),
        (CompressionType::Lz4, Codec::Lz4),
        (CompressionType::Zstd, Codec::Zstd),
    ];
    for (number, (compression, target)) in kinds.into_iter().enumerate() {
        let log = fixture.log_of("codec", number as i32, TopicConfig { compression, ..config() });
        for source in ALL_CODECS {
            append_ok(&log, build(BatchBuilder::new().codec(source, None), NOW, &[b"same", &[b'x'; 300]]));
        }
        let end = log.log_end_offset();
        let options = crate::log::ReadOptions { max_bytes: 1 << 20, min_one_batch: true, end, cursor: None };
        let read = log.read(at(0), options).wait_blocking().unwrap();
        for item in batch::split(&read.chunks[0]) {
            assert_eq!(item.unwrap().0.codec(), Some(target));
        }
        let records = consume(&log, 0, end.get(), 1 << 20);
        assert_eq!(records.len(), 10);
        assert!(records.chunks(2).all(|pair| pair[0].value == b"same" && pair[1].value == [b'x'; 300]));
    }
}

#[test]
fn a_compacted_topic_refuses_records_without_keys_also_compressed_ones() {
    let fixture = Fixture::new();
    let log = fixture.log(TopicConfig { cleanup_compact: true, ..config() });
    for codec in ALL_CODECS {
        let mut builder = BatchBuilder::new().codec(codec, None);
        builder.push(NewRecord { timestamp: NOW, key: Some(b"k"), ..NewRecord::default() }).unwrap();
        builder.push(NewRecord { timestamp: NOW, ..NewRecord::default() }).unwrap();
        let error = append(&log, builder.build()).unwrap_err();
        assert!(matches!(error, AppendError::InvalidRecord { index: Some(1), .. }), "{codec:?}: {error}");
        append_ok(&log, build(BatchBuilder::new().codec(codec, None), NOW, &[b"v"]));
    }
}

#[test]
fn a_wrong_largest_timestamp_in_the_header_is_corrected() {
    let fixture = Fixture::new();
    let log = fixture.log(config());
    let mut bytes = batch(NOW, &[b"v"]).to_vec();
    batch::patch_max_timestamp(&mut bytes, NOW - 99, false).unwrap();
    append_ok(&log, bytes.into());
    let found = log.max_timestamp_offset(log.log_end_offset()).wait_blocking().unwrap().unwrap();
    assert_eq!((found.timestamp, found.offset), (NOW, at(0)));
}

#[test]
fn a_repeated_batch_is_answered_with_its_first_offsets() {
    let fixture = Fixture::new();
    let log = fixture.log(config());
    let first = append_ok(&log, idempotent(9, 0, 0, 3));
    append_ok(&log, idempotent(9, 0, 3, 2));
    let again = append_ok(&log, idempotent(9, 0, 0, 3));
    assert!(again.duplicate);
    assert_eq!((again.first_offset, again.last_offset), (first.first_offset, first.last_offset));
    assert!(matches!(
        append(&log, idempotent(9, 0, 9, 1)),
        Err(AppendError::OutOfOrderSequence { expected: 5, got: 9, .. })
    ));
    assert_eq!(log.log_end_offset(), at(5));
    let producers = log.producers().wait_blocking().unwrap();
    assert_eq!((producers.len(), producers[0].last_sequence), (1, Some(4)));
}

#[test]
fn an_older_leader_epoch_is_refused_once_a_newer_was_begun() {
    let fixture = Fixture::new();
    let log = fixture.log(config());
    append_ok(&log, batch(NOW, &[b"v"]));
    log.begin_epoch(LeaderEpoch(4));
    assert!(matches!(
        append(&log, batch(NOW, &[b"v"])),
        Err(AppendError::StaleLeaderEpoch { latest: LeaderEpoch(4), got: LeaderEpoch(0) })
    ));
    assert_eq!(log.end_offset_for_epoch(LeaderEpoch(0)), Some((LeaderEpoch(0), at(1))));
    assert_eq!(log.end_offset_for_epoch(LeaderEpoch(4)), Some((LeaderEpoch(4), at(1))));
    assert_eq!(log.end_offset_for_epoch(LeaderEpoch(5)), None);
}

#[test]
fn a_follower_takes_only_what_continues_its_log() {
    let fixture = Fixture::new();
    let leader = fixture.log_of("leader", 0, config());
    let follower = fixture.log_of("follower", 0, config());
    for i in 0..5 {
        let records = batch(NOW, &[b"a", b"b"]);
        leader.append(records, LeaderEpoch(i), AppendOptions::default()).wait_blocking().unwrap();
    }
    let end = leader.log_end_offset();
    let options = crate::log::ReadOptions { max_bytes: 1 << 20, min_one_batch: true, end, cursor: None };
    let bytes = leader.read(at(0), options).wait_blocking().unwrap().chunks[0].clone();
    let rest = leader.read(at(4), options).wait_blocking().unwrap().chunks[0].clone();
    let first = bytes.slice(..bytes.len() - rest.len());
    follower.append_as_follower(first.clone(), LeaderEpoch(4)).wait_blocking().unwrap();
    let second = first.slice(first.len() / 2..);
    let error = follower.append_as_follower(second, LeaderEpoch(4)).wait_blocking().unwrap_err();
    assert!(matches!(error, AppendError::NotContiguous { .. }), "{error}");
    let error = follower.append_as_follower(rest.clone(), LeaderEpoch(3)).wait_blocking().unwrap_err();
    assert!(matches!(error, AppendError::StaleLeaderEpoch { got: LeaderEpoch(4), .. }), "{error}");
    assert_eq!(follower.log_end_offset(), at(8), "what came before the bad batch is kept");
    let last = leader.read(at(8), options).wait_blocking().unwrap().chunks[0].clone();
    follower.append_as_follower(last, LeaderEpoch(4)).wait_blocking().unwrap();
    assert_eq!(consume(&follower, 0, 10, 1 << 20), consume(&leader, 0, 10, 1 << 20));
    assert_eq!(follower.end_offset_for_epoch(LeaderEpoch(2)), leader.end_offset_for_epoch(LeaderEpoch(2)));
}

#[test]
fn with_flush_ack_an_answer_means_synced() {
    let fixture = Fixture::new();
    let log = fixture.log(TopicConfig { flush_ack: true, ..config() });
    for i in 0..5 {
        append_ok(&log, batch(NOW, &[b"v"]));
        assert_eq!(log.recovery_point(), at(i + 1));
    }
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let (ear, heard) = (std::sync::Arc::clone(&told), std::sync::Arc::downgrade(&log));
    log.on_append(move |end, bytes| {
        let synced = heard.upgrade().unwrap().recovery_point();
        ear.lock().unwrap().push((end, synced, bytes > 0));
    });
    append_ok(&log, batch(NOW, &[b"v"]));
    assert_eq!(*told.lock().unwrap(), [(at(6), at(6), true)], "counts only when synced");
    let every_third = fixture.log_of("third", 0, TopicConfig { flush_messages: Some(3), ..config() });
    append_ok(&every_third, batch(NOW, &[b"v"]));
    append_ok(&every_third, batch(NOW, &[b"v"]));
    assert_eq!(append_ok(&every_third, batch(NOW, &[b"v"])).first_offset, at(2));
    assert_eq!(every_third.recovery_point(), at(3));
}
