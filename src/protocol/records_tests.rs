//! The record walker against our builder and the crate's, and against bytes that are no records.

use bytes::Bytes;
use kafka_protocol::records::RecordBatchDecoder;
use proptest::prelude::*;

use super::batch::{BATCH_HEADER_BYTES, BatchHeader, verify_crc};
use super::compression::{self, Codec};
use super::records::{BatchBuilder, NewRecord, RecordError, Summary, validate, walk};
use super::varint;

type OwnedHeader = (Vec<u8>, Option<Vec<u8>>);
type Owned = (i64, Option<Vec<u8>>, Option<Vec<u8>>, Vec<OwnedHeader>);

fn build(codec: Codec, records: &[Owned]) -> Bytes {
    let mut builder = BatchBuilder::new().codec(codec, None);
    for (timestamp, key, value, headers) in records {
        let headers: Vec<(&[u8], Option<&[u8]>)> =
            headers.iter().map(|(key, value)| (key.as_slice(), value.as_deref())).collect();
        let (timestamp, key, value) = (*timestamp, key.as_deref(), value.as_deref());
        builder.push(NewRecord { timestamp, key, value, headers: &headers }).unwrap();
    }
    builder.build()
}

fn read(batch: &[u8]) -> Vec<Owned> {
    let header = BatchHeader::parse(batch).unwrap();
    let records =
        compression::decompress(header.codec().unwrap(), &batch[BATCH_HEADER_BYTES..], 1 << 30).unwrap();
    walk(&records, header.record_count)
        .zip(0..)
        .map(|(record, index)| {
            let record = record.unwrap();
            assert_eq!(record.offset_delta, index);
            assert_eq!(record.header_count(), record.headers().count());
            let headers =
                record.headers().map(|it| (it.key.to_vec(), it.value.map(<[u8]>::to_vec))).collect();
            let timestamp = header.base_timestamp.wrapping_add(record.timestamp_delta);
            (timestamp, record.key.map(<[u8]>::to_vec), record.value.map(<[u8]>::to_vec), headers)
        })
        .collect()
}

/// The uncompressed records of a batch.
fn section(batch: &[u8]) -> &[u8] {
    &batch[BATCH_HEADER_BYTES..]
}

fn some_records() -> Vec<Owned> {
    let header = |key: &str, value: Option<&str>| {
        (key.as_bytes().to_vec(), value.map(|value| value.as_bytes().to_vec()))
    };
    vec![
        (5, Some(b"key".to_vec()), Some(b"value".to_vec()), vec![]),
        (3, None, None, vec![header("a", Some("1")), header("a", Some("2")), header("", None)]),
        (9, Some(vec![]), Some(vec![7; 300]), vec![header("a", None)]),
    ]
}

fn bytes(most: usize) -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any::<u8>(), 0..most)
}

fn records() -> impl Strategy<Value = Vec<Owned>> {
    let header = (bytes(6), proptest::option::of(bytes(20)));
    let timestamp = prop_oneof![Just(-1i64), 0i64..2_000_000_000_000, any::<i64>()];
    let record = (
        timestamp,
        proptest::option::of(bytes(20)),
        proptest::option::of(bytes(200)),
        proptest::collection::vec(header, 0..4),
    );
    proptest::collection::vec(record, 1..20)
}

proptest! {
    #[test]
    fn records_come_back_byte_for_byte_through_every_codec(records in records()) {
        for codec in Codec::ALL {
            let batch = build(codec, &records);
            prop_assert_eq!(verify_crc(&batch), Ok(()));
            prop_assert_eq!(&read(&batch), &records);
        }
    }

    #[test]
    fn no_bytes_make_the_walker_panic(noise in bytes(300), count in any::<i32>(), small in 0i32..20) {
        let _ = walk(&noise, count).count();
        for record in walk(&noise, small).flatten() {
            let _ = record.headers().count();
        }
    }

    #[test]
    fn one_changed_byte_never_makes_the_walker_panic_or_read_too_much(records in records(), at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bad = section(&build(Codec::None, &records)).to_vec();
        let at = at.index(bad.len());
        bad[at] = byte;
        let read: usize = walk(&bad, records.len() as i32).flatten().map(|it| it.raw.len()).sum();
        prop_assert!(read <= bad.len());
    }
}

#[test]
fn the_crate_reads_what_the_builder_writes() {
    // It keeps one header of a name only, so each name stands once here.
    let records: Vec<Owned> = vec![
        (5, Some(b"key".to_vec()), Some(b"value".to_vec()), vec![(b"h".to_vec(), Some(b"1".to_vec()))]),
        (7, None, None, vec![]),
    ];
    let mut batch = BatchBuilder::new().producer(99, 1, 10).base_offset(50);
    for (timestamp, key, value, headers) in &records {
        let headers: Vec<(&[u8], Option<&[u8]>)> =
            headers.iter().map(|(key, value)| (key.as_slice(), value.as_deref())).collect();
        let (timestamp, key, value) = (*timestamp, key.as_deref(), value.as_deref());
        batch.push(NewRecord { timestamp, key, value, headers: &headers }).unwrap();
    }
    let theirs = RecordBatchDecoder::decode(&mut batch.build()).unwrap().records;
    assert_eq!(theirs.len(), 2);
    assert_eq!((theirs[0].offset, theirs[1].offset, theirs[1].sequence), (50, 51, 11));
    assert_eq!((theirs[0].timestamp, theirs[1].timestamp), (5, 7));
    assert_eq!(theirs[0].key.as_deref(), Some(b"key".as_slice()));
    assert_eq!(theirs[0].headers.len(), 1);
    assert_eq!((theirs[1].key.as_ref(), theirs[1].value.as_ref()), (None, None));
}

