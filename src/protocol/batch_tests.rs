//! The batch header against what the crate writes, its checks, and the fields patched in place.

use bytes::{Bytes, BytesMut};
use kafka_protocol::records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType};
use proptest::prelude::*;

use super::batch::{
    BATCH_HEADER_BYTES, BatchError, BatchHeader, patch_base_offset, patch_leader_epoch, patch_max_timestamp,
    split, verify_crc,
};
use super::compression::Codec;
use super::records::{BatchBuilder, NewRecord};

fn batch(records: usize) -> Bytes {
    let mut builder = BatchBuilder::new().producer(1000, 3, 40).base_offset(7).leader_epoch(5);
    for number in 0..records {
        let value = format!("value {number}");
        let record =
            NewRecord { timestamp: 1_700_000_000_000, value: Some(value.as_bytes()), ..NewRecord::default() };
        builder.push(record).unwrap();
    }
    builder.build()
}

fn changed(change: impl FnOnce(&mut BatchHeader)) -> Result<BatchHeader, BatchError> {
    let mut header = BatchHeader::parse(&batch(3)).unwrap();
    change(&mut header);
    BatchHeader::parse(&header.to_bytes())
}

#[test]
fn a_batch_of_the_crate_reads_as_it_was_written() {
    let record = |offset: i64| Record {
        transactional: true,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: 9,
        producer_id: 4711,
        producer_epoch: 2,
        timestamp_type: TimestampType::Creation,
        offset,
        sequence: 100 + offset as i32,
        timestamp: 1_600_000_000_000 + offset,
        key: None,
        value: Some(Bytes::from_static(b"value")),
        headers: Default::default(),
    };
    let records: Vec<Record> = (0..4).map(record).collect();
    let mut bytes = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut bytes, &records, &options).unwrap();

    let header = BatchHeader::parse(&bytes).unwrap();
    assert_eq!(header.size_bytes(), bytes.len());
    assert_eq!(header.to_bytes().as_slice(), &bytes[..BATCH_HEADER_BYTES]);
    assert_eq!((header.base_offset, header.last_offset(), header.next_offset()), (0, 3, 4));
    assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (4711, 2, 100));
    assert_eq!((header.record_count, header.last_sequence()), (4, 103));
    assert_eq!((header.base_timestamp, header.max_timestamp), (1_600_000_000_000, 1_600_000_000_003));
    assert_eq!(header.codec(), Some(Codec::None));
    assert!(header.is_transactional() && !header.is_control() && !header.has_log_append_time());
    assert_eq!(header.delete_horizon_ms(), None);
    assert_eq!(verify_crc(&bytes), Ok(()));
}

#[test]
fn each_field_that_cannot_be_is_refused_with_its_value() {
    assert!(changed(|_| ()).is_ok());
    assert_eq!(changed(|it| it.magic = 1), Err(BatchError::BadMagic { magic: 1 }));
    assert_eq!(changed(|it| it.magic = -1), Err(BatchError::BadMagic { magic: -1 }));
    for batch_length in [48, 0, -1, i32::MIN] {
        let error = Err(BatchError::BadLength { batch_length });
        assert_eq!(changed(|it| it.batch_length = batch_length), error);
    }
    for (record_count, last_offset_delta) in [(-1, 2), (4, 2), (3, -1), (i32::MIN, 2), (i32::MAX, 2), (0, -1)]
    {
        let outcome =
            changed(|it| (it.record_count, it.last_offset_delta) = (record_count, last_offset_delta));
        assert_eq!(outcome, Err(BatchError::BadCount { record_count, last_offset_delta }));
    }
    for base_offset in [-1, i64::MIN, i64::MAX, i64::MAX - 2] {
        let error = Err(BatchError::BadOffset { base_offset, last_offset_delta: 2 });
        assert_eq!(changed(|it| it.base_offset = base_offset), error);
    }
    assert_eq!(changed(|it| it.base_offset = i64::MAX - 3).unwrap().next_offset(), i64::MAX);
}

#[test]
fn a_batch_that_compaction_thinned_out_is_a_batch() {
    assert!(changed(|it| it.record_count = 1).is_ok());
    assert!(changed(|it| it.record_count = 0).is_ok());
}

#[test]
fn codec_numbers_without_a_codec_are_not_one() {
    let codec = |attributes: i16| changed(|it| it.attributes = attributes).unwrap().codec();
    assert_eq!(codec(4 | 0x08), Some(Codec::Zstd));
    assert_eq!((codec(5), codec(6), codec(7)), (None, None, None));
}

#[test]
fn sequences_wrap_to_zero_after_the_largest() {
    let last = |base_sequence: i32| changed(|it| it.base_sequence = base_sequence).unwrap().last_sequence();
    assert_eq!(last(i32::MAX - 2), i32::MAX);
    assert_eq!(last(i32::MAX - 1), 0);
    assert_eq!(last(i32::MAX), 1);
    assert_eq!(last(-1), -1);
}