#[test]
fn repeated_header_keys_keep_their_number_and_order() {
    let records = some_records();
    assert_eq!(read(&build(Codec::None, &records)), records);
}

#[test]
fn raw_bytes_of_the_records_are_the_whole_section() {
    let batch = build(Codec::None, &some_records());
    let raw: Vec<u8> = walk(section(&batch), 3).flat_map(|it| it.unwrap().raw.to_vec()).collect();
    assert_eq!(raw, section(&batch));
}

#[test]
fn every_truncation_is_an_error_and_the_last_item() {
    let batch = build(Codec::None, &some_records());
    for end in 0..section(&batch).len() {
        let items: Vec<_> = walk(&section(&batch)[..end], 3).collect();
        assert!(items.last().unwrap().is_err(), "{end}");
        assert_eq!(items.iter().filter(|it| it.is_err()).count(), 1, "{end}");
    }
}

#[test]
fn a_count_that_the_bytes_cannot_hold_is_refused_before_the_first_record() {
    let batch = build(Codec::None, &some_records());
    let bytes = section(&batch).len();
    for count in [-1, i32::MIN, 1000, i32::MAX] {
        let items: Vec<_> = walk(section(&batch), count).collect();
        assert_eq!(items, [Err(RecordError::Count { count, bytes })]);
    }
    assert_eq!(walk(&[], 0).count(), 0);
    assert_eq!(walk(&[], 1).next(), Some(Err(RecordError::Count { count: 1, bytes: 0 })));
}

#[test]
fn bytes_after_the_last_record_are_an_error() {
    let batch = build(Codec::None, &some_records());
    let items: Vec<_> = walk(section(&batch), 2).collect();
    assert_eq!(items.len(), 3);
    assert!(matches!(items[2], Err(RecordError::Trailing { bytes }) if bytes > 300));
}

/// One record whose fields after the attributes and deltas are `fields`.
fn record(fields: &[u8]) -> Vec<u8> {
    let body = [&[0, 0, 0], fields].concat();
    let mut bytes = Vec::new();
    varint::put_i32(&mut bytes, body.len() as i32);
    [bytes, body].concat()
}

#[test]
fn impossible_lengths_within_a_record_are_named() {
    let first = |fields: &[u8]| walk(&record(fields), 1).next().unwrap().map(|_| ());
    let bad = |field, value| Err(RecordError::BadLength { index: 0, field, value });
    // Zigzag: 1 is -1, 3 is -2, 2 is 1.
    assert_eq!(first(&[1, 1, 0]), Ok(()));
    assert_eq!(first(&[3, 1, 0]), bad("key length", -2));
    assert_eq!(first(&[20, 1, 0]), bad("key length", 10));
    assert_eq!(first(&[1, 3, 0]), bad("value length", -2));
    assert_eq!(first(&[1, 1, 1]), bad("header count", -1));
    assert_eq!(first(&[1, 1, 0xfe, 0xff, 0xff, 0xff, 0x0f]), bad("header count", i32::MAX));
    assert_eq!(first(&[1, 1, 4, 0, 1, 0]), bad("header count", 2));
    assert_eq!(first(&[1, 1, 2, 1, 1]), bad("header key length", -1));
    assert_eq!(first(&[1, 1, 2, 0, 3]), bad("header value length", -2));
    assert_eq!(first(&[1, 1, 0, 9]), Err(RecordError::Unclaimed { index: 0, bytes: 1 }));
    assert_eq!(first(&[0x80, 0x80, 0x80, 0x80, 0x80, 0x80]), Err(RecordError::Truncated { index: 0 }));
    let negative = [3, 0, 0, 0, 0, 0, 0];
    assert_eq!(walk(&negative, 1).next().unwrap().map(|_| ()), bad("length", -2));
}

#[test]
fn validation_finds_timestamps_null_keys_and_holes() {
    let batch = build(Codec::None, &some_records());
    let header = BatchHeader::parse(&batch).unwrap();
    let summary =
        Summary { max_timestamp: 9, min_timestamp: 3, offset_delta_of_max_timestamp: 2, has_null_key: true };
    assert_eq!(validate(&header, section(&batch)), Ok(summary));
    assert_eq!((header.base_timestamp, header.max_timestamp), (5, 9));

    let holes = [record(&[1, 1, 0]), record(&[1, 1, 0])].concat();
    let mut two = header;
    two.record_count = 2;
    assert_eq!(validate(&two, &holes), Err(RecordError::OffsetDelta { index: 1, offset_delta: 0 }));
}

#[test]
fn an_empty_builder_makes_a_batch_without_records() {
    let batch = BatchBuilder::new().base_offset(12).build();
    let header = BatchHeader::parse(&batch).unwrap();
    assert_eq!((header.record_count, header.next_offset()), (0, 13));
    assert_eq!(walk(section(&batch), 0).count(), 0);
}