#[test]
fn any_changed_bit_after_the_crc_is_found() {
    let good = batch(3);
    assert_eq!(verify_crc(&good), Ok(()));
    for at in 17..good.len() {
        for bit in 0..8 {
            let mut bad = good.to_vec();
            bad[at] ^= 1 << bit;
            assert!(verify_crc(&bad).is_err(), "byte {at} bit {bit}");
        }
    }
    let mut longer = good.to_vec();
    longer.extend_from_slice(b"next");
    assert_eq!(verify_crc(&longer), Ok(()));
    assert_eq!(
        verify_crc(&good[..good.len() - 1]),
        Err(BatchError::Truncated { have: good.len() - 1, need: good.len() })
    );
}

#[test]
fn batches_that_follow_each_other_are_lent_one_by_one() {
    let (first, second) = (batch(1), batch(5));
    let both = Bytes::from([first.as_ref(), &second].concat());
    let parts: Vec<_> = split(&both).map(Result::unwrap).collect();
    assert_eq!(parts.len(), 2);
    assert_eq!((&parts[0].1, &parts[1].1), (&first, &second));
    assert_eq!(parts[1].0.record_count, 5);
    assert_eq!(parts[1].1.as_ptr(), both[first.len()..].as_ptr());
    assert_eq!(split(&Bytes::new()).count(), 0);
}

#[test]
fn a_torn_last_batch_is_one_error_and_the_end() {
    let whole = [batch(1), batch(2)].concat();
    let first = batch(1).len();
    for end in 1..whole.len() {
        let parts: Vec<_> = split(&Bytes::copy_from_slice(&whole[..end])).collect();
        let good = parts.iter().filter(|it| it.is_ok()).count();
        assert_eq!(good, usize::from(end >= first), "{end}");
        assert_eq!(parts.len(), good + usize::from(end != first), "{end}");
    }
}

#[test]
fn base_offset_and_leader_epoch_stand_outside_the_crc() {
    let mut bytes = batch(3).to_vec();
    patch_base_offset(&mut bytes, 1 << 40).unwrap();
    patch_leader_epoch(&mut bytes, 77).unwrap();
    let header = BatchHeader::parse(&bytes).unwrap();
    assert_eq!((header.base_offset, header.partition_leader_epoch), (1 << 40, 77));
    assert_eq!(verify_crc(&bytes), Ok(()));
    let need = BATCH_HEADER_BYTES;
    assert_eq!(patch_base_offset(&mut bytes[..60], 0), Err(BatchError::Truncated { have: 60, need }));
    assert_eq!(patch_max_timestamp(&mut [], 0, true), Err(BatchError::Truncated { have: 0, need }));
}

#[test]
fn log_append_time_corrects_the_crc_without_seeing_the_records() {
    for records in [0, 1, 5, 1000, 20_000] {
        let mut bytes = batch(records).to_vec();
        patch_max_timestamp(&mut bytes[..BATCH_HEADER_BYTES], 1_800_000_000_123, true).unwrap();
        let header = BatchHeader::parse(&bytes).unwrap();
        assert_eq!((header.max_timestamp, header.has_log_append_time()), (1_800_000_000_123, true));
        assert_eq!(verify_crc(&bytes), Ok(()), "{records}");

        patch_max_timestamp(&mut bytes, 12, false).unwrap();
        assert!(!BatchHeader::parse(&bytes).unwrap().has_log_append_time());
        assert_eq!(verify_crc(&bytes), Ok(()), "{records}");
    }
}

#[test]
fn a_wrong_crc_stays_wrong_after_a_patch() {
    let mut bytes = batch(3).to_vec();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    patch_max_timestamp(&mut bytes, 12, true).unwrap();
    assert!(matches!(verify_crc(&bytes), Err(BatchError::BadCrc { .. })));
}

proptest! {
    #[test]
    fn no_bytes_make_the_header_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), magic in any::<bool>()) {
        let mut bytes = bytes;
        if magic && bytes.len() > 16 {
            bytes[16] = 2;
        }
        if let Ok(header) = BatchHeader::parse(&bytes) {
            let raw = header.to_bytes();
            prop_assert_eq!(raw.as_slice(), &bytes[..BATCH_HEADER_BYTES]);
            let _ = (header.size_bytes(), header.last_offset(), header.next_offset(), header.last_sequence());
            let _ = (header.codec(), header.delete_horizon_ms());
        }
        let _ = verify_crc(&bytes);
        let _ = patch_max_timestamp(&mut bytes, i64::MAX, true);
        let _ = split(&Bytes::from(bytes)).count();
    }
}
